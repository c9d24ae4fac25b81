/* The load server: one thread a connection, blocking sockets, frames serialised beforehand.
 *
 *   server PORT       (127.0.0.1)
 *   /flood?size=S&count=N[&text=1]   N unmasked frames of S bytes, 64 KiB a send(2), then close 1000
 *   /echo   echoes every data message; the answers of one recv leave in one send
 *   /sink   counts messages; a text "count" is answered with "<messages> <bytes>"
 *   /idle   keeps the connection open and answers pings */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum mode { ECHO, SINK, IDLE };
enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct frame {
  size_t header, total; /* total: 0 when the header is not complete */
  uint64_t length;
  const uint8_t *key; /* NULL: not masked */
};

struct peer {
  int fd;
  enum mode mode;
  uint8_t *in, *out;
  size_t in_size, in_used, out_size, out_used;
  uint64_t messages, bytes;
};

static void *grown(void *p, size_t n) {
  p = realloc(p, n);
  if (!p) abort();
  return p;
}

static int send_all(int fd, const uint8_t *p, size_t n) {
  while (n) {
    ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
    if (r < 0 && errno == EINTR) continue;
    if (r < 0) return -1;
    p += r;
    n -= (size_t)r;
  }
  return 0;
}

static size_t put_header(uint8_t *p, int first, uint64_t n) {
  p[0] = (uint8_t)first;
  if (n < 126) {
    p[1] = (uint8_t)n;
    return 2;
  }
  int bytes = n < 65536 ? 2 : 8;
  p[1] = bytes == 2 ? 126 : 127;
  for (int i = 0; i < bytes; i++) p[2 + i] = (uint8_t)(n >> (8 * (bytes - 1 - i)));
  return 2 + (size_t)bytes;
}

static void unmask(uint8_t *p, size_t n, const uint8_t *key) {
  uint32_t four;
  memcpy(&four, key, 4);
  uint64_t eight = ((uint64_t)four << 32) | four;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t v;
    memcpy(&v, p + i, 8);
    v ^= eight;
    memcpy(p + i, &v, 8);
  }
  for (; i < n; i++) p[i] ^= key[i & 3];
}

static struct frame frame_at(const uint8_t *p, size_t n) {
  struct frame f = {0};
  if (n < 2) return f;
  size_t at = 2;
  size_t extended = (p[1] & 127) == 126 ? 2 : (p[1] & 127) == 127 ? 8 : 0;
  if (n < at + extended) return f;
  f.length = p[1] & 127;
  if (extended) f.length = 0;
  for (size_t i = 0; i < extended; i++) f.length = f.length << 8 | p[at + i];
  at += extended;
  if (p[1] & 128) {
    if (n < at + 4) return f;
    f.key = p + at;
    at += 4;
  }
  f.header = at;
  f.total = at + f.length;
  return f;
}

static long parameter(const char *path, const char *name, long otherwise) {
  size_t n = strlen(name);
  for (const char *p = strpbrk(path, "?&"); p; p = strpbrk(p + 1, "&")) {
    if (!strncmp(p + 1, name, n) && p[1 + n] == '=') return atol(p + 2 + n);
  }
  return otherwise;
}

static void flood(int fd, const char *path) {
  size_t size = (size_t)parameter(path, "size", 16);
  long count = parameter(path, "count", 1000);
  int type = parameter(path, "text", 0) ? TEXT : BINARY;
  uint8_t header[16];
  size_t n = put_header(header, 0x80 | type, size), frame = n + size;
  long per = frame < 65536 ? (long)(65536 / frame) : 1;
  uint8_t *block = grown(NULL, frame * (size_t)per);
  for (long i = 0; i < per; i++) {
    uint8_t *p = block + (size_t)i * frame;
    memcpy(p, header, n);
    for (size_t j = 0; j < size; j++) {
      p[n + j] = type == TEXT ? (uint8_t)('a' + ((size_t)i + j) % 26) : (uint8_t)((size_t)i * 7 + j);
    }
  }
  int failed = 0;
  for (; count > 0 && !failed; count -= per) failed = send_all(fd, block, frame * (size_t)(count < per ? count : per));
  free(block);
  if (failed) return;
  static const uint8_t normal[4] = {0x88, 2, 0x03, 0xe8};
  if (send_all(fd, normal, sizeof normal)) return;
  struct timeval patience = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (recv(fd, header, sizeof header, 0) < 0) return; /* the client's close, or its end of file */
}

static void answer(struct peer *p, int first, const uint8_t *data, size_t n) {
  if (p->out_used + n + 16 > p->out_size) {
    p->out_size = p->out_used + n + 65536;
    p->out = grown(p->out, p->out_size);
  }
  p->out_used += put_header(p->out + p->out_used, first, n);
  memcpy(p->out + p->out_used, data, n);
  p->out_used += n;
}

