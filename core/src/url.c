/* ws:// and wss:// URLs. The text is looked at once for bytes that no URL has, then cut into scheme, userinfo, host,
 * port and target, and each part is judged by itself. Errors quote the URL only as redact() leaves it. A password
 * with a bare '/', '?' or '#' ends up in host, port and path: where an '@' stands behind the authority, these are
 * not quoted either. */
#include "url.h"

#include "ascii.h"
#include "error.h"
#include "mem.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>

enum { URL_MAX = 8192, HOST_MAX = 253, LABEL_MAX = 63, ZONE_MAX = 15 };

static const struct url_scheme websocket[] = {{"ws", false, 80}, {"wss", true, 443}};

/* A piece of the text. */
struct part {
  const char *p;
  size_t n;
};

struct pieces {
  const char *text;
  wsc_error **err;
  struct part userinfo, host, zone, port, address, target; /* address: host and port as they were written */
  const struct url_scheme *schemes, *scheme;               /* what is legal, what it has */
  size_t scheme_count;
  bool has_userinfo, ipv6, hidden; /* hidden: an '@' stands behind the authority */
  uint16_t number;                 /* the port */
};

const char *url_redact(const char *text, char out[static URL_REDACTED_SIZE]) {
  const char *at = strrchr(text, '@'), *scheme = strstr(text, "://"), *rest = at != NULL ? at : text;
  int keep = 0;
  if (at != NULL && scheme != NULL && scheme < at && scheme - text < 16) keep = (int)(scheme + 3 - text);
  else if (at != NULL && strncmp(text, "//", 2) == 0) keep = 2;
  int room = URL_REDACTED_SIZE - keep - 8;
  snprintf(out, URL_REDACTED_SIZE, "%.*s%s%.*s%s", keep, text, at != NULL ? "***" : "", room, rest,
           strlen(rest) > (size_t)room ? "..." : "");
  return out;
}

__attribute__((format(printf, 2, 3))) static int refuse(const struct pieces *u, const char *format, ...) {
  char what[512], shown[URL_REDACTED_SIZE];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  return error_set(u->err, WSC_ERR_INVALID, "URL \"%s\": %s", url_redact(u->text, shown), what);
}

static const char *quote(const struct pieces *u, struct part part, char out[160]) {
  if (u->hidden) snprintf(out, 160, "(not shown; write '/', '?', '#' in a password as %%2F, %%3F, %%23)");
  else snprintf(out, 160, "\"%.*s\"%s", part.n < 80 ? (int)part.n : 80, part.p, part.n > 80 ? "..." : "");
  return out;
}

static size_t position(const struct pieces *u, const char *p) { return (size_t)(p - u->text); }

static bool hexadecimal(char c) { return ascii_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f'); }

static bool escape_ok(const char *p, size_t n) { return n >= 3 && hexadecimal(p[1]) && hexadecimal(p[2]); }

static int check_bytes(const struct pieces *u) {
  size_t n = strnlen(u->text, URL_MAX + 1);
  if (n == 0) return error_set(u->err, WSC_ERR_INVALID, "URL is empty: write ws://host/path or wss://host/path");
  if (n > URL_MAX) return refuse(u, "it is longer than %d bytes", URL_MAX);
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)u->text[i];
    if (c == ' ') return refuse(u, "a space at position %zu: write it as %%20", i);
    if (c < 0x20 || c == 0x7f) return refuse(u, "the control character 0x%02x at position %zu", c, i);
    if (c >= 0x80) {
      return refuse(
          u, "the byte 0x%02x at position %zu is not ASCII: a host goes in its xn-- form, the rest percent-encoded", c,
          i);
    }
  }
  return WSC_OK;
}

/* "ws:// or wss://" */
static const char *legal_schemes(const struct pieces *u, char out[96]) {
  size_t at = 0;
  for (size_t i = 0; i < u->scheme_count && at < 96; i++)
    at += (size_t)snprintf(out + at, 96 - at, "%s%s://",
                           i == 0                    ? ""
                           : i + 1 < u->scheme_count ? ", "
                                                     : " or ",
                           u->schemes[i].name);
  return out;
}

