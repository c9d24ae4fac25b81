/* The engine's verbs: making and freeing, start, stop, wait, requests, questions. */
#define _GNU_SOURCE
#include "engine.h"
#include "callback.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "sized.h"
#include "trace.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static _Atomic uint64_t engines_made;

void engine_kick(wsc_engine *e) { actor_kick(&e->actor, 0); }

int engine_usable(const wsc_engine *e, const char *verb, wsc_error **err) {
  if (!e) return error_set(err, WSC_ERR_INVALID, "%s: engine is NULL", verb);
  if (e->generation != os_fork_generation())
    return error_set(err, WSC_ERR_FORKED, "%s: the engine belongs to the parent process", verb);
  if (!e->joined && strcmp(verb, "start") != 0)
    return error_set(err, WSC_ERR_STATE, "%s: the engine was never started", verb);
  return WSC_OK;
}

/* ---- making and freeing -------------------------------------------------------------------------------------------- */

static void release_memory(struct actor *a) { mem_free(a); }

static void drop_attempt(wsc_engine *e) {
  attempt_free(e->attempt);
  e->attempt = NULL;
}

/* What the hook changed held for one run. */
static int restore_attempt(wsc_engine *e) {
  if (!e->attempt) return WSC_OK;
  struct url url = {0};
  if (url_copy(&e->base_url, &url)) return WSC_ERR_NOMEM;
  drop_attempt(e);
  url_free(&e->url);
  e->url = url;
  wsc_options_free(e->options);
  e->options = options_ref(e->base_options);
  return WSC_OK;
}

static void destroy(struct actor *a) {
  wsc_engine *e = (wsc_engine *)(void *)a;
  actor_leave(a);
  host_free(e);
  drop_attempt(e);
  url_free(&e->base_url);
  wsc_options_free(e->base_options);
  wsc_error_unref(e->failure);
  wsc_error_unref(e->stop_error);
  wsc_error_unref(e->read_error);
  url_free(&e->url);
  tls_context_unref(e->trust);
  wsc_options_free(e->options);
  pthread_mutex_destroy(&e->lock);
  log_free(e);
  trace_free(e->trace);
  actor_bury(a, release_memory);
}

static void configure(wsc_engine *e) {
  const wsc_options *o = e->options;
  struct lifecycle_config c = {
      .auto_reconnect = options_int(o, WSC_OPT_AUTO_RECONNECT),
      .retry_first_start = options_int(o, WSC_OPT_RETRY_FIRST_START),
      .ask_before_attempt = options_int(o, WSC_OPT_ASK_BEFORE_ATTEMPT) || e->callbacks.before_attempt,
      .base_s = (uint32_t)options_int(o, WSC_OPT_RECONNECT_BASE_S),
      .max_exponent = (uint32_t)options_int(o, WSC_OPT_RECONNECT_MAX_EXPONENT),
      .jitter_percent = (uint32_t)options_int(o, WSC_OPT_JITTER_PERCENT),
      .first_spread_ms = (uint32_t)options_int(o, WSC_OPT_FIRST_DELAY_SPREAD_MS),
      .max_attempts = (uint32_t)options_int(o, WSC_OPT_MAX_ATTEMPTS),
      .give_up_on = (uint32_t)options_int(o, WSC_OPT_GIVE_UP_ON),
      .on_open_timeout_ms = options_int(o, WSC_OPT_ON_OPEN_TIMEOUT_MS),
      .stable_after_ms = options_int(o, WSC_OPT_STABLE_AFTER_MS),
      .retry_after_max_ms = options_int(o, WSC_OPT_RETRY_AFTER_MAX_MS),
      .callback_grace_ms = options_int(o, WSC_OPT_CALLBACK_GRACE_MS),
  };
  lifecycle_init(&e->life, &c);
  e->reader_count = (uint32_t)options_int(o, WSC_OPT_READER_COUNT);
  e->send_waits = options_int(o, WSC_OPT_SEND_WAITS_FOR_SESSION) != 0;
}

static void on_log(void *self, int level, const char *subsystem, const char *session_id, const char *text) {
  engine_log(self, level, subsystem, session_id, "%s", text);
}

