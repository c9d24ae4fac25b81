/* The decoder: wslay's frame API and where its bytes come from. A context that saw only the start of a frame, or an
 * error, is thrown away (making one costs about 0.1 us); one that saw whole frames is good for any connection. */
#include "decode.h"

#include "mem.h"

#include "wscengine/status.h"

#include <string.h>

/* Frames of one stream resemble each other: behind a large one, whose payload nobody copied, wslay gets just enough
 * to see the next header. */
enum { LARGE = 2048, SPARE_COPY = 16 };

static ssize_t give(uint8_t *buf, size_t len, int flags, void *self) {
  struct decoder *d = self;
  (void)flags;
  size_t n = (size_t)(d->end - d->next);
  if (n > len) n = len;
  size_t passed = d->pass_over < n ? d->pass_over : n;
  if (n > passed) {
    if (d->sparing && n > passed + SPARE_COPY) n = passed + SPARE_COPY;
    d->sparing = false;
    memcpy(buf + passed, d->next + passed, n - passed);
  }
  d->pass_over -= passed;
  d->next += n;
  return (ssize_t)n;
}

struct decoder *decoder_new(void) {
  return mem_zalloc(sizeof(struct decoder));
}

void decoder_free(struct decoder *d) {
  if (d == NULL) return;
  decoder_spoil(d);
  mem_free(d);
}

int decoder_begin(struct decoder *d, const uint8_t *p, const uint8_t *end) {
  d->next = p;
  d->end = end;
  d->pass_over = 0;
  d->sparing = false;
  if (d->context != NULL) return WSC_OK;
  const struct wslay_frame_callbacks callbacks = {.recv_callback = give};
  if (wslay_frame_context_init(&d->context, &callbacks, d) == 0) return WSC_OK;
  d->context = NULL;
  return WSC_ERR_NOMEM;
}

int decoder_pass_over(struct decoder *d, uint64_t rest) {
  struct wslay_frame_iocb io;
  d->pass_over = (size_t)rest;
  d->sparing = rest >= LARGE;
  while (rest > 0) {
    ssize_t n = wslay_frame_recv(d->context, &io);
    if (n <= 0) return WSC_ERR_PROTOCOL;
    rest -= (uint64_t)n;
  }
  return WSC_OK;
}

void decoder_spoil(struct decoder *d) {
  wslay_frame_context_free(d->context);
  d->context = NULL;
}
