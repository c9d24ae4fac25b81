/* Sockets as the options want them: each knob is read back from the kernel, addresses and Unix sockets are real. */
#define _GNU_SOURCE
#include "socket.h"

#include "check.h"
#include "dial.h"
#include "error.h"
#include "mem.h"
#include "os.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int open_fds(void) {
  DIR *d = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(d)) count++;
  closedir(d);
  return count;
}

static struct address literal(const char *host, uint16_t port) {
  struct address a;
  const char *zone = NULL;
  CHECK(address_parse(host, port, &a, &zone));
  CHECK(zone == NULL);
  return a;
}

static int value_of(int fd, int level, int name) {
  int value = -1;
  socklen_t n = sizeof value;
  CHECK_EQ(getsockopt(fd, level, name, &value, &n), 0);
  return value;
}

static void every_knob_reaches_the_kernel(void) {
  static const struct {
    int option, value, level, name, want;
  } cases[] = {
      {WSC_OPT_TCP_KEEPALIVE, 1, SOL_SOCKET, SO_KEEPALIVE, 1},
      {WSC_OPT_TCP_KEEPALIVE_IDLE_S, 77, IPPROTO_TCP, TCP_KEEPIDLE, 77},
      {WSC_OPT_TCP_KEEPALIVE_INTERVAL_S, 11, IPPROTO_TCP, TCP_KEEPINTVL, 11},
      {WSC_OPT_TCP_KEEPALIVE_COUNT, 5, IPPROTO_TCP, TCP_KEEPCNT, 5},
      {WSC_OPT_TCP_USER_TIMEOUT_MS, 4321, IPPROTO_TCP, TCP_USER_TIMEOUT, 4321},
      {WSC_OPT_SOCKET_RECEIVE_BYTES, 20000, SOL_SOCKET, SO_RCVBUF, 40000}, /* Linux doubles it for its own use */
      {WSC_OPT_SOCKET_SEND_BYTES, 30000, SOL_SOCKET, SO_SNDBUF, 60000},
      {WSC_OPT_TCP_NODELAY, 0, IPPROTO_TCP, TCP_NODELAY, 0},
  };
  struct address to = literal("127.0.0.1", 1);
  wsc_options *o = wsc_options_new();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    CHECK_EQ(wsc_options_set_int(o, cases[i].option, cases[i].value), WSC_OK);
  CHECK_EQ(wsc_options_validate(o, NULL), WSC_OK);
  int option, fd = socket_open(o, &to, &option), plain = socket_open(NULL, &to, &option);
  CHECK(fd >= 0 && plain >= 0);
  CHECK_EQ(option, 0);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK_EQ(value_of(fd, cases[i].level, cases[i].name), cases[i].want);
    CHECK(value_of(plain, cases[i].level, cases[i].name) != cases[i].want);
  }
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  close(fd);
  close(plain);
  wsc_options_free(o);
}

static void how_to_probe_means_to_probe(void) {
  struct address to = literal("127.0.0.1", 1);
  wsc_options *o = wsc_options_new();
  int option;
  wsc_options_set_int(o, WSC_OPT_TCP_KEEPALIVE_COUNT, 3);
  for (int on = 1; on >= 0; on--) {
    int fd = socket_open(o, &to, &option);
    CHECK_EQ(value_of(fd, SOL_SOCKET, SO_KEEPALIVE), on);
    close(fd);
    wsc_options_set_int(o, WSC_OPT_TCP_KEEPALIVE, 0);
  }
  wsc_options_free(o);
}

/* Dialing, with a poller that is poll() */

static int watched[8], watched_count;
static int watch(void *self, int fd) {
  (void)self;
  watched[watched_count++] = fd;
  return 0;
}
static void unwatch(void *self, int fd) {
  (void)self;
  int i = 0;
  while (watched[i] != fd) i++;
  watched[i] = watched[--watched_count];
}

static struct dial *begin(struct addresses *to, const wsc_options *o) {
  const struct dial_watch w = {watch, unwatch, NULL};
  struct dial *d;
  CHECK_EQ(wsc_options_validate(o, NULL), WSC_OK);
  CHECK_EQ(dial_new(to, "host.example", 80, 0, &w, &d), WSC_OK);
  dial_use(d, o);
  return d;
}

static int run(struct dial *d, int *fd, wsc_error **err) {
  int status;
  int64_t next = 0, now = 0;
  while ((status = dial_step(d, now, &next, fd, err)) == WSC_AGAIN) {
    struct pollfd p[8];
    for (int i = 0; i < watched_count; i++) p[i] = (struct pollfd){.fd = watched[i], .events = POLLOUT};
    if (watched_count > 0) CHECK(poll(p, (nfds_t)watched_count, -1) > 0);
    now = next;
  }
  return status;
}

