/* Batches and the pool they and their arenas come from.
 *
 * - An arena's bytes that a record of a batch refers to do not change until the batch is gone; who receives into an
 *   arena writes only behind them. refs == 1 seen by that receiver therefore means: all of the arena is its own again.
 * - The pool keeps a handful of each kind and no shell with a very long record array: a burst does not stay in
 *   memory. It is locked once for an arena and once for a batch that comes or goes, never for a message.
 * - It keeps one block of a large message too, until LARGE_UNUSED arenas have been taken without it: an allocator gives such memory back to the system
 *   as soon as it is free, and paging it in anew costs more than to receive the next message into it.
 * - Every arena and every shell of a pool holds a reference on it: who keeps a batch may let go of it when the loop is long gone, and in a forked child,
 *   where the lock may be held for ever by a thread that does not exist. */
#include "batch.h"

#include "decode.h"
#include "mem.h"
#include "os.h"
#include "utf8.h"
#include "wscengine/adapter.h"

#include <string.h>

enum { POOL_ARENAS = 3, POOL_SHELLS = 8, SHELL_RECORDS = 4096, FIRST_RECORDS = 32 };
enum { LARGE_LEAST = 128 << 10, LARGE_MOST = 4 << 20, LARGE_UNUSED = 8 };

struct arena_pool {
  atomic_uint refs; /* the owner's, and one of each arena and shell there is, in use or kept */
  uint32_t generation;
  bool closed; /* keeps nothing more */
  pthread_mutex_t lock;
  struct arena *arenas;
  struct wsc_batch *shells;
  unsigned arena_count, shell_count;
  uint8_t *block; /* of a large message; NULL: none is kept */
  size_t block_size;
  unsigned block_unused; /* arenas taken since it was kept */
};

struct arena_pool *arena_pool_new(void) {
  struct arena_pool *p = mem_zalloc(sizeof *p);
  if (p == NULL) return NULL;
  if (pthread_mutex_init(&p->lock, NULL) != 0) {
    mem_free(p);
    return NULL;
  }
  atomic_init(&p->refs, 1);
  p->generation = os_fork_generation();
  return p;
}

/* True for the last one; everything its users did to it has happened then. */
static bool last_reference(atomic_uint *refs) { return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1; }

static void pool_ref(struct arena_pool *p) {
  if (p != NULL) atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

static void pool_unref(struct arena_pool *p) {
  if (p == NULL || !last_reference(&p->refs)) return;
  pthread_mutex_destroy(&p->lock);
  mem_free(p);
}

static void arena_destroy(struct arena *a) {
  if (a == NULL) return;
  pool_unref(a->pool);
  decoder_free(a->decoder);
  mem_free(a);
}

static void shell_destroy(struct wsc_batch *b) {
  if (b == NULL) return;
  pool_unref(b->pool);
  mem_free(b->block);
  mem_free(b->records);
  mem_free(b);
}

void arena_pool_free(struct arena_pool *p) {
  if (p == NULL) return;
  pthread_mutex_lock(&p->lock);
  p->closed = true;
  struct arena *arenas = p->arenas;
  struct wsc_batch *shells = p->shells;
  uint8_t *block = p->block;
  pthread_mutex_unlock(&p->lock);
  for (struct arena *a = arenas, *next; a != NULL; a = next) {
    next = a->next;
    arena_destroy(a);
  }
  for (struct wsc_batch *b = shells, *next; b != NULL; b = next) {
    next = b->next;
    shell_destroy(b);
  }
  mem_free(block);
  pool_unref(p);
}

/* Takes back what nobody refers to any more; either may be NULL. A batch's block comes with it. */
static void pool_keep(struct arena_pool *p, struct arena *a, struct wsc_batch *b) {
  if (p->generation != os_fork_generation()) {
    arena_destroy(a);
    shell_destroy(b);
    return;
  }
  uint8_t *block = b != NULL ? b->block : NULL;
  pthread_mutex_lock(&p->lock);
  if (block != NULL && p->block == NULL && !p->closed && b->block_size >= LARGE_LEAST && b->block_size <= LARGE_MOST) {
    p->block = block;
    p->block_size = b->block_size;
    p->block_unused = 0;
    block = NULL;
  }
  if (b != NULL) b->block = NULL;
  if (a != NULL && p->arena_count < POOL_ARENAS && !p->closed) {
    a->next = p->arenas;
    p->arenas = a;
    p->arena_count++;
    a = NULL;
  }
  if (b != NULL && p->shell_count < POOL_SHELLS && !p->closed) {
    b->next = p->shells;
    p->shells = b;
    p->shell_count++;
    b = NULL;
  }
  pthread_mutex_unlock(&p->lock);
  mem_free(block);
  arena_destroy(a);
  shell_destroy(b);
}

uint8_t *block_get(struct arena_pool *p, size_t size, size_t *capacity) {
  uint8_t *block = NULL;
  *capacity = size;
  if (size >= LARGE_LEAST) {
    pthread_mutex_lock(&p->lock);
    if (p->block != NULL && block_fits(p->block_size, size)) {
      block = p->block;
      *capacity = p->block_size;
      p->block = NULL;
    }
    pthread_mutex_unlock(&p->lock);
  }
  return block != NULL ? block : mem_alloc(size);
}

struct arena *arena_get(struct arena_pool *p) {
  pthread_mutex_lock(&p->lock);
  struct arena *a = p->arenas;
  if (a != NULL) {
    p->arenas = a->next;
    p->arena_count--;
  }
  uint8_t *unused = p->block != NULL && ++p->block_unused > LARGE_UNUSED ? p->block : NULL;
  if (unused != NULL) p->block = NULL;
  pthread_mutex_unlock(&p->lock);
  mem_free(unused);
  if (a == NULL) {
    a = mem_alloc(sizeof *a + ARENA_BYTES);
    if (a == NULL) return NULL;
    a->decoder = NULL;
    a->pool = p;
    pool_ref(p);
  }
  atomic_init(&a->refs, 1);
  a->next = NULL;
  return a;
}

void arena_ref(struct arena *a) { atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed); }

