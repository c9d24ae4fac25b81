/* Host adapters on a host's loop: what the engine asks by DO_ events, what each answer means, and what an answer that comes too late must not do.
 * Time is a clock of the test's own: it goes like the real one, and leaps when told. */
#define _GNU_SOURCE
#include "check.h"
#include "loop.h"
#include "os.h"
#include "wscengine.h"

#include <poll.h>
#include <stdatomic.h>

static const int64_t PATIENCE = 10 * NS_PER_S;
static const char URL[] = "ws://host.example/feed";

/* ---- the clock ----------------------------------------------------------------------------------------------------- */

static struct os_clocks real;
static _Atomic int64_t leapt;
static int64_t now(void) { return real.now() + leapt; }
static int64_t boottime(void) { return real.boottime() + leapt; }

/* ---- the bed ------------------------------------------------------------------------------------------------------- */

struct bed {
  wsc_loop *loop;
  wsc_engine *engine;
  wsc_options *options;
};

static wsc_event next_event(struct bed *b, int type) {
  wsc_event ev = {.struct_size = sizeof ev};
  CHECK_EQ(wsc_loop_next(b->loop, PATIENCE, &ev), WSC_OK);
  CHECK_EQ(ev.type, type);
  return ev;
}

/* The next event, which must be of this type; it is done with at once. What it points to is gone. */
static wsc_event expect(struct bed *b, int type) {
  wsc_event ev = next_event(b, type);
  CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
  return ev;
}

/* Does all there is to do; no event may come of it. */
static void settle(struct bed *b) {
  struct pollfd p = {.fd = wsc_loop_fd(b->loop), .events = POLLIN};
  wsc_event ev = {.struct_size = sizeof ev};
  while (poll(&p, 1, 20) == 1) CHECK_EQ(wsc_loop_next(b->loop, 0, &ev), WSC_AGAIN);
}

/* The time is later by so much, and timers that are due by then ring. */
static void leap(struct bed *b, int64_t ns) {
  leapt += ns;
  poller_alarm(&b->loop->poller, 0);
}

static int report(struct bed *b, uint64_t token, int status) {
  return wsc_engine_report(b->engine, token, status, NULL, NULL);
}

static void report_read(struct bed *b, uint64_t epoch, int status, int code, const char *text, int want) {
  wsc_error *error = NULL;
  CHECK_EQ(wsc_error_new(status, code, text, NULL, NULL, NULL, &error), WSC_OK);
  CHECK_EQ(wsc_engine_report_read(b->engine, epoch, error), want);
  wsc_error_unref(error);
}

static void set(struct bed *b, int option, int64_t value) {
  CHECK_EQ(wsc_options_set_int(b->options, option, value), WSC_OK);
}

/* Keepalive: 20 s, and 20 s for the answer. */
static void set_up(struct bed *b) {
  *b = (struct bed){0};
  b->options = wsc_options_new();
  set(b, WSC_OPT_HOST_ADAPTER, 1);
  set(b, WSC_OPT_AUTO_RECONNECT, 0);
  CHECK_EQ(wsc_loop_new(NULL, &b->loop, NULL), WSC_OK);
}

static void make(struct bed *b) {
  CHECK_EQ(wsc_engine_new(URL, NULL, b, b->options, &b->engine, NULL), WSC_OK);
  CHECK_EQ(wsc_loop_add(b->loop, b->engine), WSC_OK);
}

static void tear_down(struct bed *b) {
  wsc_engine_free(b->engine);
  wsc_loop_free(b->loop);
  wsc_options_free(b->options);
}

/* From DO_DIAL to OPENED; the epoch of the session. */
static uint64_t dialed(struct bed *b) {
  wsc_event dial = expect(b, WSC_EVENT_DO_DIAL);
  CHECK_EQ(report(b, dial.token, WSC_OK), WSC_OK);
  return expect(b, WSC_EVENT_OPENED).epoch;
}

