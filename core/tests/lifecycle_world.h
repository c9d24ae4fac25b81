/* The world around a lifecycle, for test_lifecycle_explore.c: what is out, what runs, what is owed, on a virtual
 * clock. It knows what may happen next, carries out the effects and judges each by rules of its own. Of the machine
 * it looks at nothing but the phase: the world keeps its own books, so that the two can disagree. (A header of
 * functions: one test is one source file.) */
#ifndef WSC_LIFECYCLE_WORLD_H
#define WSC_LIFECYCLE_WORLD_H

#include "lifecycle.h"
#include "wscengine/engine.h"
#include "wscengine/status.h"

enum out { OUT_NOTHING, OUT_ASK, OUT_OPEN, OUT_CLOSE, OUT_CLOSE_ERROR, OUT_RESTART_ERROR, OUT_STOPPED };

struct world {
  struct lifecycle l;
  int64_t now, timer;
  enum out out; /* the one session event that is out */

  /* the run */
  bool running, start_owed, had_session, stop, exit, told_last, start_failed, aborted;
  int abort_status;
  uint32_t k; /* failed attempts in a row */
  int64_t started_at, next_at, hook_delay;

  /* the attempt; closing: IN_CLOSED is owed; refused: by OnOpen; cut: by EF_ABORT */
  bool dialing, connected, closing, lost, restart, refused, cut;
  uint64_t dials;
  int64_t dialed_at;

  /* its session: OnOpen succeeded, OnClose has not been raised; reading, over: EF_READ, EF_SESSION_OVER were given */
  bool session, reading, over, drop, taken, overrun;
  int64_t opened_at, ended_at, drained_at;
  bool untaken;        /* a message waits */
  uint32_t inside;     /* callbacks of this session that run */
  uint32_t old_inside; /* callbacks of sessions whose OnClose did not wait for them */
  bool owe_taken, owe_out, owe_all;

  /* what the step under way must do */
  bool want_restart_error, want_close_error;
  struct lifecycle_effect wanted;
};

enum act { ACT_INPUT, ACT_WAIT, ACT_MESSAGE, ACT_ENTER, ACT_LEAVE, ACT_LEAVE_OLD };
struct action {
  enum act act;
  struct lifecycle_input in; /* now_ms: when it happens */
};
enum { ACTIONS_MAX = 48, READERS = 2 };

#define MUST(condition, rule) \
  do { \
    if (!(condition)) return rule; \
  } while (0)

static void world_init(struct world *w, const struct lifecycle_config *config) {
  memset(w, 0, sizeof *w);
  lifecycle_init(&w->l, config);
  w->timer = w->hook_delay = -1;
}

static bool ending(const struct world *w) { return w->out == OUT_STOPPED || w->owe_all; }
static bool draining(const struct world *w) { return w->session && w->over; }

/* Would this input, at the current epoch, tell the machine something that it does not know? All others must change
 * nothing. */
static bool has_meaning(const struct world *w, enum lifecycle_input_kind kind) {
  switch (kind) {
  case IN_START: return !w->running;
  case IN_START_ABORTED: return w->start_owed;
  case IN_STOP: return w->running && !ending(w) && !w->stop;
  case IN_STOP_DEADLINE: return w->stop && draining(w);
  case IN_EXIT: return w->running && !ending(w) && !w->exit;
  case IN_RESTART: return (w->out == OUT_OPEN && !w->cut && !w->lost) || (w->session && !w->over);
  case IN_ANSWERED: return w->out == OUT_ASK;
  case IN_DIALED:
  case IN_DIAL_FAILED: return w->dialing;
  case IN_OPENED: return w->out == OUT_OPEN;
  case IN_LOST: return (w->out == OUT_OPEN && !w->cut) || w->session || w->out == OUT_CLOSE;
  case IN_TAKEN: return draining(w) && !w->drop && !w->taken;
  case IN_READERS_OUT: return draining(w) && (w->drop || w->taken);
  case IN_CLOSE_ANSWERED: return w->out == OUT_CLOSE;
  case IN_CLOSED: return w->closing;
  case IN_CALLBACK_DONE: return w->out == OUT_CLOSE_ERROR || w->out == OUT_RESTART_ERROR || w->out == OUT_STOPPED;
  case IN_TIMER: return w->timer >= 0 && w->now >= w->timer;
  case IN_ALL_OUT: return w->owe_all;
  }
  return false;
}

