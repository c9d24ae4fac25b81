/* Host adapters: what the host tells of an open link, and what an answer that comes too late must not do. */
#define _GNU_SOURCE
#include "host_bed.h"

/* ---- what the readers saw ------------------------------------------------------------------------------------------ */

static void a_close_the_readers_saw_is_a_close_by_the_peer(void) {
  struct bed b;
  set_up(&b);
  uint64_t epoch = open_it(&b);
  report_read(&b, epoch, WSC_ERR_CLOSED, 4444, "gone fishing", WSC_OK);
  readers_out(&b);
  wsc_event ev = next_event(&b, WSC_EVENT_CLOSED);
  CHECK(ev.flags & WSC_EVENT_BY_PEER);
  CHECK_EQ(ev.close->initiator, WSC_BY_PEER);
  CHECK_EQ(ev.close->code, 4444);
  CHECK_EQ(ev.close->code_received, 4444);
  CHECK_HAS(ev.text, "gone fishing");
  wsc_event_done(&ev, NULL);
  CHECK_EQ(expect(&b, WSC_EVENT_STOPPED).status, WSC_STOPPED_LOST);
  report_read(&b, epoch, WSC_ERR_CLOSED, 4444, "again", WSC_ERR_CLOSED);
  settle(&b);
  tear_down(&b);
}

static void a_close_without_code_is_a_lost_link(void) {
  struct bed b;
  set_up(&b);
  uint64_t epoch = open_it(&b);
  CHECK_EQ(wsc_engine_report_read(b.engine, epoch, NULL), WSC_OK);
  readers_out(&b);
  wsc_event ev = next_event(&b, WSC_EVENT_CLOSED);
  CHECK_EQ(ev.close->initiator, WSC_BY_NETWORK);
  CHECK_EQ(ev.close->code, 1006);
  CHECK_EQ(ev.close->code_received, 0);
  wsc_event_done(&ev, NULL);
  tear_down(&b);
}

static void another_error_is_a_read_error_and_the_session_goes_on(void) {
  struct bed b;
  set_up(&b);
  uint64_t epoch = open_it(&b);
  report_read(&b, epoch, WSC_ERR_PROTOCOL, 0, "that was no text", WSC_OK);
  wsc_event ev = next_event(&b, WSC_EVENT_READ_ERROR);
  CHECK_EQ(ev.epoch, epoch);
  CHECK_EQ(wsc_error_status(ev.error), WSC_ERR_PROTOCOL);
  CHECK_HAS(wsc_error_message(ev.error), "that was no text");
  wsc_event_done(&ev, NULL);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  tear_down(&b);
}

static void sixteen_read_errors_in_a_row_end_the_session(void) {
  struct bed b;
  set_up(&b);
  uint64_t epoch = open_it(&b);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 15; i++) {
      report_read(&b, epoch, WSC_ERR_IO, 0, "hiccup", WSC_OK);
      expect(&b, WSC_EVENT_READ_ERROR);
    }
    if (round == 0) wsc_engine_report_alive(b.engine, epoch, 1, 5); /* a message: the row begins anew */
  }
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  report_read(&b, epoch, WSC_ERR_IO, 0, "hiccup", WSC_OK);
  wsc_event closing = expect(&b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(closing.close_code, 1001);
  readers_out(&b);
  expect_lost(&b, WSC_BY_NETWORK, 1006, WSC_TIMER_NONE, "16 read errors");
  tear_down(&b);
}

static void reports_of_another_epoch_are_refused(void) {
  struct bed b;
  set_up(&b);
  uint64_t first = open_it(&b);
  report_read(&b, first + 1, WSC_ERR_CLOSED, 4444, "not yet", WSC_ERR_CLOSED);
  settle(&b);
  uint64_t second = restart(&b);
  CHECK_EQ(second, first + 1);
  settle(&b);
  report_read(&b, first, WSC_ERR_CLOSED, 4444, "too late", WSC_ERR_CLOSED);
  report_read(&b, first, WSC_ERR_IO, 0, "too late", WSC_ERR_CLOSED);
  wsc_engine_report_alive(b.engine, first, 100, 100);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  wsc_engine_report_alive(b.engine, second, 3, 12);
  wsc_stats stats = {.struct_size = sizeof stats};
  CHECK_EQ(wsc_engine_stats(b.engine, &stats), WSC_OK);
  CHECK_EQ(stats.messages_received, 3);
  CHECK_EQ(stats.bytes_received, 12);
  tear_down(&b);
}

