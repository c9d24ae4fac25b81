/* The lifecycle's effects, one function each. The engine's lock is held; nothing here waits. */
#define _GNU_SOURCE
#include "engine.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "trace.h"

#include <string.h>

void engine_set_failure(wsc_engine *e, wsc_error *error) {
  wsc_error_unref(e->failure);
  e->failure = error;
}

static void pend(wsc_engine *e, const struct engine_pending *p) { e->pending = *p; }

/* ---- attempts ------------------------------------------------------------------------------------------------------ */

static void drop_session(wsc_engine *e) {
  if (!e->session) return;
  link_forget(e);
  wsc_session *s = e->session;
  e->session = NULL;
  wsc_session_unref(s);
}

static void dial(wsc_engine *e, uint64_t attempt) {
  drop_session(e);
  e->reading = e->draining = e->drop = e->grace_over = e->closing = e->refused = false;
  engine_set_control(e);
  if (e->trace) trace_dial(e);
  e->session = session_new(e, attempt);
  if (!e->session || link_dial(e)) {
    if (!e->failure)
      engine_set_failure(e, error_make(&(struct error_info){.status = WSC_ERR_NOMEM}, "out of memory for a session"));
    e->dial_failed = true;
  }
}

/* Which limit ended an attempt, and at which step. Asked before the connection is dropped. */
static void note_abort(wsc_engine *e, int status, int64_t now) {
  struct error_info info = {.status = status};
  long long limit = (long long)options_int(e->options, WSC_OPT_ON_OPEN_TIMEOUT_MS);
  const char *step = link_step(e), *url = e->url.shown;
  if (status == WSC_ERR_CANCELED) engine_set_failure(e, error_make(&info, "%s: canceled while %s", url, step));
  else if (status != WSC_ERR_TIMEOUT) return;
  else if (e->start && op_due(e->start, now))
    engine_set_failure(e, error_make(&info, "%s: the caller's deadline passed while %s", url, step));
  else
    engine_set_failure(e, error_make(&info, "%s: not open after %lld ms (on_open_timeout) while %s", url, limit, step));
}

static void cancel_dial(wsc_engine *e, int status, int64_t now) {
  note_abort(e, status, now);
  if (e->trace) trace_dialed(e, e->failure);
  link_abort(e, 0);
}

static void ask(wsc_engine *e, uint32_t retry) {
  struct wsc_attempt *a = e->attempt;
  if (!a) a = e->attempt = mem_zalloc(sizeof *a);
  if (!a || (!a->options && url_copy(&e->url, &a->url))) {
    mem_free(a);
    e->attempt = NULL;
    e->answer = (struct engine_answer){.type = WSC_EVENT_BEFORE_ATTEMPT,
                                       .ok = true}; /* dials as before rather than not at all */
    return;
  }
  if (!a->options) a->options = options_ref(e->options);
  a->engine = e;
  a->number = retry;
  wsc_error_unref(a->last_error);
  a->last_error = wsc_error_ref(e->failure);
  a->delay_ms = 0;
  a->retry_delay_ms = -1;
  a->reset = false;
  pend(e, &(struct engine_pending){.type = WSC_EVENT_BEFORE_ATTEMPT, .retry = retry});
}

static void complete_all(struct op_list *list, int status, const wsc_error *error) {
  for (wsc_op *op; (op = list->head);) {
    op_list_remove(list, op);
    op_complete(op, status, error ? wsc_error_ref((wsc_error *)(uintptr_t)error) : NULL);
  }
}

/* ---- the start ----------------------------------------------------------------------------------------------------- */

static void start_done(wsc_engine *e, int status) {
  wsc_op *op = e->start;
  if (!op) return;
  e->start = NULL;
  wsc_error *error = NULL;
  if (status) {
    struct error_info info = {.status = status};
    if (status > 0) info.status = e->failure ? wsc_error_status(e->failure) : WSC_ERR_STATE;
    bool told = e->failure && wsc_error_status(e->failure) == info.status;
    if (told) info.cause = wsc_error_ref(e->failure);
    error = error_make(&info, told ? "start failed" : "start failed: %s", wsc_status_text(info.status));
    status = info.status;
  }
  if (e->trace) trace_start_done(e, status, error);
  op_complete(op, status, error);
  if (status == WSC_OK && !e->life.stop && !e->life.exit) complete_all(&e->settles, WSC_OK, NULL);
}

/* ---- sessions ------------------------------------------------------------------------------------------------------ */

static void opened(wsc_engine *e, bool restarting) {
  if (e->trace) trace_dialed(e, NULL);
  e->session->epoch = ++e->sessions;
  if (restarting) {
    e->reconnects++;
    e->reconnects_by[e->cause]++;
  }
  engine_log(e, WSC_LOG_INFO, "engine", e->session->id, "session %s (epoch %llu) is open", e->session->id,
             (unsigned long long)e->session->epoch);
  pend(e, &(struct engine_pending){.type = WSC_EVENT_OPENED, .restarting = restarting});
}

static void begin_reading(wsc_engine *e) {
  e->reading = true;
  if (!e->life.lost) engine_set_failure(e, NULL); /* what was lost during OnOpen has set it already */
}

void engine_hand_over_writes(wsc_engine *e) {
  wsc_connection *k = e->session->connection;
  while (k && e->writes.head && connection_write_op(k, &e->writes)) {}
  if (!k) complete_all(&e->writes, WSC_ERR_UNSUPPORTED, NULL);
}