static uint64_t start(struct bed *b) {
  CHECK_EQ(wsc_engine_start_begin(b->engine, NULL, 1, NULL, NULL), WSC_OK);
  uint64_t epoch = dialed(b);
  CHECK_EQ(expect(b, WSC_EVENT_OP_DONE).status, WSC_OK);
  settle(b);
  return epoch;
}

static uint64_t open_it(struct bed *b) {
  make(b);
  return start(b);
}

static void readers_out(struct bed *b) {
  wsc_event quiet = expect(b, WSC_EVENT_DO_STOP_READING);
  CHECK_EQ(report(b, quiet.token, WSC_OK), WSC_OK);
}

/* The session's own restart: DO_STOP_READING, CLOSED, DO_CLOSE, and the next one is dialed. */
static uint64_t restart(struct bed *b) {
  wsc_engine_restart(b->engine);
  readers_out(b);
  expect(b, WSC_EVENT_CLOSED);
  wsc_event closing = expect(b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(report(b, closing.token, WSC_OK), WSC_OK);
  return dialed(b);
}

/* The session is over by itself: how CLOSED tells it. */
static void expect_lost(struct bed *b, int initiator, int code, int timer, const char *said) {
  wsc_event ev = next_event(b, WSC_EVENT_CLOSED);
  CHECK(ev.flags & WSC_EVENT_BY_PEER);
  CHECK(ev.close != NULL);
  CHECK_EQ(ev.close->initiator, initiator);
  CHECK_EQ(ev.close->code, code);
  CHECK_EQ(ev.close_code, code);
  CHECK_EQ(ev.close->timer, timer);
  CHECK_HAS(wsc_error_message(ev.error), said);
  wsc_event_done(&ev, NULL);
}

/* ---- the dial ------------------------------------------------------------------------------------------------------ */

static void an_answered_dial_opens_a_session(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_CONNECT_TIMEOUT_MS, 7000);
  make(&b);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  wsc_event dial = next_event(&b, WSC_EVENT_DO_DIAL);
  CHECK_STR(dial.text, URL);
  CHECK_EQ(dial.delay_ns, 7000 * NS_PER_MS);
  CHECK(dial.token != 0);
  CHECK(dial.user == &b);
  wsc_event_done(&dial, NULL);
  settle(&b); /* done is no answer */
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_STARTING);

  CHECK_EQ(report(&b, dial.token, WSC_OK), WSC_OK);
  wsc_event opened = next_event(&b, WSC_EVENT_OPENED);
  CHECK_EQ(opened.epoch, 1);
  CHECK_EQ(opened.flags & WSC_EVENT_RESTARTING, 0);
  CHECK(wsc_session_connection(opened.session) == NULL);
  settle(&b);
  wsc_event_done(&opened, NULL);
  wsc_event started = expect(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(started.token, 1);
  CHECK_EQ(started.status, WSC_OK);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  CHECK_EQ(wsc_engine_write(b.engine, NULL, WSC_TEXT, (const uint8_t *)"x", 1, NULL), WSC_ERR_UNSUPPORTED);
  tear_down(&b);
}

static void a_failed_dial_fails_the_start_with_its_error(void) {
  struct bed b;
  set_up(&b);
  make(&b);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  wsc_event dial = expect(&b, WSC_EVENT_DO_DIAL);
  wsc_error *why = NULL;
  CHECK_EQ(wsc_error_new(WSC_ERR_RESOLVE, 0, "nobody knows host.example", NULL, NULL, NULL, &why), WSC_OK);
  CHECK_EQ(wsc_engine_report(b.engine, dial.token, WSC_ERR_RESOLVE, NULL, why), WSC_OK);
  wsc_error_unref(why);
  wsc_event started = next_event(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(started.status, WSC_ERR_RESOLVE);
  CHECK_HAS(wsc_error_message(started.error), "nobody knows host.example");
  wsc_event_done(&started, NULL);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_STOPPED);
  tear_down(&b);
}

