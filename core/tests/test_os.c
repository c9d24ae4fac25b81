/* Clocks, fork, fds, threads and the socket calls. */
#define _GNU_SOURCE
#include "check.h"
#include "os.h"
#include "wscengine/base.h"
#include "wscengine/status.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t seven(void) { return 7; }

static void clocks_run_forward_and_can_be_replaced(void) {
  int64_t a = os_now_ns(), b = wsc_now_ns();
  CHECK(a > 0 && b >= a);
  CHECK(os_boottime_ns() >= a);
  CHECK(os_unix_ns() > INT64_C(1600000000) * NS_PER_S);
  struct os_clocks real = os_clocks;
  os_clocks.now = seven;
  CHECK_EQ(wsc_now_ns(), 7);
  os_clocks = real;
}

static int64_t far_ahead(void) { return INT64_MAX / 2; }

/* A clock that a test has set ahead must not make a short wait last until the real one gets there. */
static void waits_last_as_long_as_they_say_whatever_the_clock(void) {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t never;
  os_cond_init(&never);
  struct os_clocks real = os_clocks;
  int64_t began = os_now_ns();
  pthread_mutex_lock(&lock);
  while (os_cond_wait(&never, &lock, began + 20 * NS_PER_MS)) {} /* it may wake for no reason */
  CHECK(os_now_ns() - began >= 20 * NS_PER_MS);
  os_clocks.now = far_ahead;
  while (os_cond_wait(&never, &lock, far_ahead() + NS_PER_MS)) {}
  while (os_cond_wait(&never, &lock, 0)) {}
  os_clocks = real;
  pthread_mutex_unlock(&lock);
  pthread_cond_destroy(&never);
}

static void a_child_sees_another_generation(void) {
  uint32_t before = os_fork_generation();
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(os_fork_generation() == before + 1 ? 0 : 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(os_fork_generation(), before);
}

static void sockets_keep_off_the_standard_fds(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) { /* with 0 and 1 closed, socket() alone would give 0 */
    close(0);
    close(1);
    int fd = os_socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd > 2);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK_EQ(fcntl(0, F_GETFD), -1); /* nothing is left behind there */
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(os_above_stdio(17), 17);
  CHECK(os_socket(-1, SOCK_STREAM, 0) < 0);
}

static void socket_calls_answer_with_errno(void) {
  int pair[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0); /* blocking ones: the calls must not wait all the same */
  char in[16] = "";
  struct iovec one = {in, 3}, two[2] = {{in, 2}, {in + 2, 14}};
  CHECK_EQ(os_io.recvv(pair[0], &one, 1), -EAGAIN);
  CHECK_EQ(os_io.recvv(pair[0], two, 2), -EAGAIN);
  struct iovec parts[2] = {{(void *)(uintptr_t) "hel", 3}, {(void *)(uintptr_t) "lo", 2}};
  CHECK_EQ(os_io.sendv(pair[1], parts, 2), 5);
  CHECK_EQ(os_io.sendv(pair[1], parts, 1), 3);
  CHECK_EQ(os_io.recvv(pair[0], &one, 1), 3);
  CHECK_BYTES(in, "hel", 3);
  CHECK_EQ(os_io.recvv(pair[0], two, 2), 5);
  CHECK_BYTES(in, "lohel", 5);
  close(pair[0]);
  CHECK_EQ(os_io.sendv(pair[1], parts, 1), -EPIPE); /* and no SIGPIPE: it would have ended this program */
  CHECK_EQ(os_io.sendv(pair[1], parts, 2), -EPIPE);
  CHECK_EQ(os_io.recvv(pair[1], &one, 1), 0);
  close(pair[1]);
}

struct seen {
  char name[16];
  sigset_t blocked;
};

static void *look_around(void *arg) {
  struct seen *seen = arg;
  pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
  pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
  return seen;
}

static void threads_leave_signals_to_the_host(void) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  struct seen seen;
  pthread_t thread;
  void *result;
  CHECK_EQ(os_thread(look_around, &seen, "a name of more than 15", false, &thread), 0);
  CHECK_EQ(pthread_join(thread, &result), 0);
  CHECK(result == &seen);
  CHECK_STR(seen.name, "a name of more ");
  const int blocked[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGUSR1, SIGALRM, SIGPIPE, SIGWINCH};
  const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPROF};
  for (size_t i = 0; i < sizeof blocked / sizeof *blocked; i++) CHECK_EQ(sigismember(&seen.blocked, blocked[i]), 1);
  for (size_t i = 0; i < sizeof open / sizeof *open; i++) CHECK_EQ(sigismember(&seen.blocked, open[i]), 0);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  for (int s = 1; s < 32; s++) CHECK_EQ(sigismember(&after, s), sigismember(&before, s));
}

static void versions_are_told(void) {
  CHECK_STR(wsc_version(), WSC_VERSION_STRING);
  CHECK_HAS(wsc_version_libraries(), "OpenSSL 3.");
  CHECK_HAS(wsc_version_libraries(), ", wslay ");
}

int main(void) {
  clocks_run_forward_and_can_be_replaced();
  waits_last_as_long_as_they_say_whatever_the_clock();
  a_child_sees_another_generation();
  sockets_keep_off_the_standard_fds();
  socket_calls_answer_with_errno();
  threads_leave_signals_to_the_host();
  versions_are_told();
  return 0;
}