/* Seen while OnOpen runs, so that nobody can be told before the session is over. */
static void a_read_error_of_one_session_never_shows_in_the_next(void) {
  struct bed b;
  set_up(&b);
  make(&b);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  wsc_event dial = expect(&b, WSC_EVENT_DO_DIAL);
  CHECK_EQ(report(&b, dial.token, WSC_OK), WSC_OK);
  wsc_event opened = next_event(&b, WSC_EVENT_OPENED);
  uint64_t first = opened.epoch;
  report_read(&b, first, WSC_ERR_IO, 0, "of the first", WSC_OK);
  settle(&b);
  wsc_session_restart(opened.session);
  wsc_event_done(&opened, NULL);
  CHECK_EQ(expect(&b, WSC_EVENT_OP_DONE).status, WSC_OK);
  readers_out(&b);
  expect(&b, WSC_EVENT_CLOSED);
  wsc_event closing = expect(&b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(report(&b, closing.token, WSC_OK), WSC_OK);
  CHECK_EQ(dialed(&b), first + 1);
  settle(&b);
  tear_down(&b);
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static void a_ping_is_asked_for_when_the_interval_is_over(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_KEEPALIVE_INTERVAL_MS, 30);
  make(&b);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  wsc_event dial = expect(&b, WSC_EVENT_DO_DIAL);
  int64_t began = now();
  CHECK_EQ(report(&b, dial.token, WSC_OK), WSC_OK);
  wsc_event ev;
  do { /* on a slow machine it may come before the start is told */
    ev = (wsc_event){.struct_size = sizeof ev};
    CHECK_EQ(wsc_loop_next(b.loop, PATIENCE, &ev), WSC_OK);
    wsc_event_done(&ev, NULL);
  } while (ev.type == WSC_EVENT_OPENED || ev.type == WSC_EVENT_OP_DONE);
  CHECK_EQ(ev.type, WSC_EVENT_DO_PING);
  CHECK_EQ(ev.delay_ns, 20 * NS_PER_S);
  CHECK(now() - began >= 30 * NS_PER_MS);
  tear_down(&b);
}

static void a_pong_keeps_the_session_and_is_measured(void) {
  struct bed b;
  set_up(&b);
  open_it(&b);
  for (int i = 0; i < 3; i++) {
    leap(&b, 15 * NS_PER_S);
    settle(&b);
    leap(&b, 6 * NS_PER_S);
    wsc_event ping = expect(&b, WSC_EVENT_DO_PING);
    leap(&b, 2 * NS_PER_S);
    settle(&b);
    CHECK_EQ(report(&b, ping.token, WSC_OK), WSC_OK);
    settle(&b);
    wsc_stats stats = {.struct_size = sizeof stats};
    CHECK_EQ(wsc_engine_stats(b.engine, &stats), WSC_OK);
    CHECK(stats.rtt_last_ns >= 2 * NS_PER_S);
    CHECK(stats.rtt_smoothed_ns >= 2 * NS_PER_S);
  }
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  tear_down(&b);
}

static void a_ping_that_fails_ends_the_session(void) {
  struct bed b;
  set_up(&b);
  open_it(&b);
  leap(&b, 21 * NS_PER_S);
  wsc_event ping = expect(&b, WSC_EVENT_DO_PING);
  CHECK_EQ(report(&b, ping.token, WSC_ERR_IO), WSC_OK);
  wsc_event closing = expect(&b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(closing.close_code, 1001);
  readers_out(&b);
  expect_lost(&b, WSC_BY_NETWORK, 1006, WSC_TIMER_KEEPALIVE, "ping");
  CHECK_EQ(expect(&b, WSC_EVENT_STOPPED).status, WSC_STOPPED_LOST);
  tear_down(&b);
}

static void a_ping_never_answered_ends_the_session(void) {
  struct bed b;
  set_up(&b);
  open_it(&b);
  leap(&b, 21 * NS_PER_S);
  wsc_event ping = expect(&b, WSC_EVENT_DO_PING);
  leap(&b, 15 * NS_PER_S);
  settle(&b);
  leap(&b, 6 * NS_PER_S);
  expect(&b, WSC_EVENT_DO_CLOSE);
  report(&b, ping.token, WSC_OK); /* too late to save it */
  readers_out(&b);
  expect_lost(&b, WSC_BY_NETWORK, 1006, WSC_TIMER_KEEPALIVE, "link is dead");
  tear_down(&b);
}

/* How the session ended stands: the host's answer to the close of what was cut comes before CLOSED and says nothing of it. */
static void the_close_of_a_cut_link_is_not_how_it_ended(int status) {
  struct bed b;
  set_up(&b);
  open_it(&b);
  leap(&b, 21 * NS_PER_S);
  expect(&b, WSC_EVENT_DO_PING);
  leap(&b, 15 * NS_PER_S);
  settle(&b);
  leap(&b, 6 * NS_PER_S);
  wsc_event closing = expect(&b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(report(&b, closing.token, status), WSC_OK);
  readers_out(&b);
  expect_lost(&b, WSC_BY_NETWORK, 1006, WSC_TIMER_KEEPALIVE, "link is dead");
  tear_down(&b);
}

static void what_the_readers_see_is_life(void) {
  struct bed b;
  set_up(&b);
  uint64_t epoch = open_it(&b);
  for (int i = 0; i < 4; i++) {
    leap(&b, 15 * NS_PER_S);
    settle(&b); /* no ping */
    wsc_engine_report_alive(b.engine, epoch, 0, 0);
  }
  leap(&b, 21 * NS_PER_S);
  expect(&b, WSC_EVENT_DO_PING);
  leap(&b, 15 * NS_PER_S);
  settle(&b);
  wsc_engine_report_alive(b.engine, epoch, 1, 1); /* as good as the pong */
  leap(&b, 10 * NS_PER_S);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  tear_down(&b);
}

static void only_messages_are_data(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_KEEPALIVE_INTERVAL_MS, 0);
  set(&b, WSC_OPT_DATA_IDLE_TIMEOUT_MS, 30000);
  uint64_t epoch = open_it(&b);
  leap(&b, 20 * NS_PER_S);
  settle(&b);
  wsc_engine_report_alive(b.engine, epoch, 1, 1);
  leap(&b, 20 * NS_PER_S);
  settle(&b);
  wsc_engine_report_alive(b.engine, epoch, 0, 0);
  leap(&b, 11 * NS_PER_S);
  expect(&b, WSC_EVENT_DO_CLOSE);
  readers_out(&b);
  expect_lost(&b, WSC_BY_NETWORK, 1006, WSC_TIMER_DATA_IDLE, "data_idle_timeout");
  tear_down(&b);
}

/* ---- answers that belong to a session that is gone ------------------------------------------------------------------ */

static void a_ping_of_the_session_before_harms_nobody(void) {
  struct bed b;
  set_up(&b);
  open_it(&b);
  leap(&b, 21 * NS_PER_S);
  wsc_event ping = expect(&b, WSC_EVENT_DO_PING);
  restart(&b);
  settle(&b);
  report(&b, ping.token, WSC_ERR_IO);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  tear_down(&b);
}

/* A dead link's DO_CLOSE is answered when the next session is open already: that one must still be looked after. */
static void a_close_of_the_session_before_harms_nobody(void) {
  struct bed b;
  set_up(&b);
  open_it(&b);
  leap(&b, 21 * NS_PER_S);
  wsc_event ping = expect(&b, WSC_EVENT_DO_PING);
  CHECK_EQ(report(&b, ping.token, WSC_ERR_IO), WSC_OK);
  wsc_event closing = expect(&b, WSC_EVENT_DO_CLOSE);
  readers_out(&b);
  expect(&b, WSC_EVENT_CLOSED);
  expect(&b, WSC_EVENT_STOPPED);
  settle(&b);
  uint64_t second = start(&b);
  report(&b, closing.token, WSC_ERR_IO);
  settle(&b);
  leap(&b, 21 * NS_PER_S);
  expect(&b, WSC_EVENT_DO_PING);
  report_read(&b, second, WSC_ERR_CLOSED, 1000, "bye", WSC_OK);
  tear_down(&b);
}

int main(void) {
  real = os_clocks;
  os_clocks.now = now;
  os_clocks.boottime = boottime;
  a_close_the_readers_saw_is_a_close_by_the_peer();
  a_close_without_code_is_a_lost_link();
  another_error_is_a_read_error_and_the_session_goes_on();
  sixteen_read_errors_in_a_row_end_the_session();
  reports_of_another_epoch_are_refused();
  a_read_error_of_one_session_never_shows_in_the_next();
  a_ping_is_asked_for_when_the_interval_is_over();
  a_pong_keeps_the_session_and_is_measured();
  a_ping_that_fails_ends_the_session();
  a_ping_never_answered_ends_the_session();
  the_close_of_a_cut_link_is_not_how_it_ended(WSC_OK);
  the_close_of_a_cut_link_is_not_how_it_ended(WSC_ERR_IO);
  what_the_readers_see_is_life();
  only_messages_are_data();
  a_ping_of_the_session_before_harms_nobody();
  a_close_of_the_session_before_harms_nobody();
  return 0;
}
