/* Bytes and what wsc makes of them: UTF-8, JSON strings, base64, complaints. No engine in sight. */
#ifndef WSC_TOOL_TEXT_H
#define WSC_TOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing buffer; {0} is empty. Out of memory ends the program: a tool that cannot hold one message has nothing
 * left to do. */
struct bytes {
  uint8_t *p;
  size_t n, capacity;
};
uint8_t *bytes_room(struct bytes *b, size_t n); /* n writable bytes behind the last; add what was used to b->n */
void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_print(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bytes_free(struct bytes *b);

/* Length of the UTF-8 sequence at p (n > 0 bytes are there), 0 when they do not begin one (RFC 3629). */
size_t utf8_sequence(const uint8_t *p, size_t n);
/* Position of the first byte that is not UTF-8; n when all is well. */
size_t utf8_fault(const uint8_t *p, size_t n);

/* "..." with JSON's escapes; what is no UTF-8 becomes U+FFFD, so that the result is JSON whatever a peer sent. */
void json_string(struct bytes *b, const uint8_t *p, size_t n);
void base64(struct bytes *b, const uint8_t *p, size_t n); /* RFC 4648, padded, no line breaks */

/* "wsc: " and a line on standard error. Control characters are shown as \x1b, so that no peer writes to the
 * terminal. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
