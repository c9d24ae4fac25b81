/* A user's adapter that keeps its part: the engine does with it what it does with the built-in connection, and each "must" of the seed's interface
 * is asked for. How adapters are survived that do not is in test_adapter_faults.c. */
#define _GNU_SOURCE
#include "adapter_bed.h"
#include "loop_bed.h"

#include <poll.h>

static void a_life(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  CHECK_STR(b.toy.url, "wss://user:secret@toy.example/feed");
  CHECK_STR(b.toy.header, "X-Token: 1");
  for (int i = 0; i < 3; i++) {
    char text[16];
    snprintf(text, sizeof text, "m%d", i);
    toy_give(&b, WSC_OK, 0, text);
    CHECK_EQ(bed_write(&b, text, NULL), WSC_OK);
  }
  WAIT(SEEN(&b, messages) == 3);
  CHECK_STR(b.texts, "m0 m1 m2 ");
  WAIT(TOY(&b, wrote) == 3);
  CHECK_STR(b.toy.written, "m0 m1 m2 ");
  wsc_session *s = wsc_engine_session(b.engine);
  int64_t rtt = 0;
  CHECK_EQ(wsc_connection_ping(wsc_session_connection(s), NULL, &rtt, NULL), WSC_OK);
  CHECK(rtt > 0);
  CHECK(wsc_connection_underlying(wsc_session_connection(s)) == b.toy.url);
  wsc_stats st = bed_stats(&b);
  CHECK_EQ(st.messages_received, 3);
  CHECK_EQ(st.messages_sent, 3);
  CHECK_EQ(st.bytes_received, 6);
  CHECK(st.rtt_last_ns > 0);
  CHECK_EQ(st.unsent_bytes, 0);
  CHECK_EQ(wsc_engine_stop(b.engine, NULL, NULL), WSC_OK);
  CHECK(toy_idle(&b)); /* no slot runs when stop has returned */
  CHECK_EQ(SEEN(&b, closes), 1);
  CHECK(!b.has_close);
  CHECK_EQ(TOY(&b, called[TOY_DIAL]), 1);
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 1);
  CHECK_EQ(TOY(&b, close_code), 1001);
  CHECK_STR(b.toy.close_reason, "Going Away");
  CHECK_EQ(wsc_connection_ping(wsc_session_connection(s), NULL, NULL, NULL), WSC_ERR_CLOSED);
  wsc_session_unref(s);
  CHECK_EQ(wsc_engine_start(b.engine, NULL, NULL), WSC_OK); /* the same object again */
  bed_end(&b);
  CHECK_EQ(b.toy.called[TOY_DIAL], 2);
}

/* The peer's close arrives as it was sent, after what came before it; the next session dials the same object, and nobody closes what is gone. */
static void the_peer_closes(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  toy_give(&b, WSC_OK, 0, "last");
  toy_give(&b, WSC_ERR_CLOSED, 4321, "some reason");
  WAIT(SEEN(&b, opens) == 2);
  CHECK_EQ(b.restarts, 1);
  CHECK_STR(b.texts, "last ");
  CHECK_EQ(b.closes, 1);
  CHECK(b.has_close);
  CHECK_EQ(b.code, 4321);
  CHECK_EQ(b.initiator, WSC_BY_PEER);
  CHECK_STR(b.reason, "some reason");
  CHECK_EQ(TOY(&b, called[TOY_DIAL]), 2);
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 0);
  toy_give(&b, WSC_ERR_CLOSED, 1006, "cable");
  WAIT(SEEN(&b, opens) == 3);
  CHECK_EQ(b.initiator, WSC_BY_NETWORK);
  CHECK_EQ(b.code, 1006);
  toy_give(&b, WSC_ERR_PROTOCOL, 1002, "we did not like it");
  WAIT(SEEN(&b, opens) == 4);
  CHECK_EQ(b.initiator, WSC_BY_LOCAL);
  CHECK_EQ(b.code, 1002);
  WAIT(wsc_engine_state(b.engine) == WSC_STATE_OPEN);
  wsc_session *s = wsc_engine_session(b.engine);
  toy_give(&b, WSC_ERR_CLOSED, 4000, ""); /* without a reason */
  WAIT(SEEN(&b, opens) == 5);
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_write(wsc_session_connection(s), NULL, WSC_TEXT, NULL, 0, &e), WSC_ERR_CLOSED);
  CHECK_STR(wsc_error_message(e), "write: wss://user:***@toy.example/feed: closed by the peer with code 4000");
  wsc_error_unref(e);
  wsc_session_unref(s);
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 0);
  wsc_stats st = bed_stats(&b);
  CHECK_EQ(st.reconnects_by_peer, 2);
  CHECK_EQ(st.reconnects_by_network, 1);
  CHECK_EQ(st.reconnects_by_protocol, 1);
  bed_end(&b);
}

