/* The allocator door: who is asked, what a failure leaves behind, and how buffers grow. */
#define _GNU_SOURCE
#include "check.h"
#include "mem.h"
#include "wscengine/base.h"
#include "wscengine/status.h"

#include <sys/wait.h>
#include <unistd.h>

static struct { int allocated, reallocated, released; } calls;

static void *counting_allocate(void *self, size_t n) {
  CHECK(self == &calls);
  calls.allocated++;
  return malloc(n);
}

static void *counting_reallocate(void *self, void *p, size_t n) {
  CHECK(self == &calls);
  calls.reallocated++;
  return realloc(p, n);
}

static void counting_release(void *self, void *p) {
  CHECK(self == &calls);
  calls.released++;
  free(p);
}

static wsc_allocator counting(void) {
  return (wsc_allocator){.struct_size = sizeof(wsc_allocator),
                         .allocate = counting_allocate,
                         .reallocate = counting_reallocate,
                         .release = counting_release,
                         .self = &calls};
}

/* Each of these needs a process in which nothing has been allocated yet. */
static void in_a_child(void (*body)(void)) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    body();
    exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

static void a_users_allocator_serves_everything(void) {
  wsc_allocator a = counting();
  CHECK_EQ(wsc_set_allocator(&a), WSC_OK);
  memset(&a, 0, sizeof a); /* it was copied */
  void *p = mem_alloc(10), *q = mem_zalloc(10), *r = mem_realloc(NULL, 5);
  CHECK(p != NULL && q != NULL && r != NULL);
  p = mem_realloc(p, 100);
  mem_free(p);
  mem_free(q);
  mem_free(r);
  mem_free(NULL);
  CHECK_EQ(calls.allocated, 3);
  CHECK_EQ(calls.reallocated, 1);
  CHECK_EQ(calls.released, 3);
}

static void the_allocator_is_settled_by_the_first_allocation(void) {
  wsc_allocator a = counting();
  CHECK_EQ(wsc_set_allocator(&a), WSC_OK);
  CHECK_EQ(wsc_set_allocator(NULL), WSC_OK); /* back to libc, nothing happened yet */
  mem_free(mem_alloc(1));
  CHECK_EQ(calls.allocated, 0);
  CHECK_EQ(wsc_set_allocator(&a), WSC_ERR_STATE);
  CHECK_EQ(wsc_set_allocator(NULL), WSC_ERR_STATE);
}

static void an_allocator_with_holes_is_refused(void) {
  wsc_allocator a = counting();
  a.allocate = NULL;
  CHECK_EQ(wsc_set_allocator(&a), WSC_ERR_INVALID);
  a = counting();
  a.reallocate = NULL;
  CHECK_EQ(wsc_set_allocator(&a), WSC_ERR_INVALID);
  a = counting();
  a.release = NULL;
  CHECK_EQ(wsc_set_allocator(&a), WSC_ERR_INVALID);
  a = counting();
  a.struct_size = sizeof a - 1;
  CHECK_EQ(wsc_set_allocator(&a), WSC_ERR_INVALID);
  a = counting();
  a.flags = 1;
  CHECK_EQ(wsc_set_allocator(&a), WSC_ERR_INVALID);
  mem_free(mem_alloc(1));
  CHECK_EQ(calls.allocated, 0);
}

static void live_blocks_are_counted(void) {
  long before = mem_live();
  void *p = mem_alloc(0), *q = mem_alloc(7);
  char *s = mem_strdup("text");
  CHECK(p != NULL); /* also of nothing */
  CHECK_EQ(mem_live(), before + 3);
  q = mem_realloc(q, 70);
  CHECK_EQ(mem_live(), before + 3);
  mem_free(p);
  mem_free(q);
  mem_free(s);
  CHECK_EQ(mem_live(), before);
}

static void the_nth_allocation_fails_once(void) {
  long before = mem_live();
  mem_fail_after(2);
  void *p = mem_alloc(1);
  CHECK(p != NULL && !mem_failed());
  CHECK(mem_realloc(p, 10) == NULL); /* p as it was */
  CHECK(mem_failed());
  p = mem_realloc(p, 10);
  CHECK(p != NULL);
  mem_free(p);
  CHECK_EQ(mem_live(), before);
  mem_fail_after(1);
  CHECK(mem_strdup("x") == NULL);
  mem_fail_after(-1);
  CHECK(!mem_failed());
  for (int i = 0; i < 10; i++) mem_free(mem_zalloc(3));
  CHECK(!mem_failed());
}

static void strings_are_copied(void) {
  char *s = mem_strndup("abcdef", 3), *whole = mem_strndup("ab", 10), *empty = mem_strdup("");
  CHECK_STR(s, "abc");
  CHECK_STR(whole, "ab");
  CHECK_STR(empty, "");
  mem_free(s);
  mem_free(whole);
  mem_free(empty);
  uint8_t *zeros = mem_zalloc(1000);
  for (int i = 0; i < 1000; i++) CHECK_EQ(zeros[i], 0);
  mem_free(zeros);
}

static void a_buffer_grows_and_shrinks(void) {
  struct buffer b = {0};
  CHECK_EQ(buffer_append(&b, NULL, 0), WSC_OK);
  CHECK(b.data == NULL);
  for (int i = 0; i < 1000; i++) CHECK_EQ(buffer_printf(&b, "%d,", i), WSC_OK);
  CHECK_BYTES(b.data, "0,1,2,3,", 8);
  CHECK_EQ(b.length, 10 * 2 + 90 * 3 + 900 * 4);
  buffer_consume(&b, b.length - 4);
  CHECK_EQ(b.length, 4);
  CHECK_BYTES(b.data, "999,", 4);
  buffer_consume(&b, 100);
  CHECK_EQ(b.length, 0);
  buffer_free(&b);
  CHECK(b.data == NULL && b.capacity == 0);
}

static void a_buffer_survives_failure(void) {
  struct buffer b = {0};
  CHECK_EQ(buffer_append(&b, "abc", 3), WSC_OK);
  CHECK_EQ(buffer_reserve(&b, SIZE_MAX), WSC_ERR_NOMEM);
  CHECK_EQ(buffer_reserve(&b, SIZE_MAX - 2), WSC_ERR_NOMEM);
  mem_fail_after(1);
  CHECK_EQ(buffer_reserve(&b, 10000), WSC_ERR_NOMEM);
  mem_fail_after(-1);
  CHECK_EQ(b.length, 3);
  CHECK_BYTES(b.data, "abc", 3);
  CHECK_EQ(buffer_reserve(&b, 10000), WSC_OK);
  CHECK(b.capacity >= 10003);
  CHECK_BYTES(b.data, "abc", 3);
  buffer_free(&b);
}

int main(void) {
  in_a_child(a_users_allocator_serves_everything);
  in_a_child(the_allocator_is_settled_by_the_first_allocation);
  in_a_child(an_allocator_with_holes_is_refused);
  long before = mem_live();
  live_blocks_are_counted();
  the_nth_allocation_fails_once();
  strings_are_copied();
  a_buffer_grows_and_shrinks();
  a_buffer_survives_failure();
  CHECK_EQ(mem_live(), before);
  return 0;
}
