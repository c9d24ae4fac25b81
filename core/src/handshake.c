/* The upgrade. The request is one block of bytes; the answer is collected line by line until its header is whole,
 * then judged at once.
 *
 * What is tolerated and what is not: a lone LF ends a line like CR LF does (RFC 9112 section 2.2 allows it, small
 * servers send it, and a client that reads one answer cannot be tricked by it); a folded line is joined by a space
 * (section 5.2 demands it of a user agent); a broken header line makes a 101 malformed but leaves a refusal a
 * refusal, because what it says is worth more than its form.
 *
 * Invariant: `in` holds whole lines up to line_at, the unfinished one behind it, and every byte before `scanned` has
 * been looked at once: the work is linear however small the pieces are. */
#define _GNU_SOURCE
#include "handshake.h"

#include "ascii.h"
#include "error.h"
#include "os.h"
#include "response.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The request */

static bool has_name(const char *header, const char *name) {
  size_t n = strlen(name);
  return strlen(header) > n && ascii_equal_n(header, name, n) && header[n] == ':';
}

static bool user_gave(const wsc_options *o, const char *name) {
  const char *header;
  for (size_t i = 0; (header = options_item(o, WSC_OPT_HEADER, i)) != NULL; i++)
    if (has_name(header, name)) return true;
  return false;
}

/* Items of a LIST in one header. */
static int append_list(struct buffer *out, const wsc_options *o, int id, const char *name, const char *separator) {
  const char *item;
  for (size_t i = 0; (item = options_item(o, id, i)) != NULL; i++)
    if (buffer_printf(out, "%s%s%s", i == 0 ? name : separator, i == 0 ? ": " : "", item) != WSC_OK)
      return WSC_ERR_NOMEM;
  return options_item(o, id, 0) ? buffer_append(out, "\r\n", 2) : WSC_OK;
}

static int append_user_headers(struct buffer *out, const wsc_options *o) {
  const char *header;
  for (size_t i = 0; (header = options_item(o, WSC_OPT_HEADER, i)) != NULL; i++) {
    const char *value = strchr(header, ':') + 1;
    int name = (int)(value - header - 1);
    while (*value == ' ' || *value == '\t') value++;
    if (buffer_printf(out, "%.*s: %s\r\n", name, header, value) != WSC_OK) return WSC_ERR_NOMEM;
  }
  return WSC_OK;
}

