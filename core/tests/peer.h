/* The other end of a connection, played by the test itself: a listening socket, the upgrade's answer, frames as bytes. Everything blocks, but never for
 * ever: a receive that takes longer than ten seconds ends the test. */
#ifndef WSC_PEER_H
#define WSC_PEER_H

#include "check.h"
#include "upgrade.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct peer {
  int listener, fd;
  uint16_t port;
  char url[64];
};

static inline void peer_listen(struct peer *p) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  *p = (struct peer){.fd = -1};
  p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(p->listener, (struct sockaddr *)&a, n) == 0);
  CHECK(listen(p->listener, 1024) == 0);
  CHECK(getsockname(p->listener, (struct sockaddr *)&a, &n) == 0);
  p->port = ntohs(a.sin_port);
  snprintf(p->url, sizeof p->url, "ws://127.0.0.1:%u/", p->port);
}

static inline void peer_bytes(int fd, const void *data, size_t n) {
  const uint8_t *at = data;
  while (n > 0) {
    ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
    CHECK(sent > 0);
    at += sent;
    n -= (size_t)sent;
  }
}

static inline void peer_receive(int fd, void *to, size_t n) {
  uint8_t *at = to;
  while (n > 0) {
    ssize_t got = recv(fd, at, n, 0);
    CHECK(got > 0);
    at += got;
    n -= (size_t)got;
  }
}

static inline void peer_accept_tcp(struct peer *p) {
  struct timeval patience = {.tv_sec = 10};
  int one = 1;
  p->fd = accept(p->listener, NULL, NULL);
  CHECK(p->fd >= 0);
  setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline bool peer_get(void *peer, void *to, size_t n) {
  peer_receive(((struct peer *)peer)->fd, to, n);
  return true;
}

/* Reads the request, answers 101. `extra` bytes (may be NULL) leave in the same write as the answer. */
static inline void peer_upgrade(struct peer *p, const void *extra, size_t extra_length) {
  char answer[2 * UPGRADE_ANSWER_MAX];
  enum upgrade_outcome outcome;
  size_t length = upgrade_answer(peer_get, p, answer, &outcome);
  CHECK(length > 0 && length + extra_length <= sizeof answer);
  if (extra_length > 0) memcpy(answer + length, extra, extra_length);
  peer_bytes(p->fd, answer, length + extra_length);
}

static inline void peer_accept(struct peer *p) {
  peer_accept_tcp(p);
  peer_upgrade(p, NULL, 0);
}

/* Header of an unmasked frame; its length. */
static inline size_t peer_header(uint8_t *out, int first, uint64_t n) {
  out[0] = (uint8_t)first;
  if (n < 126) {
    out[1] = (uint8_t)n;
    return 2;
  }
  int bytes = n < 65536 ? 2 : 8;
  out[1] = bytes == 2 ? 126 : 127;
  for (int i = 0; i < bytes; i++) out[2 + i] = (uint8_t)(n >> (8 * (bytes - 1 - i)));
  return 2 + (size_t)bytes;
}

static inline void peer_send(const struct peer *p, int opcode, const void *payload, size_t n) {
  uint8_t header[10];
  peer_bytes(p->fd, header, peer_header(header, 0x80 | opcode, n));
  peer_bytes(p->fd, payload, n);
}

/* The next frame of the client, unmasked; payload must have room. Its first header byte. */
static inline int peer_frame(const struct peer *p, uint8_t *payload, size_t room, size_t *length) {
  uint8_t h[10], key[4];
  peer_receive(p->fd, h, 2);
  CHECK((h[1] & 0x80) != 0);
  uint64_t n = h[1] & 0x7f;
  int more = n == 126 ? 2 : n == 127 ? 8 : 0;
  if (more > 0) {
    peer_receive(p->fd, h + 2, (size_t)more);
    n = 0;
    for (int i = 0; i < more; i++) n = n << 8 | h[2 + i];
  }
  CHECK(n <= room);
  peer_receive(p->fd, key, 4);
  peer_receive(p->fd, payload, n);
  for (size_t i = 0; i < n; i++) payload[i] ^= key[i & 3];
  *length = n;
  return h[0];
}

static inline void peer_drop(struct peer *p) {
  if (p->fd >= 0) close(p->fd);
  p->fd = -1;
}

static inline void peer_close(struct peer *p) {
  peer_drop(p);
  close(p->listener);
}

#endif
