/* The limits of the machine: the least that any client has to do.
 * EXTRA: recv: "bytes" (the data is not looked at) or "headers" (each frame's header is parsed, nothing else)
 *        send: "each" (one send(2) a frame) or "batch" (64 KiB a send(2)) */
#define _GNU_SOURCE
#include "bench.h"

static uint8_t buffer[65536];

static size_t put_frame(uint8_t *p, int opcode, size_t n) { /* masked with key 0 */
  size_t at = 2;
  p[0] = (uint8_t)(0x80 | opcode);
  if (n < 126) {
    p[1] = (uint8_t)(0x80 | n);
  } else if (n < 65536) {
    p[1] = 0xfe;
    p[2] = (uint8_t)(n >> 8);
    p[3] = (uint8_t)n;
    at = 4;
  } else {
    p[1] = 0xff;
    for (int i = 0; i < 8; i++) p[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
    at = 10;
  }
  memset(p + at, 0, 4);
  memset(p + at + 4, 'x', n);
  return at + 4 + n;
}

static void send_all(int fd, const uint8_t *p, size_t n) {
  while (n) {
    ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
    if (r < 0) die("send");
    p += r;
    n -= (size_t)r;
  }
}

static void receive_bytes(struct bench *b, int fd) {
  size_t frame = b->size + (b->size < 126 ? 2 : b->size < 65536 ? 4 : 10);
  uint64_t want = (uint64_t)frame * (uint64_t)b->count + 4, got = 0;
  while (got < want) {
    ssize_t r = recv(fd, buffer, sizeof buffer, 0);
    if (r <= 0) break;
    got += (uint64_t)r;
  }
  b->messages = (got - 4) / frame;
  b->bytes = b->messages * b->size;
}

/* Parses the whole headers at p; gives what is left of them. *skip: payload bytes still to come. */
static size_t walk_headers(struct bench *b, const uint8_t *p, size_t n, uint64_t *skip, int *closed) {
  size_t at = 0;
  for (;;) {
    size_t k = *skip < n - at ? (size_t)*skip : n - at;
    at += k;
    *skip -= k;
    if (*skip || n - at < 2) return at;
    uint64_t length = p[at + 1] & 127;
    size_t header = 2;
    if (length == 126) {
      if (n - at < 4) return at;
      length = (uint64_t)p[at + 2] << 8 | p[at + 3];
      header = 4;
    } else if (length == 127) {
      if (n - at < 10) return at;
      length = 0;
      for (int i = 0; i < 8; i++) length = length << 8 | p[at + 2 + (size_t)i];
      header = 10;
    }
    if ((p[at] & 15) == 8) {
      *closed = 1;
      return at;
    }
    b->messages++;
    b->bytes += length;
    at += header;
    *skip = length;
  }
}

static void receive_headers(struct bench *b, int fd) {
  size_t have = 0;
  uint64_t skip = 0;
  int closed = 0;
  while (!closed) {
    ssize_t r = recv(fd, buffer + have, sizeof buffer - have, 0);
    if (r <= 0) break;
    have += (size_t)r;
    size_t used = walk_headers(b, buffer, have, &skip, &closed);
    memmove(buffer, buffer + used, have - used);
    have -= used;
  }
}

static void send_many(struct bench *b, int fd) {
  uint8_t *f = malloc(65536 + b->size + 64);
  size_t n = put_frame(f, 2, b->size);
  long per = 1;
  if (!strcmp(b->extra, "batch")) {
    per = n < 65536 ? (long)(65536 / n) : 1;
    for (long i = 1; i < per; i++) memcpy(f + (size_t)i * n, f, n);
  }
  for (long left = b->count; left > 0; left -= per) send_all(fd, f, n * (size_t)(left < per ? left : per));
  n = put_frame(f, 1, 5);
  memcpy(f + n - 5, "count", 5);
  send_all(fd, f, n);
  ssize_t r = recv(fd, buffer, sizeof buffer - 1, 0);
  buffer[r > 0 ? r : 0] = 0;
  b->messages = strtoull((char *)buffer + 2, NULL, 10);
  b->bytes = b->messages * b->size;
  free(f);
}

static void round_trips(struct bench *b, int fd) {
  uint8_t *f = malloc(b->size + 64);
  size_t n = put_frame(f, 2, b->size), answer = n - 4;
  for (long i = 0; i < b->count; i++) {
    double t = now_s();
    send_all(fd, f, n);
    for (size_t got = 0; got < answer;) {
      ssize_t r = recv(fd, buffer, sizeof buffer, 0);
      if (r <= 0) die("recv");
      got += (size_t)r;
    }
    b->latency[b->messages++] = now_s() - t;
    b->bytes += b->size;
  }
  free(f);
}

int main(int argc, char **argv) {
  struct bench b;
  bench_args(&b, argc, argv);
  bench_start(&b);
  if (mode_is(&b, "idle")) {
    for (long i = 0; i < b.count; i++) ws_connect(&b);
    b.messages = (uint64_t)b.count;
    bench_report(&b);
    return 0;
  }
  int fd = ws_connect(&b);
  if (mode_is(&b, "send")) {
    send_many(&b, fd);
  } else if (mode_is(&b, "rtt")) {
    round_trips(&b, fd);
  } else if (!strcmp(b.extra, "headers")) {
    receive_headers(&b, fd);
  } else {
    receive_bytes(&b, fd);
  }
  bench_report(&b);
  uint8_t bye[16];
  size_t n = put_frame(bye, 8, 2);
  bye[n - 2] = 0x03;
  bye[n - 1] = 0xe8;
  send(fd, bye, n, MSG_NOSIGNAL);
  return 0;
}
