/* Callbacks on the crew: what blocks delays only itself, readers share, pauses are granted, and ends are ends. */
#define _GNU_SOURCE
#include "os.h"
#include "peer.h"
#include "threads.h"
#include "wscengine.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <malloc.h>
#include <sys/resource.h>

static const int64_t LONG = 20 * NS_PER_S;

/* ---- what the callbacks do ----------------------------------------------------------------------------------------- */

/* A gate that callbacks stand at until the test opens it. */
struct gate {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  int waiting, most, passed;
  bool open;
};

static void gate_init(struct gate *g) {
  *g = (struct gate){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, false};
}

static void gate_wait(struct gate *g) {
  pthread_mutex_lock(&g->lock);
  if (++g->waiting > g->most) g->most = g->waiting;
  pthread_cond_broadcast(&g->cond);
  while (!g->open) pthread_cond_wait(&g->cond, &g->lock);
  g->waiting--;
  g->passed++;
  pthread_cond_broadcast(&g->cond);
  pthread_mutex_unlock(&g->lock);
}

static void gate_has(struct gate *g, int waiting) {
  pthread_mutex_lock(&g->lock);
  while (g->waiting < waiting) pthread_cond_wait(&g->cond, &g->lock);
  pthread_mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g) {
  pthread_mutex_lock(&g->lock);
  g->open = true;
  pthread_cond_broadcast(&g->cond);
  pthread_mutex_unlock(&g->lock);
}

enum where { NOWHERE, IN_OPEN, IN_MESSAGE, IN_CLOSE, IN_RESTART_ERROR, IN_BEFORE, IN_STOPPED };

struct bed {
  struct peer peer;
  wsc_options *options;
  wsc_engine *engine;
  struct gate *gate; /* on_message stands at it */
  void (*act)(struct bed *b, wsc_session *s);
  enum where where;
  atomic_int opens, messages, closes, restart_errors, stops, acted;
  atomic_ullong last_length;
  atomic_bool numbered; /* messages begin with their number; below: of those that were taken, by whomever */
  atomic_ullong taken, sum, largest;
  atomic_bool quiet; /* the flood ends */
};

static void act(struct bed *b, enum where here, wsc_session *s) {
  if (b->act && b->where == here && b->acted++ == 0) b->act(b, s);
}

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  struct bed *b = user;
  (void)r, (void)restarting;
  b->opens++;
  act(b, IN_OPEN, s);
  return 0;
}

static void note_number(struct bed *b, const uint8_t *data) {
  uint64_t number;
  memcpy(&number, data, sizeof number);
  b->taken++;
  b->sum += number;
  unsigned long long seen = b->largest;
  while (number > seen && !atomic_compare_exchange_weak(&b->largest, &seen, number)) continue;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  struct bed *b = user;
  (void)type;
  if (b->gate) gate_wait(b->gate);
  act(b, IN_MESSAGE, s);
  if (b->numbered) note_number(b, data);
  b->last_length = length;
  b->messages++;
}

static void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  struct bed *b = user;
  (void)peer, (void)reply;
  b->closes++;
  act(b, IN_CLOSE, s);
}

static void on_restart_error(wsc_engine *e, const wsc_error *why, uint32_t retry, bool last, void *user) {
  struct bed *b = user;
  (void)e, (void)why, (void)retry, (void)last;
  b->restart_errors++;
  act(b, IN_RESTART_ERROR, NULL);
}

static bool before_attempt(wsc_engine *e, wsc_attempt *a, void *user) {
  (void)e, (void)a;
  act(user, IN_BEFORE, NULL);
  return true;
}

static void on_stopped(wsc_engine *e, int reason, const wsc_error *why, void *user) {
  struct bed *b = user;
  (void)e, (void)reason, (void)why;
  act(b, IN_STOPPED, NULL);
  b->stops++;
}

static const wsc_callbacks callbacks = {.struct_size = sizeof callbacks,
                                        .on_open = on_open,
                                        .on_message = on_message,
                                        .on_close = on_close,
                                        .on_restart_error = on_restart_error,
                                        .before_attempt = before_attempt,
                                        .on_stopped = on_stopped};