static int split_scheme(struct pieces *u, const char **rest) {
  const char *end = strstr(u->text, "://");
  char legal[96];
  size_t n = end != NULL ? position(u, end) : 0;
  for (size_t i = 0; i < n; i++) {
    if (!ascii_alnum(u->text[i]) && strchr("+-.", u->text[i]) == NULL) n = 0;
  }
  if (n == 0) return refuse(u, "it has no scheme: it must begin with %s", legal_schemes(u, legal));
  *rest = end + 3;
  for (size_t i = 0; i < u->scheme_count && u->scheme == NULL; i++) {
    const char *name = u->schemes[i].name;
    if (strlen(name) == n && ascii_equal_n(u->text, name, n)) u->scheme = &u->schemes[i];
  }
  if (u->scheme != NULL) return WSC_OK;
  if (u->schemes == websocket) {
    if (n == 4 && ascii_equal_n(u->text, "http", n)) return refuse(u, "scheme http: write ws:// instead of http://");
    if (n == 5 && ascii_equal_n(u->text, "https", n))
      return refuse(u, "scheme https: write wss:// instead of https://");
  }
  return refuse(u, "scheme \"%.*s\" is none of %s", n < 32 ? (int)n : 32, u->text, legal_schemes(u, legal));
}

/* [v6 address%zone] with the zone's percent sign as it is or, by RFC 6874, as %25. */
static int split_brackets(struct pieces *u, struct part host) {
  const char *close = memchr(host.p, ']', host.n), *percent;
  char shown[160];
  if (close == NULL) return refuse(u, "host %s has no closing bracket", quote(u, host, shown));
  struct part rest = {close + 1, host.n - (size_t)(close + 1 - host.p)};
  if (rest.n != 0 && *rest.p != ':') return refuse(u, "only a port may follow the ] in %s", quote(u, host, shown));
  if (rest.n != 0) u->port = (struct part){rest.p + 1, rest.n - 1};
  u->ipv6 = true;
  u->host = (struct part){host.p + 1, (size_t)(close - host.p) - 1};
  if ((percent = memchr(u->host.p, '%', u->host.n)) == NULL) return WSC_OK;
  u->host.n = (size_t)(percent - u->host.p);
  size_t sign = strncmp(percent, "%25", 3) == 0 && close - percent > 3 ? 3 : 1;
  u->zone = (struct part){percent + sign, (size_t)(close - percent) - sign};
  if (u->zone.n == 0) return refuse(u, "host %s has an empty zone", quote(u, host, shown));
  if (u->zone.n > ZONE_MAX) return refuse(u, "the zone %s is longer than %d bytes", quote(u, u->zone, shown), ZONE_MAX);
  for (size_t i = 0; i < u->zone.n; i++) {
    if (!ascii_alnum(u->zone.p[i]) && strchr("-._~", u->zone.p[i]) == NULL) {
      return refuse(u, "the zone %s is no interface name or number", quote(u, u->zone, shown));
    }
  }
  return WSC_OK;
}

static int split(struct pieces *u) {
  const char *authority = u->text, *at, *hash, *colon;
  char shown[160];
  int status = split_scheme(u, &authority);
  if (status != WSC_OK) return status;
  size_t n = strcspn(authority, "/?#");
  u->target = (struct part){authority + n, strlen(authority + n)};
  u->hidden = memchr(u->target.p, '@', u->target.n) != NULL;
  for (at = authority + n; at > authority && at[-1] != '@';) at--; /* the last one: a password may hold more */
  if (at > authority) {
    u->has_userinfo = true;
    u->userinfo = (struct part){authority, (size_t)(at - authority) - 1};
  }
  u->address = (struct part){at, n - (size_t)(at - authority)};
  if ((hash = memchr(u->target.p, '#', u->target.n)) != NULL) {
    return refuse(u, "the '#' at position %zu begins a fragment, which no WebSocket URL has: write it as %%23",
                  position(u, hash));
  }
  if (u->address.n == 0) return refuse(u, "it has no host");
  if (*u->address.p == '[') return split_brackets(u, u->address);
  u->host = u->address;
  if ((colon = memchr(u->host.p, ':', u->host.n)) == NULL) return WSC_OK;
  u->host.n = (size_t)(colon - u->host.p);
  u->port = (struct part){colon + 1, u->address.n - u->host.n - 1};
  if (memchr(u->port.p, ':', u->port.n) == NULL) return WSC_OK;
  return refuse(u, "host %s has two colons: an IPv6 address goes in brackets, as [::1]", quote(u, u->address, shown));
}

