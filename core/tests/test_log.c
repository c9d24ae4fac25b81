/* Log records: what is told at which level, what never is, and what becomes of those that nobody takes. */
#define _GNU_SOURCE
#include "os.h"
#include "peer.h"
#include "wscengine.h"

#include <pthread.h>

enum { ROOM = 1 << 20 };

/* Everything that was logged, a line a record: "LEVEL SUBSYSTEM TEXT". */
struct book {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool stuck, entered; /* the hook does not return */
  size_t length;
  uint64_t engine_id, lost;
  int64_t time_ns;
  bool session;
  char text[ROOM];
};

static struct book book;

static void on_record(void *self, const wsc_log_record *r) {
  struct book *b = self;
  pthread_mutex_lock(&b->lock);
  b->entered = true;
  pthread_cond_broadcast(&b->cond);
  while (b->stuck) pthread_cond_wait(&b->cond, &b->lock);
  CHECK(r->struct_size == sizeof *r && strchr(r->text, '\n') == NULL);
  b->engine_id = r->engine_id;
  b->time_ns = r->time_ns;
  b->lost += r->lost;
  if (*r->session_id) b->session = true;
  b->length += (size_t)snprintf(b->text + b->length, ROOM - b->length, "%d %s %s\n", r->level, r->subsystem, r->text);
  CHECK(b->length < ROOM);
  pthread_cond_broadcast(&b->cond);
  pthread_mutex_unlock(&b->lock);
}

static const wsc_log hook = {.struct_size = sizeof hook, .record = on_record};

static void book_has(const char *part) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 20;
  pthread_mutex_lock(&book.lock);
  while (!strstr(book.text, part)) {
    if (pthread_cond_timedwait(&book.cond, &book.lock, &until)) {
      fprintf(stderr, "never logged: %s\namong\n%s", part, book.text);
      exit(1);
    }
  }
  pthread_mutex_unlock(&book.lock);
}

static void book_open(void) {
  memset(&book, 0, sizeof book);
  pthread_mutex_init(&book.lock, NULL);
  pthread_cond_init(&book.cond, NULL);
}

static wsc_options *options(int level) {
  wsc_options *o = wsc_options_new();
  CHECK_EQ(wsc_options_set_log(o, &hook, &book), WSC_OK);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_LOG_LEVEL, level), WSC_OK);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_AUTO_RECONNECT, 0), WSC_OK);
  return o;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)user;
  CHECK_EQ(wsc_connection_write(wsc_session_connection(s), NULL, type, data, length, NULL), WSC_OK);
}

static const wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};

static wsc_engine *begin(const char *url, wsc_options *o, wsc_op **start) {
  wsc_engine *e;
  CHECK_EQ(wsc_engine_new(url, &callbacks, NULL, o, &e, NULL), WSC_OK);
  wsc_options_free(o);
  CHECK_EQ(wsc_engine_start_begin(e, NULL, 0, start, NULL), WSC_OK);
  return e;
}

static void finish(wsc_op *start, int status) {
  CHECK_EQ(wsc_op_wait(start, INT64_C(20) * NS_PER_S, NULL), status);
  wsc_op_unref(start);
}

static wsc_engine *open_it(struct peer *p, wsc_options *o) {
  wsc_op *start;
  peer_listen(p);
  wsc_engine *e = begin(p->url, o, &start);
  peer_accept(p);
  finish(start, WSC_OK);
  return e;
}

static void close_it(struct peer *p, wsc_engine *e) {
  uint8_t payload[125];
  size_t n;
  wsc_op *op;
  CHECK_EQ(wsc_engine_stop_begin(e, NULL, 0, &op, NULL), WSC_OK);
  while ((peer_frame(p, payload, sizeof payload, &n) & 15) != 8) continue;
  peer_send(p, 8, payload, n);
  finish(op, WSC_OK);
  wsc_engine_free(e);
  peer_close(p);
}

/* ---- frames -------------------------------------------------------------------------------------------------------- */

static void echo_two(struct peer *p) {
  uint8_t payload[125], large[70000];
  size_t n;
  memset(large, 'z', sizeof large);
  peer_send(p, 1, "hello\n", 6);
  CHECK_EQ(peer_frame(p, payload, sizeof payload, &n), 0x81);
  peer_send(p, 9, "P", 1);
  CHECK_EQ(peer_frame(p, payload, sizeof payload, &n), 0x8a);
  peer_send(p, 2, large, sizeof large);
  CHECK_EQ(peer_frame(p, large, sizeof large, &n), 0x02);
  CHECK_EQ(peer_frame(p, large, sizeof large, &n), 0x80);
}

