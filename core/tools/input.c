/* Standard input as lines. Not more than one block is read ahead, so whoever feeds us feels a slow server. */
#define _GNU_SOURCE
#include "input.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 65536, LONGEST = 256 << 20 };

void input_open(struct input *in, int fd) { *in = (struct input){.fd = fd, .number = 1}; }

/* The rest of a line that was too long is thrown away as it comes. */
static void skip(struct input *in) {
  uint8_t *from = in->held.p + in->at;
  uint8_t *end = memchr(from, '\n', in->held.n - in->at);
  in->skipping = end == NULL;
  in->at = end != NULL ? (size_t)(end - in->held.p) + 1 : in->held.n;
  in->searched = in->at;
  if (end != NULL) in->number++;
}

void input_read(struct input *in) {
  if (in->at > 0) {
    memmove(in->held.p, in->held.p + in->at, in->held.n - in->at);
    in->held.n -= in->at;
    in->searched -= in->at;
    in->at = 0;
  }
  ssize_t n = read(in->fd, bytes_room(&in->held, BLOCK), BLOCK);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n < 0 && errno != EIO)
    complain("standard input: %s", strerror(errno)); /* EIO: a terminal that is not ours any more */
  if (n <= 0) {
    in->ended = true;
    return;
  }
  in->held.n += (size_t)n;
  if (in->skipping) skip(in);
}

bool input_line(struct input *in, struct line *out) {
  size_t unsearched = in->held.n - in->searched;
  uint8_t *end = unsearched > 0 ? memchr(in->held.p + in->searched, '\n', unsearched) : NULL;
  if (end == NULL) {
    in->searched = in->held.n;
    if (in->held.n - in->at > LONGEST) {
      complain("line %" PRIu64 " of standard input is longer than %d bytes: not sent", in->number, (int)LONGEST);
      in->skipping = true;
      skip(in);
      return false;
    }
    if (!in->ended || in->at == in->held.n) return false;
  } else {
    in->searched = (size_t)(end - in->held.p);
  }
  *out = (struct line){.p = in->held.p + in->at, .n = in->searched - in->at, .number = in->number};
  return true;
}

void input_pop(struct input *in, const struct line *line) {
  in->at += line->n;
  if (in->at < in->held.n) in->at++; /* its "\n" */
  in->searched = in->at;
  in->number++;
}

void input_close(struct input *in) { bytes_free(&in->held); }
