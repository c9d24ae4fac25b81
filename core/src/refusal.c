/* Refusals: the body is kept because it usually says why, the headers tell when to come back, and the error says both.
 * Everything here is the peer's word: lengths are bounded before they are used, and error.c makes the text harmless. */
#define _GNU_SOURCE
#include "refusal.h"

#include "ascii.h"
#include "error.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The body */

static bool last_coding_is_chunked(const wsc_response *r) {
  const char *last = NULL, *value;
  for (size_t at = 0; (value = response_next_header(r, "Transfer-Encoding", &at)) != NULL;) last = value;
  if (!last) return false;
  const char *comma = strrchr(last, ',');
  if (comma) last = comma + 1;
  while (*last == ' ' || *last == '\t') last++;
  size_t n = strcspn(last, " \t;");
  return n == strlen("chunked") && ascii_equal_n(last, "chunked", n);
}

/* false: there is none, or several that differ, or nonsense. */
static bool content_length(const wsc_response *r, uint64_t *out) {
  size_t at = 0;
  const char *value = response_next_header(r, "Content-Length", &at), *other;
  if (!value || !*value) return false;
  while ((other = response_next_header(r, "Content-Length", &at)) != NULL)
    if (strcmp(value, other) != 0) return false;
  uint64_t n = 0;
  for (; *value; value++) {
    if (!ascii_digit(*value)) return false;
    if (n > INT64_MAX / 16) continue; /* more than anybody will send: only that it is large matters */
    n = n * 10 + (uint64_t)(*value - '0');
  }
  *out = n;
  return true;
}

void refusal_begin(struct refusal_body *b, const wsc_response *r) {
  int status = wsc_response_status(r);
  *b = (struct refusal_body){.kind = BODY_STREAM};
  if (status == 204 || status == 304 || status == 101) b->kind = BODY_NONE;
  else if (last_coding_is_chunked(r)) b->kind = BODY_CHUNKED;
  else if (content_length(r, &b->left)) b->kind = b->left > 0 ? BODY_LENGTH : BODY_NONE;
}

