/* Memory of the library: every allocation goes through here, so that users can bring an allocator and tests can make
 * any one fail. */
#ifndef WSC_MEM_H
#define WSC_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t n);            /* NULL: out of memory */
void *mem_zalloc(size_t n);           /* zeroed */
void *mem_realloc(void *p, size_t n); /* NULL: out of memory, p as it was */
void mem_free(void *p);               /* accepts NULL */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);

/* For tests. Any of them switches the bookkeeping on; call the first one before what shall be counted.
 * mem_fail_after(n): the n-th allocation from now (1: the next) fails, once; -1: off. mem_failed: whether it has.
 * mem_live: blocks allocated and not yet freed. */
void mem_fail_after(long n);
bool mem_failed(void);
long mem_live(void);

/* A growable byte buffer. {0} is an empty one. */
struct buffer {
  uint8_t *data;
  size_t length, capacity;
};
int buffer_reserve(struct buffer *b, size_t more); /* WSC_OK or WSC_ERR_NOMEM; room for `more` past length */
int buffer_append(struct buffer *b, const void *p, size_t n);
/* No trailing NUL is counted. */
int buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *b, size_t n); /* drops n bytes at the front */
void buffer_free(struct buffer *b);              /* and leaves {0} */

#endif
