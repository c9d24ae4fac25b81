/* The actor's run: what has happened becomes inputs of the lifecycle, one at a time; its effects are carried out; then events are offered. */
#define _GNU_SOURCE
#include "engine.h"
#include "error.h"
#include "os.h"
#include "random.h"
#include "trace.h"

#include <stdatomic.h>

static uint32_t chance(void) {
  uint32_t n = 0;
  random_bytes(&n, sizeof n);
  return n;
}

/* ---- what has happened --------------------------------------------------------------------------------------------- */

static bool start_input(wsc_engine *e, int64_t now, struct lifecycle_input *in) {
  if (e->wishes & WISH_START) {
    e->wishes &= ~(unsigned)WISH_START;
    in->kind = IN_START;
    return true;
  }
  int due = e->start ? op_due(e->start, now) : 0;
  if (!due) return false;
  in->kind = IN_START_ABORTED;
  in->status = due;
  return true;
}

static bool wish_input(wsc_engine *e, struct lifecycle_input *in) {
  if (e->wishes & WISH_STOP) {
    e->wishes &= ~(unsigned)WISH_STOP;
    in->kind = IN_STOP;
  } else if (e->wishes & WISH_EXIT) {
    e->wishes &= ~(unsigned)WISH_EXIT;
    in->kind = IN_EXIT;
  } else if (e->wishes & WISH_RESTART) {
    e->wishes &= ~(unsigned)WISH_RESTART;
    in->kind = IN_RESTART;
    in->epoch = e->restart_attempt;
  } else if (e->stop_overdue) {
    e->stop_overdue = false;
    in->kind = IN_STOP_DEADLINE;
  } else return false;
  return true;
}

static bool answer_input(wsc_engine *e, struct lifecycle_input *in) {
  in->ok = e->answer.ok;
  switch (e->answer.type) {
  case WSC_EVENT_OPENED: in->kind = IN_OPENED; break;
  case WSC_EVENT_BEFORE_ATTEMPT:
    in->kind = IN_ANSWERED;
    if (e->attempt) {
      in->delay_ms = e->attempt->delay_ms;
      in->retry_delay_ms = e->attempt->retry_delay_ms;
      in->reset = e->attempt->reset;
    }
    break;
  case WSC_EVENT_CLOSED: in->kind = IN_CLOSE_ANSWERED; break;
  case WSC_EVENT_CLOSE_ERROR:
  case WSC_EVENT_RESTART_ERROR:
  case WSC_EVENT_STOPPED: in->kind = IN_CALLBACK_DONE; break;
  default: e->answer.type = 0; return false;
  }
  e->answer.type = 0;
  return true;
}

static bool failed_dial_input(wsc_engine *e, struct lifecycle_input *in) {
  in->kind = IN_DIAL_FAILED;
  in->fatal = (uint32_t)error_fatal(e->failure);
  in->retry_after_ms = error_retry_after_ms(e->failure);
  e->failed_attempts++;
  if (e->trace) trace_dialed(e, e->failure);
  return true;
}

/* How a connection ended, unless on_open had refused it. */
static void end_failure(wsc_engine *e, wsc_error *error) {
  if (e->refused) wsc_error_unref(error);
  else engine_set_failure(e, error);
}

static bool link_input(wsc_engine *e, unsigned *news, struct lifecycle_input *in) {
  if (e->dial_failed) {
    e->dial_failed = false;
    return failed_dial_input(e, in);
  }
  if (*news & NEWS_DIAL_FAILED) {
    *news &= ~(unsigned)(NEWS_DIAL_FAILED | NEWS_ENDED);
    engine_set_failure(e, link_error(e));
    return failed_dial_input(e, in);
  }
  if (*news & NEWS_DIALED) {
    *news &= ~(unsigned)NEWS_DIALED;
    in->kind = IN_DIALED;
    return true;
  }
  if (*news & NEWS_LOST) {
    *news &= ~(unsigned)NEWS_LOST;
    end_failure(e, link_error(e));
    in->kind = IN_LOST;
    return true;
  }
  if (!e->closing || !link_ended(e)) return false;
  e->closing = false;
  const wsc_close *c = link_close(e);
  in->kind = IN_CLOSED;
  in->ok = !c || c->timer != WSC_TIMER_CLOSE;
  wsc_error *error = in->ok ? NULL : link_error(e);
  if (e->trace) trace_close_done(e, error);
  if (error) end_failure(e, error);
  return true;
}

