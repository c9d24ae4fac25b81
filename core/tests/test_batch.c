/* Batches, their pool and their queues: counting, right-sizing, giving back, and nothing lost when memory runs out. */
#include "batch.h"

#include "check.h"
#include "mem.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static struct wsc_batch *in_arena(struct arena_pool *pool, int messages, uint32_t length, uint8_t fill) {
  struct wsc_batch *b = batch_new(pool);
  struct arena *a = arena_get(pool);
  CHECK(b != NULL && a != NULL);
  memset(a->bytes, fill, (size_t)messages * length);
  b->arena = a;
  b->base = a->bytes;
  for (int i = 0; i < messages; i++) CHECK_EQ(batch_push(b, (uint64_t)i * length, length, WSC_TEXT), WSC_OK);
  b->length = (uint64_t)messages * length;
  return b;
}

static void records_say_where_what_and_how_long(void) {
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *b = batch_new(pool);
  CHECK_EQ(batch_push(b, 7, 5, WSC_BINARY), WSC_OK);
  CHECK_EQ(batch_push(b, 12, 0, WSC_TEXT), WSC_OK);
  CHECK_EQ(b->count, 2);
  CHECK_EQ(b->records[0].offset, 7);
  CHECK_EQ(b->records[0].length, 5);
  CHECK_EQ(b->records[0].type, WSC_BINARY);
  CHECK_EQ(b->records[1].type, WSC_TEXT);
  CHECK_EQ(b->records[1].flags, 0);
  CHECK_EQ(b->payload, 5);
  batch_unref(b);
  arena_pool_free(pool);
}

static void a_batch_from_the_pool_is_like_new(void) {
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *b = in_arena(pool, 3, 10, 'a'), *first = b;
  b->taken = 2;
  b->received_ns = 99;
  atomic_store(&b->cursor, 3);
  batch_unref(b);
  b = batch_new(pool);
  CHECK(b == first); /* reused */
  CHECK_EQ(b->count, 0);
  CHECK_EQ(b->taken, 0);
  CHECK_EQ(b->payload, 0);
  CHECK_EQ(b->received_ns, 0);
  CHECK_EQ(atomic_load(&b->cursor), 0);
  CHECK(b->arena == NULL && b->block == NULL && b->base != NULL);
  batch_unref(b);
  arena_pool_free(pool);
}

static void steady_use_allocates_nothing(void) {
  struct arena_pool *pool = arena_pool_new();
  batch_unref(in_arena(pool, 100, 10, 'a'));
  long before = mem_live();
  mem_fail_after(1);
  for (int i = 0; i < 100; i++) batch_unref(in_arena(pool, 100, 10, 'a'));
  CHECK(!mem_failed());
  mem_fail_after(-1);
  CHECK_EQ(mem_live(), before);
  arena_pool_free(pool);
}

static void the_pool_keeps_only_a_few_and_no_giants(void) {
  long before = mem_live();
  struct arena_pool *pool = arena_pool_new();
  struct batch_queue q = {0};
  for (int i = 0; i < 100; i++) batch_queue_push(&q, in_arena(pool, 6000, 8, 'a'));
  CHECK_EQ(batch_queue_clear(&q), 600000);
  /* the pool itself, at most 8 arenas and 8 shells, whose arrays were too long to be kept */
  CHECK(mem_live() - before <= 17);
  arena_pool_free(pool);
  CHECK_EQ(mem_live(), before);
}

static struct wsc_batch *in_block(struct arena_pool *pool, size_t length) {
  struct wsc_batch *b = batch_new(pool);
  CHECK(b != NULL);
  b->block = block_get(pool, length, &b->block_size);
  CHECK(b->block != NULL);
  CHECK(block_fits(b->block_size, length));
  b->base = b->block;
  CHECK_EQ(batch_push(b, 0, (uint32_t)length, WSC_BINARY), WSC_OK);
  b->length = length;
  return b;
}

static void a_large_message_leaves_its_block_to_the_next_of_its_size(void) {
  const size_t size = 1 << 20;
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *b = in_block(pool, size);
  uint8_t *block = b->block;
  batch_unref(b);
  b = in_block(pool, size - size / 16); /* a little less will do */
  CHECK(b->block == block);
  struct wsc_batch *second = in_block(pool, size);
  CHECK(second->block != block);
  batch_unref(b);
  long kept = mem_live();
  batch_unref(second); /* one is enough, and its shell is kept */
  CHECK_EQ(mem_live(), kept - 1);
  b = in_block(pool, size / 2); /* too large for this one */
  CHECK(b->block != block);
  batch_unref(b);
  arena_pool_free(pool);
}

