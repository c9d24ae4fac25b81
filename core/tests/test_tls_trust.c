/* Whom TLS trusts and what it says when it does not: every wrong file, every wrong certificate, by a server in this
 * very thread. */
#define _GNU_SOURCE
#include "error.h"
#include "mem.h"
#include "tls_trust.h"
#include "tls_world.h"

#include <sys/stat.h>

static void context_fails(wsc_options *o, const char *part, const char *part2) {
  struct tls_context *c;
  wsc_error *e = NULL;
  CHECK_EQ(tls_context_new(o, &c, &e), WSC_ERR_TLS);
  CHECK(c == NULL);
  CHECK_HAS(wsc_error_message(e), part);
  CHECK_HAS(wsc_error_message(e), part2);
  CHECK_EQ(ERR_peek_error(), 0);
  wsc_error_unref(e);
  wsc_options_free(o);
}

static void bad_files_are_named(void) {
  context_fails(with(WSC_OPT_CA_FILE, world_path("nosuch.pem"), 0, NULL), "CA_FILE /",
                "nosuch.pem: No such file or directory");
  context_fails(with(WSC_OPT_CA_FILE, world_dir, 0, NULL), "CA_FILE /", "Is a directory");
  context_fails(with(WSC_OPT_CA_FILE, world_path("empty.pem"), 0, NULL), "CA_FILE /", "there is no certificate in it");
  context_fails(with(WSC_OPT_CA_FILE, world_path("client.key"), 0, NULL), "CA_FILE /", "there is no certificate in it");
  context_fails(with(WSC_OPT_CA_FILE, world_path("damaged.pem"), 0, NULL),
                "damaged.pem: ", "certificate number 1 in it is damaged");
  context_fails(with(WSC_OPT_CA_DIR, world_path("nosuch"), 0, NULL), "CA_DIR /", "No such file or directory");
  context_fails(with(WSC_OPT_CA_DIR, world_dir, 0, NULL), "CA_DIR /", "openssl rehash");
  context_fails(with(WSC_OPT_CA_PEM, "-----BEGIN nothing", 0, NULL), "CA_PEM: ", "there is no certificate in it");
  context_fails(with(WSC_OPT_CERT_FILE, world_path("nosuch.pem"), 0, NULL), "CERT_FILE /", "No such file or directory");
  context_fails(with(WSC_OPT_CERT_FILE, world_path("client.key"), 0, NULL), "CERT_FILE /",
                "there is no certificate in it");
  context_fails(with(WSC_OPT_CERT_FILE, world_path("client.pem"), 0, NULL), "CERT_FILE (no KEY_FILE is set)",
                "there is no private key in it");
  context_fails(with(WSC_OPT_KEY_FILE, world_path("client.key"), 0, NULL), "KEY_FILE /", "without CERT_FILE");
  context_fails(with(WSC_OPT_CERT_FILE, world_path("client.pem"), WSC_OPT_KEY_FILE, world_path("nosuch")), "KEY_FILE /",
                "No such file");
  context_fails(with(WSC_OPT_CERT_FILE, world_path("client.pem"), WSC_OPT_KEY_FILE, world_path("root.pem")),
                "KEY_FILE /", "there is no private key in it");
  context_fails(with(WSC_OPT_CERT_FILE, world_path("client.pem"), WSC_OPT_KEY_FILE, world_path("good.key")),
                "KEY_FILE /", "does not belong to the certificate of CERT_FILE");
  context_fails(with(WSC_OPT_CERT_FILE, world_path("client.pem"), WSC_OPT_KEY_FILE, world_path("locked.key")),
                "KEY_FILE /", "encrypted with a passphrase, and none is asked for");
}

