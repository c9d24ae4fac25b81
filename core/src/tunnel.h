/* What is said to a proxy until it only passes bytes on: HTTP's CONNECT (RFC 9110 section 9.3.6), SOCKS5 (RFC 1928, RFC
 * 1929). Bytes in, bytes out: no socket, no clock. */
#ifndef WSC_TUNNEL_H
#define WSC_TUNNEL_H

#include "answer.h"
#include "proxy.h"
#include "resolve.h"

enum tunnel_step { TUNNEL_CONNECT, TUNNEL_GREETING, TUNNEL_LOGIN, TUNNEL_REQUEST };

struct tunnel {
  const struct proxy *proxy; /* borrowed, like the next two */
  const struct url *target;
  const struct address *address; /* of the target; NULL: the proxy looks it up */
  enum tunnel_step step;
  struct answer answer; /* of CONNECT */
  uint8_t reply[262];   /* of SOCKS, so far */
  size_t length;
  char from[300];
};

/* Appends the first bytes for the proxy to out. errors: WSC_ERR_NOMEM */
int tunnel_begin(struct tunnel *t, const struct proxy *p, const struct url *target, const struct address *address,
                 struct buffer *out, wsc_error **err);
/* n more bytes of the proxy (n == 0: end of stream). WSC_AGAIN: more is needed, and out may have more for it; WSC_OK: the
 * tunnel stands; WSC_ERR_PROXY (with the answer's response, for CONNECT), WSC_ERR_PROXY_AUTH: the same, for 407 and a
 * refused login; WSC_ERR_NOMEM. Bytes behind the proxy's last word are an error: nobody speaks before we do. */
int tunnel_feed(struct tunnel *t, const uint8_t *p, size_t n, struct buffer *out, wsc_error **err);
const char *tunnel_step_name(const struct tunnel *t); /* "waiting for the proxy's answer to CONNECT" */
void tunnel_free(struct tunnel *t);                   /* accepts {0}; leaves {0} */

#endif