/* What may happen next. */

static struct action at_once(const struct world *w, struct lifecycle_input in) {
  in.epoch = w->l.epoch;
  if (in.now_ms == 0) in.now_ms = w->now;
  if (in.retry_after_ms == 0) in.retry_after_ms = -1;
  if (in.retry_delay_ms == 0) in.retry_delay_ms = -1;
  return (struct action){.in = in};
}
#define MAY(...) actions[n++] = at_once(w, (struct lifecycle_input){__VA_ARGS__})
#define MAY_ACT(what, at) \
  actions[n++] = (struct action) { \
    .act = what, .in = {.now_ms = at } \
  }

static int may_be_answered(const struct world *w, struct action *actions) {
  int n = 0;
  switch (w->out) {
  case OUT_ASK:
    MAY(.kind = IN_ANSWERED, .ok = true);
    MAY(.kind = IN_ANSWERED);
    MAY(.kind = IN_ANSWERED, .ok = true, .delay_ms = 5);
    MAY(.kind = IN_ANSWERED, .ok = true, .reset = true, .retry_delay_ms = 700);
    break;
  case OUT_OPEN:
    MAY(.kind = IN_OPENED, .ok = true);
    MAY(.kind = IN_OPENED);
    break;
  case OUT_CLOSE: MAY(.kind = IN_CLOSE_ANSWERED); break;
  case OUT_CLOSE_ERROR:
  case OUT_STOPPED: MAY(.kind = IN_CALLBACK_DONE); break;
  case OUT_RESTART_ERROR:
    MAY(.kind = IN_CALLBACK_DONE);
    if (w->now < w->next_at) MAY(.kind = IN_CALLBACK_DONE, .now_ms = w->next_at);
    break;
  case OUT_NOTHING: break;
  }
  if (w->dialing) {
    MAY(.kind = IN_DIALED);
    MAY(.kind = IN_DIAL_FAILED);
    MAY(.kind = IN_DIAL_FAILED, .fatal = 1);
    MAY(.kind = IN_DIAL_FAILED, .chance = UINT32_MAX);
    MAY(.kind = IN_DIAL_FAILED, .retry_after_ms = 1500);
    MAY(.kind = IN_DIAL_FAILED, .retry_after_ms = 99999);
  }
  if (w->closing) {
    MAY(.kind = IN_CLOSED, .ok = true);
    MAY(.kind = IN_CLOSED);
  }
  return n;
}

static int may_be_asked(const struct world *w, struct action *actions) {
  int n = 0;
  if (!w->running) MAY(.kind = IN_START);
  if (w->start_owed) MAY(.kind = IN_START_ABORTED, .status = WSC_ERR_CANCELED);
  if (has_meaning(w, IN_STOP)) MAY(.kind = IN_STOP);
  if (has_meaning(w, IN_STOP_DEADLINE)) MAY(.kind = IN_STOP_DEADLINE);
  if (has_meaning(w, IN_EXIT)) MAY(.kind = IN_EXIT);
  if (has_meaning(w, IN_RESTART)) MAY(.kind = IN_RESTART);
  if (w->connected && !w->lost && has_meaning(w, IN_LOST)) MAY(.kind = IN_LOST);
  return n;
}

static int may_come_to_pass(const struct world *w, struct action *actions) {
  int n = 0;
  if (w->timer >= 0) {
    int64_t due = w->timer > w->now ? w->timer : w->now;
    MAY(.kind = IN_TIMER, .now_ms = due);
    MAY(.kind = IN_TIMER, .now_ms = due + 3);
    if (w->now < w->timer - 1) MAY_ACT(ACT_WAIT, w->timer - 1);
  }
  bool arriving = w->connected && !w->lost && !w->over && (w->reading || w->out == OUT_OPEN);
  if (arriving && !w->untaken) MAY_ACT(ACT_MESSAGE, w->now);
  if (w->session && w->reading && w->untaken && w->inside < READERS && !w->drop) MAY_ACT(ACT_ENTER, w->now);
  if (w->inside > 0) MAY_ACT(ACT_LEAVE, w->now);
  if (w->old_inside > 0) MAY_ACT(ACT_LEAVE_OLD, w->now);
  if (w->owe_taken && !w->untaken) MAY(.kind = IN_TAKEN);
  if (w->owe_out && w->inside == 0) MAY(.kind = IN_READERS_OUT);
  if (w->owe_all && w->inside == 0 && w->old_inside == 0) MAY(.kind = IN_ALL_OUT);
  int64_t stable_at = w->opened_at + w->l.config.stable_after_ms;
  if (w->session && !w->over && w->now < stable_at) MAY_ACT(ACT_WAIT, stable_at);
  return n;
}

