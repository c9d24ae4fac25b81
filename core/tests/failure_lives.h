/* Whole lives that can fail anywhere (failures.h): an engine on the crew, and a connection on a host's loop. Small messages and large ones in
 * pieces go there and back, pings, a reconnect, a close, a stop. */
#ifndef WSC_FAILURE_LIVES_H
#define WSC_FAILURE_LIVES_H

#include "failures.h"

#include <pthread.h>
#include <time.h>

static const int64_t LONG = 20 * NS_PER_S;
static uint8_t large[300000]; /* five fragments */
static struct {
  const char *url, *ca_file; /* NULL: no file */
  const char *proxy;         /* NULL: none; redirects are followed as well */
  bool compression, adapter; /* adapter: the built-in connection behind a user's adapter */
} lives;

static inline wsc_context in_time(void) {
  return (wsc_context){.struct_size = sizeof(wsc_context), .deadline_ns = wsc_now_ns() + LONG};
}

/* ---- an engine on the crew ----------------------------------------------------------------------------------------- */

struct seen {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  int opens, messages, closes, failures, stops;
};

static inline void note(struct seen *s, int *what) {
  pthread_mutex_lock(&s->lock);
  ++*what;
  pthread_cond_signal(&s->cond);
  pthread_mutex_unlock(&s->lock);
}

static inline int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  struct seen *seen = user;
  (void)r, (void)restarting;
  wsc_error *e = NULL;
  wsc_context c = in_time();
  int status = wsc_connection_write(wsc_session_connection(s), &c, WSC_TEXT, (const uint8_t *)"echo this", 9, &e);
  TOLD(status, e);
  if (status) note(seen, &seen->failures); /* no echo will come */
  note(seen, &seen->opens);
  return 0;
}

static inline void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  struct seen *seen = user;
  (void)s;
  if (type == WSC_BINARY) CHECK_EQ(length, sizeof large);
  else CHECK_EQ(length, 9);
  CHECK_BYTES(data, type == WSC_BINARY ? large : (const uint8_t *)"echo this", length);
  note(seen, &seen->messages);
}

static inline void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  struct seen *seen = user;
  (void)s, (void)peer, (void)reply;
  note(seen, &seen->closes);
}

static inline void on_restart_error(wsc_engine *e, const wsc_error *why, uint32_t retry, bool last, void *user) {
  struct seen *seen = user;
  (void)e, (void)retry, (void)last;
  CHECK(*wsc_error_message(why));
  note(seen, &seen->failures);
}

static inline bool before_attempt(wsc_engine *e, wsc_attempt *a, void *user) {
  (void)e, (void)user;
  wsc_error *error = NULL;
  int status = wsc_attempt_add_header(a, "X-Attempt: again", &error);
  TOLD(status, error);
  return true;
}

static inline void on_stopped(wsc_engine *e, int reason, const wsc_error *why, void *user) {
  struct seen *seen = user;
  (void)e, (void)reason, (void)why;
  note(seen, &seen->stops);
}

/* Until `want` of *what, or something went wrong for want of something, or the run is over. A session that ended is such a thing, but not
 * where one is awaited. */
static inline void wait_for(struct seen *s, const int *what, int want) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 20;
  pthread_mutex_lock(&s->lock);
  while (*what < want && !(what == &s->messages && s->closes) && !s->failures && !s->stops)
    CHECK_EQ(pthread_cond_timedwait(&s->cond, &s->lock, &until), 0);
  pthread_mutex_unlock(&s->lock);
}

static inline void add_options(wsc_options *o) {
  if (!o) return;
  if (lives.ca_file) TOLD(wsc_options_set_str(o, WSC_OPT_CA_FILE, lives.ca_file), NULL);
  if (lives.proxy) TOLD(wsc_options_set_str(o, WSC_OPT_PROXY, lives.proxy), NULL);
  if (lives.proxy) TOLD(wsc_options_set_int(o, WSC_OPT_MAX_REDIRECTS, 1), NULL);
  if (lives.compression) TOLD(wsc_options_set_int(o, WSC_OPT_COMPRESSION, 1), NULL);
  if (!lives.adapter) return;
  wsc_adapter vtable = {.struct_size = sizeof vtable};
  void *self = NULL;
  wsc_error *error = NULL;
  int r = wsc_adapter_builtin(o, &vtable, &self, &error);
  TOLD(r, error);
  if (r) return;
  r = wsc_options_set_adapter(o, &vtable, self);
  TOLD(r, NULL);
  if (r) vtable.drop(self);
}

