/* An answer that is no 101: how its body ends, and what the user is told. */
#ifndef WSC_REFUSAL_H
#define WSC_REFUSAL_H

#include "response.h"
#include "wscengine/connection.h"

enum refusal_body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_STREAM };
enum chunk_state { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER, CHUNK_TRAILER_LINE };

/* Where in the body we are. */
struct refusal_body {
  enum refusal_body_kind kind;
  enum chunk_state state;
  uint64_t left; /* of the body (BODY_LENGTH), of the chunk, or its size so far */
  bool digits;   /* the chunk size has at least one */
};

/* Reads from the headers how the body ends. */
void refusal_begin(struct refusal_body *b, const wsc_response *r);
/* Adds n more bytes to r's body. WSC_OK: it is whole, or as much as is kept; WSC_AGAIN: more is to come;
 * WSC_ERR_NOMEM. A body that is not what its headers said ends where that shows: what was said before it is worth
 * more than an error. */
int refusal_feed(struct refusal_body *b, wsc_response *r, const uint8_t *p, size_t n);
/* The error of a refusal, with r inside (taken over), as is the reference of cause (may be NULL): WSC_ERR_HANDSHAKE. */
int refusal_error(wsc_response *r, const char *url, wsc_error *cause, wsc_error **err);

/* Of a 429 or 503: in ms, -1: none or unreadable. A date counts from the answer's own Date, so that the two clocks
 * need not agree; without one, from now_unix_s. */
int64_t refusal_retry_after_ms(const wsc_response *r, int64_t now_unix_s);
/* Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 section 5.6.7), -1: it is none. */
int64_t refusal_http_date(const char *text);

#endif