static int world_actions(const struct world *w, struct action *actions) {
  int n = may_be_answered(w, actions);
  n += may_be_asked(w, actions + n);
  return n + may_come_to_pass(w, actions + n);
}

/* The world's own arithmetic of delays (the reconnect row, written down a second time). */

static int64_t part_of(int64_t ms, const struct lifecycle_config *c, uint32_t chance) {
  return (int64_t)((uint64_t)(ms * c->jitter_percent / 100) * chance >> 32);
}

static int64_t delay_of(const struct lifecycle_config *c, uint32_t k, uint32_t chance) {
  if (k == 0) return (int64_t)((uint64_t)c->first_spread_ms * chance >> 32);
  int64_t ms = 1000;
  for (uint32_t i = 1; i < k && i <= c->max_exponent; i++) ms *= c->base_s;
  return ms - part_of(ms, c, chance);
}

static int64_t delay_of_failure(const struct world *w, const struct lifecycle_input *in) {
  const struct lifecycle_config *c = &w->l.config;
  bool dial_failed = in->kind == IN_DIAL_FAILED, fatal = dial_failed && in->fatal;
  bool obeyed = dial_failed && in->retry_after_ms >= 0 && c->retry_after_max_ms > 0;
  uint32_t k = fatal ? c->max_exponent + 1 : w->k;
  int64_t ms = w->hook_delay >= 0 ? w->hook_delay : delay_of(c, k, obeyed ? 0 : in->chance);
  int64_t asked = !obeyed                                      ? -1
                  : in->retry_after_ms < c->retry_after_max_ms ? in->retry_after_ms
                                                               : c->retry_after_max_ms;
  if (w->hook_delay >= 0 && asked <= ms) return ms;
  if (asked > ms) ms = asked;
  return obeyed ? ms + part_of(ms, c, in->chance) : ms;
}

/* What an input means, before the machine has seen it. */

static bool wants_attempts(const struct world *w) {
  return !w->stop && !w->exit && !w->aborted && !w->told_last && !w->start_failed &&
         (!w->had_session || w->l.config.auto_reconnect || w->restart);
}

static void attempt_failed(struct world *w, const struct lifecycle_input *in, bool timed_out) {
  const struct lifecycle_config *c = &w->l.config;
  if ((!w->had_session && !c->retry_first_start) || w->aborted || w->stop || w->exit) {
    w->start_failed = !w->had_session;
    return;
  }
  uint32_t fatal = in->kind == IN_DIAL_FAILED ? in->fatal : 0;
  w->want_restart_error = true;
  w->wanted.retry = w->k++;
  w->wanted.last =
      (fatal & c->give_up_on) || (c->max_attempts && w->k >= c->max_attempts) || (w->had_session && !c->auto_reconnect);
  w->wanted.status = timed_out ? WSC_ERR_TIMEOUT : 1;
  w->wanted.delay_ms = w->wanted.last ? 0 : delay_of_failure(w, in);
  w->next_at = in->now_ms + w->wanted.delay_ms;
  w->told_last = w->wanted.last;
}

static void want_last(struct world *w, uint32_t retry) {
  w->wanted = (struct lifecycle_effect){.retry = retry, .last = true, .status = 1};
  w->want_restart_error = w->told_last = true;
}