static void accepts(const struct identity *who, const struct identity *chain, struct tls_context *c, const char *url,
                    const char *sni) {
  struct server s;
  wsc_error *e = NULL;
  const unsigned char *alpn;
  unsigned length;
  server_new(&s, who, chain, false);
  struct tls *t = session(c, s.client_fd, url);
  int status = shake(t, &s, &e);
  if (status != WSC_OK) fprintf(stderr, "%s: %s\n", url, wsc_error_message(e));
  CHECK_EQ(status, WSC_OK);
  CHECK(s.done);
  CHECK_STR(s.sni, sni);
  SSL_get0_alpn_selected(s.ssl, &alpn, &length);
  CHECK_EQ(length, 8);
  CHECK_HAS(tls_version_text(t), "TLSv1.3, TLS_");
  CHECK_EQ(ERR_peek_error(), 0);
  tls_free(t);
  tls_context_unref(c);
  server_free(&s);
}

static void refuses(const struct identity *who, struct tls_context *c, const char *url, const char *part,
                    const char *part2) {
  struct server s;
  wsc_error *e = NULL;
  server_new(&s, who, NULL, false);
  struct tls *t = session(c, s.client_fd, url);
  CHECK_EQ(shake(t, &s, &e), WSC_ERR_TLS);
  CHECK_EQ(error_fatal(e), WSC_GIVE_UP_TLS_TRUST);
  CHECK_HAS(wsc_error_message(e), "TLS handshake with ");
  CHECK_HAS(wsc_error_message(e), ":443: ");
  CHECK_HAS(wsc_error_message(e), part);
  CHECK_HAS(wsc_error_message(e), part2);
  CHECK_EQ(ERR_peek_error(), 0);
  wsc_error_unref(e);
  tls_free(t);
  tls_context_unref(c);
  server_free(&s);
}

static void a_trusted_server_is_accepted(void) {
  accepts(&good, NULL, trusting("root.pem"), "wss://example.test/", "example.test");
  accepts(&good, NULL, trusting("root.pem"), "wss://a.wild.test/", "a.wild.test");
  accepts(&good, NULL, trusting("root.pem"), "wss://127.0.0.1/", ""); /* SNI is for names only */
  accepts(&good, NULL, trusting("root.pem"), "wss://[::1]/", "");
  accepts(&leaf, &middle, trusting("root.pem"), "wss://example.test/", "example.test");
  accepts(&leaf, NULL, trusting("middle.pem"), "wss://example.test/",
          "example.test"); /* who is named is trusted, root or not */
  accepts(&alone, NULL, trusting("alone.pem"), "wss://example.test/", "example.test");
}

static void a_bad_certificate_is_explained(void) {
  refuses(&expired, trusting("root.pem"), "wss://example.test/",
          "certificate \"CN = old\" (issuer \"CN = Test Root\") expired on 2020-01-02 03:04:05 UTC", "clock says 20");
  refuses(&future, trusting("root.pem"), "wss://example.test/", "\"CN = young\"",
          "is not valid before 2099-01-02 03:04:05 UTC");
  refuses(&elsewhere, trusting("root.pem"), "wss://example.test/",
          "is for a.other.test, 192.0.2.1, 2001:db8:0:0:0:0:0:1, not for example.test", "elsewhere");
  refuses(&elsewhere, trusting("root.pem"), "wss://192.0.2.2/", "is for a.other.test, 192.0.2.1, ",
          "not for 192.0.2.2");
  refuses(&nameless, trusting("root.pem"), "wss://example.test/", "is for no host at all", "not for example.test");
  refuses(&good, trusting("root.pem"), "wss://a.b.wild.test/", "*.wild.test", "not for a.b.wild.test");
  refuses(&good, trusting("other.pem"), "wss://example.test/",
          "issuer \"CN = Test Root\" of certificate \"CN = good\" is not trusted; searched CA_FILE ", "other.pem");
  refuses(&alone, trusting("root.pem"), "wss://example.test/",
          "\"CN = alone\" is signed by itself and not trusted; searched CA_FILE", "root.pem");
  refuses(&leaf, trusting("root.pem"), "wss://example.test/", "issuer \"CN = Middle\"",
          "(1 certificate: is an intermediate one missing there?)");
}

