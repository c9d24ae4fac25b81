/* Batches: one block of payload memory and the records that point into it. What the receiver makes and readers take. */
#ifndef WSC_BATCH_H
#define WSC_BATCH_H

#include "wscengine/loop.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ARENA_BYTES = 65536 };

/* Receive arenas, batch shells and a block of one loop, kept for the next use so that steady receiving allocates nothing.
 * Keeps at most a few (see batch.c); the rest goes back to the allocator. Thread-safe. */
struct arena_pool;
struct arena_pool *arena_pool_new(void);
void arena_pool_free(struct arena_pool *p); /* the last of its arenas and batches ends it, whenever that is */

/* ARENA_BYTES of memory, refcounted: several batches of one receive may share it. */
struct decoder;
struct arena {
  atomic_uint refs;
  struct arena_pool *pool;
  struct arena *next;
  struct decoder *decoder; /* of what is received into it; NULL until somebody needs one, kept with the arena then */
  uint8_t bytes[];
};
struct arena *arena_get(struct arena_pool *p); /* NULL: out of memory */
void arena_ref(struct arena *a);
void arena_unref(struct arena *a);

/* The block of a message of size bytes, of which *capacity may be used; perhaps one that an earlier message left. NULL: out of memory. A batch gives
 * its own back, of which it has to know the block_size. */
uint8_t *block_get(struct arena_pool *p, size_t size, size_t *capacity);
/* Whether a message of this length may keep a block of this capacity: nothing to speak of is wasted. */
static inline bool block_fits(size_t capacity, uint64_t length) {
  return capacity >= length && capacity - length <= length / 8;
}

/* Room of a batch that an adapter's read fills. */
struct batch_room {
  uint64_t capacity; /* of the block */
  uint64_t limit;    /* of one message */
  int status;        /* of the first message that could not be added */
  uint64_t refused;  /* its length */
};

struct wsc_batch {
  atomic_uint refs;
  struct arena_pool *pool;  /* NULL: not pooled */
  struct wsc_batch *next;   /* in a queue */
  const uint8_t *base;      /* what the records' offsets count from */
  uint64_t length;          /* bytes at base that records refer to (an upper bound) */
  struct arena *arena;      /* base lies in it, or ... */
  uint8_t *block;           /* ... in this allocation, which the batch owns, or ... */
  struct wsc_batch *parent; /* ... in this one's block: a reference */
  size_t block_size;        /* of block; 0: nobody has told */
  wsc_record *records;
  uint32_t count, capacity;
  wsc_record *packed; /* the records as they lie in a host's buffer; NULL: not made */
  uint32_t taken;     /* first record not yet taken: set when a batch goes back to its queue */
  uint64_t payload;   /* sum of all records' lengths */
  uint64_t charged;   /* what its queue counts for it */
  int64_t received_ns;
  _Atomic uint32_t cursor; /* while it is out: the next record to take */
  atomic_bool by_cursor;   /* a host takes with wsc_event_take: the cursor alone says what is taken */
  bool solo;               /* one reader moves the cursor, by plain stores ... */
  struct batch_room *room; /* NULL: nobody may add to it */
  _Atomic uint32_t cut; /* ... and who seizes the batch says so here: 1 + the first record that is not the reader's */
};

struct wsc_batch *batch_new(struct arena_pool *p);                               /* empty; NULL: out of memory */
int batch_push(struct wsc_batch *b, uint64_t offset, uint32_t length, int type); /* WSC_OK or WSC_ERR_NOMEM */
struct wsc_batch *batch_ref(struct wsc_batch *b);
void batch_unref(struct wsc_batch *b);
/* Copies the records from b->taken on into a right-sized block of their own and lets the arena go. On WSC_ERR_NOMEM b
 * is as it was. */
int batch_compact(struct wsc_batch *b);
/* The records from `from` on as a batch of their own; the payload is shared. NULL: out of memory. */
struct wsc_batch *batch_rest(struct wsc_batch *b, uint32_t from);
/* Payload of the records from b->taken on, one after the other at to (of capacity bytes), with b->packed pointing there. false: it does not fit,
 * or there is no memory for the records. */
bool batch_pack(struct wsc_batch *b, uint8_t *to, size_t capacity, uint64_t *length);
/* A record as a message of its own, for wsc_message_free. WSC_OK or WSC_ERR_NOMEM. */
int batch_message(const struct wsc_batch *b, uint32_t index, wsc_message *out);
/* What it costs to keep it: bound of the receive queue. */
uint64_t batch_cost(const struct wsc_batch *b);
/* Whether it pins far more memory than its messages need, so that it should be compacted when it is to be kept. */
bool batch_wasteful(const struct wsc_batch *b);

/* A first-in first-out list of batches. No lock of its own. A batch that joins others, so that it will wait, and pins
 * far more memory than its messages need, is compacted first (when there is memory for that): many small receives
 * would fill the bound with air. */
struct batch_queue {
  struct wsc_batch *head, *tail;
  uint64_t messages, payload, cost; /* of records not yet taken */
};
void batch_queue_push(struct batch_queue *q, struct wsc_batch *b);       /* takes over the reference */
void batch_queue_push_front(struct batch_queue *q, struct wsc_batch *b); /* gives untaken records (b->taken) back */
struct wsc_batch *batch_queue_pop(struct batch_queue *q);                /* NULL: empty */
void batch_queue_pass(struct batch_queue *q); /* the first message has been taken; its batch stays while it has more */
/* moves all of more to the end; more is empty after */
void batch_queue_append(struct batch_queue *q, struct batch_queue *more);
uint64_t batch_queue_clear(struct batch_queue *q); /* drops all; how many messages that were */

#endif
