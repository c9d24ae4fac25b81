/* Standard output.
 *
 * It must not be made non-blocking: O_NONBLOCK belongs to the open file, which the shell and other programs share
 * with us. So poll says when there is room, and at most PIPE_BUF bytes are written then: a pipe that polls writable
 * takes so many without waiting. */
#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FULL_AT = 65536, KEEP_CAPACITY = 1 << 20 };

void output_open(struct output *o, int fd) {
  struct stat s;
  *o = (struct output){.fd = fd};
  o->whole = fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

static bool writable(const struct output *o) {
  struct pollfd p = {.fd = o->fd, .events = POLLOUT};
  return o->whole || poll(&p, 1, 0) > 0; /* also when it has failed: write then says how */
}

void output_flush(struct output *o) {
  while (o->failed == 0 && o->at < o->pending.n && writable(o)) {
    size_t n = o->pending.n - o->at;
    if (!o->whole && n > PIPE_BUF) n = PIPE_BUF;
    ssize_t written = write(o->fd, o->pending.p + o->at, n);
    if (written > 0) o->at += (size_t)written;
    else if (errno == EINTR || errno == EAGAIN) return; /* the caller looks for signals first */
    else o->failed = errno;
  }
  if (o->failed != 0 || o->at == o->pending.n) {
    o->at = o->pending.n = 0;
    if (o->pending.capacity > KEEP_CAPACITY) bytes_free(&o->pending); /* one huge message is not kept for ever */
  }
}

bool output_full(const struct output *o) { return o->pending.n - o->at >= FULL_AT; }
bool output_empty(const struct output *o) { return o->at == o->pending.n; }
void output_close(struct output *o) { bytes_free(&o->pending); }