/* Until it is so; a test that waits for ever has failed. */
#define UNTIL(expression) \
  do { \
    int64_t until_ = wsc_now_ns() + LONG; \
    while (!(expression)) { \
      if (wsc_now_ns() > until_) \
        fprintf(stderr, "%s:%d: never came true: %s\n", __FILE__, __LINE__, #expression), exit(1); \
      usleep(500); \
    } \
  } while (0)

/* ---- the bed ------------------------------------------------------------------------------------------------------- */

static void set(struct bed *b, int option, int64_t value) {
  CHECK_EQ(wsc_options_set_int(b->options, option, value), WSC_OK);
}

static void prepare(struct bed *b) {
  memset(b, 0, sizeof *b);
  peer_listen(&b->peer);
  b->options = wsc_options_new();
  set(b, WSC_OPT_STABLE_AFTER_MS, 0);
  set(b, WSC_OPT_CLOSE_TIMEOUT_MS, 10000);
}

static void start(struct bed *b) {
  wsc_op *op;
  CHECK_EQ(wsc_engine_new(b->peer.url, &callbacks, b, b->options, &b->engine, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_start_begin(b->engine, NULL, 0, &op, NULL), WSC_OK);
  peer_accept(&b->peer);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_OK);
  wsc_op_unref(op);
}

/* The peer's half of a stop: frames until the close, which it answers. */
static void answer_close(struct bed *b) {
  uint8_t got[4096];
  size_t n;
  while (peer_frame(&b->peer, got, sizeof got, &n) != 0x88) continue;
  peer_send(&b->peer, 8, got, n);
}

static void stop(struct bed *b) {
  wsc_op *op;
  CHECK_EQ(wsc_engine_stop_begin(b->engine, NULL, 0, &op, NULL), WSC_OK);
  answer_close(b);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_OK);
  wsc_op_unref(op);
}

static void clean(struct bed *b) {
  wsc_engine_free(b->engine);
  wsc_options_free(b->options);
  peer_close(&b->peer);
}

static void pinged(struct bed *b) {
  uint8_t got[125];
  size_t n;
  peer_send(&b->peer, 9, "you?", 4);
  CHECK_EQ(peer_frame(&b->peer, got, sizeof got, &n), 0x8a);
  CHECK_BYTES(got, "you?", 4);
}

static void text(struct bed *b) { peer_send(&b->peer, 1, "text", 4); }

/* ---- blocking ------------------------------------------------------------------------------------------------------ */

static void a_blocked_callback_delays_neither_others_nor_pings(int most_threads) {
  struct bed blocked, free_one;
  struct gate gate;
  gate_init(&gate);
  prepare(&blocked);
  prepare(&free_one);
  set(&blocked, WSC_OPT_CREW_MAX_THREADS, most_threads);
  blocked.gate = &gate;
  start(&blocked);
  start(&free_one);
  text(&blocked);
  gate_has(&gate, 1);
  for (int i = 0; i < 3; i++) pinged(&blocked);
  pinged(&free_one);
  text(&free_one);
  if (most_threads > 1) UNTIL(free_one.messages == 1);
  CHECK_EQ(blocked.messages, 0);
  CHECK(threads_named("wsc-crew") <= most_threads);
  gate_open(&gate);
  UNTIL(blocked.messages == 1 && free_one.messages == 1);
  stop(&blocked);
  stop(&free_one);
  clean(&blocked);
  clean(&free_one);
  threads_gone();
}

static void readers_run_at_once_and_the_end_waits_for_them(void) {
  struct bed b;
  struct gate gate;
  wsc_op *op;
  gate_init(&gate);
  prepare(&b);
  set(&b, WSC_OPT_READER_COUNT, 4);
  b.gate = &gate;
  start(&b);
  uint8_t six[6 * 3];
  for (size_t i = 0; i < sizeof six; i += 3) memcpy(six + i, "\x81\x01x", 3);
  peer_bytes(b.peer.fd, six, sizeof six);
  gate_has(&gate, 4);
  CHECK_EQ(wsc_engine_stop_begin(b.engine, NULL, 0, &op, NULL), WSC_OK);
  pinged(&b); /* the stop waits, the connection lives */
  CHECK_EQ(wsc_op_wait(op, NS_PER_S / 20, NULL), WSC_ERR_TIMEOUT);
  CHECK_EQ(b.closes, 0);
  gate_open(&gate);
  answer_close(&b);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_OK);
  wsc_op_unref(op);
  CHECK_EQ(gate.most, 4);
  CHECK_EQ(gate.waiting, 0);
  CHECK_EQ(b.closes, 1);
  CHECK_EQ(b.messages, 4); /* what no reader had taken is dropped by a stop */
  clean(&b);
}

