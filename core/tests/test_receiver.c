/* The receiver against streams whose messages are known: whole, cut anywhere, fragmented, and short of memory. */
#define _GNU_SOURCE
#include "receiver_feed.h"

#include <pthread.h>

/* ---- streams ---- */

static void a_stream_may_be_cut_at_any_two_places(void) {
  struct stream s = {0};
  put_message(&s, OPCODE_TEXT, 5, 0);
  put_message(&s, OPCODE_BINARY, 0, 0);
  put_message(&s, OPCODE_TEXT, 40, 3);
  put_control(&s);
  put_message(&s, OPCODE_BINARY, 130, 0);
  put_message(&s, OPCODE_BINARY, 0, 2);
  put_message(&s, OPCODE_TEXT, 20, 0);
  size_t n = s.bytes.length;
  for (size_t a = 0; a <= n; a++) {
    for (size_t b = a; b <= n; b += 1 + (b - a) / 16) {
      struct feed f;
      feed_begin(&f, 1000);
      CHECK_EQ(feed_all(&f, s.bytes.data, a), WSC_OK);
      if ((a ^ b) & 1) receiver_rest(&f.r);
      CHECK_EQ(feed_all(&f, s.bytes.data + a, b - a), WSC_OK);
      if ((a ^ b) & 2) receiver_rest(&f.r);
      CHECK_EQ(feed_all(&f, s.bytes.data + b, n - b), WSC_OK);
      check_arrived(&f, &s);
      feed_end(&f);
    }
  }
  stream_free(&s);
}

static void random_streams_arrive_whole(void) {
  static const size_t pieces[] = {1, 2, 7, 100, 1500, 5000, 20000, 65536, 400000};
  for (unsigned round = 0; round < 180; round++) {
    size_t piece = pieces[round % 9];
    struct stream s = random_stream(piece < 10 ? 10 : 60, round % 3 != 0);
    for (int way = 0; way < 4; way++) {
      struct feed f;
      feed_begin(&f, 300000);
      f.hold = (way & 1) != 0;
      CHECK_EQ(feed_in_pieces(&f, s.bytes.data, s.bytes.length, piece, (way & 2) != 0 ? 4 : 0), WSC_OK);
      check_arrived(&f, &s);
      feed_end(&f);
    }
    stream_free(&s);
  }
}

static void one_byte_fragments_one_byte_at_a_time_cost_no_square(void) {
  struct stream s = {0};
  size_t n = 1 << 20; /* a square would be half a million million copied bytes: the test would never end */
  uint8_t *p = malloc(n);
  CHECK(p != NULL);
  fill_text(p, n);
  messages_add(&s.messages, OPCODE_TEXT, p, n);
  for (size_t i = 0; i < n; i++) put_frame(&s.bytes, (i == 0 ? OPCODE_TEXT : 0) | (i == n - 1 ? 0x80 : 0), p + i, 1);
  free(p);
  for (size_t rest = 0; rest <= 8; rest += 8) {
    struct feed f;
    feed_begin(&f, n);
    CHECK_EQ(feed_in_pieces(&f, s.bytes.data, s.bytes.length, 1, rest), WSC_OK);
    check_arrived(&f, &s);
    feed_end(&f);
  }
  stream_free(&s);
}

static void large_frames_one_byte_at_a_time_cost_no_square(void) {
  struct stream s = {0};
  for (int i = 0; i < 40; i++) put_message(&s, OPCODE_TEXT, i % 2 == 0 ? 32000 : 33000, 0);
  for (size_t rest = 0; rest <= 8; rest += 8) {
    struct feed f;
    feed_begin(&f, 100000);
    CHECK_EQ(feed_in_pieces(&f, s.bytes.data, s.bytes.length, 1, rest), WSC_OK);
    check_arrived(&f, &s);
    feed_end(&f);
  }
  stream_free(&s);
}

/* ---- where things lie ---- */

