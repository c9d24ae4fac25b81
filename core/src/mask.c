/* Masking. Keys come from a pool of each thread: a key by RAND_bytes costs more than sending a small message. A key
 * is wiped from its pool as it is given out, and a pool that was filled before a fork is dropped, so no key is ever
 * used twice. The payload goes by vectors of 16 bytes, long ones by 32 where the processor has AVX2. */
#include "mask.h"

#include "mem.h"
#include "os.h"
#include "wscengine/status.h"

#include <pthread.h>
#include <string.h>

enum { POOL_BYTES = 4096, WIDE_FROM = 512 };

struct pool {
  uint8_t bytes[POOL_BYTES];
  size_t left; /* the last so many bytes are unused */
  uint32_t generation;
};
THREAD_POINTER struct pool *pool;
static pthread_once_t pools_once = PTHREAD_ONCE_INIT;
static pthread_key_t pools; /* frees a thread's pool when the thread ends */
static bool pools_made;

static void drop_pool(void *mine) {
  pool = NULL;
  mem_free(mine);
}

static void make_pools(void) { pools_made = pthread_key_create(&pools, drop_pool) == 0; }

static int fill_pool(uint32_t generation) {
  if (pool == NULL) {
    pthread_once(&pools_once, make_pools);
    struct pool *mine = pools_made ? mem_zalloc(sizeof *mine) : NULL;
    if (mine == NULL || pthread_setspecific(pools, mine) != 0) {
      mem_free(mine);
      return WSC_ERR_NOMEM;
    }
    pool = mine;
  }
  pool->left = 0;
  if (os_random(pool->bytes, sizeof pool->bytes) != WSC_OK) return WSC_ERR_IO;
  pool->left = sizeof pool->bytes;
  pool->generation = generation;
  return WSC_OK;
}

int mask_key(uint8_t key[4]) {
  uint32_t generation = os_fork_generation();
  if (pool == NULL || pool->left < 4 || pool->generation != generation) {
    int r = fill_pool(generation);
    if (r) return r;
  }
  uint8_t *from = pool->bytes + sizeof pool->bytes - pool->left;
  memcpy(key, from, 4);
  memset(from, 0, 4);
  pool->left -= 4;
  return WSC_OK;
}

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