static void a_thousand_engines_need_a_handful_of_threads_and_little_memory(void) {
  enum { MANY = 1000 };
  struct rlimit fds;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &fds), 0);
  fds.rlim_cur = fds.rlim_max;
  setrlimit(RLIMIT_NOFILE, &fds);
  struct bed b;
  static wsc_engine *engines[MANY];
  static wsc_op *ops[MANY];
  static int sockets[MANY];
  threads_gone(); /* a crew of its own */
  prepare(&b);
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < MANY; i++) {
    CHECK_EQ(wsc_engine_new(b.peer.url, &callbacks, &b, b.options, &engines[i], NULL), WSC_OK);
    CHECK_EQ(wsc_engine_start_begin(engines[i], NULL, 0, &ops[i], NULL), WSC_OK);
  }
  for (int i = 0; i < MANY; i++) {
    peer_accept(&b.peer);
    sockets[i] = b.peer.fd;
  }
  for (int i = 0; i < MANY; i++) {
    CHECK_EQ(wsc_op_wait(ops[i], LONG, NULL), WSC_OK);
    wsc_op_unref(ops[i]);
  }
  for (int i = 0; i < MANY; i++) peer_bytes(sockets[i], "\x81\x01x", 3);
  UNTIL(b.messages == MANY);
  CHECK(threads_named("wsc-") <= 4);
  CHECK((mallinfo2().uordblks - before) / MANY <=
        8192); /* all that an idle connection costs (not counted under ASan) */
  for (int i = 0; i < MANY; i++) CHECK_EQ(wsc_engine_stop_begin(engines[i], NULL, 0, &ops[i], NULL), WSC_OK);
  for (int i = 0; i < MANY; i++) {
    b.peer.fd = sockets[i];
    answer_close(&b);
  }
  for (int i = 0; i < MANY; i++) {
    CHECK_EQ(wsc_op_wait(ops[i], LONG, NULL), WSC_OK);
    wsc_op_unref(ops[i]);
    wsc_engine_free(engines[i]);
    if (i + 1 < MANY) close(sockets[i]);
  }
  CHECK_EQ(b.closes, MANY);
  CHECK_EQ(b.stops, MANY);
  clean(&b);
  threads_gone();
}

/* ---- ends ---------------------------------------------------------------------------------------------------------- */

static void stops(struct bed *b, wsc_session *s) {
  (void)s;
  CHECK_EQ(wsc_engine_stop(b->engine, NULL, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_start(b->engine, NULL, NULL), WSC_ERR_IN_CALLBACK);
  CHECK_EQ(wsc_engine_wait(b->engine, NULL, NULL), WSC_ERR_IN_CALLBACK);
  wsc_engine_is_started(b->engine); /* answers at once */
}

static void frees(struct bed *b, wsc_session *s) {
  (void)s;
  wsc_engine_free(b->engine);
}

/* The engine at `where`, with a peer that helps it get there. */
static void reach(struct bed *b, enum where where, void (*what)(struct bed *, wsc_session *)) {
  wsc_op *op;
  uint8_t got[125];
  size_t n;
  prepare(b);
  b->where = where;
  b->act = what;
  CHECK_EQ(wsc_engine_new(b->peer.url, &callbacks, b, b->options, &b->engine, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_start_begin(b->engine, NULL, 0, &op, NULL), WSC_OK);
  if (where == IN_BEFORE) {
    wsc_op_wait(op, LONG, NULL);
    wsc_op_unref(op);
    return;
  }
  peer_accept(&b->peer);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_OK);
  wsc_op_unref(op);
  if (where == IN_MESSAGE) text(b);
  if (where == IN_CLOSE || where == IN_STOPPED || where == IN_RESTART_ERROR) {
    if (where == IN_STOPPED) wsc_engine_exit(b->engine);
    else peer_send(&b->peer, 8, "\x03\xe8", 2);
    CHECK_EQ(peer_frame(&b->peer, got, sizeof got, &n), 0x88);
    if (where == IN_STOPPED) peer_send(&b->peer, 8, got, n);
    peer_drop(&b->peer);
  }
  if (where == IN_RESTART_ERROR) {
    peer_accept_tcp(&b->peer);
    peer_bytes(b->peer.fd, "HTTP/1.1 404 No\r\n\r\n", 19);
    peer_drop(&b->peer);
  }
  if (where == IN_OPEN || where == IN_MESSAGE) {
    answer_close(b);
    peer_drop(&b->peer);
  }
}

static void stop_inside_any_callback_acts_as_exit(void) {
  for (int where = IN_OPEN; where <= IN_STOPPED; where++) {
    struct bed b;
    reach(&b, (enum where)where, stops);
    wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + LONG};
    CHECK_EQ(wsc_engine_wait(b.engine, &c, NULL), WSC_STOPPED);
    CHECK_EQ(b.acted, 1);
    CHECK_EQ(b.stops, where != IN_BEFORE); /* a run that was never open is told of by its start alone */
    CHECK_EQ(b.closes, b.opens);
    CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_STOPPED);
    clean(&b);
  }
}

