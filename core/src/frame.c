/* Headers of outgoing frames (RFC 6455 section 5.2): lengths in their shortest form, always masked. */
#include "frame.h"

#include <string.h>

enum { REASON_MAX = 123 };

static size_t big_endian(uint8_t *out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
  return bytes;
}

size_t frame_header_long(uint8_t out[FRAME_HEADER_MAX], bool fin, int opcode, uint64_t length, const uint8_t key[4]) {
  size_t bytes = length <= UINT16_MAX ? 2 : 8;
  out[0] = (uint8_t)((fin ? 0x80 : 0) | (opcode & (FRAME_RSV1 | 0x0f)));
  out[1] = (uint8_t)(0x80 | (bytes == 2 ? 126 : 127));
  size_t n = 2 + big_endian(out + 2, length, bytes);
  memcpy(out + n, key, 4);
  return n + 4;
}

bool frame_close_code_ok(int code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

size_t frame_close_payload(uint8_t out[125], int code, const char *reason) {
  size_t n = reason != NULL ? strlen(reason) : 0;
  if (n > REASON_MAX) { /* our own texts may be too long: cut them between two characters */
    n = REASON_MAX;
    while (n > 0 && ((uint8_t)reason[n] & 0xc0) == 0x80) n--;
  }
  big_endian(out, (uint64_t)code, 2);
  if (n != 0) memcpy(out + 2, reason, n);
  return 2 + n;
}
