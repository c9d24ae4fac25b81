/* The lifecycle, scenario by scenario: reconnecting, giving up, the hook before each attempt, timers.
 * One test a promise of the semantics table (DESIGN.md section 4). Each line feeds one input and names every effect
 * it must have, in order. What inputs in any other order do is test_lifecycle_explore.c's business. */
#include "lifecycle_feed.h"

static void a_stable_session_reconnects_at_once(void) {
  begin_open(&usual);
  now = 10000;
  CHECK_STR(lose_session(), "TIMER 310000, DIAL 2");
  GIVES((IN_DIALED), "OPENED restarting");
}

static void a_fleet_spreads_the_reconnect_after_a_stable_session(void) {
  struct lifecycle_config c = usual;
  c.first_spread_ms = 8000;
  begin_open(&c);
  now = 10000;
  chance = UINT32_MAX / 2 + 1;
  CHECK_STR(lose_session(), "TIMER 14000");
}

/* Accept, close, accept, close ... : the seed came back in a hot loop (fault 5). */
static void short_sessions_are_failures(void) {
  static const char *const waits[] = {"TIMER 1000", "TIMER 3000", "TIMER 7000", "TIMER 11000"};
  begin_open(&usual);
  for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
    CHECK_STR(lose_session(), waits[i]);
    now = l.timer_ms;
    IN(IN_TIMER);
    IN(IN_DIALED);
    IN(IN_OPENED, .ok = true);
  }
  now += 10000;
  IN(IN_LOST);
  IN(IN_TAKEN);
  IN(IN_READERS_OUT);
  now += 100;
  IN(IN_CLOSE_ANSWERED);
  CHECK_EQ(l.phase, PHASE_DIALING);
  CHECK_EQ(l.failed, 0);
}

static void a_slow_on_close_does_not_make_a_session_stable(void) {
  begin_open(&usual);
  IN(IN_LOST);
  IN(IN_TAKEN);
  IN(IN_READERS_OUT);
  now = 50000;
  GIVES((IN_CLOSE_ANSWERED), "TIMER 51000");
}

static void restart_error_counts_the_failures_before_it(void) {
  begin_open(&usual);
  now = 20000;
  lose_session();
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, RESTART_ERROR retry=0 delay=1000");
  GIVES((IN_CALLBACK_DONE), "TIMER 21000");
  now = 21000;
  GIVES((IN_TIMER), "TIMER 321000, DIAL 3");
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, RESTART_ERROR retry=1 delay=2000");
  now = 30000; /* the callback took longer than the delay */
  GIVES((IN_CALLBACK_DONE), "TIMER 330000, DIAL 4");
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, RESTART_ERROR retry=2 delay=4000");
}

static void a_restart_timeout_is_a_failed_attempt(void) {
  begin_open(&usual);
  now = 20000;
  lose_session();
  now = 320000;
  GIVES((IN_TIMER), "CANCEL_DIAL -10, RESTART_ERROR retry=0 delay=1000 status=-10");

  begin_open(&usual);
  now = 20000;
  lose_session();
  IN(IN_DIALED);
  now = 320000;
  GIVES((IN_TIMER), "ABORT -10");
  GIVES((IN_OPENED, .ok = true), "");
  GIVES((IN_CLOSED, .ok = true), "RESTART_ERROR retry=0 delay=1000 status=-10");
}

static void jitter_shortens_and_retry_after_lengthens(void) {
  struct lifecycle_config c = usual;
  c.jitter_percent = 10;
  begin_open(&c);
  now = 20000;
  lose_session();
  chance = UINT32_MAX;
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, RESTART_ERROR retry=0 delay=901");
  now = 30000;
  IN(IN_CALLBACK_DONE);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = 60000), "TIMER -1, RESTART_ERROR retry=1 delay=65999");
  now = 200000;
  IN(IN_CALLBACK_DONE);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = 9000000), "TIMER -1, RESTART_ERROR retry=2 delay=329999");
  now = 900000;
  IN(IN_CALLBACK_DONE);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = 1), "TIMER -1, RESTART_ERROR retry=3 delay=4399");

  c.retry_after_max_ms = 0;
  begin_open(&c);
  now = 20000;
  lose_session();
  GIVES((IN_DIAL_FAILED, .retry_after_ms = 60000), "TIMER -1, RESTART_ERROR retry=0 delay=1000");
}