static void an_engine_may_be_freed_inside_any_of_its_callbacks(void) {
  for (int where = IN_OPEN; where <= IN_STOPPED; where++) {
    struct bed b;
    reach(&b, (enum where)where, frees);
    UNTIL(b.stops == (where != IN_BEFORE));
    CHECK_EQ(b.acted, 1);
    CHECK_EQ(b.closes, b.opens);
    b.engine = NULL;
    clean(&b);
    threads_gone();
  }
}

static void an_old_session_is_fenced_and_outlives_its_engine(void) {
  struct bed b;
  prepare(&b);
  start(&b);
  wsc_session *old = wsc_engine_session(b.engine);
  CHECK_EQ(wsc_session_epoch(old), 1);
  wsc_session_restart(old);
  answer_close(&b);
  peer_drop(&b.peer);
  peer_accept(&b.peer);
  UNTIL(b.opens == 2);
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_write(wsc_session_connection(old), NULL, WSC_TEXT, (const uint8_t *)"old", 3, &e),
           WSC_ERR_CLOSED);
  CHECK(*wsc_error_message(e));
  wsc_error_unref(e);
  wsc_session_restart(old); /* never touches a newer one */
  UNTIL(wsc_engine_state(b.engine) == WSC_STATE_OPEN);
  CHECK_EQ(wsc_engine_write(b.engine, NULL, WSC_TEXT, (const uint8_t *)"new", 3, NULL), WSC_OK);
  uint8_t got[125];
  size_t n;
  CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x81);
  CHECK_BYTES(got, "new", 3);
  wsc_session *last = wsc_engine_session(b.engine);
  CHECK_EQ(wsc_session_epoch(last), 2);
  CHECK(strcmp(wsc_session_id(last), wsc_session_id(old)) != 0);
  stop(&b);
  wsc_engine_free(b.engine);
  b.engine = NULL;
  CHECK_EQ(wsc_connection_write(wsc_session_connection(last), NULL, WSC_TEXT, (const uint8_t *)"x", 1, NULL),
           WSC_ERR_CLOSED);
  CHECK(wsc_connection_closed(wsc_session_connection(last), NULL));
  CHECK_EQ(strlen(wsc_session_id(last)), 36);
  wsc_session_unref(last);
  wsc_session_unref(old);
  clean(&b);
  threads_gone();
}

/* ---- the pause ----------------------------------------------------------------------------------------------------- */

static void a_pause_is_granted_beside_a_blocked_callback(void) {
  struct bed b;
  struct gate gate;
  gate_init(&gate);
  prepare(&b);
  b.gate = &gate;
  start(&b);
  peer_bytes(b.peer.fd, "\x81\x03one\x81\x03two\x81\x05three", 17);
  gate_has(&gate, 1);
  CHECK_EQ(wsc_engine_resume(b.engine), WSC_ERR_STATE);
  CHECK_EQ(wsc_engine_pause(b.engine, NULL, NULL), WSC_OK); /* although "one" is inside its callback */
  CHECK_EQ(wsc_engine_pause(b.engine, NULL, NULL), WSC_OK);
  wsc_session *s = wsc_engine_session(b.engine);
  wsc_message m = {.struct_size = sizeof m};
  CHECK_EQ(wsc_connection_read(wsc_session_connection(s), NULL, &m, NULL), WSC_OK);
  CHECK_EQ(m.length, 3);
  CHECK_BYTES(m.data, "two", 3);
  wsc_message_free(&m);
  gate_open(&gate);
  UNTIL(b.messages == 1);
  CHECK_EQ(wsc_engine_resume(b.engine), WSC_OK);
  pinged(&b);
  CHECK_EQ(b.messages, 1); /* nested: still held */
  CHECK_EQ(wsc_engine_resume(b.engine), WSC_OK);
  UNTIL(b.messages == 2);
  CHECK_EQ(b.last_length, 5);
  CHECK_EQ(wsc_engine_resume(b.engine), WSC_ERR_STATE);
  CHECK_EQ(wsc_connection_read(wsc_session_connection(s), NULL, &m, NULL), WSC_ERR_STATE); /* the engine reads */
  wsc_session_unref(s);
  CHECK_EQ(wsc_engine_pause(b.engine, NULL, NULL), WSC_OK); /* and the holder's own stop ends it */
  stop(&b);
  CHECK_EQ(wsc_engine_pause(b.engine, NULL, NULL), WSC_ERR_STATE);
  clean(&b);
}