/* As the seed's: conn.Close by the user leads to OnClose with a message, and to a reconnect. */
static void the_user_closes(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  wsc_session *s = wsc_engine_session(b.engine);
  CHECK_EQ(wsc_connection_close(wsc_session_connection(s), NULL, 4000, "enough", NULL), WSC_OK);
  CHECK_EQ(wsc_connection_close(wsc_session_connection(s), NULL, 4000, "enough", NULL), WSC_ERR_CLOSED);
  wsc_session_unref(s);
  CHECK_STR(b.toy.close_reason, "enough");
  WAIT(SEEN(&b, opens) == 2);
  CHECK(b.has_close);
  CHECK_EQ(b.code, 4000);
  CHECK_EQ(b.restarts, 1);
  bed_end(&b);
}

/* Read errors that are no close: OnReadError, in its place among the messages, and on with the same connection. */
static void read_errors(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  b.hold = true;
  toy_give(&b, WSC_OK, 0, "one");
  toy_give(&b, WSC_OK, 0, "two");
  toy_give(&b, WSC_ERR_IO, 0, "hiccup");
  toy_give(&b, WSC_OK, 0, "three");
  WAIT(TOY(&b, called[TOY_READ]) >= 3);
  CHECK_EQ(SEEN(&b, read_errors), 0); /* what came before it has not been taken */
  b.hold = false;
  WAIT(SEEN(&b, messages) == 3);
  CHECK_EQ(b.read_errors, 1);
  CHECK_EQ(b.read_status, WSC_ERR_IO);
  CHECK_STR(b.read_error, "hiccup");
  CHECK_STR(b.texts, "one two three ");
  CHECK_EQ(b.closes, 0);
  for (int i = 0; i < 15; i++) toy_give(&b, WSC_ERR_IO, 0, "again"); /* 15 and a message: no harm */
  toy_give(&b, WSC_OK, 0, "four");
  for (int i = 0; i < 15; i++) toy_give(&b, WSC_ERR_IO, 0, "again");
  toy_give(&b, WSC_OK, 0, "five");
  WAIT(SEEN(&b, messages) == 5);
  CHECK_EQ(b.read_errors, 31);
  CHECK_EQ(b.closes, 0);
  for (int i = 0; i < 16; i++) toy_give(&b, WSC_ERR_IO, 0, "enough");
  WAIT(SEEN(&b, opens) == 2);
  CHECK_EQ(b.code, 1006);
  CHECK_EQ(b.read_errors, 46);
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 1); /* the adapter had not said that it was gone */
  b.act_in_read_error = 3;                 /* reads itself, inside */
  toy_give(&b, WSC_ERR_IO, 0, "read on");
  toy_give(&b, WSC_OK, 0, "mine");
  toy_give(&b, WSC_OK, 0, "six");
  WAIT(SEEN(&b, messages) == 6);
  b.act_in_read_error = 1; /* restarts */
  toy_give(&b, WSC_ERR_IO, 0, "restart");
  WAIT(SEEN(&b, opens) == 3);
  CHECK(!b.has_close);
  b.act_in_read_error = 2; /* exits */
  toy_give(&b, WSC_ERR_IO, 0, "exit");
  WAIT(SEEN(&b, stops) == 1);
  bed_end(&b);
}

