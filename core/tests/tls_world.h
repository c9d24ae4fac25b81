/* The other side of TLS for tests: certificates made on the spot, and a server that lives in the test's own thread. */
#ifndef WSC_TLS_WORLD_H
#define WSC_TLS_WORLD_H

#include "check.h"
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

static char world_dir[] = "/tmp/wsc-tls-XXXXXX";

/* A path in the test's own directory; a few are valid at a time. */
static inline const char *world_path(const char *name) {
  static char paths[8][128];
  static int next;
  char *out = paths[next++ % 8];
  snprintf(out, sizeof paths[0], "%s/%s", world_dir, name);
  return out;
}

static inline void world_write(const char *name, const char *text) {
  FILE *f = fopen(world_path(name), "w");
  CHECK(f != NULL);
  fputs(text, f);
  fclose(f);
}

struct identity {
  EVP_PKEY *key;
  X509 *certificate;
};

struct wish {
  const char *subject, *names;   /* names: as openssl's subjectAltName, NULL: none */
  const char *from, *until;      /* "20200102030405Z", NULL: around now */
  const struct identity *issuer; /* NULL: itself */
  bool ca;
};

static inline void add_extension(X509 *x, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
  X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  CHECK(e != NULL);
  CHECK_EQ(X509_add_ext(x, e, -1), 1);
  X509_EXTENSION_free(e);
}

static inline struct identity make_identity(const struct wish *w) {
  static long serial = 1;
  struct identity i = {EVP_EC_gen("P-256"), X509_new()};
  CHECK(i.key != NULL && i.certificate != NULL);
  X509 *x = i.certificate, *issuer = w->issuer ? w->issuer->certificate : x;
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)w->subject, -1, -1,
                             0);
  X509_set_issuer_name(x, X509_get_subject_name(issuer));
  if (w->from) CHECK_EQ(ASN1_TIME_set_string_X509(X509_getm_notBefore(x), w->from), 1);
  else X509_gmtime_adj(X509_getm_notBefore(x), -24 * 3600);
  if (w->until) CHECK_EQ(ASN1_TIME_set_string_X509(X509_getm_notAfter(x), w->until), 1);
  else X509_gmtime_adj(X509_getm_notAfter(x), 24 * 3600);
  X509_set_pubkey(x, i.key);
  add_extension(x, issuer, NID_subject_key_identifier, "hash");
  add_extension(x, issuer, NID_basic_constraints, w->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (w->names) add_extension(x, issuer, NID_subject_alt_name, w->names);
  CHECK(X509_sign(x, w->issuer ? w->issuer->key : i.key, EVP_sha256()) > 0);
  return i;
}

static inline void free_identity(struct identity *i) {
  EVP_PKEY_free(i->key);
  X509_free(i->certificate);
}

static inline void save_certificate(const char *name, const char *mode, const struct identity *i) {
  FILE *f = fopen(world_path(name), mode);
  CHECK(f != NULL);
  CHECK_EQ(PEM_write_X509(f, i->certificate), 1);
  fclose(f);
}

static inline void save_key(const char *name, const char *mode, const struct identity *i, const char *passphrase) {
  FILE *f = fopen(world_path(name), mode);
  CHECK(f != NULL);
  CHECK_EQ(PEM_write_PrivateKey(f, i->key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                                (void *)(uintptr_t)passphrase),
           1);
  fclose(f);
}

/* The server */

struct server {
  SSL_CTX *ctx;
  SSL *ssl;
  int fd, client_fd;
  bool done, failed;
  char sni[256];
};

static inline int note_sni(SSL *ssl, int *alert, void *self) {
  (void)alert;
  struct server *s = self;
  const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  snprintf(s->sni, sizeof s->sni, "%s", name ? name : "");
  return SSL_TLSEXT_ERR_OK;
}

static inline int choose_http(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                              unsigned length, void *self) {
  (void)ssl, (void)self;
  static const unsigned char http[] = "\x08http/1.1";
  return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_length, http, 9, in, length) ==
                 OPENSSL_NPN_NEGOTIATED
             ? SSL_TLSEXT_ERR_OK
             : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static inline int take_any(int ok, X509_STORE_CTX *c) {
  (void)ok, (void)c;
  return 1;
}

