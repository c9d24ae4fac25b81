/* Host adapters: what the engine asks by DO_ events for a dial and an end, and what each answer means. */
#define _GNU_SOURCE
#include "host_bed.h"

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

/* What DO_DIAL carries is what the hook left, also while the next attempt is already being changed. */
static void a_dial_carries_the_hooks_headers_and_subprotocols(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_ASK_BEFORE_ATTEMPT, 1);
  set(&b, WSC_OPT_ON_OPEN_TIMEOUT_MS, 3000);
  CHECK_EQ(wsc_options_set_str(b.options, WSC_OPT_HEADER, "X-Client: one"), WSC_OK);
  make(&b);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  wsc_event ask = next_event(&b, WSC_EVENT_BEFORE_ATTEMPT);
  CHECK_STR(wsc_attempt_header(ask.attempt, 0), "X-Client: one");
  CHECK_EQ(wsc_attempt_add_header(ask.attempt, "Authorization: Bearer fresh", NULL), WSC_OK);
  CHECK_EQ(wsc_attempt_add_subprotocol(ask.attempt, "feed.v2", NULL), WSC_OK);
  CHECK_EQ(wsc_attempt_set_url(ask.attempt, "ws://other.example/feed", NULL), WSC_OK);
  wsc_event_done(&ask, NULL);
  wsc_event dial = next_event(&b, WSC_EVENT_DO_DIAL);

  leap(&b, 4 * NS_PER_S); /* given up; the event is still out */
  expect(&b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(expect(&b, WSC_EVENT_OP_DONE).status, WSC_ERR_TIMEOUT);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 2, NULL, NULL), WSC_OK);
  ask = next_event(&b, WSC_EVENT_BEFORE_ATTEMPT);
  CHECK(wsc_attempt_header(ask.attempt, 1) == NULL); /* the hook's changes were the last run's */
  wsc_attempt_clear_headers(ask.attempt);
  wsc_event_done(&ask, NULL);
  wsc_event second = next_event(&b, WSC_EVENT_DO_DIAL);

  CHECK_STR(dial.text, "ws://other.example/feed");
  CHECK_STR(wsc_attempt_url(dial.attempt), "ws://other.example/feed");
  CHECK_STR(wsc_attempt_header(dial.attempt, 0), "X-Client: one");
  CHECK_STR(wsc_attempt_header(dial.attempt, 1), "Authorization: Bearer fresh");
  CHECK(wsc_attempt_header(dial.attempt, 2) == NULL);
  CHECK_STR(wsc_attempt_subprotocol(dial.attempt, 0), "feed.v2");
  CHECK(wsc_attempt_subprotocol(dial.attempt, 1) == NULL);
  CHECK_STR(second.text, URL);
  CHECK(wsc_attempt_header(second.attempt, 0) == NULL);
  CHECK(wsc_attempt_subprotocol(second.attempt, 0) == NULL);
  CHECK(wsc_attempt_header(NULL, 0) == NULL && wsc_attempt_subprotocol(NULL, 0) == NULL);
  wsc_event_done(&dial, NULL);
  wsc_event_done(&second, NULL);
  tear_down(&b);
}

/* The start's deadline passed before the host was told to dial: it is told of neither that nor a close. */
static void a_dial_that_nobody_heard_of_is_not_closed(void) {
  struct bed b;
  set_up(&b);
  set(&b, WSC_OPT_ON_OPEN_TIMEOUT_MS, 3000);
  make(&b);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  loop_run_protocol(b.loop);
  leap(&b, 4 * NS_PER_S);
  loop_run_protocol(b.loop);
  CHECK_EQ(expect(&b, WSC_EVENT_OP_DONE).status, WSC_ERR_TIMEOUT);
  settle(&b);
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
  a_dial_carries_the_hooks_headers_and_subprotocols();
  a_dial_that_nobody_heard_of_is_not_closed();
  an_answer_to_a_dial_that_was_given_up_does_nothing();
  stop_closes_with_the_answer_of_closed();
  a_close_that_fails_is_a_close_error();
  a_close_never_answered_ends_at_close_timeout();
  closed_waits_for_the_readers();
  a_reader_that_never_answers_holds_closed_back_for_the_grace_only();
  the_library_s_own_loop_cannot_carry_a_host_adapter();
  freeing_a_running_engine_tells_the_host_to_close();
  return 0;
}
