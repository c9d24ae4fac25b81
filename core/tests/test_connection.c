/* A connection without an engine: dial, read, ping and close, each also when it goes wrong. Sending has a test of its own. */
#define _GNU_SOURCE
#include "connection_bed.h"

#include <errno.h>

static void every_verb_once(bool host) {
  struct bed b;
  wsc_op *op;
  uint8_t close_frame[125];
  bed_up(&b, host);
  CHECK_EQ(wsc_response_status(wsc_connection_response(b.k)), 101);
  CHECK_EQ(wsc_connection_last_rtt_ns(b.k), -1);

  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_TEXT, (const uint8_t *)"hello", 5, NULL), WSC_OK);
  peer_expects(&b.peer, 0x81, "hello", 5);
  peer_text(&b.peer, "back");
  bed_reads(&b, "back");

  uint8_t ping[125];
  size_t n;
  CHECK_EQ(wsc_connection_ping_begin(b.k, NULL, 0, &op, NULL), WSC_OK);
  CHECK_EQ(peer_frame(&b.peer, ping, sizeof ping, &n), 0x89);
  peer_send(&b.peer, 10, "not asked for", 13);
  peer_send(&b.peer, 10, ping, n);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_OK);
  CHECK(wsc_op_rtt_ns(op) > 0);
  CHECK_EQ(wsc_connection_last_rtt_ns(b.k), wsc_op_rtt_ns(op));
  wsc_op_unref(op);

  CHECK(!wsc_connection_closed(b.k, NULL));
  n = close_payload(close_frame, 1000, "bye");
  CHECK_EQ(wsc_connection_close_begin(b.k, NULL, 1000, "bye", 0, &op, NULL), WSC_OK);
  peer_expects(&b.peer, 0x88, (char *)close_frame, n);
  peer_send(&b.peer, 8, close_frame, n);
  bed_ends(op, WSC_OK);
  peer_expects_end(&b.peer);
  wsc_close c = bed_closed(&b);
  CHECK_EQ(c.initiator, WSC_BY_LOCAL);
  CHECK_EQ(c.code, 1000);
  CHECK_EQ(c.code_sent, 1000);
  CHECK_EQ(c.code_received, 1000);
  CHECK_EQ(c.unsent_bytes, 0);
  CHECK_STR(c.reason, "bye");
  bed_down(&b);
}

static void *play_an_echo(void *arg) {
  struct peer *p = arg;
  uint8_t got[125];
  size_t n;
  peer_accept(p);
  for (;;) {
    int first = peer_frame(p, got, sizeof got, &n);
    if (first == 0x89) peer_send(p, 10, got, n);
    else peer_send(p, first & 15, got, n);
    if (first == 0x88) return NULL;
  }
}

/* Nobody else runs the loop: the blocking forms lend it their own thread. */
static void the_blocking_verbs_need_no_other_thread(void) {
  struct bed b;
  pthread_t echo;
  bed_options(&b);
  CHECK_EQ(wsc_loop_new(NULL, &b.loop, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_new(b.loop, b.peer.url, b.options, &b.k, NULL), WSC_OK);
  CHECK_EQ(pthread_create(&echo, NULL, play_an_echo, &b.peer), 0);
  CHECK_EQ(wsc_connection_dial(b.k, NULL, NULL), WSC_OK);
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_TEXT, (const uint8_t *)"again", 5, NULL), WSC_OK);
    bed_reads(&b, "again");
  }
  int64_t rtt = -1;
  CHECK_EQ(wsc_connection_ping(b.k, NULL, &rtt, NULL), WSC_OK);
  CHECK(rtt > 0);
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, NULL, NULL), WSC_OK);
  pthread_join(echo, NULL);
  wsc_connection_unref(b.k);
  wsc_loop_free(b.loop);
  wsc_options_free(b.options);
  peer_close(&b.peer);
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static void messages_come_in_order_and_before_the_close(bool host) {
  struct bed b;
  bed_up(&b, host);
  PEER_LITERAL(&b.peer, "\x81\x03one\x01\x02tw\x89\x00\x80\x01o\x81\x05three\x88\x06\x0f\xa1gone");
  bed_reads(&b, "one");
  bed_reads(&b, "two");
  peer_expects(&b.peer, 0x8a, "", 0);
  peer_expects(&b.peer, 0x88, "\x0f\xa1", 2);
  peer_expects_end(&b.peer);
  bed_reads(&b, "three");
  CHECK_EQ(bed_read_fails(&b, WSC_ERR_CLOSED), 4001);
  wsc_close c = bed_closed(&b);
  CHECK_EQ(c.initiator, WSC_BY_PEER);
  CHECK_EQ(c.code, 4001);
  CHECK_EQ(c.code_sent, 4001);
  CHECK_EQ(c.code_received, 4001);
  CHECK_STR(c.reason, "gone");
  bed_down(&b);
}

