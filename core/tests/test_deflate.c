/* DEFLATE of messages: RFC 7692's own examples, both ways through each other, little room, malformed streams, no
 * memory. */
#define _GNU_SOURCE
#include "deflate.h"

#include "check.h"
#include "wscengine.h"

/* The message, through rooms of `room` bytes. */
static int inflate_message(struct inflater *f, const uint8_t *p, size_t n, size_t room, struct buffer *out,
                           const char **why) {
  out->length = 0;
  *why = "";
  inflater_begin(f, p, n);
  int status = WSC_AGAIN;
  while (status == WSC_AGAIN) {
    size_t wrote = 0;
    CHECK_EQ(buffer_reserve(out, room), WSC_OK);
    status = inflater_run(f, out->data + out->length, room, &wrote, why);
    CHECK(wrote <= room);
    out->length += wrote;
    if (status == WSC_AGAIN) CHECK_EQ(wrote, room);
  }
  return status;
}

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

/* RFC 7692 section 7.2.3. */
static void the_examples_of_the_rfc(void) {
  struct inflater *f = inflater_new(15, false);
  struct buffer out = {0};
  const char *why;
  static const struct {
    uint8_t bytes[24];
    size_t n;
  } hello[] = {
      {{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, 7},
      {{0xf2, 0x00, 0x11, 0x00, 0x00}, 5}, /* 7.2.3.2: refers to the message before */
      {{0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00}, 11},
      {{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, 8}, /* a last block, and one more behind it */
      {{0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00}, 13},
      {{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, 7}, /* not in the RFC: a last block, and nothing behind it */
  };
  for (size_t room = 1; room < 8; room++) {
    for (size_t i = 0; i < sizeof hello / sizeof hello[0]; i++) {
      CHECK_EQ(inflate_message(f, hello[i].bytes, hello[i].n, room, &out, &why), WSC_OK);
      CHECK_EQ(out.length, 5);
      CHECK_BYTES(out.data, "Hello", 5);
    }
  }
  /* The history survives a last block: this refers to what stood before it. */
  CHECK_EQ(inflate_message(f, BYTES(0xf2, 0x00, 0x11, 0x00, 0x00), 99, &out, &why), WSC_OK);
  CHECK_BYTES(out.data, "Hello", 5);
  CHECK_EQ(inflate_message(f, BYTES(0x00), 1, &out, &why), WSC_OK); /* an empty message */
  CHECK_EQ(out.length, 0);
  inflater_free(f);
  buffer_free(&out);
}

/* Found by fuzzing: a message whose last block says so, and whose end is only seen when there is room again. */
static void the_end_is_seen_in_any_room(void) {
  static const uint8_t bytes[] = {0xf3, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x34,
                                  0x14, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00};
  for (size_t room = 1; room < 64; room++) {
    struct inflater *f = inflater_new(15, false);
    struct buffer out = {0};
    const char *why;
    int status = inflate_message(f, bytes, sizeof bytes, room, &out, &why);
    static int first;
    static size_t length;
    if (room == 1) first = status, length = out.length;
    CHECK_EQ(status, first);
    CHECK_EQ(out.length, length);
    inflater_free(f);
    buffer_free(&out);
  }
}

static void malformed_streams_are_named(void) {
  static const struct {
    uint8_t bytes[24];
    size_t n;
    const char *why;
  } bad[] = {
      {{0}, 0, "middle of a block"}, /* no block at all */
      {{0xf2, 0x48, 0xcd, 0xc9, 0xc9}, 5, "middle of a block"},
      {{0x06}, 1, "invalid block type"},
      {{0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48}, 6, "stored block lengths"},
      {{0xf2, 0x00, 0x11, 0x00, 0x00}, 5, "too far back"}, /* refers to a history that there is not */
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct inflater *f = inflater_new(15, false);
    struct buffer out = {0};
    const char *why;
    CHECK_EQ(inflate_message(f, bad[i].bytes, bad[i].n, 100, &out, &why), WSC_ERR_INVALID);
    CHECK_HAS(why, bad[i].why);
    inflater_free(f);
    buffer_free(&out);
  }
}

/* Two bytes a block that says it is the last, for a megabyte: each must cost the same, however long the history. */
static void many_last_blocks_cost_no_square(void) {
  enum { N = 1 << 20 };
  uint8_t *p = malloc(N + 1);
  CHECK(p != NULL);
  for (size_t i = 0; i < N; i += 2) memcpy(p + i, "\x03\x00", 2);
  p[N] = 0;
  struct inflater *f = inflater_new(15, false);
  struct buffer out = {0};
  const char *why;
  CHECK_EQ(inflate_message(f, p, N + 1, 100, &out, &why), WSC_OK);
  CHECK_EQ(out.length, 0);
  inflater_free(f);
  buffer_free(&out);
  free(p);
}

static void fill(uint8_t *p, size_t n, unsigned round) {
  for (size_t i = 0; i < n; i++)
    p[i] = round % 3 == 0 ? (uint8_t)(i * 2654435761u >> 13) : (uint8_t)("price 1.25 "[(i + round) % 11]);
}

static void what_was_deflated_inflates_to_itself(void) {
  static const size_t lengths[] = {1, 2, 50, 1024, 70000, 300000};
  static uint8_t message[300000];
  for (int bits = 9; bits <= 15; bits++) {
    for (int forgetful = 0; forgetful < 2; forgetful++) {
      struct deflater *d = deflater_new(bits, 6, forgetful != 0);
      struct inflater *f = inflater_new(bits, forgetful != 0);
      struct buffer packed = {0}, out = {0};
      const char *why;
      for (unsigned round = 0; round < 12; round++) {
        size_t n = lengths[round % 6];
        fill(message, n, round);
        packed.length = 0;
        CHECK_EQ(deflater_run(d, message, n, &packed), WSC_OK);
        if (round == 7) { /* it never left */
          deflater_forget(d);
          continue;
        }
        CHECK_EQ(inflate_message(f, packed.data, packed.length, 1 + round * 1000, &out, &why), WSC_OK);
        CHECK_EQ(out.length, n);
        CHECK_BYTES(out.data, message, n);
        if (round % 2 != 0) inflater_rest(f);
      }
      deflater_free(d);
      inflater_free(f);
      buffer_free(&packed);
      buffer_free(&out);
    }
  }
}

static void takeover_makes_the_second_message_smaller(void) {
  static const uint8_t message[] = "{\"symbol\":\"AAPL\",\"price\":172.25,\"size\":100}";
  size_t second[2];
  for (int forgetful = 0; forgetful < 2; forgetful++) {
    struct deflater *d = deflater_new(15, 6, forgetful != 0);
    struct buffer packed = {0};
    for (int i = 0; i < 2; i++) {
      packed.length = 0;
      CHECK_EQ(deflater_run(d, message, sizeof message, &packed), WSC_OK);
    }
    second[forgetful] = packed.length;
    buffer_free(&packed);
    deflater_free(d);
  }
  CHECK(second[0] * 2 < second[1]);
}

/* Every allocation of a round trip fails once; the message after it is fine. */
static void without_memory_a_message_does_not_happen(void) {
  static uint8_t message[5000];
  fill(message, sizeof message, 1);
  long before = mem_live();
  bool failed = true;
  for (long n = 1; failed; n++) {
    struct buffer packed = {0}, out = {0};
    const char *why;
    struct inflater *f = NULL;
    mem_fail_after(n);
    struct deflater *d = deflater_new(15, 6, false);
    int status = d != NULL ? deflater_run(d, message, sizeof message, &packed) : WSC_ERR_NOMEM;
    bool packing_failed = status != WSC_OK;
    if (!packing_failed) f = inflater_new(15, true);
    if (f != NULL) {
      size_t wrote;
      static uint8_t room[6000];
      inflater_rest(f);
      inflater_begin(f, packed.data, packed.length);
      status = inflater_run(f, room, sizeof room, &wrote, &why);
    } else {
      status = WSC_ERR_NOMEM;
    }
    failed = mem_failed();
    mem_fail_after(-1);
    CHECK_EQ(status, failed ? WSC_ERR_NOMEM : WSC_OK);
    if (packing_failed && d != NULL) { /* nobody has got the first one: the second may not refer to it */
      struct inflater *fresh = inflater_new(15, false);
      CHECK_EQ(packed.length, 0);
      CHECK_EQ(deflater_run(d, message, sizeof message, &packed), WSC_OK);
      CHECK_EQ(inflate_message(fresh, packed.data, packed.length, 999, &out, &why), WSC_OK);
      CHECK_EQ(out.length, sizeof message);
      inflater_free(fresh);
    }
    deflater_free(d);
    inflater_free(f);
    buffer_free(&packed);
    buffer_free(&out);
  }
  CHECK_EQ(mem_live(), before);
}

int main(void) {
  the_examples_of_the_rfc();
  the_end_is_seen_in_any_room();
  malformed_streams_are_named();
  many_last_blocks_cost_no_square();
  what_was_deflated_inflates_to_itself();
  takeover_makes_the_second_message_smaller();
  without_memory_a_message_does_not_happen();
  return 0;
}
