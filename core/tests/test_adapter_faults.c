/* Adapters that do not keep their part: slots that never return, that lie, that fail. Nothing hangs beyond its own deadline, and what is left behind is
 * no more than the slot that does not return. */
#define _GNU_SOURCE
#include "adapter_bed.h"

/* A start whose dial is inside its slot when it is cancelled. */
static void cancel_a_start(struct bed *b) {
  wsc_cancel *c;
  CHECK_EQ(wsc_cancel_new(&c), WSC_OK);
  wsc_context ctx = {.struct_size = sizeof ctx, .cancel = c};
  wsc_op *op;
  CHECK_EQ(wsc_engine_start_begin(b->engine, &ctx, 0, &op, NULL), WSC_OK);
  WAIT(TOY(b, inside[TOY_DIAL]) == 1);
  wsc_cancel_fire(c);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_ERR_CANCELED);
  wsc_op_unref(op);
  wsc_cancel_free(c);
}

static int stop_within(struct bed *b, int64_t ns, wsc_error **err) {
  wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + ns};
  return wsc_engine_stop(b->engine, &c, err);
}

/* Start's time is kept, so is the next one's, which finds the adapter busy; when the dial returns at last all is well again. */
static void a_dial_that_never_returns(void) {
  struct bed b;
  bed_init(&b);
  bed_make(&b);
  toy_be(&b, TOY_DIAL, DEAF, 0);
  wsc_error *e = NULL;
  cancel_a_start(&b);
  wsc_engine_free(b.engine);
  bed_set(&b, WSC_OPT_CONNECT_TIMEOUT_MS, 50);
  bed_make(&b);
  CHECK_EQ(wsc_engine_start(b.engine, NULL, &e), WSC_ERR_TIMEOUT); /* in its own time */
  CHECK_HAS(wsc_error_message(e), "still busy");
  wsc_error_unref(e);
  CHECK_EQ(TOY(&b, called[TOY_DIAL]), 1);
  CHECK_EQ(TOY(&b, inside[TOY_DIAL]), 1);
  wsc_engine_free(b.engine);
  bed_set(&b, WSC_OPT_CONNECT_TIMEOUT_MS, 0);
  bed_make(&b);
  wsc_op *op;
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 0, &op, NULL), WSC_OK); /* waits for it to be free */
  toy_be(&b, TOY_DIAL, OBEYS, 0);
  CHECK_EQ(wsc_op_wait(op, LONG, &e), WSC_OK);
  wsc_op_unref(op);
  CHECK_EQ(TOY(&b, called[TOY_DIAL]), 2);
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 1); /* of the connection that came too late */
  bed_end(&b);
}

/* Everything is gone but the slot: engine, options, loop, crew. Drop waits for it. */
static void freed_beside_a_slot_that_never_returns(void) {
  struct bed b;
  bed_init(&b);
  bed_make(&b);
  toy_be(&b, TOY_DIAL, DEAF, 0);
  cancel_a_start(&b);
  wsc_engine_free(b.engine);
  wsc_options_free(b.options);
  b.engine = NULL;
  b.options = NULL;
  WAIT(threads_named("wsc-") == 1);
  CHECK_EQ(threads_named("wsc-read"), 1);
  CHECK_EQ(TOY(&b, drops), 0);
  toy_let_go(&b);
  bed_end(&b);
}

static void a_read_that_never_returns(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_CLOSE_TIMEOUT_MS, 100);
  toy_be(&b, TOY_READ, DEAF, 0);
  bed_start(&b);
  WAIT(TOY(&b, inside[TOY_READ]) == 1);
  pthread_mutex_lock(&b.toy.lock);
  b.toy.manner[TOY_READ] = DEAF;
  pthread_mutex_unlock(&b.toy.lock);
  CHECK_EQ(stop_within(&b, LONG, NULL), WSC_OK);
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 1);
  CHECK_EQ(b.close_errors, 0); /* close had done its part */
  toy_let_go(&b);
  bed_end(&b);
}

static void a_close_that_never_returns(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_CLOSE_TIMEOUT_MS, 50);
  bed_start(&b);
  toy_be(&b, TOY_CLOSE, DEAF, 0);
  CHECK_EQ(stop_within(&b, LONG, NULL), WSC_OK);
  CHECK_EQ(b.close_errors, 1);
  CHECK_EQ(b.close_status, WSC_ERR_TIMEOUT);
  CHECK_HAS(b.close_error, "has not closed within 50 ms");
  CHECK_EQ(TOY(&b, inside[TOY_CLOSE]), 1);
  toy_let_go(&b);
  bed_end(&b);
}

static void a_close_that_fails(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  toy_be(&b, TOY_CLOSE, FAILS, WSC_ERR_IO);
  CHECK_EQ(stop_within(&b, LONG, NULL), WSC_OK);
  CHECK_EQ(b.close_errors, 1);
  CHECK_EQ(b.close_status, WSC_ERR_IO);
  CHECK_HAS(b.close_error, "toy: close");
  toy_be(&b, TOY_CLOSE, HANGS, 0); /* and one that waits as long as it may */
  CHECK_EQ(wsc_engine_start(b.engine, NULL, NULL), WSC_OK);
  CHECK_EQ(stop_within(&b, 50 * NS_PER_MS, NULL), WSC_ERR_TIMEOUT);
  wsc_engine_free(b.engine); /* waits for the rest */
  b.engine = NULL;
  bed_end(&b);
}

