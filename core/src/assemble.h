/* The block in which a message comes together that does not lie whole in one arena. */
#ifndef WSC_ASSEMBLE_H
#define WSC_ASSEMBLE_H

#include "receiver.h"

/* All: WSC_OK, or a fault of r (lack of memory). r->opcode is set. */

/* n more bytes of the message, from an arena. */
int assemble_add(struct receiver *r, const uint8_t *p, size_t n);
/* A frame of `length` bytes, of which n are here; the rest is received straight into the block (r->rest). last: it
 * ends the message. */
int assemble_large(struct receiver *r, const uint8_t *p, size_t n, uint64_t length, bool last);
/* The message is whole: a batch of its own that takes the block over. */
int assemble_finish(struct receiver *r, int64_t received_ns, struct batch_queue *out);
/* The message has gone elsewhere, or will never be whole. */
void assemble_drop(struct receiver *r);

#endif
