/* Want of memory and of fds at every place, one after the other, through a whole life: no crash, no hang, nothing lost, and a status that
 * says what happened; afterwards everything works. */
#define _GNU_SOURCE
#include "echo_server.h"
#include "threads.h"

#include "mask.h"
#include "mem.h"
#include "os.h"
#include "wscengine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

static const int64_t LONG = 20 * NS_PER_S;
static struct echo_server server;
static long lives;

static wsc_context in_time(void) {
  return (wsc_context){.struct_size = sizeof(wsc_context), .deadline_ns = wsc_now_ns() + LONG};
}

/* What a call may say when memory or fds are short. Never a timeout: that would be a hang that was cut. */
static void sane(int line, int status, wsc_error *e) {
  static const int may[] = {WSC_OK,         WSC_STOPPED, WSC_ERR_NOMEM,     WSC_ERR_IO,
                            WSC_ERR_CLOSED, WSC_ERR_TLS, WSC_ERR_HANDSHAKE, WSC_ERR_STATE};
  bool known = false;
  for (size_t i = 0; i < sizeof may / sizeof *may; i++) known |= status == may[i];
  bool told = status == WSC_OK || !e || (wsc_error_status(e) == status && *wsc_error_message(e));
  if (!known || !told) {
    fprintf(stderr, "%s:%d: life %ld: %s, error %s: %s\n", __FILE__, line, lives, wsc_status_name(status),
            wsc_status_name(wsc_error_status(e)), wsc_error_message(e));
    exit(1);
  }
  wsc_error_unref(e);
}
#define SANE(status, error) sane(__LINE__, status, error)

/* ---- an engine on the crew ----------------------------------------------------------------------------------------- */

struct seen {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  int opens, messages, closes, failures, stops;
};

static void note(struct seen *s, int *what) {
  pthread_mutex_lock(&s->lock);
  ++*what;
  pthread_cond_signal(&s->cond);
  pthread_mutex_unlock(&s->lock);
}

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  struct seen *seen = user;
  (void)r, (void)restarting;
  wsc_error *e = NULL;
  wsc_context c = in_time();
  int status = wsc_connection_write(wsc_session_connection(s), &c, WSC_TEXT, (const uint8_t *)"echo this", 9, &e);
  SANE(status, e);
  if (status) note(seen, &seen->failures); /* no echo will come */
  note(seen, &seen->opens);
  return 0;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  struct seen *seen = user;
  (void)s;
  CHECK_EQ(type, WSC_TEXT);
  CHECK_EQ(length, 9);
  CHECK_BYTES(data, "echo this", 9);
  note(seen, &seen->messages);
}

static void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  struct seen *seen = user;
  (void)s, (void)peer, (void)reply;
  note(seen, &seen->closes);
}

static void on_restart_error(wsc_engine *e, const wsc_error *why, uint32_t retry, bool last, void *user) {
  struct seen *seen = user;
  (void)e, (void)retry, (void)last;
  CHECK(*wsc_error_message(why));
  note(seen, &seen->failures);
}

static bool before_attempt(wsc_engine *e, wsc_attempt *a, void *user) {
  (void)e, (void)user;
  wsc_error *error = NULL;
  int status = wsc_attempt_add_header(a, "X-Attempt: again", &error);
  SANE(status, error);
  return true;
}

static void on_stopped(wsc_engine *e, int reason, const wsc_error *why, void *user) {
  struct seen *seen = user;
  (void)e, (void)reason, (void)why;
  note(seen, &seen->stops);
}

/* Until `want` of *what, or something went wrong for want of something, or the run is over. A session that ended is such a thing, but not
 * where one is awaited. */
static void wait_for(struct seen *s, const int *what, int want) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 20;
  pthread_mutex_lock(&s->lock);
  while (*what < want && !(what == &s->messages && s->closes) && !s->failures && !s->stops)
    CHECK_EQ(pthread_cond_timedwait(&s->cond, &s->lock, &until), 0);
  pthread_mutex_unlock(&s->lock);
}

