/* The lifecycle of an engine as a pure state machine: no I/O, no thread, no clock of its own. Inputs in, effects out.
 * Whatever must be the same for every language and adapter is decided here and only here (core/DESIGN.md section 4).
 *
 * The engine feeds one input at a time and carries out the effects in order; effects are commands, their outcomes
 * come back as inputs. Phases:
 *   IDLE            no run
 *   ASKING          BEFORE_ATTEMPT is out (only with ask_before_attempt)
 *   WAITING         back-off (or the hook's own delay) before an attempt
 *   DIALING         the connection dials
 *   OPENING         OnOpen is out
 *   OPEN            messages flow
 *   DRAINING        the session is over, OnClose has not been raised: untaken messages (when peer or network ended
 *                   it) and running callbacks come first
 *   CLOSE_CALLBACK  OnClose is out
 *   CLOSING         the close handshake is under way
 *   CLOSE_ERROR     OnCloseError is out
 *   RESTART_ERROR   OnRestartError is out
 *   ENDING          STOPPED is out, or waits for callbacks that outlived their session's grace
 *
 * What the engine may rely on: the effects of one step are few (LIFECYCLE_EFFECTS_MAX), EF_TIMER comes first and
 * EF_RUN_OVER last, so that the engine may be freed there. What the engine promises: one input at a time; an input that
 * says something about the world (IN_TAKEN, IN_READERS_OUT, IN_ALL_OUT) is true when it is fed. */
#ifndef WSC_LIFECYCLE_H
#define WSC_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

enum lifecycle_phase {
  PHASE_IDLE,
  PHASE_ASKING,
  PHASE_WAITING,
  PHASE_DIALING,
  PHASE_OPENING,
  PHASE_OPEN,
  PHASE_DRAINING,
  PHASE_CLOSE_CALLBACK,
  PHASE_CLOSING,
  PHASE_CLOSE_ERROR,
  PHASE_RESTART_ERROR,
  PHASE_ENDING
};

struct lifecycle_config {
  bool auto_reconnect;    /* has its say once a session has been: start's own retries are retry_first_start */
  bool retry_first_start; /* within on_open_timeout, which bounds the whole first start */
  bool ask_before_attempt;
  uint32_t base_s, max_exponent, jitter_percent, first_spread_ms, max_attempts, give_up_on; /* WSC_GIVE_UP_* */

  int64_t on_open_timeout_ms; /* 0: no limit */
  int64_t stable_after_ms;    /* 0: every session is stable */
  int64_t retry_after_max_ms; /* 0: Retry-After is ignored */
  int64_t callback_grace_ms;  /* 0: OnClose does not wait */
};

/* Inputs. Every input is legal in every phase; one that has no meaning there changes nothing and has no effect.
 * `epoch` fences what belongs to a session or an attempt: an input of another epoch is ignored. The epoch is that of
 * the attempt: it counts attempts to dial from 1 on, and a session's public epoch is the engine's own count of
 * sessions opened. Fenced are IN_RESTART, IN_DIALED, IN_DIAL_FAILED, IN_OPENED, IN_LOST, IN_TAKEN, IN_READERS_OUT,
 * IN_CLOSE_ANSWERED and IN_CLOSED; the others need no epoch.
 *
 *   IN_START_ABORTED  status; without effect once EF_START_DONE was given
 *   IN_ANSWERED       ok (false: give up), delay_ms (> 0: wait so long and ask again; 0: go), reset (forget the
 *                     failures so far), retry_delay_ms (the delay if this attempt fails or its session ends early, in
 *                     place of the table's, without jitter; -1: none; the last answer before a dial counts)
 *   IN_DIAL_FAILED    fatal, retry_after_ms. A fatal cause waits like the end of the table, less jitter; Retry-After,
 *                     at most retry_after_max_ms of it, lengthens whatever the delay would be, and then jitter only
 *                     adds
 *   IN_CLOSED         ok: the handshake was completed, or there was nothing to do. An EF_ABORT that cuts an EF_CLOSE
 *                     short shares its IN_CLOSED; a second one does no harm
 *   IN_TIMER          the timer is off from now on; too early, it is given again */