static void session_over(wsc_engine *e, bool drop, bool fence) {
  if (!e->session) return;
  if (fence) link_fence(e);
  if (drop) {
    e->drop = true;
    e->session->over = true;
    engine_seize(e);
    link_drop(e);
    if (e->life.stop && e->session->connection) connection_end_reads(e->session->connection);
  }
  link_stop_reading(e);
  engine_set_control(e);
}

static enum engine_cause cause_of(const wsc_close *c) {
  if (c->timer != WSC_TIMER_NONE) return CAUSE_TIMEOUT;
  if (c->initiator == WSC_BY_PEER) return CAUSE_PEER;
  return c->initiator == WSC_BY_LOCAL ? CAUSE_PROTOCOL : CAUSE_NETWORK;
}

static void closed(wsc_engine *e, bool has_close) {
  const wsc_close *c = has_close ? link_close(e) : NULL;
  e->cause = c ? cause_of(c) : CAUSE_USER;
  e->reading = false;
  e->session->over = true;
  engine_set_control(e);
  pend(e, &(struct engine_pending){.type = WSC_EVENT_CLOSED, .has_close = has_close});
}

static void close_session(wsc_engine *e, bool use_reply) {
  int code = use_reply && e->answer.close_code ? e->answer.close_code : WSC_CLOSE_GOING_AWAY;
  const char *reason = use_reply && e->answer.close_code ? e->answer.close_reason : use_reply ? "Going Away" : "";
  if (e->trace) trace_close_begun(e, code, reason);
  link_shut(e, code, reason);
  e->closing = true;
}

static void abort_session(wsc_engine *e, int status, int64_t now) {
  note_abort(e, status, now);
  link_abort(e, WSC_CLOSE_GOING_AWAY);
  e->closing = true;
}

static void restart_error(wsc_engine *e, const struct lifecycle_effect *f) {
  engine_log(e, WSC_LOG_WARNING, "engine", "", "%s (%u before it): %s",
             f->last ? "giving up after a failure" : "attempt to reconnect failed", f->retry,
             wsc_error_message(e->failure));
  pend(e, &(struct engine_pending){
              .type = WSC_EVENT_RESTART_ERROR, .retry = f->retry, .last = f->last, .delay_ms = f->delay_ms});
}

/* ---- the end of a run ---------------------------------------------------------------------------------------------- */

void engine_end_run(wsc_engine *e, int reason) {
  e->life.phase = PHASE_IDLE;
  e->stop_reason = reason;
  wsc_error_unref(e->stop_error);
  e->stop_error = reason == WSC_STOPPED_BY_STOP || reason == WSC_STOPPED_BY_EXIT ? NULL : wsc_error_ref(e->failure);
  engine_log(e, WSC_LOG_INFO, "engine", "", "run is over");
  drop_session(e);
  loop_unpost(e->actor.loop, &e->node);
  e->pending.type = 0;
  e->out = 0;
  e->out_batch = NULL; /* of a run that was cut: its done finds nothing to give back to */
  e->reading = e->draining = e->drop = e->drain_all = e->closing = e->grace_over = false;
  e->wishes &= WISH_CUT;
  e->life_due_ns = 0;
  struct error_info over = {.status = WSC_ERR_CLOSED};
  wsc_error *gone = error_make(&over, "the engine has stopped");
  complete_all(&e->pauses, WSC_ERR_CLOSED, gone);
  complete_all(&e->writes, WSC_ERR_CLOSED, gone);
  engine_end_pause(e); /* after those that wait for it: nobody is granted a run that is over */
  wsc_error_unref(gone);
  start_done(e, WSC_ERR_CANCELED);
  complete_all(&e->stops, WSC_OK, NULL);
  complete_all(&e->waits, WSC_STOPPED, e->stop_error);
  complete_all(&e->settles, WSC_OK, NULL);
  if (e->freed) actor_unref(&e->actor); /* the user's reference; the run holds one of its own */
}

void engine_effect(wsc_engine *e, const struct lifecycle_effect *f, int64_t now) {
  switch (f->kind) {
  case EF_ASK: ask(e, f->retry); break;
  case EF_DIAL: dial(e, f->epoch); break;
  case EF_CANCEL_DIAL: cancel_dial(e, f->status, now); break;
  case EF_OPENED: opened(e, f->restarting); break;
  case EF_READ: begin_reading(e); break;
  case EF_SESSION_OVER: session_over(e, f->drop, f->fence); break;
  case EF_DRAIN:
    e->draining = true;
    e->taken_told = e->readers_told = false;
    break;
  case EF_DRAIN_ALL: e->drain_all = true; break;
  case EF_GRACE_OVER:
    e->grace_over = true;
    engine_log(e, WSC_LOG_WARNING, "engine", e->session ? e->session->id : "",
               "callbacks still run; OnClose waits no longer");
    break;
  case EF_CLOSED: closed(e, f->has_close); break;
  case EF_CLOSE: close_session(e, f->use_reply); break;
  case EF_ABORT: abort_session(e, f->status, now); break;
  case EF_CLOSE_ERROR: pend(e, &(struct engine_pending){.type = WSC_EVENT_CLOSE_ERROR}); break;
  case EF_RESTART_ERROR: restart_error(e, f); break;
  case EF_TIMER: e->life_due_ns = f->at_ms < 0 ? 0 : f->at_ms * NS_PER_MS; break;
  case EF_START_DONE: start_done(e, f->status); break;
  case EF_STOPPED: pend(e, &(struct engine_pending){.type = WSC_EVENT_STOPPED, .reason = f->reason}); break;
  case EF_RUN_OVER: engine_end_run(e, f->reason); break;
  }
}