int wsc_engine_new(const char *url, const wsc_callbacks *cb, void *user, const wsc_options *o, wsc_engine **out,
                   wsc_error **err) {
  if (!out) return error_set(err, WSC_ERR_INVALID, "wsc_engine_new: out is NULL");
  *out = NULL;
  if (cb && cb->struct_size < FIRST_CALLBACKS)
    return error_set(err, WSC_ERR_INVALID, "callbacks: struct_size is %u, at least %u is needed", cb->struct_size,
                     (unsigned)FIRST_CALLBACKS);
  int r = wsc_options_validate(o, err);
  if (r) return r;
  wsc_engine *e = mem_zalloc(sizeof *e);
  if (!e) return error_set(err, WSC_ERR_NOMEM, "out of memory for an engine");
  pthread_mutex_init(&e->lock, NULL);
  log_init(e);
  atomic_init(&e->actor.refs, 1);
  e->actor.run = engine_run;
  e->actor.destroy = destroy;
  e->generation = os_fork_generation();
  e->id = atomic_fetch_add(&engines_made, 1) + 1;
  e->user = user;
  e->node.fill = engine_fill;
  e->node.owner = &e->actor;
  e->rtt_last_ns = e->rtt_smoothed_ns = -1;
  if (cb) sized_read(&e->callbacks, sizeof e->callbacks, cb);
  e->has_callbacks = cb != NULL;
  if ((r = url_parse(url, &e->url, err))) goto fail;
  if (!(e->options = options_snapshot(o))) {
    r = error_set(err, WSC_ERR_NOMEM, "out of memory for an engine");
    goto fail;
  }
  e->base_options = options_ref(e->options);
  e->log.hook = options_log(e->base_options, &e->log.hook_self);
  if (trace_new(e)) {
    r = error_set(err, WSC_ERR_NOMEM, "out of memory for an engine");
    goto fail;
  }
  bool hook = options_int(o, WSC_OPT_ASK_BEFORE_ATTEMPT) || e->callbacks.before_attempt; /* only it changes the URL */
  if (hook && url_copy(&e->url, &e->base_url)) {
    r = error_set(err, WSC_ERR_NOMEM, "out of memory for an engine");
    goto fail;
  }
  configure(e);
  if (options_int(e->options, WSC_OPT_HOST_ADAPTER) && host_init(e)) {
    r = error_set(err, WSC_ERR_NOMEM, "out of memory for an engine");
    goto fail;
  }
  if (e->url.secure && !e->host && !options_adapter(e->options) && (r = tls_context_new(e->options, &e->trust, err)))
    goto fail;
  int level = (int)options_int(e->options, WSC_OPT_LOG_LEVEL);
  if (e->has_callbacks && !e->log.hook) level = 0; /* nobody would listen */
  e->owner = (struct connection_owner){engine_read, on_log, level, e->trace ? e : NULL};
  *out = e;
  return WSC_OK;
fail:
  destroy(&e->actor);
  return r;
}

int wsc_loop_add(wsc_loop *l, wsc_engine *e) {
  if (!l || !e) return WSC_ERR_INVALID;
  if (loop_forked(l) || e->generation != os_fork_generation()) return WSC_ERR_FORKED;
  pthread_mutex_lock(&e->lock);
  int r = e->joined ? WSC_ERR_STATE : actor_join(&e->actor, l);
  if (!r) {
    e->joined = true;
    e->owner.traced = NULL;   /* its verbs are the host's to tell of, by its own operations */
    e->has_callbacks = false; /* a host's loop has no crew: its callbacks are the host's to run */
  }
  pthread_mutex_unlock(&e->lock);
  return r;
}

/* In the child of a fork only this process's copies of the fds may go. */
static void free_forked(wsc_engine *e) {
  wsc_connection *k = e->session ? e->session->connection : NULL;
  if (k && k->transport.fd >= 0) {
    close(k->transport.fd);
    k->transport.fd = -1; /* the number may soon be somebody else's */
  }
  if (e->joined && e->actor.loop->crew) poller_close(&e->actor.loop->poller);
}

/* A host's loop: its run is cut, because the callbacks that a stop would wait for are the caller's own. */
static void cut(wsc_engine *e) {
  wsc_op *op;
  if (op_new(OP_SETTLE, &e->actor, e, e->user, NULL, 0, &op, NULL)) return;
  pthread_mutex_lock(&e->lock);
  e->wishes |= WISH_CUT;
  op_list_push(&e->settles, op);
  pthread_mutex_unlock(&e->lock);
  engine_kick(e);
  op_finish(op, NULL);
}

static bool run_is_on(const wsc_engine *e) { return e->life.phase != PHASE_IDLE || e->wishes & WISH_START || e->start; }

