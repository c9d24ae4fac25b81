/* HAPPY_EYEBALLS_DELAY_MS through an engine: a name with two addresses, the first of which is silent. */
#include "loop_bed.h"
#include "peer.h"
#include "resolve.h"

#include <netdb.h>

static const int64_t HEAD_START_MS = 600; /* longer than the default */

static int64_t last_began_ns;
static int begun;
static int (*real_connect)(int, const void *, unsigned);

static int timed_connect(int fd, const void *address, unsigned length) {
  begun++;
  last_began_ns = os_now_ns();
  return real_connect(fd, address, length);
}

static struct addrinfo *literal(const char *text, struct addrinfo *rest) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *out;
  CHECK_EQ(getaddrinfo(text, NULL, &hints, &out), 0);
  out->ai_next = rest;
  return out;
}

static int two_addresses(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
  (void)service, (void)hints;
  CHECK(strcmp(node, "two.example") == 0);
  *out = literal("127.0.0.2", literal("127.0.0.1", NULL));
  return 0;
}

/* A listener whose queue is full leaves what comes next without an answer. */
static void fill_up(uint16_t port, int fds[3]) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  CHECK_EQ(inet_pton(AF_INET, "127.0.0.2", &a.sin_addr), 1);
  for (int i = 0; i < 3; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (i ? SOCK_NONBLOCK : 0), 0);
    CHECK(fds[i] >= 0);
  }
  CHECK_EQ(bind(fds[0], (struct sockaddr *)&a, sizeof a), 0);
  CHECK_EQ(listen(fds[0], 0), 0);
  for (int i = 1; i < 3; i++) (void)connect(fds[i], (struct sockaddr *)&a, sizeof a);
  struct pollfd first = {.fd = fds[1], .events = POLLOUT};
  CHECK_EQ(poll(&first, 1, 10000), 1);
}

static void the_second_address_waits_for_the_head_start_that_was_set(void) {
  struct peer peer;
  wsc_loop *loop;
  wsc_engine *engine;
  char url[64];
  int full[3];
  wsc_options *options = wsc_options_new();
  CHECK_EQ(wsc_options_set_int(options, WSC_OPT_HAPPY_EYEBALLS_DELAY_MS, HEAD_START_MS), WSC_OK);
  peer_listen(&peer);
  fill_up(peer.port, full);
  snprintf(url, sizeof url, "ws://two.example:%u/", peer.port);
  CHECK_EQ(wsc_loop_new(NULL, &loop, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_new(url, NULL, NULL, options, &engine, NULL), WSC_OK);
  wsc_options_free(options);
  CHECK_EQ(wsc_loop_add(loop, engine), WSC_OK);
  int64_t before_ns = os_now_ns();
  CHECK_EQ(wsc_engine_start_begin(engine, NULL, 1, NULL, NULL), WSC_OK);
  struct pollfd reached = {.fd = peer.listener, .events = POLLIN};
  wsc_event ev = {.struct_size = sizeof ev};
  for (int64_t end = os_now_ns() + PATIENCE; poll(&reached, 1, 0) == 0;) {
    CHECK(os_now_ns() < end);
    CHECK_EQ(wsc_loop_next(loop, NS_PER_MS, &ev), WSC_AGAIN);
  }
  loop_settle(loop);
  peer_accept(&peer);
  wsc_event opened = loop_expect(loop, WSC_EVENT_OPENED);
  CHECK_EQ(begun, 2);
  CHECK(last_began_ns - before_ns >= HEAD_START_MS * NS_PER_MS);
  wsc_event_done(&opened, NULL);
  wsc_engine_free(engine);
  wsc_loop_free(loop);
  peer_close(&peer);
  for (int i = 0; i < 3; i++) close(full[i]);
}

int main(void) {
  resolve_getaddrinfo = two_addresses;
  real_connect = os_io.connect;
  os_io.connect = timed_connect;
  the_second_address_waits_for_the_head_start_that_was_set();
  return 0;
}