static int judge_port(struct pieces *u) {
  char shown[160];
  uint32_t number = 0;
  for (size_t i = 0; i < u->port.n; i++) {
    if (!ascii_digit(u->port.p[i])) return refuse(u, "port %s is no number", quote(u, u->port, shown));
    if (number <= UINT16_MAX) number = number * 10 + (uint32_t)(u->port.p[i] - '0');
  }
  if (u->port.n == 0) number = u->scheme->port;
  if (number == 0 || number > UINT16_MAX) return refuse(u, "port %s is not 1 to 65535", quote(u, u->port, shown));
  u->number = (uint16_t)number;
  return WSC_OK;
}

/* Decimal, or hexadecimal behind 0x: what a look-up would take for a part of an address. */
static bool is_number(const char *label, size_t n) {
  bool hex = n > 2 && label[0] == '0' && label[1] == 'x';
  for (size_t i = hex ? 2 : 0; i < n; i++) {
    if (hex ? !hexadecimal(label[i]) : !ascii_digit(label[i])) return false;
  }
  return true;
}

/* Names of hosts: labels of letters, digits, '-' and '_'; one dot at the end is legal. The last label of a name is
 * never a number, so 1.2.3 and 300.1.1.1 are addresses gone wrong, which a look-up would take for something else. */
static int judge_name(const struct pieces *u, const char *host, bool *literal) {
  struct in_addr v4;
  char shown[160];
  size_t n = u->host.n, label = 0;
  *literal = inet_pton(AF_INET, host, &v4) == 1;
  if (*literal) return WSC_OK;
  if (n > 1 && host[n - 1] == '.') n--;
  if (n > HOST_MAX) return refuse(u, "host %s is longer than %d bytes", quote(u, u->host, shown), HOST_MAX);
  for (size_t i = 0; i < n; i++) {
    if (host[i] == '.') {
      if (label == 0) return refuse(u, "host %s has an empty label", quote(u, u->host, shown));
      label = 0;
      continue;
    }
    if (!ascii_alnum(host[i]) && host[i] != '-' && host[i] != '_') {
      if (u->hidden) return refuse(u, "host %s has a character that no host name has", quote(u, u->host, shown));
      return refuse(u, "host %s has the character '%c' at position %zu", quote(u, u->host, shown), host[i],
                    position(u, u->host.p) + i);
    }
    if (++label <= LABEL_MAX) continue;
    return refuse(u, "host %s has a label longer than %d bytes", quote(u, u->host, shown), LABEL_MAX);
  }
  if (label == 0) return refuse(u, "host %s has an empty label", quote(u, u->host, shown));
  if (!is_number(host + n - label, label)) return WSC_OK;
  return refuse(u, "host %s looks like an IPv4 address but is none", quote(u, u->host, shown));
}

/* Allocated text. NULL: out of memory. */
__attribute__((format(printf, 1, 2))) static char *print(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = n >= 0 ? mem_alloc((size_t)n + 1) : NULL;
  if (text == NULL) return NULL;
  va_start(arguments, format);
  vsnprintf(text, (size_t)n + 1, format, arguments);
  va_end(arguments);
  return text;
}