void wsc_engine_free(wsc_engine *e) {
  if (!e) return;
  if (e->generation != os_fork_generation()) {
    free_forked(e);
    return;
  }
  bool inside = callback_of(e) != NULL;
  pthread_mutex_lock(&e->lock);
  bool running = e->joined && run_is_on(e);
  pthread_mutex_unlock(&e->lock);
  if (running && !inside) {
    if (e->actor.loop->crew) wsc_engine_stop(e, NULL, NULL);
    else cut(e);
  }
  pthread_mutex_lock(&e->lock);
  running = e->joined && run_is_on(e);
  if (running) { /* inside its callback, or a callback that never returned: it dies with its run */
    e->freed = true;
    e->wishes |= WISH_EXIT;
  }
  pthread_mutex_unlock(&e->lock);
  if (running) {
    engine_kick(e);
    return;
  }
  if (!inside) log_close(e);
  if (!inside && e->trace) trace_close(e);
  actor_unref(&e->actor);
}

/* ---- start, stop, wait --------------------------------------------------------------------------------------------- */

static int join_loop(wsc_engine *e, wsc_error **err) {
  if (e->joined) return WSC_OK;
  if (e->host && e->has_callbacks)
    return error_set(err, WSC_ERR_INVALID,
                     "start: HOST_ADAPTER needs a host's loop (wsc_loop_add) that answers its events");
  if (!e->has_callbacks)
    return error_set(err, WSC_ERR_STATE, "start: an engine without callbacks needs wsc_loop_add first");
  wsc_loop *l;
  int r = loop_default(options_int(e->options, WSC_OPT_CREW_MAX_THREADS), &l, err);
  if (r) return r;
  r = actor_join(&e->actor, l);
  loop_unref(l);
  e->joined = r == WSC_OK;
  return r ? error_set(err, r, "start: out of memory") : WSC_OK;
}

/* The lock is held. */
static int begin_start(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **op, wsc_error **err) {
  if (run_is_on(e)) return error_set(err, WSC_ERR_STATE, "start: the engine is running already");
  int r = join_loop(e, err);
  if (!r && restore_attempt(e)) r = error_set(err, WSC_ERR_NOMEM, "start: out of memory");
  if (!r) r = op_new(OP_START, &e->actor, e, e->user, c, token, op, err);
  if (r) return r;
  e->start = *op;
  e->runs++;
  e->wishes = WISH_START;
  e->stop_overdue = false;
  engine_set_failure(e, NULL);
  if (e->owner.log_level >= WSC_LOG_DEBUG) log_options(e);
  return WSC_OK;
}

int wsc_engine_start_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **out, wsc_error **err) {
  int r = engine_usable(e, "start", err);
  if (r) return r;
  wsc_op *op = NULL;
  struct trace_start spans;
  if (e->trace) trace_start_begin(e, c, &spans);
  pthread_mutex_lock(&e->lock);
  r = begin_start(e, c, token, &op, err);
  if (!r && e->trace) trace_started(e, &spans);
  pthread_mutex_unlock(&e->lock);
  if (r && e->trace) trace_start_refused(e, &spans, r, err ? *err : NULL);
  if (r) return r;
  engine_kick(e);
  return op_begun(op, out);
}

int wsc_engine_start(wsc_engine *e, const wsc_context *c, wsc_error **err) {
  if (e && callback_of(e)) return error_set(err, WSC_ERR_IN_CALLBACK, "start: not inside a callback of this engine");
  wsc_op *op;
  int r = wsc_engine_start_begin(e, c, 0, &op, err);
  if (r) return r;
  r = op_finish(op, err);
  if (e->trace) trace_settle(e);
  return r;
}

static void set_stop_deadline(const wsc_engine *e, wsc_op *op) {
  int64_t timeout = options_int(e->options, WSC_OPT_STOP_TIMEOUT_MS);
  if (timeout) op->deadline_ns = earlier(op->deadline_ns, op->began_ns + timeout * NS_PER_MS);
}

int wsc_engine_stop_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **out, wsc_error **err) {
  int r = engine_usable(e, "stop", err);
  if (r) return r;
  bool inside = callback_of(e) != NULL;
  wsc_op *op;
  if ((r = op_new(OP_STOP, &e->actor, e, e->user, c, token, &op, err))) return r;
  pthread_mutex_lock(&e->lock);
  if (!run_is_on(e)) {
    pthread_mutex_unlock(&e->lock);
    op_refuse(op);
    return error_set(err, WSC_ERR_STATE, "stop: the engine is not started");
  }
  e->wishes |= inside ? WISH_EXIT : WISH_STOP;
  /* The holder's own stop ends the pause; one that was begun for an event belongs to no thread, so any stop is its holder's. */
  if (e->paused && (!e->pause_holder || e->pause_holder == engine_thread_id())) engine_end_pause(e);
  if (e->session) engine_seize(e);
  engine_set_control(e);
  if (inside) {
    op_complete(op, WSC_OK, NULL);
  } else {
    set_stop_deadline(e, op);
    op_list_push(&e->stops, op);
  }
  pthread_mutex_unlock(&e->lock);
  engine_kick(e);
  return op_begun(op, out);
}