static void session_finished(struct world *w, const struct lifecycle_input *in) {
  const struct lifecycle_config *c = &w->l.config;
  w->connected = false;
  if (w->stop || w->exit || (!c->auto_reconnect && !w->restart)) return;
  bool stable = w->ended_at - w->opened_at >= c->stable_after_ms;
  if (stable) w->k = 0;
  if (!stable && !w->restart) {
    w->k++;
    if (c->max_attempts && w->k >= c->max_attempts) want_last(w, w->k - 1);
    w->next_at = in->now_ms + (w->hook_delay >= 0 ? w->hook_delay : delay_of(c, w->k, in->chance));
  } else {
    w->next_at = in->now_ms + delay_of(c, w->k, in->chance);
  }
}

static int64_t open_deadline(const struct world *w) {
  int64_t limit = w->l.config.on_open_timeout_ms;
  if (limit == 0) return -1;
  if (w->start_owed) return w->started_at + limit;
  bool under_way = w->had_session && (w->dialing || (w->out == OUT_OPEN && !w->cut));
  return under_way ? w->dialed_at + limit : -1;
}

static void timer_fired(struct world *w, const struct lifecycle_input *in) {
  int64_t deadline = open_deadline(w);
  w->timer = -1;
  if (deadline < 0 || in->now_ms < deadline) return;
  if (w->start_owed) {
    w->aborted = true;
    w->abort_status = WSC_ERR_TIMEOUT;
  } else if (w->dialing) {
    attempt_failed(w, in, true);
  }
}

static void opened(struct world *w, const struct lifecycle_input *in) {
  w->out = OUT_NOTHING;
  if (w->cut) {
    if (!w->closing) attempt_failed(w, in, true);
  } else if (in->ok) {
    w->session = w->had_session = true;
    w->opened_at = in->now_ms;
    if (w->lost || w->restart || w->stop || w->exit) w->ended_at = in->now_ms;
  } else {
    w->refused = true;
    if (!w->lost) return;
    w->connected = false;
    attempt_failed(w, in, false);
  }
}

static void closed(struct world *w, const struct lifecycle_input *in) {
  w->closing = w->connected = false;
  if (w->refused || w->cut) {
    if (w->out != OUT_OPEN) attempt_failed(w, in, w->cut);
  } else if (in->ok) {
    session_finished(w, in);
  } else {
    w->want_close_error = true;
  }
}

static void told(struct world *w, const struct lifecycle_input *in) {
  switch (in->kind) {
  case IN_START:
    w->running = w->start_owed = true;
    w->had_session = w->stop = w->exit = w->told_last = w->start_failed = w->aborted = false;
    w->lost = w->restart = w->refused = w->cut = w->session = w->reading = w->over = w->drop = w->taken = w->overrun =
        false;
    w->k = 0;
    w->hook_delay = -1;
    w->started_at = w->next_at = in->now_ms;
    return;
  case IN_START_ABORTED:
    w->aborted = true;
    w->abort_status = in->status;
    return;
  case IN_STOP: w->stop = true; break;
  case IN_EXIT: w->exit = true; break;
  case IN_RESTART: w->restart = true; break;
  case IN_LOST: w->lost = true; break;
  case IN_ANSWERED:
    w->out = OUT_NOTHING;
    if (in->reset) w->k = 0;
    w->hook_delay = in->retry_delay_ms;
    if (!in->ok && !w->stop && !w->exit && !w->aborted) {
      if (w->had_session || w->l.config.retry_first_start) want_last(w, w->k);
      else w->start_failed = true;
    }
    w->next_at = in->now_ms + in->delay_ms;
    return;
  case IN_DIALED:
    w->dialing = false;
    w->connected = true;
    return;
  case IN_DIAL_FAILED:
    w->dialing = false;
    attempt_failed(w, in, false);
    return;
  case IN_OPENED: opened(w, in); return;
  case IN_TAKEN:
    w->owe_taken = false;
    w->taken = true;
    w->drained_at = in->now_ms;
    return;
  case IN_CLOSE_ANSWERED:
    w->out = OUT_NOTHING;
    if (w->lost) session_finished(w, in);
    return;
  case IN_CLOSED: closed(w, in); return;
  case IN_CALLBACK_DONE:
    if (w->out == OUT_CLOSE_ERROR) session_finished(w, in);
    w->out = OUT_NOTHING;
    return;
  case IN_TIMER: timer_fired(w, in); return;
  case IN_ALL_OUT: w->owe_all = w->overrun = false; return;
  case IN_READERS_OUT:
  case IN_STOP_DEADLINE: return;
  }
  if (w->session && !w->over) w->ended_at = in->now_ms;
}