/* Who holds the pause reads messages and errors itself. */
static void a_pause(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  CHECK_EQ(wsc_engine_pause(b.engine, NULL, NULL), WSC_OK);
  toy_give(&b, WSC_OK, 0, "answer");
  toy_give(&b, WSC_ERR_IO, 0, "hiccup");
  toy_give(&b, WSC_OK, 0, "second");
  wsc_session *s = wsc_engine_session(b.engine);
  wsc_connection *k = wsc_session_connection(s);
  wsc_message m = {.struct_size = sizeof m};
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_read(k, NULL, &m, NULL), WSC_OK);
  CHECK_BYTES(m.data, "answer", 6);
  CHECK(m.received_ns > 0);
  wsc_message_free(&m);
  CHECK_EQ(wsc_connection_read(k, NULL, &m, &e), WSC_ERR_IO);
  CHECK_STR(wsc_error_message(e), "hiccup");
  wsc_error_unref(e);
  CHECK_EQ(wsc_connection_read(k, NULL, &m, NULL), WSC_OK);
  CHECK_BYTES(m.data, "second", 6);
  wsc_message_free(&m);
  wsc_context soon = {.struct_size = sizeof soon, .deadline_ns = wsc_now_ns() + NS_PER_MS};
  CHECK_EQ(wsc_connection_read(k, &soon, &m, NULL), WSC_ERR_TIMEOUT); /* and the connection is as it was */
  toy_give(&b, WSC_ERR_IO, 0, "later");
  toy_give(&b, WSC_OK, 0, "third");
  CHECK_EQ(wsc_engine_resume(b.engine), WSC_OK);
  WAIT(SEEN(&b, messages) == 1);
  CHECK_EQ(b.read_errors, 1);
  CHECK_STR(b.texts, "third ");
  wsc_session_unref(s);
  bed_end(&b);
}

/* A full receive queue stops the reader; keepalive, whose pongs nobody can see then, kills nobody; all comes in order. */
static void back_pressure(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_RECEIVE_QUEUE_BYTES, 65536);
  bed_set(&b, WSC_OPT_KEEPALIVE_INTERVAL_MS, 20);
  bed_set(&b, WSC_OPT_KEEPALIVE_TIMEOUT_MS, 20);
  bed_start(&b);
  WAIT(TOY(&b, called[TOY_PING]) >= 3); /* answered */
  b.hold = true;
  pthread_mutex_lock(&b.toy.lock);
  b.toy.flood = true;
  pthread_mutex_unlock(&b.toy.lock);
  int before, after = -1;
  do { /* until nothing more is read */
    before = after;
    usleep(50000);
    after = TOY(&b, flooded);
  } while (before != after);
  CHECK(after * 1024 < 2 * 65536 + 4096);
  wsc_stats st = bed_stats(&b);
  CHECK(st.queued_bytes > 30000 && st.queued_bytes <= 65536 + 1024);
  toy_be(&b, TOY_PING, IN_VAIN, 0);
  int pings = TOY(&b, called[TOY_PING]);
  usleep(300000); /* many times the timeout */
  CHECK(TOY(&b, called[TOY_PING]) >= pings);
  CHECK_EQ(SEEN(&b, closes), 0);
  toy_be(&b, TOY_PING, OBEYS, 0);
  b.hold = false;
  WAIT(SEEN(&b, messages) > 3 * after); /* bed_on_message has compared their numbers */
  pthread_mutex_lock(&b.toy.lock);
  b.toy.flood = false;
  pthread_mutex_unlock(&b.toy.lock);
  CHECK_EQ(SEEN(&b, closes), 0);
  bed_end(&b);
}

/* What was received and never taken is counted. */
static void the_dropped_are_counted(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  b.hold = true;
  for (int i = 0; i < 10; i++) toy_give(&b, WSC_OK, 0, "x");
  WAIT(bed_stats(&b).messages_received == 10);
  WAIT(SEEN(&b, messages) == 1);
  wsc_engine_exit(b.engine);
  b.hold = false;
  CHECK_EQ(wsc_engine_wait(b.engine, NULL, NULL), WSC_STOPPED);
  wsc_stats st = bed_stats(&b);
  CHECK_EQ(st.messages_dropped, 10 - SEEN(&b, messages));
  CHECK_EQ(SEEN(&b, messages), 1);
  bed_end(&b);
}