int wsc_engine_stop(wsc_engine *e, const wsc_context *c, wsc_error **err) {
  wsc_op *op;
  void *span = e && e->owner.traced ? trace_stop(e, c) : NULL;
  int r = wsc_engine_stop_begin(e, c, 0, &op, err);
  if (!r) r = op_finish(op, err);
  if (span) trace_verb_end(e, span, r, err ? *err : NULL);
  return r;
}

int wsc_engine_wait_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **out, wsc_error **err) {
  int r = engine_usable(e, "wait", err);
  if (r) return r;
  wsc_op *op;
  if ((r = op_new(OP_WAIT, &e->actor, e, e->user, c, token, &op, err))) return r;
  pthread_mutex_lock(&e->lock);
  bool on = run_is_on(e);
  if (on) op_list_push(&e->waits, op);
  else if (e->stop_reason == WSC_STOPPED_NEVER_RAN) op_complete(op, WSC_OK, NULL);
  else op_complete(op, WSC_STOPPED, wsc_error_ref(e->stop_error));
  pthread_mutex_unlock(&e->lock);
  if (on) engine_kick(e);
  return op_begun(op, out);
}

int wsc_engine_wait(wsc_engine *e, const wsc_context *c, wsc_error **why) {
  if (why) *why = NULL;
  if (e && callback_of(e)) return error_set(why, WSC_ERR_IN_CALLBACK, "wait: not inside a callback of this engine");
  if (e && !e->joined && e->generation == os_fork_generation()) return WSC_OK;
  wsc_op *op;
  int r = wsc_engine_wait_begin(e, c, 0, &op, why);
  return r ? r : op_finish(op, why);
}

int wsc_engine_stop_reason(const wsc_engine *e) {
  if (engine_usable(e, "stop_reason", NULL)) return WSC_STOPPED_NEVER_RAN;
  wsc_engine *unlocked = (wsc_engine *)(uintptr_t)e;
  pthread_mutex_lock(&unlocked->lock);
  int reason = e->stop_reason;
  pthread_mutex_unlock(&unlocked->lock);
  return reason;
}

/* ---- requests and questions ---------------------------------------------------------------------------------------- */

static void wish(wsc_engine *e, unsigned what, uint64_t attempt) {
  pthread_mutex_lock(&e->lock);
  bool on = run_is_on(e);
  if (on) {
    bool newer = !(e->wishes & WISH_RESTART) || attempt > e->restart_attempt;
    if (what == WISH_RESTART && newer) e->restart_attempt = attempt;
    e->wishes |= what;
    if (e->session && (what == WISH_EXIT || e->session->attempt == attempt))
      engine_seize(e); /* no further message is taken */
    engine_set_control(e);
  }
  pthread_mutex_unlock(&e->lock);
  if (on) engine_kick(e);
}

void wsc_engine_exit(wsc_engine *e) {
  if (!engine_usable(e, "exit", NULL)) wish(e, WISH_EXIT, 0);
}

void wsc_engine_restart(wsc_engine *e) {
  wsc_session *s = wsc_engine_session(e);
  wsc_session_restart(s);
  wsc_session_unref(s);
}

void wsc_session_exit(wsc_session *s) {
  if (!s || engine_usable(s->engine, "exit", NULL)) return;
  pthread_mutex_lock(&s->engine->lock);
  bool same_run = s->run == s->engine->runs;
  pthread_mutex_unlock(&s->engine->lock);
  if (same_run) wish(s->engine, WISH_EXIT, 0);
}

void wsc_session_restart(wsc_session *s) {
  if (s && !engine_usable(s->engine, "restart", NULL)) wish(s->engine, WISH_RESTART, s->attempt);
}

uint64_t wsc_engine_id(const wsc_engine *e) { return e ? e->id : 0; }

static int state_of(const wsc_engine *e) {
  if (!run_is_on(e)) return WSC_STATE_STOPPED;
  if (e->life.stop || e->life.exit || e->wishes & (WISH_STOP | WISH_EXIT) || e->life.phase == PHASE_ENDING)
    return WSC_STATE_STOPPING;
  if (e->start) return WSC_STATE_STARTING;
  if (e->life.first) return WSC_STATE_STOPPING; /* the start has failed, and what it began is being ended */
  return e->life.phase == PHASE_OPEN ? WSC_STATE_OPEN : WSC_STATE_RECONNECTING;
}