static wsc_options *make_options(void) {
  wsc_options *o = wsc_options_new();
  if (!o) return NULL;
  SANE(wsc_options_set_int(o, WSC_OPT_STABLE_AFTER_MS, 0), NULL);
  SANE(wsc_options_set_int(o, WSC_OPT_RECONNECT_BASE_S, 1), NULL);
  SANE(wsc_options_set_int(o, WSC_OPT_JITTER_PERCENT, 100), NULL);
  SANE(wsc_options_set_int(o, WSC_OPT_SEND_WAITS_FOR_SESSION, 1), NULL);
  SANE(wsc_options_set_str(o, WSC_OPT_HEADER, "X-One: 1"), NULL);
  SANE(wsc_options_set_str(o, WSC_OPT_COOKIE, "a=b"), NULL);
  SANE(wsc_options_set_str(o, WSC_OPT_ORIGIN, "http://here"), NULL);
  return o;
}

static void stop_it(wsc_engine *e) {
  wsc_error *error = NULL;
  int r = WSC_ERR_NOMEM;
  for (int i = 0; i < 2 && r == WSC_ERR_NOMEM; i++) { /* a failure comes only once */
    wsc_context c = in_time();
    r = wsc_engine_stop(e, &c, &error);
    SANE(r, error);
    error = NULL;
  }
  CHECK_EQ(wsc_engine_state(e), WSC_STATE_STOPPED);
}

static void engine_life(void) {
  static const wsc_callbacks callbacks = {.struct_size = sizeof callbacks,
                                          .on_open = on_open,
                                          .on_message = on_message,
                                          .on_close = on_close,
                                          .on_restart_error = on_restart_error,
                                          .before_attempt = before_attempt,
                                          .on_stopped = on_stopped};
  struct seen seen = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0, 0};
  wsc_options *o = make_options();
  wsc_engine *e = NULL;
  wsc_error *error = NULL;
  if (!o) return;
  int r = wsc_engine_new(server.peer.url, &callbacks, &seen, o, &e, &error);
  SANE(r, error);
  CHECK_EQ(e != NULL, r == WSC_OK);
  error = NULL;
  if (!e) goto done;
  wsc_context c = in_time();
  r = wsc_engine_start(e, &c, &error);
  SANE(r, error);
  error = NULL;
  CHECK_EQ(wsc_engine_is_started(e), r == WSC_OK);
  if (r == WSC_OK) {
    wait_for(&seen, &seen.messages, 1);
    r = wsc_engine_write(e, &c, WSC_TEXT, (const uint8_t *)"echo this", 9, &error);
    SANE(r, error);
    error = NULL;
    if (r == WSC_OK) wait_for(&seen, &seen.messages, 2);
    r = wsc_engine_pause(e, &c, &error);
    SANE(r, error);
    error = NULL;
    if (r == WSC_OK) wsc_engine_resume(e);
    wsc_engine_restart(e);
    wait_for(&seen, &seen.opens, 2);
    stop_it(e);
  }
  CHECK(seen.closes <= seen.opens);
done:
  wsc_engine_free(e);
  wsc_options_free(o);
}

/* ---- a connection alone, on a host's loop -------------------------------------------------------------------------- */

static void connection_life(void) {
  static uint8_t big[300000];
  wsc_loop *loop = NULL;
  wsc_connection *k = NULL;
  wsc_error *error = NULL;
  wsc_cancel *cancel = NULL;
  wsc_message m = {.struct_size = sizeof m};
  wsc_context c = in_time();
  int r;
  SANE(wsc_cancel_new(&cancel), NULL);
  c.cancel = cancel;
  r = wsc_loop_new(NULL, &loop, &error);
  SANE(r, error);
  error = NULL;
  if (r) goto done;
  r = wsc_connection_new(loop, server.peer.url, NULL, &k, &error);
  SANE(r, error);
  error = NULL;
  if (r) goto done;
  r = wsc_connection_dial(k, &c, &error);
  SANE(r, error);
  error = NULL;
  if (r) goto done;
  wsc_connection_cork(k);
  wsc_outgoing two[] = {{(const uint8_t *)"a", 1, WSC_TEXT, 0}, {big, sizeof big, WSC_BINARY, 0}};
  r = wsc_connection_write_many(k, &c, two, 2, &error);
  SANE(r, error);
  error = NULL;
  int sent = r;
  r = wsc_connection_uncork(k, &error);
  SANE(r, error);
  error = NULL;
  for (size_t i = 0; sent == WSC_OK && i < 2; i++) {
    r = wsc_connection_read(k, &c, &m, &error);
    SANE(r, error);
    error = NULL;
    if (r) { /* the operation or the message found no memory; the rest comes all the same, or the connection has ended */
      if (wsc_connection_closed(k, NULL)) break;
      continue;
    }
    CHECK(m.length == two[0].length || m.length == two[1].length);
    wsc_message_free(&m);
  }
  r = wsc_connection_ping(k, &c, NULL, &error);
  SANE(r, error);
  error = NULL;
  r = wsc_connection_close(k, &c, 1000, "done", &error);
  SANE(r, error);
  error = NULL;
done:
  wsc_connection_unref(k);
  wsc_loop_free(loop);
  wsc_cancel_free(cancel);
}

