/* The answer to an upgrade request, as it is built. Names and values are kept as they came; reading is in
 * wscengine/connection.h. */
#ifndef WSC_RESPONSE_H
#define WSC_RESPONSE_H

#include "mem.h"
#include "wscengine/adapter.h"

enum { RESPONSE_BODY_MAX = 65536 };

/* All: WSC_OK, WSC_ERR_NOMEM (r is as it was), or WSC_ERR_INVALID for a CR, LF or NUL. Lengths are in bytes; texts
 * need no NUL. */
int response_set_status(wsc_response *r, int status, const char *reason, size_t reason_length);
int response_add_header(wsc_response *r, const char *name, size_t name_length, const char *value, size_t value_length);
int response_set_subprotocol(wsc_response *r, const char *name, size_t length);
/* Keeps at most RESPONSE_BODY_MAX bytes in all; more is dropped and no error. */
int response_add_body(wsc_response *r, const void *p, size_t n);
/* The value of the next header of that name, from header *at on, which moves behind it; NULL: no more. For going through
 * all of them: there may be thousands, and wsc_response_header begins at the first each time. */
const char *response_next_header(const wsc_response *r, const char *name, size_t *at);
int response_fill(wsc_response *to, const wsc_response *r); /* an empty one, as r is; WSC_OK or WSC_ERR_NOMEM */
wsc_response *response_copy(const wsc_response *r);         /* NULL: out of memory, or r is NULL */

#endif
