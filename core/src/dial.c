/* Happy Eyeballs. Addresses are tried in order, each `delay` after the one before, or at once when one fails;
 * whoever connects first wins and the others are closed.
 *
 * An attempt is IDLE (its turn has not come), OPEN (its fd is connecting and watched), or FAILED with an errno.
 * Attempts before `next` are no longer IDLE. Whether a socket is connected is asked of the kernel at each step
 * (SO_ERROR, then getpeername), so that a spurious or a lost readiness event does no harm.
 *
 * A Unix socket whose listener has its queue full refuses with EAGAIN where TCP would wait: its attempt stays IDLE and
 * is made again a moment later, as a blocking connect would. */
#define _GNU_SOURCE
#include "dial.h"

#include "error.h"
#include "mem.h"
#include "os.h"
#include "socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum attempt_state { ATTEMPT_IDLE, ATTEMPT_OPEN, ATTEMPT_FAILED };

struct attempt {
  struct address address;
  enum attempt_state state;
  int fd;
  int os_error;
  int option; /* that the system refused; 0: none */
};

static const int64_t FULL_QUEUE_NS = 10 * NS_PER_MS;

struct dial {
  struct dial_watch watch;
  const wsc_options *options; /* NULL: the defaults */
  int64_t delay_ns;
  int64_t next_at_ns; /* when the address at `next` has its turn even though nobody failed */
  size_t next, count;
  uint16_t port;
  char *host; /* in this allocation, behind the attempts */
  struct attempt attempts[];
};

/* First family first, then by turns; within a family the order stays. */
static void interleave(const struct addresses *from, struct attempt *to) {
  sa_family_t first = from->count > 0 ? from->items[0].storage.ss_family : AF_UNSPEC;
  size_t next[2] = {0, 0}; /* where to look for the next of the first family, and of all others */
  for (size_t k = 0; k < from->count; k++) {
    size_t want = k % 2, found = from->count;
    for (int tries = 0; tries < 2 && found == from->count; tries++, want ^= 1) {
      size_t i = next[want];
      while (i < from->count && (from->items[i].storage.ss_family == first) != (want == 0)) i++;
      next[want] = i < from->count ? i + 1 : i;
      found = i;
    }
    to[k].address = from->items[found];
    to[k].fd = -1;
  }
}

int dial_new(struct addresses *addresses, const char *host, uint16_t port, int64_t delay_ns, const struct dial_watch *w,
             struct dial **out) {
  size_t attempts = addresses->count * sizeof(struct attempt), name = strlen(host) + 1;
  struct dial *d = mem_zalloc(sizeof *d + attempts + name);
  if (d) {
    d->watch = *w;
    d->delay_ns = delay_ns;
    d->count = addresses->count;
    d->port = port;
    d->host = (char *)d + sizeof *d + attempts;
    memcpy(d->host, host, name);
    interleave(addresses, d->attempts);
  }
  mem_free(addresses->items);
  *addresses = (struct addresses){0};
  *out = d;
  return d ? WSC_OK : WSC_ERR_NOMEM;
}

void dial_use(struct dial *d, const wsc_options *o) { d->options = o; }

static void shut(struct dial *d, struct attempt *a) {
  if (a->fd < 0) return;
  d->watch.unwatch(d->watch.self, a->fd);
  close(a->fd);
  a->fd = -1;
}

static void attempt_failed(struct dial *d, struct attempt *a, int os_error) {
  shut(d, a);
  a->state = ATTEMPT_FAILED;
  a->os_error = os_error;
}

/* Two sockets that dial each other's port at the same moment connect, and so does one that dials its own: where a
 * server on this machine is down, its port may be handed to the very socket that looks for it. */
static bool connected_to_itself(int fd, const struct sockaddr_storage *peer, socklen_t peer_length) {
  struct sockaddr_storage own;
  memset(&own, 0, sizeof own);
  socklen_t length = sizeof own;
  if (getsockname(fd, (struct sockaddr *)&own, &length) != 0) return false;
  return length == peer_length && memcmp(&own, peer, length) == 0;
}

/* 0: connected, EINPROGRESS: not yet, another errno: failed. */
static int outcome(int fd) {
  int os_error = 0;
  socklen_t length = sizeof os_error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &os_error, &length) != 0) return errno;
  if (os_error != 0) return os_error;
  struct sockaddr_storage peer;
  memset(&peer, 0, sizeof peer);
  length = sizeof peer;
  if (getpeername(fd, (struct sockaddr *)&peer, &length) != 0) return errno == ENOTCONN ? EINPROGRESS : errno;
  return connected_to_itself(fd, &peer, length) ? ECONNREFUSED : 0;
}