/* ---- one failure after the other ----------------------------------------------------------------------------------- */

/* The last references may be dropped by a thread of the library. */
static void all_given_back(long before) {
  int64_t until = wsc_now_ns() + LONG;
  while (mem_live() != before && wsc_now_ns() < until) usleep(200);
  if (mem_live() != before) fprintf(stderr, "life %ld:\n", lives);
  CHECK_EQ(mem_live(), before);
}

static void at_every_allocation(void (*life)(void)) {
  mem_fail_after(-1);
  uint8_t key[4];
  CHECK_EQ(mask_key(key), WSC_OK); /* this thread's supply of keys is its own until it ends */
  long before = mem_live();
  life();
  all_given_back(before);
  int clean = 0;
  for (lives = 1; clean < 5; lives++) { /* how many there are varies a little with the threads' turns */
    mem_fail_after(lives);
    life();
    clean = mem_failed() ? 0 : clean + 1;
    mem_fail_after(-1);
    all_given_back(before);
  }
  CHECK(lives > 30);
  life();
  all_given_back(before);
}

static int open_fds(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  while (readdir(d)) n++;
  closedir(d);
  return n - 3; /* ., .. and the directory's own */
}

/* With room for 0, 1, 2 ... more fds until a life succeeds. */
static void with_few_fds(void) {
  struct rlimit usual, few;
  wsc_loop *loop = NULL;
  wsc_error *error = NULL;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  int most = 0, filler = 0;
  for (int fd = 0; fd < 1024; fd++)
    if (fcntl(fd, F_GETFD) >= 0) most = fd + 1;
  while ((filler = open("/dev/null", O_RDONLY | O_CLOEXEC)) < most) continue; /* no gaps below */
  close(filler);
  int before = open_fds();
  few = usual;
  few.rlim_cur = (rlim_t)most;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  int r = wsc_loop_new(NULL, &loop, &error);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  CHECK_EQ(r, WSC_ERR_IO);
  CHECK_EQ(wsc_error_os_error(error), EMFILE);
  wsc_error_unref(error);
  for (lives = 0; lives < 12; lives++) {
    few.rlim_cur = (rlim_t)(most + lives);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    engine_life();
    connection_life();
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
    int64_t until = wsc_now_ns() + LONG;
    while (open_fds() != before && wsc_now_ns() < until) usleep(200);
    CHECK_EQ(open_fds(), before);
  }
}

/* A running engine that finds no fd for its next socket tells so and gets on when there is one. */
static void reconnecting_survives_the_want_of_fds(void) {
  static const wsc_callbacks callbacks = {.struct_size = sizeof callbacks,
                                          .on_open = on_open,
                                          .on_message = on_message,
                                          .on_close = on_close,
                                          .on_restart_error = on_restart_error};
  struct seen seen = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0, 0};
  struct rlimit usual, few;
  wsc_engine *e;
  wsc_options *o = make_options();
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  few = usual;
  few.rlim_cur = 0;
  CHECK_EQ(wsc_engine_new(server.peer.url, &callbacks, &seen, o, &e, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_start(e, NULL, NULL), WSC_OK);
  wait_for(&seen, &seen.messages, 1);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  wsc_engine_restart(e);
  pthread_mutex_lock(&seen.lock);
  while (!seen.failures) pthread_cond_wait(&seen.cond, &seen.lock);
  pthread_mutex_unlock(&seen.lock);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  pthread_mutex_lock(&seen.lock);
  while (seen.opens < 2) pthread_cond_wait(&seen.cond, &seen.lock);
  pthread_mutex_unlock(&seen.lock);
  CHECK_EQ(wsc_engine_stop(e, NULL, NULL), WSC_OK);
  wsc_engine_free(e);
  wsc_options_free(o);
}

int main(void) {
  echo_start(&server);
  at_every_allocation(connection_life);
  at_every_allocation(engine_life);
  with_few_fds();
  reconnecting_survives_the_want_of_fds();
  echo_stop(&server);
  threads_gone();
  return 0;
}