enum lifecycle_input_kind {
  IN_START,          /* begins a run (the engine has checked that phase is IDLE) */
  IN_START_ABORTED,  /* the start's context or deadline ended */
  IN_STOP,           /* stop was asked */
  IN_STOP_DEADLINE,  /* the stop's time is up: callbacks are waited for no longer */
  IN_EXIT,           /* exit: belongs to the run */
  IN_RESTART,        /* restart of the session of `epoch` */
  IN_ANSWERED,       /* BEFORE_ATTEMPT was answered */
  IN_DIALED,         /* the attempt's connection is open */
  IN_DIAL_FAILED,    /* and will never be */
  IN_OPENED,         /* OnOpen returned: ok or not */
  IN_LOST,           /* peer closed, link died or we failed the connection (also while OPENING .. CLOSE_CALLBACK) */
  IN_TAKEN,          /* every message received before the loss has been taken */
  IN_READERS_OUT,    /* no callback of the session is running (when that becomes true, and when asked) */
  IN_CLOSE_ANSWERED, /* OnClose returned */
  IN_CLOSED,         /* EF_CLOSE or EF_ABORT is done */
  IN_CALLBACK_DONE,  /* OnCloseError, OnRestartError or STOPPED was answered */
  IN_TIMER,          /* the timer of EF_TIMER is due */
  IN_ALL_OUT         /* the answer to EF_DRAIN_ALL: no callback of any session is running */
};
struct lifecycle_input {
  enum lifecycle_input_kind kind;
  bool ok, reset;
  uint32_t fatal;  /* WSC_GIVE_UP_* */
  uint32_t chance; /* uniform random, drawn by the engine for each input */
  uint64_t epoch;
  int status;                       /* IN_START_ABORTED: WSC_ERR_TIMEOUT or WSC_ERR_CANCELED */
  int64_t now_ms;                   /* any monotonic clock */
  int64_t delay_ms, retry_delay_ms; /* IN_ANSWERED; retry_delay_ms -1: by the table */
  int64_t retry_after_ms;           /* IN_DIAL_FAILED; -1: none */
};

/* Effects, in the order in which they must be carried out.
 *
 *   EF_ASK            retry: failures so far; epoch: that of the attempt to come
 *   EF_CANCEL_DIAL    its outcome is ignored. status: why (WSC_ERR_TIMEOUT: on_open_timeout; WSC_ERR_CANCELED)
 *   EF_SESSION_OVER   drop: take no more messages, count and drop the untaken (exit, restart, stop); otherwise what
 *                     came before the loss is delivered. fence: sends and reads of the connection fail from now on
 *                     (lost)
 *   EF_DRAIN          is given again when messages have been taken or dropped: only then "readers out" counts, and
 *                     what was reported before counts no more
 *   EF_CLOSED         has_close: with the close that happened; otherwise the user ended the session
 *   EF_CLOSE          use_reply: with the answer of OnClose; otherwise 1001 "Going Away" (a failed OnOpen)
 *   EF_ABORT          sends 1001 if that can be done without waiting, and closes the socket now (on_open_timeout or
 *                     the start's own end; OnOpen may be out, or the EF_CLOSE of a failed one be under way). status:
 *                     as with EF_CANCEL_DIAL
 *   EF_RESTART_ERROR  retry, last, delay_ms until the next attempt; status: WSC_ERR_TIMEOUT when on_open_timeout
 *                     ended the attempt, otherwise 1: the failure at hand
 *   EF_START_DONE     status: WSC_OK, WSC_ERR_TIMEOUT or WSC_ERR_CANCELED as such, otherwise 1: the failure at hand
 *   EF_DRAIN_ALL      after an EF_GRACE_OVER in this run, before EF_STOPPED, so that no callback runs after
 *                     EF_RUN_OVER */