static void whole_messages_of_one_receive_are_one_batch_where_they_lie(void) {
  struct stream s = {0};
  for (int i = 0; i < 50; i++) put_message(&s, OPCODE_TEXT, (size_t)i * 10, i % 5 == 0 ? 3 : 0);
  struct feed f;
  feed_begin(&f, 100000);
  f.hold = true;
  size_t used;
  CHECK_EQ(feed_once(&f, s.bytes.data, s.bytes.length, &used), WSC_OK);
  CHECK_EQ(used, s.bytes.length);
  CHECK(f.out.head != NULL && f.out.head == f.out.tail);
  CHECK_EQ(f.out.head->count, 50);
  CHECK(f.out.head->arena != NULL && f.out.head->block == NULL);
  CHECK(f.out.head->base >= f.out.head->arena->bytes && f.out.head->base < f.out.head->arena->bytes + ARENA_BYTES);
  check_arrived(&f, &s);
  feed_end(&f);
  stream_free(&s);
}

static void a_large_message_is_received_in_place_and_handed_over(void) {
  struct stream s = {0};
  put_message(&s, OPCODE_TEXT, 9, 0);
  put_message(&s, OPCODE_BINARY, 1000000, 0);
  put_message(&s, OPCODE_TEXT, 11, 0);
  struct feed f;
  feed_begin(&f, 1000000);
  f.hold = true;
  size_t used, at = 0;
  CHECK_EQ(feed_once(&f, s.bytes.data, s.bytes.length, &used), WSC_OK);
  at += used;
  CHECK_EQ(f.r.capacity, 1000000); /* exactly, and once */
  const uint8_t *block = f.r.block;
  struct iovec iov[2];
  CHECK_EQ(receiver_space(&f.r, iov), 2);
  CHECK(iov[0].iov_base == block + f.r.length);
  CHECK_EQ(iov[0].iov_len, 11 + 10 + 1000000 - at);
  CHECK_EQ(feed_once(&f, s.bytes.data + at, s.bytes.length - at, &used), WSC_OK);
  CHECK_EQ(at + used, s.bytes.length); /* the rest and the next message came in one receive */
  struct wsc_batch *large = f.out.head->next;
  CHECK(large->block == block && large->arena == NULL);
  CHECK_EQ(large->count, 1);
  CHECK(large->next != NULL && large->next->next == NULL);
  check_arrived(&f, &s);
  feed_end(&f);
  stream_free(&s);
}

/* However long a message is, and however fast it comes, a receive comes to its end. */
static void one_receive_has_a_limit(void) {
  enum { LENGTH = 64 << 20, MOST = (1 << 20) + ARENA_BYTES };
  static const uint8_t header[] = {0x82, 127, 0, 0, 0, 0, 4, 0, 0, 0};
  struct feed f;
  size_t used;
  feed_begin(&f, LENGTH);
  CHECK_EQ(feed_once(&f, header, sizeof header, &used), WSC_OK);
  receiver_rest(&f.r);
  size_t left = LENGTH;
  while (left > 0) {
    struct iovec iov[2] = {{0}};
    int count = receiver_space(&f.r, iov);
    CHECK(count > 0 && iov[0].iov_len + iov[1].iov_len <= MOST);
    size_t n = iov[0].iov_len;
    memset(iov[0].iov_base, 'x', n);
    CHECK(n <= left);
    CHECK_EQ(feed_pass(&f, n), WSC_OK);
    left -= n;
  }
  CHECK_EQ(f.messages.count, 1);
  CHECK_EQ(message_at(&f.messages, 0)->length, LENGTH);
  feed_end(&f);
}

static void the_start_of_a_frame_is_decoded_again_only_when_it_is_whole(void) {
  struct stream s = {0};
  put_message(&s, OPCODE_BINARY, 20000, 0);
  struct feed f;
  feed_begin(&f, 100000);
  CHECK_EQ(feed_all(&f, s.bytes.data, 3), WSC_OK);
  CHECK_EQ(f.r.need, 4); /* the header */
  CHECK_EQ(feed_all(&f, s.bytes.data + 3, 1), WSC_OK);
  CHECK_EQ(f.r.need, 20004); /* the frame */
  CHECK_EQ(feed_all(&f, s.bytes.data + 4, 20000), WSC_OK);
  CHECK_EQ(f.r.need, 0);
  check_arrived(&f, &s);
  feed_end(&f);
  stream_free(&s);
}