static struct addresses one(struct address a) {
  struct addresses to = {mem_zalloc(sizeof a), 1};
  to.items[0] = a;
  return to;
}

static int dial_one(struct address a, const wsc_options *o, wsc_error **err) {
  struct addresses to = one(a);
  struct dial *d = begin(&to, o);
  int fd = -1, status = run(d, &fd, err);
  dial_free(d);
  if (status != WSC_OK) return status;
  unwatch(NULL, fd);
  return fd;
}

static int listen_on(struct address *a) {
  int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_EQ(bind(fd, (struct sockaddr *)&a->storage, a->length), 0);
  CHECK_EQ(listen(fd, 4), 0);
  if (a->storage.ss_family != AF_UNIX) CHECK_EQ(getsockname(fd, (struct sockaddr *)&a->storage, &a->length), 0);
  return fd;
}

static wsc_options *with(int id, const char *value) {
  wsc_options *o = wsc_options_new();
  CHECK_EQ(wsc_options_set_str(o, id, value), WSC_OK);
  return o;
}

static void the_peer_sees_the_address_it_was_bound_to(void) {
  struct address to = literal("127.0.0.1", 0), from = {.length = sizeof from.storage};
  int listener = listen_on(&to);
  wsc_options *o = with(WSC_OPT_BIND_ADDRESS, "127.0.0.77");
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_BIND_INTERFACE, "lo"), WSC_OK);
  int fd = dial_one(to, o, NULL);
  CHECK(fd >= 0);
  int peer = accept(listener, (struct sockaddr *)&from.storage, &from.length);
  char text[ADDRESS_TEXT_MAX];
  CHECK_HAS(address_text(&from, text), "127.0.0.77:");
  char device[32] = "";
  socklen_t n = sizeof device;
  CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &n), 0);
  CHECK_STR(device, "lo");
  close(peer);
  close(fd);
  close(listener);
  wsc_options_free(o);
}

static void fails(const char *to, int id, const char *value, int os_error, const char *part) {
  wsc_options *o = with(id, value);
  wsc_error *e = NULL;
  CHECK_EQ(dial_one(literal(to, 9), o, &e), WSC_ERR_IO);
  CHECK_EQ(wsc_error_os_error(e), os_error);
  CHECK_HAS(wsc_error_message(e), "host.example");
  CHECK_HAS(wsc_error_message(e), part);
  wsc_error_unref(e);
  wsc_options_free(o);
}

static void what_the_system_refuses_is_named(void) {
  fails("127.0.0.1", WSC_OPT_BIND_ADDRESS, "192.0.2.7", EADDRNOTAVAIL,
        "127.0.0.1:9 (BIND_ADDRESS 192.0.2.7: Cannot assign requested address)");
  fails("127.0.0.1", WSC_OPT_BIND_ADDRESS, "::1", EAFNOSUPPORT, "(BIND_ADDRESS ::1: of the other address family)");
  fails("127.0.0.1", WSC_OPT_BIND_ADDRESS, "fe80::1%nowhere", ENODEV, "BIND_ADDRESS fe80::1%nowhere: No such device");
  fails("127.0.0.1", WSC_OPT_BIND_INTERFACE, "nowhere0", ENODEV,
        "127.0.0.1:9 (BIND_INTERFACE nowhere0: No such device)");
}

/* The family that BIND_ADDRESS is not of costs nothing. */
static void the_bound_family_is_tried_alone(void) {
  struct address to = literal("127.0.0.1", 0);
  int listener = listen_on(&to), fd = -1;
  struct addresses both = {mem_zalloc(2 * sizeof *both.items), 2};
  both.items[0] = literal("::1", 9);
  both.items[1] = to;
  wsc_options *o = with(WSC_OPT_BIND_ADDRESS, "127.0.0.1");
  struct dial *d = begin(&both, o);
  CHECK_EQ(run(d, &fd, NULL), WSC_OK);
  dial_free(d);
  unwatch(NULL, fd);
  close(fd);
  close(listener);
  wsc_options_free(o);
}

/* Unix sockets */

static struct address unix_address(const wsc_options *o) {
  struct addresses found;
  CHECK_EQ(wsc_options_validate(o, NULL), WSC_OK);
  CHECK_EQ(socket_unix_address(o, &found), WSC_OK);
  CHECK_EQ(found.count, 1);
  struct address a = found.items[0];
  mem_free(found.items);
  return a;
}

