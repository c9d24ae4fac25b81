/* The one door to memory. The allocator is chosen before the first allocation and never changes after it, so a block is
 * always given back to whom it came from. The tests' bookkeeping costs nothing while it is off: one word says that
 * allocating is as usual. */
#include "mem.h"
#include "sized.h"

#include "wscengine/base.h"
#include "wscengine/status.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USED = 1, WATCHED = 2 };

static _Atomic unsigned mode; /* USED: the allocator is settled; WATCHED: tests look on */
static _Atomic long countdown = -1, live;
static _Atomic bool failed;

static void *libc_allocate(void *self, size_t n) {
  (void)self;
  return malloc(n);
}

static void *libc_reallocate(void *self, void *p, size_t n) {
  (void)self;
  return realloc(p, n);
}

static void libc_release(void *self, void *p) {
  (void)self;
  free(p);
}

static const wsc_allocator libc_allocator = {.struct_size = sizeof(wsc_allocator),
                                             .allocate = libc_allocate,
                                             .reallocate = libc_reallocate,
                                             .release = libc_release};
static wsc_allocator allocator = {.struct_size = sizeof(wsc_allocator),
                                  .allocate = libc_allocate,
                                  .reallocate = libc_reallocate,
                                  .release = libc_release};

int wsc_set_allocator(const wsc_allocator *a) {
  if ((atomic_load(&mode) & USED) != 0) return WSC_ERR_STATE;
  if (a == NULL) {
    allocator = libc_allocator;
    return WSC_OK;
  }
  if (a->struct_size < FIRST_ALLOCATOR || a->flags != 0) return WSC_ERR_INVALID;
  if (a->allocate == NULL || a->reallocate == NULL || a->release == NULL) return WSC_ERR_INVALID;
  sized_read(&allocator, sizeof allocator, a);
  return WSC_OK;
}

/* The way of every allocation that is not as usual: the first one, and all of them under test. False: it has to
 * fail. */
static bool admitted(void) {
  unsigned before = atomic_fetch_or(&mode, USED);
  if ((before & WATCHED) == 0) return true;
  if (atomic_load(&countdown) <= 0 || atomic_fetch_sub(&countdown, 1) != 1) return true;
  atomic_store(&failed, true);
  return false;
}

static bool usual(void) { return atomic_load_explicit(&mode, memory_order_relaxed) == USED; }

static void count(long blocks) {
  if ((atomic_load_explicit(&mode, memory_order_relaxed) & WATCHED) == 0) return;
  atomic_fetch_add_explicit(&live, blocks, memory_order_relaxed);
}

void *mem_alloc(size_t n) {
  if (!usual() && !admitted()) return NULL;
  void *p = allocator.allocate(allocator.self, n != 0 ? n : 1);
  if (p != NULL) count(1);
  return p;
}

void *mem_zalloc(size_t n) {
  void *p = mem_alloc(n);
  return p != NULL ? memset(p, 0, n) : NULL;
}

void *mem_realloc(void *p, size_t n) {
  if (p == NULL) return mem_alloc(n);
  if (!usual() && !admitted()) return NULL;
  return allocator.reallocate(allocator.self, p, n != 0 ? n : 1);
}

void mem_free(void *p) {
  if (p == NULL) return;
  allocator.release(allocator.self, p);
  count(-1);
}

static char *duplicate(const char *s, size_t length) {
  char *copy = mem_alloc(length + 1);
  if (copy == NULL) return NULL;
  memcpy(copy, s, length);
  copy[length] = 0;
  return copy;
}

char *mem_strdup(const char *s) { return duplicate(s, strlen(s)); }
char *mem_strndup(const char *s, size_t n) { return duplicate(s, strnlen(s, n)); }

void mem_fail_after(long n) {
  atomic_store(&failed, false);
  atomic_store(&countdown, n > 0 ? n : -1);
  atomic_fetch_or(&mode, WATCHED);
}

bool mem_failed(void) { return atomic_load(&failed); }

long mem_live(void) {
  atomic_fetch_or(&mode, WATCHED);
  return atomic_load(&live);
}

int buffer_reserve(struct buffer *b, size_t more) {
  if (more <= b->capacity - b->length) return WSC_OK;
  if (more > SIZE_MAX / 2 - b->length) return WSC_ERR_NOMEM;
  size_t capacity = b->capacity < SIZE_MAX / 4 ? b->capacity * 2 : b->capacity;
  if (capacity < b->length + more) capacity = b->length + more;
  if (capacity < 64) capacity = 64;
  uint8_t *data = mem_realloc(b->data, capacity);
  if (data == NULL) return WSC_ERR_NOMEM;
  b->data = data;
  b->capacity = capacity;
  return WSC_OK;
}

int buffer_append(struct buffer *b, const void *p, size_t n) {
  if (n == 0) return WSC_OK;
  if (buffer_reserve(b, n) != WSC_OK) return WSC_ERR_NOMEM;
  memcpy(b->data + b->length, p, n);
  b->length += n;
  return WSC_OK;
}

int buffer_printf(struct buffer *b, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (n < 0 || buffer_reserve(b, (size_t)n + 1) != WSC_OK) return WSC_ERR_NOMEM;
  va_start(arguments, format);
  vsnprintf((char *)b->data + b->length, (size_t)n + 1, format, arguments);
  va_end(arguments);
  b->length += (size_t)n;
  return WSC_OK;
}

void buffer_consume(struct buffer *b, size_t n) {
  if (n >= b->length) {
    b->length = 0;
    return;
  }
  memmove(b->data, b->data + n, b->length - n);
  b->length -= n;
}

void buffer_free(struct buffer *b) {
  mem_free(b->data);
  *b = (struct buffer){0};
}
