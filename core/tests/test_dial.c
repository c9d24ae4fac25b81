/* Happy Eyeballs with a virtual clock: what is dialled when, who wins, what is left open. Addresses of 192.0.2.0/24
 * and 2001:db8::/32 are played by this file; 127.0.0.1 and ::1 are real sockets. */
#define _GNU_SOURCE
#include "dial.h"

#include "check.h"
#include "error.h"
#include "mem.h"
#include "os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#define DELAY (250 * NS_PER_MS)

/* What the dialler did. */
static char dialled[1024];
static int last_fd;
static int watched[64], watched_count;
static int watch_result;
static uint16_t bind_to; /* the next connect goes out from this port */
static int (*real_connect)(int, const void *, unsigned);

static int watch(void *self, int fd) {
  CHECK(self == dialled);
  if (watch_result < 0) return watch_result;
  watched[watched_count++] = fd;
  return 0;
}

static void unwatch(void *self, int fd) {
  CHECK(self == dialled);
  CHECK(fcntl(fd, F_GETFD) >= 0); /* it is told before the fd is closed */
  int i = 0;
  while (i < watched_count && watched[i] != fd) i++;
  CHECK(i < watched_count);
  watched[i] = watched[--watched_count];
}

static const struct dial_watch watcher = {watch, unwatch, dialled};