void arena_unref(struct arena *a) {
  if (a != NULL && last_reference(&a->refs)) pool_keep(a->pool, a, NULL);
}

struct wsc_batch *batch_new(struct arena_pool *p) {
  struct wsc_batch *b = NULL;
  if (p != NULL) {
    pthread_mutex_lock(&p->lock);
    b = p->shells;
    if (b != NULL) {
      p->shells = b->next;
      p->shell_count--;
    }
    pthread_mutex_unlock(&p->lock);
  }
  if (b == NULL) {
    b = mem_alloc(sizeof *b);
    if (b == NULL) return NULL;
    b->records = NULL;
    b->capacity = 0;
    pool_ref(p);
  }
  wsc_record *records = b->records;
  uint32_t capacity = b->capacity;
  memset(b, 0, sizeof *b);
  b->records = records;
  b->capacity = capacity;
  b->pool = p;
  b->base = (const uint8_t *)"";
  atomic_init(&b->refs, 1);
  return b;
}

int batch_push(struct wsc_batch *b, uint64_t offset, uint32_t length, int type) {
  if (b->count == b->capacity) {
    if (b->capacity > UINT32_MAX / 2) return WSC_ERR_NOMEM;
    uint32_t capacity = b->capacity == 0 ? FIRST_RECORDS : b->capacity * 2;
    wsc_record *records = mem_realloc(b->records, capacity * sizeof *records);
    if (records == NULL) return WSC_ERR_NOMEM;
    b->records = records;
    b->capacity = capacity;
  }
  b->records[b->count++] = (wsc_record){.offset = offset, .length = length, .type = (uint16_t)type};
  b->payload += length;
  return WSC_OK;
}

static int add(struct wsc_batch *b, int type, const uint8_t *p, size_t n) {
  struct batch_room *room = b->room;
  if (type != WSC_TEXT && type != WSC_BINARY) return WSC_ERR_INVALID;
  if (p == NULL && n > 0) return WSC_ERR_INVALID;
  if (n > room->limit || n > UINT32_MAX) return WSC_ERR_TOO_BIG;
  if (type == WSC_TEXT && !utf8_valid(p, n)) return WSC_ERR_INVALID;
  if (n > room->capacity - b->length) {
    uint64_t capacity = b->length + n < 2 * room->capacity ? 2 * room->capacity : b->length + n;
    uint8_t *block = mem_realloc(b->block, (size_t)capacity);
    if (block == NULL) return WSC_ERR_NOMEM;
    b->base = b->block = block;
    room->capacity = capacity;
  }
  if (batch_push(b, b->length, (uint32_t)n, type) != WSC_OK) return WSC_ERR_NOMEM;
  if (n > 0) memcpy(b->block + b->length, p, n);
  b->length += n;
  return WSC_OK;
}

