/* Which proxy to take: what the option PROXY says, else the environment by curl's rules. */
#ifndef WSC_PROXY_H
#define WSC_PROXY_H

#include "options.h"
#include "url.h"

enum proxy_kind { PROXY_NONE, PROXY_HTTP, PROXY_HTTPS, PROXY_SOCKS5, PROXY_SOCKS5H };

struct proxy {
  enum proxy_kind kind;
  struct url url; /* host, port, authorization; secure for PROXY_HTTPS; shown for error texts */
};

/* "http://user:password@host:port"; without a scheme it is http. errors: WSC_ERR_INVALID, WSC_ERR_NOMEM; *out is {0}. */
int proxy_parse(const char *text, struct proxy *out, wsc_error **err);
/* For target. With the option or the variable that says it in the error's text. errors: as proxy_parse */
int proxy_choose(const wsc_options *o, const struct url *target, struct proxy *out, wsc_error **err);
void proxy_free(struct proxy *p); /* accepts {0}; leaves {0} */

/* Whether no_proxy, a list as in the variable of that name, names the host (a name, or an address without brackets and zone):
 * "*", names with everything below them, addresses, networks as 192.0.2.0/24. */
bool proxy_is_excepted(const char *no_proxy, const char *host);

#endif
