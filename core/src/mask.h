/* Masking of client frames (RFC 6455 section 5.3): a fresh, unpredictable key a frame, applied many bytes at a time. */
#ifndef WSC_MASK_H
#define WSC_MASK_H

#include <stddef.h>
#include <stdint.h>

/* A key from a per-thread pool of OpenSSL's random bytes: wiped as used, dropped after fork. 0, or WSC_ERR_IO. */
int mask_key(uint8_t key[4]);
/* dst[i] = src[i] ^ key[i % 4]; dst may be src, otherwise they do not overlap. */
void mask_copy(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t key[4]);

#endif
