/* What receiving compressed messages costs beside zlib alone: the same 1 KiB JSON messages, context takeover, one after the other through the receiver
 * (frames, limit, UTF-8, batches) and through inflate() into one buffer. Rounds take turns; the bytes are copied to where the receiver wants them, which
 * counts. Prints one JSON object: ns of CPU a message, medians. */
#define _GNU_SOURCE
#include "cpu_clock.h"
#include "deflate.h"
#include "receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MESSAGES = 20000, ROUNDS = 15, ROOM = 2048 };

static void ignore(void *self, int opcode, const uint8_t *payload, size_t length) {
  (void)self, (void)opcode, (void)payload, (void)length;
}

/* A row of a feed, about a kilobyte, different each time. */
static size_t json(char out[ROOM], unsigned i) {
  size_t n = (size_t)snprintf(out, ROOM, "{\"sequence\":%u,\"quotes\":[", i);
  for (unsigned q = 0; n < 960; q++) {
    unsigned price = (i * 7919 + q * 104729) % 100000;
    n +=
        (size_t)snprintf(out + n, ROOM - n, "%s{\"symbol\":\"SYM%u\",\"bid\":%u.%02u,\"ask\":%u.%02u,\"size\":%u}",
                         q ? "," : "", (i + q) % 40, price / 100, price % 100, price / 100, (price + 3) % 100, q * 100);
  }
  return n + (size_t)snprintf(out + n, ROOM - n, "]}");
}

/* The messages as frames, and where each payload lies. */
static struct buffer stream;
static size_t payloads[MESSAGES], lengths[MESSAGES], total;

static void make_stream(void) {
  struct deflater *d = deflater_new(15, 6, false);
  struct buffer packed = {0};
  char text[ROOM];
  for (unsigned i = 0; i < MESSAGES; i++) {
    size_t n = json(text, i);
    total += n;
    packed.length = 0;
    if (!d || deflater_run(d, (uint8_t *)text, n, &packed) != WSC_OK) abort();
    uint8_t head[4] = {0xc1, 126, (uint8_t)(packed.length >> 8), (uint8_t)packed.length};
    size_t size = packed.length < 126 ? 2 : 4;
    if (size == 2) head[1] = (uint8_t)packed.length;
    if (buffer_append(&stream, head, size) != WSC_OK) abort();
    payloads[i] = stream.length;
    lengths[i] = packed.length;
    if (buffer_append(&stream, packed.data, packed.length) != WSC_OK) abort();
  }
  deflater_free(d);
  buffer_free(&packed);
}

static double ours(struct arena_pool *pool) {
  struct receiver r;
  struct batch_queue out = {0};
  const struct receiver_sink sink = {.control = ignore};
  uint64_t messages = 0;
  receiver_init(&r, pool, 1 << 20);
  if (receiver_inflates(&r, 15, false) != WSC_OK) abort();
  double began = cpu_ns();
  for (size_t at = 0; at < stream.length;) {
    struct iovec iov[2];
    if (receiver_space(&r, iov) < 0) abort();
    size_t n = iov[0].iov_len < stream.length - at ? iov[0].iov_len : stream.length - at;
    memcpy(iov[0].iov_base, stream.data + at, n);
    at += n;
    do {
      if (receiver_advance(&r, n, 1, &out, &sink) != WSC_OK) abort();
      n = 0;
    } while (r.more);
    messages += out.messages;
    batch_queue_clear(&out);
  }
  double took = cpu_ns() - began;
  if (messages != MESSAGES || r.unpacked_bytes != total) abort();
  receiver_free(&r);
  return took / MESSAGES;
}

static double zlib_alone(void) {
  static uint8_t out[ROOM];
  uint8_t tail[] = {0, 0, 0xff, 0xff};
  size_t bytes = 0;
  z_stream z = {0};
  if (inflateInit2(&z, -15) != Z_OK) abort();
  double began = cpu_ns();
  for (unsigned i = 0; i < MESSAGES; i++) {
    z.next_out = out;
    z.avail_out = sizeof out;
    z.next_in = stream.data + payloads[i];
    z.avail_in = (unsigned)lengths[i];
    if (inflate(&z, Z_SYNC_FLUSH) != Z_OK) abort();
    z.next_in = tail;
    z.avail_in = sizeof tail;
    if (inflate(&z, Z_SYNC_FLUSH) != Z_OK) abort();
    bytes += sizeof out - z.avail_out;
  }
  double took = cpu_ns() - began;
  if (bytes != total) abort();
  inflateEnd(&z);
  return took / MESSAGES;
}

int main(void) {
  double mine[ROUNDS], theirs[ROUNDS];
  struct arena_pool *pool = arena_pool_new();
  make_stream();
  for (int i = 0; i < ROUNDS; i++) {
    mine[i] = ours(pool);
    theirs[i] = zlib_alone();
  }
  printf("{\"ours\": %.1f, \"zlib\": %.1f, \"bytes\": %zu, \"packed\": %zu}\n", median(mine, ROUNDS),
         median(theirs, ROUNDS), total / MESSAGES, stream.length / MESSAGES);
  arena_pool_free(pool);
  buffer_free(&stream);
  return 0;
}