/* The start's deadline passed: the host is told to give its dial up, and what comes of it interests nobody. */
static void an_answer_to_a_dial_that_was_given_up_does_nothing(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_ON_OPEN_TIMEOUT_MS, 3000);
  make(&b);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  wsc_event dial = expect(&b, WSC_EVENT_DO_DIAL);
  settle(&b);
  leap(&b, 4 * NS_PER_S);
  wsc_event closing = expect(&b, WSC_EVENT_DO_CLOSE);
  wsc_event started = next_event(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(started.status, WSC_ERR_TIMEOUT);
  CHECK_HAS(wsc_error_message(started.error), "the host was dialing");
  wsc_event_done(&started, NULL);

  CHECK_EQ(report(&b, dial.token, WSC_OK), WSC_ERR_STATE);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_STOPPED);
  CHECK_EQ(report(&b, closing.token, WSC_OK), WSC_OK);
  CHECK_EQ(report(&b, closing.token, WSC_OK), WSC_ERR_STATE); /* once only */
  CHECK_EQ(report(&b, 0, WSC_OK), WSC_ERR_STATE);
  CHECK_EQ(report(&b, 12345, WSC_OK), WSC_ERR_STATE);
  settle(&b);
  tear_down(&b);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void stop_closes_with_the_answer_of_closed(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_CLOSE_TIMEOUT_MS, 4000);
  open_it(&b);
  CHECK_EQ(wsc_engine_stop_begin(b.engine, NULL, 2, NULL, NULL), WSC_OK);
  readers_out(&b);
  wsc_event closed = next_event(&b, WSC_EVENT_CLOSED);
  CHECK_EQ(closed.flags & WSC_EVENT_BY_PEER, 0);
  CHECK(closed.close == NULL);
  wsc_reply reply = {.struct_size = sizeof reply, .close_code = 4001, .close_reason = "enough"};
  wsc_event_done(&closed, &reply);
  wsc_event closing = next_event(&b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(closing.close_code, 4001);
  CHECK_STR(closing.text, "enough");
  CHECK_EQ(closing.delay_ns, 4000 * NS_PER_MS);
  CHECK_EQ(closing.epoch, 1);
  wsc_event_done(&closing, NULL);
  settle(&b);
  CHECK_EQ(report(&b, closing.token, WSC_OK), WSC_OK);
  CHECK_EQ(expect(&b, WSC_EVENT_STOPPED).status, WSC_STOPPED_BY_STOP);
  wsc_event stopped = expect(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(stopped.token, 2);
  CHECK_EQ(stopped.status, WSC_OK);
  tear_down(&b);
}

static void stop_until_do_close(struct bed *b, wsc_event *closing) {
  open_it(b);
  CHECK_EQ(wsc_engine_stop_begin(b->engine, NULL, 2, NULL, NULL), WSC_OK);
  readers_out(b);
  expect(b, WSC_EVENT_CLOSED);
  *closing = expect(b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(closing->close_code, 1001);
}

static void close_error(struct bed *b, int status, const char *said) {
  wsc_event ev = next_event(b, WSC_EVENT_CLOSE_ERROR);
  CHECK_EQ(wsc_error_status(ev.error), status);
  CHECK_HAS(wsc_error_message(ev.error), said);
  wsc_event_done(&ev, NULL);
  CHECK_EQ(expect(b, WSC_EVENT_STOPPED).status, WSC_STOPPED_BY_STOP);
  CHECK_EQ(expect(b, WSC_EVENT_OP_DONE).status, WSC_OK);
}

static void a_close_that_fails_is_a_close_error(void) {
  struct bed b;
  wsc_event closing;
  set_up(&b);
  stop_until_do_close(&b, &closing);
  wsc_error *why = NULL;
  CHECK_EQ(wsc_error_new(WSC_ERR_IO, 0, "the wire is cut", NULL, NULL, NULL, &why), WSC_OK);
  CHECK_EQ(wsc_engine_report(b.engine, closing.token, WSC_ERR_IO, NULL, why), WSC_OK);
  wsc_error_unref(why);
  close_error(&b, WSC_ERR_IO, "the wire is cut");
  tear_down(&b);
}

static void a_close_never_answered_ends_at_close_timeout(void) {
  struct bed b;
  wsc_event closing;
  set_up(&b);
  set(&b, WSC_OPT_CLOSE_TIMEOUT_MS, 60000);
  stop_until_do_close(&b, &closing);
  leap(&b, 50 * NS_PER_S);
  settle(&b);
  leap(&b, 11 * NS_PER_S);
  close_error(&b, WSC_ERR_TIMEOUT, "did not close in time");
  CHECK_EQ(report(&b, closing.token, WSC_OK), WSC_ERR_STATE);
  tear_down(&b);
}

static void closed_waits_for_the_readers(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_CALLBACK_GRACE_MS, 30000);
  open_it(&b);
  CHECK_EQ(wsc_engine_stop_begin(b.engine, NULL, 2, NULL, NULL), WSC_OK);
  wsc_event quiet = expect(&b, WSC_EVENT_DO_STOP_READING);
  CHECK_EQ(quiet.epoch, 1);
  settle(&b);
  leap(&b, 20 * NS_PER_S - NS_PER_S);
  settle(&b);
  CHECK_EQ(report(&b, quiet.token, WSC_OK), WSC_OK);
  expect(&b, WSC_EVENT_CLOSED);
  expect(&b, WSC_EVENT_DO_CLOSE);
  tear_down(&b);
}

static void a_reader_that_never_answers_holds_closed_back_for_the_grace_only(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_CALLBACK_GRACE_MS, 5000);
  open_it(&b);
  wsc_engine_exit(b.engine);
  expect(&b, WSC_EVENT_DO_STOP_READING);
  settle(&b);
  leap(&b, 6 * NS_PER_S);
  expect(&b, WSC_EVENT_CLOSED);
  tear_down(&b);
}

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

