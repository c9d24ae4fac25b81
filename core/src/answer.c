/* Collected line by line until its header is whole, then read at once.
 *
 * What is tolerated and what is not: a lone LF ends a line like CR LF does (RFC 9112 section 2.2 allows it, small
 * servers send it, and a client that reads one answer cannot be tricked by it); a folded line is joined by a space
 * (section 5.2 demands it of a user agent); a broken header line makes a 101 malformed but leaves a refusal a
 * refusal, because what it says is worth more than its form.
 *
 * Invariant: `in` holds whole lines up to line_at, the unfinished one behind it, and every byte before `scanned` has
 * been looked at once: the work is linear however small the pieces are. */
#define _GNU_SOURCE
#include "answer.h"

#include "ascii.h"
#include "error.h"
#include "response.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_SIZE = 68 }; /* of an answer that is wrong */

/* Errors: the response, as far as there is one, goes with them. */

int answer_fail(struct answer *a, int fatal, wsc_error **err, const char *format, ...) {
  char text[600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct error_info info = {.status = a->status, .fatal = fatal, .retry_after_ms = -1, .response = a->response};
  info.http_status = wsc_response_status(a->response);
  a->response = NULL;
  return error_set_info(err, &info, "%s: %s", a->from, text);
}

static int no_memory(struct answer *a, wsc_error **err) {
  return error_set(err, WSC_ERR_NOMEM, "%s: out of memory for the answer", a->from);
}

static int not_http(struct answer *a, wsc_error **err) {
  char shown[SHOWN_SIZE];
  const uint8_t *p = a->in.data;
  const char *hint = p[0] == 0x15 || p[0] == 0x16 ? "; it looks like TLS: should the URL begin with wss:// ?" : "";
  return answer_fail(a, a->malformed, err, "%s does not speak HTTP: its answer begins with \"%s\"%s", a->who,
                     ascii_shown(shown, sizeof shown, p, a->in.length), hint);
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

/* Makes a->response of the whole header. A 101 must be well-formed throughout. */
static int parse_header(struct answer *a, wsc_error **err) {
  char *at = (char *)a->in.data, *end = at + a->in.length, shown[SHOWN_SIZE];
  struct span line, reason;
  int minor, status;
  if (!next_line(&at, end, &line) || !parse_status_line(line, &minor, &status, &reason))
    return answer_fail(a, a->malformed, err, "the answer's first line is no HTTP/1.1 status: \"%s\"",
                       ascii_shown(shown, sizeof shown, (const uint8_t *)line.p, line.n));
  a->response = wsc_response_new();
  if (!a->response) return no_memory(a, err);
  int result = response_set_status(a->response, status, reason.p, reason.n);
  if (result == WSC_ERR_INVALID) result = response_set_status(a->response, status, "", 0);
  if (result != WSC_OK) return no_memory(a, err);
  if (status == 101 && minor < 1)
    return answer_fail(a, a->malformed, err,
                       "malformed upgrade: the answer 101 came as HTTP/1.0, which cannot upgrade");

  unfold(at, end);
  while (next_line(&at, end, &line) && line.n > 0) {
    result = add_header(a->response, line);
    if (result == WSC_ERR_NOMEM) return no_memory(a, err);
    if (result != WSC_OK && status == 101)
      return answer_fail(a, a->malformed, err, "malformed upgrade: the answer 101 has a line that is no header: \"%s\"",
                         ascii_shown(shown, sizeof shown, (const uint8_t *)line.p, line.n));
  }
  return WSC_OK;
}

/* Feeding */

static int end_of_stream(struct answer *a, wsc_error **err) {
  if (a->in.length == 0)
    return answer_fail(a, 0, err, "%s closed the connection without an answer to %s", a->who, a->to);
  char shown[SHOWN_SIZE];
  return answer_fail(a, 0, err, "%s closed the connection in the middle of its answer, %zu bytes into it: \"%s\"",
                     a->who, a->in.length, ascii_shown(shown, sizeof shown, a->in.data, a->in.length));
}

/* Whether the header is whole; then `in` is cut behind it. */
static bool header_whole(struct answer *a) {
  while (a->scanned < a->in.length) {
    const uint8_t *start = a->in.data + a->scanned, *lf = memchr(start, '\n', a->in.length - a->scanned);
    if (!lf) {
      a->scanned = a->in.length;
      return false;
    }
    size_t end = (size_t)(lf - a->in.data), length = end - a->line_at;
    bool empty = length == 0 || (length == 1 && a->in.data[a->line_at] == '\r');
    a->scanned = a->line_at = end + 1;
    if (!empty) continue;
    a->in.length = a->scanned;
    return true;
  }
  return false;
}

static bool begins_like_http(const struct answer *a) {
  size_t n = a->in.length < 5 ? a->in.length : 5;
  return memcmp(a->in.data, "HTTP/", n) == 0;
}

/* Interim answers (100, 103) only announce the real one. */
static bool skip_interim(struct answer *a) {
  int status = wsc_response_status(a->response);
  if (status >= 200 || status == 101) return false;
  a->interim += a->in.length;
  wsc_response_free(a->response);
  a->response = NULL;
  a->in.length = a->scanned = a->line_at = 0;
  return true;
}

/* Takes bytes of p up to the header's end. WSC_OK: it is whole and a->response made of it. */
static int feed_header(struct answer *a, const uint8_t *p, size_t n, size_t *used, wsc_error **err) {
  size_t room = ANSWER_HEADER_MAX - a->interim - a->in.length, part = n < room ? n : room, before = a->in.length;
  if (buffer_append(&a->in, p, part) != WSC_OK) return no_memory(a, err);
  bool whole = header_whole(a);
  *used += a->in.length - before;
  if (!begins_like_http(a)) return not_http(a, err);
  if (whole) return parse_header(a, err);
  if (part < n || part == room)
    return answer_fail(a, a->malformed, err, "the answer's header is longer than %d bytes", ANSWER_HEADER_MAX);
  return WSC_AGAIN;
}

int answer_feed(struct answer *a, const uint8_t *p, size_t n, size_t *used, wsc_error **err) {
  *used = 0;
  if (n == 0) return end_of_stream(a, err);
  while (*used < n) {
    int status = feed_header(a, p + *used, n - *used, used, err);
    if (status != WSC_OK) return status;
    if (skip_interim(a)) continue;
    buffer_free(&a->in);
    return WSC_OK;
  }
  return WSC_AGAIN;
}

void answer_free(struct answer *a) {
  buffer_free(&a->in);
  wsc_response_free(a->response);
  *a = (struct answer){0};
}
