/* Compressed messages become messages: small ones one behind the other in an arena, so that a batch of them costs no
 * allocation each; one that outgrows an arena in a block of its own. */
#ifndef WSC_UNPACK_H
#define WSC_UNPACK_H

#include "receiver.h"

/* What one pass over received bytes has inflated and not yet given out. */
struct unpacked {
  struct receiver *r;
  struct batch_queue *out;
  int64_t received_ns;
  struct arena *arena;     /* NULL: nothing yet */
  size_t used;             /* bytes of it */
  struct wsc_batch *batch; /* the messages in it */
};

/* A whole message of u->r, its n compressed bytes at p, which may be r->block: the message is over in any case and the
 * block freed. It waits in u, or goes to u->out behind what waited there. WSC_OK, or a fault of r. */
int unpack(struct unpacked *u, const uint8_t *p, size_t n, int type);
/* Gives out what waits. */
void unpack_flush(struct unpacked *u);

#endif
