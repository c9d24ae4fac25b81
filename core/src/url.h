/* ws:// and wss:// URLs (RFC 3986, RFC 6455 section 3). */
#ifndef WSC_URL_H
#define WSC_URL_H

#include "wscengine/status.h"

struct url {
  bool secure;
  bool literal;        /* host is an IPv4 or IPv6 literal */
  uint16_t port;       /* 80 and 443 by default */
  char *host;          /* lower case, without brackets; an IPv6 zone ("fe80::1%eth0") is kept for connecting */
  char *authority;     /* for the Host header: brackets where needed, port only where it is not the default, no zone */
  char *target;        /* path and query as sent in the request line; "/" at least */
  char *authorization; /* "Basic ..." from the userinfo (percent-decoded), else NULL */
  char *shown;         /* the URL without its password, for errors, logs and spans */
  char *text;          /* as it was given, password and all: for a host adapter's dial alone */
};

/* A scheme that a URL may begin with. */
struct url_scheme {
  const char *name;
  bool secure;
  uint16_t port; /* by default */
};

/* errors: WSC_ERR_INVALID naming the part and the value (never a password), WSC_ERR_NOMEM. On failure *out is {0}. */
int url_parse(const char *text, struct url *out, wsc_error **err);
/* With other schemes than ws and wss; *which (may be NULL) is the one it had. */
int url_parse_as(const char *text, const struct url_scheme *schemes, size_t count, struct url *out, size_t *which,
                 wsc_error **err);
int url_copy(const struct url *from, struct url *out);
void url_free(struct url *u); /* accepts {0} */

/* A text that should have been a URL, or a reference like "//user@host/", for errors: up to the last '@' it may be a
 * user's name or password, which "***" stands for; cut to the size. Returns out. */
enum { URL_REDACTED_SIZE = 264 };
const char *url_redact(const char *text, char out[static URL_REDACTED_SIZE]);

#endif
