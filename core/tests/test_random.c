/* Random bytes: never the same twice, by any thread or child, with memory for a pool and without. */
#define _GNU_SOURCE
#include "check.h"
#include "mem.h"
#include "random.h"
#include "wscengine/status.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int compare(const void *a, const void *b) { return memcmp(a, b, 4); }

enum { TAKERS = 4, EACH = 50000, ALL = TAKERS * EACH };
static uint8_t keys[ALL][4];

static void *take_many(void *from) {
  for (int i = 0; i < EACH; i++) CHECK_EQ(random_key((uint8_t *)from + 4 * i), WSC_OK);
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
  for (int i = 0; i < 8; i++) CHECK_EQ(random_key((uint8_t *)out + 4 * i), WSC_OK);
  return NULL;
}

static void threads_and_children_have_pools_of_their_own(void) {
  uint8_t here[32], there[32], child[32];
  int ends[2], status;
  pthread_t thread;
  CHECK_EQ(random_key(here), WSC_OK); /* the pool is filled when fork comes */
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

static void uuids_are_of_version_4_and_differ(void) {
  char a[37], b[37];
  CHECK_EQ(random_uuid(a), WSC_OK);
  CHECK_EQ(random_uuid(b), WSC_OK);
  CHECK(strcmp(a, b) != 0);
  CHECK_EQ(strlen(a), 36);
  CHECK_EQ(strspn(a, "0123456789abcdef-"), 36);
  CHECK(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
  CHECK_EQ(a[14], '4');
  CHECK(strchr("89ab", a[19]) != NULL);
}

/* More than a pool holds in one go, and sizes that do not divide it. */
static void any_size_is_filled(void) {
  static uint8_t out[20000];
  for (size_t n = 1; n <= sizeof out; n += n < 100 ? 1 : 1777) {
    int ones = 0;
    memset(out, 0, n);
    CHECK_EQ(random_bytes(out, n), WSC_OK);
    for (size_t i = 0; i < n; i++) ones += __builtin_popcount(out[i]);
    if (n >= 64) CHECK(ones > (int)n * 3 && ones < (int)n * 5); /* at 64 bytes sigma is 12 */
  }
}

static void *take_without_memory(void *out) {
  mem_fail_after(1);
  take_keys(out);
  CHECK(mem_failed());
  mem_fail_after(-1);
  return NULL;
}

static void no_memory_for_a_pool_is_no_want_of_bytes(void) {
  uint8_t keys_of[2][32];
  pthread_t thread;
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(pthread_create(&thread, NULL, take_without_memory, keys_of[i]), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
  }
  CHECK(memcmp(keys_of[0], keys_of[1], sizeof keys_of[0]) != 0);
}

int main(void) {
  keys_are_fresh();
  threads_and_children_have_pools_of_their_own();
  uuids_are_of_version_4_and_differ();
  any_size_is_filled();
  no_memory_for_a_pool_is_no_want_of_bytes();
  return 0;
}