static void frames_are_traced_without_their_payload(void) {
  struct peer p;
  book_open();
  wsc_engine *e = open_it(&p, options(WSC_LOG_TRACE));
  echo_two(&p);
  book_has("5 frame > continuation, fin, 4464 bytes\n");
  CHECK_HAS(book.text, "5 frame < text, fin, 6 bytes\n");
  CHECK_HAS(book.text, "5 frame > text, fin, 6 bytes\n");
  CHECK_HAS(book.text, "5 frame < ping, fin, 1 bytes\n");
  CHECK_HAS(book.text, "5 frame > pong, fin, 1 bytes\n");
  CHECK_HAS(book.text, "5 frame < binary, fin, 70000 bytes\n");
  CHECK_HAS(book.text, "5 frame > binary, 65536 bytes\n");
  CHECK_HAS(book.text, "5 http > Sec-WebSocket-Version: 13\n");
  CHECK_HAS(book.text, "5 http < 101 ");
  CHECK(strstr(book.text, "hello") == NULL);
  CHECK_EQ(book.engine_id, wsc_engine_id(e));
  CHECK(book.engine_id != 0 && book.session && book.time_ns > 0);
  close_it(&p, e);
}

static void a_preview_is_as_long_as_was_asked_for(void) {
  struct peer p;
  book_open();
  wsc_options *o = options(WSC_LOG_TRACE);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_LOG_PREVIEW_BYTES, 5), WSC_OK);
  wsc_engine *e = open_it(&p, o);
  echo_two(&p);
  book_has("5 frame > continuation, fin, 4464 bytes: \"zzzzz\"...\n");
  CHECK_HAS(book.text, "5 frame < text, fin, 6 bytes: \"hello\"...\n");
  CHECK_HAS(book.text, "5 frame < ping, fin, 1 bytes: \"P\"\n");
  CHECK_HAS(book.text, "5 frame < binary, fin, 70000 bytes: \"zzzzz\"...\n");
  close_it(&p, e);
}

static void below_trace_no_frame_is_told(void) {
  struct peer p;
  book_open();
  wsc_engine *e = open_it(&p, options(WSC_LOG_DEBUG));
  echo_two(&p);
  close_it(&p, e);
  CHECK(strstr(book.text, " frame ") == NULL && strstr(book.text, " http ") == NULL);
  CHECK_HAS(book.text, "4 engine option LOG_LEVEL: 4\n");
}

/* ---- secrets ------------------------------------------------------------------------------------------------------- */

#define SECRET "s3cret"

static void nothing_secret(void) {
  static const char *const secrets[] = {SECRET, "dXNlcjpzM2NyZXQ" /* user:s3cret */, "czNjcmV0" /* s3cret */};
  for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
    const char *at = strstr(book.text, secrets[i]);
    if (!at) continue;
    fprintf(stderr, "logged: %.*s\n", 60, at > book.text + 40 ? at - 40 : book.text);
    exit(1);
  }
}

static wsc_options *secret_options(void) {
  wsc_options *o = options(WSC_LOG_TRACE);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_LOG_PREVIEW_BYTES, 256), WSC_OK);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_HEADER, "X-Api-Key: " SECRET), WSC_OK);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_HEADER, "Proxy-Authorization: Bearer " SECRET), WSC_OK);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_COOKIE, "session=" SECRET), WSC_OK);
  return o;
}

