/* TLS by OpenSSL 3 over a socket that is already connected and non-blocking. */
#ifndef WSC_TLS_H
#define WSC_TLS_H

#include "options.h"
#include "url.h"

#include <sys/types.h>

/* Trust, certificates and settings of one engine or connection, made once from its options and shared by its sessions.
 * errors: WSC_ERR_TLS naming the file and what is wrong with it, WSC_ERR_NOMEM */
struct tls_context;
int tls_context_new(const wsc_options *o, struct tls_context **out, wsc_error **err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);

/* One session over fd (borrowed), or over another session (under, else NULL; taken over on success: TLS through a proxy that
 * is itself reached by TLS). SNI and host check from
 * url; what the options say of the server's name and keys is not for a proxy. Not thread-safe: the caller's lock covers every call.
 * handshake  WSC_OK, WSC_AGAIN (edge-triggered caller: try again when the socket is ready either way), WSC_ERR_TLS (the
 *            error says which host, which certificate (subject, issuer), what is wrong with it, which trust was
 *            searched; error_fatal WSC_GIVE_UP_TLS_TRUST), WSC_ERR_IO
 * read/write bytes (> 0), 0: end of stream (read), -EAGAIN, another -errno; -EPROTO: a TLS failure (tls_error_text).
 *            An end or an error stays: later calls answer the same. A write behaves like a socket's: after -EAGAIN
 *            something else may be offered, after a short count what is offered next begins with the first byte not
 *            counted (it may be under way already). Only a lone byte that met -EAGAIN must be offered again
 * pending    true when a read may give bytes without a new event of the socket; false after a read's -EAGAIN
 * shutdown   sends close_notify if it can without waiting */
struct tls;
int tls_new(struct tls_context *c, int fd, struct tls *under, const struct url *u, bool proxy, struct tls **out,
            wsc_error **err);
int tls_handshake(struct tls *t, wsc_error **err);
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
bool tls_pending(const struct tls *t);
const char *tls_error_text(const struct tls *t);
const char *tls_version_text(const struct tls *t); /* "TLSv1.3, TLS_AES_256_GCM_SHA384" for logs */
void tls_shutdown(struct tls *t);
void tls_free(struct tls *t); /* never touches the socket; accepts NULL */

#endif
