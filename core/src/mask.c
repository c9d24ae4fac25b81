/* Masking by vectors of 16 bytes, long payloads by 32 where the processor has AVX2. */
#include "mask.h"

#include <string.h>

enum { WIDE_FROM = 512 };

/* Of any alignment and over any type, so that a plain load and store is all that is left of them. */
typedef uint64_t vector16 __attribute__((vector_size(16), aligned(1), may_alias));

/* Whole vectors only; how many bytes that were. Each is read before it is written, so dst may be src. */
static inline size_t mask_16(uint8_t *dst, const uint8_t *src, size_t n, uint64_t key) {
  const vector16 k = {key, key};
  size_t i = 0;
  for (; n - i >= 64; i += 64) {
    const vector16 *from = (const vector16 *)(src + i);
    vector16 *to = (vector16 *)(dst + i);
    to[0] = from[0] ^ k;
    to[1] = from[1] ^ k;
    to[2] = from[2] ^ k;
    to[3] = from[3] ^ k;
  }
  for (; n - i >= 16; i += 16) *(vector16 *)(dst + i) = *(const vector16 *)(src + i) ^ k;
  return i;
}

#if defined(__x86_64__)
typedef uint64_t vector32 __attribute__((vector_size(32), aligned(1), may_alias));

__attribute__((target("avx2"))) static size_t mask_32(uint8_t *dst, const uint8_t *src, size_t n, uint64_t key) {
  const vector32 k = {key, key, key, key};
  size_t i = 0;
  for (; n - i >= 128; i += 128) {
    const vector32 *from = (const vector32 *)(src + i);
    vector32 *to = (vector32 *)(dst + i);
    to[0] = from[0] ^ k;
    to[1] = from[1] ^ k;
    to[2] = from[2] ^ k;
    to[3] = from[3] ^ k;
  }
  return i;
}
#endif

void mask_copy(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t key[4]) {
  uint32_t k4;
  memcpy(&k4, key, 4);
  const uint64_t k8 = k4 * UINT64_C(0x100000001);

  /* Every step below is a multiple of 4 bytes but the last, so the key stays in step. */
  size_t i = 0;
#if defined(__x86_64__)
  if (n >= WIDE_FROM && __builtin_cpu_supports("avx2")) i = mask_32(dst, src, n, k8);
#endif
  if (n - i >= 16) i += mask_16(dst + i, src + i, n - i, k8);
  if (n - i >= 8) {
    uint64_t v;
    memcpy(&v, src + i, 8);
    v ^= k8;
    memcpy(dst + i, &v, 8);
    i += 8;
  }
  if (n - i >= 4) {
    uint32_t v;
    memcpy(&v, src + i, 4);
    v ^= k4;
    memcpy(dst + i, &v, 4);
    i += 4;
  }
  for (; i < n; i++) dst[i] = src[i] ^ key[i & 3];
}
