/* The liveness row of DESIGN.md, clock by clock. Times are small numbers on a clock that only these tests move. */
#include "keepalive.h"

#include "check.h"

static struct keepalive started(int64_t interval, int64_t timeout, int64_t data_idle) {
  struct keepalive k = {.interval = interval, .timeout = timeout, .data_idle = data_idle};
  keepalive_start(&k, 1000);
  return k;
}

#define EXPECT(k, now, verdict, due) \
  do { \
    int64_t next_; \
    CHECK_EQ(keepalive_check((k), (now), &next_), (verdict)); \
    CHECK_EQ(next_, (due)); \
  } while (0)

static void everything_off_never_asks_again(void) {
  struct keepalive k = started(0, 20, 0);
  EXPECT(&k, 1000, KEEPALIVE_WAIT, 0);
  EXPECT(&k, 1000000, KEEPALIVE_WAIT, 0);
  keepalive_probe(&k, 1000001);
  EXPECT(&k, 1000001, KEEPALIVE_WAIT, 0);
}

static void a_silent_link_is_pinged_and_then_dead(void) {
  struct keepalive k = started(20, 10, 0);
  EXPECT(&k, 1000, KEEPALIVE_WAIT, 1020);
  EXPECT(&k, 1019, KEEPALIVE_WAIT, 1020);
  EXPECT(&k, 1020, KEEPALIVE_PING, 0);
  keepalive_pinged(&k, 1021);
  EXPECT(&k, 1021, KEEPALIVE_WAIT, 1031);
  EXPECT(&k, 1030, KEEPALIVE_WAIT, 1031);
  EXPECT(&k, 1031, KEEPALIVE_DEAD, 0);
}

static void one_ping_is_asked_for_at_a_time(void) {
  struct keepalive k = started(20, 100, 0);
  EXPECT(&k, 1020, KEEPALIVE_PING, 0);
  EXPECT(&k, 1021, KEEPALIVE_WAIT, 0);
  keepalive_pinged(&k, 1022);
  EXPECT(&k, 1050, KEEPALIVE_WAIT, 1122);
}

static void the_pong_clock_starts_when_the_ping_has_left(void) {
  struct keepalive k = started(20, 10, 0);
  EXPECT(&k, 1020, KEEPALIVE_PING, 0);
  EXPECT(&k, 5000, KEEPALIVE_WAIT, 0); /* stuck behind a full send queue */
  keepalive_pinged(&k, 5000);
  EXPECT(&k, 5009, KEEPALIVE_WAIT, 5010);
  EXPECT(&k, 5010, KEEPALIVE_DEAD, 0);
}

static void any_life_ends_the_wait_and_delays_the_next_ping(void) {
  struct keepalive k = started(20, 10, 0);
  keepalive_life(&k, 1015);
  EXPECT(&k, 1020, KEEPALIVE_WAIT, 1035);
  EXPECT(&k, 1035, KEEPALIVE_PING, 0);
  keepalive_pinged(&k, 1035);
  keepalive_life(&k, 1044);
  EXPECT(&k, 1045, KEEPALIVE_WAIT, 1064);
  EXPECT(&k, 1064, KEEPALIVE_PING, 0);
}

static void pings_do_not_satisfy_the_data_clock(void) {
  struct keepalive k = started(20, 10, 50);
  EXPECT(&k, 1000, KEEPALIVE_WAIT, 1020);
  keepalive_data(&k, 1010);
  keepalive_life(&k, 1055);
  EXPECT(&k, 1059, KEEPALIVE_WAIT, 1060);
  EXPECT(&k, 1060, KEEPALIVE_DATA_IDLE, 0);
}

static void the_data_clock_runs_without_keepalive(void) {
  struct keepalive k = started(0, 10, 50);
  EXPECT(&k, 1000, KEEPALIVE_WAIT, 1050);
  EXPECT(&k, 1050, KEEPALIVE_DATA_IDLE, 0);
}

static void a_dead_link_is_called_dead_rather_than_idle(void) {
  struct keepalive k = started(20, 10, 30);
  EXPECT(&k, 1020, KEEPALIVE_PING, 1030);
  keepalive_pinged(&k, 1020);
  EXPECT(&k, 1030, KEEPALIVE_DEAD, 0);
}

static void a_ping_leaves_the_other_clock_running(void) {
  struct keepalive k = started(20, 10, 50);
  EXPECT(&k, 1020, KEEPALIVE_PING, 1050);
  keepalive_pinged(&k, 1020);
  EXPECT(&k, 1021, KEEPALIVE_WAIT, 1030);
}

