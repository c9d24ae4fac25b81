/* An echo server in a process of its own, for tests that disturb theirs: it shares neither memory nor fds with them, and takes whatever
 * a client does. Frames come back as they came, compressed ones too; a close is answered and ends the connection. */
#ifndef WSC_ECHO_SERVER_H
#define WSC_ECHO_SERVER_H

#include "peer.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct echo_server {
  struct peer peer;
  pid_t pid;
};

struct echo_link {
  int fd;
  SSL *ssl; /* NULL: plain */
};

static inline bool echo_get(struct echo_link *l, void *to, size_t n) {
  uint8_t *at = to;
  while (n > 0) {
    ssize_t got = l->ssl ? SSL_read(l->ssl, at, (int)n) : recv(l->fd, at, n, 0);
    if (got <= 0) return false;
    at += got;
    n -= (size_t)got;
  }
  return true;
}

static inline bool echo_put(struct echo_link *l, const void *from, size_t n) {
  for (const uint8_t *at = from; n > 0;) {
    ssize_t sent = l->ssl ? SSL_write(l->ssl, at, (int)n) : send(l->fd, at, n, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += sent;
    n -= (size_t)sent;
  }
  return true;
}

static inline bool echo_get_of(void *l, void *to, size_t n) { return echo_get(l, to, n); }

static inline bool echo_upgrade(struct echo_link *l) {
  char answer[UPGRADE_ANSWER_MAX];
  enum upgrade_outcome outcome = TUNNELED;
  while (outcome == TUNNELED) {
    size_t length = upgrade_answer(echo_get_of, l, answer, &outcome);
    if (length == 0 || !echo_put(l, answer, length)) return false;
  }
  return outcome == UPGRADED;
}

/* One frame there and back. */
static inline bool echo_frame(struct echo_link *l, uint8_t *payload, size_t room) {
  uint8_t h[10], key[4], out[10];
  if (!echo_get(l, h, 2) || !(h[1] & 0x80)) return false;
  uint64_t n = h[1] & 0x7f;
  int more = n == 126 ? 2 : n == 127 ? 8 : 0;
  if (!echo_get(l, h + 2, (size_t)more)) return false;
  for (int i = 0; i < more; i++) n = (i ? n << 8 : 0) | h[2 + i];
  if (n > room || !echo_get(l, key, 4) || !echo_get(l, payload, n)) return false;
  for (size_t i = 0; i < n; i++) payload[i] ^= key[i & 3];
  int first = (h[0] & 15) == 9 ? 0x8a : h[0];
  return echo_put(l, out, peer_header(out, first, n)) && echo_put(l, payload, n) && (h[0] & 15) != 8;
}

static inline void *echo_serve(void *arg) {
  enum { ROOM = 1 << 20 };
  struct echo_link *l = arg;
  int one = 1;
  setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  uint8_t *payload = malloc(ROOM);
  if ((!l->ssl || SSL_accept(l->ssl) == 1) && echo_upgrade(l))
    while (echo_frame(l, payload, ROOM)) continue;
  free(payload);
  SSL_free(l->ssl);
  close(l->fd);
  free(l);
  return NULL;
}

/* Before the test has threads. ctx: by TLS; NULL: plain. */
static inline void echo_start(struct echo_server *s, SSL_CTX *ctx) {
  peer_listen(&s->peer);
  s->pid = fork();
  CHECK(s->pid >= 0);
  if (s->pid > 0) return;
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
  for (;;) {
    struct echo_link *l = calloc(1, sizeof *l);
    pthread_t thread;
    if (!l || (l->fd = accept(s->peer.listener, NULL, NULL)) < 0) _exit(1);
    if (ctx && (!(l->ssl = SSL_new(ctx)) || SSL_set_fd(l->ssl, l->fd) != 1)) _exit(1);
    if (pthread_create(&thread, NULL, echo_serve, l)) _exit(1);
    pthread_detach(thread);
  }
}

static inline void echo_stop(struct echo_server *s) {
  CHECK(kill(s->pid, SIGKILL) == 0);
  waitpid(s->pid, NULL, 0);
  peer_close(&s->peer);
}

#endif
