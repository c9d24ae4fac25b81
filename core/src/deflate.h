/* DEFLATE of message payloads (RFC 1951 by zlib, as RFC 7692 section 7.2 uses it): raw, one sync flush a message, the
 * 00 00 ff ff at its end not sent. One handle serves one direction of one connection. */
#ifndef WSC_DEFLATE_H
#define WSC_DEFLATE_H

#include "mem.h"

/* bits: log2 of the window, 8 to 15. forgetful: every message stands for itself (no context takeover). About 40 KiB
 * once a message has come. NULL: out of memory. */
struct inflater;
struct inflater *inflater_new(int bits, bool forgetful);
void inflater_free(struct inflater *f);

/* One message: begin with all of its n bytes (which stay the caller's and in place), then run until it is not
 * WSC_AGAIN, which says that out is full. WSC_OK: the message is whole. WSC_ERR_INVALID: malformed, for good: *why, a
 * static text; WSC_ERR_NOMEM. room >= 1. */
void inflater_begin(struct inflater *f, const uint8_t *p, size_t n);
int inflater_run(struct inflater *f, uint8_t *out, size_t room, size_t *wrote, const char **why);
/* No message is under way, and the next may be long in coming: what need not be kept till then is given back. */
void inflater_rest(struct inflater *f);

enum { DEFLATE_BITS_LEAST = 9 }; /* zlib cannot keep to a window of 8 bits */

/* bits: 9 to 15. level: 1 fast to 9 small. Up to about 260 KiB (bits 15). NULL: out of memory. */
struct deflater;
struct deflater *deflater_new(int bits, int level, bool forgetful);
void deflater_free(struct deflater *d);
/* Appends one compressed message to out. WSC_OK; WSC_ERR_NOMEM: out is as it was, the message did not happen. */
int deflater_run(struct deflater *d, const uint8_t *p, size_t n, struct buffer *out);
/* What was compressed last never left: later messages refer to nothing before them. */
void deflater_forget(struct deflater *d);

#endif
