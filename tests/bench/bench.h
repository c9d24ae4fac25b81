/* What every C client of the benchmark shares: arguments, clocks, the report line, a plain handshake.
 *
 *   client MODE HOST PORT PATH [COUNT [SIZE [EXTRA]]]      MODE: recv | send | rtt | idle
 *
 * One JSON line on stdout. cpu is user + system time of the whole process, all threads, since just before the connection. */
#ifndef BENCH_H
#define BENCH_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct bench {
  const char *mode, *host, *path, *extra;
  int port;
  long count;
  size_t size;
  uint64_t messages, bytes;
  double wall0, cpu0;
  double *latency; /* rtt: one a round trip, seconds */
  long rss0_kb, fds0;
  double idle_cpu; /* idle: CPU seconds of idle_s seconds in which nothing happened */
  double idle_s;
};

static inline double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline double cpu_s(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static inline long status_kb(const char *key) {
  FILE *f = fopen("/proc/self/status", "r");
  char line[256];
  long value = -1;
  size_t n = strlen(key);
  while (f && fgets(line, sizeof line, f)) {
    if (!strncmp(line, key, n)) value = atol(line + n + 1);
  }
  if (f) fclose(f);
  return value;
}

static inline long count_fds(void) {
  DIR *d = opendir("/proc/self/fd");
  long n = 0;
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n - 3; /* ".", ".." and the directory itself */
}

static inline void die(const char *what) {
  fprintf(stderr, "bench: %s: %s\n", what, errno ? strerror(errno) : "failed");
  exit(1);
}

static inline int mode_is(const struct bench *b, const char *mode) { return !strcmp(b->mode, mode); }

static inline void bench_args(struct bench *b, int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: %s recv|send|rtt|idle HOST PORT PATH [COUNT [SIZE [EXTRA]]]\n", argv[0]);
    exit(2);
  }
  memset(b, 0, sizeof *b);
  b->mode = argv[1];
  b->host = argv[2];
  b->port = atoi(argv[3]);
  b->path = argv[4];
  b->count = argc > 5 ? atol(argv[5]) : 0;
  b->size = argc > 6 ? (size_t)atol(argv[6]) : 64;
  b->extra = argc > 7 ? argv[7] : "";
  if (mode_is(b, "rtt")) {
    b->latency = (double *)malloc(sizeof *b->latency * (size_t)(b->count + 1));
    if (!b->latency) die("malloc");
  }
}

static inline void bench_start(struct bench *b) {
  b->rss0_kb = status_kb("VmRSS");
  b->fds0 = count_fds();
  b->cpu0 = cpu_s();
  b->wall0 = now_s();
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static inline void bench_report(struct bench *b) {
  double wall = now_s() - b->wall0, cpu = cpu_s() - b->cpu0;
  printf("{\"messages\":%llu,\"bytes\":%llu,\"wall\":%.6f,\"cpu\":%.6f,\"peak_kb\":%ld",
         (unsigned long long)b->messages, (unsigned long long)b->bytes, wall, cpu, status_kb("VmHWM"));
  if (mode_is(b, "rtt") && b->messages) {
    qsort(b->latency, b->messages, sizeof *b->latency, by_size);
    printf(",\"p50_us\":%.2f,\"p99_us\":%.2f", b->latency[b->messages / 2] * 1e6,
           b->latency[b->messages * 99 / 100] * 1e6);
  }
  if (mode_is(b, "idle")) {
    printf(",\"rss0_kb\":%ld,\"rss1_kb\":%ld,\"threads\":%ld,\"fds\":%ld,\"idle_cpu\":%.6f,\"idle_s\":%.3f", b->rss0_kb,
           status_kb("VmRSS"), status_kb("Threads"), count_fds() - b->fds0, b->idle_cpu, b->idle_s);
  }
  printf("}\n");
  fflush(stdout);
}

/* A plain blocking connection, upgraded, for the clients that bring no handshake. The answer is read byte-exactly (MSG_PEEK), so
 * that no byte of a frame is eaten. */
static inline int ws_connect(const struct bench *b) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in a;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  a.sin_port = htons((uint16_t)b->port);
  inet_pton(AF_INET, b->host, &a.sin_addr);
  if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);

  char text[4096];
  int n = snprintf(text, sizeof text,
                   "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                   b->path, b->host, b->port);
  if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) die("send");
  for (;;) {
    ssize_t k = recv(fd, text, sizeof text - 1, MSG_PEEK);
    if (k <= 0) die("handshake");
    text[k] = 0;
    char *end = strstr(text, "\r\n\r\n");
    if (!end) continue;
    if (recv(fd, text, (size_t)(end + 4 - text), 0) < 0) die("recv");
    break;
  }
  if (strncmp(text, "HTTP/1.1 101", 12)) die("no upgrade");
  return fd;
}

#endif
