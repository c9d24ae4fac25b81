/* An echo server in a process of its own, for tests that disturb theirs: it shares neither memory nor fds with them, and takes whatever
 * a client does. Frames come back as they came; a close is answered and ends the connection. */
#ifndef WSC_ECHO_SERVER_H
#define WSC_ECHO_SERVER_H

#include "peer.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct echo_server {
  struct peer peer;
  pid_t pid;
};

static inline bool echo_get(int fd, void *to, size_t n) { return n == 0 || recv(fd, to, n, MSG_WAITALL) == (ssize_t)n; }

static inline bool echo_put(int fd, const void *from, size_t n) {
  for (const uint8_t *at = from; n > 0;) {
    ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += sent;
    n -= (size_t)sent;
  }
  return true;
}

static inline bool echo_get_of(void *fd, void *to, size_t n) { return echo_get(*(int *)fd, to, n); }

static inline bool echo_upgrade(int fd) {
  char answer[UPGRADE_ANSWER_MAX];
  size_t length = upgrade_answer(echo_get_of, &fd, answer);
  return length > 0 && echo_put(fd, answer, length);
}

/* One frame there and back. */
static inline bool echo_frame(int fd, uint8_t *payload, size_t room) {
  uint8_t h[10], key[4], out[10];
  if (!echo_get(fd, h, 2) || !(h[1] & 0x80)) return false;
  uint64_t n = h[1] & 0x7f;
  int more = n == 126 ? 2 : n == 127 ? 8 : 0;
  if (!echo_get(fd, h + 2, (size_t)more)) return false;
  for (int i = 0; i < more; i++) n = (i ? n << 8 : 0) | h[2 + i];
  if (n > room || !echo_get(fd, key, 4) || !echo_get(fd, payload, n)) return false;
  for (size_t i = 0; i < n; i++) payload[i] ^= key[i & 3];
  int first = (h[0] & 15) == 9 ? 0x8a : h[0];
  return echo_put(fd, out, peer_header(out, first, n)) && echo_put(fd, payload, n) && (h[0] & 15) != 8;
}

static inline void *echo_serve(void *arg) {
  enum { ROOM = 1 << 20 };
  int fd = (int)(intptr_t)arg, one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  uint8_t *payload = malloc(ROOM);
  if (echo_upgrade(fd))
    while (echo_frame(fd, payload, ROOM)) continue;
  free(payload);
  close(fd);
  return NULL;
}

/* Before the test has threads. */
static inline void echo_start(struct echo_server *s) {
  peer_listen(&s->peer);
  s->pid = fork();
  CHECK(s->pid >= 0);
  if (s->pid > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
  for (;;) {
    int fd = accept(s->peer.listener, NULL, NULL);
    pthread_t thread;
    if (fd < 0 || pthread_create(&thread, NULL, echo_serve, (void *)(intptr_t)fd)) _exit(1);
    pthread_detach(thread);
  }
}

static inline void echo_stop(struct echo_server *s) {
  CHECK(kill(s->pid, SIGKILL) == 0);
  waitpid(s->pid, NULL, 0);
  peer_close(&s->peer);
}

#endif
