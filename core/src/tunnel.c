#include "tunnel.h"

#include "error.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SOCKS_VERSION = 5, LOGIN_VERSION = 1, METHOD_NONE = 0, METHOD_LOGIN = 2, METHOD_REFUSED = 0xff };
enum { BY_IPV4 = 1, BY_NAME = 3, BY_IPV6 = 4, TEXT_MAX = 255 };

static const char *const steps[] = {
    [TUNNEL_CONNECT] = "waiting for the proxy's answer to CONNECT",
    [TUNNEL_GREETING] = "waiting for the SOCKS proxy's answer to the greeting",
    [TUNNEL_LOGIN] = "waiting for the SOCKS proxy's answer to the login",
    [TUNNEL_REQUEST] = "waiting for the SOCKS proxy's answer to the request",
};

const char *tunnel_step_name(const struct tunnel *t) { return steps[t->step]; }

void tunnel_free(struct tunnel *t) {
  answer_free(&t->answer);
  *t = (struct tunnel){0};
}

static int no_memory(const struct tunnel *t, wsc_error **err) {
  return error_set(err, WSC_ERR_NOMEM, "%s: out of memory", t->from);
}

/* ---- CONNECT ---- */

static int connect_request(const struct tunnel *t, struct buffer *out) {
  const struct url *u = t->target;
  size_t before = out->length, n = strcspn(u->host, "%");
  bool v6 = memchr(u->host, ':', n) != NULL;
  char at[300];
  snprintf(at, sizeof at, "%s%.*s%s:%u", v6 ? "[" : "", (int)n, u->host, v6 ? "]" : "", (unsigned)u->port);
  int status =
      buffer_printf(out, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: wscengine/%s\r\n", at, at, wsc_version());
  if (status == WSC_OK && t->proxy->url.authorization != NULL)
    status = buffer_printf(out, "Proxy-Authorization: %s\r\n", t->proxy->url.authorization);
  if (status == WSC_OK) status = buffer_append(out, "\r\n", 2);
  if (status != WSC_OK) out->length = before;
  return status;
}

static int judge_connect(struct tunnel *t, size_t surplus, wsc_error **err) {
  struct answer *a = &t->answer;
  int code = wsc_response_status(a->response);
  if (code >= 200 && code < 300) {
    if (surplus == 0) return WSC_OK;
    return answer_fail(a, 0, err, "the proxy sent %zu bytes behind its answer to CONNECT, before anything was asked",
                       surplus);
  }
  const char *reason = wsc_response_reason(a->response);
  if (code != 407 && code != 401) /* 401: what tinyproxy says of a wrong password */
    return answer_fail(a, 0, err, "the proxy refused CONNECT to %s:%u: %d %s", t->target->host,
                       (unsigned)t->target->port, code, reason);
  const char *ways = wsc_response_header(a->response, code == 407 ? "Proxy-Authenticate" : "WWW-Authenticate", 0);
  a->status = WSC_ERR_PROXY_AUTH;
  return answer_fail(
      a, WSC_GIVE_UP_REFUSED, err, "the proxy wants %scredentials (%d %s; it offers %.100s, we speak Basic)",
      t->proxy->url.authorization != NULL ? "other " : "", code, reason, ways != NULL ? ways : "nothing");
}

/* ---- SOCKS5 ---- */

__attribute__((format(printf, 4, 5))) static int fail(const struct tunnel *t, int status, wsc_error **err,
                                                      const char *format, ...) {
  char text[300];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct error_info info = {.status = status, .fatal = status == WSC_ERR_PROXY_AUTH ? WSC_GIVE_UP_REFUSED : 0};
  return error_set_info(err, &info, "%s: %s", t->from, text);
}

static int greeting(const struct tunnel *t, struct buffer *out) {
  const uint8_t open[] = {SOCKS_VERSION, 1, METHOD_NONE}, both[] = {SOCKS_VERSION, 2, METHOD_NONE, METHOD_LOGIN};
  return t->proxy->url.authorization != NULL ? buffer_append(out, both, sizeof both)
                                             : buffer_append(out, open, sizeof open);
}

/* User and password as the URL's "Basic ..." has them. */
static int login(const struct tunnel *t, struct buffer *out, wsc_error **err) {
  const char *coded = t->proxy->url.authorization + strlen("Basic ");
  size_t n = strlen(coded), room = n / 4 * 3 + 1;
  uint8_t *plain = mem_alloc(room), lengths[2];
  if (plain == NULL) return no_memory(t, err);
  int status = WSC_ERR_NOMEM, decoded = EVP_DecodeBlock(plain, (const unsigned char *)coded, (int)n);
  size_t length = (size_t)decoded - (n > 0 && coded[n - 1] == '=') - (n > 1 && coded[n - 2] == '=');
  const uint8_t *password = memchr(plain, ':', length);
  size_t user = (size_t)(password - plain), secret = length - user - 1;
  lengths[0] = (uint8_t)user;
  lengths[1] = (uint8_t)secret;
  if (user > TEXT_MAX || secret > TEXT_MAX) {
    status = fail(t, WSC_ERR_PROXY_AUTH, err, "SOCKS5 takes a user name and a password of at most %d bytes", TEXT_MAX);
  } else if (buffer_append(out, &(uint8_t){LOGIN_VERSION}, 1) == WSC_OK && buffer_append(out, lengths, 1) == WSC_OK &&
             buffer_append(out, plain, user) == WSC_OK && buffer_append(out, lengths + 1, 1) == WSC_OK &&
             buffer_append(out, password + 1, secret) == WSC_OK) {
    status = WSC_OK;
  } else {
    no_memory(t, err);
  }
  OPENSSL_cleanse(plain, room);
  mem_free(plain);
  return status;
}

static int socks_request(const struct tunnel *t, struct buffer *out) {
  const uint8_t head[] = {SOCKS_VERSION, 1, 0}, port[] = {(uint8_t)(t->target->port >> 8), (uint8_t)t->target->port};
  int status = buffer_append(out, head, sizeof head);
  if (status == WSC_OK && t->address == NULL) {
    uint8_t name[2] = {BY_NAME, (uint8_t)strlen(t->target->host)}; /* names are shorter: url.c */
    status = buffer_append(out, name, sizeof name);
    if (status == WSC_OK) status = buffer_append(out, t->target->host, name[1]);
  } else if (status == WSC_OK && t->address->storage.ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&t->address->storage;
    status = buffer_append(out, &(uint8_t){BY_IPV6}, 1);
    if (status == WSC_OK) status = buffer_append(out, &v6->sin6_addr, 16);
  } else if (status == WSC_OK) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&t->address->storage;
    status = buffer_append(out, &(uint8_t){BY_IPV4}, 1);
    if (status == WSC_OK) status = buffer_append(out, &v4->sin_addr, 4);
  }
  return status == WSC_OK ? buffer_append(out, port, sizeof port) : status;
}

