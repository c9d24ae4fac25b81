/* The receiving half of the protocol: bytes in, batches of whole messages and control frames out. No socket, no
 * clock, no lock.
 *
 * Frames are decoded by wslay's frame API; the checks wslay does not make are made here (core/DESIGN.md section 9).
 * Bytes are received straight into an arena; a message that lies whole in it becomes a record without being copied.
 * wslay only ever sees a run of frames from its start: a frame whose end has not come yet is fed again when it has,
 * so between calls no wslay context stands inside a frame. A frame too large for that is taken over after its header:
 * its payload is received straight into its assembly buffer. */
#ifndef WSC_RECEIVER_H
#define WSC_RECEIVER_H

#include "batch.h"
#include "utf8.h"

#include <sys/uio.h>

enum {
  OPCODE_CONTINUATION = 0,
  OPCODE_TEXT = 1,
  OPCODE_BINARY = 2,
  OPCODE_CLOSE = 8,
  OPCODE_PING = 9,
  OPCODE_PONG = 10
};

/* Why receiving failed: the close to send and what to tell the user. */
struct receiver_fault {
  int close_code;   /* 1002, 1007, 1009; or 1011 for lack of memory */
  char reason[124]; /* for the close frame */
  char detail[192]; /* for the error: names limit and size, opcode, bits */
};

/* A control frame, in its place among the messages. Valid during the call of sink.control only. */
struct receiver_sink {
  void (*control)(void *self, int opcode, const uint8_t *payload, size_t length);
  void *self;
};

/* Any frame that is whole: its first byte and its payload. */
typedef void receiver_frame(void *self, int first, const uint8_t *payload, size_t length);

/* For embedding; the fields are receiver.c's and assemble.c's own. */
struct receiver {
  struct arena_pool *pool;
  uint64_t max_message;
  uint64_t simple_below; /* payloads shorter than this may be taken without a look at their frame */
  receiver_frame *frame; /* told of each; NULL: nobody is */
  void *frame_self;
  /* the arena being received into, NULL at rest: [start, end) has come and is not yet part of a message or a control
   * frame */
  struct arena *arena;
  size_t start, end;
  size_t need;    /* parsing goes on when so many bytes have come from start on */
  size_t checked; /* payload bytes of the frame at start that utf8 has seen already */
  /* the data message that has begun in an earlier frame, or in a frame that is too large for an arena */
  int opcode;            /* its type; 0: none */
  struct utf8 utf8;      /* of a text's bytes so far */
  uint64_t length;       /* its bytes so far */
  uint8_t *block;        /* they, between two calls */
  size_t capacity;       /* of block */
  uint64_t rest;         /* bytes still to come of the frame that is received straight into block; 0: no such frame */
  uint64_t frame_length; /* of that one */
  uint8_t first;         /* its first byte */
  bool last_frame;       /* it ends the message */
  bool compressed;       /* the message that has begun is: length and block are of its compressed bytes */
  struct inflater *inflater;             /* NULL: no compression was agreed on */
  uint64_t packed_bytes, unpacked_bytes; /* of all compressed messages so far */
  bool more;                             /* whole frames lie in the arena undecoded: see receiver_advance */
  bool closed;
  int failed;                         /* status of the fault, for ever */
  const struct receiver_fault *fault; /* NULL: none */
  struct receiver_fault *told;        /* it, unless there was no memory for it */
  /* at rest: the start of a frame whose header or control payload is not all there */
  size_t tail_length;
  uint8_t tail[128];
};

/* max_message: bytes a whole message may have. */
void receiver_init(struct receiver *r, struct arena_pool *pool, uint64_t max_message);
void receiver_free(struct receiver *r);
/* From the next frame on; frame is called inside receiver_advance. */
void receiver_trace(struct receiver *r, receiver_frame *frame, void *self);
/* permessage-deflate was agreed on: RSV1 in a message's first frame says that it is compressed (RFC 7692 section 6).
 * bits, forgetful: see deflate.h. WSC_OK, WSC_ERR_NOMEM. */
int receiver_inflates(struct receiver *r, int bits, bool forgetful);

/* Where to receive to: 1 or 2, the entries of iov (the second is the arena behind a large payload); or WSC_ERR_NOMEM.
 * Valid until the next call for this receiver. */
int receiver_space(struct receiver *r, struct iovec iov[2]);

/* n bytes have been received there at received_ns (Unix time). Appends batches of finished messages to out, gives
 * control frames to sink in order. After a close frame the rest is ignored (r->closed). WSC_OK, or an error with
 * r->fault set: WSC_ERR_PROTOCOL, WSC_ERR_TOO_BIG, WSC_ERR_NOMEM; messages before the fault are in out.
 *
 * An arena of compressed messages may stand for a thousand times its bytes. So a pass ends behind the message with
 * which it has inflated ARENA_BYTES, and sets r->more when frames are left. Then the next call, as soon as out is
 * wanted again, is this one with n = 0, and not receiver_space. */
int receiver_advance(struct receiver *r, size_t n, int64_t received_ns, struct batch_queue *out,
                     const struct receiver_sink *sink);

/* Nothing more comes for now: the arena is given back. What stays is the unfinished message: in a block of its exact
 * size when that is known, else (fragments) of at most about twice what has come. */
void receiver_rest(struct receiver *r);

#endif
