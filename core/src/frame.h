/* The sending half: headers of masked client frames, close payloads. wslay cannot send a header alone and masks byte by byte. */
#ifndef WSC_FRAME_H
#define WSC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEADER_MAX = 14 };

/* Writes the header of a masked frame; its length. */
size_t frame_header(uint8_t out[FRAME_HEADER_MAX], bool fin, int opcode, uint64_t length, const uint8_t key[4]);

/* Whether a close code may be sent (and received) in a close frame: 1000-1003, 1007-1014, 3000-4999 (RFC 6455 section 7.4 and the
 * IANA registry). */
bool frame_close_code_ok(int code);
/* Payload of a close frame: code and reason; its length (2 + reason). */
size_t frame_close_payload(uint8_t out[125], int code, const char *reason);

#endif