static void waiting_reads_are_served_in_their_order(bool host) {
  struct bed b;
  wsc_op *ops[3];
  bed_up(&b, host);
  for (int i = 0; i < 3; i++) CHECK_EQ(wsc_connection_read_begin(b.k, NULL, 0, &ops[i], NULL), WSC_OK);
  wsc_op_cancel(ops[1]);
  bed_ends(ops[1], WSC_ERR_CANCELED);
  PEER_LITERAL(&b.peer, "\x81\x01"
                        "a\x81\x01"
                        "b");
  for (int i = 0; i < 3; i += 2) {
    wsc_message m = {.struct_size = sizeof m};
    CHECK_EQ(wsc_op_wait(ops[i], LONG, NULL), WSC_OK);
    CHECK_EQ(wsc_op_take_message(ops[i], &m), WSC_OK);
    CHECK_EQ(m.data[0], i == 0 ? 'a' : 'b');
    wsc_message_free(&m);
    wsc_op_unref(ops[i]);
  }
  bed_down(&b);
}

static void a_read_that_times_out_leaves_the_connection_usable(bool host) {
  struct bed b;
  bed_up(&b, host);
  wsc_message m = {.struct_size = sizeof m};
  wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + 20 * NS_PER_MS};
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_read(b.k, &c, &m, &e), WSC_ERR_TIMEOUT);
  CHECK_EQ(wsc_error_status(e), WSC_ERR_TIMEOUT);
  CHECK_HAS(wsc_error_message(e), "read");
  wsc_error_unref(e);
  peer_text(&b.peer, "late");
  bed_reads(&b, "late");
  bed_down(&b);
}

static void a_cancellation_ends_a_read_and_every_later_one(bool host) {
  struct bed b;
  wsc_cancel *cancel;
  wsc_op *op;
  bed_up(&b, host);
  CHECK_EQ(wsc_cancel_new(&cancel), WSC_OK);
  wsc_context c = {.struct_size = sizeof c, .cancel = cancel};
  CHECK_EQ(wsc_connection_read_begin(b.k, &c, 0, &op, NULL), WSC_OK);
  wsc_cancel_fire(cancel);
  bed_ends(op, WSC_ERR_CANCELED);
  CHECK_EQ(wsc_connection_read_begin(b.k, &c, 0, &op, NULL), WSC_ERR_CANCELED);
  CHECK_EQ(wsc_connection_ping_begin(b.k, &c, 0, &op, NULL), WSC_ERR_CANCELED);
  CHECK_EQ(wsc_connection_write(b.k, &c, WSC_TEXT, (const uint8_t *)"x", 1, NULL), WSC_ERR_CANCELED);
  wsc_cancel_free(cancel);
  peer_text(&b.peer, "kept");
  bed_reads(&b, "kept");
  bed_down(&b);
}