/* The options have been validated: no header stands in here twice but those that may. */
static int append_request(struct handshake *h, const struct url *u, const wsc_options *o, struct buffer *out) {
  if (buffer_printf(out, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", u->target,
                    u->authority) != WSC_OK ||
      buffer_printf(out, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", h->key) != WSC_OK)
    return WSC_ERR_NOMEM;
  if (options_int(o, WSC_OPT_COMPRESSION) &&
      (buffer_printf(out, "Sec-WebSocket-Extensions: ") != WSC_OK || extension_offer(out, o) != WSC_OK ||
       buffer_append(out, "\r\n", 2) != WSC_OK))
    return WSC_ERR_NOMEM;
  if (append_list(out, o, WSC_OPT_SUBPROTOCOL, "Sec-WebSocket-Protocol", ", ") != WSC_OK) return WSC_ERR_NOMEM;
  const char *origin = options_str(o, WSC_OPT_ORIGIN);
  if (origin && buffer_printf(out, "Origin: %s\r\n", origin) != WSC_OK) return WSC_ERR_NOMEM;
  if (append_list(out, o, WSC_OPT_COOKIE, "Cookie", "; ") != WSC_OK) return WSC_ERR_NOMEM;
  if (u->authorization && !user_gave(o, "Authorization") &&
      buffer_printf(out, "Authorization: %s\r\n", u->authorization) != WSC_OK)
    return WSC_ERR_NOMEM;
  if (!user_gave(o, "User-Agent") && buffer_printf(out, "User-Agent: wscengine/%s\r\n", wsc_version()) != WSC_OK)
    return WSC_ERR_NOMEM;
  if (append_user_headers(out, o) != WSC_OK) return WSC_ERR_NOMEM;
  return buffer_append(out, "\r\n", 2);
}

int handshake_begin(struct handshake *h, const struct url *u, const wsc_options *o, struct buffer *out,
                    wsc_error **err) {
  *h = (struct handshake){0};
  uint8_t nonce[16];
  if (os_random(nonce, sizeof nonce) != WSC_OK)
    return error_set(err, WSC_ERR_IO, "no random bytes for the upgrade's key");
  EVP_EncodeBlock((unsigned char *)h->key, nonce, sizeof nonce);
  size_t before = out->length;
  h->shown = mem_strdup(u->shown);
  if (h->shown && append_request(h, u, o, out) == WSC_OK) return WSC_OK;
  out->length = before;
  handshake_free(h);
  return error_set(err, WSC_ERR_NOMEM, "out of memory for the upgrade request");
}

/* Errors of the answer. The response, as far as there is one, goes with them. */

__attribute__((format(printf, 4, 5))) static int fail(struct handshake *h, int fatal, wsc_error **err,
                                                      const char *format, ...) {
  char text[600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct error_info info = {.status = WSC_ERR_HANDSHAKE, .fatal = fatal, .retry_after_ms = -1, .response = h->response};
  info.http_status = wsc_response_status(h->response);
  h->response = NULL;
  return error_set_info(err, &info, "%s: %s", h->shown, text);
}

static int no_memory(wsc_error **err) {
  return error_set(err, WSC_ERR_NOMEM, "out of memory for the answer to the upgrade request");
}

/* The first bytes of p as they may be shown. */
static const char *printable(const uint8_t *p, size_t n, char out[static 68]) {
  size_t at = 0;
  for (size_t i = 0; i < n && at + 4 < 64; i++) {
    if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\') out[at++] = (char)p[i];
    else at += (size_t)snprintf(out + at, 5, "\\x%02x", p[i]);
  }
  out[at] = 0;
  return out;
}

static int not_http(struct handshake *h, wsc_error **err) {
  char shown[68];
  const uint8_t *p = h->in.data;
  const char *hint = p[0] == 0x15 || p[0] == 0x16 ? "; it looks like TLS: should the URL begin with wss:// ?" : "";
  return fail(h, WSC_GIVE_UP_UPGRADE, err, "the server does not speak HTTP: its answer begins with \"%s\"%s",
              printable(p, h->in.length, shown), hint);
}

/* The answer's header */

struct span {
  const char *p;
  size_t n;
};

static bool blank(char c) { return c == ' ' || c == '\t'; }

static struct span trimmed(struct span s) {
  while (s.n > 0 && blank(s.p[0])) s.p++, s.n--;
  while (s.n > 0 && blank(s.p[s.n - 1])) s.n--;
  return s;
}

/* The next line of [*at, end), without its end; false: no more. */
static bool next_line(char **at, char *end, struct span *line) {
  if (*at >= end) return false;
  char *lf = memchr(*at, '\n', (size_t)(end - *at));
  char *stop = lf ? lf : end;
  *line = (struct span){*at, (size_t)(stop - *at)};
  if (line->n > 0 && line->p[line->n - 1] == '\r') line->n--;
  *at = stop + 1;
  return true;
}

/* Joins folded lines: the line's end before a leading blank becomes blanks. [start, end) is the header behind the
 * status line. */
static void unfold(char *start, char *end) {
  for (char *p = start; p + 1 < end; p++) {
    if (*p != '\n' || !blank(p[1]) || p == start) continue;
    *p = ' ';
    if (p[-1] == '\r') p[-1] = ' ';
  }
}

/* "HTTP/1.1 101 Switching Protocols" */
static bool parse_status_line(struct span line, int *minor, int *status, struct span *reason) {
  if (line.n < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || !ascii_digit(line.p[7]) || line.p[8] != ' ') return false;
  const char *digits = line.p + 9;
  if (digits[0] < '1' || digits[0] > '9' || !ascii_digit(digits[1]) || !ascii_digit(digits[2])) return false;
  if (line.n > 12 && line.p[12] != ' ') return false;
  *minor = line.p[7] - '0';
  *status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
  *reason = trimmed((struct span){line.p + 12, line.n - 12});
  return true;
}

/* WSC_OK, WSC_ERR_NOMEM, or WSC_ERR_INVALID for a line that is no header. */
static int add_header(wsc_response *r, struct span line) {
  const char *colon = memchr(line.p, ':', line.n);
  if (!colon || colon == line.p) return WSC_ERR_INVALID;
  size_t name = (size_t)(colon - line.p);
  for (size_t i = 0; i < name; i++)
    if (!ascii_token(line.p[i])) return WSC_ERR_INVALID;
  struct span value = trimmed((struct span){colon + 1, line.n - name - 1});
  return response_add_header(r, line.p, name, value.p, value.n);
}

/* Makes h->response of the whole header. A 101 must be well-formed throughout. */
static int parse_header(struct handshake *h, wsc_error **err) {
  char *at = (char *)h->in.data, *end = at + h->in.length, shown[68];
  struct span line, reason;
  int minor, status;
  if (!next_line(&at, end, &line) || !parse_status_line(line, &minor, &status, &reason))
    return fail(h, WSC_GIVE_UP_UPGRADE, err, "the answer's first line is no HTTP/1.1 status: \"%s\"",
                printable((const uint8_t *)line.p, line.n, shown));
  h->response = wsc_response_new();
  if (!h->response) return no_memory(err);
  int result = response_set_status(h->response, status, reason.p, reason.n);
  if (result == WSC_ERR_INVALID) result = response_set_status(h->response, status, "", 0);
  if (result != WSC_OK) return no_memory(err);
  if (status == 101 && minor < 1)
    return fail(h, WSC_GIVE_UP_UPGRADE, err,
                "malformed upgrade: the answer 101 came as HTTP/1.0, which cannot upgrade");

  unfold(at, end);
  while (next_line(&at, end, &line) && line.n > 0) {
    result = add_header(h->response, line);
    if (result == WSC_ERR_NOMEM) return no_memory(err);
    if (result != WSC_OK && status == 101)
      return fail(h, WSC_GIVE_UP_UPGRADE, err, "malformed upgrade: the answer 101 has a line that is no header: \"%s\"",
                  printable((const uint8_t *)line.p, line.n, shown));
  }
  return WSC_OK;
}

/* Judging a 101. Each returns WSC_OK or has failed. */

#define MALFORMED(h, err, ...) fail(h, WSC_GIVE_UP_UPGRADE, err, "malformed upgrade: " __VA_ARGS__)

/* Whether a header, which may come several times and hold comma-separated lists, names the token. */
static bool lists_token(const wsc_response *r, const char *name, const char *token) {
  const char *value;
  for (size_t i = 0; (value = wsc_response_header(r, name, i)) != NULL; i++) {
    while (*value) {
      size_t n = strcspn(value, ",");
      struct span item = trimmed((struct span){value, n});
      if (item.n == strlen(token) && ascii_equal_n(item.p, token, item.n)) return true;
      value += n;
      if (*value == ',') value++;
    }
  }
  return false;
}

static int judge_token(struct handshake *h, const char *name, const char *token, wsc_error **err) {
  if (lists_token(h->response, name, token)) return WSC_OK;
  const char *value = wsc_response_header(h->response, name, 0);
  if (!value) return MALFORMED(h, err, "the answer 101 has no header \"%s: %s\"", name, token);
  return MALFORMED(h, err, "header %s is \"%.100s\", not \"%s\"", name, value, token);
}

static bool accept_of(const char *key, char out[static 29]) {
  char text[64];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  int n = snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  ERR_set_mark();
  int ok = EVP_Digest(text, (size_t)n, digest, &length, EVP_sha1(), NULL);
  ERR_pop_to_mark();
  if (ok != 1) return false;
  EVP_EncodeBlock((unsigned char *)out, digest, (int)length);
  return true;
}

static int judge_accept(struct handshake *h, wsc_error **err) {
  static const char name[] = "Sec-WebSocket-Accept";
  const char *value = wsc_response_header(h->response, name, 0);
  char want[29];
  if (!value) return MALFORMED(h, err, "the answer 101 has no header %s", name);
  if (wsc_response_header(h->response, name, 1)) return MALFORMED(h, err, "header %s comes more than once", name);
  if (!accept_of(h->key, want)) return no_memory(err);
  if (strcmp(value, want) != 0)
    return MALFORMED(h, err,
                     "header %s is \"%.100s\", not \"%s\": not the answer to our key (a cache or a proxy in between?)",
                     name, value, want);
  return WSC_OK;
}

static int judge_subprotocol(struct handshake *h, const wsc_options *o, wsc_error **err) {
  static const char name[] = "Sec-WebSocket-Protocol";
  const char *value = wsc_response_header(h->response, name, 0), *offered;
  if (!value) return WSC_OK;
  if (wsc_response_header(h->response, name, 1)) return MALFORMED(h, err, "header %s comes more than once", name);
  for (size_t i = 0; (offered = options_item(o, WSC_OPT_SUBPROTOCOL, i)) != NULL; i++) {
    if (strcmp(offered, value) != 0) continue;
    return response_set_subprotocol(h->response, value, strlen(value)) == WSC_OK ? WSC_OK : no_memory(err);
  }
  if (!options_item(o, WSC_OPT_SUBPROTOCOL, 0))
    return MALFORMED(h, err, "the server chose subprotocol \"%.100s\", but none was offered", value);
  return MALFORMED(h, err, "the server chose subprotocol \"%.100s\", which was not offered", value);
}

static int judge_extensions(struct handshake *h, const wsc_options *o, wsc_error **err) {
  const char *value;
  char why[EXTENSION_WHY];
  for (size_t i = 0; (value = wsc_response_header(h->response, "Sec-WebSocket-Extensions", i)) != NULL; i++)
    if (!extension_accept(&h->terms, o, value, why))
      return MALFORMED(h, err, "the server chose extension \"%.100s\": %s", value, why);
  return WSC_OK;
}

static int judge(struct handshake *h, const wsc_options *o, wsc_error **err) {
  int status = judge_token(h, "Upgrade", "websocket", err);
  if (status == WSC_OK) status = judge_token(h, "Connection", "Upgrade", err);
  if (status == WSC_OK) status = judge_accept(h, err);
  if (status == WSC_OK) status = judge_subprotocol(h, o, err);
  if (status == WSC_OK) status = judge_extensions(h, o, err);
  return status;
}

/* Feeding */

static int refuse(struct handshake *h, wsc_error **err) {
  wsc_response *r = h->response;
  h->response = NULL;
  return refusal_error(r, h->shown, err);
}

static int end_of_stream(struct handshake *h, wsc_error **err) {
  if (h->refused) return refuse(h, err);
  if (h->in.length == 0)
    return fail(h, 0, err, "the server closed the connection without an answer to the upgrade request");
  char shown[68];
  return fail(h, 0, err, "the server closed the connection in the middle of its answer, %zu bytes into it: \"%s\"",
              h->in.length, printable(h->in.data, h->in.length, shown));
}

static int feed_body(struct handshake *h, const uint8_t *p, size_t n, size_t *used, wsc_error **err) {
  *used += n; /* nothing of a refused connection is ever read as frames */
  int status = refusal_feed(&h->body, h->response, p, n);
  if (status == WSC_AGAIN) return WSC_AGAIN;
  return status == WSC_OK ? refuse(h, err) : no_memory(err);
}

/* Whether the header is whole; then `in` is cut behind it. */
static bool header_whole(struct handshake *h) {
  while (h->scanned < h->in.length) {
    const uint8_t *start = h->in.data + h->scanned, *lf = memchr(start, '\n', h->in.length - h->scanned);
    if (!lf) {
      h->scanned = h->in.length;
      return false;
    }
    size_t end = (size_t)(lf - h->in.data), length = end - h->line_at;
    bool empty = length == 0 || (length == 1 && h->in.data[h->line_at] == '\r');
    h->scanned = h->line_at = end + 1;
    if (!empty) continue;
    h->in.length = h->scanned;
    return true;
  }
  return false;
}

static bool begins_like_http(const struct handshake *h) {
  size_t n = h->in.length < 5 ? h->in.length : 5;
  return memcmp(h->in.data, "HTTP/", n) == 0;
}

/* Interim answers (100, 103) only announce the real one. */
static bool skip_interim(struct handshake *h) {
  int status = wsc_response_status(h->response);
  if (status >= 200 || status == 101) return false;
  h->interim += h->in.length;
  wsc_response_free(h->response);
  h->response = NULL;
  h->in.length = h->scanned = h->line_at = 0;
  return true;
}

/* Takes bytes of p up to the header's end. WSC_OK: it is whole and h->response made of it. */
static int feed_header(struct handshake *h, const uint8_t *p, size_t n, size_t *used, wsc_error **err) {
  size_t room = HANDSHAKE_HEADER_MAX - h->interim - h->in.length, part = n < room ? n : room, before = h->in.length;
  if (buffer_append(&h->in, p, part) != WSC_OK) return no_memory(err);
  bool whole = header_whole(h);
  *used += h->in.length - before;
  if (!begins_like_http(h)) return not_http(h, err);
  if (whole) return parse_header(h, err);
  if (part < n || part == room)
    return fail(h, WSC_GIVE_UP_UPGRADE, err, "the answer's header is longer than %d bytes", HANDSHAKE_HEADER_MAX);
  return WSC_AGAIN;
}

int handshake_feed(struct handshake *h, const wsc_options *o, const uint8_t *p, size_t n, size_t *used,
                   wsc_error **err) {
  *used = 0;
  if (n == 0) return end_of_stream(h, err);
  while (*used < n) {
    if (h->refused) return feed_body(h, p + *used, n - *used, used, err);
    int status = feed_header(h, p + *used, n - *used, used, err);
    if (status != WSC_OK) return status;
    if (skip_interim(h)) continue;
    buffer_free(&h->in);
    if (wsc_response_status(h->response) == 101) return judge(h, o, err);
    h->refused = true;
    refusal_begin(&h->body, h->response);
    if (h->body.kind == BODY_NONE) return refuse(h, err);
  }
  return WSC_AGAIN;
}

void handshake_free(struct handshake *h) {
  buffer_free(&h->in);
  wsc_response_free(h->response);
  mem_free(h->shown);
  *h = (struct handshake){0};
}