static bool drain_input(wsc_engine *e, struct lifecycle_input *in) {
  bool batch_out = e->out == WSC_EVENT_BATCH;
  if (e->draining && e->session) {
    if (!e->taken_told && !e->drop && !batch_out && link_queue_empty(e)) {
      e->taken_told = true;
      in->kind = IN_TAKEN;
      return true;
    }
    if (!e->readers_told && !batch_out && !e->session->active && link_readers_out(e)) {
      e->readers_told = true;
      in->kind = IN_READERS_OUT;
      return true;
    }
  }
  if (e->drain_all && !e->active && link_readers_out(e)) {
    e->drain_all = false;
    in->kind = IN_ALL_OUT;
    return true;
  }
  return false;
}

static bool next_input(wsc_engine *e, unsigned *news, int64_t now, struct lifecycle_input *in) {
  *in = (struct lifecycle_input){
      .epoch = e->life.epoch, .now_ms = now / NS_PER_MS, .retry_delay_ms = -1, .retry_after_ms = -1};
  if (e->answer.type && answer_input(e, in)) return true;
  if (start_input(e, now, in) || link_input(e, news, in) || wish_input(e, in) || drain_input(e, in)) return true;
  if (e->life_due_ns && e->life_due_ns <= now) {
    e->life_due_ns = 0;
    in->kind = IN_TIMER;
    return true;
  }
  return false;
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

static int64_t expire(wsc_engine *e, uint32_t why, int64_t now) {
  int64_t due = op_list_expire(&e->pauses, why, now, "pause");
  due = earlier(due, op_list_expire(&e->waits, why, now, "wait"));
  due = earlier(due, op_list_expire(&e->settles, why, now, "is_started"));
  due = earlier(due, op_list_expire(&e->writes, why, now, "write: waiting for a session"));
  for (const wsc_op *op = e->stops.head; op; op = op->next)
    if (op_due(op, now) == WSC_ERR_TIMEOUT) e->stop_overdue = true;
  due = earlier(due, op_list_expire(&e->stops, why, now, "stop"));
  if (e->start) due = earlier(due, e->start->deadline_ns);
  return due;
}

static void step(wsc_engine *e, struct lifecycle_input *in, int64_t now) {
  struct lifecycle_effects effects;
  in->chance = chance(); /* here, not for every run: it costs more than a batch */
  lifecycle_step(&e->life, in, &effects);
  for (int i = 0; i < effects.count; i++) engine_effect(e, &effects.items[i], now);
}

void engine_run(struct actor *a, uint32_t why) {
  wsc_engine *e = (wsc_engine *)(void *)a;
  int64_t now = os_now_ns();
  wsc_session *s = wsc_session_ref(e->session); /* no lock: only this run ever changes which one it is */
  wsc_connection *k = s ? s->connection : NULL;
  if (k) connection_run(k, why, now);

  pthread_mutex_lock(&e->lock);
  if (e->wishes & WISH_CUT) {
    e->wishes = 0;
    link_abort(e, WSC_CLOSE_GOING_AWAY);
    engine_end_run(e, WSC_STOPPED_BY_STOP);
  }
  if (why & ACTOR_SLEPT && e->host && e->host->open) keepalive_probe(&e->host->alive, now);
  if (e->host) host_run(e, now);
  int64_t due = expire(e, why, now);
  unsigned news = link_news(e);
  struct lifecycle_input in;
  while (next_input(e, &news, now, &in)) {
    step(e, &in, now);
    news |= link_news(e);
  }
  if (e->life.phase == PHASE_OPEN && e->writes.head) engine_hand_over_writes(e);
  engine_grant_pauses(e);
  engine_pump(e);
  due = earlier(due, e->life_due_ns);
  if (e->host) due = earlier(due, e->host->due_ns);
  pthread_mutex_unlock(&e->lock);
  bool current =
      k && e->session == s; /* a newer one is kicked by its dial. No lock: only runs of this actor set these */
  actor_timer(a, why, current ? earlier(due, k->due_ns) : due);
  if (current && k->again) actor_kick(a, 0);
  wsc_session_unref(s);
}
