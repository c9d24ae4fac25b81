/* UTF-8 validation (RFC 3629), resumable across chunks, fast on ASCII. */
#ifndef WSC_UTF8_H
#define WSC_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct utf8 {
  uint8_t state; /* 0: at a character boundary */
};

/* Goes on with n more bytes. false as soon as they cannot be UTF-8. */
bool utf8_feed(struct utf8 *u, const uint8_t *p, size_t n);
static inline bool utf8_complete(const struct utf8 *u) { return u->state == 0; }
/* A whole text at once. */
bool utf8_valid(const uint8_t *p, size_t n);

#endif
