/* The sending half: headers of masked client frames, close payloads. wslay cannot send a header alone and masks byte by byte. */
#ifndef WSC_FRAME_H
#define WSC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FRAME_HEADER_MAX = 14 };
enum { FRAME_RSV1 = 0x40 }; /* added to an opcode: the frame begins a compressed message (RFC 7692 section 6) */

/* Writes the header of a masked frame; its length. Here for the frames that are many: the short ones. */
size_t frame_header_long(uint8_t out[FRAME_HEADER_MAX], bool fin, int opcode, uint64_t length, const uint8_t key[4]);
static inline size_t frame_header(uint8_t out[FRAME_HEADER_MAX], bool fin, int opcode, uint64_t length,
                                  const uint8_t key[4]) {
  if (length >= 126) return frame_header_long(out, fin, opcode, length, key);
  out[0] = (uint8_t)((fin ? 0x80 : 0) | (opcode & (FRAME_RSV1 | 0x0f)));
  out[1] = (uint8_t)(0x80 | length);
  memcpy(out + 2, key, 4);
  return 6;
}

/* Whether a close code may be sent (and received) in a close frame: 1000-1003, 1007-1014, 3000-4999 (RFC 6455 section 7.4 and the
 * IANA registry). */
bool frame_close_code_ok(int code);
/* Payload of a close frame: code and reason; its length (2 + reason). */
size_t frame_close_payload(uint8_t out[125], int code, const char *reason);

#endif
