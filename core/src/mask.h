/* Masking of client frames (RFC 6455 section 5.3), many bytes at a time. The keys are random.h's. */
#ifndef WSC_MASK_H
#define WSC_MASK_H

#include <stddef.h>
#include <stdint.h>

/* dst[i] = src[i] ^ key[i % 4]; dst may be src, otherwise they do not overlap. */
void mask_copy(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t key[4]);

#endif