static void clocks_stand_still_while_reading_is_held(void) {
  struct keepalive k = started(20, 10, 50);
  EXPECT(&k, 1020, KEEPALIVE_PING, 1050);
  keepalive_pinged(&k, 1020);
  keepalive_held(&k, true, 1024); /* 4 of 10 and 24 of 50 are gone */
  keepalive_held(&k, true, 1500); /* saying it again changes nothing */
  EXPECT(&k, 9000, KEEPALIVE_WAIT, 0);
  keepalive_held(&k, false, 9000);
  EXPECT(&k, 9005, KEEPALIVE_WAIT, 9006);
  EXPECT(&k, 9006, KEEPALIVE_DEAD, 0);
  keepalive_life(&k, 9006);
  EXPECT(&k, 9025, KEEPALIVE_WAIT, 9026);
  EXPECT(&k, 9026, KEEPALIVE_DATA_IDLE, 0);
}

static void a_held_link_is_still_pinged_once(void) {
  struct keepalive k = started(20, 10, 0);
  keepalive_held(&k, true, 1001);
  EXPECT(&k, 1001, KEEPALIVE_WAIT, 1020);
  EXPECT(&k, 1020, KEEPALIVE_PING, 0);
  keepalive_pinged(&k, 1020);
  EXPECT(&k, 5000, KEEPALIVE_WAIT, 0);
  keepalive_held(&k, false, 5000); /* its clock has stood still from its start */
  EXPECT(&k, 5009, KEEPALIVE_WAIT, 5010);
  EXPECT(&k, 5010, KEEPALIVE_DEAD, 0);
}

static void release_without_hold_changes_nothing(void) {
  struct keepalive k = started(20, 10, 50), before = k;
  keepalive_held(&k, false, 1010);
  CHECK_EQ(memcmp(&k, &before, sizeof k), 0);
}

static void a_probe_pings_at_once_and_forgets_the_old_ping(void) {
  struct keepalive k = started(20, 10, 0);
  EXPECT(&k, 1020, KEEPALIVE_PING, 0);
  keepalive_pinged(&k, 1020);
  keepalive_probe(&k, 1025);
  EXPECT(&k, 1035, KEEPALIVE_PING, 0);
  keepalive_pinged(&k, 1035);
  EXPECT(&k, 1044, KEEPALIVE_WAIT, 1045);
  EXPECT(&k, 1045, KEEPALIVE_DEAD, 0);

  k = started(20, 10, 0);
  EXPECT(&k, 1020, KEEPALIVE_PING, 0); /* asked for, never left, and then the machine slept */
  keepalive_probe(&k, 1021);
  EXPECT(&k, 1021, KEEPALIVE_PING, 0);
}

static void a_new_session_starts_from_nothing(void) {
  struct keepalive k = started(20, 10, 50);
  keepalive_check(&k, 1020, &(int64_t){0});
  keepalive_pinged(&k, 1020);
  keepalive_held(&k, true, 1021);
  keepalive_start(&k, 2000);
  EXPECT(&k, 2000, KEEPALIVE_WAIT, 2020);
  EXPECT(&k, 2020, KEEPALIVE_PING, 2050);
}

/* A check never names a time at which it would not have something to say, nor one that has passed. */
static void the_next_time_is_exact(void) {
  for (unsigned seed = 1; seed <= 2000; seed++) {
    unsigned x = seed * 2654435761u;
    struct keepalive k =
        started(x % 4 == 0 ? 0 : x / 4 % 30 + 1, x / 128 % 20 + 1, x / 4096 % 3 == 0 ? x / 16384 % 60 + 1 : 0);
    int64_t now = 1000;
    for (int step = 0; step < 50; step++) {
      x = x * 1664525u + 1013904223u;
      switch (x >> 28) {
      case 0: keepalive_life(&k, now); break;
      case 1: keepalive_life(&k, now), keepalive_data(&k, now); break;
      case 2: keepalive_held(&k, true, now); break;
      case 3: keepalive_held(&k, false, now); break;
      case 4: keepalive_probe(&k, now); break;
      case 5:
        if (k.ping_wanted) keepalive_pinged(&k, now);
        break;
      default: break;
      }
      int64_t next, ignored;
      if (keepalive_check(&k, now, &next) == KEEPALIVE_WAIT && next != 0) {
        CHECK(next > now);
        struct keepalive early = k, due = k;
        CHECK_EQ(keepalive_check(&early, next - 1, &ignored), KEEPALIVE_WAIT);
        CHECK(keepalive_check(&due, next, &ignored) != KEEPALIVE_WAIT);
      }
      now += x >> 20 & 15;
    }
  }
}

int main(void) {
  everything_off_never_asks_again();
  a_silent_link_is_pinged_and_then_dead();
  one_ping_is_asked_for_at_a_time();
  the_pong_clock_starts_when_the_ping_has_left();
  any_life_ends_the_wait_and_delays_the_next_ping();
  pings_do_not_satisfy_the_data_clock();
  the_data_clock_runs_without_keepalive();
  a_dead_link_is_called_dead_rather_than_idle();
  a_ping_leaves_the_other_clock_running();
  clocks_stand_still_while_reading_is_held();
  a_held_link_is_still_pinged_once();
  release_without_hold_changes_nothing();
  a_probe_pings_at_once_and_forgets_the_old_ping();
  a_new_session_starts_from_nothing();
  the_next_time_is_exact();
  return 0;
}