static void a_block_that_nobody_uses_goes(void) {
  struct arena_pool *pool = arena_pool_new();
  batch_unref(in_arena(pool, 1, 10, 'a'));
  long before = mem_live();
  batch_unref(in_block(pool, 1 << 20));
  CHECK_EQ(mem_live(), before + 1);
  for (int i = 0; i < 20; i++) batch_unref(in_arena(pool, 1, 10, 'a'));
  CHECK_EQ(mem_live(), before);
  batch_unref(in_block(pool, 50 << 20)); /* a snapshot of a whole market */
  CHECK_EQ(mem_live(), before);
  batch_unref(in_block(pool, 1000)); /* the allocator is better at these */
  CHECK_EQ(mem_live(), before);
  arena_pool_free(pool);
}

static void an_arena_lives_until_its_last_batch_is_gone(void) {
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *a = in_arena(pool, 1, 100, 'a'), *b = batch_new(pool);
  b->arena = a->arena;
  arena_ref(b->arena);
  b->base = a->base;
  CHECK_EQ(batch_push(b, 50, 10, WSC_TEXT), WSC_OK);
  batch_unref(a);
  struct arena *other = arena_get(pool);
  CHECK(other != b->arena);
  memset(other->bytes, 'z', ARENA_BYTES);
  CHECK_EQ(b->base[50], 'a');
  arena_unref(other);
  batch_unref(b);
  arena_pool_free(pool);
}

static void a_batch_may_outlive_its_pool(void) {
  long before = mem_live();
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *small = in_arena(pool, 3, 10, 'a'), *large = in_block(pool, 1 << 20), *rest = batch_rest(large, 0);
  batch_unref(in_arena(pool, 1, 10, 'b')); /* kept by the pool */
  memset(large->block, 'c', large->length);
  batch_unref(large);
  arena_pool_free(pool);
  CHECK_EQ(small->base[29], 'a');
  CHECK_EQ(rest->base[0], 'c');
  CHECK_EQ(rest->base[rest->length - 1], 'c');
  batch_unref(small);
  batch_unref(rest);
  CHECK_EQ(mem_live(), before);
}

struct busy {
  struct arena_pool *pool;
  atomic_bool enough;
};

static void *come_and_go(void *arg) {
  struct busy *busy = arg;
  while (!atomic_load(&busy->enough)) batch_unref(batch_new(busy->pool));
  return NULL;
}

/* The child has no thread that would ever unlock the pool. */
static void a_forked_child_lets_go_of_a_batch_while_the_parent_uses_the_pool(void) {
  struct busy busy = {.pool = arena_pool_new()};
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, come_and_go, &busy), 0);
  for (int i = 0; i < 50; i++) {
    struct wsc_batch *small = in_arena(busy.pool, 3, 10, 'a'), *large = in_block(busy.pool, 1 << 20);
    pid_t child = fork();
    if (child == 0) {
      alarm(20);
      batch_unref(small);
      batch_unref(large);
      _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    batch_unref(small);
    batch_unref(large);
  }
  atomic_store(&busy.enough, true);
  pthread_join(thread, NULL);
  arena_pool_free(busy.pool);
}

static void a_reference_keeps_a_batch(void) {
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *b = in_arena(pool, 2, 10, 'a');
  CHECK(batch_ref(b) == b);
  batch_unref(b);
  CHECK_EQ(b->count, 2);
  CHECK_EQ(b->base[19], 'a');
  batch_unref(b);
  batch_unref(NULL);
  arena_unref(NULL);
  arena_pool_free(pool);
  arena_pool_free(NULL);
}

static void compacting_keeps_the_untaken_and_lets_the_arena_go(void) {
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *b = in_arena(pool, 4, 10, 'a');
  struct arena *a = b->arena;
  memset(a->bytes + 20, 'c', 10);
  memset(a->bytes + 30, 'd', 10);
  b->taken = 2;
  CHECK_EQ(batch_compact(b), WSC_OK);
  CHECK_EQ(b->taken, 0);
  CHECK_EQ(b->count, 2);
  CHECK_EQ(b->payload, 20);
  CHECK_EQ(b->length, 20);
  CHECK_EQ(b->records[0].offset, 0);
  CHECK_EQ(b->records[1].offset, 10);
  CHECK_BYTES(b->base, "ccccccccccdddddddddd", 20);
  CHECK(b->arena == NULL && b->block == b->base);
  CHECK_EQ(batch_cost(b), sizeof *b + 2 * sizeof(wsc_record) + 20);
  struct arena *again = arena_get(pool);
  CHECK(again == a); /* it went home */
  arena_unref(again);
  CHECK_EQ(batch_compact(b), WSC_OK); /* nothing left to win */
  CHECK_BYTES(b->base, "ccccccccccdddddddddd", 20);
  batch_unref(b);

  b = in_arena(pool, 3, 0, 'a'); /* empty messages are messages */
  CHECK_EQ(batch_compact(b), WSC_OK);
  CHECK_EQ(b->count, 3);
  CHECK_EQ(b->length, 0);
  CHECK(b->base != NULL && b->block == NULL);
  batch_unref(b);
  arena_pool_free(pool);
}

