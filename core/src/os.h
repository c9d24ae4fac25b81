/* The operating system behind a narrow door: clocks, fork, and the few socket calls that the tests' I/O shim replaces. */
#ifndef WSC_OS_H
#define WSC_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A pointer each thread has of its own. The model spares a shared library a function call a use; it draws on a small reserve of the program's
 * start, so nothing larger than a pointer may be declared so. */
#define THREAD_POINTER static _Thread_local __attribute__((tls_model("initial-exec")))

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* ns; replaced by tests (os_clocks) */
int64_t os_now_ns(void);      /* CLOCK_MONOTONIC */
int64_t os_boottime_ns(void); /* CLOCK_BOOTTIME: also runs while the machine sleeps */
int64_t os_unix_ns(void);     /* CLOCK_REALTIME */

/* Bumped in the child by pthread_atfork, which the first call installs. A handle remembers the value it was made under. */
uint32_t os_fork_generation(void);

/* Socket calls: EINTR is handled inside; results are >= 0 or -errno. Never raise SIGPIPE. Tests replace the table (os_io). */
struct os_io {
  ssize_t (*recvv)(int fd, struct iovec *iov, int count);
  ssize_t (*sendv)(int fd, const struct iovec *iov, int count);
  int (*connect)(int fd, const void *address, unsigned length);
};
extern struct os_io os_io;
struct os_clocks {
  int64_t (*now)(void), (*boottime)(void), (*unix_time)(void);
};
extern struct os_clocks os_clocks;

/* The same as recvv, with the kernel's time of arrival (SO_TIMESTAMPNS; Unix time), 0 where it gives none. */
ssize_t os_recv_stamped(int fd, struct iovec *iov, int count, int64_t *stamp_ns);

/* A CLOEXEC, non-blocking socket that is never fd 0, 1 or 2; -errno. */
int os_socket(int family, int type, int protocol);
int os_above_stdio(
    int fd); /* moves what a system call just gave off 0-2 (CLOEXEC kept); the fd, or -errno with fd closed; -1: the call's errno */

/* A full memory barrier in every thread of this process (membarrier(2)), so that what a thread does often needs none of its own. For
 * callers for whom os_can_barrier_all said yes; it says no on kernels, and in sandboxes, that do not know the call. */
bool os_can_barrier_all(void);
void os_barrier_all(void);

/* A condition whose waits go by os_now_ns. init never fails for lack of anything that Linux knows. wait: deadline_ns < 0: none; false: the time is
 * up. Only how long it may take is asked of os_now_ns, so a clock of a test's own that stands or has run ahead delays nobody. */
void os_cond_init(pthread_cond_t *c);
bool os_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t deadline_ns);

/* A thread named `name` (15 bytes) that blocks all signals but the fault signals and SIGPROF. 0 or errno. */
int os_thread(void *(*main)(void *), void *arg, const char *name, bool detached,
              void *pthread_out /* pthread_t *, may be NULL */);

/* Before the first call of OpenSSL: it must not clean up at exit, when threads of ours may still use it. */
void os_crypto(void);

#endif