/* 192.0.2.1x and 2001:db8::1x: silence; ...::2x refuses, 3x is unreachable. */
static int play_connect(int fd, const void *address, unsigned length) {
  struct address a = {.length = length};
  char text[ADDRESS_TEXT_MAX];
  memcpy(&a.storage, address, length);
  address_text(&a, text);
  size_t at = strlen(dialled);
  snprintf(dialled + at, sizeof dialled - at, "%s%s", at ? " " : "", text);
  last_fd = fd;
  const char *played = strncmp(text, "192.0.2.", 8) == 0       ? text + 8
                       : strncmp(text, "[2001:db8::", 11) == 0 ? text + 11
                                                               : "";
  if (*played == '1') return -EINPROGRESS;
  if (*played == '2') return -ECONNREFUSED;
  if (*played == '3') return -ENETUNREACH;
  if (bind_to) {
    struct sockaddr_in own = {
        .sin_family = AF_INET, .sin_port = htons(bind_to), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK_EQ(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
  }
  return real_connect(fd, address, length);
}

static void add(struct addresses *to, const char *host, uint16_t port) {
  struct resolve *r;
  struct addresses one;
  CHECK_EQ(resolve_begin(host, port, NULL, NULL, &r, NULL), WSC_OK);
  CHECK_EQ(resolve_poll(r, &one, NULL), WSC_OK);
  resolve_end(r);
  to->items = mem_realloc(to->items, (to->count + 1) * sizeof *to->items);
  to->items[to->count++] = one.items[0];
  mem_free(one.items);
}

static struct dial *begin(struct addresses *to) {
  struct dial *d;
  dialled[0] = 0;
  CHECK_EQ(dial_new(to, "host.example", 80, DELAY, &watcher, &d), WSC_OK);
  CHECK(to->items == NULL);
  return d;
}

/* A listener on the loopback and its port. */
static int listen_on(const char *host, uint16_t *port, int backlog) {
  struct addresses a = {0};
  add(&a, host, 0);
  int fd = socket(a.items[0].storage.ss_family, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&a.items[0].storage, a.items[0].length) != 0) {
    mem_free(a.items);
    return -1;
  }
  CHECK_EQ(listen(fd, backlog), 0);
  socklen_t length = a.items[0].length;
  CHECK_EQ(getsockname(fd, (struct sockaddr *)&a.items[0].storage, &length), 0);
  *port = ntohs(((struct sockaddr_in *)&a.items[0].storage)->sin_port); /* at the same place for IPv6 */
  mem_free(a.items);
  return fd;
}

static void wait_ready(void) {
  struct pollfd p[64];
  for (int i = 0; i < watched_count; i++) p[i] = (struct pollfd){.fd = watched[i], .events = POLLOUT};
  CHECK(poll(p, (nfds_t)watched_count, -1) > 0);
}

/* Steps at one moment until there is an outcome; for addresses that are all real. */
static int run(struct dial *d, int *fd, wsc_error **err) {
  int64_t next;
  int status;
  while ((status = dial_step(d, 0, &next, fd, err)) == WSC_AGAIN) wait_ready();
  return status;
}

static void talks_to(const char *host) {
  uint16_t port;
  int listener = listen_on(host, &port, 8), fd = -1, on = 0;
  if (listener < 0) {
    printf("skipped: this machine has no %s\n", host);
    return;
  }
  struct addresses to = {0};
  add(&to, host, port);
  struct dial *d = begin(&to);
  CHECK_EQ(run(d, &fd, NULL), WSC_OK);
  dial_free(d);
  CHECK_EQ(watched_count, 1); /* the winner stays watched */
  CHECK_EQ(watched[0], fd);
  socklen_t length = sizeof on;
  CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
  CHECK(on != 0);
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  int peer = accept(listener, NULL, NULL);
  char c = 0;
  CHECK_EQ(write(fd, "x", 1), 1);
  CHECK_EQ(read(peer, &c, 1), 1);
  CHECK_EQ(c, 'x');
  close(peer);
  close(listener);
  unwatch(dialled, fd);
  close(fd);
}

static void a_refusal_names_address_and_cause(void) {
  uint16_t port;
  int fd = -1, listener = listen_on("127.0.0.1", &port, 1);
  close(listener);
  struct addresses to = {0};
  char want[64];
  wsc_error *e = NULL;
  add(&to, "127.0.0.1", port);
  struct dial *d = begin(&to);
  CHECK_EQ(run(d, &fd, &e), WSC_ERR_IO);
  snprintf(want, sizeof want, "127.0.0.1:%u (Connection refused)", port);
  CHECK_HAS(wsc_error_message(e), want);
  CHECK_HAS(wsc_error_message(e), "host.example port 80");
  CHECK_EQ(wsc_error_os_error(e), ECONNREFUSED);
  CHECK_EQ(watched_count, 0);
  wsc_error_unref(e);
  dial_free(d);
}

static void families_take_turns_each_after_the_delay(void) {
  struct addresses to = {0};
  add(&to, "2001:db8::11", 80);
  add(&to, "2001:db8::12", 80);
  add(&to, "2001:db8::13", 80);
  add(&to, "192.0.2.11", 80);
  add(&to, "192.0.2.12", 80);
  static const char *const order[] = {"[2001:db8::11]:80", "192.0.2.11:80", "[2001:db8::12]:80", "192.0.2.12:80",
                                      "[2001:db8::13]:80"};
  struct dial *d = begin(&to);
  char want[256] = "";
  int fd;
  int64_t now = 1000, next = 0;
  for (int i = 0; i < 5; i++) {
    CHECK_EQ(dial_step(d, now, &next, &fd, NULL), WSC_AGAIN);
    snprintf(want + strlen(want), sizeof want - strlen(want), "%s%s", i ? " " : "", order[i]);
    CHECK_STR(dialled, want);
    CHECK_EQ(watched_count, i + 1);
    CHECK_EQ(next, i < 4 ? now + DELAY : 0);
    CHECK_EQ(dial_step(d, now + DELAY - 1, &next, &fd, NULL), WSC_AGAIN); /* a moment before its time nothing begins */
    CHECK_STR(dialled, want);
    now += DELAY;
  }
  CHECK_EQ(dial_step(d, now + 3600 * NS_PER_S, &next, &fd, NULL),
           WSC_AGAIN); /* silence is nobody's failure: the caller's deadline ends it */
  char described[64];
  CHECK_HAS(dial_describe(d, described, sizeof described), "[2001:db8::11]:80 (no answer), 192.0.2.11:80 (no answer)");
  CHECK_STR(described + 60, "...");
  int one = watched[0];
  dial_free(d);
  CHECK_EQ(watched_count, 0);
  CHECK_EQ(fcntl(one, F_GETFD), -1);
}

static void a_failure_begins_the_next_at_once(void) {
  struct addresses to = {0};
  add(&to, "192.0.2.21", 80);
  add(&to, "2001:db8::31", 80);
  add(&to, "192.0.2.11", 80);
  add(&to, "192.0.2.12", 80);
  struct dial *d = begin(&to);
  int fd;
  int64_t next = 0;
  CHECK_EQ(dial_step(d, 7, &next, &fd, NULL), WSC_AGAIN);
  CHECK_STR(dialled, "192.0.2.21:80 [2001:db8::31]:80 192.0.2.11:80");
  CHECK_EQ(next, 7 + DELAY);
  dial_free(d);
}

static void a_failure_beside_a_silent_one_begins_the_next_at_once(void) {
  struct addresses to = {0};
  add(&to, "192.0.2.11", 80);
  add(&to, "192.0.2.21", 80);
  add(&to, "192.0.2.12", 80);
  struct dial *d = begin(&to);
  int fd;
  int64_t next = 0;
  CHECK_EQ(dial_step(d, 0, &next, &fd, NULL), WSC_AGAIN);
  CHECK_EQ(dial_step(d, DELAY, &next, &fd, NULL), WSC_AGAIN);
  CHECK_STR(dialled, "192.0.2.11:80 192.0.2.21:80 192.0.2.12:80");
  CHECK_EQ(watched_count, 2);
  dial_free(d);
}

static void all_failures_are_named(void) {
  struct addresses to = {0};
  wsc_error *e = NULL;
  add(&to, "2001:db8::31", 80);
  add(&to, "192.0.2.21", 80);
  struct dial *d = begin(&to);
  int fd;
  int64_t next;
  CHECK_EQ(dial_step(d, 0, &next, &fd, &e), WSC_ERR_IO);
  CHECK_HAS(wsc_error_message(e), "[2001:db8::31]:80 (Network is unreachable), 192.0.2.21:80 (Connection refused)");
  CHECK_EQ(wsc_error_os_error(e), ECONNREFUSED); /* the one that says something about the server */
  wsc_error_unref(e);
  dial_free(d);
  e = NULL;
  d = begin(&(struct addresses){0});
  CHECK_EQ(dial_step(d, 0, &next, &fd, &e), WSC_ERR_IO);
  CHECK_HAS(wsc_error_message(e), "no address");
  wsc_error_unref(e);
  dial_free(d);
}

static void silence_costs_one_delay(void) {
  uint16_t port;
  int listener = listen_on("127.0.0.1", &port, 8), fd = -1;
  struct addresses to = {0};
  add(&to, "192.0.2.11", 80);
  add(&to, "127.0.0.1", port);
  add(&to, "192.0.2.12", 80);
  struct dial *d = begin(&to);
  int64_t next = 0;
  CHECK_EQ(dial_step(d, 0, &next, &fd, NULL), WSC_AGAIN);
  int silent = last_fd, status;
  while ((status = dial_step(d, DELAY, &next, &fd, NULL)) == WSC_AGAIN) wait_ready();
  CHECK_EQ(status, WSC_OK);
  CHECK(fd != silent);
  CHECK_EQ(fcntl(silent, F_GETFD), -1); /* the loser is closed */
  CHECK_EQ(watched_count, 1);
  dial_free(d);
  CHECK(fcntl(fd, F_GETFD) >= 0); /* the winner is not */
  unwatch(dialled, fd);
  close(fd);
  close(listener);
}

static void the_first_to_connect_wins_even_if_it_began_first(void) {
  uint16_t port;
  int listener = listen_on("127.0.0.1", &port, 8), fd = -1;
  struct addresses to = {0};
  add(&to, "192.0.2.11", 80);
  add(&to, "192.0.2.12", 80);
  struct dial *d = begin(&to);
  int64_t next = 0;
  CHECK_EQ(dial_step(d, 0, &next, &fd, NULL), WSC_AGAIN);
  int first = last_fd;
  CHECK_EQ(dial_step(d, DELAY, &next, &fd, NULL), WSC_AGAIN);
  int second = last_fd;
  /* 192.0.2.11 answers after all. */
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  (void)connect(first, (struct sockaddr *)&a, sizeof a);
  struct pollfd p = {.fd = first, .events = POLLOUT};
  CHECK_EQ(poll(&p, 1, -1), 1);
  CHECK_EQ(dial_step(d, DELAY, &next, &fd, NULL), WSC_OK);
  CHECK_EQ(fd, first);
  CHECK_EQ(fcntl(second, F_GETFD), -1);
  dial_free(d);
  unwatch(dialled, fd);
  close(fd);
  close(listener);
}

/* A listener whose queue is full is silent; when it goes, the kernel's next try is refused: an error that comes by
 * event. */
static void a_late_refusal_is_noticed(void) {
  uint16_t port;
  int listener = listen_on("127.0.0.1", &port, 0), fill[8], fd = -1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < 8; i++) {
    fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)connect(fill[i], (struct sockaddr *)&a, sizeof a);
  }
  struct addresses to = {0};
  wsc_error *e = NULL;
  char described[200], refused[64];
  add(&to, "127.0.0.1", port);
  add(&to, "192.0.2.11", 80);
  add(&to, "192.0.2.12", 80);
  struct dial *d = begin(&to);
  int64_t next = -1;
  CHECK_EQ(dial_step(d, 0, &next, &fd, NULL), WSC_AGAIN);
  struct pollfd p = {.fd = last_fd, .events = POLLOUT};
  CHECK_EQ(dial_step(d, DELAY, &next, &fd, NULL), WSC_AGAIN);
  CHECK_EQ(watched_count, 2);
  close(listener);
  CHECK_EQ(poll(&p, 1, -1), 1);
  CHECK_EQ(dial_step(d, DELAY + 1, &next, &fd, &e), WSC_AGAIN); /* the third need not wait for its time */
  snprintf(refused, sizeof refused, "127.0.0.1:%u (Connection refused)", port);
  CHECK_HAS(dialled, " 192.0.2.11:80 192.0.2.12:80");
  CHECK_HAS(dial_describe(d, described, sizeof described), refused);
  CHECK_EQ(watched_count, 2);
  dial_free(d);
  for (int i = 0; i < 8; i++) close(fill[i]);
}

