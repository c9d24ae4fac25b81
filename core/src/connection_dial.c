/* From a URL to an open connection: look-up, TCP, TLS, upgrade. One step after the other, as far as each goes without waiting. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "socket.h"
#include "wire_log.h"

#include <errno.h>

const char *dial_step_name(enum connection_state s) {
  switch (s) {
  case CONN_ADAPTING: return "waiting for the adapter's dial";
  case CONN_RESOLVING: return "looking up the host name";
  case CONN_CONNECTING: return "connecting by TCP";
  case CONN_PROXY_TLS: return "shaking hands by TLS with the proxy";
  case CONN_TUNNELING: return "waiting for the proxy's answer";
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
  k->state = k->adapted ? CONN_ADAPTING : CONN_RESOLVING;
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
  detour_free(k->detour);
  k->detour = NULL;
  k->routed = false;
  if (k->handshake) handshake_free(k->handshake);
  mem_free(k->handshake);
  k->handshake = NULL;
  buffer_free(&k->request);
  k->request_sent = 0;
}

int dial_trust(wsc_connection *k, wsc_error **err) {
  return k->trust ? WSC_OK : tls_context_new(k->options, &k->trust, err);
}

static int look_up(wsc_connection *k, const struct url *u, struct addresses *found, wsc_error **err) {
  int r = k->resolve ? WSC_OK : resolve_begin(u->host, u->port, answer_came, k->actor, &k->resolve, err);
  if (r) return r;
  r = resolve_poll(k->resolve, found, err);
  if (r) return r;
  resolve_end(k->resolve);
  k->resolve = NULL;
  return WSC_OK;
}

/* The host whose addresses are dialed: the server's, or the proxy's. */
static const struct url *first_hop(const wsc_connection *k) { return k->detour ? &k->detour->proxy.url : &k->url; }

static int run_resolving(wsc_connection *k, wsc_error **err) {
  struct addresses found = {0};
  int r = k->routed ? WSC_OK : detour_find(k, err);
  if (r) return r;
  if (k->detour && k->detour->proxy.kind == PROXY_SOCKS5 && !k->detour->target.count)
    r = look_up(k, &k->url, &k->detour->target, err);
  if (r) return r;
  bool local = options_str(k->options, WSC_OPT_UNIX_SOCKET) != NULL;
  const struct url *hop = first_hop(k);
  r = local ? socket_unix_address(k->options, &found) : look_up(k, hop, &found, err);
  if (r) return detour_failed(k, r, err);
  struct dial_watch w = {watch, unwatch, k};
  int64_t delay = options_int(k->options, WSC_OPT_HAPPY_EYEBALLS_DELAY_MS) * NS_PER_MS;
  r = dial_new(&found, hop->host, hop->port, delay, &w, &k->dial);
  if (r) return error_set(err, r, "out of memory dialing %s", k->url.shown);
  dial_use(k->dial, k->options);
  connection_log(k, WSC_LOG_DEBUG, "dial", "%s: addresses are known", hop->host);
  k->state = CONN_CONNECTING;
  return WSC_OK;
}

static int begin_upgrade(wsc_connection *k, wsc_error **err) {
  k->state = CONN_UPGRADING;
  k->readable = true; /* its edge may have come already */
  if (!(k->handshake = mem_zalloc(sizeof *k->handshake)))
    return error_set(err, WSC_ERR_NOMEM, "out of memory for the upgrade of %s", k->url.shown);
  int r = handshake_begin(k->handshake, &k->url, k->options, &k->request, err);
  if (!r && k->traces) wire_log_request(k, k->request.data, k->request.length);
  return r;
}

/* Bytes go to the server from here on. */
static int reached(wsc_connection *k, wsc_error **err) {
  if (!k->url.secure) return begin_upgrade(k, err);
  k->state = CONN_TLS;
  int r = dial_trust(k, err);
  struct tls *over = NULL;
  if (!r) r = tls_new(k->trust, k->transport.fd, k->transport.tls, &k->url, false, &over, err);
  if (!r) k->transport.tls = over;
  return r;
}

static int run_connecting(wsc_connection *k, int64_t now, wsc_error **err) {
  int64_t next = 0;
  int r = dial_step(k->dial, now, &next, &k->transport.fd, err);
  if (r == WSC_AGAIN) k->due_ns = earlier(k->due_ns, next);
  if (r) return detour_failed(k, r, err);
  dial_free(k->dial);
  k->dial = NULL;
  connection_log(k, WSC_LOG_DEBUG, "dial", "connected to %s:%u", first_hop(k)->host, first_hop(k)->port);
  return k->detour ? detour_begin(k, err) : reached(k, err);
}

static int run_tunneling(wsc_connection *k, wsc_error **err) {
  int r = detour_tunnel(k, err);
  return r ? r : reached(k, err);
}