int wsc_batch_add(wsc_batch *b, int type, const uint8_t *p, size_t n) {
  if (b == NULL) return WSC_ERR_INVALID;
  if (b->room == NULL) return WSC_ERR_STATE;
  int status = add(b, type, p, n);
  if (status != WSC_OK && b->room->status == WSC_OK) {
    b->room->status = status;
    b->room->refused = n;
  }
  return status;
}

struct wsc_batch *batch_ref(struct wsc_batch *b) {
  atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
  return b;
}

void batch_unref(struct wsc_batch *b) {
  if (b == NULL || !last_reference(&b->refs)) return;
  mem_free(b->packed);
  batch_unref(b->parent);
  b->packed = NULL;
  b->parent = NULL;
  struct arena *a = b->arena;
  if (a != NULL && !last_reference(&a->refs)) a = NULL;
  if (a != NULL && a->pool != b->pool) {
    pool_keep(a->pool, a, NULL);
    a = NULL;
  }
  if (b->capacity > SHELL_RECORDS) {
    mem_free(b->records);
    b->records = NULL;
    b->capacity = 0;
  }
  if (b->pool != NULL) {
    pool_keep(b->pool, a, b);
  } else {
    shell_destroy(b);
  }
}

static uint64_t untaken_payload(const struct wsc_batch *b) {
  if (b->taken == 0) return b->payload;
  uint64_t sum = 0;
  for (uint32_t i = b->taken; i < b->count; i++) sum += b->records[i].length;
  return sum;
}

int batch_compact(struct wsc_batch *b) {
  uint32_t count = b->count - b->taken;
  uint64_t bytes = untaken_payload(b);
  /* a large message in its own block: only the records may shrink */
  if (b->block != NULL && bytes == b->length && b->taken == 0) {
    wsc_record *fewer = count > 0 && count < b->capacity ? mem_realloc(b->records, count * sizeof *fewer) : NULL;
    if (fewer != NULL) {
      b->records = fewer;
      b->capacity = count;
    }
    return WSC_OK;
  }

  uint8_t *block = NULL;
  wsc_record *records = NULL;
  if (bytes > SIZE_MAX) return WSC_ERR_NOMEM;
  if (bytes > 0 && (block = mem_alloc((size_t)bytes)) == NULL) goto fail;
  if (count > 0 && (records = mem_alloc(count * sizeof *records)) == NULL) goto fail;

  uint64_t at = 0;
  for (uint32_t i = 0; i < count; i++) {
    records[i] = b->records[b->taken + i];
    if (records[i].length > 0) memcpy(block + at, b->base + records[i].offset, records[i].length);
    records[i].offset = at;
    at += records[i].length;
  }
  arena_unref(b->arena);
  batch_unref(b->parent);
  mem_free(b->block);
  mem_free(b->records);
  b->arena = NULL;
  b->parent = NULL;
  b->block = block;
  b->block_size = (size_t)bytes;
  b->base = block != NULL ? block : (const uint8_t *)"";
  b->records = records;
  b->count = b->capacity = count;
  b->taken = 0;
  b->length = b->payload = bytes;
  return WSC_OK;

fail:
  mem_free(block);
  return WSC_ERR_NOMEM;
}

struct wsc_batch *batch_rest(struct wsc_batch *b, uint32_t from) {
  struct wsc_batch *rest = batch_new(b->pool);
  if (rest == NULL) return NULL;
  for (uint32_t i = from; i < b->count; i++) {
    const wsc_record *r = &b->records[i];
    if (batch_push(rest, r->offset, r->length, r->type) == WSC_OK) continue;
    batch_unref(rest);
    return NULL;
  }
  rest->base = b->base;
  rest->length = b->length;
  rest->received_ns = b->received_ns;
  if (b->arena != NULL) arena_ref(rest->arena = b->arena);
  else rest->parent = batch_ref(b->parent != NULL ? b->parent : b);
  return rest;
}