static void pings_that_fail(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_KEEPALIVE_INTERVAL_MS, 20);
  bed_set(&b, WSC_OPT_KEEPALIVE_TIMEOUT_MS, 50);
  bed_start(&b);
  toy_be(&b, TOY_PING, FAILS, WSC_ERR_IO);
  WAIT(SEEN(&b, opens) >= 2);
  CHECK_EQ(b.code, 1006);
  CHECK_EQ(b.timer, WSC_TIMER_KEEPALIVE);
  CHECK_HAS(b.reason, "toy: ping");
  CHECK(TOY(&b, called[TOY_CLOSE]) >= 1);
  toy_be(&b, TOY_PING, FAILS, WSC_ERR_TIMEOUT); /* a lie: no time has passed */
  int opens = SEEN(&b, opens);
  WAIT(SEEN(&b, opens) > opens);
  CHECK_EQ(b.timer, WSC_TIMER_KEEPALIVE);
  toy_be(&b, TOY_PING, IN_VAIN, 0);
  opens = SEEN(&b, opens);
  WAIT(SEEN(&b, opens) > opens + 1);
  CHECK_EQ(b.timer, WSC_TIMER_KEEPALIVE);
  CHECK_HAS(b.reason, "no sign of life");
  CHECK(bed_stats(&b).reconnects_by_timeout >= 3);
  bed_end(&b);
}

/* Its session ends by keepalive all the same; the reconnect waits for the ping, and says so when that takes too long. */
static void a_ping_that_never_returns(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_KEEPALIVE_INTERVAL_MS, 20);
  bed_set(&b, WSC_OPT_KEEPALIVE_TIMEOUT_MS, 50);
  bed_set(&b, WSC_OPT_CONNECT_TIMEOUT_MS, 1000); /* of the dial that waits for the ping; the first is quick */
  toy_be(&b, TOY_PING, DEAF, 0);
  bed_start(&b);
  WAIT(SEEN(&b, restart_errors) >= 1);
  CHECK_EQ(b.timer, WSC_TIMER_KEEPALIVE);
  CHECK_HAS(b.restart_error, "still busy");
  toy_be(&b, TOY_PING, OBEYS, 0);
  WAIT(SEEN(&b, opens) >= 2);
  bed_end(&b);
}

static void reads_that_lie(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_MAX_MESSAGE_BYTES, 10);
  bed_start(&b);
  for (int i = 0; i < 3; i++) toy_give(&b, WSC_OK, 0, NULL); /* OK, and no message */
  WAIT(SEEN(&b, read_errors) == 3);
  CHECK_EQ(b.read_status, WSC_ERR_HOST);
  CHECK_HAS(b.read_error, "without a message");
  for (int i = 0; i < 13; i++) toy_give(&b, WSC_OK, 0, NULL);
  WAIT(SEEN(&b, opens) == 2); /* no spin */
  CHECK_EQ(b.code, 1006);
  toy_give(&b, WSC_OK, 0, "\xff\xfe"); /* text that is none */
  WAIT(SEEN(&b, read_errors) == 16);
  CHECK_EQ(b.read_status, WSC_ERR_INVALID);
  toy_give(&b, 7, 0, "no status"); /* neither OK nor an error */
  WAIT(SEEN(&b, read_errors) == 17);
  CHECK_EQ(b.read_status, WSC_ERR_HOST);
  toy_give(&b, WSC_OK, 0, "much too long");
  WAIT(SEEN(&b, opens) == 3);
  CHECK_EQ(b.code, 1009);
  CHECK_EQ(b.initiator, WSC_BY_LOCAL);
  CHECK_EQ(TOY(&b, close_code), 1009);
  CHECK_EQ(SEEN(&b, messages), 0);
  bed_end(&b);
}

/* The link is gone; a reader that knows more has the word. */
static void writes_that_fail(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  toy_be(&b, TOY_WRITE, FAILS, WSC_ERR_IO);
  CHECK_EQ(bed_write(&b, "lost", NULL), WSC_OK); /* accepted; as with the built-in connection */
  WAIT(SEEN(&b, opens) == 2);
  CHECK_EQ(b.code, 1006);
  CHECK_HAS(b.reason, "toy: write");
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 1);
  WAIT(wsc_engine_state(b.engine) == WSC_STATE_OPEN);
  CHECK_EQ(bed_write(&b, "lost", NULL), WSC_OK);
  WAIT(TOY(&b, called[TOY_WRITE]) == 2);
  toy_give(&b, WSC_ERR_CLOSED, 1012, "service restart");
  WAIT(SEEN(&b, opens) == 3);
  CHECK_EQ(b.code, 1012);
  CHECK_STR(b.reason, "service restart");
  bed_end(&b);
}

static void a_write_that_never_returns(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_CLOSE_TIMEOUT_MS, 50);
  bed_start(&b);
  toy_be(&b, TOY_WRITE, DEAF, 0);
  CHECK_EQ(bed_write(&b, "stuck", NULL), WSC_OK);
  WAIT(TOY(&b, inside[TOY_WRITE]) == 1);
  CHECK_EQ(stop_within(&b, LONG, NULL), WSC_OK);
  CHECK_EQ(b.close_errors, 1);
  WAIT(TOY(&b, called[TOY_CLOSE]) == 1); /* all the same: the adapter must let go */
  toy_let_go(&b);
  bed_end(&b);
}

int main(void) {
  a_dial_that_never_returns();
  freed_beside_a_slot_that_never_returns();
  a_read_that_never_returns();
  a_close_that_never_returns();
  a_close_that_fails();
  pings_that_fail();
  a_ping_that_never_returns();
  reads_that_lie();
  writes_that_fail();
  a_write_that_never_returns();
  return 0;
}
