/* The operating system behind a narrow door. The tables os_io and os_clocks are replaced by tests before any thread
 * runs, never later. */
#define _GNU_SOURCE
#include "os.h"

#include "mem.h"
#include "wscengine/status.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int64_t monotonic(void) { return clock_ns(CLOCK_MONOTONIC); }
static int64_t boottime(void) { return clock_ns(CLOCK_BOOTTIME); }
static int64_t unix_time(void) { return clock_ns(CLOCK_REALTIME); }

struct os_clocks os_clocks = {monotonic, boottime, unix_time};

int64_t os_now_ns(void) { return os_clocks.now(); }
int64_t os_boottime_ns(void) { return os_clocks.boottime(); }
int64_t os_unix_ns(void) { return os_clocks.unix_time(); }

void os_cond_init(pthread_cond_t *c) {
  pthread_condattr_t by_monotonic;
  pthread_condattr_init(&by_monotonic);
  pthread_condattr_setclock(&by_monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(c, &by_monotonic);
  pthread_condattr_destroy(&by_monotonic);
}

bool os_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t deadline_ns) {
  if (deadline_ns < 0) return pthread_cond_wait(c, lock) == 0;
  int64_t left = deadline_ns - os_now_ns(), until = monotonic() + (left > 0 ? left : 0);
  struct timespec at = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
  return pthread_cond_timedwait(c, lock, &at) != ETIMEDOUT;
}

static _Atomic uint32_t fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static atomic_bool fork_watched; /* spares each later call, one a frame that is sent, the call of pthread_once */

static void forked(void) { atomic_fetch_add_explicit(&fork_generation, 1, memory_order_relaxed); }

static void install_fork_handler(void) {
  pthread_atfork(NULL, NULL, forked);
  atomic_store_explicit(&fork_watched, true, memory_order_release);
}

uint32_t os_fork_generation(void) {
  if (!atomic_load_explicit(&fork_watched, memory_order_acquire)) pthread_once(&fork_once, install_fork_handler);
  return atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

/* One buffer, the usual case, takes the call without a message header: it is measurably shorter in the kernel. */
static ssize_t real_recvv(int fd, struct iovec *iov, int count) {
  ssize_t n;
  do {
    if (count == 1) {
      n = recv(fd, iov[0].iov_base, iov[0].iov_len, MSG_DONTWAIT);
    } else {
      struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)count};
      n = recvmsg(fd, &m, MSG_DONTWAIT);
    }
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

static ssize_t real_sendv(int fd, const struct iovec *iov, int count) {
  ssize_t n;
  do {
    if (count == 1) {
      n = send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
      struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count}; /* it only reads */
      n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

static int real_connect(int fd, const void *address, unsigned length) {
  if (connect(fd, address, length) == 0) return 0;
  return errno == EINTR ? -EINPROGRESS : -errno; /* interrupted it goes on; calling again would say EALREADY */
}

ssize_t os_recv_stamped(int fd, struct iovec *iov, int count, int64_t *stamp_ns) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct timespec))];
  } control;
  struct msghdr m = {
      .msg_iov = iov, .msg_iovlen = (size_t)count, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n;
  do n = recvmsg(fd, &m, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  *stamp_ns = 0;
  for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c != NULL; c = CMSG_NXTHDR(&m, c)) {
    struct timespec t;
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
    memcpy(&t, CMSG_DATA(c), sizeof t);
    *stamp_ns = (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
  }
  return n < 0 ? -errno : n;
}

struct os_io os_io = {real_recvv, real_sendv, real_connect};

int os_above_stdio(int fd) {
  if (fd < 0) return -errno; /* straight from the call that made it */
  if (fd > 2) return fd;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  int error = errno;
  close(fd);
  return moved >= 0 ? moved : -error;
}

int os_socket(int family, int type, int protocol) {
  int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  return fd >= 0 ? os_above_stdio(fd) : -errno;
}

static pthread_once_t barrier_once = PTHREAD_ONCE_INIT;
static bool barriers;

static void register_barriers(void) {
  barriers = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool os_can_barrier_all(void) {
  pthread_once(&barrier_once, register_barriers);
  return barriers;
}

void os_barrier_all(void) { (void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

struct thread_start {
  void *(*main)(void *);
  void *arg;
  char name[16];
};

static void *thread_main(void *p) {
  struct thread_start start = *(struct thread_start *)p;
  mem_free(p);
  pthread_setname_np(pthread_self(), start.name); /* by its maker would be too late for a detached one that has ended */
  return start.main(start.arg);
}

static void foreign_signals(sigset_t *set) {
  static const int ours[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF};
  sigfillset(set);
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) sigdelset(set, ours[i]);
}

int os_thread(void *(*main)(void *), void *arg, const char *name, bool detached, void *pthread_out) {
  struct thread_start *start = mem_zalloc(sizeof *start);
  if (start == NULL) return ENOMEM;
  start->main = main;
  start->arg = arg;
  snprintf(start->name, sizeof start->name, "%s", name);

  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error != 0) {
    mem_free(start);
    return error;
  }
  if (detached) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigset_t blocked, before; /* the mask is inherited: a thread that set it itself would have a moment without */
  foreign_signals(&blocked);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  pthread_t thread;
  error = pthread_create(&thread, &attributes, thread_main, start);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (error != 0) mem_free(start);
  else if (pthread_out != NULL) *(pthread_t *)pthread_out = thread;
  return error;
}

static void init_crypto(void) { OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); }

void os_crypto(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_crypto);
}
