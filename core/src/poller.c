#define _GNU_SOURCE
#include "poller.h"

#include "os.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int add_own(struct poller *p, int *fd) {
  struct epoll_event ev = {.events = EPOLLIN, .data.ptr = fd};
  return epoll_ctl(p->fd, EPOLL_CTL_ADD, *fd, &ev) ? -errno : 0;
}

int poller_open(struct poller *p) {
  *p = (struct poller){-1, -1, -1};
  int r;
  if ((p->fd = r = os_above_stdio(epoll_create1(EPOLL_CLOEXEC))) < 0) goto fail;
  if ((p->wake_fd = r = os_above_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) < 0) goto fail;
  if ((p->alarm_fd = r = os_above_stdio(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK))) < 0) goto fail;
  if ((r = add_own(p, &p->wake_fd)) < 0 || (r = add_own(p, &p->alarm_fd)) < 0) goto fail;
  return 0;
fail:
  poller_close(p);
  return r;
}

void poller_close(struct poller *p) {
  if (p->alarm_fd >= 0) close(p->alarm_fd);
  if (p->wake_fd >= 0) close(p->wake_fd);
  if (p->fd >= 0) close(p->fd);
  *p = (struct poller){-1, -1, -1};
}

static int control(struct poller *p, int op, int fd, void *owner, bool read) {
  struct epoll_event ev = {.events = EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = owner};
  if (read) ev.events |= EPOLLIN;
  return epoll_ctl(p->fd, op, fd, &ev) ? -errno : 0;
}

int poller_add(struct poller *p, int fd, void *owner) { return control(p, EPOLL_CTL_ADD, fd, owner, true); }
void poller_arm(struct poller *p, int fd, void *owner, bool read) { control(p, EPOLL_CTL_MOD, fd, owner, read); }

void poller_remove(struct poller *p, int fd) {
  struct epoll_event unused = {0};
  epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, &unused);
}

static int timeout_ms(int64_t ns) {
  if (ns < 0) return -1;
  int64_t ms = (ns + NS_PER_MS - 1) / NS_PER_MS; /* up: waking early would only spin */
  return ms > INT_MAX ? INT_MAX : (int)ms;
}

void poller_wait(struct poller *p, int64_t timeout_ns, struct poller_result *out) {
  struct epoll_event got[POLLER_BATCH];
  out->count = 0;
  out->woken = out->alarmed = false;
  int n = epoll_wait(p->fd, got, POLLER_BATCH, timeout_ms(timeout_ns));
  for (int i = 0; i < n; i++) {
    void *owner = got[i].data.ptr;
    if (owner == &p->wake_fd) out->woken = true;
    else if (owner == &p->alarm_fd) out->alarmed = true;
    else {
      struct poller_event *ev = &out->events[out->count++];
      uint32_t had = got[i].events;
      ev->owner = owner;
      ev->ready = (had & EPOLLIN ? POLLER_READ : 0) | (had & EPOLLOUT ? POLLER_WRITE : 0) |
                  (had & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? POLLER_HANGUP : 0);
    }
  }
}

void poller_wake(struct poller *p) {
  uint64_t one = 1;
  ssize_t ignored = write(p->wake_fd, &one, sizeof one); /* full means: already readable */
  (void)ignored;
}

void poller_unwake(struct poller *p) {
  uint64_t count;
  ssize_t ignored = read(p->wake_fd, &count, sizeof count);
  (void)ignored;
}

void poller_alarm(struct poller *p, int64_t in_ns) {
  struct itimerspec at = {0};
  if (in_ns >= 0) {
    if (in_ns == 0) in_ns = 1; /* 0 would mean never */
    at.it_value.tv_sec = in_ns / NS_PER_S;
    at.it_value.tv_nsec = in_ns % NS_PER_S;
  }
  timerfd_settime(p->alarm_fd, 0, &at, NULL);
}

void poller_alarm_seen(struct poller *p) {
  uint64_t count;
  ssize_t ignored = read(p->alarm_fd, &count, sizeof count);
  (void)ignored;
}
