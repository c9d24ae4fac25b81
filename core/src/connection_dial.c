/* From a URL to an open connection: look-up, TCP, TLS, upgrade. One step after the other, as far as each goes without waiting. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "os.h"
#include "socket.h"

#include <errno.h>

const char *dial_step_name(enum connection_state s) {
  switch (s) {
  case CONN_RESOLVING: return "looking up the host name";
  case CONN_CONNECTING: return "connecting by TCP";
  case CONN_TLS: return "shaking hands by TLS";
  default: return "waiting for the answer to the upgrade request";
  }
}

static int watch(void *self, int fd) {
  wsc_connection *k = self;
  return poller_add(&k->loop->poller, fd, k->actor);
}

static void unwatch(void *self, int fd) {
  wsc_connection *k = self;
  poller_remove(&k->loop->poller, fd);
}

static void answer_came(void *self) { actor_kick(self, 0); }

void dial_start(wsc_connection *k) {
  k->state = CONN_RESOLVING;
  k->deadline_ns = k->connect_timeout_ns ? os_now_ns() + k->connect_timeout_ns : 0;
}

void connection_dial(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  dial_start(k);
  pthread_mutex_unlock(&k->lock);
  actor_kick(k->actor, 0);
}

void dial_drop(wsc_connection *k) {
  resolve_end(k->resolve);
  k->resolve = NULL;
  dial_free(k->dial);
  k->dial = NULL;
  handshake_free(&k->handshake);
  buffer_free(&k->request);
}

static int look_up(wsc_connection *k, struct addresses *found, wsc_error **err) {
  if (options_str(k->options, WSC_OPT_UNIX_SOCKET)) return socket_unix_address(k->options, found);
  int r = k->resolve ? WSC_OK : resolve_begin(k->url.host, k->url.port, answer_came, k->actor, &k->resolve, err);
  if (r) return r;
  r = resolve_poll(k->resolve, found, err);
  if (r) return r;
  resolve_end(k->resolve);
  k->resolve = NULL;
  return WSC_OK;
}

static int run_resolving(wsc_connection *k, wsc_error **err) {
  struct addresses found = {0};
  int r = look_up(k, &found, err);
  if (r) return r;
  struct dial_watch w = {watch, unwatch, k};
  int64_t delay = options_int(k->options, WSC_OPT_HAPPY_EYEBALLS_DELAY_MS) * NS_PER_MS;
  r = dial_new(&found, k->url.host, k->url.port, delay, &w, &k->dial);
  if (r) return error_set(err, r, "out of memory dialing %s", k->url.shown);
  dial_use(k->dial, k->options);
  connection_log(k, WSC_LOG_DEBUG, "dial", "%s: addresses are known", k->url.host);
  k->state = CONN_CONNECTING;
  return WSC_OK;
}

static int begin_upgrade(wsc_connection *k, wsc_error **err) {
  k->state = CONN_UPGRADING;
  k->readable = true; /* its edge may have come already */
  return handshake_begin(&k->handshake, &k->url, k->options, &k->request, err);
}

static int run_connecting(wsc_connection *k, int64_t now, wsc_error **err) {
  int64_t next = 0;
  int r = dial_step(k->dial, now, &next, &k->transport.fd, err);
  if (r == WSC_AGAIN) k->due_ns = earlier(k->due_ns, next);
  if (r) return r;
  dial_free(k->dial);
  k->dial = NULL;
  connection_log(k, WSC_LOG_DEBUG, "dial", "connected to %s:%u", k->url.host, k->url.port);
  if (!k->url.secure) return begin_upgrade(k, err);
  k->state = CONN_TLS;
  return tls_new(k->trust, k->transport.fd, &k->url, &k->transport.tls, err);
}

static int run_tls(wsc_connection *k, wsc_error **err) {
  int r = tls_handshake(k->transport.tls, err);
  if (r) return r;
  connection_log(k, WSC_LOG_DEBUG, "tls", "%s: %s", k->url.host, tls_version_text(k->transport.tls));
  return begin_upgrade(k, err);
}

static int transport_failed(wsc_connection *k, ssize_t result, const char *what, wsc_error **err) {
  char text[128];
  struct error_info info = {.status = result == -EPROTO ? WSC_ERR_TLS : WSC_ERR_IO,
                            .os_error = result == -EPROTO ? 0 : (int)-result};
  return error_set_info(err, &info, "%s: %s: %s", k->url.shown, what, transport_error(&k->transport, result, text));
}

