/* A look at a frame's header before, or because, wslay says nothing of it: everything the peer may not do in a header
 * is judged here. */
#ifndef WSC_INSPECT_H
#define WSC_INSPECT_H

#include "receiver.h"

/* What n bytes at the start of a frame tell. */
struct frame_head {
  uint8_t opcode;
  bool fin;
  bool compressed; /* a compressed message begins with it */
  size_t size;     /* of the header; 0: not all of it is here, then length is not known */
  uint64_t length; /* of the payload */
  size_t need;     /* bytes until the frame is whole, or until more of its header can be read */
};

/* The payload bytes a message may have on the wire. What cannot be compressed grows a little by trying. */
static inline uint64_t wire_limit(const struct receiver *r, bool compressed) {
  uint64_t limit = r->max_message + (compressed ? r->max_message / 1024 + 64 : 0);
  return limit < UINT32_MAX ? limit : UINT32_MAX;
}

/* n >= 1. WSC_OK, or a fault (WSC_ERR_PROTOCOL, WSC_ERR_TOO_BIG) as soon as any byte of it is wrong. */
int inspect_head(struct receiver *r, const uint8_t *p, size_t n, struct frame_head *head);
/* The payload of a close frame. */
int inspect_close(struct receiver *r, const uint8_t *payload, size_t n);
/* n more bytes, at `at` in the message, of a text. before: what r->utf8 was: they have just been found wrong. */
int inspect_text_fault(struct receiver *r, struct utf8 before, const uint8_t *p, size_t n, uint64_t at);

/* NULL: a reserved one. */
const char *opcode_name(int opcode);

/* Sets r->fault, for ever; status. */
int receiver_fail(struct receiver *r, int status, int close_code, const char *reason, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));

#endif