static void a_cause_that_waiting_hardly_mends_waits_longest(void) {
  begin_open(&usual);
  now = 20000;
  lose_session();
  GIVES((IN_DIAL_FAILED, .fatal = WSC_GIVE_UP_REFUSED, .retry_after_ms = -1),
        "TIMER -1, RESTART_ERROR retry=0 delay=4000");

  struct lifecycle_config c = usual;
  c.give_up_on = WSC_GIVE_UP_TLS_TRUST | WSC_GIVE_UP_REFUSED;
  begin_open(&c);
  now = 20000;
  lose_session();
  GIVES((IN_DIAL_FAILED, .fatal = WSC_GIVE_UP_UPGRADE, .retry_after_ms = -1),
        "TIMER -1, RESTART_ERROR retry=0 delay=4000");
  now = 24000;
  IN(IN_CALLBACK_DONE);
  GIVES((IN_DIAL_FAILED, .fatal = WSC_GIVE_UP_REFUSED, .retry_after_ms = -1),
        "TIMER -1, RESTART_ERROR retry=1 delay=0 last");
  GIVES((IN_EXIT), "");
  GIVES((IN_CALLBACK_DONE), "STOPPED 4");
}

static void max_attempts_counts_dials_and_short_sessions(void) {
  struct lifecycle_config c = usual;
  c.max_attempts = 2;
  begin_open(&c);
  lose_session();
  now = 1000;
  IN(IN_TIMER);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, RESTART_ERROR retry=1 delay=0 last");
  GIVES((IN_CALLBACK_DONE), "STOPPED 4");

  c.max_attempts = 1;
  begin_open(&c);
  CHECK_STR(lose_session(), "RESTART_ERROR retry=0 delay=0 last");
  GIVES((IN_CALLBACK_DONE), "STOPPED 4");
}

static void without_auto_reconnect_a_loss_ends_the_run(void) {
  struct lifecycle_config c = usual;
  c.auto_reconnect = false;
  begin_open(&c);
  now = 20000;
  CHECK_STR(lose_session(), "STOPPED 3");
  GIVES((IN_CALLBACK_DONE), "RUN_OVER 3");
}

static void the_users_restart_reconnects_once(void) {
  struct lifecycle_config c = usual;
  c.auto_reconnect = false;
  begin_open(&c);
  GIVES((IN_RESTART, .epoch = 7), "");
  GIVES((IN_RESTART), "TIMER 10000, SESSION_OVER drop, DRAIN");
  GIVES((IN_READERS_OUT), "TIMER -1, CLOSED");
  GIVES((IN_CLOSE_ANSWERED), "CLOSE reply");
  GIVES((IN_CLOSED, .ok = true), "TIMER 300000, DIAL 2"); /* at once: not a failure, however short the session */
  GIVES((IN_RESTART, .epoch = 1), "");
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, RESTART_ERROR retry=0 delay=0 last");
  GIVES((IN_CALLBACK_DONE), "STOPPED 4");
}

static void a_restart_keeps_the_failures_of_before(void) {
  begin_open(&usual);
  lose_session();
  now = 1000;
  IN(IN_TIMER);
  IN(IN_DIALED);
  IN(IN_OPENED, .ok = true);
  IN(IN_RESTART);
  IN(IN_READERS_OUT);
  IN(IN_CLOSE_ANSWERED);
  GIVES((IN_CLOSED, .ok = true), "TIMER 2000");
}

static void a_restart_after_the_loss_is_too_late(void) {
  struct lifecycle_config c = usual;
  c.auto_reconnect = false;
  begin_open(&c);
  IN(IN_LOST);
  GIVES((IN_RESTART), "");
  IN(IN_TAKEN);
  IN(IN_READERS_OUT);
  GIVES((IN_CLOSE_ANSWERED), "STOPPED 3");
}

/* the hook before each attempt */

static void the_hook_is_asked_after_the_wait(void) {
  struct lifecycle_config c = usual;
  c.ask_before_attempt = true;
  begin(&c);
  GIVES((IN_START), "TIMER 300000, ASK retry=0");
  GIVES((IN_ANSWERED, .ok = true, .delay_ms = 500, .retry_delay_ms = -1), "TIMER 500");
  now = 500;
  GIVES((IN_TIMER), "TIMER 300000, ASK retry=0");
  GIVES((IN_ANSWERED, .ok = true, .retry_delay_ms = -1), "DIAL 1");
  IN(IN_DIALED);
  IN(IN_OPENED, .ok = true);
  CHECK_STR(lose_session(), "TIMER 1500");
  now = 1500;
  GIVES((IN_TIMER), "ASK retry=1");
  GIVES((IN_ANSWERED, .ok = true, .retry_delay_ms = -1), "TIMER 301500, DIAL 2");
}

