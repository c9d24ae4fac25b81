/* Inflating whole messages. Where one ends up is not known before: it begins behind its predecessors in the arena,
 * moves to a fresh arena, and from there to a block that doubles, up to one byte more than a message may have. */
#include "unpack.h"

#include "assemble.h"
#include "deflate.h"
#include "inspect.h"
#include "mem.h"

#include <stdio.h>
#include <string.h>

enum { ROOM = 2048 }; /* less than this at an arena's end is not begun with */

/* The message that is being inflated. */
struct place {
  uint8_t *bytes;
  uint64_t length, capacity;
  uint64_t most; /* capacity never grows above it */
  bool block;    /* bytes is an allocation of its own; else it lies in u->arena, from u->used on */
};

static int no_memory(struct receiver *r, uint64_t bytes) {
  return receiver_fail(r, WSC_ERR_NOMEM, WSC_CLOSE_INTERNAL_ERROR, "out of memory",
                       "out of memory for a compressed message of at least %llu bytes", (unsigned long long)bytes);
}

void unpack_flush(struct unpacked *u) {
  struct wsc_batch *b = u->batch;
  if (b != NULL && b->count == 0) { /* there was no memory for its first record */
    batch_unref(b);
    b = NULL;
  }
  if (b != NULL) {
    b->base = u->arena->bytes;
    b->length = u->used;
    b->received_ns = u->received_ns;
    b->arena = u->arena;
    batch_queue_push(u->out, b);
  } else {
    arena_unref(u->arena);
  }
  u->arena = NULL;
  u->batch = NULL;
  u->used = 0;
}

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* A fresh arena, into which the start of the message moves. */
static int move_to_arena(struct unpacked *u, struct place *at) {
  struct arena *fresh = arena_get(u->r->pool);
  if (fresh == NULL) return no_memory(u->r, at->length);
  if (at->length > 0) memcpy(fresh->bytes, at->bytes, (size_t)at->length);
  unpack_flush(u);
  u->arena = fresh;
  at->bytes = fresh->bytes;
  at->capacity = smaller(ARENA_BYTES, at->most);
  return WSC_OK;
}

static int move_to_block(struct unpacked *u, struct place *at) {
  uint64_t capacity = smaller(2 * at->capacity, at->most);
  uint8_t *old = at->block ? at->bytes : NULL;
  uint8_t *bytes = capacity <= SIZE_MAX ? mem_realloc(old, (size_t)capacity) : NULL;
  if (bytes == NULL) return no_memory(u->r, at->length);
  if (old == NULL) memcpy(bytes, at->bytes, (size_t)at->length);
  *at = (struct place){bytes, at->length, capacity, at->most, true};
  return WSC_OK;
}

/* at->bytes is full, or there is none yet. */
static int more_room(struct unpacked *u, struct place *at) {
  bool fits = u->arena != NULL && ARENA_BYTES - u->used >= ROOM;
  if (at->bytes == NULL && fits) {
    at->bytes = u->arena->bytes + u->used;
    at->capacity = smaller(ARENA_BYTES - u->used, at->most);
    return WSC_OK;
  }
  if (at->bytes == NULL || (!at->block && u->used > 0)) return move_to_arena(u, at);
  return move_to_block(u, at);
}

static int too_big(struct receiver *r, size_t n) {
  unsigned long long limit = r->max_message;
  char reason[sizeof r->fault->reason];
  snprintf(reason, sizeof reason, "message of more than %llu bytes", limit);
  return receiver_fail(r, WSC_ERR_TOO_BIG, WSC_CLOSE_TOO_BIG, reason,
                       "compressed message of %zu bytes inflates to more than max_message_bytes, %llu", n, limit);
}

static int inflate_all(struct unpacked *u, const uint8_t *p, size_t n, struct place *at) {
  struct receiver *r = u->r;
  const char *why = "";
  int status;
  inflater_begin(r->inflater, p, n);
  do {
    status = more_room(u, at);
    if (status != WSC_OK) return status;
    size_t wrote;
    status = inflater_run(r->inflater, at->bytes + at->length, (size_t)(at->capacity - at->length), &wrote, &why);
    at->length += wrote;
    if (at->length > r->max_message) return too_big(r, n);
  } while (status == WSC_AGAIN);
  if (status == WSC_ERR_NOMEM) return no_memory(u->r, at->length);
  if (status != WSC_OK) {
    return receiver_fail(r, WSC_ERR_PROTOCOL, WSC_CLOSE_INVALID_PAYLOAD, "malformed compressed message",
                         "malformed compressed message of %zu bytes: %s, after %llu bytes were inflated", n, why,
                         (unsigned long long)at->length);
  }
  return WSC_OK;
}

static int add_to_batch(struct unpacked *u, const struct place *at, int type) {
  if (u->batch == NULL && (u->batch = batch_new(u->r->pool)) == NULL) return no_memory(u->r, at->length);
  if (batch_push(u->batch, u->used, (uint32_t)at->length, type) != WSC_OK) return no_memory(u->r, at->length);
  u->used += (size_t)at->length;
  return WSC_OK;
}

int unpack(struct unpacked *u, const uint8_t *p, size_t n, int type) {
  struct receiver *r = u->r;
  struct place at = {.most = r->max_message + 1};
  int status = inflate_all(u, p, n, &at);
  assemble_drop(r);
  if (status == WSC_OK && type == OPCODE_TEXT && !utf8_valid(at.bytes, (size_t)at.length))
    status = inspect_text_fault(r, (struct utf8){0}, at.bytes, (size_t)at.length, 0);
  if (status != WSC_OK) {
    if (at.block) mem_free(at.bytes);
    return status;
  }
  r->packed_bytes += n;
  r->unpacked_bytes += at.length;
  if (!at.block) return add_to_batch(u, &at, type);
  unpack_flush(u);
  r->block = at.bytes;
  r->capacity = (size_t)at.capacity;
  r->length = at.length;
  r->opcode = type;
  return assemble_finish(r, u->received_ns, u->out);
}