static void count(struct peer *p, uint8_t *frame, uint8_t *payload, const struct frame *f) {
  if ((frame[0] & 15) == TEXT && f->length == 5) {
    if (f->key) unmask(payload, 5, f->key);
    if (!memcmp(payload, "count", 5)) {
      char text[64];
      int n = snprintf(text, sizeof text, "%llu %llu", (unsigned long long)p->messages, (unsigned long long)p->bytes);
      answer(p, 0x80 | TEXT, (uint8_t *)text, (size_t)n);
      p->messages = p->bytes = 0;
      return;
    }
  }
  if (frame[0] & 128) p->messages++;
  p->bytes += f->length;
}

/* One whole frame; 1 when it was a close. */
static int handle(struct peer *p, uint8_t *frame, const struct frame *f) {
  int opcode = frame[0] & 15;
  uint8_t *payload = frame + f->header;
  if (p->mode == SINK && opcode < CLOSE) {
    count(p, frame, payload, f);
    return 0;
  }
  if (opcode == PONG || (opcode < CLOSE && p->mode != ECHO)) return 0;
  if (f->key) unmask(payload, f->length, f->key);
  answer(p, opcode == PING ? 0x80 | PONG : frame[0], payload, f->length);
  return opcode == CLOSE;
}

static void serve(struct peer *p) {
  for (int closed = 0; !closed;) {
    ssize_t r = recv(p->fd, p->in + p->in_used, p->in_size - p->in_used, 0);
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) return;
    p->in_used += (size_t)r;
    size_t at = 0;
    while (!closed) {
      struct frame f = frame_at(p->in + at, p->in_used - at);
      if (!f.total || f.total > p->in_used - at) {
        if (f.total > p->in_size) {
          p->in_size = f.total + 65536;
          p->in = grown(p->in, p->in_size);
        }
        break;
      }
      closed = handle(p, p->in + at, &f);
      at += f.total;
    }
    memmove(p->in, p->in + at, p->in_used - at);
    p->in_used -= at;
    if (p->out_used && send_all(p->fd, p->out, p->out_used)) return;
    p->out_used = 0;
  }
  shutdown(p->fd, SHUT_WR);
  while (recv(p->fd, p->in, p->in_size, 0) > 0) continue;
}

/* Reads the request and answers it; -1 when it is no upgrade. path: at least 512 bytes. */
static int upgrade(int fd, char *path) {
  char request[8192];
  size_t n = 0;
  do {
    ssize_t r = recv(fd, request + n, sizeof request - 1 - n, 0);
    if (r <= 0) return -1;
    n += (size_t)r;
    request[n] = 0;
  } while (!strstr(request, "\r\n\r\n") && n < sizeof request - 1);
  char *key = strcasestr(request, "\r\nsec-websocket-key:");
  if (sscanf(request, "GET %511s", path) != 1 || !key) return -1;
  key += 20;
  key += strspn(key, " ");
  char joined[128], accept[32], response[256];
  uint8_t digest[20];
  int joined_n =
      snprintf(joined, sizeof joined, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)strcspn(key, " \r"), key);
  if (joined_n >= (int)sizeof joined) return -1;
  SHA1((uint8_t *)joined, (size_t)joined_n, digest);
  EVP_EncodeBlock((uint8_t *)accept, digest, 20);
  int m = snprintf(response, sizeof response,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
  return send_all(fd, (uint8_t *)response, (size_t)m);
}

static void *connection(void *argument) {
  struct peer p = {.fd = (int)(intptr_t)argument, .mode = IDLE};
  int one = 1;
  char path[512];
  setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (upgrade(p.fd, path)) goto out;
  if (!strncmp(path, "/flood", 6)) {
    flood(p.fd, path);
    goto out;
  }
  if (!strncmp(path, "/echo", 5)) p.mode = ECHO;
  if (!strncmp(path, "/sink", 5)) p.mode = SINK;
  p.in_size = p.mode == IDLE ? 4096 : 1 << 18;
  p.in = grown(NULL, p.in_size);
  serve(&p);
out:
  free(p.in);
  free(p.out);
  close(p.fd);
  return NULL;
}

int main(int argc, char **argv) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  a.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
  socklen_t size = sizeof a;
  signal(SIGPIPE, SIG_IGN);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&a, size) || listen(listener, 4096) ||
      getsockname(listener, (struct sockaddr *)&a, &size)) {
    perror("bench server");
    return 1;
  }
  printf("%d\n", ntohs(a.sin_port)); /* PORT 0 asks for any free one */
  fflush(stdout);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 128 * 1024);
  pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    pthread_t t;
    if (fd >= 0 && pthread_create(&t, &small, connection, (void *)(intptr_t)fd)) close(fd);
    if (fd < 0 && errno == EMFILE) usleep(1000);
  }
}