static int make_host(const struct pieces *u, struct url *out) {
  char shown[160];
  struct in6_addr v6;
  char *host = mem_strndup(u->host.p, u->host.n);
  if (host == NULL) return WSC_ERR_NOMEM;
  out->host = host;
  for (char *c = host; *c != 0; c++) *c = ascii_lower(*c);
  if (u->ipv6) {
    out->literal = true;
    if (inet_pton(AF_INET6, host, &v6) != 1) return refuse(u, "host %s is no IPv6 address", quote(u, u->host, shown));
  } else {
    if (u->host.n == 0) return refuse(u, "it has no host");
    int status = judge_name(u, host, &out->literal);
    if (status != WSC_OK) return status;
  }
  char port[8] = "";
  if (u->number != u->scheme->port) snprintf(port, sizeof port, ":%u", (unsigned)u->number);
  out->authority = print("%s%s%s%s", u->ipv6 ? "[" : "", host, u->ipv6 ? "]" : "", port);
  if (out->authority == NULL) return WSC_ERR_NOMEM;
  if (u->zone.n == 0) return WSC_OK;
  out->host = print("%s%%%.*s", host, (int)u->zone.n, u->zone.p);
  mem_free(host);
  return out->host != NULL ? WSC_OK : WSC_ERR_NOMEM;
}

static int make_target(const struct pieces *u, struct url *out) {
  struct part t = u->target;
  for (size_t i = 0; i < t.n && t.p[i] != '?'; i++) { /* queries are the server's own language: many hold a bare '%' */
    if (t.p[i] != '%' || escape_ok(t.p + i, t.n - i)) continue;
    return refuse(u, "the '%%' at position %zu is not followed by two hexadecimal digits: write it as %%25",
                  position(u, t.p + i));
  }
  out->target = print("%s%.*s", t.n == 0 || *t.p != '/' ? "/" : "", (int)t.n, t.p);
  return out->target != NULL ? WSC_OK : WSC_ERR_NOMEM;
}

static int digit_value(char c) { return ascii_digit(c) ? c - '0' : ascii_lower(c) - 'a' + 10; }

/* Percent-decodes into out; its length, or SIZE_MAX with the reason in *why. */
static size_t decode(struct part from, uint8_t *out, const char **why) {
  size_t n = 0;
  for (size_t i = 0; i < from.n; i++) {
    uint8_t byte = (uint8_t)from.p[i];
    if (byte == '%') {
      *why = "has a '%' that is not followed by two hexadecimal digits: write it as %25";
      if (!escape_ok(from.p + i, from.n - i)) return SIZE_MAX;
      byte = (uint8_t)(digit_value(from.p[i + 1]) * 16 + digit_value(from.p[i + 2]));
      i += 2;
    }
    *why = "has a control character, which Basic authentication forbids";
    if (byte < 0x20 || byte == 0x7f) return SIZE_MAX;
    out[n++] = byte;
  }
  return n;
}

static void free_secret(void *p, size_t n) {
  if (p != NULL) OPENSSL_cleanse(p, n);
  mem_free(p);
}

/* The userinfo as "Basic base64(user:password)" (RFC 7617). */
static int make_authorization(const struct pieces *u, struct url *out) {
  if (u->userinfo.n == 0) return WSC_OK;
  const char *colon = memchr(u->userinfo.p, ':', u->userinfo.n), *why = NULL;
  struct part user = {u->userinfo.p, colon != NULL ? (size_t)(colon - u->userinfo.p) : u->userinfo.n};
  struct part password = {colon != NULL ? colon + 1 : "", colon != NULL ? u->userinfo.n - user.n - 1 : 0};
  size_t room = u->userinfo.n + 1, coded = 6 + 4 * ((room + 2) / 3) + 1;
  uint8_t *plain = mem_alloc(room);
  char *text = mem_alloc(coded);
  int status = WSC_ERR_NOMEM;
  if (plain == NULL || text == NULL) goto done;

  status = WSC_ERR_INVALID;
  size_t n = decode(user, plain, &why);
  if (n == SIZE_MAX || memchr(plain, ':', n) != NULL) {
    refuse(u, "the user name %s", n == SIZE_MAX ? why : "has a ':', which Basic authentication forbids");
    goto done;
  }
  plain[n++] = ':';
  size_t m = decode(password, plain + n, &why);
  if (m == SIZE_MAX) {
    refuse(u, "the password %s", why);
    goto done;
  }
  memcpy(text, "Basic ", 6);
  EVP_EncodeBlock((unsigned char *)text + 6, plain, (int)(n + m));
  out->authorization = text;
  text = NULL;
  status = WSC_OK;

done:
  free_secret(plain, room);
  mem_free(text);
  return status;
}

