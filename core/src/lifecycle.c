/* The lifecycle of an engine: the flows behind lifecycle.h.
 *
 *   IDLE -> [ASKING] -> DIALING -> OPENING -> OPEN -> DRAINING -> CLOSE_CALLBACK -> CLOSING [-> CLOSE_ERROR] -+
 *               ^                                                                                             |
 *               +-- WAITING <-- RESTART_ERROR <-- an attempt that failed                                      |
 *                      ^                                                                                      |
 *                      +----------------------------- session_finished ---------------------------------------+
 *                                                            |
 *                                                            +--> ENDING -> IDLE
 *
 * Invariants
 *   - One thing is out at a time: a callback, a dial, a close handshake, a wait. The two exceptions are cut attempts
 *     (OnOpen is out while its socket is being closed: both are waited for) and messages (OPEN, DRAINING).
 *   - A callback that is out is always waited for. Only OnMessage and OnReadError can be overtaken, when their grace
 *     is over; then the run waits for them at its end.
 *   - stop and exit are remembered in the run until it ends. Where nothing of the user's is running they end it at
 *     once; everywhere else the answer that is awaited ends it. stop outranks exit, both outrank whatever else would
 *     end the run, except a give-up that OnRestartError has already been told.
 *   - A run whose first OnOpen never succeeded ends without STOPPED: start's own error tells the story. With
 *     retry_first_start a give-up is told to OnRestartError (`last`), and so STOPPED follows.
 *   - on_open_timeout bounds the whole first start, with all its asking and retrying, and later each attempt from its
 *     dial on.
 *   - Every point in time is kept here and compared with the input's now_ms; EF_TIMER is derived from them at the end
 *     of each step (arm), so that no flow can forget to set or clear it. */
#include "lifecycle.h"

#include <string.h>

#include "backoff.h"
#include "wscengine/engine.h"
#include "wscengine/status.h"

enum { NEVER = -1, THE_FAILURE = 1 };

/* Later than anybody waits, and still a number when the engine counts it in nanoseconds. */
#define LATEST_MS (INT64_MAX / 1000000)

struct step {
  struct lifecycle *l;
  const struct lifecycle_input *in;
  struct lifecycle_effects *out;
};

static struct lifecycle_effect *give(const struct step *s, enum lifecycle_effect_kind kind) {
  struct lifecycle_effect *e = &s->out->items[s->out->count++];
  *e = (struct lifecycle_effect){.kind = kind, .epoch = s->l->epoch};
  return e;
}

static int64_t later(int64_t now_ms, int64_t delay_ms) {
  return delay_ms > LATEST_MS - now_ms ? LATEST_MS : now_ms + delay_ms;
}

static int64_t earlier_of(int64_t a, int64_t b) {
  if (a == NEVER || b == NEVER) return a == NEVER ? b : a;
  return a < b ? a : b;
}

static bool due(const struct step *s, int64_t at_ms) { return at_ms != NEVER && s->in->now_ms >= at_ms; }

static int asked_to_end(const struct lifecycle *l) {
  return l->stop ? WSC_STOPPED_BY_STOP : l->exit ? WSC_STOPPED_BY_EXIT : WSC_STOPPED_NEVER_RAN;
}

/* The end of the run. */

static void run_over(const struct step *s, int reason) {
  s->l->phase = PHASE_IDLE;
  give(s, EF_RUN_OVER)->reason = reason;
}

static void start_done(const struct step *s, int status) {
  s->l->starting = false;
  s->l->open_deadline_ms = NEVER;
  give(s, EF_START_DONE)->status = status;
}

static void end_run(const struct step *s, int reason, int start_status) {
  struct lifecycle *l = s->l;
  if (l->starting) start_done(s, start_status);
  l->open_deadline_ms = NEVER;
  if (l->first && !l->gave_up) {
    run_over(s, WSC_STOPPED_START_FAILED);
    return;
  }
  l->reason = reason;
  l->phase = PHASE_ENDING;
  if (l->overrun) give(s, EF_DRAIN_ALL);
  else give(s, EF_STOPPED)->reason = reason;
}

/* Delays and giving up. */

static struct backoff table(const struct lifecycle *l) {
  const struct lifecycle_config *c = &l->config;
  return (struct backoff){.base_s = c->base_s,
                          .max_exponent = c->max_exponent,
                          .jitter_percent = c->jitter_percent,
                          .first_spread_ms = c->first_spread_ms};
}

/* The hook's delay stands for the table's, as it is; a Retry-After that asks for more wins over both, and then jitter
 * only adds. */
