/* What a TLS context trusts and who it is, read from files; and certificates put into words. */
#ifndef WSC_TLS_TRUST_H
#define WSC_TLS_TRUST_H

#include "options.h"

#include <openssl/ssl.h>

/* Gives ctx the certificates it trusts: those of the options CA_FILE, CA_DIR, CA_PEM, or else the system's.
 * *searched (mem_free) says where they come from, for errors. errors: WSC_ERR_TLS naming file and cause,
 * WSC_ERR_NOMEM */
int trust_load(SSL_CTX *ctx, const wsc_options *o, char **searched, wsc_error **err);
/* The client certificate and its key, when there are any. Never asks for a passphrase. errors: as above */
int identity_load(SSL_CTX *ctx, const wsc_options *o, wsc_error **err);

/* Why a certificate was not accepted: which one, what is wrong with it. host: what it should have been for. */
enum { TRUST_TEXT_MAX = 1280 };
void trust_explain(X509_STORE_CTX *verified, const char *host, const char *searched, char out[static TRUST_TEXT_MAX]);

/* The first reason in OpenSSL's error queue; the queue is empty afterwards. */
enum { TLS_REASON_MAX = 256 };
const char *tls_reason(char out[static TLS_REASON_MAX]);

/* Where the system keeps its certificates. NULL: ask OpenSSL. Tests point it elsewhere. */
struct trust_places {
  const char *file, *dir;
  const char *const *bundles; /* other distributions' places, up to a NULL; tried when file and dir have nothing */
};
extern struct trust_places trust_places;

#endif