/* Dialling a port of this machine that nobody listens on may meet itself. */
static void a_connection_to_itself_is_none(void) {
  uint16_t port;
  int fd = -1, listener = listen_on("127.0.0.1", &port, 1);
  close(listener);
  struct addresses to = {0};
  wsc_error *e = NULL;
  add(&to, "127.0.0.1", port);
  struct dial *d = begin(&to);
  bind_to = port;
  CHECK_EQ(run(d, &fd, &e), WSC_ERR_IO);
  bind_to = 0;
  CHECK_HAS(wsc_error_message(e), "(Connection refused)");
  wsc_error_unref(e);
  dial_free(d);
}

static void what_cannot_be_watched_or_opened_has_failed(void) {
  struct addresses to = {0};
  wsc_error *e = NULL;
  add(&to, "192.0.2.11", 80);
  add(&to, "192.0.2.12", 80);
  to.items[1].storage.ss_family = 250; /* no such family */
  struct dial *d = begin(&to);
  int fd;
  int64_t next;
  watch_result = -ENOSPC;
  CHECK_EQ(dial_step(d, 0, &next, &fd, &e), WSC_ERR_IO);
  watch_result = 0;
  CHECK_HAS(wsc_error_message(e), "192.0.2.11:80 (No space left on device)");
  CHECK_HAS(wsc_error_message(e), "(Address family not supported by protocol)");
  CHECK_EQ(wsc_error_os_error(e), ENOSPC);
  CHECK_EQ(fcntl(last_fd, F_GETFD), -1);
  wsc_error_unref(e);
  dial_free(d);
}