static int run_tls(wsc_connection *k, wsc_error **err) {
  int r = tls_handshake(k->transport.tls, err);
  if (r) return r;
  connection_log(k, WSC_LOG_DEBUG, "tls", "%s: %s", k->url.host, tls_version_text(k->transport.tls));
  return begin_upgrade(k, err);
}

int dial_failed(wsc_connection *k, ssize_t result, const char *what, wsc_error **err) {
  char text[128];
  struct error_info info = {.status = result == -EPROTO ? WSC_ERR_TLS : WSC_ERR_IO,
                            .os_error = result == -EPROTO ? 0 : (int)-result};
  return error_set_info(err, &info, "%s: %s: %s", k->url.shown, what, transport_error(&k->transport, result, text));
}

int dial_send(wsc_connection *k, const char *what, wsc_error **err) {
  while (k->request_sent < k->request.length) {
    ssize_t n = transport_send(&k->transport, k->request.data + k->request_sent, k->request.length - k->request_sent);
    if (n == -EAGAIN || n == -EPIPE || n == -ECONNRESET)
      return WSC_AGAIN; /* refused before it was read whole: the answer may be here */
    if (n < 0) return dial_failed(k, n, what, err);
    k->request_sent += (size_t)n;
  }
  return WSC_OK;
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

void dial_opened(wsc_connection *k, int64_t now) {
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

static void open_connection(wsc_connection *k, int64_t now) {
  k->response = k->handshake->answer.response;
  k->handshake->answer.response = NULL;
  dial_opened(k, now);
  if (options_int(k->options, WSC_OPT_KERNEL_STAMPS)) transport_stamp(&k->transport);
}

static int run_upgrading(wsc_connection *k, int64_t now, wsc_error **err) {
  int r = dial_send(k, "sending the upgrade request", err);
  if (r < 0) return r;
  for (;;) {
    uint8_t in[4096];
    struct iovec iov = {in, sizeof in};
    ssize_t n = transport_recv(&k->transport, &iov, 1);
    if (n == -EAGAIN) return WSC_AGAIN;
    if (n < 0) return dial_failed(k, n, "reading the answer to the upgrade request", err);
    size_t used = 0;
    r = handshake_feed(k->handshake, k->options, in, (size_t)n, &used, err);
    if (r == WSC_AGAIN) continue;
    if (k->traces) wire_log_response(k, r ? wsc_error_response(*err) : k->handshake->answer.response);
    if (r == WSC_ERR_HANDSHAKE) return redirect_follow(k, err);
    if (r == WSC_OK) r = begin_compression(k, &k->handshake->terms, err);
    if (r) return r;
    open_connection(k, now);
    if (used < (size_t)n)
      receive_bytes(k, in + used, (size_t)n - used, now); /* a fault ends the connection, not the dial */
    return WSC_OK;
  }
}

void dial_ended(wsc_connection *k, wsc_error *e) {
  dial_drop(k);
  connection_log(k, WSC_LOG_WARNING, "dial", "%s", wsc_error_message(e));
  k->news |= NEWS_DIAL_FAILED;
  connection_end(k, e);
}

wsc_error *dial_timed_out(wsc_connection *k) {
  struct error_info info = {.status = WSC_ERR_TIMEOUT, .timer = WSC_TIMER_CONNECT};
  long long limit = (long long)(k->connect_timeout_ns / NS_PER_MS);
  size_t used = 0;
  wsc_error *e = NULL;
  if (k->handshake && k->handshake->refused) { /* a refusal whose body never ended says more than a timeout */
    handshake_feed(k->handshake, k->options, NULL, 0, &used, &e);
    if (e) return e;
  }
  char tried[256] = "";
  if (k->state == CONN_CONNECTING) dial_describe(k->dial, tried, sizeof tried);
  const char *by = k->detour ? ", by proxy " : "", *proxy = k->detour ? k->detour->proxy.url.shown : "";
  const char *step = k->state == CONN_TUNNELING ? tunnel_step_name(&k->detour->tunnel) : dial_step_name(k->state);
  return error_make(&info, "%s%s%s: no connection within %lld ms; it timed out while %s%s%s", k->url.shown, by, proxy,
                    limit, step, *tried ? ": " : "", tried);
}

void dial_run(wsc_connection *k, int64_t now) {
  wsc_error *e = NULL;
  int r = WSC_OK;
  while (r == WSC_OK && k->state < CONN_OPEN) {
    switch (k->state) {
    case CONN_RESOLVING: r = run_resolving(k, &e); break;
    case CONN_CONNECTING: r = run_connecting(k, now, &e); break;
    case CONN_PROXY_TLS: r = detour_tls(k, &e); break;
    case CONN_TUNNELING: r = run_tunneling(k, &e); break;
    case CONN_TLS: r = run_tls(k, &e); break;
    case CONN_UPGRADING: r = run_upgrading(k, now, &e); break;
    default: return;
    }
  }
  if (r < 0) dial_ended(k, e);
  else if (r == WSC_AGAIN && k->deadline_ns && k->deadline_ns <= now) dial_ended(k, dial_timed_out(k));
}