enum lifecycle_effect_kind {
  EF_ASK,           /* raise BEFORE_ATTEMPT */
  EF_DIAL,          /* make a new connection and dial: epoch is the attempt's */
  EF_CANCEL_DIAL,   /* drop the dial */
  EF_OPENED,        /* raise OPENED; restarting */
  EF_READ,          /* OnOpen succeeded: begin delivering messages */
  EF_SESSION_OVER,  /* drop, fence */
  EF_DRAIN,         /* report IN_TAKEN (when not dropped) and IN_READERS_OUT, now or when they become true */
  EF_GRACE_OVER,    /* OnClose goes ahead although callbacks still run: log it */
  EF_CLOSED,        /* raise CLOSED */
  EF_CLOSE,         /* begin the close handshake */
  EF_ABORT,         /* close the socket */
  EF_CLOSE_ERROR,   /* raise CLOSE_ERROR */
  EF_RESTART_ERROR, /* raise RESTART_ERROR */
  EF_TIMER,         /* replace the one lifecycle timer: due at at_ms; -1: none */
  EF_START_DONE,    /* the start ends */
  EF_STOPPED,       /* raise STOPPED: reason (enum wsc_stop_reason) */
  EF_RUN_OVER,      /* the run has ended: phase is IDLE; complete stop, wait and is_started; reason */
  EF_DRAIN_ALL      /* report IN_ALL_OUT, now or when no callback of any session, also an older one, is running */
};
struct lifecycle_effect {
  enum lifecycle_effect_kind kind;
  bool restarting, drop, fence, has_close, use_reply, last;
  uint32_t retry;
  uint64_t epoch;
  int status, reason;
  int64_t at_ms, delay_ms;
};
enum { LIFECYCLE_EFFECTS_MAX = 8 };
struct lifecycle_effects {
  int count;
  struct lifecycle_effect items[LIFECYCLE_EFFECTS_MAX];
};

struct lifecycle {
  struct lifecycle_config config;
  enum lifecycle_phase phase;
  uint64_t epoch;  /* of the current attempt, or the last one */
  uint32_t failed; /* k: failed attempts in a row */

  /* of the run */
  bool starting;   /* EF_START_DONE is owed */
  bool first;      /* OnOpen has not succeeded yet in this run */
  bool stop, exit; /* asked for, by the user */
  bool gave_up;    /* OnRestartError was told that it is the last: nothing changes that any more */
  bool overrun;    /* a grace was over with callbacks running: they are waited for before STOPPED */
  int reason;      /* of the STOPPED that is out */

  /* of the attempt and its session */
  bool lost, restart;  /* the connection ended; the user asked for a new one before that */
  bool failing;        /* CLOSING: OnOpen failed, no session came of it */
  bool cut;            /* EF_ABORT was given: whatever OnOpen says, the attempt has failed */
  bool socket_closing; /* ... and its IN_CLOSED is owed */
  bool taken;          /* DRAINING: no message is waited for any more, only callbacks */

  /* points in time, -1: none */
  int64_t opened_ms, ended_ms; /* of the session: what decides whether it was stable */
  int64_t open_deadline_ms;    /* of start (while starting), or of dial and OnOpen of this attempt */
  int64_t resume_ms;           /* end of the back-off */
  int64_t grace_ms;            /* DRAINING: when callbacks are waited for no longer */
  int64_t timer_ms;            /* what EF_TIMER said last */
  int64_t retry_delay_ms;      /* the hook's delay for a failure of this attempt */
};

/* init: IDLE, epoch 0. step: judges one input; out is overwritten. */
void lifecycle_init(struct lifecycle *l, const struct lifecycle_config *config);
void lifecycle_step(struct lifecycle *l, const struct lifecycle_input *in, struct lifecycle_effects *out);

#endif