static void talks_over(const char *path) {
  wsc_options *o = with(WSC_OPT_UNIX_SOCKET, path);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_TCP_KEEPALIVE, 1), WSC_OK); /* no TCP here: no matter */
  struct address a = unix_address(o);
  char text[ADDRESS_TEXT_MAX], c = 0;
  CHECK_STR(address_text(&a, text), path);
  int listener = listen_on(&a), fd = dial_one(a, o, NULL), peer = accept(listener, NULL, NULL);
  CHECK(fd >= 0 && peer >= 0);
  CHECK_EQ(write(fd, "x", 1), 1);
  CHECK_EQ(read(peer, &c, 1), 1);
  CHECK_EQ(c, 'x');
  close(peer);
  close(fd);
  close(listener);
  wsc_options_free(o);
}

/* A path of n bytes in a directory of the test's own. */
static const char *path_of(const char *dir, size_t n) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%0*d", dir, (int)(n - strlen(dir) - 1), 0);
  CHECK_EQ(strlen(path), n);
  return path;
}

static void unix_sockets_may_have_any_legal_name(const char *dir) {
  char abstract[109];
  talks_over(path_of(dir, 40));
  talks_over(path_of(dir, 107));
  snprintf(abstract, sizeof abstract, "@wsc-test-%d", (int)getpid());
  talks_over(abstract);
  snprintf(abstract, sizeof abstract, "@wsc-test-%0*d", 107 - 10, (int)getpid());
  talks_over(abstract);
}

static void a_unix_socket_that_is_not_there_is_named(const char *dir) {
  wsc_error *e = NULL;
  wsc_options *o = with(WSC_OPT_UNIX_SOCKET, path_of(dir, 50));
  CHECK_EQ(dial_one(unix_address(o), o, &e), WSC_ERR_IO);
  CHECK_EQ(wsc_error_os_error(e), ENOENT);
  CHECK_HAS(wsc_error_message(e), path_of(dir, 50));
  CHECK_HAS(wsc_error_message(e), "No such file or directory");
  wsc_error_unref(e);
  wsc_options_free(o);
}

/* With TCP the kernel would wait: here the dial does. */
static void a_full_queue_is_waited_for(const char *dir) {
  wsc_options *o = with(WSC_OPT_UNIX_SOCKET, path_of(dir, 60));
  struct address a = unix_address(o);
  int listener = listen_on(&a), waiting[16], count = 0, fd = -1, peer;
  int64_t next = 0;
  struct addresses to = one(a);
  struct dial *d = begin(&to, o);
  for (;; count++) { /* fill it */
    CHECK(count < 16);
    waiting[count] = os_socket(AF_UNIX, SOCK_STREAM, 0);
    if (os_io.connect(waiting[count], &a.storage, a.length) == -EAGAIN) break;
  }
  CHECK_EQ(dial_step(d, 5, &next, &fd, NULL), WSC_AGAIN);
  CHECK(next > 5);
  CHECK_EQ(dial_step(d, next, &next, &fd, NULL), WSC_AGAIN);
  CHECK((peer = accept(listener, NULL, NULL)) >= 0);
  CHECK_EQ(dial_step(d, next, &next, &fd, NULL), WSC_OK);
  dial_free(d);
  unwatch(NULL, fd);
  for (; count >= 0; count--) close(waiting[count]);
  close(peer);
  close(fd);
  close(listener);
  wsc_options_free(o);
}

static void lack_of_memory_is_survived(void) {
  wsc_options *o = with(WSC_OPT_UNIX_SOCKET, "/run/x");
  struct addresses found = {0};
  mem_fail_after(1);
  CHECK_EQ(socket_unix_address(o, &found), WSC_ERR_NOMEM);
  mem_fail_after(-1);
  wsc_options_free(o);
}

int main(void) {
  char dir[] = "/tmp/wsc-socket-XXXXXX", command[64];
  CHECK(mkdtemp(dir) != NULL);
  long before = mem_live();
  int fds = open_fds();
  every_knob_reaches_the_kernel();
  how_to_probe_means_to_probe();
  the_peer_sees_the_address_it_was_bound_to();
  what_the_system_refuses_is_named();
  the_bound_family_is_tried_alone();
  unix_sockets_may_have_any_legal_name(dir);
  a_unix_socket_that_is_not_there_is_named(dir);
  a_full_queue_is_waited_for(dir);
  lack_of_memory_is_survived();
  CHECK_EQ(mem_live(), before);
  CHECK_EQ(open_fds(), fds);
  snprintf(command, sizeof command, "rm -r %s", dir);
  CHECK_EQ(system(command), 0);
  return 0;
}
