/* wslay's frame decoder over a run of bytes in memory. */
#ifndef WSC_DECODE_H
#define WSC_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wslay/wslay.h>

/* wslay reads headers; payload lies where it was received and is not read through wslay. After a frame's first chunk
 * the caller knows how long the frame is and only tells wslay to pass over the rest: wslay counts those bytes, but
 * nobody copies them. */
struct decoder {
  wslay_frame_context_ptr context; /* NULL: to be made; it stands between two frames whenever nobody is decoding */
  const uint8_t *next, *end;       /* not yet given to wslay */
  size_t pass_over;                /* of them, at the front: counted only */
  bool sparing;                    /* the next frame will be large too: give little more than its header */
};
enum { DECODER_BYTES = 4352 }; /* what one costs, wslay's context included */

struct decoder *decoder_new(void);    /* NULL: out of memory */
void decoder_free(struct decoder *d); /* accepts NULL */

/* p is the start of a frame. WSC_OK or WSC_ERR_NOMEM. Then call wslay_frame_recv(d->context). */
int decoder_begin(struct decoder *d, const uint8_t *p, const uint8_t *end);
/* The rest of the frame whose first chunk wslay has just given; all of it is before end. */
int decoder_pass_over(struct decoder *d, uint64_t rest);
/* Decoding ended elsewhere than between two frames: the context is of no more use. */
void decoder_spoil(struct decoder *d);

#endif