static void compacting_without_memory_changes_nothing(void) {
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *b = in_arena(pool, 4, 10, 'a');
  for (long n = 1; n <= 2; n++) {
    long before = mem_live();
    mem_fail_after(n);
    CHECK_EQ(batch_compact(b), WSC_ERR_NOMEM);
    mem_fail_after(-1);
    CHECK_EQ(mem_live(), before);
    CHECK_EQ(b->count, 4);
    CHECK(b->arena != NULL);
    CHECK_EQ(b->records[3].offset, 30);
  }
  batch_unref(b);
  arena_pool_free(pool);
}

static void a_push_without_memory_changes_nothing(void) {
  struct wsc_batch *b = batch_new(NULL);
  mem_fail_after(1);
  CHECK_EQ(batch_push(b, 0, 1, WSC_TEXT), WSC_ERR_NOMEM);
  mem_fail_after(-1);
  CHECK_EQ(b->count, 0);
  CHECK_EQ(b->payload, 0);
  CHECK_EQ(batch_push(b, 0, 1, WSC_TEXT), WSC_OK);
  batch_unref(b);
}

static void cost_counts_what_is_really_held(void) {
  struct arena_pool *pool = arena_pool_new();
  struct wsc_batch *b = in_arena(pool, 1, 10, 'a');
  CHECK(batch_cost(b) >= ARENA_BYTES + sizeof *b + b->capacity * sizeof(wsc_record));
  batch_unref(b);
  b = batch_new(pool);
  b->block = mem_alloc(1000000);
  b->base = b->block;
  b->length = 1000000;
  CHECK_EQ(batch_push(b, 0, 1000000, WSC_BINARY), WSC_OK);
  CHECK(batch_cost(b) >= 1000000);
  batch_unref(b);
  arena_pool_free(pool);
}

/* Who keeps the last small message of a batch keeps, by it, the block of all that came before. */
static void a_rest_of_a_block_counts_what_it_pins(void) {
  struct wsc_batch *b = batch_new(NULL);
  b->base = b->block = mem_zalloc(100000);
  CHECK_EQ(batch_push(b, 0, 99990, WSC_BINARY), WSC_OK);
  CHECK_EQ(batch_push(b, 99990, 10, WSC_BINARY), WSC_OK);
  b->length = 100000;
  memset(b->block + 99990, 'x', 10);
  struct wsc_batch *whole = batch_rest(b, 0), *last = batch_rest(b, 1);
  CHECK(batch_cost(whole) >= 100000);
  CHECK(!batch_wasteful(whole));
  CHECK(batch_cost(last) >= 100000);
  CHECK(batch_wasteful(last));
  CHECK_EQ(batch_compact(last), WSC_OK);
  CHECK(batch_cost(last) < 1000);
  batch_unref(whole);
  batch_unref(b);
  CHECK_BYTES(last->base + last->records[0].offset, "xxxxxxxxxx", 10);
  batch_unref(last);
}

static void a_queue_counts_what_has_not_been_taken(void) {
  struct arena_pool *pool = arena_pool_new();
  struct batch_queue q = {0};
  CHECK(batch_queue_pop(&q) == NULL);
  batch_queue_push(&q, in_arena(pool, 3, 1000, 'a'));
  batch_queue_push(&q, in_arena(pool, 60, 1000, 'b'));
  CHECK_EQ(q.messages, 63);
  CHECK_EQ(q.payload, 63000);
  CHECK_EQ(q.cost, batch_cost(q.head) + batch_cost(q.tail));

  struct wsc_batch *b = batch_queue_pop(&q);
  CHECK_EQ(b->count, 3);
  CHECK_EQ(q.messages, 60);
  CHECK_EQ(q.payload, 60000);
  b->taken = 1;
  batch_queue_push_front(&q, b);
  CHECK_EQ(q.messages, 62);
  CHECK_EQ(q.payload, 62000);

  CHECK(batch_queue_pop(&q) == b);
  CHECK_EQ(b->taken, 1);
  b->taken = 3;
  batch_queue_push_front(&q, b); /* nothing is left of it, and it counts for nothing */
  CHECK_EQ(q.messages, 60);
  CHECK_EQ(q.payload, 60000);
  CHECK_EQ(batch_compact(q.head), WSC_OK); /* also while it is queued */
  CHECK_EQ(batch_queue_clear(&q), 60);
  CHECK_EQ(q.messages, 0);
  CHECK_EQ(q.payload, 0);
  CHECK_EQ(q.cost, 0);
  CHECK(q.head == NULL && q.tail == NULL);

  b = in_arena(pool, 1, 1, 'a');
  batch_queue_push_front(&q, b); /* into an empty one: both ends */
  batch_queue_push(&q, in_arena(pool, 1, 1, 'b'));
  CHECK(batch_queue_pop(&q) == b);
  batch_unref(b);
  CHECK_EQ(batch_queue_clear(&q), 1);
  arena_pool_free(pool);
}