int wsc_engine_state(const wsc_engine *e) {
  if (engine_usable(e, "state", NULL)) return WSC_STATE_STOPPED;
  wsc_engine *unlocked = (wsc_engine *)(uintptr_t)e;
  pthread_mutex_lock(&unlocked->lock);
  int state = state_of(e);
  pthread_mutex_unlock(&unlocked->lock);
  return state;
}

bool wsc_engine_is_started(wsc_engine *e) {
  if (engine_usable(e, "is_started", NULL)) return false;
  wsc_op *op = NULL;
  pthread_mutex_lock(&e->lock);
  int state = state_of(e);
  bool waits = (state == WSC_STATE_STARTING || state == WSC_STATE_STOPPING) && !callback_of(e);
  if (waits && op_new(OP_SETTLE, &e->actor, e, e->user, NULL, 0, &op, NULL) == WSC_OK) op_list_push(&e->settles, op);
  pthread_mutex_unlock(&e->lock);
  if (!op) return state != WSC_STATE_STOPPED && state != WSC_STATE_STOPPING;
  op_finish(op, NULL);
  state = wsc_engine_state(e);
  return state != WSC_STATE_STOPPED;
}

wsc_session *wsc_engine_session(wsc_engine *e) {
  if (engine_usable(e, "session", NULL)) return NULL;
  pthread_mutex_lock(&e->lock);
  wsc_session *s = e->reading ? wsc_session_ref(e->session) : NULL;
  if (!s && e->life.phase == PHASE_OPENING && callback_of(e)) s = wsc_session_ref(e->session);
  pthread_mutex_unlock(&e->lock);
  return s;
}

int wsc_engine_stats(wsc_engine *e, wsc_stats *out) {
  if (!e || !out || out->struct_size < FIRST_STATS) return WSC_ERR_INVALID;
  if (e->generation != os_fork_generation()) return WSC_ERR_FORKED;
  pthread_mutex_lock(&e->lock);
  struct traffic t = e->traffic;
  wsc_stats s = {.sessions = e->sessions,
                 .reconnects = e->reconnects,
                 .failed_attempts = e->failed_attempts,
                 .rtt_last_ns = e->rtt_last_ns,
                 .rtt_smoothed_ns = e->rtt_smoothed_ns,
                 .reconnects_by_peer = e->reconnects_by[CAUSE_PEER],
                 .reconnects_by_network = e->reconnects_by[CAUSE_NETWORK],
                 .reconnects_by_timeout = e->reconnects_by[CAUSE_TIMEOUT],
                 .reconnects_by_protocol = e->reconnects_by[CAUSE_PROTOCOL],
                 .reconnects_by_user = e->reconnects_by[CAUSE_USER],
                 .last_byte_age_ns = -1};
  wsc_connection *k = e->session ? e->session->connection : NULL;
  if (k) {
    pthread_mutex_lock(&k->lock);
    traffic_add(&t, &k->traffic);
    s.unsent_bytes = k->tx_bytes;
    s.queued_messages = k->queue.messages;
    s.queued_bytes = k->queue.payload;
    if (k->rtt_last_ns >= 0) {
      s.rtt_last_ns = k->rtt_last_ns;
      s.rtt_smoothed_ns = k->rtt_smoothed_ns;
    }
    if (k->last_byte_ns && k->state != CONN_ENDED) s.last_byte_age_ns = os_now_ns() - k->last_byte_ns;
    pthread_mutex_unlock(&k->lock);
  } else if (e->host) {
    t = e->host->traffic;
    s.rtt_last_ns = e->host->rtt_last_ns;
    s.rtt_smoothed_ns = e->host->rtt_smoothed_ns;
  }
  pthread_mutex_unlock(&e->lock);
  s.messages_received = t.messages_received;
  s.wire_received_bytes = t.wire_received;
  s.wire_sent_bytes = t.wire_sent;
  s.packed_received_bytes = t.packed_received;
  s.unpacked_received_bytes = t.unpacked_received;
  s.packed_sent_bytes = t.packed_sent;
  s.unpacked_sent_bytes = t.unpacked_sent;
  s.bytes_received = t.bytes_received;
  s.messages_sent = t.messages_sent;
  s.bytes_sent = t.bytes_sent;
  s.messages_dropped = t.dropped;
  sized_write(out, &s, sizeof s);
  return WSC_OK;
}
