/* Assembly. A message in one frame gets a block of its size, once, as its header has promised it and
 * max_message allows it; the kernel commits pages only as they fill. A fragmented message promises nothing: its block
 * doubles, so any number of fragments of any size costs a constant factor. */
#include "assemble.h"

#include "inspect.h"
#include "mem.h"

#include <string.h>

enum { FIRST_BLOCK = 512 };

static int no_memory(struct receiver *r, uint64_t bytes) {
  return receiver_fail(r, WSC_ERR_NOMEM, WSC_CLOSE_INTERNAL_ERROR, "out of memory",
                       "out of memory for a message of at least %llu bytes", (unsigned long long)bytes);
}

/* exact: the message will have length + more bytes and no more. */
static int reserve(struct receiver *r, uint64_t more, bool exact) {
  uint64_t needed = r->length + more, size = needed;
  if (needed <= r->capacity) return WSC_OK;
  if (!exact) {
    if (size < FIRST_BLOCK) size = FIRST_BLOCK;
    if (size < 2 * (uint64_t)r->capacity) size = 2 * (uint64_t)r->capacity;
    uint64_t limit = wire_limit(r, r->compressed); /* needed is not above it: the header was judged */
    if (size > limit) size = limit;
  }
  if (size > SIZE_MAX) return no_memory(r, needed);
  size_t capacity = (size_t)size;
  uint8_t *block =
      exact && r->block == NULL ? block_get(r->pool, capacity, &capacity) : mem_realloc(r->block, capacity);
  if (block == NULL) return no_memory(r, needed);
  r->block = block;
  r->capacity = capacity;
  return WSC_OK;
}

int assemble_add(struct receiver *r, const uint8_t *p, size_t n) {
  if (n == 0) return WSC_OK;
  int status = reserve(r, n, false);
  if (status != WSC_OK) return status;
  memcpy(r->block + r->length, p, n);
  r->length += n;
  return WSC_OK;
}

int assemble_large(struct receiver *r, const uint8_t *p, size_t n, uint64_t length, bool last) {
  int status = reserve(r, length, last);
  if (status != WSC_OK) return status;
  if (n > 0) memcpy(r->block + r->length, p, n);
  r->length += n;
  r->rest = length - n;
  r->last_frame = last;
  return WSC_OK;
}

int assemble_finish(struct receiver *r, int64_t received_ns, struct batch_queue *out) {
  struct wsc_batch *b = batch_new(r->pool);
  if (b == NULL || batch_push(b, 0, (uint32_t)r->length, r->opcode) != WSC_OK) {
    batch_unref(b);
    return no_memory(r, r->length);
  }
  if (r->length > 0) {
    uint8_t *fitting = block_fits(r->capacity, r->length) ? NULL : mem_realloc(r->block, (size_t)r->length);
    b->block = fitting != NULL ? fitting : r->block;
    b->block_size = fitting != NULL ? (size_t)r->length : r->capacity;
    b->base = b->block;
    r->block = NULL;
  }
  b->length = r->length;
  b->received_ns = received_ns;
  batch_queue_push(out, b);
  assemble_drop(r);
  return WSC_OK;
}

void assemble_drop(struct receiver *r) {
  mem_free(r->block);
  r->block = NULL;
  r->capacity = 0;
  r->length = r->rest = 0;
  r->opcode = 0;
  r->utf8.state = 0;
}
