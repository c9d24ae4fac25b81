/* wslay's event API on a blocking socket, default buffering: wslay collects each message. */
#define _GNU_SOURCE
#include "bench.h"
#include <wslay/wslay.h>

struct client {
  struct bench *b;
  int fd, answered;
  uint64_t random;
};

static ssize_t on_recv(wslay_event_context_ptr c, uint8_t *p, size_t n, int flags, void *user) {
  struct client *x = user;
  (void)flags;
  ssize_t r;
  do r = recv(x->fd, p, n, 0);
  while (r < 0 && errno == EINTR);
  if (r > 0) return r;
  wslay_event_set_error(c, r < 0 && errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
  return -1;
}

static ssize_t on_send(wslay_event_context_ptr c, const uint8_t *p, size_t n, int flags, void *user) {
  struct client *x = user;
  ssize_t r;
  do r = send(x->fd, p, n, MSG_NOSIGNAL | (flags & WSLAY_MSG_MORE ? MSG_MORE : 0));
  while (r < 0 && errno == EINTR);
  if (r < 0) wslay_event_set_error(c, WSLAY_ERR_CALLBACK_FAILURE);
  return r;
}

static int on_mask(wslay_event_context_ptr c, uint8_t *p, size_t n, void *user) {
  struct client *x = user;
  (void)c;
  x->random ^= x->random << 13;
  x->random ^= x->random >> 7;
  x->random ^= x->random << 17;
  memcpy(p, &x->random, n < 8 ? n : 8);
  return 0;
}

static void on_message(wslay_event_context_ptr c, const struct wslay_event_on_msg_recv_arg *m, void *user) {
  struct client *x = user;
  (void)c;
  if (wslay_is_ctrl_frame(m->opcode)) return;
  x->answered = 1;
  if (mode_is(x->b, "send")) {
    x->b->messages = strtoull((const char *)m->msg, NULL, 10);
  } else {
    x->b->messages++;
    x->b->bytes += m->msg_length;
  }
}

static void receive_until_answered(struct client *x, wslay_event_context_ptr c) {
  while (!x->answered) {
    struct pollfd p = {.fd = x->fd, .events = POLLIN};
    poll(&p, 1, -1);
    if (wslay_event_recv(c)) die("wslay_event_recv");
  }
}

int main(int argc, char **argv) {
  struct bench b;
  bench_args(&b, argc, argv);
  struct client x = {.b = &b, .random = UINT64_C(88172645463325252)};
  struct wslay_event_callbacks callbacks = {.recv_callback = on_recv,
                                            .send_callback = on_send,
                                            .genmask_callback = on_mask,
                                            .on_msg_recv_callback = on_message};
  wslay_event_context_ptr c;
  if (wslay_event_context_client_init(&c, &callbacks, &x)) die("wslay_event_context_client_init");
  bench_start(&b);
  x.fd = ws_connect(&b);

  uint8_t *payload = malloc(b.size + 1);
  memset(payload, 'x', b.size);
  struct wslay_event_msg message = {WSLAY_BINARY_FRAME, payload, b.size};
  if (mode_is(&b, "recv")) {
    while (wslay_event_want_read(c) && !wslay_event_recv(c)) {
      if (wslay_event_want_write(c) && wslay_event_send(c)) break;
    }
  } else if (mode_is(&b, "send")) {
    for (long i = 0; i < b.count; i++) {
      wslay_event_queue_msg(c, &message);
      wslay_event_send(c);
    }
    struct wslay_event_msg question = {WSLAY_TEXT_FRAME, (const uint8_t *)"count", 5};
    wslay_event_queue_msg(c, &question);
    wslay_event_send(c);
    fcntl(x.fd, F_SETFL, O_NONBLOCK);
    receive_until_answered(&x, c);
  } else {
    fcntl(x.fd, F_SETFL, O_NONBLOCK);
    for (long i = 0; i < b.count; i++) {
      double t = now_s();
      x.answered = 0;
      wslay_event_queue_msg(c, &message);
      wslay_event_send(c);
      receive_until_answered(&x, c);
      b.latency[i] = now_s() - t;
    }
  }
  bench_report(&b);
  return 0;
}