static void at_rest_only_the_unfinished_message_stays(void) {
  struct stream s = {0};
  put_message(&s, OPCODE_BINARY, 20000, 0);
  put_control(&s);
  for (size_t cut = 1; cut < s.bytes.length; cut += cut < 10 || cut > 20000 ? 1 : 777) {
    struct feed f;
    feed_begin(&f, 100000);
    CHECK_EQ(feed_all(&f, s.bytes.data, cut), WSC_OK);
    receiver_rest(&f.r);
    CHECK(f.r.arena == NULL);
    CHECK(f.r.block == NULL || f.r.capacity == 20000);
    CHECK((f.r.block != NULL) == (cut >= 4 && cut < 20004));
    receiver_rest(&f.r);
    CHECK_EQ(feed_all(&f, s.bytes.data + cut, s.bytes.length - cut), WSC_OK);
    check_arrived(&f, &s);
    feed_end(&f);
  }
  stream_free(&s);
}

static void on_control_ignore(void *self, int opcode, const uint8_t *payload, size_t length) {
  (void)self, (void)opcode, (void)payload, (void)length;
}

static void steady_receiving_allocates_nothing(void) {
  struct stream s = {0};
  for (int i = 0; i < 3000; i++) {
    put_message(&s, OPCODE_TEXT, 90, 0);
    if (i % 9 == 0) put_control(&s);
  }
  struct feed f;
  feed_begin(&f, 100000);
  const struct receiver_sink sink = {.control = on_control_ignore};
  for (int round = 0; round < 2; round++) {
    if (round == 1) mem_fail_after(1);
    for (size_t at = 0; at < s.bytes.length;) {
      struct iovec iov[2];
      CHECK_EQ(receiver_space(&f.r, iov), 1);
      size_t n = iov[0].iov_len < s.bytes.length - at ? iov[0].iov_len : s.bytes.length - at;
      memcpy(iov[0].iov_base, s.bytes.data + at, n);
      at += n;
      CHECK_EQ(receiver_advance(&f.r, n, 1, &f.out, &sink), WSC_OK);
      batch_queue_clear(&f.out);
    }
  }
  CHECK(!mem_failed());
  mem_fail_after(-1);
  feed_end(&f);
  stream_free(&s);
}

/* ---- a reader at the same time ---- */

struct shared {
  pthread_mutex_t lock;
  struct batch_queue queue;
  bool over;
  struct messages messages;
};

static void *reader(void *self) {
  struct shared *s = self;
  for (bool over = false; !over;) {
    struct batch_queue mine = {0};
    pthread_mutex_lock(&s->lock);
    over = s->over;
    batch_queue_append(&mine, &s->queue);
    pthread_mutex_unlock(&s->lock);
    add_batches(&s->messages, &mine, 0);
  }
  return NULL;
}

static void a_reader_may_read_while_the_receiver_goes_on_behind(void) {
  struct stream s = random_stream(2000, false);
  struct shared shared = {.lock = PTHREAD_MUTEX_INITIALIZER};
  struct feed f;
  feed_begin(&f, 100000);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, reader, &shared), 0);
  f.hold = true;
  for (size_t at = 0, used = 0; at < s.bytes.length; at += used) {
    size_t piece = 1 + random_below(2000);
    CHECK_EQ(feed_once(&f, s.bytes.data + at, piece < s.bytes.length - at ? piece : s.bytes.length - at, &used),
             WSC_OK);
    pthread_mutex_lock(&shared.lock);
    batch_queue_append(&shared.queue, &f.out);
    pthread_mutex_unlock(&shared.lock);
    if (random_below(8) == 0) receiver_rest(&f.r);
  }
  pthread_mutex_lock(&shared.lock);
  shared.over = true;
  pthread_mutex_unlock(&shared.lock);
  pthread_join(thread, NULL);
  check_same(&shared.messages, &s.messages);
  messages_free(&shared.messages);
  feed_end(&f);
  stream_free(&s);
}

/* ---- memory ---- */

static void at_rest_without_memory_the_arena_stays(void) {
  struct stream s = {0};
  put_message(&s, OPCODE_TEXT, 5000, 0);
  struct feed f;
  feed_begin(&f, 100000);
  CHECK_EQ(feed_all(&f, s.bytes.data, 3000), WSC_OK);
  mem_fail_after(1);
  receiver_rest(&f.r);
  CHECK(mem_failed());
  mem_fail_after(-1);
  CHECK(f.r.arena != NULL);
  CHECK_EQ(feed_all(&f, s.bytes.data + 3000, s.bytes.length - 3000), WSC_OK);
  check_arrived(&f, &s);
  feed_end(&f);
  stream_free(&s);
}