static int hex_value(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  char l = ascii_lower((char)c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* One byte of the chunks' framing. WSC_OK: the body ends here. */
static int chunk_byte(struct refusal_body *b, uint8_t c) {
  int digit = hex_value(c);
  switch (b->state) {
  case CHUNK_SIZE:
    if (digit >= 0) {
      b->digits = true;
      if (b->left > UINT64_MAX / 32) return WSC_OK;
      b->left = b->left * 16 + (uint64_t)digit;
      return WSC_AGAIN;
    }
    b->state = CHUNK_EXTENSION;
    if (!b->digits) return WSC_OK; /* no size: these are no chunks */
    /* fall through */
  case CHUNK_EXTENSION:
    if (c == '\n') b->state = b->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    return WSC_AGAIN;
  case CHUNK_END:
    if (c != '\r' && c != '\n') return WSC_OK;
    if (c == '\n') *b = (struct refusal_body){.kind = BODY_CHUNKED};
    return WSC_AGAIN;
  case CHUNK_TRAILER:
    if (c == '\n') return WSC_OK;
    if (c != '\r') b->state = CHUNK_TRAILER_LINE;
    return WSC_AGAIN;
  case CHUNK_TRAILER_LINE:
    if (c == '\n') b->state = CHUNK_TRAILER;
    return WSC_AGAIN;
  case CHUNK_DATA: break;
  }
  return WSC_OK;
}

static bool body_full(const wsc_response *r) {
  size_t length;
  wsc_response_body(r, &length);
  return length >= RESPONSE_BODY_MAX;
}

int refusal_feed(struct refusal_body *b, wsc_response *r, const uint8_t *p, size_t n) {
  if (b->kind == BODY_NONE) return WSC_OK;
  while (n > 0) {
    if (b->kind == BODY_CHUNKED && b->state != CHUNK_DATA) {
      if (chunk_byte(b, *p) == WSC_OK) return WSC_OK;
      p++, n--;
      continue;
    }
    size_t part = b->kind == BODY_STREAM || n < b->left ? n : (size_t)b->left;
    if (response_add_body(r, p, part) != WSC_OK) return WSC_ERR_NOMEM;
    if (body_full(r)) return WSC_OK;
    p += part, n -= part;
    if (b->kind == BODY_STREAM) continue;
    b->left -= part;
    if (b->left > 0) continue;
    if (b->kind == BODY_LENGTH) return WSC_OK;
    b->state = CHUNK_END;
  }
  return WSC_AGAIN;
}

/* Retry-After */

static int month_of(const char *name) {
  static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  for (int i = 0; i < 12; i++)
    if (memcmp(name, names + 3 * i, 3) == 0) return i;
  return -1;
}

int64_t refusal_http_date(const char *text) {
  struct tm t = {0};
  char month[4] = "";
  int read = 0;
  const char *after_day = strchr(text, ',');
  if (after_day) {
    after_day++;
    bool imf = sscanf(after_day, " %2d %3s %4d %2d:%2d:%2d GMT%n", &t.tm_mday, month, &t.tm_year, &t.tm_hour, &t.tm_min,
                      &t.tm_sec, &read) == 6;
    if (!imf) { /* RFC 850: two digits of the year; 70 is the first that belongs to the last century */
      read = 0;
      if (sscanf(after_day, " %2d-%3s-%2d %2d:%2d:%2d GMT%n", &t.tm_mday, month, &t.tm_year, &t.tm_hour, &t.tm_min,
                 &t.tm_sec, &read) != 6)
        return -1;
      t.tm_year += t.tm_year < 70 ? 2000 : 1900;
    }
    if (read == 0 || after_day[read] != 0) return -1;
  } else { /* asctime */
    if (sscanf(text, "%*3s %3s %2d %2d:%2d:%2d %4d%n", month, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec, &t.tm_year,
               &read) != 6)
      return -1;
    if (text[read] != 0) return -1;
  }
  t.tm_mon = strlen(month) == 3 ? month_of(month) : -1;
  if (t.tm_mon < 0 || t.tm_year < 1970 || t.tm_mday < 1 || t.tm_mday > 31) return -1;
  if (t.tm_hour < 0 || t.tm_hour > 23 || t.tm_min < 0 || t.tm_min > 59 || t.tm_sec < 0 || t.tm_sec > 60) return -1;
  t.tm_year -= 1900;
  return (int64_t)timegm(&t);
}

int64_t refusal_retry_after_ms(const wsc_response *r, int64_t now_unix_s) {
  int status = wsc_response_status(r);
  const char *value = wsc_response_header(r, "Retry-After", 0);
  if ((status != 429 && status != 503) || !value || !*value) return -1;
  size_t digits = strspn(value, "0123456789");
  if (value[digits] == 0) {
    const int64_t longest =
        INT64_C(100) * 365 * 24 * 3600; /* the option caps it anyway; here it only must not overflow */
    int64_t s = digits < 12 ? strtoll(value, NULL, 10) : longest;
    return (s < longest ? s : longest) * 1000;
  }
  int64_t then = refusal_http_date(value);
  if (then < 0) return -1;
  const char *date = wsc_response_header(r, "Date", 0);
  int64_t now = date ? refusal_http_date(date) : -1;
  if (now < 0) now = now_unix_s;
  return then > now ? (then - now) * 1000 : 0;
}

/* The error */

static int fatal_of(int status) {
  if (status == 408 || status == 425 || status == 429) return 0;
  return status >= 200 && status < 500 ? WSC_GIVE_UP_REFUSED : 0;
}

static bool textual(const wsc_response *r) {
  const char *coding = wsc_response_header(r, "Content-Encoding", 0);
  if (coding && !ascii_equal(coding, "identity")) return false;
  const char *type = wsc_response_header(r, "Content-Type", 0);
  return !type || (strlen(type) >= 5 && ascii_equal_n(type, "text/", 5)) || strstr(type, "json") || strstr(type, "xml");
}

/* The first line of the body that has something in it, without markup. */
static void first_line(const wsc_response *r, char *out, size_t size) {
  size_t length, at = 0;
  const uint8_t *body = wsc_response_body(r, &length);
  const char *type = wsc_response_header(r, "Content-Type", 0);
  bool markup = type && (strstr(type, "html") || strstr(type, "xml")), inside = false;
  out[0] = 0;
  if (!textual(r)) return;
  for (size_t i = 0; i < length && at < size - 1; i++) {
    char c = (char)body[i];
    if (c == 0) break;
    if (markup && (c == '<' || inside)) {
      inside = c != '>';
      continue;
    }
    if (c == '\n' || c == '\r') {
      if (at > 0) break;
      continue;
    }
    if (at == 0 && (c == ' ' || c == '\t')) continue;
    out[at++] = c;
  }
  if (at == size - 1) { /* cut: not in the middle of a character */
    while (at > 0 && ((uint8_t)out[at - 1] & 0xc0) == 0x80) at--;
    if (at > 0 && ((uint8_t)out[at - 1] & 0x80) != 0) at--;
  }
  while (at > 0 && out[at - 1] == ' ') at--;
  out[at] = 0;
}

/* The header that says what the server would rather have. */
static void hint(const wsc_response *r, char *out, size_t size) {
  int status = wsc_response_status(r);
  const char *value = NULL, *before = "", *after = "";
  out[0] = 0;
  if (status >= 300 && status < 400) {
    value = wsc_response_header(r, "Location", 0);
    before = "it points to ", after = "; redirects are not followed";
  } else if (status == 401) {
    value = wsc_response_header(r, "WWW-Authenticate", 0);
    before = "it asks for authentication: ";
  } else if (status == 400 || status == 426) {
    value = wsc_response_header(r, "Sec-WebSocket-Version", 0);
    before = "we speak WebSocket version 13, it speaks ";
  }
  if (!value || !*value) return;
  size_t n = strlen(value);
  if (status < 400) { /* queries and userinfo carry secrets */
    n = strcspn(value, "?#");
    if (memchr(value, '@', n)) return;
  }
  snprintf(out, size, " (%s%.*s%s)", before, (int)(n < 200 ? n : 200), value, after);
}

int refusal_error(wsc_response *r, const char *url, wsc_error *cause, wsc_error **err) {
  int status = wsc_response_status(r);
  char line[161], wish[300];
  const char *reason = wsc_response_reason(r);
  first_line(r, line, sizeof line);
  hint(r, wish, sizeof wish);
  struct error_info info = {.status = WSC_ERR_HANDSHAKE,
                            .http_status = status,
                            .fatal = fatal_of(status),
                            .retry_after_ms = refusal_retry_after_ms(r, os_unix_ns() / NS_PER_S),
                            .plain = true,
                            .cause = cause,
                            .response = r};
  return error_set_info(err, &info, "%s: the server refused the upgrade: %d%s%.200s%s%s%s", url, status,
                        *reason ? " " : "", reason, wish, *line ? ": " : "", line);
}