/* A full receive queue stops the reading, and taking resumes it: nothing is lost, nothing beyond the bound is kept. */
static void unread_messages_wait_at_the_peer(bool host) {
  struct bed b;
  static uint8_t payload[50000];
  bed_options(&b);
  bed_set(&b, WSC_OPT_RECEIVE_QUEUE_BYTES, 65536);
  bed_make(&b, host);
  bed_dial(&b);
  struct timeval short_patience = {.tv_usec = 50000};
  setsockopt(b.peer.fd, SOL_SOCKET, SO_SNDTIMEO, &short_patience, sizeof short_patience);
  uint8_t frame[sizeof payload + 10];
  size_t h = peer_header(frame, 0x82, sizeof payload), at = 0;
  unsigned sent = 0;
  for (int full = 0; full < 3;) {
    memset(frame + h, (int)(sent & 0xff), sizeof payload);
    ssize_t r = send(b.peer.fd, frame + at, h + sizeof payload - at, MSG_NOSIGNAL);
    full = r > 0 ? 0 : full + 1;
    if (r > 0) at += (size_t)r;
    if (at < h + sizeof payload) continue;
    at = 0;
    sent++;
    CHECK(sent < 2000);
  }
  for (unsigned i = 0; i < sent; i++) {
    wsc_message m = {.struct_size = sizeof m};
    CHECK_EQ(wsc_connection_read(b.k, NULL, &m, NULL), WSC_OK);
    CHECK_EQ(m.length, sizeof payload);
    CHECK_EQ(m.data[sizeof payload - 1], i & 0xff);
    wsc_message_free(&m);
  }
  bed_down(&b);
}

/* ---- dialing ------------------------------------------------------------------------------------------------------- */

static void verbs_before_the_dial_and_a_second_dial_are_refused(bool host) {
  struct bed b;
  wsc_op *op;
  wsc_message m = {.struct_size = sizeof m};
  bed_options(&b);
  bed_make(&b, host);
  CHECK_EQ(wsc_connection_read(b.k, NULL, &m, NULL), WSC_ERR_STATE);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_TEXT, (const uint8_t *)"x", 1, NULL), WSC_ERR_STATE);
  CHECK_EQ(wsc_connection_write_many(b.k, NULL, &(wsc_outgoing){.type = WSC_TEXT}, 1, NULL), WSC_ERR_STATE);
  CHECK_EQ(wsc_connection_ping(b.k, NULL, NULL, NULL), WSC_ERR_STATE);
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, "", NULL), WSC_ERR_STATE);
  CHECK(!wsc_connection_closed(b.k, NULL));
  CHECK(wsc_connection_response(b.k) == NULL);

  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_dial_begin(b.k, NULL, 0, &op, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_dial(b.k, NULL, &e), WSC_ERR_STATE);
  CHECK_HAS(wsc_error_message(e), "dialing already");
  wsc_error_unref(e);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_TEXT, (const uint8_t *)"x", 1, NULL), WSC_ERR_STATE);
  peer_accept(&b.peer);
  bed_ends(op, WSC_OK);
  CHECK_EQ(wsc_connection_dial(b.k, NULL, NULL), WSC_ERR_STATE);
  peer_text(&b.peer, "undisturbed");
  bed_reads(&b, "undisturbed");
  bed_down(&b);
}