static int64_t delay_after_failure(const struct step *s, uint32_t fatal, int64_t retry_after_ms) {
  const struct lifecycle *l = s->l;
  const struct backoff b = table(l);
  if (retry_after_ms > l->config.retry_after_max_ms) retry_after_ms = l->config.retry_after_max_ms;
  if (l->config.retry_after_max_ms == 0) retry_after_ms = NEVER;

  if (l->retry_delay_ms != NEVER) {
    if (retry_after_ms <= l->retry_delay_ms) return l->retry_delay_ms;
    return (int64_t)backoff_at_least_ms(&b, (uint64_t)retry_after_ms, s->in->chance);
  }
  uint32_t chance = retry_after_ms >= 0 ? 0 : s->in->chance;
  int64_t ms = (int64_t)(fatal ? backoff_longest_ms(&b, chance) : backoff_delay_ms(&b, l->failed, chance));
  if (retry_after_ms < 0) return ms;
  return (int64_t)backoff_at_least_ms(&b, (uint64_t)(ms > retry_after_ms ? ms : retry_after_ms), s->in->chance);
}

static void count_failure(struct lifecycle *l) {
  if (l->failed < UINT32_MAX) l->failed++;
}

static bool too_many(const struct lifecycle *l) {
  return l->config.max_attempts > 0 && l->failed >= l->config.max_attempts;
}

/* retry_first_start is a promise about start alone: auto_reconnect has its say once a session has been. */
static bool gives_up(const struct lifecycle *l, uint32_t fatal) {
  return (fatal & l->config.give_up_on) || too_many(l) || (!l->first && !l->config.auto_reconnect);
}

/* Attempts. */

static void dial(const struct step *s) {
  struct lifecycle *l = s->l;
  l->epoch++;
  l->lost = l->restart = l->failing = l->cut = l->socket_closing = l->taken = false;
  l->phase = PHASE_DIALING;
  if (!l->first && l->config.on_open_timeout_ms > 0)
    l->open_deadline_ms = later(s->in->now_ms, l->config.on_open_timeout_ms);
  give(s, EF_DIAL);
}

static void ask(const struct step *s) {
  struct lifecycle *l = s->l;
  l->phase = PHASE_ASKING;
  struct lifecycle_effect *e = give(s, EF_ASK);
  e->retry = l->failed;
  e->epoch = l->epoch + 1;
}

/* The hook is asked after the wait, not before it: what it hands out (a token) may not live long. */
static void attempt(const struct step *s) {
  if (s->l->config.ask_before_attempt) ask(s);
  else dial(s);
}

static void attempt_at(const struct step *s, int64_t at_ms) {
  if (at_ms <= s->in->now_ms) {
    attempt(s);
    return;
  }
  s->l->phase = PHASE_WAITING;
  s->l->resume_ms = at_ms;
}

static struct lifecycle_effect *restart_error(const struct step *s, uint32_t retry, int status) {
  s->l->phase = PHASE_RESTART_ERROR;
  struct lifecycle_effect *e = give(s, EF_RESTART_ERROR);
  e->retry = retry;
  e->status = status;
  return e;
}

/* Whatever makes the engine give up is told to OnRestartError; STOPPED follows its answer. */
static void give_up(const struct step *s, uint32_t retry, int status) {
  s->l->gave_up = true;
  restart_error(s, retry, status)->last = true;
}

/* A failure of the first start is its own news, unless the start itself retries. */
static bool is_retried(const struct lifecycle *l) { return !l->first || (l->starting && l->config.retry_first_start); }

/* The attempt has failed and nothing of it is left: neither a dial nor OnOpen nor a socket. */
static void attempt_failed(const struct step *s, uint32_t fatal, int64_t retry_after_ms) {
  struct lifecycle *l = s->l;
  int status = l->cut ? WSC_ERR_TIMEOUT : THE_FAILURE;
  if (!l->starting) l->open_deadline_ms = NEVER;
  if (!is_retried(l) || asked_to_end(l)) {
    end_run(s, asked_to_end(l), THE_FAILURE);
    return;
  }

  uint32_t retry = l->failed;
  count_failure(l);
  if (gives_up(l, fatal)) {
    give_up(s, retry, status);
    return;
  }
  int64_t delay_ms = delay_after_failure(s, fatal, retry_after_ms);
  l->resume_ms = later(s->in->now_ms, delay_ms); /* the callback runs while this passes */
  restart_error(s, retry, status)->delay_ms = delay_ms;
}

