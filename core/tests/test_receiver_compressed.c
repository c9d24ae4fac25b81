/* The receiver when permessage-deflate was agreed on: compressed messages among others, however they are cut; bombs,
 * broken streams, and no memory. */
#define _GNU_SOURCE
#include "receiver_feed.h"

static void inflating_feed(struct feed *f, uint64_t max_message, bool forgetful) {
  feed_begin(f, max_message);
  CHECK_EQ(receiver_inflates(&f->r, 15, forgetful), WSC_OK);
}

/* Compressed and plain messages in any order. */
static struct stream mixed_stream(int messages, bool large, bool forgetful) {
  struct stream s = {0};
  struct deflater *d = deflater_new(15, 1, forgetful);
  CHECK(d != NULL);
  for (int i = 0; i < messages; i++) {
    size_t n = large ? random_length() : random_below(140), fragments = random_below(3) == 0 ? 1 + random_below(6) : 0;
    int type = 1 + (int)random_below(2);
    if (random_below(3) > 0) put_compressed(&s, d, type, n > 0 ? n : 1, fragments);
    else put_message(&s, type, n, fragments);
    if (random_below(4) == 0) put_control(&s);
  }
  deflater_free(d);
  return s;
}

static void random_streams_arrive_whole_and_in_order(void) {
  static const size_t pieces[] = {1, 2, 7, 100, 1500, 5000, 20000, 65536, 400000};
  for (unsigned round = 0; round < 90; round++) {
    size_t piece = pieces[round % 9];
    bool forgetful = round % 2 != 0;
    struct stream s = mixed_stream(piece < 10 ? 10 : 60, round % 3 != 0, forgetful);
    for (int way = 0; way < 4; way++) {
      struct feed f;
      inflating_feed(&f, 300000, forgetful);
      f.hold = (way & 1) != 0;
      CHECK_EQ(feed_in_pieces(&f, s.bytes.data, s.bytes.length, piece, (way & 2) != 0 ? 4 : 0), WSC_OK);
      check_arrived(&f, &s);
      feed_end(&f);
    }
    stream_free(&s);
  }
}

static void small_messages_share_an_arena(void) {
  struct stream s = {0};
  struct deflater *d = deflater_new(15, 6, false);
  for (int i = 0; i < 40; i++) put_compressed(&s, d, OPCODE_TEXT, 1000, 0);
  deflater_free(d);
  struct feed f;
  inflating_feed(&f, 2000, false);
  f.hold = true;
  CHECK_EQ(feed_all(&f, s.bytes.data, s.bytes.length), WSC_OK);
  CHECK(f.out.head == f.out.tail); /* one batch */
  CHECK_EQ(f.r.unpacked_bytes, 40 * 1000);
  CHECK(f.r.packed_bytes > 0 && f.r.packed_bytes < s.bytes.length);
  check_arrived(&f, &s);
  feed_end(&f);
  stream_free(&s);
}

/* One compressed message of n bytes 'x'. */
static struct buffer bomb(int first, size_t n) {
  struct buffer packed = {0}, frame = {0};
  uint8_t *p = malloc(n);
  CHECK(p != NULL);
  memset(p, 'x', n);
  struct deflater *d = deflater_new(15, 9, true);
  CHECK_EQ(deflater_run(d, p, n, &packed), WSC_OK);
  put_frame(&frame, first, packed.data, packed.length);
  deflater_free(d);
  free(p);
  buffer_free(&packed);
  return frame;
}

static void the_limit_counts_what_was_inflated(void) {
  static const size_t limits[] = {1, 1000, ARENA_BYTES - 1, ARENA_BYTES, ARENA_BYTES + 1, 1000000};
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    for (int over = 0; over < 2; over++) {
      struct buffer frame = bomb(0xc1, limits[i] + (size_t)over);
      struct feed f;
      inflating_feed(&f, limits[i], false);
      int status = feed_all(&f, frame.data, frame.length);
      CHECK_EQ(status, over ? WSC_ERR_TOO_BIG : WSC_OK);
      CHECK_EQ(f.messages.count, over ? 0 : 1);
      if (over) {
        char limit[32];
        snprintf(limit, sizeof limit, "max_message_bytes, %zu", limits[i]);
        CHECK_EQ(f.r.fault->close_code, 1009);
        CHECK_HAS(f.r.fault->detail, limit);
      } else {
        CHECK_EQ(message_at(&f.messages, 0)->length, limits[i]);
      }
      feed_end(&f);
      buffer_free(&frame);
    }
  }
}

/* A kilobyte on the wire that stands for a megabyte must not take a megabyte before it is refused. */
static void a_bomb_takes_no_more_memory_than_the_limit(void) {
  struct buffer frame = bomb(0xc2, 64 << 20);
  struct feed f;
  inflating_feed(&f, 100000, false);
  CHECK(frame.length < 100000);
  CHECK_EQ(feed_all(&f, frame.data, frame.length), WSC_ERR_TOO_BIG);
  feed_end(&f);
  buffer_free(&frame);
}