/* A user name without a password is mostly a token: then it is hidden as well. */
static int make_shown(const struct pieces *u, struct url *out) {
  const char *colon = u->has_userinfo && u->userinfo.n != 0 ? memchr(u->userinfo.p, ':', u->userinfo.n) : NULL;
  size_t user = colon != NULL && colon + 1 < u->userinfo.p + u->userinfo.n ? (size_t)(colon - u->userinfo.p) : 0;
  const char *secret = user != 0 ? ":***@" : u->userinfo.n != 0 ? "***@" : "";
  out->shown = print("%s://%.*s%s%.*s%.*s", u->scheme->name, (int)user, user != 0 ? u->userinfo.p : "", secret,
                     (int)u->address.n, u->address.p, (int)u->target.n, u->target.p);
  return out->shown != NULL ? WSC_OK : WSC_ERR_NOMEM;
}

int url_parse(const char *text, struct url *out, wsc_error **err) {
  return url_parse_as(text, websocket, sizeof websocket / sizeof websocket[0], out, NULL, err);
}

int url_parse_as(const char *text, const struct url_scheme *schemes, size_t count, struct url *out, size_t *which,
                 wsc_error **err) {
  *out = (struct url){0};
  if (text == NULL) return error_set(err, WSC_ERR_INVALID, "URL is NULL");
  struct pieces u = {.text = text, .err = err, .schemes = schemes, .scheme_count = count};
  int status = check_bytes(&u);
  if (status == WSC_OK) status = split(&u);
  if (status == WSC_OK) status = judge_port(&u);
  if (status == WSC_OK) status = make_host(&u, out);
  if (status == WSC_OK) status = make_target(&u, out);
  if (status == WSC_OK) status = make_authorization(&u, out);
  if (status == WSC_OK) status = make_shown(&u, out);
  if (status == WSC_OK && (out->text = mem_strdup(text)) == NULL) status = WSC_ERR_NOMEM;
  if (status == WSC_OK) {
    out->secure = u.scheme->secure;
    out->port = u.number;
    if (which != NULL) *which = (size_t)(u.scheme - schemes);
  }
  if (status == WSC_ERR_NOMEM) error_set(err, status, "out of memory while the URL was read");
  if (status != WSC_OK) url_free(out);
  return status;
}

int url_copy(const struct url *from, struct url *out) {
  *out = (struct url){.secure = from->secure, .literal = from->literal, .port = from->port};
  char *const sources[] = {from->host, from->authority, from->target, from->authorization, from->shown, from->text};
  char **const targets[] = {&out->host, &out->authority, &out->target, &out->authorization, &out->shown, &out->text};
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
    if (sources[i] == NULL) continue;
    if ((*targets[i] = mem_strdup(sources[i])) == NULL) {
      url_free(out);
      return WSC_ERR_NOMEM;
    }
  }
  return WSC_OK;
}

void url_free(struct url *u) {
  if (u == NULL) return;
  mem_free(u->host);
  mem_free(u->authority);
  mem_free(u->target);
  free_secret(u->authorization, u->authorization != NULL ? strlen(u->authorization) : 0);
  mem_free(u->shown);
  free_secret(u->text, u->text != NULL ? strlen(u->text) : 0);
  *u = (struct url){0};
}