/* The server refuses; its answer has secrets too. */
static void secrets_of_the_upgrade_are_never_logged(const char *userinfo, const char *header) {
  static const char answer[] =
      "HTTP/1.1 401 No\r\nSet-Cookie: a=" SECRET "\r\nServer: here\r\nX-Token: " SECRET "\r\nContent-Length: 0\r\n\r\n";
  struct peer p;
  wsc_op *start;
  char url[128], request[UPGRADE_ANSWER_MAX * 4];
  book_open();
  peer_listen(&p);
  snprintf(url, sizeof url, "ws://%s127.0.0.1:%u/", userinfo, p.port);
  wsc_options *o = secret_options();
  if (header) CHECK_EQ(wsc_options_set_str(o, WSC_OPT_HEADER, header), WSC_OK);
  wsc_engine *e = begin(url, o, &start);
  peer_accept_tcp(&p);
  size_t n = 0;
  for (request[0] = 0; !strstr(request, "\r\n\r\n"); request[n] = 0) peer_receive(p.fd, request + n++, 1);
  CHECK_HAS(request, "Authorization: ");
  CHECK_HAS(request, SECRET);
  peer_bytes(p.fd, answer, sizeof answer - 1);
  finish(start, WSC_ERR_HANDSHAKE);
  book_has("2 dial ");
  wsc_engine_free(e);
  peer_close(&p);
  CHECK_HAS(book.text, "5 http > Authorization: (not shown)\n");
  CHECK_HAS(book.text, "5 http > Proxy-Authorization: (not shown)\n");
  CHECK_HAS(book.text, "5 http > Cookie: (not shown)\n");
  CHECK_HAS(book.text, "5 http > X-Api-Key: (not shown)\n");
  CHECK_HAS(book.text, "5 http < 401 No\n");
  CHECK_HAS(book.text, "5 http < Set-Cookie: (not shown)\n");
  CHECK_HAS(book.text, "5 http < Server: here\n");
  CHECK_HAS(book.text, "4 engine option HEADER is set (not shown)\n");
  CHECK_HAS(book.text, "4 engine option COOKIE is set (not shown)\n");
  nothing_secret();
}

static void a_proxys_login_is_never_logged(void) {
  struct peer p;
  wsc_op *start;
  char proxy[128];
  book_open();
  peer_listen(&p);
  snprintf(proxy, sizeof proxy, "http://user:" SECRET "@127.0.0.1:%u", p.port);
  wsc_options *o = secret_options();
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_PROXY, proxy), WSC_OK);
  wsc_engine *e = begin("ws://" SECRET "@nowhere.invalid/", o, &start);
  peer_accept_tcp(&p);
  static const char no[] = "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
  peer_bytes(p.fd, no, sizeof no - 1);
  finish(start, WSC_ERR_PROXY_AUTH);
  book_has("2 dial ");
  wsc_engine_free(e);
  peer_close(&p);
  CHECK_HAS(book.text, "4 engine option PROXY is set (not shown)\n");
  nothing_secret();
}

static void options_say_which_values_are_secret(void) {
  wsc_option_description d = {.struct_size = sizeof d};
  int secret = 0;
  for (int row = 0; wsc_option_info(row, &d) == WSC_OK; row++) {
    bool is = d.id == WSC_OPT_HEADER || d.id == WSC_OPT_COOKIE || d.id == WSC_OPT_PROXY;
    CHECK_EQ(d.flags, is ? WSC_OPTION_SECRET : 0);
    secret += is;
  }
  CHECK_EQ(secret, 3);
}

/* ---- more than is taken -------------------------------------------------------------------------------------------- */

static void what_is_dropped_is_counted(void) {
  enum { FRAMES = 2000 };
  struct peer p;
  uint8_t payload[125];
  size_t n;
  book_open();
  wsc_options *o = options(WSC_LOG_TRACE);
  wsc_engine *e = open_it(&p, o);
  book_has("is open\n");
  pthread_mutex_lock(&book.lock);
  book.stuck = true;
  book.entered = false;
  pthread_mutex_unlock(&book.lock);
  for (int i = 0; i < FRAMES; i++) peer_send(&p, 1, "x", 1);
  for (int i = 0; i < FRAMES; i++) peer_frame(&p, payload, sizeof payload, &n); /* all have been received and echoed */
  pthread_mutex_lock(&book.lock);
  CHECK(book.entered);
  book.stuck = false;
  pthread_cond_broadcast(&book.cond);
  pthread_mutex_unlock(&book.lock);
  for (bool told = false; !told;) { /* by the first that finds room again */
    peer_send(&p, 1, "x", 1);
    peer_frame(&p, payload, sizeof payload, &n);
    pthread_mutex_lock(&book.lock);
    told = book.lost >= 2 * FRAMES - 300;
    pthread_mutex_unlock(&book.lock);
  }
  close_it(&p, e);
}

int main(void) {
  frames_are_traced_without_their_payload();
  a_preview_is_as_long_as_was_asked_for();
  below_trace_no_frame_is_told();
  secrets_of_the_upgrade_are_never_logged("user:" SECRET "@", NULL);
  secrets_of_the_upgrade_are_never_logged(SECRET "@", NULL);
  secrets_of_the_upgrade_are_never_logged("", "Authorization: Bearer " SECRET);
  a_proxys_login_is_never_logged();
  options_say_which_values_are_secret();
  what_is_dropped_is_counted();
  return 0;
}