/* leaf < lower < middle < root, sent in the wrong order, beside a certificate that belongs to nobody. */
static void a_misordered_chain_is_put_in_order(void) {
  struct server s;
  wsc_error *e = NULL;
  struct identity lower = make_identity(&(struct wish){.subject = "Lower", .ca = true, .issuer = &middle});
  struct identity low = make_identity(&(struct wish){.subject = "low", .issuer = &lower, .names = "DNS:example.test"});
  struct tls_context *c = trusting("root.pem");
  server_new(&s, &low, &middle, false);
  CHECK_EQ(SSL_CTX_add1_chain_cert(s.ctx, other_root.certificate), 1);
  CHECK_EQ(SSL_CTX_add1_chain_cert(s.ctx, lower.certificate), 1);
  struct tls *t = session(c, s.client_fd, "wss://example.test/");
  CHECK_EQ(shake(t, &s, &e), WSC_OK);
  CHECK(s.done);
  tls_free(t);
  tls_context_unref(c);
  server_free(&s);
  free_identity(&low);
  free_identity(&lower);
}

static void a_version_too_old_is_told(void) {
  struct server s;
  wsc_error *e = NULL;
  struct tls_context *c = context_of(with(WSC_OPT_CA_FILE, world_path("root.pem"), WSC_OPT_TLS_MIN_VERSION, "1.3"));
  server_new(&s, &good, NULL, false);
  CHECK_EQ(SSL_CTX_set_max_proto_version(s.ctx, TLS1_2_VERSION), 1);
  struct tls *t = session(c, s.client_fd, "wss://example.test/");
  CHECK_EQ(shake(t, &s, &e), WSC_ERR_TLS);
  CHECK(s.failed);
  CHECK_HAS(wsc_error_message(e), "TLS handshake with example.test:443: ");
  CHECK_HAS(wsc_error_message(e),
            "alert \"protocol version\" (70); we speak TLS 1.3 only, as TLS_MIN_VERSION wants it");
  CHECK_EQ(error_fatal(e), 0);
  CHECK_EQ(ERR_peek_error(), 0);
  wsc_error_unref(e);
  tls_free(t);
  tls_context_unref(c);
  server_free(&s);
}

static void certificates_may_come_as_text_or_directory(void) {
  char pem[4096], name[64];
  FILE *f = fopen(world_path("root.pem"), "r");
  pem[fread(pem, 1, sizeof pem - 1, f)] = 0;
  fclose(f);
  accepts(&good, NULL, context_of(with(WSC_OPT_CA_PEM, pem, 0, NULL)), "wss://example.test/", "example.test");
  refuses(&alone, context_of(with(WSC_OPT_CA_PEM, pem, 0, NULL)), "wss://example.test/", "searched CA_PEM", "");
  snprintf(name, sizeof name, "hashed/%08lx.0", X509_subject_name_hash(root.certificate));
  CHECK_EQ(mkdir(world_path("hashed"), 0700), 0);
  save_certificate(name, "w", &root);
  accepts(&good, NULL, context_of(with(WSC_OPT_CA_DIR, world_path("hashed"), 0, NULL)), "wss://example.test/",
          "example.test");
  accepts(&alone, NULL,
          context_of(with(WSC_OPT_CA_DIR, world_path("hashed"), WSC_OPT_CA_FILE, world_path("alone.pem"))),
          "wss://example.test/", "example.test");
}

static SSL_CTX *loaded(int id, const char *value) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  wsc_options *o = with(id, value, 0, NULL);
  char *searched;
  CHECK_EQ(trust_load(ctx, o, &searched, NULL), WSC_OK);
  mem_free(searched);
  wsc_options_free(o);
  return ctx;
}