static void messages_are_passed_one_by_one(void) {
  struct arena_pool *pool = arena_pool_new();
  struct batch_queue q = {0};
  batch_queue_push(&q, in_arena(pool, 3, 1000, 'a'));
  batch_queue_push(&q, in_arena(pool, 1, 10, 'b'));
  uint64_t cost = q.cost;
  for (uint32_t taken = 1; taken < 3; taken++) {
    batch_queue_pass(&q);
    CHECK_EQ(q.head->taken, taken);
    CHECK_EQ(q.messages, 4 - taken);
    CHECK_EQ(q.payload, 3010 - 1000 * taken);
    CHECK_EQ(q.cost, cost); /* it holds what it held */
  }
  batch_queue_pass(&q);
  CHECK_EQ(q.head->base[0], 'b');
  CHECK_EQ(q.messages, 1);
  CHECK_EQ(q.payload, 10);
  CHECK(q.cost < cost);
  batch_queue_pass(&q);
  CHECK(q.head == NULL && q.tail == NULL && q.messages == 0 && q.payload == 0 && q.cost == 0);
  arena_pool_free(pool);
}

static void appending_moves_everything_in_order(void) {
  struct arena_pool *pool = arena_pool_new();
  struct batch_queue q = {0}, more = {0};
  batch_queue_append(&q, &more);
  CHECK(q.head == NULL);
  for (uint8_t i = 0; i < 3; i++) batch_queue_push(&more, in_arena(pool, 10, 1000, i));
  batch_queue_append(&q, &more);
  CHECK(more.head == NULL && more.tail == NULL && more.messages == 0 && more.cost == 0);
  batch_queue_push(&more, in_arena(pool, 10, 1000, 3));
  batch_queue_append(&q, &more);
  CHECK_EQ(q.messages, 40);
  CHECK_EQ(q.payload, 40000);
  for (uint8_t i = 0; i < 4; i++) {
    struct wsc_batch *b = batch_queue_pop(&q);
    CHECK_EQ(b->base[0], i);
    batch_unref(b);
  }
  CHECK(batch_queue_pop(&q) == NULL);
  CHECK_EQ(q.cost, 0);
  arena_pool_free(pool);
}

static void a_queue_of_small_receives_does_not_fill_with_air(void) {
  struct arena_pool *pool = arena_pool_new();
  struct batch_queue q = {0}, more = {0};
  for (int i = 0; i < 1000; i++) {
    batch_queue_push(&more, in_arena(pool, 1, 16, (uint8_t)i));
    batch_queue_append(&q, &more);
  }
  CHECK(q.cost < ARENA_BYTES * 3 + 1000 * 512);
  CHECK(q.head->arena != NULL); /* what will be taken next is not copied */
  for (int i = 0; i < 1000; i++) {
    struct wsc_batch *b = batch_queue_pop(&q);
    CHECK_EQ(b->base[b->records[0].offset], (uint8_t)i);
    batch_unref(b);
  }
  CHECK_EQ(q.cost, 0);

  for (int i = 0; i < 3; i++) batch_queue_push(&q, in_arena(pool, 60, 1000, 'a'));
  CHECK(q.tail->arena != NULL); /* well-filled ones are left alone */
  batch_queue_clear(&q);
  arena_pool_free(pool);
}

int main(void) {
  mem_fail_after(-1);
  long before = mem_live();
  records_say_where_what_and_how_long();
  a_batch_from_the_pool_is_like_new();
  steady_use_allocates_nothing();
  the_pool_keeps_only_a_few_and_no_giants();
  a_large_message_leaves_its_block_to_the_next_of_its_size();
  a_block_that_nobody_uses_goes();
  an_arena_lives_until_its_last_batch_is_gone();
  a_batch_may_outlive_its_pool();
  a_forked_child_lets_go_of_a_batch_while_the_parent_uses_the_pool();
  a_reference_keeps_a_batch();
  compacting_keeps_the_untaken_and_lets_the_arena_go();
  compacting_without_memory_changes_nothing();
  a_push_without_memory_changes_nothing();
  cost_counts_what_is_really_held();
  a_rest_of_a_block_counts_what_it_pins();
  a_queue_counts_what_has_not_been_taken();
  messages_are_passed_one_by_one();
  appending_moves_everything_in_order();
  a_queue_of_small_receives_does_not_fill_with_air();
  CHECK_EQ(mem_live(), before);
  return 0;
}
