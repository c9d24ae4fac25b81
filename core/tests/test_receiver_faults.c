/* What a server may not send: each fault has its close code, its text, and the byte with which it is noticed; and how
 * a close ends receiving. */
#define _GNU_SOURCE
#include "receiver_feed.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1
enum { LIMIT = 1000 };

static const struct fault_case {
  const char *name;
  const uint8_t *bytes;
  size_t length;
  size_t noticed; /* with the n-th byte it is clear, and must be noticed */
  int status, code;
  size_t messages; /* before it */
  const char *detail;
} fault_cases[] = {
    {"RSV1", BYTES("\xc1\x01x"), 1, WSC_ERR_PROTOCOL, 1002, 0, "RSV1"},
    {"RSV2 and RSV3", BYTES("\xb2\x01x"), 1, WSC_ERR_PROTOCOL, 1002, 0, "RSV2 RSV3"},
    {"RSV1 of a control frame", BYTES("\xc9\x00"), 1, WSC_ERR_PROTOCOL, 1002, 0, "RSV1"},
    {"RSV1 of a continuation", BYTES("\x01\x01x\xc0\x01x"), 4, WSC_ERR_PROTOCOL, 1002, 0, "RSV1"},
    {"opcode 3", BYTES("\x83\x00"), 1, WSC_ERR_PROTOCOL, 1002, 0, "0x3"},
    {"opcode 7", BYTES("\x87\x01x"), 1, WSC_ERR_PROTOCOL, 1002, 0, "0x7"},
    {"opcode 11", BYTES("\x8b\x00"), 1, WSC_ERR_PROTOCOL, 1002, 0, "0xb"},
    {"opcode 15", BYTES("\x8f\x00"), 1, WSC_ERR_PROTOCOL, 1002, 0, "0xf"},
    {"masked", BYTES("\x81\x81\x00\x00\x00\x00x"), 2, WSC_ERR_PROTOCOL, 1002, 0, "masked text frame"},
    {"masked and empty", BYTES("\x82\x80\x00\x00\x00\x00"), 2, WSC_ERR_PROTOCOL, 1002, 0, "masked binary frame"},
    {"masked ping", BYTES("\x89\x80\x00\x00\x00\x00"), 2, WSC_ERR_PROTOCOL, 1002, 0, "masked ping frame"},
    {"continuation of nothing", BYTES("\x80\x01x"), 1, WSC_ERR_PROTOCOL, 1002, 0, "no fragmented message"},
    {"continuation of a finished message", BYTES("\x01\x01x\x80\x01y\x80\x01z"), 7, WSC_ERR_PROTOCOL, 1002, 1,
     "no fragmented message"},
    {"text in a fragmented message", BYTES("\x02\x03xyz\x81\x01y"), 6, WSC_ERR_PROTOCOL, 1002, 0, "of which 3 bytes"},
    {"fragment in a fragmented message", BYTES("\x01\x01x\x02\x01y"), 4, WSC_ERR_PROTOCOL, 1002, 0,
     "inside a fragmented text"},
    {"fragmented ping", BYTES("\x09\x00"), 1, WSC_ERR_PROTOCOL, 1002, 0, "ping frame without FIN"},
    {"fragmented close", BYTES("\x08\x02\x03\xe8"), 1, WSC_ERR_PROTOCOL, 1002, 0, "close frame without FIN"},
    {"long ping", BYTES("\x89\x7e\x00\x7e"), 2, WSC_ERR_PROTOCOL, 1002, 0, "more than 125"},
    {"very long pong", BYTES("\x8a\x7f\x00\x00\x00\x00\x00\x01\x00\x00"), 2, WSC_ERR_PROTOCOL, 1002, 0,
     "more than 125"},
    {"5 bytes in 16 bits", BYTES("\x82\x7e\x00\x05xxxxx"), 4, WSC_ERR_PROTOCOL, 1002, 0,
     "5 bytes with a length field of 16 bits"},
    {"125 bytes in 16 bits", BYTES("\x82\x7e\x00\x7d"), 4, WSC_ERR_PROTOCOL, 1002, 0, "125 bytes"},
    {"no bytes in 64 bits", BYTES("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x00"), 10, WSC_ERR_PROTOCOL, 1002, 0,
     "field of 64 bits"},
    {"65535 bytes in 64 bits", BYTES("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"), 10, WSC_ERR_PROTOCOL, 1002, 0,
     "65535 bytes"},
    {"highest bit", BYTES("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), 10, WSC_ERR_PROTOCOL, 1002, 0, "highest bit"},
    {"too big", BYTES("\x82\x7e\x03\xe9"), 4, WSC_ERR_TOO_BIG, 1009, 0, "1001 bytes, max_message_bytes is 1000"},
    {"much too big", BYTES("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), 10, WSC_ERR_TOO_BIG, 1009, 0,
     "9223372036854775807"},
    {"too big in sum", BYTES("\x02\x01x\x00\x7e\x03\xe8"), 7, WSC_ERR_TOO_BIG, 1009, 0,
     "1001 bytes (1 have come, the next frame has 1000)"},
    {"close of one byte", BYTES("\x88\x01\x03"), 2, WSC_ERR_PROTOCOL, 1002, 0, "1 byte"},
    {"close 0", BYTES("\x88\x02\x00\x00"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 0"},
    {"close 999", BYTES("\x88\x02\x03\xe7"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 999"},
    {"close 1004", BYTES("\x88\x02\x03\xec"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 1004"},
    {"close 1005", BYTES("\x88\x02\x03\xed"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 1005"},
    {"close 1006", BYTES("\x88\x02\x03\xee"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 1006"},
    {"close 1015", BYTES("\x88\x02\x03\xf7"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 1015"},
    {"close 2999", BYTES("\x88\x02\x0b\xb7"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 2999"},
    {"close 5000", BYTES("\x88\x02\x13\x88"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 5000"},
    {"close 65535", BYTES("\x88\x02\xff\xff"), 4, WSC_ERR_PROTOCOL, 1002, 0, "code 65535"},
    {"close reason", BYTES("\x88\x04\x03\xe8\xc3("), 6, WSC_ERR_PROTOCOL, 1007, 0, "code 1000"},
    {"close reason cut short", BYTES("\x88\x03\x03\xe8\xc3"), 5, WSC_ERR_PROTOCOL, 1007, 0, "UTF-8"},
    {"text",
     BYTES("\x81\x05"
           "a\xff"
           "bcd"),
     4, WSC_ERR_PROTOCOL, 1007, 0, "0xff at position 1"},
    {"text after a good start", BYTES("\x81\x05\xe2\x82\xac\x80z"), 6, WSC_ERR_PROTOCOL, 1007, 0, "0x80 at position 3"},
    {"surrogate", BYTES("\x81\x03\xed\xa0\x80"), 4, WSC_ERR_PROTOCOL, 1007, 0, "0xa0 at position 1"},
    {"overlong", BYTES("\x81\x04\xf0\x80\x80\x80"), 4, WSC_ERR_PROTOCOL, 1007, 0, "0x80 at position 1"},
    {"beyond Unicode", BYTES("\x81\x04\xf4\x90\x80\x80"), 4, WSC_ERR_PROTOCOL, 1007, 0, "0x90 at position 1"},
    {"text cut short",
     BYTES("\x81\x03"
           "a\xe2\x82"),
     5, WSC_ERR_PROTOCOL, 1007, 0, "3 bytes is not UTF-8: it ends in the middle"},
    {"fragmented text",
     BYTES("\x01\x02"
           "a\xe2\x89\x00\x00\x02\x82(\x80\x00"),
     10, WSC_ERR_PROTOCOL, 1007, 0, "0x28 at position 3"},
    {"fragmented text cut short",
     BYTES("\x01\x02"
           "a\xe2\x80\x01\x82"),
     7, WSC_ERR_PROTOCOL, 1007, 0, "3 bytes is not UTF-8"},
    {"fragmented text with an empty end",
     BYTES("\x01\x02"
           "a\xe2\x80\x00"),
     6, WSC_ERR_PROTOCOL, 1007, 0, "2 bytes is not UTF-8"},
    {"wrong text after right binary", BYTES("\x82\x02\xff\xff\x81\x01\xff"), 7, WSC_ERR_PROTOCOL, 1007, 1,
     "0xff at position 0"},
    {"after messages", BYTES("\x81\x01x\x82\x00\x89\x01p\x81\x01y\x83\x00"), 12, WSC_ERR_PROTOCOL, 1002, 3, "0x3"},
};

static void check_fault(const struct feed *f, const struct fault_case *c, int status) {
  if (status != c->status || f->r.fault->close_code != c->code || f->messages.count != c->messages) {
    fprintf(stderr, "%s: status %d, code %d, %zu messages: %s\n", c->name, status, f->r.fault->close_code,
            f->messages.count, f->r.fault->detail);
  }
  CHECK_EQ(status, c->status);
  CHECK_EQ(f->r.fault->close_code, c->code);
  CHECK_EQ(f->messages.count, c->messages);
  CHECK_HAS(f->r.fault->detail, c->detail);
  CHECK(strlen(f->r.fault->reason) > 0);
}

static void every_fault_has_its_code_and_is_noticed_at_once(void) {
  for (size_t i = 0; i < sizeof fault_cases / sizeof *fault_cases; i++) {
    const struct fault_case *c = &fault_cases[i];
    struct feed f;
    feed_begin(&f, LIMIT); /* all at once */
    check_fault(&f, c, feed_all(&f, c->bytes, c->length));
    size_t used;
    CHECK_EQ(feed_once(&f, BYTES("\x81\x01x"), &used), c->status); /* and there is no way back */
    CHECK_EQ(f.messages.count, c->messages);
    feed_end(&f);

    for (int rest = 0; rest < 2; rest++) { /* byte by byte */
      feed_begin(&f, LIMIT);
      for (size_t n = 0; n < c->noticed; n++) {
        int status = feed_once(&f, c->bytes + n, 1, &used);
        if (n + 1 == c->noticed) {
          check_fault(&f, c, status);
        } else {
          if (status != WSC_OK) fprintf(stderr, "%s: noticed with byte %zu\n", c->name, n + 1);
          CHECK_EQ(status, WSC_OK);
        }
        if (rest) receiver_rest(&f.r);
      }
      feed_end(&f);
    }

    feed_begin(&f, LIMIT); /* exactly the telling bytes in one receive */
    check_fault(&f, c, feed_all(&f, c->bytes, c->noticed));
    feed_end(&f);
  }
}

static void a_large_text_fails_at_its_first_bad_byte(void) {
  struct buffer s = {0};
  size_t n = 500000, bad = 300000;
  uint8_t *p = malloc(n);
  CHECK(p != NULL);
  memset(p, 'x', n);
  p[bad] = 0xfe;
  put_frame(&s, 0x81, p, n);
  struct feed f;
  feed_begin(&f, n);
  CHECK_EQ(feed_in_pieces(&f, s.data, 10 + bad, 3000, 1), WSC_OK);
  size_t used;
  CHECK_EQ(feed_once(&f, s.data + 10 + bad, 1, &used), WSC_ERR_PROTOCOL);
  CHECK_EQ(f.r.fault->close_code, 1007);
  CHECK_HAS(f.r.fault->detail, "0xfe at position 300000");
  feed_end(&f);

  p[bad] = 'x';
  p[n - 1] = 0xc3;
  s.length = 0;
  put_frame(&s, 0x81, p, n);
  feed_begin(&f, n);
  CHECK_EQ(feed_all(&f, s.data, s.length), WSC_ERR_PROTOCOL);
  CHECK_HAS(f.r.fault->detail, "500000 bytes is not UTF-8: it ends");
  feed_end(&f);
  buffer_free(&s);
  free(p);
}

static void the_limit_itself_is_allowed(void) {
  for (size_t limit = 1; limit <= 100000; limit = limit * 7 + 3) {
    for (size_t fragments = 0; fragments < 3; fragments++) {
      struct stream s = {0};
      put_message(&s, OPCODE_BINARY, limit, fragments);
      struct feed f;
      feed_begin(&f, limit);
      CHECK_EQ(feed_all(&f, s.bytes.data, s.bytes.length), WSC_OK);
      check_arrived(&f, &s);
      feed_end(&f);
      stream_free(&s);
    }
  }
}

static void a_huge_header_allocates_only_what_is_allowed(void) {
  struct feed f;
  feed_begin(&f, 100000);
  uint8_t *p = calloc(1, 60000);
  struct buffer s = {0};
  put_frame(&s, 0x02, p, 60000); /* with this fragment there are 60000, and 30000 more are announced */
  CHECK_EQ(feed_all(&f, s.data, s.length), WSC_OK);
  receiver_rest(&f.r);
  CHECK_EQ(feed_all(&f, BYTES("\x00\x7e\x75\x30x")), WSC_OK);
  receiver_rest(&f.r);
  CHECK(f.r.capacity >= 90000 && f.r.capacity <= 100000);
  buffer_free(&s);
  free(p);
  feed_end(&f);
}

static void every_legal_close_ends_receiving(void) {
  static const int codes[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                              1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
  for (size_t i = 0; i <= sizeof codes / sizeof *codes; i++) {
    struct buffer s = {0};
    uint8_t payload[125] = {0};
    size_t n = i % 2 == 0 ? 2 : 125;
    memset(payload + 2, 'r', 123);
    if (i == sizeof codes / sizeof *codes) {
      n = 0; /* no code at all */
    } else {
      payload[0] = (uint8_t)(codes[i] >> 8);
      payload[1] = (uint8_t)codes[i];
    }
    put_frame(&s, 0x81, BYTES("before"));
    put_frame(&s, 0x88, payload, n);
    size_t close_end = s.length;
    put_frame(&s, 0x83, BYTES("whatever comes then"));
    put_frame(&s, 0x81, BYTES("after"));
    for (size_t piece = 1; piece < 200; piece += 198) {
      struct feed f;
      feed_begin(&f, LIMIT);
      CHECK_EQ(feed_in_pieces(&f, s.data, close_end - 1, piece, 2), WSC_OK);
      CHECK(!f.r.closed);
      CHECK_EQ(feed_in_pieces(&f, s.data + close_end - 1, s.length - close_end + 1, piece, 2), WSC_OK);
      CHECK(f.r.closed);
      CHECK_EQ(f.messages.count, 1);
      CHECK_EQ(f.control.count, 1);
      CHECK_EQ(message_at(&f.control, 0)->type, OPCODE_CLOSE);
      CHECK_EQ(message_at(&f.control, 0)->length, n);
      CHECK(n == 0 || memcmp(f.control.bytes.data, payload, n) == 0);
      feed_end(&f);
    }
    buffer_free(&s);
  }
}

static void a_close_inside_a_fragmented_message_ends_it(void) {
  struct feed f;
  feed_begin(&f, LIMIT);
  CHECK_EQ(feed_all(&f, BYTES("\x01\x03"
                              "abc")),
           WSC_OK);
  CHECK_EQ(feed_all(&f, BYTES("\x88\x00")), WSC_OK);
  CHECK_EQ(feed_all(&f, BYTES("\x80\x03"
                              "abc")),
           WSC_OK);
  CHECK(f.r.closed);
  CHECK_EQ(f.messages.count, 0);
  receiver_rest(&f.r);
  CHECK(f.r.arena == NULL);
  feed_end(&f);
}

int main(void) {
  mem_fail_after(-1);
  long before = mem_live();
  every_fault_has_its_code_and_is_noticed_at_once();
  a_large_text_fails_at_its_first_bad_byte();
  the_limit_itself_is_allowed();
  a_huge_header_allocates_only_what_is_allowed();
  every_legal_close_ends_receiving();
  a_close_inside_a_fragmented_message_ends_it();
  CHECK_EQ(mem_live(), before);
  return 0;
}
