/* The header of an HTTP/1.1 answer, from bytes: to an upgrade, or to a proxy's CONNECT. No socket, no clock. */
#ifndef WSC_ANSWER_H
#define WSC_ANSWER_H

#include "mem.h"

#include "wscengine/status.h"

enum { ANSWER_HEADER_MAX = 65536 };

/* One that waits has the first five. */
struct answer {
  const char *from, *who, *to; /* for error texts, borrowed: the URL, "the server", "the upgrade request" */
  int status;                  /* of errors: WSC_ERR_HANDSHAKE, WSC_ERR_PROXY */
  int malformed;               /* enum wsc_give_up of what is malformed; 0: none */
  struct buffer in;            /* the header so far */
  size_t line_at, scanned;     /* where its unfinished line begins, and how far it has been looked at */
  size_t interim;              /* bytes of 1xx answers that were skipped */
  wsc_response *response;      /* made when the header is whole */
};

/* n more bytes (n == 0: end of stream). *used: how many of them belong to the header. WSC_AGAIN: more is needed;
 * WSC_OK: whole, a->response; a->status: malformed, too long, cut off (the error carries what there is);
 * WSC_ERR_NOMEM. After anything but WSC_AGAIN it is not fed again. */
int answer_feed(struct answer *a, const uint8_t *p, size_t n, size_t *used, wsc_error **err);
/* An error about the answer, with its response inside. fatal: enum wsc_give_up, 0: none. Returns a->status. */
int answer_fail(struct answer *a, int fatal, wsc_error **err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void answer_free(struct answer *a); /* accepts {0}; leaves {0} */

#endif
