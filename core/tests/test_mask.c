/* Masking against its definition, byte by byte; keys never given out twice. */
#define _GNU_SOURCE
#include "check.h"
#include "mask.h"
#include "wscengine/status.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUARD = 0xa5 };
static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
static uint8_t source[8192], room[8192];

static void check_copy(size_t n, size_t from, size_t to) {
  memset(room, GUARD, sizeof room);
  mask_copy(room + to, source + from, n, key);
  for (size_t i = 0; i < n; i++) CHECK_EQ(room[to + i], source[from + i] ^ key[i % 4]);
  for (size_t i = 0; i < to; i++) CHECK_EQ(room[i], GUARD);
  for (size_t i = to + n; i < to + n + 64; i++) CHECK_EQ(room[i], GUARD);
  memcpy(room + to, source + from, n); /* and in place */
  mask_copy(room + to, room + to, n, key);
  for (size_t i = 0; i < n; i++) CHECK_EQ(room[to + i], source[from + i] ^ key[i % 4]);
}

static void every_length_and_alignment(void) {
  for (size_t n = 0; n <= 200; n++) {
    for (size_t from = 0; from < 16; from++) check_copy(n, from, (from * 5 + n) % 16);
    for (size_t to = 0; to < 16; to++) check_copy(n, (to * 3 + 1) % 16, to);
  }
}

static void long_payloads(void) {
  for (size_t n = 490; n <= 800; n++) check_copy(n, n % 33, n % 31);
  for (size_t n = 4000; n <= 4200; n += 7) check_copy(n, n % 33, n % 31);
}

static int compare(const void *a, const void *b) { return memcmp(a, b, 4); }

enum { TAKERS = 4, EACH = 50000, ALL = TAKERS * EACH };
static uint8_t keys[ALL][4];

static void *take_many(void *from) {
  for (int i = 0; i < EACH; i++) CHECK_EQ(mask_key((uint8_t *)from + 4 * i), WSC_OK);
  return NULL;
}

/* Many pools' worth, by threads at once. Chance alone makes 5 pairs of equal keys out of so many, and not 50 in the
 * life of the universe; a pool that is given out twice, or shared between threads, makes thousands. */
static void keys_are_fresh(void) {
  pthread_t threads[TAKERS];
  int pairs = 0, bits = 0;
  for (int t = 0; t < TAKERS; t++) CHECK_EQ(pthread_create(&threads[t], NULL, take_many, keys + t * EACH), 0);
  for (int t = 0; t < TAKERS; t++) CHECK_EQ(pthread_join(threads[t], NULL), 0);
  for (int i = 0; i < ALL; i++) {
    for (int b = 0; b < 4; b++) bits += __builtin_popcount(keys[i][b]);
  }
  CHECK(bits > 16 * ALL - 20000 && bits < 16 * ALL + 20000); /* sigma is 1265 */
  qsort(keys, ALL, 4, compare);
  for (int i = 1; i < ALL; i++) pairs += memcmp(keys[i - 1], keys[i], 4) == 0;
  CHECK(pairs < 50);
}

static void *take_keys(void *out) {
  for (int i = 0; i < 8; i++) CHECK_EQ(mask_key((uint8_t *)out + 4 * i), WSC_OK);
  return NULL;
}

static void threads_and_children_have_pools_of_their_own(void) {
  uint8_t here[32], there[32], child[32];
  int ends[2], status;
  pthread_t thread;
  CHECK_EQ(mask_key(here), WSC_OK); /* the pool is filled when fork comes */
  CHECK_EQ(pipe(ends), 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    take_keys(child);
    _exit(write(ends[1], child, sizeof child) == sizeof child ? 0 : 1);
  }
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
  CHECK_EQ(read(ends[0], child, sizeof child), sizeof child);
  take_keys(here);
  CHECK_EQ(pthread_create(&thread, NULL, take_keys, there), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK(memcmp(here, child, sizeof here) != 0);
  CHECK(memcmp(here, there, sizeof here) != 0);
  close(ends[0]);
  close(ends[1]);
}

int main(void) {
  for (size_t i = 0; i < sizeof source; i++) source[i] = (uint8_t)(i * 131 + (i >> 8));
  every_length_and_alignment();
  long_payloads();
  keys_are_fresh();
  threads_and_children_have_pools_of_their_own();
  return 0;
}