static const char *reply_text(uint8_t code) {
  static const char *const texts[] = {"",
                                      "general failure",
                                      "not allowed by its rules",
                                      "network unreachable",
                                      "host unreachable",
                                      "connection refused",
                                      "time to live expired",
                                      "command not supported",
                                      "address type not supported"};
  return code < sizeof texts / sizeof texts[0] ? texts[code] : "unknown reason";
}

/* How long the reply to this step is, as far as what has come tells. */
static size_t reply_length(const struct tunnel *t) {
  if (t->step != TUNNEL_REQUEST) return 2;
  if (t->length < 5 || t->reply[1] != 0) return t->length < 2 || t->reply[1] == 0 ? 5 : 2;
  switch (t->reply[3]) {
  case BY_IPV4: return 4 + 4 + 2;
  case BY_IPV6: return 4 + 16 + 2;
  case BY_NAME: return 4 + 1 + (size_t)t->reply[4] + 2;
  default: return 5;
  }
}

static int next(struct tunnel *t, enum tunnel_step step) {
  t->step = step;
  t->length = 0;
  return WSC_AGAIN;
}

static int judge_greeting(struct tunnel *t, struct buffer *out, wsc_error **err) {
  bool can_login = t->proxy->url.authorization != NULL;
  switch (t->reply[1]) {
  case METHOD_NONE: return socks_request(t, out) == WSC_OK ? next(t, TUNNEL_REQUEST) : no_memory(t, err);
  case METHOD_LOGIN:
    if (can_login) {
      int status = login(t, out, err);
      return status == WSC_OK ? next(t, TUNNEL_LOGIN) : status;
    }
    break;
  case METHOD_REFUSED:
    return fail(t, WSC_ERR_PROXY_AUTH, err, "the SOCKS proxy takes none of our ways to say who we are (%s)",
                can_login ? "nobody, user and password" : "nobody; the proxy's URL has no user:password@");
  default: break;
  }
  return fail(t, WSC_ERR_PROXY, err, "the SOCKS proxy chose the method 0x%02x, which was not offered", t->reply[1]);
}