/* chain: an intermediate certificate to send along, or NULL. s stays where it is until server_free. */
static inline void server_new(struct server *s, const struct identity *i, const struct identity *chain,
                              bool wants_client) {
  int fds[2];
  *s = (struct server){0};
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  s->fd = fds[0];
  s->client_fd = fds[1];
  s->ctx = SSL_CTX_new(TLS_server_method());
  CHECK_EQ(SSL_CTX_use_certificate(s->ctx, i->certificate), 1);
  CHECK_EQ(SSL_CTX_use_PrivateKey(s->ctx, i->key), 1);
  if (chain) CHECK_EQ(SSL_CTX_add1_chain_cert(s->ctx, chain->certificate), 1);
  else SSL_CTX_set_mode(s->ctx, SSL_MODE_NO_AUTO_CHAIN);
  if (wants_client) SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, take_any);
  SSL_CTX_set_tlsext_servername_callback(s->ctx, note_sni);
  SSL_CTX_set_tlsext_servername_arg(s->ctx, s);
  SSL_CTX_set_alpn_select_cb(s->ctx, choose_http, NULL);
  SSL_CTX_set_mode(s->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* One more step of its handshake. */
static inline void server_step(struct server *s) {
  if (!s->ssl) {
    s->ssl = SSL_new(s->ctx);
    CHECK_EQ(SSL_set_fd(s->ssl, s->fd), 1);
    SSL_set_accept_state(s->ssl);
  }
  if (s->done || s->failed) return;
  ERR_clear_error();
  int r = SSL_do_handshake(s->ssl);
  int e = SSL_get_error(s->ssl, r);
  s->done = r == 1;
  s->failed = r != 1 && e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE;
  ERR_clear_error();
}

static inline void server_free(struct server *s) {
  SSL_free(s->ssl);
  SSL_CTX_free(s->ctx);
  if (s->fd >= 0) close(s->fd);
  if (s->client_fd >= 0) close(s->client_fd);
}

/* Everybody there is */

static struct identity root, other_root, middle, good, expired, future, elsewhere, nameless, leaf, alone, client;

static inline void remove_world(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", world_dir);
  if (system(command) != 0) fprintf(stderr, "failed: %s\n", command);
}

static inline void make_world(void) {
  CHECK(mkdtemp(world_dir) != NULL);
  atexit(remove_world);
  root = make_identity(&(struct wish){.subject = "Test Root", .ca = true});
  other_root = make_identity(&(struct wish){.subject = "Other Root", .ca = true});
  middle = make_identity(&(struct wish){.subject = "Middle", .ca = true, .issuer = &root});
  good = make_identity(&(struct wish){.subject = "good",
                                      .issuer = &root,
                                      .names = "DNS:example.test,DNS:*.wild.test,DNS:localhost,IP:127.0.0.1,IP:::1"});
  expired = make_identity(&(struct wish){.subject = "old",
                                         .issuer = &root,
                                         .names = "DNS:example.test",
                                         .from = "20190101000000Z",
                                         .until = "20200102030405Z"});
  future = make_identity(&(struct wish){.subject = "young",
                                        .issuer = &root,
                                        .names = "DNS:example.test",
                                        .from = "20990102030405Z",
                                        .until = "21000101000000Z"});
  elsewhere = make_identity(
      &(struct wish){.subject = "elsewhere", .issuer = &root, .names = "DNS:a.other.test,IP:192.0.2.1,IP:2001:db8::1"});
  nameless = make_identity(&(struct wish){.subject = "nobody here", .issuer = &root});
  leaf = make_identity(&(struct wish){.subject = "leaf", .issuer = &middle, .names = "DNS:example.test"});
  alone = make_identity(&(struct wish){.subject = "alone", .names = "DNS:example.test"});
  client = make_identity(&(struct wish){.subject = "our client", .issuer = &root});
  save_certificate("root.pem", "w", &root);
  save_certificate("other.pem", "w", &other_root);
  save_certificate("middle.pem", "w", &middle);
  save_certificate("alone.pem", "w", &alone);
  save_certificate("good.pem", "w", &good);
  save_key("good.key", "w", &good, NULL);
  save_certificate("client.pem", "w", &client);
  save_key("client.key", "w", &client, NULL);
  save_key("locked.key", "w", &client, "secret");
  save_certificate("both.pem", "w", &client);
  save_key("both.pem", "a", &client, NULL);
  world_write("empty.pem", "");
  world_write("damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
}

static inline void end_world(void) {
  struct identity *all[] = {&root,      &other_root, &middle, &good,  &expired, &future,
                            &elsewhere, &nameless,   &leaf,   &alone, &client};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free_identity(all[i]);
}

static inline wsc_options *with(int id, const char *value, int id2, const char *value2) {
  wsc_options *o = wsc_options_new();
  if (id) CHECK_EQ(wsc_options_set_str(o, id, value), WSC_OK);
  if (id2) CHECK_EQ(wsc_options_set_str(o, id2, value2), WSC_OK);
  return o;
}

static inline struct tls_context *context_of(wsc_options *o) {
  struct tls_context *c;
  wsc_error *e = NULL;
  if (tls_context_new(o, &c, &e) != WSC_OK) fprintf(stderr, "%s\n", wsc_error_message(e));
  CHECK(c != NULL);
  wsc_options_free(o);
  return c;
}

static inline struct tls_context *trusting(const char *file) {
  return context_of(with(WSC_OPT_CA_FILE, world_path(file), 0, NULL));
}

static inline struct tls *session(struct tls_context *c, int fd, const char *url) {
  struct url u;
  struct tls *t;
  CHECK_EQ(url_parse(url, &u, NULL), WSC_OK);
  CHECK_EQ(tls_new(c, fd, NULL, &u, false, &t, NULL), WSC_OK);
  url_free(&u);
  return t;
}

/* Both sides by turns, until the client knows and the server has caught up. */
static inline int shake(struct tls *t, struct server *s, wsc_error **err) {
  int status;
  while ((status = tls_handshake(t, err)) == WSC_AGAIN) server_step(s);
  for (int i = 0; i < 10 && status == WSC_OK && !s->done && !s->failed; i++) server_step(s);
  return status;
}

#endif
