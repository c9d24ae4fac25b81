/* Every wait watches wake_fd and the time; sending waits as long as the client is slow. Frames of the client are read for what they ask (ping, close) and otherwise
 * thrown away. */
#define _GNU_SOURCE
#include "replay.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10, NO_STATUS = 1005, HEAD_MAX = 65536, PATIENCE_MS = 5000 };

struct player {
  const struct replay *options;
  struct recording recording;
  int listener, fd; /* fd: the client, -1: none */
  struct bytes in;
  bool closing;     /* ours has left */
  bool closed;      /* the client's close frame came */
  int64_t until_ns; /* of --timeout; 0: none */
};

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- waiting ---- */

enum woken { BY_TIME, BY_SOCKET, BY_END };

/* For fd to be ready for events (POLLIN, POLLOUT), until due_ns (0: for ever; a time that is over: only looks). */
static enum woken wait_for(const struct player *p, int fd, short events, int64_t due_ns) {
  for (;;) {
    int64_t until = due_ns;
    if (p->until_ns != 0 && (until == 0 || p->until_ns < until)) until = p->until_ns;
    int64_t left = until != 0 ? until - now_ns() : -1;
    if (until != 0 && left < 0) left = 0;
    int timeout = until == 0 ? -1 : left / 1000000 > 3600000 ? 3600000 : (int)((left + 999999) / 1000000);
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = p->options->wake_fd, .events = POLLIN}};
    int n = poll(fds, 2, timeout);
    if (n < 0 && errno != EINTR) return BY_END;
    if (fds[1].revents != 0 || (p->until_ns != 0 && now_ns() >= p->until_ns)) return BY_END;
    if (n > 0) return BY_SOCKET;
    if (due_ns != 0 && now_ns() >= due_ns) return BY_TIME;
  }
}

/* ---- the client ---- */

/* false: the client is gone, or it is time to end. */
static bool send_all(const struct player *p, const void *from, size_t n) {
  for (const uint8_t *at = from; n > 0;) {
    ssize_t sent = send(p->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN && wait_for(p, p->fd, POLLOUT, 0) == BY_SOCKET) continue;
    if (sent <= 0) return false;
    at += sent;
    n -= (size_t)sent;
  }
  return true;
}

static bool send_frame(const struct player *p, int opcode, const uint8_t *payload, size_t n) {
  uint8_t head[10] = {(uint8_t)(0x80 | opcode), (uint8_t)(n < 126 ? n : n < 65536 ? 126 : 127)};
  size_t size = n < 126 ? 2 : n < 65536 ? 4 : 10;
  for (size_t i = 2; i < size; i++) head[i] = (uint8_t)((uint64_t)n >> (8 * (size - 1 - i)));
  return send_all(p, head, size) && send_all(p, payload, n);
}

/* More bytes of the client. false: it is gone. */
static bool receive(struct player *p) {
  ssize_t n = recv(p->fd, bytes_room(&p->in, 65536), 65536, 0);
  if (n > 0) p->in.n += (size_t)n;
  return n > 0 || (n < 0 && errno == EINTR);
}

static void consume(struct bytes *b, size_t n) {
  memmove(b->p, b->p + n, b->n - n);
  b->n -= n;
}

/* Answers what whole frames there are. false: it is gone, or no WebSocket client. */
static bool answer_frames(struct player *p) {
  while (p->in.n >= 2) {
    uint8_t *b = p->in.p;
    size_t extended = (b[1] & 127) == 126 ? 2 : (b[1] & 127) == 127 ? 8 : 0, head = 2 + extended + 4;
    if ((b[1] & 128) == 0) return false;
    if (p->in.n < head) return true;
    uint64_t n = b[1] & 127;
    if (extended != 0) n = 0;
    for (size_t i = 0; i < extended; i++) n = n << 8 | b[2 + i];
    if (n > (1 << 30)) return false;
    if (p->in.n - head < n) return true;
    for (uint64_t i = 0; i < n; i++) b[head + i] ^= b[head - 4 + i % 4];
    int opcode = b[0] & 15;
    bool good = opcode != PING || send_frame(p, PONG, b + head, (size_t)n);
    if (opcode == CLOSE) p->closed = true;
    if (opcode == CLOSE && !p->closing) send_frame(p, CLOSE, b + head, (size_t)n);
    consume(&p->in, head + (size_t)n);
    if (!good || p->closed) return false;
  }
  return true;
}

/* Until due_ns, hearing the client meanwhile. BY_SOCKET: it is gone. */
static enum woken listen_until(struct player *p, int64_t due_ns) {
  for (;;) {
    enum woken w = wait_for(p, p->fd, POLLIN, due_ns);
    if (w != BY_SOCKET) return w;
    if (!receive(p) || !answer_frames(p)) return BY_SOCKET;
  }
}

/* ---- the upgrade ---- */

