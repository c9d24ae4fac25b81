/* The HTTP/1.1 upgrade (RFC 6455 section 4): the request as bytes, the answer from bytes. No socket, no clock. */
#ifndef WSC_HANDSHAKE_H
#define WSC_HANDSHAKE_H

#include "answer.h"
#include "extension.h"
#include "refusal.h"
#include "url.h"

struct wsc_response; /* response.h: status, reason, headers, body, subprotocol */

enum { HANDSHAKE_BODY_MAX = 65536 };

struct handshake {
  char key[25]; /* Sec-WebSocket-Key, base64 */
  char *shown;  /* the URL, for error texts */
  struct answer answer;
  bool refused; /* reading the body of a refusal */
  struct refusal_body body;
  struct deflate_terms terms; /* of an accepted upgrade */
};

/* Appends the request to out and begins to wait for its answer. errors: WSC_ERR_NOMEM, WSC_ERR_IO (no random bytes);
 * out is as it was */
int handshake_begin(struct handshake *h, const struct url *u, const wsc_options *o, struct buffer *out,
                    wsc_error **err);

/* n more bytes of the answer (n == 0: end of stream). *used: how many of them belong to the answer; the rest are
 * frames. WSC_AGAIN: more is needed; WSC_OK: accepted, h->answer.response; WSC_ERR_HANDSHAKE: refused or malformed: the
 * error carries the response (also http_status, error_fatal, error_retry_after_ms) and says which header is wrong
 * how; WSC_ERR_TOO_BIG is folded into it. WSC_ERR_NOMEM. When the time is up while h->refused, feed n == 0: the
 * refusal is then told with the body that has come, which says more than a timeout. After anything but WSC_AGAIN it
 * is not fed again. */
int handshake_feed(struct handshake *h, const wsc_options *o, const uint8_t *p, size_t n, size_t *used,
                   wsc_error **err);
void handshake_free(struct handshake *h); /* accepts {0}; leaves {0} */

#endif
