/* Streams of frames whose messages are known, and a receiver to feed them to: for the receiver's tests. */
#ifndef WSC_RECEIVER_FEED_H
#define WSC_RECEIVER_FEED_H

#include "receiver.h"

#include "check.h"
#include "deflate.h"
#include "mem.h"

/* ---- what was sent, what arrived ---- */

struct message {
  int type;
  size_t at, length; /* in bytes */
};
struct messages {
  struct buffer bytes, list; /* list: struct message */
  size_t count;
};

static inline void messages_add(struct messages *m, int type, const uint8_t *p, size_t n) {
  struct message one = {.type = type, .at = m->bytes.length, .length = n};
  if (n > 0) CHECK_EQ(buffer_append(&m->bytes, p, n), WSC_OK);
  CHECK_EQ(buffer_append(&m->list, &one, sizeof one), WSC_OK);
  m->count++;
}

static inline void messages_free(struct messages *m) {
  buffer_free(&m->bytes);
  buffer_free(&m->list);
  m->count = 0;
}

static inline const struct message *message_at(const struct messages *m, size_t i) {
  return &((const struct message *)(const void *)m->list.data)[i];
}

static inline void check_same(const struct messages *got, const struct messages *want) {
  CHECK_EQ(got->count, want->count);
  for (size_t i = 0; i < want->count; i++) {
    CHECK_EQ(message_at(got, i)->type, message_at(want, i)->type);
    CHECK_EQ(message_at(got, i)->length, message_at(want, i)->length);
  }
  CHECK_EQ(got->bytes.length, want->bytes.length);
  CHECK(want->bytes.length == 0 || memcmp(got->bytes.data, want->bytes.data, want->bytes.length) == 0);
}

static inline void add_batches(struct messages *m, struct batch_queue *out, int64_t received_ns) {
  for (struct wsc_batch *b; (b = batch_queue_pop(out)) != NULL; batch_unref(b)) {
    uint64_t payload = 0;
    CHECK(b->count > 0);
    if (received_ns != 0) CHECK_EQ(b->received_ns, received_ns);
    for (uint32_t i = 0; i < b->count; i++) {
      CHECK(b->records[i].offset + b->records[i].length <= b->length);
      messages_add(m, b->records[i].type, b->base + b->records[i].offset, b->records[i].length);
      payload += b->records[i].length;
    }
    CHECK_EQ(b->payload, payload);
  }
}

static inline void on_control(void *self, int opcode, const uint8_t *payload, size_t length) {
  messages_add(self, opcode, payload, length);
}

/* ---- making streams ---- */

static uint64_t random_state = 88172645463325252u;
static inline uint64_t random_next(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state >> 11;
}
static inline size_t random_below(size_t n) { return (size_t)(random_next() % n); }

static inline void put_frame(struct buffer *s, int first_byte, const uint8_t *p, size_t n) {
  uint8_t head[10] = {(uint8_t)first_byte};
  size_t size = n < 126 ? 2 : n < 65536 ? 4 : 10;
  head[1] = size == 2 ? (uint8_t)n : size == 4 ? 126 : 127;
  for (size_t i = 2; i < size; i++) head[i] = (uint8_t)(n >> 8 * (size - 1 - i));
  CHECK_EQ(buffer_append(s, head, size), WSC_OK);
  if (n > 0) CHECK_EQ(buffer_append(s, p, n), WSC_OK);
}

struct stream {
  struct buffer bytes;
  struct messages messages, control;
};

static inline void stream_free(struct stream *s) {
  buffer_free(&s->bytes);
  messages_free(&s->messages);
  messages_free(&s->control);
}

static inline void put_control(struct stream *s) {
  uint8_t payload[125];
  size_t n = random_below(4) == 0 ? random_below(126) : random_below(8);
  for (size_t i = 0; i < n; i++) payload[i] = (uint8_t)random_next();
  int opcode = random_below(2) == 0 ? OPCODE_PING : OPCODE_PONG;
  put_frame(&s->bytes, 0x80 | opcode, payload, n);
  messages_add(&s->control, opcode, payload, n);
}

static inline void fill_text(uint8_t *p, size_t n) {
  static const char *const characters[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf",
                                           "\xf4\x8f\xbf\xbf"};
  bool ascii = random_below(2) == 0;
  size_t at = 0;
  while (at < n) {
    const char *c = characters[random_below(5)];
    size_t length = strlen(c);
    if (ascii || random_below(3) > 0 || length > n - at) {
      p[at++] = (uint8_t)(' ' + random_below(95));
    } else {
      memcpy(p + at, c, length);
      at += length;
    }
  }
}

/* first: opcode and RSV bits of the first frame. fragments: 0 one frame; else roughly so many, some empty, with control
 * frames in between. */
static inline void put_frames(struct stream *s, int first, const uint8_t *p, size_t n, size_t fragments) {
  size_t at = 0;
  for (size_t i = 0; i < fragments; i++) {
    size_t part = random_below(5) == 0 ? 0 : random_below(2 * (n / fragments) + 2);
    if (part > n - at) part = n - at;
    put_frame(&s->bytes, i == 0 ? first : OPCODE_CONTINUATION, p + at, part);
    at += part;
    if (random_below(3) == 0) put_control(s);
  }
  put_frame(&s->bytes, 0x80 | (fragments == 0 ? first : OPCODE_CONTINUATION), p + at, n - at);
}