/* The effects, each by its rule. */

static bool quiet(const struct world *w) {
  bool alive = w->connected && !w->lost;
  return w->out == OUT_NOTHING && !w->dialing && !w->closing && !w->session && !alive;
}

static int reason_of_end(const struct world *w) {
  if (w->told_last) return WSC_STOPPED_GAVE_UP;
  if (!w->had_session) return WSC_STOPPED_START_FAILED;
  if (w->stop) return WSC_STOPPED_BY_STOP;
  if (w->exit) return WSC_STOPPED_BY_EXIT;
  return WSC_STOPPED_LOST;
}

static int status_of_start(const struct world *w) {
  if (w->aborted) return w->abort_status;
  if (w->session) return w->stop ? WSC_ERR_CANCELED : WSC_OK;
  if (w->start_failed || w->told_last) return 1;
  return w->stop || w->exit ? WSC_ERR_CANCELED : 1;
}

static const char *raise(struct world *w, enum out what) {
  MUST(w->running, "no event without a run");
  MUST(w->out == OUT_NOTHING, "one session event at a time");
  w->out = what;
  return NULL;
}

static const char *judge_attempt(struct world *w, const struct lifecycle_input *in, const struct lifecycle_effect *e) {
  MUST(w->running && quiet(w), "one attempt or session at a time");
  MUST(wants_attempts(w), "no attempt after the run has been ended");
  MUST(in->now_ms >= w->next_at, "no attempt before its time");
  if (e->kind == EF_ASK) {
    MUST(w->l.config.ask_before_attempt && e->retry == w->k, "BEFORE_ATTEMPT with the number of failures");
    return raise(w, OUT_ASK);
  }
  MUST(e->epoch == ++w->dials, "epochs count the dials");
  MUST(!w->l.config.ask_before_attempt || in->kind == IN_ANSWERED, "BEFORE_ATTEMPT right before each dial");
  w->dialing = true;
  w->connected = w->lost = w->restart = w->refused = w->cut = w->reading = w->over = w->drop = w->taken = false;
  w->untaken = w->owe_taken = w->owe_out = false;
  w->dialed_at = in->now_ms;
  return NULL;
}

static const char *judge_session_over(struct world *w, const struct lifecycle_input *in,
                                      const struct lifecycle_effect *e) {
  MUST(w->session, "only a session can be over");
  MUST(e->drop == (w->stop || w->exit || w->restart),
       "messages are dropped when the user ended the session, and only then");
  MUST(e->fence == w->lost, "sends fail when the connection is gone, and only then");
  MUST(!w->over || (e->drop && !w->drop && !w->taken), "a session is over once; the rest may be dropped once");
  MUST(e->drop || w->reading, "what came before a loss is delivered");
  w->over = true;
  w->drop = e->drop;
  if (e->drop) {
    w->drained_at = in->now_ms;
    w->untaken = w->owe_taken = false;
  }
  return NULL;
}

static const char *judge_grace_over(struct world *w, const struct lifecycle_input *in) {
  bool by_stop = w->stop && in->kind == IN_STOP_DEADLINE;
  bool by_timer = !w->stop && in->kind == IN_TIMER && in->now_ms >= w->drained_at + w->l.config.callback_grace_ms;
  MUST(draining(w) && (w->drop || w->taken), "messages have no grace");
  MUST(by_stop || by_timer, "callbacks are waited for: with stop until its deadline, else for the grace");
  w->overrun = true;
  w->old_inside += w->inside;
  w->inside = 0;
  return NULL;
}

static const char *judge_closed(struct world *w, const struct lifecycle_effect *e) {
  MUST(draining(w), "one OnClose for each session whose OnOpen succeeded, none for others");
  MUST(w->inside == 0 && (w->drop || (w->taken && !w->untaken)), "OnClose after every message and callback");
  MUST(e->has_close == w->lost, "OnClose with a close message when the connection was closed or lost");
  w->session = w->reading = w->owe_taken = w->owe_out = false;
  return raise(w, OUT_CLOSE);
}