static void a_dial_can_be_cancelled_timed_out_and_tried_again(bool host) {
  struct bed b;
  wsc_op *op;
  wsc_error *e = NULL;
  bed_options(&b);
  bed_set(&b, WSC_OPT_CONNECT_TIMEOUT_MS, 300);
  bed_make(&b, host);
  CHECK_EQ(wsc_connection_dial_begin(b.k, NULL, 0, &op, NULL), WSC_OK);
  peer_accept_tcp(&b.peer);
  wsc_op_cancel(op);
  bed_ends(op, WSC_ERR_CANCELED);
  peer_drop(&b.peer);

  wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + 20 * NS_PER_MS};
  CHECK_EQ(wsc_connection_dial(b.k, &c, &e), WSC_ERR_TIMEOUT); /* the caller's limit */
  CHECK_HAS(wsc_error_message(e), "dial timed out while ");
  wsc_error_unref(e);
  peer_accept_tcp(&b.peer);
  peer_drop(&b.peer);
  CHECK_EQ(wsc_connection_dial(b.k, NULL, &e), WSC_ERR_TIMEOUT); /* the option's */
  CHECK_HAS(wsc_error_message(e), "300 ms");
  CHECK_HAS(wsc_error_message(e), "upgrade");
  wsc_error_unref(e);
  CHECK_EQ(bed_closed(&b).timer, WSC_TIMER_CONNECT);
  peer_accept_tcp(&b.peer);
  peer_drop(&b.peer);

  CHECK_EQ(wsc_connection_dial_begin(b.k, NULL, 0, &op, NULL), WSC_OK); /* a close while dialing ends it */
  peer_accept_tcp(&b.peer);
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, "", NULL), WSC_ERR_CLOSED);
  bed_ends(op, WSC_ERR_CANCELED);
  peer_drop(&b.peer);

  bed_dial(&b);
  CHECK(!wsc_connection_closed(b.k, NULL));
  peer_text(&b.peer, "at last");
  bed_reads(&b, "at last");
  bed_down(&b);
}

static void a_refused_dial_tells_the_answer(bool host) {
  struct bed b;
  wsc_op *op;
  wsc_error *e = NULL;
  bed_options(&b);
  bed_make(&b, host);
  CHECK_EQ(wsc_connection_dial_begin(b.k, NULL, 0, &op, NULL), WSC_OK);
  peer_accept_tcp(&b.peer);
  PEER_LITERAL(&b.peer, "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nkeys");
  CHECK_EQ(wsc_op_wait(op, LONG, &e), WSC_ERR_HANDSHAKE);
  CHECK_EQ(wsc_error_http_status(e), 403);
  size_t n = 0;
  const uint8_t *body = wsc_response_body(wsc_error_response(e), &n);
  CHECK_EQ(n, 4);
  CHECK_BYTES(body, "keys", 4);
  wsc_error_unref(e);
  wsc_op_unref(op);
  peer_close(&b.peer); /* nobody listens any more */
  CHECK_EQ(wsc_connection_dial(b.k, NULL, &e), WSC_ERR_IO);
  CHECK_EQ(wsc_error_os_error(e), ECONNREFUSED);
  wsc_error_unref(e);
  peer_listen(&b.peer);
  bed_down(&b);
}

static void it_dials_again_after_its_end(bool host) {
  struct bed b;
  bed_up(&b, host);
  peer_text(&b.peer, "never read");
  peer_drop(&b.peer);
  bed_reads(&b, "never read");
  CHECK_EQ(bed_read_fails(&b, WSC_ERR_CLOSED), 1006);
  for (int i = 0; i < 3; i++) {
    bed_dial(&b);
    peer_text(&b.peer, "new");
    bed_reads(&b, "new");
    peer_send(&b.peer, 8, "", 0);
    peer_expects(&b.peer, 0x88, "", 0); /* a close without a code is answered by one */
    peer_expects_end(&b.peer);
    CHECK_EQ(bed_read_fails(&b, WSC_ERR_CLOSED), 1005);
    CHECK_EQ(bed_closed(&b).code_received, 1005);
    peer_drop(&b.peer);
  }
  bed_down(&b);
}

/* ---- closing and losing -------------------------------------------------------------------------------------------- */

