/* Frame headers and close payloads, byte by byte. */
#include "check.h"
#include "frame.h"

static const uint8_t key[4] = {1, 2, 3, 4};

static void check_header(bool fin, int opcode, uint64_t length, const char *want, size_t want_length) {
  uint8_t out[FRAME_HEADER_MAX + 1];
  memset(out, 0xee, sizeof out);
  CHECK_EQ(frame_header(out, fin, opcode, length, key), want_length);
  CHECK_BYTES(out, want, want_length);
  CHECK_EQ(out[want_length], 0xee);
}

static void lengths_take_their_shortest_form(void) {
  check_header(true, 1, 0, "\x81\x80\1\2\3\4", 6);
  check_header(true, 2, 125, "\x82\xfd\1\2\3\4", 6);
  check_header(true, 2, 126, "\x82\xfe\0\x7e\1\2\3\4", 8);
  check_header(true, 2, 0x1234, "\x82\xfe\x12\x34\1\2\3\4", 8);
  check_header(true, 2, 65535, "\x82\xfe\xff\xff\1\2\3\4", 8);
  check_header(true, 2, 65536, "\x82\xff\0\0\0\0\0\1\0\0\1\2\3\4", 14);
  check_header(true, 2, UINT64_C(0x0102030405060708), "\x82\xff\1\2\3\4\5\6\7\x08\1\2\3\4", 14);
}

static void fragments_and_control_frames(void) {
  check_header(false, 1, 5, "\x01\x85\1\2\3\4", 6);
  check_header(false, 0, 5, "\x00\x85\1\2\3\4", 6);
  check_header(true, 0, 5, "\x80\x85\1\2\3\4", 6);
  check_header(true, 8, 2, "\x88\x82\1\2\3\4", 6);
  check_header(true, 9, 0, "\x89\x80\1\2\3\4", 6);
  check_header(true, 10, 4, "\x8a\x84\1\2\3\4", 6);
}

static void only_codes_of_the_registry_may_be_sent(void) {
  for (int code = -10; code < 70000; code++) {
    bool ok = (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
              (code >= 3000 && code <= 4999);
    CHECK_EQ(frame_close_code_ok(code), ok);
  }
}

static void close_payloads(void) {
  uint8_t out[125];
  char reason[200];
  CHECK_EQ(frame_close_payload(out, 1000, NULL), 2);
  CHECK_BYTES(out, "\x03\xe8", 2);
  CHECK_EQ(frame_close_payload(out, 4999, "Going Away"), 12);
  CHECK_BYTES(out, "\x13\x87Going Away", 12);
  memset(reason, 'r', sizeof reason);
  reason[123] = 0;
  CHECK_EQ(frame_close_payload(out, 1001, reason), 125);
  reason[123] = 'r';
  reason[199] = 0;
  CHECK_EQ(frame_close_payload(out, 1001, reason), 125); /* cut */
  memcpy(reason + 121, "\xe2\x82\xac", 3);               /* but never within a character */
  CHECK_EQ(frame_close_payload(out, 1001, reason), 123);
  memcpy(reason + 120, "\xe2\x82\xacr", 4);
  CHECK_EQ(frame_close_payload(out, 1001, reason), 125);
}

int main(void) {
  lengths_take_their_shortest_form();
  fragments_and_control_frames();
  only_codes_of_the_registry_may_be_sent();
  close_payloads();
  return 0;
}
