/* The reconnect row of DESIGN.md, number by number. */
#include "backoff.h"

#include "check.h"

static void follows_the_documented_table(void) {
  struct backoff b = {.base_s = 5, .max_exponent = 1};
  CHECK_EQ(backoff_delay_ms(&b, 0, 0), 0);
  CHECK_EQ(backoff_delay_ms(&b, 1, 0), 1000);
  CHECK_EQ(backoff_delay_ms(&b, 2, 0), 5000);
  CHECK_EQ(backoff_delay_ms(&b, 1000, 0), 5000);
}

/* base^0 is the first delay that is not zero; the seed left it out (seed-api.md, fault 17). */
static void does_not_leave_out_the_first_second(void) {
  struct backoff b = {.base_s = 2, .max_exponent = 2};
  static const uint64_t want[] = {0, 1000, 2000, 4000, 4000};
  for (uint32_t k = 0; k < 5; k++) CHECK_EQ(backoff_delay_ms(&b, k, 0), want[k]);
}

static void jitter_only_shortens(void) {
  struct backoff b = {.base_s = 2, .max_exponent = 4, .jitter_percent = 10};
  CHECK_EQ(backoff_delay_ms(&b, 5, 0), 16000);
  CHECK_EQ(backoff_delay_ms(&b, 5, UINT32_MAX), 16000 - 1599);
  CHECK_EQ(backoff_delay_ms(&b, 5, UINT32_MAX / 2 + 1), 16000 - 800);
  b.jitter_percent = 100;
  CHECK_EQ(backoff_delay_ms(&b, 5, UINT32_MAX), 1);
}

static void a_fleet_spreads_its_first_attempt(void) {
  struct backoff b = {.base_s = 1, .max_exponent = 1, .first_spread_ms = 4000};
  CHECK_EQ(backoff_delay_ms(&b, 0, UINT32_MAX / 2), 1999);
  CHECK_EQ(backoff_delay_ms(&b, 0, 0), 0);
}

static void the_longest_is_the_end_of_the_table(void) {
  struct backoff b = {.base_s = 3, .max_exponent = 3, .jitter_percent = 10};
  CHECK_EQ(backoff_longest_ms(&b, 0), 27000);
  CHECK_EQ(backoff_longest_ms(&b, UINT32_MAX), 27000 - 2699);
  CHECK_EQ(backoff_longest_ms(&b, 0), backoff_delay_ms(&b, 99, 0));
}

static void jitter_only_adds_to_what_was_asked_for(void) {
  struct backoff b = {.base_s = 2, .max_exponent = 4, .jitter_percent = 10};
  CHECK_EQ(backoff_at_least_ms(&b, 30000, 0), 30000);
  CHECK_EQ(backoff_at_least_ms(&b, 30000, UINT32_MAX), 30000 + 2999);
  CHECK_EQ(backoff_at_least_ms(&b, 0, UINT32_MAX), 0);
}

static void saturates_instead_of_overflowing(void) {
  struct backoff b = {
      .base_s = UINT32_MAX, .max_exponent = UINT32_MAX, .jitter_percent = 100, .first_spread_ms = UINT32_MAX};
  CHECK_EQ(backoff_delay_ms(&b, UINT32_MAX, 0), BACKOFF_LONGEST_MS);
  CHECK_EQ(backoff_longest_ms(&b, 0), BACKOFF_LONGEST_MS);
  CHECK_EQ(backoff_delay_ms(&b, 0, UINT32_MAX), UINT32_MAX - 1);
  CHECK(backoff_at_least_ms(&b, UINT64_MAX, UINT32_MAX) >= (uint64_t)INT64_MAX);
  b.base_s = 1;
  CHECK_EQ(backoff_delay_ms(&b, UINT32_MAX, 0), 1000);
  CHECK_EQ(backoff_longest_ms(&b, 0), 1000);
}

int main(void) {
  follows_the_documented_table();
  does_not_leave_out_the_first_second();
  jitter_only_shortens();
  a_fleet_spreads_its_first_attempt();
  the_longest_is_the_end_of_the_table();
  jitter_only_adds_to_what_was_asked_for();
  saturates_instead_of_overflowing();
  return 0;
}