/* The value of a header in a head that ends with a NUL; empty: there is none. */
static void header(const char *head, const char *name, char *out, size_t size) {
  const char *at = strcasestr(head, name);
  at = at != NULL ? at + strlen(name) : "";
  at += strspn(at, " \t");
  snprintf(out, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

/* Whether a list "a, b" has the name. */
static bool offers(const char *list, const char *name) {
  static const char between[] = ", \t";
  for (const char *at = list + strspn(list, between); *at != 0; at += strspn(at, between)) {
    size_t n = strcspn(at, between);
    if (n == strlen(name) && memcmp(at, name, n) == 0) return true;
    at += n;
  }
  return false;
}

static bool upgrade(struct player *p, const struct record *open) {
  int64_t due = now_ns() + (int64_t)PATIENCE_MS * 1000000;
  uint8_t *end = NULL;
  p->in.n = 0;
  p->closing = p->closed = false;
  while (end == NULL) {
    if (wait_for(p, p->fd, POLLIN, due) != BY_SOCKET || !receive(p) || p->in.n > HEAD_MAX) return false;
    end = memmem(p->in.p, p->in.n, "\r\n\r\n", 4);
  }
  *end = 0;
  char key[64], joined[128], protocols[1024];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  struct bytes answer = {0};
  header((char *)p->in.p, "\r\nsec-websocket-key:", key, sizeof key);
  header((char *)p->in.p, "\r\nsec-websocket-protocol:", protocols, sizeof protocols);
  consume(&p->in, (size_t)(end + 4 - p->in.p));
  int n = snprintf(joined, sizeof joined, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  if (*key == 0 || EVP_Digest(joined, (size_t)n, digest, &length, EVP_sha1(), NULL) != 1) {
    static const char no[] = "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    send_all(p, no, sizeof no - 1);
    return false;
  }
  bytes_print(&answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: ");
  base64(&answer, digest, length);
  char subprotocol[256];
  snprintf(subprotocol, sizeof subprotocol, "%.*s", (int)open->n, (const char *)open->p);
  if (offers(protocols, subprotocol)) bytes_print(&answer, "\r\nSec-WebSocket-Protocol: %s", subprotocol);
  bytes_print(&answer, "\r\n\r\n");
  bool sent = send_all(p, answer.p, answer.n);
  bytes_free(&answer);
  return sent;
}

/* ---- playing ---- */

static void close_politely(struct player *p, int code, const uint8_t *reason, size_t n) {
  uint8_t payload[125] = {(uint8_t)(code >> 8), (uint8_t)code};
  if (n > 0) memcpy(payload + 2, reason, n);
  p->closing = true;
  if (p->closed || !send_frame(p, CLOSE, payload, code == NO_STATUS ? 0 : n + 2)) return;
  listen_until(p, now_ns() + (int64_t)PATIENCE_MS * 1000000);
}

/* The client finds no close frame, as it was, but all that came before: a reset would take along what the kernel still
 * holds of it. */
static void lose(struct player *p) {
  shutdown(p->fd, SHUT_WR);
  listen_until(p, now_ns() + (int64_t)PATIENCE_MS * 1000000);
}

/* When a record is due; a session that lasts longer than a century was edited. */
static int64_t due_at(const struct player *p, int64_t began_ns, const struct record *open, const struct record *r) {
  static const double century_ns = 3.2e18;
  if (p->options->speed <= 0 || r->at_ns <= open->at_ns) return began_ns;
  double after = (double)(r->at_ns - open->at_ns) / p->options->speed;
  return began_ns + (int64_t)(after < century_ns ? after : century_ns);
}

/* The session that begins at `from`. BY_END: the time is up. */
static enum woken play(struct player *p, size_t from) {
  const struct record *records = p->recording.records, *open = &records[from];
  int64_t began = now_ns();
  for (size_t i = from + 1; i < p->recording.count && records[i].kind != RECORD_OPEN; i++) {
    const struct record *r = &records[i];
    if (r->kind == RECORD_SENT_TEXT || r->kind == RECORD_SENT_BINARY) continue;
    enum woken w = listen_until(p, due_at(p, began, open, r));
    if (w != BY_TIME) return w;
    switch (r->kind) {
    case RECORD_CLOSE: close_politely(p, r->code, r->p, r->n); return BY_TIME;
    case RECORD_LOST: lose(p); return BY_TIME;
    default:
      if (!send_frame(p, r->kind == RECORD_TEXT ? TEXT : BINARY, r->p, r->n)) return BY_SOCKET;
    }
  }
  close_politely(p, 1000, NULL, 0); /* the recording ended before the session did */
  return BY_TIME;
}

static size_t next_session(const struct recording *r, size_t after) {
  for (size_t i = after; i < r->count; i++)
    if (r->records[i].kind == RECORD_OPEN) return i;
  return 0; /* the first record is one */
}

static void serve(struct player *p) {
  size_t session = 0;
  while (wait_for(p, p->listener, POLLIN, 0) == BY_SOCKET) {
    int one = 1;
    p->fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    if (p->fd < 0) { /* out of fds, say: the client still waits, so asking again at once would only spin */
      wait_for(p, -1, 0, now_ns() + 100000000);
      continue;
    }
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    enum woken w = BY_SOCKET;
    if (upgrade(p, &p->recording.records[session])) {
      w = play(p, session);
      session = next_session(&p->recording, session + 1);
    }
    close(p->fd);
    p->fd = -1;
    if (w == BY_END) return;
  }
}

static bool begin(struct player *p) {
  struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)p->options->port)};
  socklen_t size = sizeof a;
  int one = 1;
  p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, size) != 0 || listen(p->listener, 16) != 0 ||
      getsockname(p->listener, (struct sockaddr *)&a, &size) != 0) {
    complain("--port %d: %s", p->options->port, strerror(errno));
    return false;
  }
  printf("ws://127.0.0.1:%d/\n", ntohs(a.sin_port));
  return fflush(stdout) == 0;
}

int replay_run(const struct replay *options) {
  struct player p = {.options = options, .listener = -1, .fd = -1};
  if (options->timeout_ms > 0) p.until_ns = now_ns() + options->timeout_ms * 1000000;
  bool good = recording_read(&p.recording, options->path) && begin(&p);
  if (good) serve(&p);
  if (p.listener >= 0) close(p.listener);
  recording_free(&p.recording);
  bytes_free(&p.in);
  return good ? 0 : 1;
}
