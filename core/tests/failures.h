/* Want of memory at every place of a life, one after the other. A life is a function that makes something, uses it and gives it
 * back, and takes every status that `failure_told` takes; it must leave no block of the library behind, whatever failed (OpenSSL's are for LeakSanitizer: ci/sanitize).
 *
 *   failures_in_library(life)   the n-th allocation of the library fails, for n = 1, 2, 3 ... until lives pass without one
 *   failures_in_openssl(life)   the same of OpenSSL's; first of all, before OpenSSL is used, failures_watch_openssl() */
#ifndef WSC_FAILURES_H
#define WSC_FAILURES_H

#include "check.h"
#include "random.h"
#include "mem.h"
#include "os.h"
#include "wscengine.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <unistd.h>

static long failures_life; /* which one it is, for messages */

/* What a call may say when memory or fds are short, and that its error says the same. Never a timeout: that would be a hang that was cut. */
static inline void failure_told(const char *file, int line, int status, wsc_error *e) {
  static const int may[] = {WSC_OK,      WSC_STOPPED,       WSC_ERR_NOMEM, WSC_ERR_IO,   WSC_ERR_CLOSED,
                            WSC_ERR_TLS, WSC_ERR_HANDSHAKE, WSC_ERR_STATE, WSC_ERR_PROXY};
  bool known = false;
  for (size_t i = 0; i < sizeof may / sizeof *may; i++) known |= status == may[i];
  bool told = status == WSC_OK || !e || (wsc_error_status(e) == status && *wsc_error_message(e));
  if (!known || !told) {
    fprintf(stderr, "%s:%d: life %ld: %s, error %s: %s\n", file, line, failures_life, wsc_status_name(status),
            wsc_status_name(wsc_error_status(e)), wsc_error_message(e));
    exit(1);
  }
  wsc_error_unref(e);
}
#define TOLD(status, error) failure_told(__FILE__, __LINE__, status, error)

/* ---- OpenSSL's memory ---- */

static _Atomic long openssl_countdown = -1;
static _Atomic bool openssl_failed;

static inline bool openssl_refused(void) {
  if (openssl_countdown <= 0 || atomic_fetch_sub(&openssl_countdown, 1) != 1) return false;
  openssl_failed = true;
  return true;
}

static inline void *openssl_realloc(void *p, size_t n, const char *file, int line) {
  (void)file, (void)line;
  if (n > 0) return openssl_refused() ? NULL : realloc(p, n);
  free(p);
  return NULL;
}

static inline void *openssl_malloc(size_t n, const char *file, int line) {
  return openssl_realloc(NULL, n, file, line);
}

static inline void openssl_free(void *p, const char *file, int line) { openssl_realloc(p, 0, file, line); }

static inline void failures_watch_openssl(void) {
  CHECK_EQ(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free), 1);
}

/* ---- one failure after the other ---- */

/* The last references may be dropped by a thread of the library. */
static inline void failures_given_back(long before) {
  int64_t until = wsc_now_ns() + 20 * NS_PER_S;
  while (mem_live() != before && wsc_now_ns() < until) usleep(200);
  if (mem_live() != before) fprintf(stderr, "life %ld:\n", failures_life);
  CHECK_EQ(mem_live(), before);
}

static inline void openssl_fail_after(long n) {
  openssl_failed = false;
  openssl_countdown = n;
}
static inline bool openssl_has_failed(void) { return openssl_failed; }

static inline long failures_of(void (*life)(void), void (*fail_after)(long), bool (*failed)(void), long step) {
  uint8_t key[4];
  mem_fail_after(-1);
  CHECK_EQ(random_key(key), WSC_OK); /* this thread's supply of keys is its own until it ends */
  long before = mem_live();
  life();
  failures_given_back(before);
  int clean = 0;
  for (failures_life = 1; clean < 5;
       failures_life += step) { /* how many there are varies a little with the threads' turns */
    fail_after(failures_life);
    life();
    clean = failed() ? 0 : clean + 1;
    fail_after(-1);
    failures_given_back(before);
  }
  life();
  failures_given_back(before);
  return failures_life;
}

static inline long failures_in_library(void (*life)(void)) { return failures_of(life, mem_fail_after, mem_failed, 1); }
static inline long failures_in_openssl(void (*life)(void), long step) {
  return failures_of(life, openssl_fail_after, openssl_has_failed, step);
}

#endif