static inline wsc_options *make_options(void) {
  wsc_options *o = wsc_options_new();
  if (!o) return NULL;
  TOLD(wsc_options_set_int(o, WSC_OPT_STABLE_AFTER_MS, 0), NULL);
  TOLD(wsc_options_set_int(o, WSC_OPT_RECONNECT_BASE_S, 1), NULL);
  TOLD(wsc_options_set_int(o, WSC_OPT_JITTER_PERCENT, 100), NULL);
  TOLD(wsc_options_set_int(o, WSC_OPT_SEND_WAITS_FOR_SESSION, 1), NULL);
  TOLD(wsc_options_set_str(o, WSC_OPT_HEADER, "X-One: 1"), NULL);
  TOLD(wsc_options_set_str(o, WSC_OPT_COOKIE, "a=b"), NULL);
  TOLD(wsc_options_set_str(o, WSC_OPT_ORIGIN, "http://here"), NULL);
  add_options(o);
  return o;
}

static inline void stop_it(wsc_engine *e) {
  wsc_error *error = NULL;
  int r = WSC_ERR_NOMEM;
  for (int i = 0; i < 2 && r == WSC_ERR_NOMEM; i++) { /* a failure comes only once */
    wsc_context c = in_time();
    r = wsc_engine_stop(e, &c, &error);
    TOLD(r, error);
    error = NULL;
  }
  CHECK_EQ(wsc_engine_state(e), WSC_STATE_STOPPED);
}

static inline void engine_life(void) {
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
  int r = wsc_engine_new(lives.url, &callbacks, &seen, o, &e, &error);
  TOLD(r, error);
  CHECK_EQ(e != NULL, r == WSC_OK);
  error = NULL;
  if (!e) goto done;
  wsc_context c = in_time();
  r = wsc_engine_start(e, &c, &error);
  TOLD(r, error);
  error = NULL;
  CHECK_EQ(wsc_engine_is_started(e), r == WSC_OK);
  if (r == WSC_OK) {
    wait_for(&seen, &seen.messages, 1);
    r = wsc_engine_write(e, &c, WSC_TEXT, (const uint8_t *)"echo this", 9, &error);
    TOLD(r, error);
    error = NULL;
    int sent = r;
    r = wsc_engine_write(e, &c, WSC_BINARY, large, sizeof large, &error);
    TOLD(r, error);
    error = NULL;
    if (sent == WSC_OK && r == WSC_OK) wait_for(&seen, &seen.messages, 3);
    r = wsc_engine_pause(e, &c, &error);
    TOLD(r, error);
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

static inline void connection_life(void) {
  wsc_loop *loop = NULL;
  wsc_connection *k = NULL;
  wsc_error *error = NULL;
  wsc_cancel *cancel = NULL;
  wsc_options *o = wsc_options_new();
  wsc_message m = {.struct_size = sizeof m};
  wsc_context c = in_time();
  int r;
  TOLD(wsc_cancel_new(&cancel), NULL);
  c.cancel = cancel;
  r = wsc_loop_new(NULL, &loop, &error);
  TOLD(r, error);
  error = NULL;
  if (r) goto done;
  add_options(o);
  r = wsc_connection_new(loop, lives.url, o, &k, &error);
  TOLD(r, error);
  error = NULL;
  if (r) goto done;
  r = wsc_connection_dial(k, &c, &error);
  TOLD(r, error);
  error = NULL;
  if (r) goto done;
  wsc_connection_cork(k);
  wsc_outgoing two[] = {{(const uint8_t *)"a", 1, WSC_TEXT, 0}, {large, sizeof large, WSC_BINARY, 0}};
  r = wsc_connection_write_many(k, &c, two, 2, &error);
  TOLD(r, error);
  error = NULL;
  int sent = r;
  r = wsc_connection_uncork(k, &error);
  TOLD(r, error);
  error = NULL;
  for (size_t i = 0; sent == WSC_OK && i < 2; i++) {
    r = wsc_connection_read(k, &c, &m, &error);
    TOLD(r, error);
    error = NULL;
    if (r) { /* the operation or the message found no memory; the rest comes all the same, or the connection has ended */
      if (wsc_connection_closed(k, NULL)) break;
      continue;
    }
    CHECK(m.length == two[0].length || m.length == two[1].length);
    wsc_message_free(&m);
  }
  r = wsc_connection_ping(k, &c, NULL, &error);
  TOLD(r, error);
  error = NULL;
  r = wsc_connection_close(k, &c, 1000, "done", &error);
  TOLD(r, error);
  error = NULL;
done:
  wsc_connection_unref(k);
  wsc_loop_free(loop);
  wsc_cancel_free(cancel);
  wsc_options_free(o);
}

#endif
