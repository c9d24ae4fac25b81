#include "backoff.h"

static uint64_t share(uint64_t whole, uint32_t chance) {
  return (whole >> 32) * chance + (((whole & UINT32_MAX) * chance) >> 32);
}

static uint64_t power_ms(uint32_t base_s, uint32_t exponent) {
  if (base_s <= 1) return 1000; /* 1^n; and no walk through four thousand million exponents */
  uint64_t ms = 1000;
  for (uint32_t i = 0; i < exponent && ms < BACKOFF_LONGEST_MS; i++) ms *= base_s;
  return ms < BACKOFF_LONGEST_MS ? ms : BACKOFF_LONGEST_MS;
}

/* Jitter only shortens: the table stays an upper bound that users can reason with. */
static uint64_t shortened(const struct backoff *b, uint64_t ms, uint32_t chance) {
  return ms - share(ms * b->jitter_percent / 100, chance);
}

uint64_t backoff_longest_ms(const struct backoff *b, uint32_t chance) {
  return shortened(b, power_ms(b->base_s, b->max_exponent), chance);
}

uint64_t backoff_delay_ms(const struct backoff *b, uint32_t failed, uint32_t chance) {
  if (failed == 0) return share(b->first_spread_ms, chance);

  /* The documented table: base^0, base^1, ... base^max_exponent, and that last one for ever. */
  uint32_t exponent = failed - 1 < b->max_exponent ? failed - 1 : b->max_exponent;
  return shortened(b, power_ms(b->base_s, exponent), chance);
}

uint64_t backoff_at_least_ms(const struct backoff *b, uint64_t ms, uint32_t chance) {
  if (ms > INT64_MAX) ms = INT64_MAX;
  uint64_t most = ms / 100 * b->jitter_percent + ms % 100 * b->jitter_percent / 100;
  return ms + share(most, chance);
}