static void lack_of_memory_is_survived(void) {
  long live = mem_live();
  bool failed = true;
  int made = 0;
  for (long n = 1; failed; n++) {
    struct addresses to = {0};
    struct dial *d = NULL;
    wsc_error *e = NULL;
    int fd;
    int64_t next;
    add(&to, "192.0.2.21", 80);
    add(&to, "2001:db8::21", 80);
    mem_fail_after(n);
    int status = dial_new(&to, "host.example", 80, DELAY, &watcher, &d);
    CHECK_EQ(to.count, 0);
    if (status == WSC_OK) {
      made++;
      CHECK_EQ(dial_step(d, 0, &next, &fd, &e), WSC_ERR_IO);
      CHECK_EQ(wsc_error_status(e), WSC_ERR_IO); /* also the error that could not be made */
    } else {
      CHECK_EQ(status, WSC_ERR_NOMEM);
      CHECK(d == NULL);
    }
    failed = mem_failed();
    mem_fail_after(-1);
    wsc_error_unref(e);
    dial_free(d);
    CHECK_EQ(mem_live(), live);
  }
  CHECK(made >= 2);
}

int main(void) {
  real_connect = os_io.connect;
  os_io.connect = play_connect;
  talks_to("127.0.0.1");
  talks_to("::1");
  a_refusal_names_address_and_cause();
  families_take_turns_each_after_the_delay();
  a_failure_begins_the_next_at_once();
  a_failure_beside_a_silent_one_begins_the_next_at_once();
  all_failures_are_named();
  silence_costs_one_delay();
  the_first_to_connect_wins_even_if_it_began_first();
  a_late_refusal_is_noticed();
  a_connection_to_itself_is_none();
  what_cannot_be_watched_or_opened_has_failed();
  lack_of_memory_is_survived();
  dial_free(NULL);
  CHECK_EQ(watched_count, 0);
  return 0;
}