/* A fleet with a CA of its own loads it once; what the file says now counts, not what it said then. */
static void the_same_trust_is_loaded_once(void) {
  const struct {
    int id;
    const char *value;
    bool grown, same;
  } steps[] = {{WSC_OPT_CA_FILE, "fleet.pem", false, true}, {WSC_OPT_CA_FILE, "fleet.pem", true, false},
               {WSC_OPT_CA_FILE, "fleet.pem", false, true}, {WSC_OPT_CA_FILE, "root.pem", false, false},
               {WSC_OPT_CA_DIR, "hashed", false, false},    {WSC_OPT_CA_DIR, "hashed", false, true}};
  save_certificate("fleet.pem", "w", &root);
  SSL_CTX *last = loaded(WSC_OPT_CA_FILE, world_path("fleet.pem"));
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    if (steps[i].grown) save_certificate("fleet.pem", "a", &other_root);
    SSL_CTX *now = loaded(steps[i].id, world_path(steps[i].value));
    CHECK_EQ(SSL_CTX_get_cert_store(now) == SSL_CTX_get_cert_store(last), steps[i].same);
    SSL_CTX_free(last);
    last = now;
  }
  SSL_CTX_free(last);
  accepts(&good, NULL, context_of(with(WSC_OPT_CA_FILE, world_path("root.pem"), 0, NULL)), "wss://example.test/",
          "example.test");
  refuses(&good, context_of(with(WSC_OPT_CA_FILE, world_path("other.pem"), 0, NULL)), "wss://example.test/",
          "searched CA_FILE /", "other.pem");
}

static void insecure_accepts_anything_and_only_when_asked(void) {
  wsc_options *o = wsc_options_new();
  wsc_options_set_int(o, WSC_OPT_INSECURE, 1);
  accepts(&expired, NULL, context_of(o), "wss://not.its.name.test/", "not.its.name.test");
}

/* ---- the system's trust
 * -------------------------------------------------------------------------------------------- */

static void the_systems_trust_is_found(void) {
  char nothing[128], bundle[128];
  const char *const places[] = {nothing, bundle, NULL};
  snprintf(nothing, sizeof nothing, "%s", world_path("nosuch.crt"));
  snprintf(bundle, sizeof bundle, "%s", world_path("bundle.crt"));
  struct trust_places before = trust_places;
  trust_places = (struct trust_places){nothing, nothing, places};
  unsetenv("SSL_CERT_FILE");
  unsetenv("SSL_CERT_DIR");
  context_fails(wsc_options_new(), "no certificates to trust; searched ", "nosuch.crt (No such file or directory)");
  save_certificate("bundle.crt", "w", &root); /* another distribution's place */
  accepts(&good, NULL, context_of(wsc_options_new()), "wss://example.test/", "example.test");
  refuses(&alone, context_of(wsc_options_new()), "wss://example.test/", "nosuch.crt (No such file or directory), ",
          "bundle.crt");

  save_certificate("bundle.crt", "a", &alone); /* the shared store notices that the file has changed */
  accepts(&alone, NULL, context_of(wsc_options_new()), "wss://example.test/", "example.test");

  setenv("SSL_CERT_FILE", world_path("other.pem"), 1); /* who sets it means it: the bundle is not looked at */
  refuses(&good, context_of(wsc_options_new()), "wss://example.test/", "searched SSL_CERT_FILE=/", "other.pem, ");
  setenv("SSL_CERT_FILE", world_path("root.pem"), 1);
  accepts(&good, NULL, context_of(wsc_options_new()), "wss://example.test/", "example.test");
  setenv("SSL_CERT_FILE", world_path("nosuch.pem"), 1);
  context_fails(wsc_options_new(), "searched SSL_CERT_FILE=/", "nosuch.pem (No such file or directory), ");
  setenv("SSL_CERT_DIR", world_path("hashed"), 1);
  accepts(&good, NULL, context_of(wsc_options_new()), "wss://example.test/", "example.test");
  unsetenv("SSL_CERT_FILE");
  unsetenv("SSL_CERT_DIR");
  trust_places = before;
}

/* ---- client certificates
 * ------------------------------------------------------------------------------------------- */

static void a_client_certificate_is_shown_when_asked(void) {
  struct server s;
  wsc_options *o = with(WSC_OPT_CERT_FILE, world_path("client.pem"), WSC_OPT_KEY_FILE, world_path("client.key"));
  wsc_options_set_str(o, WSC_OPT_CA_FILE, world_path("root.pem"));
  struct tls_context *contexts[] = {context_of(o), context_of(with(WSC_OPT_CERT_FILE, world_path("both.pem"),
                                                                   WSC_OPT_CA_FILE, world_path("root.pem")))};
  for (int i = 0; i < 2; i++) {
    server_new(&s, &good, NULL, true);
    struct tls *t = session(contexts[i], s.client_fd, "wss://example.test/");
    CHECK_EQ(shake(t, &s, NULL), WSC_OK);
    CHECK(s.done);
    X509 *shown = SSL_get1_peer_certificate(s.ssl);
    CHECK_EQ(X509_cmp(shown, client.certificate), 0);
    X509_free(shown);
    tls_free(t);
    tls_context_unref(contexts[i]);
    server_free(&s);
  }
}

