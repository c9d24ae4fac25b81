/* Frames and their assembly, plain and compressed. The first byte says what is agreed on, the second how the bytes are cut;
 * the same bytes in one piece must give the same messages and the same end. */
#include "deflate.h"
#include "fuzz.h"
#include "receiver.h"

enum { LIMIT = 100000 };

struct result {
  int status, close_code;
  uint64_t hash;
  uint64_t messages, controls;
};

static void mix(struct result *r, uint64_t value) { r->hash = (r->hash ^ value) * UINT64_C(1099511628211); }

static void on_control(void *self, int opcode, const uint8_t *payload, size_t length) {
  (void)payload;
  struct result *r = self;
  r->controls++;
  PROMISE(opcode >= 8 && length <= 125);
}

static struct result run(const uint8_t *data, size_t size, bool compressed, unsigned cut) {
  struct result result = {.hash = 1};
  struct arena_pool *pool = arena_pool_new();
  struct receiver r;
  receiver_init(&r, pool, LIMIT);
  if (compressed) PROMISE(receiver_inflates(&r, 15, (cut & 64) != 0 && cut != 0xff) == WSC_OK);
  const struct receiver_sink sink = {on_control, &result};
  unsigned state = cut;
  for (size_t at = 0; at < size && result.status == WSC_OK && !r.closed;) {
    struct iovec iov[2];
    int count = receiver_space(&r, iov);
    PROMISE(count > 0);
    state = state * 1103515245 + 12345;
    size_t want = cut == 0xff ? size : 1 + (state >> 16) % (1 + cut * 8u), used = 0;
    if (want > size - at) want = size - at;
    for (int i = 0; i < count && used < want; i++) {
      size_t part = iov[i].iov_len < want - used ? iov[i].iov_len : want - used;
      memcpy(iov[i].iov_base, data + at + used, part);
      used += part;
    }
    at += used;
    struct batch_queue out = {0};
    do {
      uint64_t before = r.unpacked_bytes;
      result.status = receiver_advance(&r, used, 1, &out, &sink);
      PROMISE(r.unpacked_bytes - before < 2 * ARENA_BYTES + 2 * LIMIT);
      used = 0;
    } while (r.more);
    for (struct wsc_batch *b; (b = batch_queue_pop(&out)) != NULL; batch_unref(b)) {
      for (uint32_t i = 0; i < b->count; i++) {
        const wsc_record *record = &b->records[i];
        PROMISE(record->offset + record->length <= b->length && record->length <= LIMIT);
        mix(&result, record->type);
        for (uint32_t j = 0; j < record->length; j++) mix(&result, b->base[record->offset + j]);
        if (record->type == OPCODE_TEXT) PROMISE(utf8_valid(b->base + record->offset, record->length));
        result.messages++;
      }
    }
    if ((state >> 20) % 4 == 0) receiver_rest(&r);
  }
  if (result.status != WSC_OK) {
    result.close_code = r.fault->close_code;
    PROMISE(*r.fault->reason && *r.fault->detail);
  }
  receiver_free(&r);
  arena_pool_free(pool);
  return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  bool compressed = (take_byte(&in) & 1) != 0;
  uint8_t cut = take_byte(&in);
  struct result whole = run(in.p, in.n, compressed, 0xff), pieces = run(in.p, in.n, compressed, cut & 0xbf);
  PROMISE(whole.status == pieces.status && whole.close_code == pieces.close_code);
  PROMISE(whole.messages == pieces.messages && whole.hash == pieces.hash);
  return 0;
}
