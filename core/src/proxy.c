/* curl's rules (its manual, section ENVIRONMENT, and what it does): a variable for the scheme, ws_proxy before http_proxy and
 * wss_proxy before https_proxy, then all_proxy; each in lower case, then in upper case, but for HTTP_PROXY, which a
 * CGI program's client could set. */
#include "proxy.h"

#include "ascii.h"
#include "error.h"
#include "mem.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const struct url_scheme schemes[] = {
    {"http", false, 1080}, {"https", true, 443}, {"socks5", false, 1080}, {"socks5h", false, 1080}};

int proxy_parse(const char *text, struct proxy *out, wsc_error **err) {
  *out = (struct proxy){0};
  struct buffer whole = {0};
  const char *scheme = strstr(text, "://") != NULL ? "" : "http://";
  size_t which = 0;
  int status = buffer_printf(&whole, "%s%s", scheme, text);
  if (status == WSC_OK)
    status =
        url_parse_as((const char *)whole.data, schemes, sizeof schemes / sizeof schemes[0], &out->url, &which, err);
  else error_set(err, status, "out of memory for a proxy");
  if (status == WSC_OK) out->kind = (enum proxy_kind)(PROXY_HTTP + which);
  buffer_free(&whole);
  return status;
}

void proxy_free(struct proxy *p) {
  url_free(&p->url);
  *p = (struct proxy){0};
}

/* ---- exceptions ---- */

struct word {
  const char *p;
  size_t n;
};

/* An address of either family as 16 bytes (IPv4 mapped), so that one comparison does; false: text is none. */
static bool address_bytes(const char *text, size_t n, uint8_t out[16], unsigned *bits) {
  char copy[INET6_ADDRSTRLEN];
  if (n > 1 && text[0] == '[' && text[n - 1] == ']') text++, n -= 2;
  if (n >= sizeof copy) return false;
  memcpy(copy, text, n);
  copy[n] = 0;
  *bits = 128;
  if (inet_pton(AF_INET6, copy, out) == 1) return true;
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  memcpy(out, mapped, sizeof mapped);
  *bits = 32;
  return inet_pton(AF_INET, copy, out + 12) == 1;
}

static bool same_network(const uint8_t a[16], const uint8_t b[16], unsigned bits) {
  if (memcmp(a, b, bits / 8) != 0) return false;
  unsigned rest = bits % 8;
  return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

/* "192.0.2.0/24", "2001:db8::/32", or a lone address. */
static bool names_address(struct word w, const uint8_t host[16], unsigned host_bits) {
  const char *slash = memchr(w.p, '/', w.n);
  uint8_t network[16];
  unsigned bits, most;
  if (!address_bytes(w.p, slash != NULL ? (size_t)(slash - w.p) : w.n, network, &most) || most != host_bits)
    return false;
  bits = most;
  if (slash != NULL) {
    bits = 0;
    size_t digits = w.n - (size_t)(slash - w.p) - 1;
    if (digits == 0 || digits > 3) return false;
    for (size_t i = 1; i <= digits; i++) {
      if (!ascii_digit(slash[i])) return false;
      bits = bits * 10 + (unsigned)(slash[i] - '0');
    }
    if (bits > most) return false;
  }
  return same_network(network, host, 128 - most + bits);
}

/* "example.org" and ".example.org" name example.org and everything below it. */
static bool names_host(struct word w, const char *host, size_t n) {
  if (w.n > 0 && w.p[w.n - 1] == '.') w.n--;
  if (w.n > 0 && *w.p == '.') w.p++, w.n--;
  if (w.n == 0 || w.n > n) return false;
  return ascii_equal_n(host + n - w.n, w.p, w.n) && (w.n == n || host[n - w.n - 1] == '.');
}

bool proxy_is_excepted(const char *no_proxy, const char *host) {
  uint8_t address[16];
  unsigned bits;
  size_t n = strlen(host);
  if (strcmp(no_proxy, "*") == 0) return true;
  bool literal = address_bytes(host, n, address, &bits);
  if (n > 1 && host[n - 1] == '.') n--;
  for (const char *at = no_proxy;;) {
    at += strspn(at, " ,\t");
    struct word w = {at, strcspn(at, " ,\t")};
    if (w.n == 0) return false;
    if (literal ? names_address(w, address, bits) : names_host(w, host, n)) return true;
    at += w.n;
  }
}

/* This machine itself. */
static bool is_loopback(const char *host) { return proxy_is_excepted("localhost 127.0.0.0/8 ::1", host); }

/* ---- the choice ---- */

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value != NULL && *value != 0 ? value : NULL;
}

static const char *first_of(const char *const *names, const char **name) {
  const char *value = NULL;
  for (; *names != NULL && value == NULL; names++) value = variable(*name = *names);
  return value;
}

static const char *from_environment(const struct url *target, const char **name) {
  static const char *const plain[] = {"ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY", NULL};
  static const char *const secure[] = {"wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY",
                                       "all_proxy", "ALL_PROXY", NULL};
  static const char *const exceptions[] = {"no_proxy", "NO_PROXY", NULL};
  char host[256];
  size_t n = strcspn(target->host, "%"); /* the zone of an address */
  if (n >= sizeof host) return NULL;
  memcpy(host, target->host, n);
  host[n] = 0;
  const char *except = first_of(exceptions, name), *value = first_of(target->secure ? secure : plain, name);
  if (value == NULL || is_loopback(host) || (except != NULL && proxy_is_excepted(except, host))) return NULL;
  return value;
}

int proxy_choose(const wsc_options *o, const struct url *target, struct proxy *out, wsc_error **err) {
  *out = (struct proxy){0};
  const char *source = "PROXY", *text = options_str(o, WSC_OPT_PROXY);
  if (options_str(o, WSC_OPT_UNIX_SOCKET) != NULL) return WSC_OK;
  if (text == NULL) text = from_environment(target, &source);
  if (text == NULL || strcmp(text, "none") == 0) return WSC_OK;
  wsc_error *why = NULL;
  int status = proxy_parse(text, out, &why);
  if (status == WSC_OK) return WSC_OK;
  error_set(err, status, "%s: %s", source, wsc_error_message(why));
  wsc_error_unref(why);
  return status;
}