static void *flood(void *arg) {
  struct bed *b = arg;
  uint8_t frames[18 * 1000] = {0};
  uint64_t number = 0;
  while (!b->quiet) {
    for (size_t i = 0; i < sizeof frames; i += 18, number++) {
      memcpy(frames + i, "\x82\x10", 2);
      memcpy(frames + i + 2, &number, sizeof number);
    }
    peer_bytes(b->peer.fd, frames, sizeof frames);
  }
  return NULL;
}

static void read_some(struct bed *b) {
  wsc_session *s = wsc_engine_session(b->engine);
  for (int i = 0; i < 3; i++) {
    wsc_message m = {.struct_size = sizeof m};
    CHECK_EQ(wsc_connection_read(wsc_session_connection(s), NULL, &m, NULL), WSC_OK);
    note_number(b, m.data);
    wsc_message_free(&m);
  }
  wsc_session_unref(s);
}

static void *span_start(void *self, void *parent, const char *name, int kind, int64_t time_ns, const wsc_attribute *a,
                        size_t n) {
  (void)parent, (void)name, (void)kind, (void)time_ns, (void)a, (void)n;
  return self;
}
static void span_event(void *self, void *span, const char *name, int64_t time_ns, const wsc_attribute *a, size_t n) {
  (void)self, (void)span, (void)name, (void)time_ns, (void)a, (void)n;
}
static void span_end(void *self, void *span, int64_t time_ns, int status, const wsc_error *error) {
  (void)self, (void)span, (void)time_ns, (void)status, (void)error;
}
static const wsc_tracer quiet_tracer = {
    .struct_size = sizeof quiet_tracer, .span_start = span_start, .span_event = span_event, .span_end = span_end};

/* While it is held no message is taken but by its holder; between two pauses messages are. What was taken, by callbacks and by the
 * holder, is each number once: none was lost at the seam, and none came twice. */
static void pauses_are_granted_under_a_flood(int readers, bool traced) {
  struct bed b;
  pthread_t sender;
  prepare(&b);
  if (traced) CHECK_EQ(wsc_options_set_tracer(b.options, &quiet_tracer, &b), WSC_OK);
  set(&b, WSC_OPT_READER_COUNT, readers);
  set(&b, WSC_OPT_RECEIVE_QUEUE_BYTES, 1 << 20);
  b.numbered = true;
  start(&b);
  CHECK_EQ(pthread_create(&sender, NULL, flood, &b), 0);
  for (int grants = 0; grants < 200; grants++) {
    int before = b.messages;
    wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + LONG};
    CHECK_EQ(wsc_engine_pause(b.engine, &c, NULL), WSC_OK);
    int running = b.messages; /* at most the callbacks that had begun come to their end */
    for (int i = 0; i < 100; i++) sched_yield();
    CHECK(b.messages - running <= readers);
    if (grants % 2) read_some(&b);
    CHECK_EQ(wsc_engine_resume(b.engine), WSC_OK);
    UNTIL(b.messages > before);
  }
  wsc_op *op;
  CHECK_EQ(wsc_engine_stop_begin(b.engine, NULL, 0, &op, NULL), WSC_OK);
  b.quiet = true;
  pthread_join(sender, NULL);
  answer_close(&b);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_OK);
  wsc_op_unref(op);
  CHECK_EQ(b.largest, b.taken - 1);
  CHECK_EQ(b.sum, b.taken * (b.taken - 1) / 2);
  clean(&b);
}

int main(void) {
  a_blocked_callback_delays_neither_others_nor_pings(64);
  a_blocked_callback_delays_neither_others_nor_pings(1);
  readers_run_at_once_and_the_end_waits_for_them();
  stop_inside_any_callback_acts_as_exit();
  an_engine_may_be_freed_inside_any_of_its_callbacks();
  an_old_session_is_fenced_and_outlives_its_engine();
  a_pause_is_granted_beside_a_blocked_callback();
  pauses_are_granted_under_a_flood(1, false);
  pauses_are_granted_under_a_flood(4, false);
  pauses_are_granted_under_a_flood(1, true);
  pauses_are_granted_under_a_flood(4, true);
  a_thousand_engines_need_a_handful_of_threads_and_little_memory();
  threads_gone();
  return 0;
}