static void on_answered(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase != PHASE_ASKING) return;
  if (s->in->reset) l->failed = 0;
  l->retry_delay_ms = s->in->retry_delay_ms < 0 ? NEVER : later(0, s->in->retry_delay_ms);
  bool start_aborted = l->first && !l->starting;
  if (start_aborted || asked_to_end(l)) end_run(s, asked_to_end(l), WSC_ERR_CANCELED);
  else if (!s->in->ok && is_retried(l)) give_up(s, l->failed, THE_FAILURE);
  else if (!s->in->ok) end_run(s, WSC_STOPPED_GAVE_UP, THE_FAILURE);
  else if (s->in->delay_ms > 0) attempt_at(s, later(s->in->now_ms, s->in->delay_ms));
  else dial(s);
}

static void on_dialed(const struct step *s) {
  if (s->l->phase != PHASE_DIALING) return;
  s->l->phase = PHASE_OPENING;
  give(s, EF_OPENED)->restarting = !s->l->first;
}

static void on_dial_failed(const struct step *s) {
  if (s->l->phase == PHASE_DIALING) attempt_failed(s, s->in->fatal, s->in->retry_after_ms);
}

/* Ends an attempt that is under way before its time: the socket first, whoever waits for the start afterwards. */
static void cut_attempt(const struct step *s, int status) {
  struct lifecycle *l = s->l;
  l->open_deadline_ms = NEVER;
  l->cut = true;
  if (l->phase == PHASE_DIALING) {
    give(s, EF_CANCEL_DIAL)->status = status;
  } else if (l->phase == PHASE_OPENING || l->phase == PHASE_CLOSING) {
    l->socket_closing = true;
    give(s, EF_ABORT)->status = status;
  }
}

static void abort_start(const struct step *s, int status) {
  struct lifecycle *l = s->l;
  if (!l->starting) return;
  cut_attempt(s, status);
  start_done(s, status);
  if (l->phase == PHASE_DIALING || l->phase == PHASE_WAITING) end_run(s, WSC_STOPPED_START_FAILED, status);
}

static void on_open_timeout(const struct step *s) {
  if (s->l->starting) {
    abort_start(s, WSC_ERR_TIMEOUT);
    return;
  }
  cut_attempt(s, WSC_ERR_TIMEOUT);
  if (s->l->phase == PHASE_DIALING) attempt_failed(s, 0, NEVER);
}

/* Sessions. */

static void drop_untaken(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->taken) return;
  l->taken = true;
  struct lifecycle_effect *e = give(s, EF_SESSION_OVER);
  e->drop = true;
  e->fence = l->lost;
  give(s, EF_DRAIN);
}

/* From here on only callbacks are waited for: with stop as long as stop itself waits (IN_STOP_DEADLINE), otherwise
 * for their grace. */
static void start_grace(const struct step *s) {
  s->l->grace_ms = s->l->stop ? NEVER : later(s->in->now_ms, s->l->config.callback_grace_ms);
}

static void session_over(const struct step *s) {
  struct lifecycle *l = s->l;
  l->phase = PHASE_DRAINING;
  l->ended_ms = s->in->now_ms;
  l->grace_ms = NEVER;
  l->taken = false;
  if (asked_to_end(l) || l->restart) {
    drop_untaken(s);
    start_grace(s);
    return;
  }
  give(s, EF_SESSION_OVER)->fence = true; /* lost: what came before is delivered first, however long that takes */
  give(s, EF_DRAIN);
}

static void on_opened(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase != PHASE_OPENING) return;
  if (!l->starting) l->open_deadline_ms = NEVER;
  bool gone = l->cut ? !l->socket_closing : l->lost;
  if (l->cut || !s->in->ok) {
    l->failing = true;
    if (!gone) l->phase = PHASE_CLOSING;
    if (!gone && !l->cut) give(s, EF_CLOSE);
    if (gone) attempt_failed(s, 0, NEVER);
    return;
  }
  l->phase = PHASE_OPEN;
  l->opened_ms = s->in->now_ms;
  l->first = false;
  if (l->starting) start_done(s, l->stop ? WSC_ERR_CANCELED : WSC_OK);
  l->open_deadline_ms = NEVER;
  bool ended_by_user = asked_to_end(l) || l->restart;
  if (!ended_by_user) give(s, EF_READ);
  if (ended_by_user || l->lost) session_over(s);
}

static void on_lost(const struct step *s) {
  struct lifecycle *l = s->l;
  bool opening = l->phase == PHASE_OPENING && !l->cut;
  bool ending = l->phase == PHASE_DRAINING || l->phase == PHASE_CLOSE_CALLBACK;
  if (!opening && !ending && l->phase != PHASE_OPEN) return;
  l->lost = true;
  if (l->phase == PHASE_OPEN) session_over(s);
}

