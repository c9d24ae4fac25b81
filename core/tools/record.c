#define _GNU_SOURCE
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char first_line[] = "wsc-record 1\n";
static const char *const verbs[] = {"open", "text", "binary", "sent-text", "sent-binary", "close", "lost"};
enum { KINDS = sizeof verbs / sizeof verbs[0] };

static bool has_payload(enum record_kind kind) { return kind >= RECORD_TEXT && kind <= RECORD_SENT_BINARY; }

/* ---- writing ---- */

static bool write_all(int fd, const uint8_t *p, size_t n) {
  while (n > 0) {
    ssize_t wrote = write(fd, p, n);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    p += wrote;
    n -= (size_t)wrote;
  }
  return true;
}

bool recorder_open(struct recorder *r, const char *path) {
  r->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
  if (r->fd < 0 || !write_all(r->fd, (const uint8_t *)first_line, sizeof first_line - 1)) {
    complain("--record %s: %s", path, strerror(errno));
    if (r->fd >= 0) close(r->fd);
    return false;
  }
  r->path = path;
  return true;
}

void recorder_add(struct recorder *r, enum record_kind kind, int64_t at_ns, int code, const void *p, size_t n) {
  if (r->path == NULL) return;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at_ns == 0) at_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  r->record.n = 0;
  bytes_print(&r->record, "%s %" PRId64, verbs[kind], at_ns);
  if (kind == RECORD_CLOSE) bytes_print(&r->record, " %d", code);
  if (has_payload(kind)) bytes_print(&r->record, " %zu\n", n);
  else if (n > 0) bytes_add(&r->record, " ", 1);
  size_t before = r->record.n;
  if (n > 0) bytes_add(&r->record, p, n);
  for (size_t i = before; !has_payload(kind) && i < r->record.n; i++)
    if (r->record.p[i] == '\n') r->record.p[i] = ' '; /* a peer's reason */
  bytes_add(&r->record, "\n", 1);
  if (write_all(r->fd, r->record.p, r->record.n)) return;
  complain("--record %s: %s: it ends here", r->path, strerror(errno));
  recorder_close(r);
}

void recorder_close(struct recorder *r) {
  if (r->path == NULL) return;
  if (close(r->fd) != 0) complain("--record %s: %s", r->path, strerror(errno));
  bytes_free(&r->record);
  r->path = NULL;
}

/* ---- reading ---- */

/* What is still to be read. */
struct cursor {
  const char *path;
  const uint8_t *start, *p, *end;
};

enum outcome { READ, CUT, BAD };

static bool number(const uint8_t **p, const uint8_t *end, int64_t most, int64_t *out) {
  const uint8_t *at = *p;
  *out = 0;
  for (; at < end && *at >= '0' && *at <= '9'; at++) {
    if (*out > (most - (*at - '0')) / 10) return false;
    *out = *out * 10 + (*at - '0');
  }
  bool good = at > *p && (at == end || *at == ' ');
  *p = at < end ? at + 1 : at;
  return good;
}

static enum outcome bad(const struct cursor *c, const char *what) {
  complain("%s: byte %zu: %s", c->path, (size_t)(c->p - c->start), what);
  return BAD;
}

static bool verb(const uint8_t **p, const uint8_t *end, enum record_kind *kind) {
  const uint8_t *space = memchr(*p, ' ', (size_t)(end - *p));
  if (space == NULL) return false;
  size_t n = (size_t)(space - *p);
  for (int i = 0; i < KINDS; i++) {
    if (strlen(verbs[i]) != n || memcmp(verbs[i], *p, n) != 0) continue;
    *kind = (enum record_kind)i;
    *p = space + 1;
    return true;
  }
  return false;
}

/* One record; the cursor goes behind it. CUT: the file ends inside it. */
static enum outcome read_record(struct cursor *c, struct record *r) {
  const uint8_t *line_end = memchr(c->p, '\n', (size_t)(c->end - c->p)), *p = c->p;
  if (line_end == NULL) return CUT;
  int64_t n = 0;
  *r = (struct record){.kind = RECORD_OPEN};
  if (!verb(&p, line_end, &r->kind))
    return bad(c, "no record begins here (open, text, binary, sent-text, sent-binary, close or lost)");
  if (!number(&p, line_end, INT64_MAX, &r->at_ns)) return bad(c, "the record's time is no number");
  if (r->kind == RECORD_CLOSE) {
    if (!number(&p, line_end, 4999, &n) || n < 1000) return bad(c, "the close code is not 1000 to 4999");
    if (n == 1004 || n == 1006 || n == 1015) return bad(c, "no close frame may carry this code (RFC 6455, 7.4.1)");
    r->code = (int)n;
  }
  if (!has_payload(r->kind)) {
    r->p = p;
    r->n = (size_t)(line_end - p);
    if (r->kind == RECORD_CLOSE && (r->n > 123 || utf8_fault(r->p, r->n) != r->n))
      return bad(c, "the close reason is longer than 123 bytes, or not UTF-8");
    c->p = line_end + 1;
    return READ;
  }
  if (!number(&p, line_end, UINT32_MAX, &n) || p != line_end) return bad(c, "the message's length is no number");
  p = line_end + 1;
  if ((int64_t)(c->end - p) <= n) return CUT;
  if (p[n] != '\n') return bad(c, "the message does not end where its length says");
  if (r->kind == RECORD_TEXT && utf8_fault(p, (size_t)n) != (size_t)n) return bad(c, "the text message is not UTF-8");
  r->p = p;
  r->n = (size_t)n;
  c->p = p + n + 1;
  return READ;
}

static bool read_file(struct bytes *file, const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  ssize_t got = fd < 0 ? -1 : 1;
  while (got > 0) {
    got = read(fd, bytes_room(file, 1 << 20), 1 << 20);
    if (got < 0 && errno == EINTR) got = 1;
    else if (got > 0) file->n += (size_t)got;
  }
  if (got < 0) complain("--replay %s: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return got == 0;
}

static bool read_all(struct recording *r, struct cursor *c) {
  size_t sessions = 0, capacity = 0;
  while (c->p < c->end) {
    if (r->count == capacity) {
      capacity = capacity != 0 ? 2 * capacity : 64;
      struct record *more = realloc(r->records, capacity * sizeof *more);
      if (more == NULL) {
        complain("out of memory");
        return false;
      }
      r->records = more;
    }
    struct record *next = &r->records[r->count];
    switch (read_record(c, next)) {
    case BAD: return false;
    case CUT:
      complain("%s: cut off at byte %zu, in the middle of a record: played up to there", c->path,
               (size_t)(c->p - c->start));
      c->p = c->end;
      continue;
    case READ: break;
    }
    sessions += next->kind == RECORD_OPEN;
    if (sessions == 0) {
      bad(c, "a record before the first \"open\"");
      return false;
    }
    r->count++;
  }
  if (sessions == 0) complain("%s: there is no session in it", c->path);
  return sessions > 0;
}

bool recording_read(struct recording *r, const char *path) {
  *r = (struct recording){.count = 0};
  if (!read_file(&r->file, path)) return false;
  struct cursor c = {path, r->file.p, r->file.p, r->file.p + r->file.n};
  size_t n = sizeof first_line - 1;
  if (r->file.n < n || memcmp(r->file.p, first_line, n) != 0) {
    complain("%s: not a recording of wsc: it does not begin with \"wsc-record 1\"", path);
    return false;
  }
  c.p += n;
  return read_all(r, &c);
}

void recording_free(struct recording *r) {
  bytes_free(&r->file);
  free(r->records);
  *r = (struct recording){.count = 0};
}
