/* Random bytes by OpenSSL. What is small comes from a pool of each thread: one call of RAND_bytes costs more than sending a small message. Bytes are
 * wiped from their pool as they are given out, and a pool that was filled before a fork is dropped, so none is ever used twice. */
#include "random.h"

#include "mem.h"
#include "os.h"
#include "wscengine/status.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { POOL_BYTES = 4096, SMALL = 64 };

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

static int generate(uint8_t *out, size_t n) {
  os_crypto();
  int ok = 1;
  ERR_set_mark(); /* the error queue belongs to the thread, and the thread to the host: leave it as it was */
  while (n > 0 && ok == 1) {
    int part = n < (1 << 20) ? (int)n : 1 << 20;
    ok = RAND_bytes(out, part);
    out += part;
    n -= (size_t)part;
  }
  ERR_pop_to_mark();
  return ok == 1 ? WSC_OK : WSC_ERR_IO;
}

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
  if (generate(pool->bytes, sizeof pool->bytes) != WSC_OK) return WSC_ERR_IO;
  pool->left = sizeof pool->bytes;
  pool->generation = generation;
  return WSC_OK;
}

/* Inlined, so that a key's four bytes are one load and two stores. */
static inline int take(void *out, size_t n) {
  uint32_t generation = os_fork_generation();
  if (pool == NULL || pool->left < n || pool->generation != generation) {
    int r = fill_pool(generation);
    if (r == WSC_ERR_NOMEM) return generate(out, n); /* slower, but no worse */
    if (r != WSC_OK) return r;
  }
  uint8_t *from = pool->bytes + sizeof pool->bytes - pool->left;
  memcpy(out, from, n);
  memset(from, 0, n);
  pool->left -= n;
  return WSC_OK;
}

int random_key(uint8_t key[4]) { return take(key, 4); }

int random_bytes(void *out, size_t n) { return n <= SMALL ? take(out, n) : generate(out, n); }

int random_uuid(char out[37]) {
  static const char digits[] = "0123456789abcdef";
  uint8_t b[16];
  if (random_bytes(b, sizeof b) != WSC_OK) return WSC_ERR_IO;
  b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
  b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* RFC 4122 variant */
  char *at = out;
  for (size_t i = 0; i < sizeof b; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
    *at++ = digits[b[i] >> 4];
    *at++ = digits[b[i] & 15];
  }
  *at = 0;
  return WSC_OK;
}