int batch_message(const struct wsc_batch *b, uint32_t index, wsc_message *out) {
  const wsc_record *r = &b->records[index];
  uint8_t *copy = mem_alloc((size_t)r->length + 1);
  if (copy == NULL) return WSC_ERR_NOMEM;
  if (r->length > 0) memcpy(copy, b->base + r->offset, r->length);
  copy[r->length] = 0; /* handy in a debugger; not promised */
  *out = (wsc_message){.struct_size = sizeof *out,
                       .type = r->type,
                       .data = copy,
                       .length = r->length,
                       .received_ns = b->received_ns,
                       .owner = copy};
  return WSC_OK;
}

bool batch_pack(struct wsc_batch *b, uint8_t *to, size_t capacity, uint64_t *length) {
  uint32_t count = b->count - b->taken;
  if (untaken_payload(b) > capacity) return false;
  if (b->packed == NULL && (b->packed = mem_alloc(count * sizeof *b->packed)) == NULL) return false;
  uint64_t at = 0;
  for (uint32_t i = 0; i < count; i++) {
    wsc_record *r = &b->packed[i];
    *r = b->records[b->taken + i];
    if (r->length > 0) memcpy(to + at, b->base + r->offset, r->length);
    r->offset = at;
    at += r->length;
  }
  *length = at;
  return true;
}

/* An arena that several batches share is counted for each of them: rather too much than too little. */
uint64_t batch_cost(const struct wsc_batch *b) {
  uint64_t cost = sizeof *b + (uint64_t)b->capacity * sizeof *b->records;
  if (b->arena != NULL) cost += sizeof *b->arena + ARENA_BYTES + (b->arena->decoder != NULL ? DECODER_BYTES : 0);
  if (b->block != NULL || b->parent != NULL) cost += b->length; /* a parent's block has as many */
  return cost;
}

bool batch_wasteful(const struct wsc_batch *b) {
  uint64_t needed = sizeof *b + (uint64_t)(b->count - b->taken) * sizeof *b->records + untaken_payload(b);
  return (b->arena != NULL || b->parent != NULL) && batch_cost(b) > 4 * needed;
}

static void count_in(struct batch_queue *q, struct wsc_batch *b) {
  b->charged = batch_cost(b);
  q->messages += b->count - b->taken;
  q->payload += untaken_payload(b);
  q->cost += b->charged;
}

void batch_queue_push(struct batch_queue *q, struct wsc_batch *b) {
  if (q->head != NULL && batch_wasteful(b)) (void)batch_compact(b);
  count_in(q, b);
  b->next = NULL;
  if (q->head == NULL) {
    q->head = b;
  } else {
    q->tail->next = b;
  }
  q->tail = b;
}

void batch_queue_push_front(struct batch_queue *q, struct wsc_batch *b) {
  count_in(q, b);
  b->next = q->head;
  q->head = b;
  if (q->tail == NULL) q->tail = b;
}

struct wsc_batch *batch_queue_pop(struct batch_queue *q) {
  struct wsc_batch *b = q->head;
  if (b == NULL) return NULL;
  q->head = b->next;
  if (q->head == NULL) q->tail = NULL;
  b->next = NULL;
  q->messages -= b->count - b->taken;
  q->payload -= untaken_payload(b);
  q->cost -= b->charged;
  return b;
}

void batch_queue_pass(struct batch_queue *q) {
  struct wsc_batch *b = q->head;
  if (b->taken + 1 >= b->count) {
    batch_unref(batch_queue_pop(q));
    return;
  }
  q->messages--;
  q->payload -= b->records[b->taken++].length;
}

void batch_queue_append(struct batch_queue *q, struct batch_queue *more) {
  for (struct wsc_batch *b = more->head, *next; b != NULL; b = next) {
    next = b->next;
    batch_queue_push(q, b);
  }
  *more = (struct batch_queue){0};
}

uint64_t batch_queue_clear(struct batch_queue *q) {
  uint64_t messages = q->messages;
  for (struct wsc_batch *b; (b = batch_queue_pop(q)) != NULL;) batch_unref(b);
  return messages;
}
