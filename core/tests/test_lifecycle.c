/* The lifecycle, scenario by scenario: start, loss, OnClose, stop and exit.
 * One test a promise of the semantics table (DESIGN.md section 4). Each line feeds one input and names every effect
 * it must have, in order. What inputs in any other order do is test_lifecycle_explore.c's business. */
#include "lifecycle_feed.h"

/* start */

static void start_dials_opens_and_reads(void) {
  begin(&usual);
  GIVES((IN_START), "TIMER 300000, DIAL 1");
  GIVES((IN_DIALED), "OPENED");
  GIVES((IN_OPENED, .ok = true), "TIMER -1, START_DONE 0, READ");
  GIVES((IN_START), "");
  CHECK_EQ(l.phase, PHASE_OPEN);
}

static void first_dial_is_not_retried(void) {
  begin(&usual);
  IN(IN_START);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "TIMER -1, START_DONE 1, RUN_OVER 5");
  CHECK_EQ(l.phase, PHASE_IDLE);
}

static void a_refusing_on_open_closes_before_start_fails(void) {
  begin(&usual);
  IN(IN_START);
  IN(IN_DIALED);
  GIVES((IN_OPENED, .ok = false), "CLOSE");
  GIVES((IN_CLOSED, .ok = false), "TIMER -1, START_DONE 1, RUN_OVER 5");
}

static void a_stopped_engine_starts_again_with_a_newer_epoch(void) {
  begin(&usual);
  IN(IN_START);
  IN(IN_DIAL_FAILED);
  GIVES((IN_START), "TIMER 300000, DIAL 2");
  GIVES((IN_DIALED, .epoch = 1), "");
  GIVES((IN_DIALED), "OPENED");
}

static void a_start_timeout_while_dialing_leaves_nothing_behind(void) {
  begin(&usual);
  IN(IN_START);
  now = 300000;
  GIVES((IN_TIMER), "CANCEL_DIAL -10, START_DONE -10, RUN_OVER 5");
  GIVES((IN_DIALED), "");
}

static void a_start_timeout_in_on_open_closes_the_socket_and_waits_for_the_callback(void) {
  begin(&usual);
  IN(IN_START);
  IN(IN_DIALED);
  now = 300001;
  GIVES((IN_TIMER), "ABORT -10, START_DONE -10");
  GIVES((IN_LOST), "");
  GIVES((IN_CLOSED, .ok = true), "");
  GIVES((IN_OPENED, .ok = true), "RUN_OVER 5");

  begin(&usual);
  IN(IN_START);
  IN(IN_DIALED);
  GIVES((IN_START_ABORTED, .status = WSC_ERR_CANCELED), "TIMER -1, ABORT -11, START_DONE -11");
  GIVES((IN_OPENED, .ok = true), "");
  GIVES((IN_CLOSED, .ok = true), "RUN_OVER 5");
}

static void an_aborted_start_cuts_the_close_of_a_failed_on_open_short(void) {
  begin(&usual);
  IN(IN_START);
  IN(IN_DIALED);
  IN(IN_OPENED, .ok = false);
  GIVES((IN_START_ABORTED, .status = WSC_ERR_CANCELED), "TIMER -1, ABORT -11, START_DONE -11");
  GIVES((IN_CLOSED, .ok = true), "RUN_OVER 5");
  GIVES((IN_CLOSED, .ok = true), "");
}

static void an_abort_after_the_start_changes_nothing(void) {
  begin_open(&usual);
  GIVES((IN_START_ABORTED, .status = WSC_ERR_CANCELED), "");
}

