/* libwebsockets: one event loop, buffers of 64 KiB, sends until the pipe chokes. */
#define _GNU_SOURCE
#include "bench.h"
#include <libwebsockets.h>

static struct bench b;
static int stop, asked;
static long sent, opened;
static double sent_at;
static uint8_t *out; /* LWS_PRE bytes of room, then the payload */

static int finish(void) {
  bench_report(&b);
  stop = 1;
  return -1;
}

static int on_received(struct lws *w, const char *in, size_t n) {
  b.bytes += n;
  if (!lws_is_final_fragment(w) || lws_remaining_packet_payload(w)) return 0;
  if (mode_is(&b, "send")) {
    b.messages = strtoull(in, NULL, 10);
    return finish();
  }
  if (mode_is(&b, "rtt")) {
    b.latency[b.messages++] = now_s() - sent_at;
    if ((long)b.messages == b.count) return finish();
    lws_callback_on_writable(w);
    return 0;
  }
  b.messages++;
  return 0;
}

static int on_writable(struct lws *w) {
  if (mode_is(&b, "rtt")) {
    sent_at = now_s();
    return lws_write(w, out + LWS_PRE, b.size, LWS_WRITE_BINARY) < 0 ? -1 : 0;
  }
  if (!mode_is(&b, "send")) return 0;
  while (sent < b.count && !lws_send_pipe_choked(w)) {
    if (lws_write(w, out + LWS_PRE, b.size, LWS_WRITE_BINARY) < 0) return -1;
    sent++;
  }
  if (sent < b.count || lws_send_pipe_choked(w)) {
    lws_callback_on_writable(w);
  } else if (!asked) {
    asked = 1;
    memcpy(out + LWS_PRE, "count", 5);
    lws_write(w, out + LWS_PRE, 5, LWS_WRITE_TEXT);
  }
  return 0;
}

static int on_event(struct lws *w, enum lws_callback_reasons reason, void *user, void *in, size_t n) {
  (void)user;
  switch (reason) {
  case LWS_CALLBACK_CLIENT_ESTABLISHED:
    opened++;
    if (!mode_is(&b, "recv") && !mode_is(&b, "idle")) lws_callback_on_writable(w);
    return 0;
  case LWS_CALLBACK_CLIENT_RECEIVE: return on_received(w, in, n);
  case LWS_CALLBACK_CLIENT_WRITEABLE: return on_writable(w);
  case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    fprintf(stderr, "lws: connect failed: %s\n", in ? (char *)in : "no reason given");
    exit(1);
  case LWS_CALLBACK_CLIENT_CLOSED: stop = 1; return 0;
  default: return 0;
  }
}

static const struct lws_protocols protocols[] = {{"bench", on_event, 0, 65536, 0, NULL, 0},
                                                 {NULL, NULL, 0, 0, 0, NULL, 0}};

int main(int argc, char **argv) {
  bench_args(&b, argc, argv);
  out = calloc(1, LWS_PRE + b.size + 16);
  lws_set_log_level(LLL_ERR, NULL);
  struct lws_context_creation_info c;
  memset(&c, 0, sizeof c);
  c.port = CONTEXT_PORT_NO_LISTEN;
  c.protocols = protocols;
  c.gid = c.uid = -1;
  c.pt_serv_buf_size = 65536;
  c.fd_limit_per_thread = 6000;
  struct lws_context *context = lws_create_context(&c);
  if (!out || !context) die("lws_create_context");
  struct lws_client_connect_info i;
  memset(&i, 0, sizeof i);
  i.context = context;
  i.port = b.port;
  i.address = i.host = i.origin = b.host;
  i.path = b.path;
  i.local_protocol_name = "bench";
  i.ietf_version_or_minus_one = -1;

  bench_start(&b);
  if (mode_is(&b, "idle")) {
    for (long k = 0; k < b.count; k++) {
      lws_client_connect_via_info(&i);
      while (opened <= k) lws_service(context, 0);
    }
    for (int k = 0; k < 5; k++) lws_service(context, -1);
    b.messages = (uint64_t)opened;
    bench_report(&b);
    _exit(0);
  }
  lws_client_connect_via_info(&i);
  while (!stop) lws_service(context, 0);
  if (mode_is(&b, "recv")) bench_report(&b);
  return 0;
}