/* Writes wait for room, in order, and what is queued leaves before the close. */
static void writes(void) {
  struct bed b;
  bed_init(&b);
  bed_set(&b, WSC_OPT_SEND_QUEUE_BYTES, 8);
  bed_start(&b);
  toy_be(&b, TOY_WRITE, HANGS, 0);
  CHECK_EQ(bed_write(&b, "abcd", NULL), WSC_OK);
  CHECK_EQ(bed_write(&b, "efgh", NULL), WSC_OK);
  wsc_session *s = wsc_engine_session(b.engine);
  wsc_connection *k = wsc_session_connection(s);
  wsc_context past = {.struct_size = sizeof past, .deadline_ns = 1};
  CHECK_EQ(wsc_connection_write(k, &past, WSC_TEXT, (const uint8_t *)"i", 1, NULL), WSC_ERR_QUEUE_FULL);
  CHECK_EQ(bed_stats(&b).unsent_bytes, 8);
  wsc_op *op;
  CHECK_EQ(wsc_connection_write_begin(k, NULL, WSC_TEXT, (const uint8_t *)"jkl", 3, 0, &op, NULL), WSC_OK);
  CHECK(wsc_op_pending(op));
  wsc_op *end;
  CHECK_EQ(wsc_engine_stop_begin(b.engine, NULL, 0, &end, NULL), WSC_OK);
  toy_be(&b, TOY_WRITE, OBEYS, 0);
  CHECK_EQ(wsc_op_wait(end, LONG, NULL), WSC_OK);
  CHECK(!wsc_op_pending(op)); /* it had its room, or the close came first */
  CHECK(!strncmp(b.toy.written, "abcd efgh ", 10));
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 1);
  wsc_op_unref(op);
  wsc_op_unref(end);
  wsc_session_unref(s);
  bed_end(&b);
}

/* Start is cancelled: so is the dial, and nothing goes on behind. */
static void a_cancelled_start(void) {
  struct bed b;
  bed_init(&b);
  bed_make(&b);
  toy_be(&b, TOY_DIAL, HANGS, 0);
  wsc_cancel *c;
  CHECK_EQ(wsc_cancel_new(&c), WSC_OK);
  wsc_context ctx = {.struct_size = sizeof ctx, .cancel = c};
  wsc_op *op;
  wsc_error *e = NULL;
  CHECK_EQ(wsc_engine_start_begin(b.engine, &ctx, 0, &op, NULL), WSC_OK);
  WAIT(TOY(&b, inside[TOY_DIAL]) == 1);
  wsc_cancel_fire(c);
  CHECK_EQ(wsc_op_wait(op, LONG, &e), WSC_ERR_CANCELED);
  CHECK_HAS(wsc_error_message(e), "waiting for the adapter's dial");
  wsc_error_unref(e);
  wsc_op_unref(op);
  wsc_cancel_free(c);
  WAIT(toy_idle(&b));
  CHECK_EQ(TOY(&b, called[TOY_DIAL]), 1);
  CHECK_EQ(TOY(&b, called[TOY_CLOSE]), 0);
  toy_be(&b, TOY_DIAL, FAILS, WSC_ERR_RESOLVE);
  CHECK_EQ(wsc_engine_start(b.engine, NULL, &e), WSC_ERR_RESOLVE);
  CHECK_HAS(wsc_error_message(e), "toy: dial");
  wsc_error_unref(e);
  toy_be(&b, TOY_DIAL, OBEYS, 0);
  CHECK_EQ(wsc_engine_start(b.engine, NULL, NULL), WSC_OK);
  bed_end(&b);
}

static wsc_event next(wsc_loop *l, int type) {
  wsc_event ev = loop_expect(l, type);
  CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
  return ev; /* what it points to is gone */
}