static void what_may_not_be_said_at_the_close_is_refused(bool host) {
  static const int wrong[] = {-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70000};
  struct bed b;
  char reason[125];
  bed_up(&b, host);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    wsc_error *e = NULL;
    char value[16];
    snprintf(value, sizeof value, "%d", wrong[i]);
    CHECK_EQ(wsc_connection_close(b.k, NULL, wrong[i], "", &e), WSC_ERR_INVALID);
    CHECK_HAS(wsc_error_message(e), value);
    wsc_error_unref(e);
  }
  memset(reason, 'r', 124);
  reason[124] = 0;
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, reason, NULL), WSC_ERR_INVALID);
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, "\xff", NULL), WSC_ERR_INVALID);
  peer_text(&b.peer, "still open");
  bed_reads(&b, "still open");

  reason[123] = 0; /* the longest that may be */
  wsc_op *op;
  uint8_t expected[125];
  size_t n = close_payload(expected, 4999, reason);
  CHECK_EQ(wsc_connection_close_begin(b.k, NULL, 4999, reason, 0, &op, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, "", NULL), WSC_ERR_CLOSED);
  peer_expects(&b.peer, 0x88, (char *)expected, n);
  peer_text(&b.peer, "too late for you"); /* what comes before the answer is read, and dropped */
  peer_send(&b.peer, 8, expected, 2);
  bed_ends(op, WSC_OK);

  wsc_message m = {.struct_size = sizeof m};
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, "", NULL), WSC_ERR_CLOSED);
  CHECK_EQ(wsc_connection_read(b.k, NULL, &m, NULL), WSC_ERR_CLOSED);
  CHECK_EQ(wsc_connection_ping(b.k, NULL, NULL, NULL), WSC_ERR_CLOSED);
  CHECK_EQ(wsc_connection_uncork(b.k, NULL), WSC_ERR_STATE);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_TEXT, (const uint8_t *)"x", 1, &e), WSC_ERR_CLOSED);
  CHECK_EQ(wsc_error_close_code(e), 4999);
  wsc_error_unref(e);
  bed_down(&b);
}

static void a_peer_that_does_not_answer_the_close_is_not_waited_for(bool host) {
  struct bed b;
  bed_options(&b);
  bed_set(&b, WSC_OPT_CLOSE_TIMEOUT_MS, 30);
  bed_make(&b, host);
  bed_dial(&b);
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_close(b.k, NULL, 1000, "", &e), WSC_ERR_TIMEOUT);
  CHECK_EQ(wsc_error_status(e), WSC_ERR_TIMEOUT);
  wsc_error_unref(e);
  peer_expects(&b.peer, 0x88, "\x03\xe8", 2);
  peer_expects_end(&b.peer);
  CHECK_EQ(bed_closed(&b).timer, WSC_TIMER_CLOSE);
  CHECK_EQ(bed_read_fails(&b, WSC_ERR_CLOSED), 1000);
  bed_down(&b);
}