static const char *judge_close(struct world *w, const struct lifecycle_input *in, const struct lifecycle_effect *e) {
  MUST(w->connected && !w->lost && !w->closing, "only an open connection is closed, once");
  MUST(e->use_reply ? in->kind == IN_CLOSE_ANSWERED : in->kind == IN_OPENED && !in->ok,
       "OnClose's answer is sent after OnClose");
  w->closing = true;
  return NULL;
}

static const char *judge_abort(struct world *w) {
  MUST(w->connected && (w->out == OUT_OPEN || w->refused) && !w->cut, "only an attempt is aborted, once");
  w->cut = w->closing = true;
  return NULL;
}

static const char *judge_restart_error(struct world *w, const struct lifecycle_effect *e) {
  MUST(w->want_restart_error, "OnRestartError once for each failed attempt, and for nothing else");
  MUST(quiet(w), "a failed attempt leaves nothing behind");
  w->want_restart_error = false;
  const struct lifecycle_effect *x = &w->wanted;
  MUST(e->retry == x->retry, "retryCount is the number of failures before");
  MUST(e->last == x->last, "last when the engine gives up, and only then");
  MUST(e->delay_ms == x->delay_ms, "the delay is the documented one");
  MUST(e->status == x->status, "a timeout is called a timeout");
  return raise(w, OUT_RESTART_ERROR);
}

static const char *judge_start_done(struct world *w, const struct lifecycle_effect *e) {
  MUST(w->start_owed, "each start is completed once");
  MUST(e->status == status_of_start(w), "start's status tells what happened");
  MUST(w->session || (!w->dialing && (!w->connected || w->lost || w->closing)),
       "a start that failed leaves no connection behind");
  MUST(!w->aborted || !w->connected || w->cut, "an aborted start closes its socket at once");
  w->start_owed = false;
  return NULL;
}

static const char *judge_stopped(struct world *w, const struct lifecycle_effect *e) {
  MUST(quiet(w) && !w->start_owed, "STOPPED is the last event of a run");
  MUST(w->inside == 0 && w->old_inside == 0 && !w->overrun, "no callback runs when STOPPED is raised");
  MUST(w->had_session || w->told_last, "a start that failed needs no STOPPED");
  MUST(!wants_attempts(w), "a run ends when somebody or something ended it");
  MUST(e->reason == reason_of_end(w), "STOPPED says who ended the run");
  return raise(w, OUT_STOPPED);
}

static const char *judge_run_over(struct world *w, const struct lifecycle_input *in, const struct lifecycle_effect *e) {
  MUST(w->running && quiet(w) && !w->start_owed && w->timer < 0, "nothing is out when the run is over");
  MUST(w->inside == 0 && w->old_inside == 0, "no callback runs when the run is over");
  MUST(!wants_attempts(w), "a run ends when somebody or something ended it");
  MUST(e->reason == reason_of_end(w), "the run's reason tells who ended it");
  MUST((in->kind == IN_CALLBACK_DONE && (w->had_session || w->told_last)) || !(w->had_session || w->told_last),
       "STOPPED comes before");
  w->running = false;
  return NULL;
}

