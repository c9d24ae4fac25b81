/* UTF-8, judged at the first byte that cannot belong to it. The state between two chunks is what the next byte may
 * be; inside a chunk whole characters are checked at once and runs of ASCII, which most messages are, by the 64
 * bytes. */
#include "utf8.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
  BOUNDARY,
  TAIL_1, /* so many more bytes of 80..BF */
  TAIL_2,
  TAIL_3,
  AFTER_E0, /* A0..BF, or it were overlong; then one more */
  AFTER_ED, /* 80..9F, or it were a surrogate; then one more */
  AFTER_F0, /* 90..BF, or it were overlong; then two more */
  AFTER_F4, /* 80..8F, or it were beyond U+10FFFF; then two more */
  REJECTED
};

static uint8_t begin(uint8_t byte) {
  if (byte < 0x80) return BOUNDARY;
  if (byte < 0xc2) return REJECTED;
  if (byte < 0xe0) return TAIL_1;
  if (byte < 0xf0) return byte == 0xe0 ? AFTER_E0 : byte == 0xed ? AFTER_ED : TAIL_2;
  if (byte < 0xf5) return byte == 0xf0 ? AFTER_F0 : byte == 0xf4 ? AFTER_F4 : TAIL_3;
  return REJECTED;
}

static uint8_t step(uint8_t state, uint8_t byte) {
  static const struct {
    uint8_t low, high, next;
  } rules[] = {
      [TAIL_1] = {0x80, 0xbf, BOUNDARY}, [TAIL_2] = {0x80, 0xbf, TAIL_1},   [TAIL_3] = {0x80, 0xbf, TAIL_2},
      [AFTER_E0] = {0xa0, 0xbf, TAIL_1}, [AFTER_ED] = {0x80, 0x9f, TAIL_1}, [AFTER_F0] = {0x90, 0xbf, TAIL_2},
      [AFTER_F4] = {0x80, 0x8f, TAIL_2},
  };
  if (state == BOUNDARY) return begin(byte);
  return state != REJECTED && byte >= rules[state].low && byte <= rules[state].high ? rules[state].next : REJECTED;
}

/* The first byte that is not ASCII, or end. */
static const uint8_t *skip_ascii(const uint8_t *p, const uint8_t *end) {
#if defined(__SSE2__)
  for (; end - p >= 64; p += 64) {
    __m128i v[4];
    memcpy(v, p, sizeof v);
    if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(v[0], v[1]), _mm_or_si128(v[2], v[3]))) != 0) break;
  }
#endif
  for (; end - p >= 8; p += 8) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    if ((word & UINT64_C(0x8080808080808080)) != 0) break;
  }
  while (p < end && *p < 0x80) p++;
  return p;
}

static bool tail(uint8_t byte) { return (byte & 0xc0) == 0x80; }

/* How many bytes the character at p has, whose first byte is not ASCII and which has at least 4 bytes to lie in; 0:
 * none. */
static size_t character(const uint8_t *p) {
  if (p[0] < 0xe0) return p[0] >= 0xc2 && tail(p[1]) ? 2 : 0;
  if (p[0] < 0xf0) {
    if (!tail(p[1]) || !tail(p[2])) return 0;
    uint32_t c = ((p[0] & 0x0fu) << 12) | ((p[1] & 0x3fu) << 6);
    return c >= 0x800 && (c & 0xf800) != 0xd800 ? 3 : 0;
  }
  if (p[0] >= 0xf5 || !tail(p[1]) || !tail(p[2]) || !tail(p[3])) return 0;
  uint32_t c = ((p[0] & 0x07u) << 18) | ((p[1] & 0x3fu) << 12);
  return c >= 0x10000 && c < 0x110000 ? 4 : 0;
}

bool utf8_feed(struct utf8 *u, const uint8_t *p, size_t n) {
  if (n == 0) return u->state != REJECTED; /* p may be NULL */
  const uint8_t *end = p + n;
  uint8_t state = u->state;
  while (state != BOUNDARY && state != REJECTED && p < end) state = step(state, *p++);
  while (state == BOUNDARY && (p = skip_ascii(p, end)) < end) {
    while (end - p >= 4 && *p >= 0x80) {
      size_t length = character(p);
      if (length == 0) {
        u->state = REJECTED;
        return false;
      }
      p += length;
    }
    if (end - p < 4) {
      while (state != REJECTED && p < end) state = step(state, *p++);
      break;
    }
  }
  u->state = state;
  return state != REJECTED;
}

bool utf8_valid(const uint8_t *p, size_t n) {
  struct utf8 u = {BOUNDARY};
  return utf8_feed(&u, p, n) && utf8_complete(&u);
}