static void retry_first_start_retries_inside_start(void) {
  struct lifecycle_config c = usual;
  c.retry_first_start = true;
  c.auto_reconnect = false; /* what start does is its own option */
  begin(&c);
  IN(IN_START);
  GIVES((IN_DIAL_FAILED, .retry_after_ms = -1), "RESTART_ERROR retry=0 delay=1000");
  GIVES((IN_CALLBACK_DONE), "TIMER 1000");
  now = 1000;
  GIVES((IN_TIMER), "TIMER 300000, DIAL 2");
  IN(IN_DIALED);
  GIVES((IN_OPENED, .ok = false), "CLOSE");
  GIVES((IN_CLOSED, .ok = true), "RESTART_ERROR retry=1 delay=2000");
  GIVES((IN_CALLBACK_DONE), "TIMER 3000");
  now = 3000;
  GIVES((IN_TIMER), "TIMER 300000, DIAL 3");
  GIVES((IN_DIALED), "OPENED");
  GIVES((IN_OPENED, .ok = true), "TIMER -1, START_DONE 0, READ");
}

static void retry_first_start_ends_with_the_start_timeout(void) {
  struct lifecycle_config c = usual;
  c.retry_first_start = true;
  begin(&c);
  IN(IN_START);
  now = 299900;
  IN(IN_DIAL_FAILED, .retry_after_ms = -1);
  GIVES((IN_CALLBACK_DONE), "");
  now = 300000;
  GIVES((IN_TIMER), "START_DONE -10, RUN_OVER 5");

  begin(&c);
  IN(IN_START);
  IN(IN_DIAL_FAILED, .retry_after_ms = -1);
  GIVES((IN_START_ABORTED, .status = WSC_ERR_CANCELED), "TIMER -1, START_DONE -11");
  GIVES((IN_CALLBACK_DONE), "RUN_OVER 5");
}

static void retry_first_start_gives_up_in_the_open(void) {
  struct lifecycle_config c = usual;
  c.retry_first_start = true;
  c.max_attempts = 1;
  begin(&c);
  IN(IN_START);
  GIVES((IN_DIAL_FAILED), "RESTART_ERROR retry=0 delay=0 last");
  GIVES((IN_CALLBACK_DONE), "TIMER -1, START_DONE 1, STOPPED 4");
  GIVES((IN_CALLBACK_DONE), "RUN_OVER 4");
}

/* loss and OnClose */

static void a_loss_delivers_what_came_before_then_closes(void) {
  begin_open(&usual);
  GIVES((IN_LOST), "SESSION_OVER fence, DRAIN");
  GIVES((IN_READERS_OUT), ""); /* a pause between two messages */
  now = 60000;
  GIVES((IN_TAKEN), "TIMER 70000, DRAIN"); /* taking takes its time; the grace begins when only callbacks are left */
  GIVES((IN_READERS_OUT), "TIMER -1, CLOSED has_close");
  GIVES((IN_CLOSE_ANSWERED), "TIMER 61000");
}

static void a_callback_that_outlives_its_grace_does_not_hold_on_close_back(void) {
  begin_open(&usual);
  IN(IN_LOST);
  IN(IN_TAKEN);
  now = 10000;
  GIVES((IN_TIMER), "GRACE_OVER, CLOSED has_close");
  GIVES((IN_CLOSE_ANSWERED), "TIMER 11000");
  GIVES((IN_STOP), "TIMER -1, DRAIN_ALL"); /* but the run does not end while it runs */
  GIVES((IN_CALLBACK_DONE), "");
  GIVES((IN_ALL_OUT), "STOPPED 1");
  GIVES((IN_CALLBACK_DONE), "RUN_OVER 1");
}

static void exit_drops_closes_and_ends(void) {
  begin_open(&usual);
  GIVES((IN_EXIT), "TIMER 10000, SESSION_OVER drop, DRAIN");
  GIVES((IN_EXIT), "");
  GIVES((IN_READERS_OUT), "TIMER -1, CLOSED");
  GIVES((IN_CLOSE_ANSWERED), "CLOSE reply");
  GIVES((IN_CLOSED, .ok = true), "STOPPED 2");
  GIVES((IN_CALLBACK_DONE), "RUN_OVER 2");
  CHECK_EQ(l.phase, PHASE_IDLE);
}