static const char *judge(struct world *w, const struct lifecycle_input *in, const struct lifecycle_effect *e) {
  switch (e->kind) {
  case EF_ASK:
  case EF_DIAL: return judge_attempt(w, in, e);
  case EF_CANCEL_DIAL:
    MUST(w->dialing, "only a dial is cancelled");
    w->dialing = false;
    return NULL;
  case EF_OPENED:
    MUST(in->kind == IN_DIALED && e->restarting == w->had_session, "OnOpen knows whether it is the first");
    return raise(w, OUT_OPEN);
  case EF_READ:
    MUST(w->session && !w->reading && !w->over, "reading begins once, after OnOpen succeeded");
    w->reading = true;
    return NULL;
  case EF_SESSION_OVER: return judge_session_over(w, in, e);
  case EF_DRAIN:
    MUST(draining(w), "only a session that is over is drained");
    w->owe_out = true;
    w->owe_taken = !w->drop && !w->taken;
    return NULL;
  case EF_GRACE_OVER: return judge_grace_over(w, in);
  case EF_CLOSED: return judge_closed(w, e);
  case EF_CLOSE: return judge_close(w, in, e);
  case EF_ABORT: return judge_abort(w);
  case EF_CLOSE_ERROR:
    MUST(w->want_close_error, "OnCloseError when the close handshake failed, and only then");
    w->want_close_error = false;
    return raise(w, OUT_CLOSE_ERROR);
  case EF_RESTART_ERROR: return judge_restart_error(w, e);
  case EF_TIMER: w->timer = e->at_ms; return NULL;
  case EF_START_DONE: return judge_start_done(w, e);
  case EF_STOPPED: return judge_stopped(w, e);
  case EF_RUN_OVER: return judge_run_over(w, in, e);
  case EF_DRAIN_ALL:
    MUST(w->overrun, "the end waits when a grace was over, and only then");
    w->owe_all = true;
    return NULL;
  }
  return "an effect that the header does not know";
}

/* When the timer must be due: the earliest of what waits for it. */
static int64_t timer_wanted(const struct world *w) {
  if (!w->running) return -1;
  bool waiting = quiet(w) && !w->owe_all; /* for the next attempt */
  bool in_grace = draining(w) && (w->drop || w->taken) && !w->stop;
  int64_t at = waiting ? w->next_at : in_grace ? w->drained_at + w->l.config.callback_grace_ms : -1;
  int64_t deadline = open_deadline(w);
  return at < 0 || (deadline >= 0 && deadline < at) ? deadline : at;
}

static const char *judge_state(const struct world *w, const struct lifecycle_input *in) {
  MUST(w->running == (w->l.phase != PHASE_IDLE), "IDLE is where no run is");
  if (!w->running) return NULL;
  MUST(!w->want_restart_error, "a failed attempt is told to OnRestartError");
  MUST(!w->want_close_error, "a failed close handshake is told to OnCloseError");
  MUST(!w->start_owed || (!w->aborted && !w->session), "start returns as soon as it was aborted or OnOpen succeeded");
  MUST(!w->session || w->over || !(w->lost || w->stop || w->exit || w->restart), "a session ends when it is told so");
  MUST(!w->dialing || !(w->stop || w->exit || w->aborted), "stop interrupts a dial");
  if (quiet(w) && !w->owe_all) {
    MUST(wants_attempts(w), "a run that was ended does not wait for anything");
    MUST(in->now_ms < w->next_at, "an attempt whose time has come is made");
  }
  MUST(w->timer == timer_wanted(w), "the timer is due when the next thing is due, and off when nothing is");
  return NULL;
}

/* Lets an action happen. NULL, or the rule that the machine broke. */
static const char *world_do(struct world *w, const struct action *a, struct lifecycle_effects *effects) {
  effects->count = 0;
  w->now = a->in.now_ms;
  switch (a->act) {
  case ACT_WAIT: return NULL;
  case ACT_MESSAGE: w->untaken = true; return NULL;
  case ACT_ENTER:
    w->inside++;
    w->untaken = false;
    return NULL;
  case ACT_LEAVE:
    w->inside--;
    w->owe_out = w->owe_out || w->inside == 0;
    return NULL;
  case ACT_LEAVE_OLD: w->old_inside--; return NULL;
  case ACT_INPUT: break;
  }
  const struct lifecycle_input *in = &a->in;
  if (in->kind == IN_READERS_OUT) w->owe_out = false;
  if (has_meaning(w, in->kind)) told(w, in);
  lifecycle_step(&w->l, in, effects);
  MUST(effects->count >= 0 && effects->count <= LIFECYCLE_EFFECTS_MAX, "effects are bounded");
  for (int i = 0; i < effects->count; i++) {
    const struct lifecycle_effect *e = &effects->items[i];
    MUST(e->kind != EF_TIMER || i == 0, "EF_TIMER comes first");
    MUST(e->kind != EF_RUN_OVER || i == effects->count - 1, "EF_RUN_OVER comes last");
    const char *broken = judge(w, in, e);
    if (broken) return broken;
  }
  return judge_state(w, in);
}

#endif
