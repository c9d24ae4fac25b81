/* The way to a server by a proxy: between the TCP connection and what is said to the server itself. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "mem.h"

#include <errno.h>

void detour_free(struct detour *d) {
  if (!d) return;
  tunnel_free(&d->tunnel);
  proxy_free(&d->proxy);
  mem_free(d->target.items);
  mem_free(d);
}

int detour_find(wsc_connection *k, wsc_error **err) {
  struct proxy found;
  int r = proxy_choose(k->options, &k->url, &found, err);
  if (r) return r;
  k->routed = true;
  if (found.kind == PROXY_NONE) return WSC_OK;
  if (!(k->detour = mem_zalloc(sizeof *k->detour))) {
    proxy_free(&found);
    return error_set(err, WSC_ERR_NOMEM, "out of memory dialing %s", k->url.shown);
  }
  k->detour->proxy = found;
  connection_log(k, WSC_LOG_DEBUG, "proxy", "%s: by proxy %s", k->url.host, found.url.shown);
  return WSC_OK;
}

int detour_failed(wsc_connection *k, int status, wsc_error **err) {
  if (status >= 0 || !k->detour || !err) return status;
  struct error_info info = {.status = status, .cause = *err};
  *err = NULL;
  return error_set_info(err, &info, "%s: proxy %s", k->url.shown, k->detour->proxy.url.shown);
}

/* SOCKS5 is told one address. More proxies can reach IPv4 than IPv6, so that comes first where there is one. */
static const struct address *preferred(const struct addresses *all) {
  for (size_t i = 0; i < all->count; i++)
    if (all->items[i].storage.ss_family == AF_INET) return &all->items[i];
  return all->count > 0 ? all->items : NULL;
}

static int begin_tunnel(wsc_connection *k, wsc_error **err) {
  struct detour *d = k->detour;
  k->state = CONN_TUNNELING;
  k->readable = true; /* its edge may have come already */
  const struct address *first = preferred(&d->target);
  struct address literal;
  const char *zone = NULL;
  if (!first && k->url.literal && address_parse(k->url.host, k->url.port, &literal, &zone)) {
    if (!(d->target.items = mem_alloc(sizeof literal)))
      return error_set(err, WSC_ERR_NOMEM, "out of memory dialing %s", k->url.shown);
    d->target.items[0] = literal;
    d->target.count = 1;
    first = d->target.items;
  }
  return tunnel_begin(&d->tunnel, &d->proxy, &k->url, first, &k->request, err);
}

int detour_begin(wsc_connection *k, wsc_error **err) {
  const struct proxy *p = &k->detour->proxy;
  if (p->kind != PROXY_HTTPS) return begin_tunnel(k, err);
  k->state = CONN_PROXY_TLS;
  int r = dial_trust(k, err);
  return r ? r : tls_new(k->trust, k->transport.fd, NULL, &p->url, true, &k->transport.tls, err);
}

int detour_tls(wsc_connection *k, wsc_error **err) {
  int r = tls_handshake(k->transport.tls, err);
  return r ? detour_failed(k, r, err) : begin_tunnel(k, err);
}

int detour_tunnel(wsc_connection *k, wsc_error **err) {
  struct detour *d = k->detour;
  for (;;) {
    int r = dial_send(k, "speaking to the proxy", err);
    if (r < 0) return r;
    uint8_t in[512];
    struct iovec iov = {in, sizeof in};
    ssize_t n = transport_recv(&k->transport, &iov, 1);
    if (n == -EAGAIN) return WSC_AGAIN;
    if (n < 0) return dial_failed(k, n, tunnel_step_name(&d->tunnel), err);
    r = tunnel_feed(&d->tunnel, in, (size_t)n, &k->request, err);
    if (r == WSC_AGAIN) continue;
    if (r) return r;
    connection_log(k, WSC_LOG_DEBUG, "proxy", "%s: the tunnel to %s:%u stands", d->proxy.url.shown, k->url.host,
                   k->url.port);
    buffer_free(&k->request);
    k->request_sent = 0;
    return WSC_OK;
  }
}
