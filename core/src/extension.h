/* Negotiating permessage-deflate (RFC 7692 section 7.1), the one extension there is: text both ways, no zlib here. */
#ifndef WSC_EXTENSION_H
#define WSC_EXTENSION_H

#include "mem.h"
#include "options.h"

/* What was agreed on. client: what we send, server: what we receive. */
struct deflate_terms {
  bool on, client_forgets, server_forgets; /* forgets: no context takeover */
  int client_bits, server_bits;            /* log2 of the largest window, 8 to 15 */
};

/* Appends the value of Sec-WebSocket-Extensions that o asks for. WSC_OK, WSC_ERR_NOMEM. Call it if COMPRESSION is on. */
int extension_offer(struct buffer *out, const wsc_options *o);

/* One Sec-WebSocket-Extensions of the answer (there may be several: t begins as {0} and goes on). false: it must be
 * refused (section 7.1: what was not offered, what was asked for and not granted, malformed, twice), why says for what. */
enum { EXTENSION_WHY = 128 };
bool extension_accept(struct deflate_terms *t, const wsc_options *o, const char *value, char why[static EXTENSION_WHY]);

#endif