/* What the upgrade agreed on. */
static int begin_compression(wsc_connection *k, const struct deflate_terms *t, wsc_error **err) {
  k->terms = *t;
  if (!t->on) return WSC_OK;
  if (receiver_inflates(&k->receiver, t->server_bits, t->server_forgets) != WSC_OK)
    return error_set(err, WSC_ERR_NOMEM, "out of memory for inflating what %s sends", k->url.shown);
  connection_log(k, WSC_LOG_DEBUG, "connection", "permessage-deflate: window bits %d out%s, %d in%s", t->client_bits,
                 t->client_forgets ? " (no context takeover)" : "", t->server_bits,
                 t->server_forgets ? " (no context takeover)" : "");
  return WSC_OK;
}

static void open_connection(wsc_connection *k, int64_t now) {
  k->response = k->handshake.answer.response;
  k->handshake.answer.response = NULL;
  dial_drop(k);
  k->state = CONN_OPEN;
  k->deadline_ns = 0;
  k->ended = (wsc_close){.struct_size = sizeof k->ended, .reason = ""};
  keepalive_start(&k->alive, now);
  k->last_byte_ns = now;
  k->news |= NEWS_DIALED;
  connection_log(k, WSC_LOG_INFO, "connection", "%s is open", k->url.shown);
  for (wsc_op *op; (op = k->dials.head);) {
    op_list_remove(&k->dials, op);
    op_complete(op, WSC_OK, NULL);
  }
}

static int run_upgrading(wsc_connection *k, int64_t now, wsc_error **err) {
  while (k->request_sent < k->request.length) {
    ssize_t n = transport_send(&k->transport, k->request.data + k->request_sent, k->request.length - k->request_sent);
    if (n == -EAGAIN || n == -EPIPE || n == -ECONNRESET)
      break; /* refused before it was read whole: the answer may be here */
    if (n < 0) return transport_failed(k, n, "sending the upgrade request", err);
    k->request_sent += (size_t)n;
  }
  for (;;) {
    uint8_t in[4096];
    struct iovec iov = {in, sizeof in};
    ssize_t n = transport_recv(&k->transport, &iov, 1);
    if (n == -EAGAIN) return WSC_AGAIN;
    if (n < 0) return transport_failed(k, n, "reading the answer to the upgrade request", err);
    size_t used = 0;
    int r = handshake_feed(&k->handshake, k->options, in, (size_t)n, &used, err);
    if (r == WSC_AGAIN) continue;
    if (r == WSC_OK) r = begin_compression(k, &k->handshake.terms, err);
    if (r) return r;
    open_connection(k, now);
    if (used < (size_t)n)
      receive_bytes(k, in + used, (size_t)n - used, now); /* a fault ends the connection, not the dial */
    return WSC_OK;
  }
}

static void failed(wsc_connection *k, wsc_error *e) {
  dial_drop(k);
  connection_log(k, WSC_LOG_WARNING, "dial", "%s", wsc_error_message(e));
  k->news |= NEWS_DIAL_FAILED;
  connection_end(k, e);
}

static wsc_error *timed_out(wsc_connection *k) {
  struct error_info info = {.status = WSC_ERR_TIMEOUT, .timer = WSC_TIMER_CONNECT};
  long long limit = (long long)(k->connect_timeout_ns / NS_PER_MS);
  size_t used = 0;
  wsc_error *e = NULL;
  if (k->state == CONN_UPGRADING &&
      k->handshake.refused) { /* a refusal whose body never ended says more than a timeout */
    handshake_feed(&k->handshake, k->options, NULL, 0, &used, &e);
    if (e) return e;
  }
  char tried[256] = "";
  if (k->state == CONN_CONNECTING) dial_describe(k->dial, tried, sizeof tried);
  return error_make(&info, "%s: no connection within %lld ms; it timed out while %s%s%s", k->url.shown, limit,
                    dial_step_name(k->state), *tried ? ": " : "", tried);
}

void dial_run(wsc_connection *k, int64_t now) {
  wsc_error *e = NULL;
  int r = WSC_OK;
  while (r == WSC_OK && k->state < CONN_OPEN) {
    switch (k->state) {
    case CONN_RESOLVING: r = run_resolving(k, &e); break;
    case CONN_CONNECTING: r = run_connecting(k, now, &e); break;
    case CONN_TLS: r = run_tls(k, &e); break;
    case CONN_UPGRADING: r = run_upgrading(k, now, &e); break;
    default: return;
    }
  }
  if (r < 0) failed(k, e);
  else if (r == WSC_AGAIN && k->deadline_ns && k->deadline_ns <= now) failed(k, timed_out(k));
}