static void a_lost_link_ends_every_operation(bool host, bool reset) {
  struct bed b;
  wsc_op *read, *ping;
  uint8_t got[125];
  size_t n;
  bed_up(&b, host);
  CHECK_EQ(wsc_connection_read_begin(b.k, NULL, 0, &read, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_ping_begin(b.k, NULL, 0, &ping, NULL), WSC_OK);
  CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x89);
  struct linger hard = {.l_onoff = 1};
  if (reset) {
    setsockopt(b.peer.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    peer_drop(&b.peer);
  } else {
    shutdown(b.peer.fd, SHUT_WR); /* half-open: the peer would still read */
  }
  bed_ends(read, WSC_ERR_CLOSED);
  bed_ends(ping, WSC_ERR_CLOSED);
  wsc_close c = bed_closed(&b);
  CHECK_EQ(c.initiator, WSC_BY_NETWORK);
  CHECK_EQ(c.code, 1006);
  CHECK_EQ(c.code_sent, 0);
  CHECK_EQ(c.code_received, 0);
  CHECK_EQ(c.os_error, reset ? ECONNRESET : 0);
  CHECK_HAS(c.reason, b.peer.url);
  if (!reset) peer_expects_end(&b.peer);
  bed_down(&b);
}

static void a_message_over_the_limit_is_refused_by_its_header(bool host) {
  struct bed b;
  bed_options(&b);
  bed_set(&b, WSC_OPT_MAX_MESSAGE_BYTES, 1000);
  bed_make(&b, host);
  bed_dial(&b);
  uint8_t frame[1010] = {0};
  size_t h = peer_header(frame, 0x82, 1000);
  peer_bytes(b.peer.fd, frame, h + 1000); /* the largest */
  wsc_message m = {.struct_size = sizeof m};
  CHECK_EQ(wsc_connection_read(b.k, NULL, &m, NULL), WSC_OK);
  wsc_message_free(&m);
  wsc_op *op;
  size_t n;
  CHECK_EQ(wsc_connection_read_begin(b.k, NULL, 0, &op, NULL), WSC_OK);
  peer_bytes(b.peer.fd, frame, peer_header(frame, 0x82, 1001)); /* no payload needed */
  CHECK_EQ(peer_frame(&b.peer, frame, sizeof frame, &n), 0x88);
  CHECK_BYTES(frame, "\x03\xf1", 2);
  peer_drop(&b.peer);
  wsc_error *e = NULL;
  CHECK_EQ(wsc_op_wait(op, LONG, &e), WSC_ERR_CLOSED);
  CHECK_EQ(wsc_error_status(e), WSC_ERR_CLOSED);
  CHECK_EQ(wsc_error_close_code(e), 1009);
  CHECK_HAS(wsc_error_message(e), "1001");
  CHECK_HAS(wsc_error_message(e), "1000");
  wsc_error_unref(e);
  wsc_op_unref(op);
  wsc_close c = bed_closed(&b);
  CHECK_EQ(c.initiator, WSC_BY_LOCAL);
  CHECK_EQ(c.code, 1009);
  CHECK_EQ(c.code_sent, 1009);
  bed_down(&b);
}

static void a_silent_peer_is_found_by_keepalive(bool host) {
  struct bed b;
  bed_options(&b);
  bed_set(&b, WSC_OPT_KEEPALIVE_INTERVAL_MS, 20);
  bed_set(&b, WSC_OPT_KEEPALIVE_TIMEOUT_MS, 20);
  bed_make(&b, host);
  bed_dial(&b);
  CHECK_EQ(bed_read_fails(&b, WSC_ERR_CLOSED), 1006);
  wsc_close c = bed_closed(&b);
  CHECK_EQ(c.timer, WSC_TIMER_KEEPALIVE);
  CHECK_EQ(c.initiator, WSC_BY_NETWORK);
  bed_down(&b);
}

/* The last reference is a socket closed; what was under way holds on until it has ended. */
static void dropping_it_closes_the_socket(bool host) {
  struct bed b;
  bed_up(&b, host);
  wsc_connection_unref(b.k);
  b.k = NULL;
  peer_expects_end(&b.peer);
  bed_down(&b);
}

int main(void) {
  the_blocking_verbs_need_no_other_thread();
  for (int host = 0; host < 2; host++) {
    every_verb_once(host);
    messages_come_in_order_and_before_the_close(host);
    waiting_reads_are_served_in_their_order(host);
    a_read_that_times_out_leaves_the_connection_usable(host);
    a_cancellation_ends_a_read_and_every_later_one(host);
    unread_messages_wait_at_the_peer(host);
    verbs_before_the_dial_and_a_second_dial_are_refused(host);
    a_dial_can_be_cancelled_timed_out_and_tried_again(host);
    a_refused_dial_tells_the_answer(host);
    it_dials_again_after_its_end(host);
    what_may_not_be_said_at_the_close_is_refused(host);
    a_peer_that_does_not_answer_the_close_is_not_waited_for(host);
    a_lost_link_ends_every_operation(host, false);
    a_lost_link_ends_every_operation(host, true);
    a_message_over_the_limit_is_refused_by_its_header(host);
    a_silent_peer_is_found_by_keepalive(host);
    dropping_it_closes_the_socket(host);
  }
  return 0;
}
