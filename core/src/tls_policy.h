/* How TLS is spoken: versions, ciphers, protocols, pinned keys, the key log, and sessions that are gone on with. */
#ifndef WSC_TLS_POLICY_H
#define WSC_TLS_POLICY_H

#include "options.h"
#include "tls_trust.h"

/* Shared by all sessions of a context, thread-safe. */
struct tls_policy;
/* Sets ctx up. errors: WSC_ERR_TLS naming the option and what is wrong with it, WSC_ERR_NOMEM */
int policy_new(SSL_CTX *ctx, const wsc_options *o, struct tls_policy **out, wsc_error **err);
void policy_free(struct tls_policy *p); /* accepts NULL */

const char *policy_server_name(const struct tls_policy *p); /* NULL: the URL's host */
/* Whether the server's key is one of those that are pinned, if any are; false: why says which key it has. */
bool policy_accepts_key(const struct tls_policy *p, X509 *leaf, char why[static TRUST_TEXT_MAX]);
void policy_log_key(const struct tls_policy *p, const char *line);

/* The session of the last connection to peer, to be resumed by the next, once: RFC 8446 section C.4 wants it so, and who
 * is refused with it comes back without. A proxy on the way has one of its own: it was checked differently. keep takes
 * the reference over when it says true; take gives one, or NULL. */
bool policy_keep(struct tls_policy *p, bool proxy, const char *peer, SSL_SESSION *s);
SSL_SESSION *policy_take(struct tls_policy *p, bool proxy, const char *peer);

/* "sha256//" and 32 bytes in base64, as curl writes them. */
bool policy_read_pin(const char *text, uint8_t digest[static 32]);

#endif
