/* Sequences of up to four bytes against a plain reading of RFC 3629; then long texts, split everywhere and at
 * random. */
#include "check.h"
#include "utf8.h"

/* By the table of RFC 3629 section 4. The number of bytes that are a prefix of some valid text; n when all of them are.
 * *whole: they end at a character's end. */
static size_t reference(const uint8_t *p, size_t n, bool *whole) {
  size_t i = 0;
  *whole = true;
  while (i < n) {
    uint8_t b = p[i], low = 0x80, high = 0xbf;
    size_t tails;
    if (b <= 0x7f) tails = 0;
    else if (b >= 0xc2 && b <= 0xdf) tails = 1;
    else if (b >= 0xe0 && b <= 0xef) tails = 2;
    else if (b >= 0xf0 && b <= 0xf4) tails = 3;
    else return i;
    if (b == 0xe0) low = 0xa0;
    if (b == 0xed) high = 0x9f;
    if (b == 0xf0) low = 0x90;
    if (b == 0xf4) high = 0x8f;
    i++;
    for (size_t t = 0; t < tails; t++, i++) {
      if (i == n) {
        *whole = false;
        return n;
      }
      if (p[i] < low || p[i] > high) return i;
      low = 0x80;
      high = 0xbf;
    }
  }
  return n;
}

/* Whole, byte by byte (so that the first impossible byte is the one that is refused), and split in two. */
static void compare(const uint8_t *p, size_t n, size_t split) {
  bool whole;
  size_t good = reference(p, n, &whole);
  struct utf8 u = {0};
  CHECK_EQ(utf8_feed(&u, p, n), good == n);
  if (good == n) CHECK_EQ(utf8_complete(&u), whole);
  CHECK_EQ(utf8_valid(p, n), good == n && whole);
  u = (struct utf8){0};
  for (size_t i = 0; i < n; i++) CHECK_EQ(utf8_feed(&u, p + i, 1), i < good);
  u = (struct utf8){0};
  CHECK_EQ(utf8_feed(&u, p, split), split <= good);
  CHECK_EQ(utf8_feed(&u, p + split, n - split), good == n); /* once refused, for ever */
}

static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0,
                                0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xf0, 0xf4, 0xf5, 0xff};

/* Puts every byte at p[at], and so on up to four bytes. Behind a prefix that is refused already the bytes at the
 * edges of the ranges will do, as behind two whole characters, and three ASCII characters stand for all. `behind`
 * puts ASCII behind, so that the fast way for whole characters is taken. */
static void every_sequence_from(uint8_t *p, size_t at, size_t behind) {
  bool whole;
  size_t good = reference(p, at, &whole);
  bool open = good == at && !whole, some = at > 0 && !open && (good < at || at >= 2);
  for (unsigned i = 0; i < (some ? sizeof edges : 256); i++) {
    p[at] = some ? edges[i] : (uint8_t)i;
    memset(p + at + 1, 'a', 8);
    compare(p, at + 1 + behind, 1 + i % (at + 1));
    bool like_others = p[at] < 0x80 && p[at] != 0 && p[at] != 'A' && p[at] != 0x7f;
    if (at < 3 && !like_others) every_sequence_from(p, at + 1, behind);
  }
}

static void every_short_sequence(size_t behind) {
  uint8_t p[16];
  memset(p, 'a', sizeof p);
  compare(p, behind, behind / 2);
  every_sequence_from(p, 0, behind);
}

static uint32_t random_state = 1;
static uint32_t chance(uint32_t n) {
  random_state = random_state * 1664525u + 1013904223u;
  return (uint32_t)(((uint64_t)random_state * n) >> 32);
}

static size_t character(uint8_t *p, unsigned kind) {
  static const uint32_t first[] = {0, 0x80, 0x800, 0x10000}, count[] = {0x80, 0x780, 0xf800, 0x100000};
  uint32_t c = first[kind] + chance(count[kind]);
  if (c >= 0xd800 && c < 0xe000) c -= 0x1000;
  static const uint8_t lead[] = {0x00, 0xc0, 0xe0, 0xf0};
  for (unsigned i = kind; i > 0; i--, c >>= 6) p[i] = (uint8_t)(0x80 | (c & 63));
  p[0] = (uint8_t)(lead[kind] | c);
  return kind + 1;
}

/* Long valid texts of every mixture, in chunks of every size; then with one byte damaged. */
static void long_texts_in_random_pieces(void) {
  static uint8_t text[4096];
  for (int round = 0; round < 4000; round++) {
    size_t n = 0, room = 1 + chance(400);
    unsigned ascii = chance(100);
    while (n < room) n += character(text + n, chance(100) < ascii ? 0 : chance(4));
    bool damaged = round % 2 == 1, whole;
    if (damaged) text[chance((uint32_t)n)] = (uint8_t)chance(256);
    size_t good = reference(text, n, &whole), biggest = 1 + chance(200);
    struct utf8 u = {0};
    bool ok = true;
    for (size_t at = 0; at < n;) {
      size_t piece = 1 + chance((uint32_t)biggest);
      if (piece > n - at) piece = n - at;
      ok = utf8_feed(&u, text + at, piece);
      at += piece;
      CHECK_EQ(ok, at <= good); /* refused in the very piece that holds the first impossible byte */
    }
    CHECK_EQ(ok && utf8_complete(&u), good == n && whole);
    if (!damaged) CHECK(ok && utf8_complete(&u));
    CHECK_EQ(utf8_valid(text, n), good == n && whole);
  }
}

/* A bad byte at every place of ASCII texts of every length up to 200, at every alignment. */
static void a_bad_byte_is_found_wherever_it_stands(void) {
  static uint8_t room[300];
  for (size_t alignment = 0; alignment < 16; alignment++) {
    uint8_t *p = room + alignment;
    memset(room, 'x', sizeof room);
    for (size_t n = 0; n <= 200; n++) {
      CHECK(utf8_valid(p, n));
      size_t at = (n * 7 + alignment * 13) % (n + 1);
      if (at == n) at = n / 2;
      if (n == 0) continue;
      for (unsigned bad = 0x80; bad < 0x100; bad += 0x7f) {
        p[at] = (uint8_t)bad;
        CHECK(!utf8_valid(p, n));
      }
      p[at] = 'x';
      p[n] = 0xff; /* what lies behind the text is not looked at */
      CHECK(utf8_valid(p, n));
      p[n] = 'x';
    }
    for (size_t at = 0; at < 200; at++) {
      p[at] = 0xc0;
      CHECK(!utf8_valid(p, 200));
      p[at] = 'x';
    }
  }
}

int main(void) {
  every_short_sequence(0);
  every_short_sequence(5);
  long_texts_in_random_pieces();
  a_bad_byte_is_found_wherever_it_stands();
  CHECK(utf8_valid(NULL, 0));
  return 0;
}
