/* Masking against its definition, byte by byte. */
#include "check.h"
#include "mask.h"

enum { GUARD = 0xa5 };
static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
static uint8_t source[8192], room[8192];

static void check_copy(size_t n, size_t from, size_t to) {
  memset(room, GUARD, sizeof room);
  mask_copy(room + to, source + from, n, key);
  for (size_t i = 0; i < n; i++) CHECK_EQ(room[to + i], source[from + i] ^ key[i % 4]);
  for (size_t i = 0; i < to; i++) CHECK_EQ(room[i], GUARD);
  for (size_t i = to + n; i < to + n + 64; i++) CHECK_EQ(room[i], GUARD);
  memcpy(room + to, source + from, n); /* and in place */
  mask_copy(room + to, room + to, n, key);
  for (size_t i = 0; i < n; i++) CHECK_EQ(room[to + i], source[from + i] ^ key[i % 4]);
}

static void every_length_and_alignment(void) {
  for (size_t n = 0; n <= 200; n++) {
    for (size_t from = 0; from < 16; from++) check_copy(n, from, (from * 5 + n) % 16);
    for (size_t to = 0; to < 16; to++) check_copy(n, (to * 3 + 1) % 16, to);
  }
}

static void long_payloads(void) {
  for (size_t n = 490; n <= 800; n++) check_copy(n, n % 33, n % 31);
  for (size_t n = 4000; n <= 4200; n += 7) check_copy(n, n % 33, n % 31);
}

int main(void) {
  for (size_t i = 0; i < sizeof source; i++) source[i] = (uint8_t)(i * 131 + (i >> 8));
  every_length_and_alignment();
  long_payloads();
  return 0;
}