static void running_out_of_memory_anywhere_loses_no_memory(void) {
  struct stream s = {0};
  put_message(&s, OPCODE_TEXT, 10, 0);
  put_message(&s, OPCODE_TEXT, 30, 4);
  put_message(&s, OPCODE_BINARY, 20000, 0);
  for (int i = 0; i < 100; i++) put_message(&s, OPCODE_BINARY, 3, 0);
  put_message(&s, OPCODE_TEXT, 100000, 0);
  put_message(&s, OPCODE_BINARY, 90000, 5);
  put_message(&s, OPCODE_TEXT, 7, 0);
  for (size_t piece = 50; piece <= 50000; piece *= 10) {
    for (size_t rest = 0; rest <= 4; rest += 4) {
      long failures = 0;
      for (long n = 1;; n++) {
        uint64_t seed = random_state;
        long before = mem_live();
        struct arena_pool *pool = arena_pool_new();
        struct receiver r;
        receiver_init(&r, pool, 100000);
        struct batch_queue out = {0};
        struct messages list = {0};
        const struct receiver_sink sink = {.control = on_control, .self = &list};
        CHECK_EQ(buffer_reserve(&list.bytes, 100000), WSC_OK); /* so that the test's own list needs none */
        CHECK_EQ(buffer_reserve(&list.list, 100000), WSC_OK);
        int status = WSC_OK;
        mem_fail_after(n);
        for (size_t at = 0; at < s.bytes.length && status == WSC_OK;) {
          struct iovec iov[2];
          int count = receiver_space(&r, iov);
          if (count < 0) {
            CHECK_EQ(count, WSC_ERR_NOMEM);
            CHECK(mem_failed());
            count = receiver_space(&r, iov); /* may be tried again, and nothing is lost */
            CHECK(count > 0);
            failures++;
          }
          size_t used = 0;
          size_t want = 1 + random_below(piece);
          if (want > s.bytes.length - at) want = s.bytes.length - at;
          for (int i = 0; i < count && used < want; i++) {
            size_t part = iov[i].iov_len < want - used ? iov[i].iov_len : want - used;
            memcpy(iov[i].iov_base, s.bytes.data + at + used, part);
            used += part;
          }
          at += used;
          status = receiver_advance(&r, used, 1, &out, &sink);
          if (random_below(8) < rest) receiver_rest(&r);
        }
        bool failed = mem_failed();
        mem_fail_after(-1);
        if (status != WSC_OK) {
          CHECK_EQ(status, WSC_ERR_NOMEM);
          CHECK_EQ(r.fault->close_code, 1011);
          CHECK_HAS(r.fault->detail, "out of memory");
          CHECK(failed);
          failures++;
        } else {
          struct messages got = {0};
          add_batches(&got, &out, 1);
          check_same(&got, &s.messages);
          check_same(&list, &s.control);
          messages_free(&got);
        }
        batch_queue_clear(&out);
        messages_free(&list);
        receiver_free(&r);
        arena_pool_free(pool);
        CHECK_EQ(mem_live(), before);
        random_state = seed;
        if (!failed) break;
      }
      random_next();
      CHECK(failures > 3);
    }
  }
  stream_free(&s);
}

int main(void) {
  mem_fail_after(-1);
  long before = mem_live();
  whole_messages_of_one_receive_are_one_batch_where_they_lie();
  a_large_message_is_received_in_place_and_handed_over();
  one_receive_has_a_limit();
  the_start_of_a_frame_is_decoded_again_only_when_it_is_whole();
  at_rest_only_the_unfinished_message_stays();
  steady_receiving_allocates_nothing();
  a_reader_may_read_while_the_receiver_goes_on_behind();
  at_rest_without_memory_the_arena_stays();
  running_out_of_memory_anywhere_loses_no_memory();
  a_stream_may_be_cut_at_any_two_places();
  random_streams_arrive_whole();
  one_byte_fragments_one_byte_at_a_time_cost_no_square();
  large_frames_one_byte_at_a_time_cost_no_square();
  CHECK_EQ(mem_live(), before);
  return 0;
}