/* 0: connected, EINPROGRESS, or why not. The fd is watched unless it failed. */
static int open_attempt(struct dial *d, struct attempt *a) {
  int fd = socket_open(d->options, &a->address, &a->option);
  if (fd < 0) return -fd;
  int status = -os_io.connect(fd, &a->address.storage, a->address.length);
  /* Who listens on this machine, or does not, has answered by now: no event need be waited for. */
  if (status == 0 || status == EINPROGRESS) status = outcome(fd);
  if (status != 0 && status != EINPROGRESS) goto fail;
  int watched = d->watch.watch(d->watch.self, fd);
  if (watched < 0) {
    status = -watched;
    goto fail;
  }
  a->fd = fd;
  a->state = ATTEMPT_OPEN;
  return status;

fail:
  close(fd);
  return status;
}

static int won(struct dial *d, struct attempt *a, int *fd) {
  *fd = a->fd;
  a->fd = -1;
  for (size_t i = 0; i < d->next; i++) shut(d, &d->attempts[i]);
  return WSC_OK;
}

const char *dial_describe(const struct dial *d, char *out, size_t n) {
  char address[ADDRESS_TEXT_MAX], reason[SOCKET_FAULT_MAX];
  size_t at = 0;
  if (n > 0) out[0] = 0;
  for (size_t i = 0; i < d->next && at < n; i++) {
    const struct attempt *a = &d->attempts[i];
    const char *text = "no answer";
    if (a->option) text = socket_fault_text(d->options, a->option, a->os_error, reason);
    else if (a->state == ATTEMPT_FAILED) text = error_errno_text(a->os_error, reason);
    int more = snprintf(out + at, n - at, "%s%s (%s)", i > 0 ? ", " : "", address_text(&a->address, address), text);
    if (more > 0) at += (size_t)more;
  }
  if (at >= n && n > 4) memcpy(out + n - 4, "...", 4);
  return out;
}

static int all_failed(const struct dial *d, wsc_error **err) {
  struct error_info info = {.status = WSC_ERR_IO};
  /* The first address is the one that should have worked: its errno stands for all, unless this machine cannot reach
   * that network at all. */
  for (size_t i = 0; i < d->count; i++) {
    int e = d->attempts[i].os_error;
    if (info.os_error == 0 || info.os_error == ENETUNREACH || info.os_error == EADDRNOTAVAIL ||
        info.os_error == EAFNOSUPPORT)
      info.os_error = e;
  }
  if (d->count == 0)
    return error_set_info(err, &info, "cannot connect to %s port %u: it has no address", d->host, d->port);
  char each[1024];
  return error_set_info(err, &info, "cannot connect to %s port %u: %s", d->host, d->port,
                        dial_describe(d, each, sizeof each));
}

int dial_step(struct dial *d, int64_t now_ns, int64_t *next_ns, int *fd, wsc_error **err) {
  size_t open = 0;
  bool one_failed = false;
  for (size_t i = 0; i < d->next; i++) {
    struct attempt *a = &d->attempts[i];
    if (a->state != ATTEMPT_OPEN) continue;
    int e = outcome(a->fd);
    if (e == 0) return won(d, a, fd);
    if (e == EINPROGRESS) {
      open++;
    } else {
      attempt_failed(d, a, e);
      one_failed = true;
    }
  }
  while (d->next < d->count && (open == 0 || one_failed || now_ns >= d->next_at_ns)) {
    struct attempt *a = &d->attempts[d->next++];
    int e = open_attempt(d, a);
    if (e == 0) return won(d, a, fd);
    if (e == EAGAIN && a->address.storage.ss_family == AF_UNIX) {
      d->next--;
      *next_ns = now_ns + FULL_QUEUE_NS;
      return WSC_AGAIN;
    }
    one_failed = e != EINPROGRESS;
    if (one_failed) {
      attempt_failed(d, a, e);
    } else {
      open++;
      d->next_at_ns = now_ns + d->delay_ns;
    }
  }
  if (open == 0) return all_failed(d, err);
  *next_ns = d->next < d->count ? d->next_at_ns : 0;
  return WSC_AGAIN;
}

void dial_free(struct dial *d) {
  if (!d) return;
  for (size_t i = 0; i < d->next; i++) shut(d, &d->attempts[i]);
  mem_free(d);
}
