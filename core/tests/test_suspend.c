/* A machine that slept: boottime went on, the monotonic clock stood still. An open connection asks at once whether the peer is still there, and begins
 * to wait for the answer anew. The alarm of a loop runs on boottime: here the test rings it, as the kernel does after a sleep. */
#define _GNU_SOURCE
#include "driven_bed.h"
#include "loop.h"

#include <errno.h>
#include <stdatomic.h>

static const int64_t HOUR = 3600 * NS_PER_S;

static struct os_clocks real;
static _Atomic int64_t leapt, slept;
static int64_t now(void) { return real.now() + leapt; }
static int64_t boottime(void) { return real.now() + leapt + slept; }

static void pass(struct bed *b, int64_t awake, int64_t asleep) {
  leapt += awake;
  slept += asleep;
  poller_alarm(&b->loop->poller, 0);
}

/* Keepalive: 20 s, and 20 s for the answer. */
static void open_one(struct bed *b) {
  wsc_options *options = wsc_options_new();
  CHECK_EQ(wsc_options_set_int(options, WSC_OPT_AUTO_RECONNECT, 0), WSC_OK);
  open_it(b, options);
  wsc_options_free(options);
}

static bool nothing_came(const struct bed *b) {
  char byte;
  return recv(b->peer.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

static void expect_ping(const struct bed *b, uint8_t payload[125], size_t *n) {
  CHECK_EQ(peer_frame(&b->peer, payload, 125, n), 0x89);
}

static void a_sleep_makes_it_ping_at_once_and_a_pong_keeps_it(void) {
  struct bed b;
  uint8_t ping[125];
  size_t n;
  open_one(&b);
  pass(&b, 10 * NS_PER_S, 0);
  settle(&b);
  CHECK(nothing_came(&b)); /* its time has not come */
  pass(&b, 0, HOUR);
  settle(&b);
  expect_ping(&b, ping, &n);
  CHECK(nothing_came(&b)); /* one */
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);

  peer_send(&b.peer, 10, ping, n);
  settle(&b);
  pass(&b, 15 * NS_PER_S, 0);
  settle(&b);
  CHECK(nothing_came(&b));
  pass(&b, 10 * NS_PER_S, 0); /* 25 s after the ping of the sleep: had the pong not counted, it would be dead */
  settle(&b);
  expect_ping(&b, ping, &n);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  tear_down(&b);
}

/* Its pong may have been lost in the sleep: the one that follows has the whole time. */
static void a_ping_from_before_the_sleep_is_forgotten(void) {
  struct bed b;
  uint8_t ping[125];
  size_t n;
  open_one(&b);
  pass(&b, 21 * NS_PER_S, 0);
  settle(&b);
  expect_ping(&b, ping, &n);
  pass(&b, 15 * NS_PER_S, HOUR);
  settle(&b);
  expect_ping(&b, ping, &n);
  pass(&b, 10 * NS_PER_S, 0);
  settle(&b); /* 25 s after the first ping */
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  peer_send(&b.peer, 10, ping, n);
  settle(&b);
  pass(&b, 15 * NS_PER_S, 0);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  tear_down(&b);
}

static void a_link_that_died_in_the_sleep_is_found_dead(void) {
  struct bed b;
  uint8_t ping[125];
  size_t n;
  open_one(&b);
  pass(&b, 0, HOUR);
  settle(&b);
  expect_ping(&b, ping, &n);
  pass(&b, 21 * NS_PER_S, 0);
  wsc_event closed = expect(&b, WSC_EVENT_CLOSED);
  CHECK(closed.flags & WSC_EVENT_BY_PEER);
  CHECK_EQ(closed.close->code, 1006);
  CHECK_EQ(closed.close->timer, WSC_TIMER_KEEPALIVE);
  wsc_event_done(&closed, NULL);
  tear_down(&b);
}

static void each_sleep_counts_once_and_a_wink_not_at_all(void) {
  struct bed b;
  uint8_t ping[125];
  size_t n;
  open_one(&b);
  pass(&b, NS_PER_S, NS_PER_S / 2);
  settle(&b);
  CHECK(nothing_came(&b));
  for (int i = 0; i < 2; i++) {
    pass(&b, 0, HOUR);
    settle(&b);
    expect_ping(&b, ping, &n);
    peer_send(&b.peer, 10, ping, n);
    settle(&b);
    pass(&b, NS_PER_S, 0);
    settle(&b);
    CHECK(nothing_came(&b));
  }
  tear_down(&b);
}

int main(void) {
  real = os_clocks;
  os_clocks.now = now;
  os_clocks.boottime = boottime;
  a_sleep_makes_it_ping_at_once_and_a_pong_keeps_it();
  a_ping_from_before_the_sleep_is_forgotten();
  a_link_that_died_in_the_sleep_is_found_dead();
  each_sleep_counts_once_and_a_wink_not_at_all();
  return 0;
}