static void stop_waits_for_callbacks_until_its_own_deadline(void) {
  begin_open(&usual);
  GIVES((IN_STOP), "SESSION_OVER drop, DRAIN");
  GIVES((IN_STOP), "");
  GIVES((IN_STOP_DEADLINE), "GRACE_OVER, CLOSED");
  GIVES((IN_STOP_DEADLINE), "");
  GIVES((IN_CLOSE_ANSWERED), "CLOSE reply");
  GIVES((IN_CLOSED, .ok = true), "DRAIN_ALL");
  GIVES((IN_ALL_OUT), "STOPPED 1");
  GIVES((IN_CALLBACK_DONE), "RUN_OVER 1");
}

static void stop_outranks_exit(void) {
  begin_open(&usual);
  IN(IN_EXIT);
  GIVES((IN_STOP), "TIMER -1");
  IN(IN_READERS_OUT);
  IN(IN_CLOSE_ANSWERED);
  GIVES((IN_CLOSED, .ok = true), "STOPPED 1");
}

static void a_failed_close_handshake_is_told(void) {
  begin_open(&usual);
  IN(IN_STOP);
  IN(IN_READERS_OUT);
  IN(IN_CLOSE_ANSWERED);
  GIVES((IN_CLOSED, .ok = false), "CLOSE_ERROR");
  GIVES((IN_CALLBACK_DONE), "STOPPED 1");
}

static void stop_while_a_lost_session_drains_drops_the_rest(void) {
  begin_open(&usual);
  IN(IN_LOST);
  GIVES((IN_STOP), "SESSION_OVER drop fence, DRAIN");
  GIVES((IN_TAKEN), "");
  GIVES((IN_READERS_OUT), "CLOSED has_close");
  GIVES((IN_CLOSE_ANSWERED), "STOPPED 1");

  begin_open(&usual);
  IN(IN_LOST);
  now = 5000;
  GIVES((IN_EXIT), "TIMER 15000, SESSION_OVER drop fence, DRAIN");
  GIVES((IN_READERS_OUT), "TIMER -1, CLOSED has_close");
  GIVES((IN_CLOSE_ANSWERED), "STOPPED 2");
}

static void a_loss_on_the_way_out_leaves_nothing_to_close(void) {
  begin_open(&usual);
  IN(IN_EXIT);
  GIVES((IN_LOST), "");
  GIVES((IN_READERS_OUT), "TIMER -1, CLOSED has_close");
  GIVES((IN_CLOSE_ANSWERED), "STOPPED 2");

  begin_open(&usual);
  IN(IN_EXIT);
  GIVES((IN_READERS_OUT), "TIMER -1, CLOSED");
  GIVES((IN_LOST), "");
  GIVES((IN_CLOSE_ANSWERED), "STOPPED 2");
}

/* what happens while OnOpen is out */

static void a_loss_in_on_open_comes_after_it(void) {
  begin(&usual);
  IN(IN_START);
  IN(IN_DIALED);
  GIVES((IN_LOST), "");
  GIVES((IN_OPENED, .ok = true), "TIMER -1, START_DONE 0, READ, SESSION_OVER fence, DRAIN");

  begin(&usual);
  IN(IN_START);
  IN(IN_DIALED);
  IN(IN_LOST);
  GIVES((IN_OPENED, .ok = false), "TIMER -1, START_DONE 1, RUN_OVER 5");
}