static void a_missing_client_certificate_is_told(void) {
  for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
    struct server s;
    wsc_error *e = NULL;
    char c;
    struct tls_context *context = trusting("root.pem");
    server_new(&s, &good, NULL, true);
    SSL_CTX_set_max_proto_version(s.ctx, version);
    struct tls *t = session(context, s.client_fd, "wss://example.test/");
    int status = shake(t, &s, &e);
    const char *text = wsc_error_message(e);
    CHECK(s.failed);
    if (version == TLS1_3_VERSION) { /* there the client is done before the server has judged it */
      CHECK_EQ(status, WSC_OK);
      CHECK_EQ(tls_read(t, &c, 1), -EPROTO);
      CHECK_EQ(tls_read(t, &c, 1), -EPROTO); /* it stays so */
      CHECK_EQ(tls_write(t, "x", 1), -EPROTO);
      text = tls_error_text(t);
    } else {
      CHECK_EQ(status, WSC_ERR_TLS);
      CHECK_EQ(error_fatal(e), 0);
    }
    CHECK_HAS(text, "the server ended it with the alert \"");
    CHECK_HAS(text, "it wants a client certificate: set CERT_FILE and KEY_FILE");
    wsc_error_unref(e);
    tls_free(t);
    tls_context_unref(context);
    server_free(&s);
  }
}

/* ---- servers that are none
 * ----------------------------------------------------------------------------------------- */

static void handshake_ends(const char *bytes, size_t n, int want, const char *part) {
  int fds[2];
  wsc_error *e = NULL;
  struct tls_context *c = trusting("root.pem");
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  struct tls *t = session(c, fds[1], "wss://[2001:db8::1]:8443/");
  CHECK_EQ(tls_handshake(t, &e), WSC_AGAIN);
  CHECK_EQ(write(fds[0], bytes, n), n);
  shutdown(fds[0], SHUT_WR);
  CHECK_EQ(tls_handshake(t, &e), want);
  CHECK_HAS(wsc_error_message(e), "TLS handshake with [2001:db8::1]:8443: ");
  CHECK_HAS(wsc_error_message(e), part);
  CHECK_EQ(error_fatal(e), 0);
  wsc_error_unref(e);
  tls_free(t);
  tls_context_unref(c);
  close(fds[0]);
  close(fds[1]);
}

static void what_is_not_tls_is_shown(void) {
  handshake_ends("HTTP/1.1 400 Bad\r\n\r\n", 20, WSC_ERR_TLS,
                 "does not speak TLS, it began with \"HTTP/1.1 400 Bad\\x0d\\x0a\\x0d\\x0a\"");
  handshake_ends("", 0, WSC_ERR_IO, "the server closed the connection");
  handshake_ends("\x15\x03\x03\x00\x02\x02\x46", 7, WSC_ERR_TLS,
                 "alert \"protocol version\" (70); we speak TLS 1.2 and later");
  handshake_ends("\x15\x03\x03\x00\x02\x02\x28", 7, WSC_ERR_TLS, "alert \"handshake failure\" (40)");
}

int main(void) {
  make_world();
  bad_files_are_named();
  a_trusted_server_is_accepted();
  a_bad_certificate_is_explained();
  a_misordered_chain_is_put_in_order();
  a_version_too_old_is_told();
  certificates_may_come_as_text_or_directory();
  the_same_trust_is_loaded_once();
  insecure_accepts_anything_and_only_when_asked();
  the_systems_trust_is_found();
  a_client_certificate_is_shown_when_asked();
  a_missing_client_certificate_is_told();
  what_is_not_tls_is_shown();
  end_world();
  return 0;
}