/* The reply to t->step is whole. */
static int judge_reply(struct tunnel *t, struct buffer *out, wsc_error **err) {
  const uint8_t *r = t->reply;
  if (t->step == TUNNEL_LOGIN) {
    if (r[0] != LOGIN_VERSION) return fail(t, WSC_ERR_PROXY, err, "the SOCKS proxy's answer to the login is malformed");
    if (r[1] != 0) return fail(t, WSC_ERR_PROXY_AUTH, err, "the SOCKS proxy refused the user name or password");
    return socks_request(t, out) == WSC_OK ? next(t, TUNNEL_REQUEST) : no_memory(t, err);
  }
  if (r[0] != SOCKS_VERSION)
    return fail(t, WSC_ERR_PROXY, err, "it does not speak SOCKS5: its answer begins with 0x%02x%s", r[0],
                r[0] == 'H' ? " (HTTP: should the proxy's URL begin with http:// ?)" : "");
  if (t->step == TUNNEL_GREETING) return judge_greeting(t, out, err);
  if (r[1] != 0)
    return fail(t, WSC_ERR_PROXY, err, "the SOCKS proxy did not connect to %s:%u: %s (%d)", t->target->host,
                (unsigned)t->target->port, reply_text(r[1]), r[1]);
  if (r[3] != BY_IPV4 && r[3] != BY_IPV6 && r[3] != BY_NAME)
    return fail(t, WSC_ERR_PROXY, err, "the SOCKS proxy's answer to the request is malformed (address type %d)", r[3]);
  return WSC_OK;
}

static int feed_socks(struct tunnel *t, const uint8_t *p, size_t n, struct buffer *out, wsc_error **err) {
  for (size_t i = 0; i < n; i++) {
    t->reply[t->length++] = p[i];
    bool stranger = t->reply[0] != (t->step == TUNNEL_LOGIN ? LOGIN_VERSION : SOCKS_VERSION); /* it may say no more */
    if (t->length < reply_length(t) && !stranger) continue;
    int status = judge_reply(t, out, err);
    if (status == WSC_AGAIN) continue;
    if (status == WSC_OK && i + 1 < n)
      return fail(t, WSC_ERR_PROXY, err, "the SOCKS proxy sent %zu bytes behind its answer, before anything was asked",
                  n - i - 1);
    return status;
  }
  return WSC_AGAIN;
}

/* ---- both ---- */

int tunnel_begin(struct tunnel *t, const struct proxy *p, const struct url *target, const struct address *address,
                 struct buffer *out, wsc_error **err) {
  bool http = p->kind == PROXY_HTTP || p->kind == PROXY_HTTPS;
  *t = (struct tunnel){
      .proxy = p, .target = target, .address = address, .step = http ? TUNNEL_CONNECT : TUNNEL_GREETING};
  snprintf(t->from, sizeof t->from, "proxy %.280s", p->url.shown);
  t->answer = (struct answer){.from = t->from, .who = "the proxy", .to = "CONNECT", .status = WSC_ERR_PROXY};
  return (http ? connect_request(t, out) : greeting(t, out)) == WSC_OK ? WSC_OK : no_memory(t, err);
}

int tunnel_feed(struct tunnel *t, const uint8_t *p, size_t n, struct buffer *out, wsc_error **err) {
  if (t->step == TUNNEL_CONNECT) {
    size_t used = 0;
    int status = answer_feed(&t->answer, p, n, &used, err);
    return status == WSC_OK ? judge_connect(t, n - used, err) : status;
  }
  if (n == 0) return fail(t, WSC_ERR_PROXY, err, "it closed the connection while we were %s", tunnel_step_name(t));
  return feed_socks(t, p, n, out, err);
}