/* ---- who may use it ------------------------------------------------------------------------------------------------ */

static void the_library_s_own_loop_cannot_carry_a_host_adapter(void) {
  struct bed b;
  set_up(&b);
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks};
  CHECK_EQ(wsc_engine_new(URL, &callbacks, NULL, b.options, &b.engine, NULL), WSC_OK);
  wsc_error *error = NULL;
  CHECK_EQ(wsc_engine_start(b.engine, NULL, &error), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(error), "HOST_ADAPTER");
  CHECK_HAS(wsc_error_message(error), "wsc_loop_add");
  wsc_error_unref(error);
  tear_down(&b);
}

static void freeing_a_running_engine_tells_the_host_to_close(void) {
  struct bed b;
  set_up(&b);
  open_it(&b);
  wsc_engine_free(b.engine);
  b.engine = NULL;
  CHECK_EQ(expect(&b, WSC_EVENT_DO_CLOSE).close_code, 1001);
  settle(&b);
  tear_down(&b);
}

int main(void) {
  real = os_clocks;
  os_clocks.now = now;
  os_clocks.boottime = boottime;
  an_answered_dial_opens_a_session();
  a_failed_dial_fails_the_start_with_its_error();
  an_answer_to_a_dial_that_was_given_up_does_nothing();
  stop_closes_with_the_answer_of_closed();
  a_close_that_fails_is_a_close_error();
  a_close_never_answered_ends_at_close_timeout();
  closed_waits_for_the_readers();
  a_reader_that_never_answers_holds_closed_back_for_the_grace_only();
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
  what_the_readers_see_is_life();
  only_messages_are_data();
  a_ping_of_the_session_before_harms_nobody();
  a_close_of_the_session_before_harms_nobody();
  the_library_s_own_loop_cannot_carry_a_host_adapter();
  freeing_a_running_engine_tells_the_host_to_close();
  return 0;
}