static void exit_stop_and_restart_in_on_open_wait_for_it(void) {
  static const struct {
    enum lifecycle_input_kind asked;
    const char *opened, *refused, *closed;
  } rows[] = {
      {IN_EXIT, "TIMER 10000, START_DONE 0, SESSION_OVER drop, DRAIN", "CLOSE", "TIMER -1, START_DONE 1, RUN_OVER 5"},
      {IN_STOP, "TIMER -1, START_DONE -11, SESSION_OVER drop, DRAIN", "CLOSE", "TIMER -1, START_DONE 1, RUN_OVER 5"},
      {IN_RESTART, "TIMER 10000, START_DONE 0, SESSION_OVER drop, DRAIN", "CLOSE",
       "TIMER -1, START_DONE 1, RUN_OVER 5"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (int ok = 0; ok < 2; ok++) {
      begin(&usual);
      IN(IN_START);
      IN(IN_DIALED);
      GIVES((rows[i].asked), "");
      GIVES((IN_OPENED, .ok = ok), ok ? rows[i].opened : rows[i].refused);
      if (!ok) GIVES((IN_CLOSED, .ok = true), rows[i].closed);
    }
  }
}

/* stop and exit elsewhere */

static void stop_interrupts_a_dial(void) {
  begin(&usual);
  IN(IN_START);
  GIVES((IN_STOP), "TIMER -1, CANCEL_DIAL -11, START_DONE -11, RUN_OVER 5");

  begin_open(&usual);
  now = 20000;
  CHECK_STR(lose_session(), "TIMER 320000, DIAL 2");
  GIVES((IN_STOP), "TIMER -1, CANCEL_DIAL -11, STOPPED 1");
  GIVES((IN_DIALED), "");
}

static void stop_interrupts_a_back_off(void) {
  begin_open(&usual);
  CHECK_STR(lose_session(), "TIMER 1000");
  GIVES((IN_EXIT), "TIMER -1, STOPPED 2");
  GIVES((IN_STOP), "");
  GIVES((IN_CALLBACK_DONE), "RUN_OVER 2");
}

static void stop_waits_for_on_restart_error(void) {
  begin_open(&usual);
  now = 20000;
  lose_session();
  IN(IN_DIAL_FAILED, .retry_after_ms = -1);
  GIVES((IN_STOP), "");
  GIVES((IN_CALLBACK_DONE), "STOPPED 1");
}

static void stop_ends_an_attempt_whose_on_open_refuses(void) {
  begin_open(&usual);
  now = 20000;
  lose_session();
  IN(IN_DIALED);
  IN(IN_STOP);
  GIVES((IN_OPENED, .ok = false), "TIMER -1, CLOSE");
  GIVES((IN_CLOSED, .ok = true), "STOPPED 1");
}

static void without_a_run_nothing_happens(void) {
  begin(&usual);
  GIVES((IN_STOP), "");
  GIVES((IN_EXIT), "");
  GIVES((IN_TIMER), "");
  GIVES((IN_START), "TIMER 300000, DIAL 1");
  GIVES((IN_DIALED), "OPENED");
  GIVES((IN_OPENED, .ok = true), "TIMER -1, START_DONE 0, READ"); /* an exit before the run is not kept */
}

int main(void) {
  start_dials_opens_and_reads();
  first_dial_is_not_retried();
  a_refusing_on_open_closes_before_start_fails();
  a_stopped_engine_starts_again_with_a_newer_epoch();
  a_start_timeout_while_dialing_leaves_nothing_behind();
  a_start_timeout_in_on_open_closes_the_socket_and_waits_for_the_callback();
  an_aborted_start_cuts_the_close_of_a_failed_on_open_short();
  an_abort_after_the_start_changes_nothing();
  retry_first_start_retries_inside_start();
  retry_first_start_ends_with_the_start_timeout();
  retry_first_start_gives_up_in_the_open();
  a_loss_delivers_what_came_before_then_closes();
  a_callback_that_outlives_its_grace_does_not_hold_on_close_back();
  exit_drops_closes_and_ends();
  stop_waits_for_callbacks_until_its_own_deadline();
  stop_outranks_exit();
  a_failed_close_handshake_is_told();
  stop_while_a_lost_session_drains_drops_the_rest();
  a_loss_on_the_way_out_leaves_nothing_to_close();
  a_loss_in_on_open_comes_after_it();
  exit_stop_and_restart_in_on_open_wait_for_it();
  stop_interrupts_a_dial();
  stop_interrupts_a_back_off();
  stop_waits_for_on_restart_error();
  stop_ends_an_attempt_whose_on_open_refuses();
  without_a_run_nothing_happens();
  return 0;
}
