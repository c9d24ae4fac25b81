/* Reconnect delays: how long to wait before the next attempt.
 * Pure functions of numbers: no clock, no random source, no engine. lifecycle.c is the only caller.
 * `chance` is uniform over all of uint32_t. Nothing overflows: the table saturates at BACKOFF_LONGEST_MS. */
#ifndef WSC_BACKOFF_H
#define WSC_BACKOFF_H

#include <stdint.h>

struct backoff {
  uint32_t base_s;         /* >= 1 */
  uint32_t max_exponent;   /* >= 1 */
  uint32_t jitter_percent; /* 0..100: the largest part of a delay that chance may take away */
  uint32_t first_spread_ms;
};

/* Milliseconds to wait before attempt number `failed` + 1, where `failed` counts the attempts in a row that failed. */
uint64_t backoff_delay_ms(const struct backoff *b, uint32_t failed, uint32_t chance);

/* The delay after a cause that waiting will hardly mend: the end of the table. Jitter shortens it like any other, so
 * that a fleet that was refused in one instant does not come back in one instant for ever. */
uint64_t backoff_longest_ms(const struct backoff *b, uint32_t chance);

/* A delay that somebody asked for (Retry-After): jitter only adds to it. */
uint64_t backoff_at_least_ms(const struct backoff *b, uint64_t ms, uint32_t chance);

#define BACKOFF_LONGEST_MS (UINT64_C(24) * 60 * 60 * 1000)

#endif