static void on_taken(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase != PHASE_DRAINING || l->taken) return;
  l->taken = true;
  start_grace(s);
  give(s, EF_DRAIN);
}

static void raise_closed(const struct step *s) {
  s->l->phase = PHASE_CLOSE_CALLBACK;
  give(s, EF_CLOSED)->has_close = s->l->lost;
}

static void on_readers_out(const struct step *s) {
  if (s->l->phase == PHASE_DRAINING && s->l->taken) raise_closed(s);
}

static void on_grace_over(const struct step *s) {
  s->l->overrun = true;
  give(s, EF_GRACE_OVER);
  raise_closed(s);
}

/* OnClose and OnCloseError have returned and the connection is closed: what next? */
static void session_finished(const struct step *s) {
  struct lifecycle *l = s->l;
  if (asked_to_end(l)) {
    end_run(s, asked_to_end(l), WSC_OK);
    return;
  }
  if (!l->config.auto_reconnect && !l->restart) {
    end_run(s, WSC_STOPPED_LOST, WSC_OK);
    return;
  }
  const struct backoff b = table(l);
  bool stable = l->ended_ms - l->opened_ms >= l->config.stable_after_ms;
  bool failure = !stable && !l->restart; /* accept-then-close is a failure like a refused dial */
  if (stable) l->failed = 0;
  uint32_t retry = l->failed;
  if (failure) count_failure(l);
  if (failure && too_many(l)) {
    give_up(s, retry, THE_FAILURE);
    return;
  }
  int64_t delay_ms = failure && l->retry_delay_ms != NEVER ? l->retry_delay_ms
                                                           : (int64_t)backoff_delay_ms(&b, l->failed, s->in->chance);
  attempt_at(s, later(s->in->now_ms, delay_ms));
}

static void on_close_answered(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase != PHASE_CLOSE_CALLBACK) return;
  if (l->lost) {
    session_finished(s);
    return;
  }
  l->phase = PHASE_CLOSING;
  give(s, EF_CLOSE)->use_reply = true;
}

static void on_closed(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase == PHASE_OPENING) {
    l->socket_closing = false; /* the attempt was cut; OnOpen is still out */
  } else if (l->phase == PHASE_CLOSING && l->failing) {
    attempt_failed(s, 0, NEVER);
  } else if (l->phase == PHASE_CLOSING && s->in->ok) {
    session_finished(s);
  } else if (l->phase == PHASE_CLOSING) {
    l->phase = PHASE_CLOSE_ERROR;
    give(s, EF_CLOSE_ERROR);
  }
}

/* What the user asks, and the answers to the other callbacks. */

static void on_start(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase != PHASE_IDLE) return;
  const struct lifecycle_config config = l->config;
  uint64_t epoch = l->epoch;
  lifecycle_init(l, &config);
  l->epoch = epoch;
  l->starting = l->first = true;
  if (config.on_open_timeout_ms > 0) l->open_deadline_ms = later(s->in->now_ms, config.on_open_timeout_ms);
  attempt(s);
}

/* stop or exit has been asked for: ends what can end at once; everywhere else the answer that is awaited looks at
 * l->stop and l->exit. Asking again changes nothing. */
static void hurry(const struct step *s) {
  struct lifecycle *l = s->l;
  switch (l->phase) {
  case PHASE_OPEN: session_over(s); return;
  case PHASE_DRAINING:
    if (l->stop || !l->taken) start_grace(s); /* a second request does not stretch the grace */
    drop_untaken(s);
    return;
  case PHASE_DIALING:
    give(s, EF_CANCEL_DIAL)->status = WSC_ERR_CANCELED;
    end_run(s, asked_to_end(l), WSC_ERR_CANCELED);
    return;
  case PHASE_WAITING: end_run(s, asked_to_end(l), WSC_ERR_CANCELED); return;
  default: return;
  }
}

static bool can_end(const struct lifecycle *l) { return l->phase != PHASE_IDLE && l->phase != PHASE_ENDING; }

static void on_stop(const struct step *s) {
  if (!can_end(s->l)) return;
  s->l->stop = true;
  hurry(s);
}

static void on_exit_asked(const struct step *s) {
  if (!can_end(s->l)) return;
  s->l->exit = true;
  hurry(s);
}

static void on_restart(const struct step *s) {
  struct lifecycle *l = s->l;
  bool opening = l->phase == PHASE_OPENING && !l->cut && !l->lost;
  if (!opening && l->phase != PHASE_OPEN) return;
  l->restart = true;
  if (l->phase == PHASE_OPEN) session_over(s);
}