static void the_hook_may_give_up(void) {
  struct lifecycle_config c = usual;
  c.ask_before_attempt = true;
  begin(&c);
  IN(IN_START);
  GIVES((IN_ANSWERED, .ok = false), "TIMER -1, START_DONE 1, RUN_OVER 5");

  begin_open(&c);
  now = 20000;
  CHECK_STR(lose_session(), "ASK retry=0");
  GIVES((IN_ANSWERED, .ok = false), "RESTART_ERROR retry=0 delay=0 last");
  GIVES((IN_CALLBACK_DONE), "STOPPED 4");
}

static void the_hook_may_forget_failures_and_set_its_own_delay(void) {
  struct lifecycle_config c = usual;
  c.ask_before_attempt = true;
  c.jitter_percent = 10;
  begin_open(&c);
  lose_session();
  now = 1000;
  IN(IN_TIMER);
  chance = UINT32_MAX; /* no jitter on a delay that the user has set */
  GIVES((IN_ANSWERED, .ok = true, .reset = true, .retry_delay_ms = 700), "TIMER 301000, DIAL 2");
  GIVES((IN_DIAL_FAILED, .fatal = WSC_GIVE_UP_REFUSED, .retry_after_ms = -1),
        "TIMER -1, RESTART_ERROR retry=0 delay=700");
  IN(IN_CALLBACK_DONE);
  now = 1700;
  GIVES((IN_TIMER), "ASK retry=1");
  IN(IN_ANSWERED, .ok = true, .retry_delay_ms = 800);
  IN(IN_DIALED);
  IN(IN_OPENED, .ok = true);
  CHECK_STR(lose_session(), "TIMER 2500"); /* also when its session ends early */
  now = 2500;
  IN(IN_TIMER);
  IN(IN_ANSWERED, .ok = true, .retry_delay_ms = 0);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = 5000),
        "TIMER -1, RESTART_ERROR retry=2 delay=5499"); /* the server knows better */
}

/* As long as the clock can say, in every unit it is told in. */
static void the_hook_s_delay_may_be_for_ever(void) {
  struct lifecycle_config c = usual;
  c.ask_before_attempt = true;
  begin_open(&c);
  lose_session();
  now = 1000;
  IN(IN_TIMER);
  IN(IN_ANSWERED, .ok = true, .retry_delay_ms = INT64_MAX);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, RESTART_ERROR retry=1 delay=9223372036854");
  GIVES((IN_CALLBACK_DONE), "TIMER 9223372036854");
}

static void stop_waits_for_the_hook(void) {
  struct lifecycle_config c = usual;
  c.ask_before_attempt = true;
  begin(&c);
  IN(IN_START);
  GIVES((IN_STOP), "");
  GIVES((IN_ANSWERED, .ok = true), "TIMER -1, START_DONE -11, RUN_OVER 5");

  begin(&c);
  IN(IN_START);
  now = 300000;
  GIVES((IN_TIMER), "START_DONE -10");
  GIVES((IN_ANSWERED, .ok = true), "RUN_OVER 5");
}

/* timers */

static void a_timer_that_fires_too_early_is_set_again(void) {
  begin_open(&usual);
  lose_session();
  now = 999;
  GIVES((IN_TIMER), "TIMER 1000");
  now = 5000;
  GIVES((IN_TIMER), "TIMER 305000, DIAL 2");
}

static void times_without_limit_set_no_timer(void) {
  struct lifecycle_config c = usual;
  c.on_open_timeout_ms = 0;
  begin(&c);
  GIVES((IN_START), "DIAL 1");
  c.ask_before_attempt = true;
  begin(&c);
  IN(IN_START);
  now = 5;
  GIVES((IN_ANSWERED, .ok = true, .delay_ms = INT64_MAX), "TIMER 9223372036854"); /* also when counted in ns */
}

int main(void) {
  a_stable_session_reconnects_at_once();
  a_fleet_spreads_the_reconnect_after_a_stable_session();
  short_sessions_are_failures();
  a_slow_on_close_does_not_make_a_session_stable();
  restart_error_counts_the_failures_before_it();
  a_restart_timeout_is_a_failed_attempt();
  jitter_shortens_and_retry_after_lengthens();
  a_cause_that_waiting_hardly_mends_waits_longest();
  max_attempts_counts_dials_and_short_sessions();
  without_auto_reconnect_a_loss_ends_the_run();
  the_users_restart_reconnects_once();
  a_restart_keeps_the_failures_of_before();
  a_restart_after_the_loss_is_too_late();
  the_hook_is_asked_after_the_wait();
  the_hook_may_give_up();
  the_hook_may_forget_failures_and_set_its_own_delay();
  the_hook_s_delay_may_be_for_ever();
  stop_waits_for_the_hook();
  a_timer_that_fires_too_early_is_set_again();
  times_without_limit_set_no_timer();
  return 0;
}