static inline void put_message(struct stream *s, int type, size_t n, size_t fragments) {
  uint8_t *p = malloc(n + 1);
  CHECK(p != NULL);
  if (type == OPCODE_TEXT) {
    fill_text(p, n);
  } else {
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)random_next();
  }
  messages_add(&s->messages, type, p, n);
  put_frames(s, type, p, n, fragments);
  free(p);
}

static inline size_t random_length(void) {
  switch (random_below(12)) {
  case 0: return 0;
  case 1: return 124 + random_below(4);
  case 2: return random_below(5000);
  case 3: return random_below(40000);
  case 4: return 65530 + random_below(12);
  case 5: return random_below(200 * 1024 + 1);
  case 6: return 32768 - 16 + random_below(32); /* around what waits for its end in the arena */
  default: return random_below(60);
  }
}

/* The same, compressed, when there is a deflater: what is fragmented are the compressed bytes. */
static inline void put_compressed(struct stream *s, struct deflater *d, int type, size_t n, size_t fragments) {
  uint8_t *p = malloc(n + 1);
  struct buffer packed = {0};
  CHECK(p != NULL);
  fill_text(p, n);
  messages_add(&s->messages, type, p, n);
  CHECK_EQ(deflater_run(d, p, n, &packed), WSC_OK);
  put_frames(s, 0x40 | type, packed.data, packed.length, fragments);
  buffer_free(&packed);
  free(p);
}

static inline struct stream random_stream(int messages, bool large) {
  struct stream s = {0};
  for (int i = 0; i < messages; i++) {
    size_t n = large ? random_length() : random_below(140);
    put_message(&s, 1 + (int)random_below(2), n, random_below(3) == 0 ? 1 + random_below(6) : 0);
    if (random_below(4) == 0) put_control(&s);
  }
  return s;
}

/* ---- feeding ---- */

struct feed {
  struct arena_pool *pool;
  struct receiver r;
  struct batch_queue out;
  struct messages messages, control;
  bool hold; /* batches stay in the queue until the end: what they point at must not change */
};

static inline void feed_begin(struct feed *f, uint64_t max_message) {
  *f = (struct feed){.pool = arena_pool_new()};
  CHECK(f->pool != NULL);
  receiver_init(&f->r, f->pool, max_message);
}

static inline void feed_end(struct feed *f) {
  batch_queue_clear(&f->out);
  receiver_free(&f->r);
  arena_pool_free(f->pool);
  messages_free(&f->messages);
  messages_free(&f->control);
}

/* n bytes have come, or 0: what a former pass has left. */
static inline int feed_pass(struct feed *f, size_t n) {
  static int64_t now = 1000;
  now++;
  struct messages control = {0};
  const struct receiver_sink sink = {.control = on_control, .self = &control};
  int status = receiver_advance(&f->r, n, now, &f->out, &sink);
  for (size_t i = 0; i < control.count; i++) {
    const struct message *m = message_at(&control, i);
    messages_add(&f->control, m->type, control.bytes.data + m->at, m->length);
  }
  messages_free(&control);
  if (!f->hold) add_batches(&f->messages, &f->out, now);
  return status;
}

/* One receive of at most n bytes; *used says how many there was space for. */
static inline int feed_once(struct feed *f, const uint8_t *p, size_t n, size_t *used) {
  struct iovec iov[2];
  int count = receiver_space(&f->r, iov);
  if (count < 0) return count;
  CHECK(count == 1 || count == 2);
  size_t at = 0;
  for (int i = 0; i < count; i++) {
    CHECK(iov[i].iov_len > 0);
    size_t part = iov[i].iov_len < n - at ? iov[i].iov_len : n - at;
    memcpy(iov[i].iov_base, p + at, part);
    at += part;
  }
  *used = at;
  int status = feed_pass(f, at);
  while (status == WSC_OK && f->r.more) {
    if (random_below(2) == 0) receiver_rest(&f->r); /* which must not take what is left */
    status = feed_pass(f, 0);
  }
  return status;
}

static inline int feed_all(struct feed *f, const uint8_t *p, size_t n) {
  for (size_t at = 0; at < n;) {
    size_t used = 0;
    int status = feed_once(f, p + at, n - at, &used);
    if (status != WSC_OK) return status;
    at += used;
  }
  return WSC_OK;
}

/* rest: of 8 receives, after how many the socket is empty for a while. */
static inline int feed_in_pieces(struct feed *f, const uint8_t *p, size_t n, size_t largest, size_t rest) {
  for (size_t at = 0; at < n;) {
    size_t piece = 1 + random_below(largest), used = 0;
    int status = feed_once(f, p + at, piece < n - at ? piece : n - at, &used);
    if (status != WSC_OK) return status;
    at += used;
    if (random_below(8) < rest) receiver_rest(&f->r);
  }
  return WSC_OK;
}

static inline void check_arrived(struct feed *f, const struct stream *s) {
  add_batches(&f->messages, &f->out, 0);
  check_same(&f->messages, &s->messages);
  check_same(&f->control, &s->control);
  receiver_rest(&f->r);
  CHECK(f->r.arena == NULL && f->r.block == NULL && f->r.tail_length == 0); /* nothing is kept between messages */
}

#endif