/* One receive that stands for 60 MiB, each of its messages within the limit. */
static void a_pass_inflates_little_more_than_an_arena(void) {
  enum { LIMIT = 100000 };
  struct buffer frame = bomb(0xc2, LIMIT), all = {0};
  while (all.length + frame.length < ARENA_BYTES) CHECK_EQ(buffer_append(&all, frame.data, frame.length), WSC_OK);
  size_t count = all.length / frame.length, passes = 0;
  CHECK(count > 300);
  struct feed f;
  inflating_feed(&f, LIMIT, false);
  struct iovec iov[2];
  CHECK_EQ(receiver_space(&f.r, iov), 1);
  CHECK(iov[0].iov_len >= all.length);
  memcpy(iov[0].iov_base, all.data, all.length);
  for (size_t n = all.length; n > 0 || f.r.more; n = 0, passes++) {
    uint64_t before = f.r.unpacked_bytes;
    CHECK_EQ(feed_pass(&f, n), WSC_OK);
    CHECK(f.r.unpacked_bytes - before < ARENA_BYTES + LIMIT);
  }
  CHECK_EQ(passes, count);
  CHECK_EQ(f.messages.count, count);
  feed_end(&f);
  buffer_free(&frame);
  buffer_free(&all);
}

struct fault {
  const char *name, *detail;
  int code;
  size_t length, messages;
  uint8_t bytes[40];
};

static void every_fault_has_its_code_and_leaves_what_came_before(void) {
#define HELLO 0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00
  static const struct fault faults[] = {
      {"broken block", "invalid block type", 1007, 12, 1, {HELLO, 0xc1, 0x01, 0x06}},
      {"cut short", "middle of a block", 1007, 14, 1, {HELLO, 0xc1, 0x03, 0xf2, 0x48, 0xcd}},
      {"text that is none", "not UTF-8", 1007, 18, 1, {HELLO, 0xc1, 0x07, 0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00}},
      {"RSV1 in a continuation", "RSV1 of a message's first frame", 1002, 5, 0, {0x41, 0x01, 0xf2, 0xc0, 0x00}},
      {"RSV1 in a ping", "RSV1", 1002, 11, 1, {HELLO, 0xc9, 0x00}},
      {"RSV2", "RSV2", 1002, 11, 1, {HELLO, 0xe1, 0x00}},
      {"RSV3", "RSV3", 1002, 11, 1, {HELLO, 0xd1, 0x00}},
  };
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    for (size_t piece = 1; piece < 40; piece += 38) {
      const struct fault *c = &faults[i];
      struct feed f;
      inflating_feed(&f, 1000, false);
      int status = feed_in_pieces(&f, c->bytes, c->length, piece, 4);
      if (status != WSC_ERR_PROTOCOL || strstr(f.r.fault->detail, c->detail) == NULL)
        fprintf(stderr, "%s: %s\n", c->name, f.r.fault->detail);
      CHECK_EQ(status, WSC_ERR_PROTOCOL);
      CHECK_EQ(f.r.fault->close_code, c->code);
      CHECK_HAS(f.r.fault->detail, c->detail);
      CHECK_EQ(f.messages.count, c->messages);
      feed_end(&f);
    }
  }
}

/* Two fragments and no control frame between them: the feed would want memory of its own for it. */
static void put_in_two(struct stream *s, struct deflater *d, size_t n) {
  struct stream whole = {0};
  put_compressed(&whole, d, OPCODE_BINARY, n, 0);
  messages_add(&s->messages, OPCODE_BINARY, whole.messages.bytes.data, n);
  size_t header = whole.bytes.length < 65536 + 4 ? 4 : 10, half = (whole.bytes.length - header) / 2;
  put_frame(&s->bytes, 0x40 | OPCODE_BINARY, whole.bytes.data + header, half);
  put_frame(&s->bytes, 0x80 | OPCODE_CONTINUATION, whole.bytes.data + header + half,
            whole.bytes.length - header - half);
  stream_free(&whole);
}

static void running_out_of_memory_anywhere_loses_no_memory(void) {
  struct stream s = {0};
  struct deflater *d = deflater_new(15, 1, false);
  for (int i = 0; i < 30; i++) put_compressed(&s, d, OPCODE_TEXT, 10, 0);
  put_compressed(&s, d, OPCODE_BINARY, 100000, 0);
  put_message(&s, OPCODE_TEXT, 20, 0);
  put_in_two(&s, d, 90000);
  put_compressed(&s, d, OPCODE_TEXT, 7, 0);
  deflater_free(d);
  bool failed = true;
  long failures = 0, before = mem_live();
  for (long n = 1; failed; n++) {
    struct feed f;
    feed_begin(&f, 100000);
    mem_fail_after(n);
    f.hold = true; /* so that the test's own lists need no memory meanwhile */
    int status = receiver_inflates(&f.r, 15, false);
    uint64_t seed = random_state;
    if (status == WSC_OK) status = feed_in_pieces(&f, s.bytes.data, s.bytes.length, 20000, 4);
    random_state = seed;
    failed = mem_failed();
    mem_fail_after(-1);
    if (status != WSC_OK) {
      CHECK(failed);
      CHECK_EQ(status, WSC_ERR_NOMEM);
      add_batches(&f.messages, &f.out, 0); /* what came before it is whole, and no batch is empty */
      failures++;
    } else {
      check_arrived(&f, &s);
    }
    feed_end(&f);
    CHECK_EQ(mem_live(), before);
  }
  CHECK(failures > 5);
  stream_free(&s);
}

int main(void) {
  mem_fail_after(-1);
  long before = mem_live();
  random_streams_arrive_whole_and_in_order();
  small_messages_share_an_arena();
  the_limit_counts_what_was_inflated();
  a_bomb_takes_no_more_memory_than_the_limit();
  a_pass_inflates_little_more_than_an_arena();
  every_fault_has_its_code_and_leaves_what_came_before();
  running_out_of_memory_anywhere_loses_no_memory();
  CHECK_EQ(mem_live(), before);
  return 0;
}