/* Bindings see the same events as with the built-in connection, and read errors. */
static void on_a_hosts_loop(void) {
  struct bed b;
  wsc_loop *l;
  bed_init(&b);
  bed_set(&b, WSC_OPT_AUTO_RECONNECT, 0);
  CHECK_EQ(wsc_loop_new(NULL, &l, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_new("ws://toy.example/", NULL, NULL, b.options, &b.engine, NULL), WSC_OK);
  CHECK_EQ(wsc_loop_add(l, b.engine), WSC_OK);
  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 7, NULL, NULL), WSC_OK);
  next(l, WSC_EVENT_OPENED);
  CHECK_EQ(next(l, WSC_EVENT_OP_DONE).token, 7);
  toy_give(&b, WSC_OK, 0, "one");
  wsc_event ev = loop_expect(l, WSC_EVENT_BATCH);
  CHECK_EQ(ev.count, 1);
  CHECK_BYTES(ev.arena + ev.records[0].offset, "one", 3);
  CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
  toy_give(&b, WSC_ERR_IO, 0, "hiccup");
  ev = loop_expect(l, WSC_EVENT_READ_ERROR);
  CHECK_STR(wsc_error_message(ev.error), "hiccup");
  toy_give(&b, WSC_ERR_CLOSED, 4000, "enough");
  loop_settle(l); /* the reader waits for the answer */
  CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
  CHECK_EQ(next(l, WSC_EVENT_CLOSED).close_code, 4000);
  CHECK_EQ(next(l, WSC_EVENT_STOPPED).status, WSC_STOPPED_LOST);
  wsc_engine_free(b.engine);
  b.engine = NULL;
  wsc_loop_free(l);
  bed_end(&b);
}

static void what_is_refused(void) {
  wsc_options *o = wsc_options_new();
  wsc_adapter v = toy_vtable;
  struct toy t = {.lock = PTHREAD_MUTEX_INITIALIZER};
  CHECK_EQ(wsc_options_set_adapter(NULL, &v, &t), WSC_ERR_INVALID);
  v.read = NULL;
  CHECK_EQ(wsc_options_set_adapter(o, &v, &t), WSC_ERR_INVALID);
  v = toy_vtable;
  v.flags = 1;
  CHECK_EQ(wsc_options_set_adapter(o, &v, &t), WSC_ERR_INVALID);
  v = toy_vtable;
  v.struct_size = 8;
  CHECK_EQ(wsc_options_set_adapter(o, &v, &t), WSC_ERR_INVALID);
  CHECK_EQ(t.drops, 0);
  v = toy_vtable;
  v.underlying = NULL;
  CHECK_EQ(wsc_options_set_adapter(o, &v, &t), WSC_OK);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_HOST_ADAPTER, 1), WSC_OK);
  wsc_error *e = NULL;
  CHECK_EQ(wsc_options_validate(o, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "HOST_ADAPTER");
  wsc_error_unref(e);
  CHECK_EQ(wsc_options_set_adapter(o, NULL, NULL), WSC_OK); /* the one before goes */
  CHECK_EQ(t.drops, 1);
  wsc_options_free(o);
  CHECK_EQ(wsc_batch_add(NULL, WSC_TEXT, NULL, 0), WSC_ERR_INVALID);
}

static void a_cancellation_has_an_fd(void) {
  wsc_cancel *c;
  CHECK_EQ(wsc_cancel_new(&c), WSC_OK);
  struct pollfd p = {.fd = wsc_cancel_fd(c), .events = POLLIN};
  CHECK(p.fd >= 0);
  CHECK_EQ(wsc_cancel_fd(c), p.fd);
  CHECK_EQ(poll(&p, 1, 0), 0);
  wsc_cancel_fire(c);
  wsc_cancel_fire(c);
  CHECK_EQ(poll(&p, 1, 0), 1);
  wsc_cancel_free(c);
  CHECK_EQ(wsc_cancel_new(&c), WSC_OK);
  wsc_cancel_fire(c);
  p.fd = wsc_cancel_fd(c); /* asked for when it had fired */
  CHECK_EQ(poll(&p, 1, 0), 1);
  wsc_cancel_free(c);
  CHECK_EQ(wsc_cancel_fd(NULL), -1);
}

int main(void) {
  a_life();
  the_peer_closes();
  the_user_closes();
  read_errors();
  a_pause();
  back_pressure();
  the_dropped_are_counted();
  writes();
  a_cancelled_start();
  on_a_hosts_loop();
  what_is_refused();
  a_cancellation_has_an_fd();
  return 0;
}