static void on_callback_done(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase == PHASE_CLOSE_ERROR) {
    session_finished(s);
  } else if (l->phase == PHASE_ENDING) {
    if (!l->overrun) run_over(s, l->reason);
  } else if (l->phase == PHASE_RESTART_ERROR) {
    bool start_aborted = l->first && !l->starting;
    if (l->gave_up) end_run(s, WSC_STOPPED_GAVE_UP, THE_FAILURE);
    else if (start_aborted || asked_to_end(l)) end_run(s, asked_to_end(l), WSC_ERR_CANCELED);
    else attempt_at(s, l->resume_ms);
  }
}

static void on_all_out(const struct step *s) {
  struct lifecycle *l = s->l;
  if (l->phase != PHASE_ENDING || !l->overrun) return;
  l->overrun = false;
  give(s, EF_STOPPED)->reason = l->reason;
}

static void on_timer(const struct step *s) {
  struct lifecycle *l = s->l;
  l->timer_ms = NEVER; /* it has fired: arm gives it again when it came too early */
  if (due(s, l->open_deadline_ms)) on_open_timeout(s);
  else if (l->phase == PHASE_WAITING && due(s, l->resume_ms)) attempt(s);
  else if (l->phase == PHASE_DRAINING && due(s, l->grace_ms)) on_grace_over(s);
}

/* Puts EF_TIMER in front when the next point in time is another one than before. */
static void arm(const struct step *s) {
  struct lifecycle *l = s->l;
  int64_t at_ms = l->open_deadline_ms;
  if (l->phase == PHASE_WAITING) at_ms = earlier_of(at_ms, l->resume_ms);
  if (l->phase == PHASE_DRAINING) at_ms = earlier_of(at_ms, l->grace_ms);
  if (at_ms == l->timer_ms) return;
  l->timer_ms = at_ms;
  struct lifecycle_effect *items = s->out->items;
  memmove(items + 1, items, (size_t)s->out->count++ * sizeof *items);
  items[0] = (struct lifecycle_effect){.kind = EF_TIMER, .epoch = l->epoch, .at_ms = at_ms};
}

static bool is_fenced(enum lifecycle_input_kind kind) {
  switch (kind) {
  case IN_RESTART:
  case IN_DIALED:
  case IN_DIAL_FAILED:
  case IN_OPENED:
  case IN_LOST:
  case IN_TAKEN:
  case IN_READERS_OUT:
  case IN_CLOSE_ANSWERED:
  case IN_CLOSED: return true;
  default: return false;
  }
}

static void judge(const struct step *s) {
  switch (s->in->kind) {
  case IN_START: on_start(s); return;
  case IN_START_ABORTED: abort_start(s, s->in->status); return;
  case IN_STOP: on_stop(s); return;
  case IN_STOP_DEADLINE:
    if (s->l->phase == PHASE_DRAINING && s->l->stop) on_grace_over(s);
    return;
  case IN_EXIT: on_exit_asked(s); return;
  case IN_RESTART: on_restart(s); return;
  case IN_ANSWERED: on_answered(s); return;
  case IN_DIALED: on_dialed(s); return;
  case IN_DIAL_FAILED: on_dial_failed(s); return;
  case IN_OPENED: on_opened(s); return;
  case IN_LOST: on_lost(s); return;
  case IN_TAKEN: on_taken(s); return;
  case IN_READERS_OUT: on_readers_out(s); return;
  case IN_CLOSE_ANSWERED: on_close_answered(s); return;
  case IN_CLOSED: on_closed(s); return;
  case IN_CALLBACK_DONE: on_callback_done(s); return;
  case IN_TIMER: on_timer(s); return;
  case IN_ALL_OUT: on_all_out(s); return;
  }
}

void lifecycle_init(struct lifecycle *l, const struct lifecycle_config *config) {
  *l = (struct lifecycle){.config = *config,
                          .phase = PHASE_IDLE,
                          .opened_ms = NEVER,
                          .ended_ms = NEVER,
                          .open_deadline_ms = NEVER,
                          .resume_ms = NEVER,
                          .grace_ms = NEVER,
                          .timer_ms = NEVER,
                          .retry_delay_ms = NEVER};
}

void lifecycle_step(struct lifecycle *l, const struct lifecycle_input *in, struct lifecycle_effects *out) {
  const struct step s = {.l = l, .in = in, .out = out};
  out->count = 0;
  if (is_fenced(in->kind) && in->epoch != l->epoch) return;
  judge(&s);
  arm(&s);
}
