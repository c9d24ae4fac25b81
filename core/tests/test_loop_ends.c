/* How sessions end on a host's loop: what the host answers to CLOSED, and what a broken link means for those who send and ask. */
#define _GNU_SOURCE
#include "driven_bed.h"

static void open_with(struct bed *b, int option, int64_t value, int other, int64_t other_value) {
  wsc_options *o = wsc_options_new();
  CHECK_EQ(wsc_options_set_int(o, option, value), WSC_OK);
  CHECK_EQ(wsc_options_set_int(o, other, other_value), WSC_OK);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_STABLE_AFTER_MS, 0), WSC_OK);
  open_it(b, o);
  wsc_options_free(o);
}

/* The host's answer is judged like a C callback's: what would break the protocol does not leave. */
static void a_close_that_may_not_be_sent_is_sent_as_1001(void) {
  static const struct {
    int code;
    const char *reason;
  } bad[] = {{1005, ""}, {1006, "x"}, {70000, "x"}, {-1, "x"}, {1000, "\xc3"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct bed b;
    uint8_t got[125];
    size_t n;
    open_it(&b, NULL);
    wsc_engine_exit(b.engine);
    wsc_event ev = expect(&b, WSC_EVENT_CLOSED);
    wsc_reply reply = {.struct_size = sizeof reply, .close_code = bad[i].code, .close_reason = bad[i].reason};
    wsc_event_done(&ev, &reply);
    settle(&b);
    CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x88);
    CHECK_EQ(n, 12);
    CHECK_BYTES(got, "\x03\xe9Going Away", 12);
    tear_down(&b);
  }
}

/* Who returns what he was told, 1006, has done nothing wrong: the session is over, and nothing is sent. */
static void an_answer_that_is_not_used_is_not_complained_of(void) {
  struct bed b;
  open_with(&b, WSC_OPT_LOG_LEVEL, WSC_LOG_ERROR, WSC_OPT_AUTO_RECONNECT, 0);
  peer_drop(&b.peer);
  wsc_event ev = expect(&b, WSC_EVENT_CLOSED);
  wsc_reply reply = {.struct_size = sizeof reply, .close_code = ev.close_code};
  CHECK_EQ(reply.close_code, 1006);
  wsc_event_done(&ev, &reply);
  ev = expect(&b, WSC_EVENT_STOPPED); /* no LOG before it */
  wsc_event_done(&ev, NULL);
  tear_down(&b);
}

/* A link that broke is still open as long as what the peer sent before waits to be taken: a send that waits for a session does not try it twice. */
static void a_send_waits_past_a_session_whose_link_is_broken(void) {
  enum { SENT = 100, LENGTH = 1000 };
  struct bed b;
  static const uint8_t data[LENGTH];
  uint8_t got[125];
  size_t n;
  open_with(&b, WSC_OPT_SEND_WAITS_FOR_SESSION, 1, WSC_OPT_RECEIVE_QUEUE_BYTES, 65536);
  for (int i = 0; i < SENT; i++) peer_send(&b.peer, 2, data, LENGTH);
  wsc_event ev = expect(&b, WSC_EVENT_BATCH);
  settle(&b); /* the queue is full behind it */
  struct linger hard = {.l_onoff = 1};
  setsockopt(b.peer.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  peer_drop(&b.peer);
  CHECK_EQ(wsc_engine_write_begin(b.engine, NULL, WSC_TEXT, (const uint8_t *)"waited", 6, 7, NULL, NULL), WSC_OK);
  settle(&b);

  do {
    wsc_event_done(&ev, NULL);
    ev = (wsc_event){.struct_size = sizeof ev};
    CHECK_EQ(wsc_loop_next(b.loop, PATIENCE, &ev), WSC_OK);
  } while (ev.type == WSC_EVENT_BATCH);
  CHECK_EQ(ev.type, WSC_EVENT_CLOSED);
  wsc_event_done(&ev, NULL);
  settle(&b);
  peer_accept(&b.peer);
  ev = expect(&b, WSC_EVENT_OPENED);
  wsc_event_done(&ev, NULL);
  ev = expect(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(ev.token, 7);
  CHECK_EQ(ev.status, WSC_OK);
  wsc_event_done(&ev, NULL);
  CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x81);
  CHECK_BYTES(got, "waited", 6);
  tear_down(&b);
}

/* How long a session has been silent is of no meaning when its connection has ended. */
static void the_last_byte_has_an_age_while_there_is_a_connection(void) {
  struct bed b;
  wsc_stats stats = {.struct_size = sizeof stats};
  open_it(&b, NULL);
  CHECK_EQ(wsc_engine_stats(b.engine, &stats), WSC_OK);
  CHECK(stats.last_byte_age_ns >= 0);
  peer_drop(&b.peer);
  wsc_event ev = expect(&b, WSC_EVENT_CLOSED);
  CHECK_EQ(wsc_engine_stats(b.engine, &stats), WSC_OK);
  CHECK_EQ(stats.last_byte_age_ns, -1);
  wsc_event_done(&ev, NULL);
  tear_down(&b);
}

int main(void) {
  a_close_that_may_not_be_sent_is_sent_as_1001();
  an_answer_that_is_not_used_is_not_complained_of();
  a_send_waits_past_a_session_whose_link_is_broken();
  the_last_byte_has_an_age_while_there_is_a_connection();
  return 0;
}
