/* What receiving costs without a socket: bytes are copied to where the receiver wants them (64 KiB a receive), the
 * copying is timed on its own and taken off. Prints ns a message of CPU time, the best of several rounds. */
#define _GNU_SOURCE
#include "cpu_clock.h"
#include "receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ignore(void *self, int opcode, const uint8_t *payload, size_t length) {
  (void)self, (void)opcode, (void)payload, (void)length;
}

static size_t frame(uint8_t *out, int opcode, size_t length) {
  size_t n = 2;
  out[0] = (uint8_t)(0x80 | opcode);
  if (length < 126) {
    out[1] = (uint8_t)length;
  } else {
    n = length < 65536 ? 4 : 10;
    out[1] = n == 4 ? 126 : 127;
    for (size_t i = 2; i < n; i++) out[i] = (uint8_t)(length >> 8 * (n - 1 - i));
  }
  memset(out + n, 'x', length);
  return n + length;
}

/* The stream goes round; returns ns of CPU a message. drain: whether batches are dropped at once, as a prompt reader
 * does. */
static double run(const uint8_t *stream, size_t size, size_t per_receive, int rounds, uint64_t want_a_round) {
  struct arena_pool *pool = arena_pool_new();
  struct receiver r;
  receiver_init(&r, pool, 16 << 20);
  struct batch_queue out = {0};
  const struct receiver_sink sink = {.control = ignore};
  double best = 1e18, copying = 1e18;
  static uint8_t scratch[65536];

  for (int round = 0; round < rounds; round++) {
    uint64_t messages = 0;
    double began = cpu_ns();
    for (size_t at = 0; at < size;) {
      struct iovec iov[2];
      int count = receiver_space(&r, iov);
      if (count < 0) abort();
      size_t n = 0;
      for (int i = 0; i < count && n < per_receive && at < size; i++) {
        size_t part = iov[i].iov_len;
        if (part > per_receive - n) part = per_receive - n;
        if (part > size - at) part = size - at;
        memcpy(iov[i].iov_base, stream + at, part);
        at += part;
        n += part;
      }
      if (receiver_advance(&r, n, 1, &out, &sink) != WSC_OK) abort();
      messages += out.messages;
      batch_queue_clear(&out);
    }
    double took = cpu_ns() - began;
    if (messages != want_a_round) abort();
    if (took < best) best = took;

    began = cpu_ns();
    for (size_t at = 0; at < size;) {
      size_t part = size - at < per_receive ? size - at : per_receive;
      memcpy(scratch, stream + at, part);
      __asm__ volatile("" : : "r"(scratch) : "memory");
      at += part;
    }
    took = cpu_ns() - began;
    if (took < copying) copying = took;
  }
  receiver_free(&r);
  arena_pool_free(pool);
  printf("%10.1f", (best - copying) / (double)want_a_round);
  return best;
}

static void bench(const char *name, int opcode, size_t length, size_t per_receive, uint64_t messages) {
  uint8_t *stream = malloc((length + 10) * messages);
  if (stream == NULL) abort();
  size_t size = 0;
  for (uint64_t i = 0; i < messages; i++) size += frame(stream + size, opcode, length);
  printf("%-34s", name);
  double best = run(stream, size, per_receive, 30, messages);
  printf(" ns/message  (%.1f with the copy into the arena)\n", best / (double)messages);
  free(stream);
}

int main(void) {
  bench("16 B binary", OPCODE_BINARY, 16, 65536, 400000);
  bench("16 B text", OPCODE_TEXT, 16, 65536, 400000);
  bench("16 B binary, one a receive", OPCODE_BINARY, 16, 18, 100000);
  bench("256 B text", OPCODE_TEXT, 256, 65536, 40000);
  bench("16 KiB binary", OPCODE_BINARY, 16384, 65536, 1000);
  bench("16 KiB text", OPCODE_TEXT, 16384, 65536, 1000);
  bench("1 MiB binary", OPCODE_BINARY, 1 << 20, 65536, 32);
  bench("1 MiB text", OPCODE_TEXT, 1 << 20, 65536, 32);
  return 0;
}
