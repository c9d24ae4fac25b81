/* TLS sessions.
 *
 * OpenSSL meets the socket through a BIO of our own, which sends by os_io (never a SIGPIPE) and, when the socket is
 * full, keeps what a record has left over in `unsent` and calls it sent. So SSL_write always ends well, no
 * half-written record hangs between two calls, and OpenSSL's rule that a write be repeated unchanged never reaches
 * the caller. In exchange a record may be under way that the caller must come back for: tls_write then counts all of
 * it but the last byte, remembers that byte as `ahead`, and skips it when it is offered again. A caller that has
 * bytes left waits for the socket and comes back; nothing can get stuck.
 *
 * Renegotiation is refused: with it a write could wait for a read, and no edge would wake it. TLS 1.3 has none.
 * Read-ahead is on: a recv takes what there is, often several records. What is left in OpenSSL's buffer may be half
 * a record, which no read can give: `drained` says that the last read came to that, so that tls_pending does not
 * keep a loop spinning. */
#define _GNU_SOURCE
#include "tls.h"

#include "ascii.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "tls_policy.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
  READ_BUFFER = 65536,
  RECORD_MAX = 16384,
  UNSENT_MOST =
      128 * 1024, /* a record is far less; answers to a peer that does not read them (key updates) would be more */
  TAKEN_MOST = 256 * 1024 /* likewise a record with a few tickets before it, or a chain of certificates */
};

struct tls_context {
  atomic_uint refs;
  SSL_CTX *ctx;
  struct tls_policy *policy;
  char *searched; /* what is trusted, in words */
};

struct tls {
  struct tls_context *context;
  SSL *ssl;
  struct tls *under; /* what carries the records; NULL: the socket */
  int fd;
  int os_error; /* of the socket, at the latest call */
  bool at_end;  /* the socket's stream has ended */
  bool established, drained, closing;
  bool read_ended;      /* a read has given 0 */
  size_t taken;         /* from the socket, by the latest call */
  const char *offence;  /* what the peer does to wear us out, in words; NULL: nothing */
  int failed;           /* an errno: the session is dead */
  size_t ahead;         /* bytes under way that the caller was not told of: 0 or 1 */
  struct buffer unsent; /* of a record that the socket did not take whole */
  bool certificate_wanted, insecure, proxy;
  uint8_t first[24]; /* the server's first bytes */
  size_t first_length;
  char peer[280]; /* "example.org:443" */
  char host[260]; /* as the certificate should name it */
  char *verdict;  /* TRUST_TEXT_MAX: why the certificate is not accepted; until it is */
  char text[512];
  char version[96];
};

/* The socket as a BIO */

static ssize_t lower_send(struct tls *t, const void *p, size_t n) {
  if (t->under) return tls_write(t->under, p, n);
  struct iovec iov = {(void *)(uintptr_t)p, n};
  return os_io.sendv(t->fd, &iov, 1);
}

static ssize_t lower_recv(struct tls *t, void *p, size_t n) {
  if (t->under) return tls_read(t->under, p, n);
  struct iovec iov = {p, n};
  return os_io.recvv(t->fd, &iov, 1);
}

static int flush(struct tls *t) {
  while (t->unsent.length > 0) {
    ssize_t n = lower_send(t, t->unsent.data, t->unsent.length);
    if (n < 0) return (int)n;
    buffer_consume(&t->unsent, (size_t)n);
  }
  buffer_free(&t->unsent);
  return 0;
}

static int bio_write(BIO *b, const char *p, int n) {
  struct tls *t = BIO_get_data(b);
  BIO_clear_retry_flags(b);
  if (n <= 0) return n;
  size_t at = 0, length = (size_t)n;
  int status = flush(t);
  while (status == 0 && at < length) {
    ssize_t sent = lower_send(t, p + at, length - at);
    if (sent < 0) status = (int)sent;
    else at += (size_t)sent;
  }
  if (status == -EAGAIN && t->unsent.length + length - at > UNSENT_MOST) {
    t->offence = "wants answer upon answer and does not read them";
    status = -EPROTO;
  }
  if (status == -EAGAIN) status = buffer_append(&t->unsent, p + at, length - at) == WSC_OK ? 0 : -ENOMEM;
  if (status == 0) return n;
  t->os_error = -status;
  return -1;
}

static int bio_read(BIO *b, char *p, int n) {
  struct tls *t = BIO_get_data(b);
  BIO_clear_retry_flags(b);
  if (n <= 0) return n;
  if (t->taken > TAKEN_MOST) { /* SSL_read would go on as long as such records come, and the caller holds a lock */
    t->offence = "sends records without end and no data in them";
    t->os_error = EPROTO;
    return -1;
  }
  ssize_t got = lower_recv(t, p, (size_t)n);
  if (got == 0) t->at_end = true;
  if (got == -EAGAIN) BIO_set_retry_read(b);
  else if (got < 0) t->os_error = (int)-got;
  if (got < 0) return -1;
  t->taken += (size_t)got;
  if (t->first_length < sizeof t->first) {
    size_t room = sizeof t->first - t->first_length, part = (size_t)got < room ? (size_t)got : room;
    memcpy(t->first + t->first_length, p, part);
    t->first_length += part;
  }
  return (int)got;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer) {
  (void)number, (void)pointer;
  struct tls *t = BIO_get_data(b);
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return t && t->at_end;
  return 0;
}

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method; /* for the life of the process */

static void make_method(void) {
  BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wscengine socket");
  if (!m) return;
  BIO_meth_set_write(m, bio_write);
  BIO_meth_set_read(m, bio_read);
  BIO_meth_set_ctrl(m, bio_ctrl);
  method = m;
}

/* The context */

static int on_verify(int ok, X509_STORE_CTX *verified) {
  SSL *ssl = X509_STORE_CTX_get_ex_data(verified, SSL_get_ex_data_X509_STORE_CTX_idx());
  struct tls *t = ssl ? SSL_get_app_data(ssl) : NULL;
  if (!ok && t && t->verdict && !t->verdict[0]) trust_explain(verified, t->host, t->context->searched, t->verdict);
  return ok;
}

/* Called when the server asks for a certificate and none that is set fits. */
static int on_certificate_wanted(SSL *ssl, X509 **certificate, EVP_PKEY **key) {
  (void)certificate, (void)key;
  struct tls *t = SSL_get_app_data(ssl);
  if (t) t->certificate_wanted = true;
  return 0;
}

static void on_key(const SSL *ssl, const char *line) {
  struct tls *t = SSL_get_app_data(ssl);
  if (t) policy_log_key(t->context->policy, line);
}

static int on_session(SSL *ssl, SSL_SESSION *session) {
  struct tls *t = SSL_get_app_data(ssl);
  return t && policy_keep(t->context->policy, t->proxy, t->peer, session);
}

static int configure(struct tls_context *c, const wsc_options *o, wsc_error **err) {
  int status = policy_new(c->ctx, o, &c->policy, err);
  if (status != WSC_OK) return status;
  SSL_CTX_set_options(c->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(c->ctx,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  bool resume = options_int(o, WSC_OPT_TLS_RESUME) != 0;
  SSL_CTX_set_session_cache_mode(c->ctx,
                                 resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF);
  if (resume) SSL_CTX_sess_set_new_cb(c->ctx, on_session);
  if (options_str(o, WSC_OPT_TLS_KEYLOG_FILE)) SSL_CTX_set_keylog_callback(c->ctx, on_key);
  SSL_CTX_set_read_ahead(c->ctx, 1);
  SSL_CTX_set_default_read_buffer_len(c->ctx, READ_BUFFER);
  SSL_CTX_set_client_cert_cb(c->ctx, on_certificate_wanted);
  status = identity_load(c->ctx, o, err);
  if (status != WSC_OK) return status;
  if (options_int(o, WSC_OPT_INSECURE)) {
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
    c->searched = mem_strdup("nothing (INSECURE is set)");
    return c->searched ? WSC_OK : error_set(err, WSC_ERR_NOMEM, "out of memory for the TLS context");
  }
  SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, on_verify);
  return trust_load(c->ctx, o, &c->searched, err);
}

int tls_context_new(const wsc_options *o, struct tls_context **out, wsc_error **err) {
  *out = NULL;
  os_crypto();
  pthread_once(&method_once, make_method);
  ERR_clear_error();
  struct tls_context *c = mem_zalloc(sizeof *c);
  if (!c || !method || !(c->ctx = SSL_CTX_new(TLS_client_method()))) {
    ERR_clear_error();
    mem_free(c);
    return error_set(err, WSC_ERR_NOMEM, "out of memory for the TLS context");
  }
  atomic_init(&c->refs, 1);
  int status = configure(c, o, err);
  if (status == WSC_OK) *out = c;
  else tls_context_unref(c);
  ERR_clear_error();
  return status;
}

struct tls_context *tls_context_ref(struct tls_context *c) {
  atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
  return c;
}

void tls_context_unref(struct tls_context *c) {
  if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) return;
  SSL_CTX_free(c->ctx);
  policy_free(c->policy);
  mem_free(c->searched);
  mem_free(c);
}

/* A session */

/* Names are checked and sent without the root's dot, addresses without their zone. */
static bool expect_host(struct tls *t, const struct url *u) {
  const char *name = t->proxy ? NULL : policy_server_name(t->context->policy);
  bool literal = u->literal && !name;
  if (!name) name = u->host;
  size_t n = literal ? strcspn(name, "%") : strlen(name);
  if (!literal && n > 1 && name[n - 1] == '.') n--;
  if (n >= sizeof t->host) return false;
  memcpy(t->host, name, n);
  t->host[n] = 0;
  X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
  if (literal) return t->insecure || X509_VERIFY_PARAM_set1_ip_asc(param, t->host) == 1;
  if (SSL_set_tlsext_host_name(t->ssl, t->host) != 1) return false;
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return t->insecure || X509_VERIFY_PARAM_set1_host(param, t->host, 0) == 1;
}

int tls_new(struct tls_context *c, int fd, struct tls *under, const struct url *u, bool proxy, struct tls **out,
            wsc_error **err) {
  static const unsigned char http[] = "\x08http/1.1";
  *out = NULL;
  ERR_clear_error();
  struct tls *t = mem_zalloc(sizeof *t);
  BIO *bio = NULL;
  SSL_SESSION *session = NULL;
  if (!t || !(t->verdict = mem_zalloc(TRUST_TEXT_MAX))) goto fail;
  t->context = tls_context_ref(c);
  t->fd = fd;
  t->proxy = proxy;
  t->insecure = SSL_CTX_get_verify_mode(c->ctx) == SSL_VERIFY_NONE;
  bool v6 = strchr(u->host, ':') != NULL;
  snprintf(t->peer, sizeof t->peer, "%s%s%s:%u", v6 ? "[" : "", u->host, v6 ? "]" : "", u->port);
  t->ssl = SSL_new(c->ctx);
  bio = BIO_new(method);
  if (!t->ssl || !bio) goto fail;
  SSL_set_app_data(t->ssl, t);
  BIO_set_data(bio, t);
  BIO_set_init(bio, 1);
  SSL_set_bio(t->ssl, bio, bio);
  bio = NULL;
  SSL_set_connect_state(t->ssl);
  if (!expect_host(t, u)) goto fail;
  if (proxy && SSL_set_alpn_protos(t->ssl, http, sizeof http - 1) != 0) goto fail; /* TLS_ALPN is for the server */
  session = policy_take(c->policy, proxy, t->peer);
  if (session) SSL_set_session(t->ssl, session);
  SSL_SESSION_free(session);
  t->under = under;
  *out = t;
  return WSC_OK;

fail:
  ERR_clear_error();
  BIO_free(bio);
  tls_free(t);
  return error_set(err, WSC_ERR_NOMEM, "out of memory for TLS with %s", u->host);
}

void tls_free(struct tls *t) {
  if (!t) return;
  /* OpenSSL would never resume a session whose connection ended without a close_notify. A link that was lost is no
   * reason to: it is the very case where everybody comes back at once. A failure of TLS itself is one. */
  if (t->established && t->failed != EPROTO) SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(t->ssl);
  tls_free(t->under);
  ERR_clear_error();
  tls_context_unref(t->context);
  buffer_free(&t->unsent);
  mem_free(t->verdict);
  mem_free(t);
}

/* What went wrong */

static const char *who(const struct tls *t) { return t->proxy ? "the proxy" : "the server"; }

static bool speaks_tls(const struct tls *t) { return t->first_length == 0 || (t->first[0] >= 20 && t->first[0] <= 23); }

static void explain_stranger(struct tls *t) {
  char shown[sizeof t->first * 4 + 1];
  ascii_shown(shown, sizeof shown, t->first, t->first_length);
  snprintf(t->text, sizeof t->text, "%s does not speak TLS, it began with \"%s\": should the URL begin with %s:// ?",
           who(t), shown, t->proxy ? "http" : "ws");
}

static void explain_alert(struct tls *t, int alert) {
  const char *name = SSL_alert_desc_string_long(alert), *hint = "";
  if (strcmp(name, "unknown") == 0 && alert == 116) name = "certificate required";
  bool have = SSL_CTX_get0_certificate(t->context->ctx) != NULL;
  bool about_certificate = (alert >= 42 && alert <= 49) || alert == 116 || alert == 40;
  if (t->certificate_wanted && about_certificate)
    hint = have ? "; it wants a client certificate, and that of CERT_FILE does not fit"
                : "; it wants a client certificate: set CERT_FILE and KEY_FILE";
  else if (have && about_certificate && alert != 40) hint = "; it does not accept the client certificate of CERT_FILE";
  else if (alert == SSL_AD_PROTOCOL_VERSION)
    hint = SSL_CTX_get_min_proto_version(t->context->ctx) == TLS1_3_VERSION
               ? "; we speak TLS 1.3 only, as TLS_MIN_VERSION wants it"
               : "; we speak TLS 1.2 and later";
  snprintf(t->text, sizeof t->text, "%s ended it with the alert \"%s\" (%d)%s", who(t), name, alert, hint);
}

/* Puts the top of the error queue into t->text. */
static void explain(struct tls *t) {
  unsigned long e = ERR_peek_error();
  int reason = ERR_GET_REASON(e);
  char text[TLS_REASON_MAX];
  if (!speaks_tls(t) && !t->established) explain_stranger(t);
  else if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
    explain_alert(t, reason - SSL_AD_REASON_OFFSET);
  else if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason == SSL_R_UNSUPPORTED_PROTOCOL)
    snprintf(t->text, sizeof t->text, "%s speaks no TLS version from %s on", who(t),
             SSL_CTX_get_min_proto_version(t->context->ctx) == TLS1_3_VERSION ? "1.3" : "1.2");
  else snprintf(t->text, sizeof t->text, "%s", tls_reason(text));
  ERR_clear_error();
}

/* After a call that gave `result` (<= 0): -EAGAIN, 0 for the end of the stream, or another -errno, which stays. */
static int outcome(struct tls *t, int result) {
  int what = SSL_get_error(t->ssl, result);
  if (t->os_error) what = SSL_ERROR_SYSCALL;
  switch (what) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE: ERR_clear_error(); return -EAGAIN;
  case SSL_ERROR_ZERO_RETURN: ERR_clear_error(); return 0;
  case SSL_ERROR_SYSCALL:
    ERR_clear_error();
    if (!t->os_error) return 0;
    t->failed = t->os_error;
    if (t->offence) snprintf(t->text, sizeof t->text, "%s %s", who(t), t->offence);
    else if (t->failed == EPROTO && t->under) snprintf(t->text, sizeof t->text, "the proxy: %.400s", t->under->text);
    else error_errno_text(t->failed, t->text);
    return -t->failed;
  default:
    explain(t);
    t->failed = EPROTO;
    return -EPROTO;
  }
}

static int handshake_failed(struct tls *t, int result, wsc_error **err) {
  struct error_info info = {.status = WSC_ERR_TLS};
  const char *hint = t->certificate_wanted ? "; it wants a client certificate: set CERT_FILE and KEY_FILE" : "";
  if (t->verdict && t->verdict[0]) {
    info.fatal = WSC_GIVE_UP_TLS_TRUST;
    return error_set_info(err, &info, "TLS handshake with %s: %s", t->peer, t->verdict);
  }
  if (result == -EPROTO) return error_set_info(err, &info, "TLS handshake with %s: %s", t->peer, t->text);
  info.status = result == -ENOMEM ? WSC_ERR_NOMEM : WSC_ERR_IO;
  info.os_error = -result;
  if (result == 0)
    return error_set_info(err, &info, "TLS handshake with %s: %s closed the connection%s", t->peer, who(t), hint);
  return error_set_info(err, &info, "TLS handshake with %s: %s%s", t->peer, t->text, hint);
}

/* TLS 1.2 gives no new session when one was resumed: that it worked says that it may be used again. */
static void keep_resumed(struct tls *t) {
  if (!SSL_session_reused(t->ssl) || SSL_version(t->ssl) >= TLS1_3_VERSION) return;
  SSL_SESSION *s = SSL_get1_session(t->ssl);
  if (!policy_keep(t->context->policy, t->proxy, t->peer, s)) SSL_SESSION_free(s);
}

/* Public verbs */

int tls_handshake(struct tls *t, wsc_error **err) {
  int status = flush(t);
  if (status == -EAGAIN) return WSC_AGAIN;
  if (status < 0) {
    t->failed = -status;
    error_errno_text(t->failed, t->text);
    return handshake_failed(t, status, err);
  }
  if (t->established) return WSC_OK;
  ERR_clear_error();
  t->os_error = 0;
  t->taken = 0;
  int result = SSL_do_handshake(t->ssl);
  if (result != 1) {
    status = outcome(t, result);
    return status == -EAGAIN ? WSC_AGAIN : handshake_failed(t, status, err);
  }
  if (!t->proxy && !policy_accepts_key(t->context->policy, SSL_get0_peer_certificate(t->ssl), t->verdict))
    return handshake_failed(t, -EPROTO, err);
  t->established = true;
  keep_resumed(t);
  mem_free(t->verdict);
  t->verdict = NULL;
  return t->unsent.length > 0 ? WSC_AGAIN : WSC_OK;
}

ssize_t tls_read(struct tls *t, void *p, size_t n) {
  if (t->failed) return -t->failed;
  if (t->read_ended) return 0;
  if (n == 0) return -EAGAIN;
  ERR_clear_error();
  t->os_error = 0;
  t->taken = 0;
  size_t got = 0;
  int result = SSL_read_ex(t->ssl, p, n, &got);
  if (result == 1) {
    t->drained = false;
    return (ssize_t)got;
  }
  int status = outcome(t, result);
  t->drained = true;
  t->read_ended = status == 0;
  return status;
}

/* One record. -EAGAIN: nothing of it was taken. */
static ssize_t write_record(struct tls *t, const uint8_t *p, size_t n) {
  size_t wrote = 0;
  ERR_clear_error();
  t->os_error = 0;
  int result = SSL_write_ex(t->ssl, p, n < RECORD_MAX ? n : RECORD_MAX, &wrote);
  if (result == 1) return (ssize_t)wrote;
  int status = outcome(t, result);
  if (status != 0) return status;
  t->failed = EPIPE; /* OpenSSL takes no more, and has no reason to tell */
  error_errno_text(EPIPE, t->text);
  return -EPIPE;
}

ssize_t tls_write(struct tls *t, const void *p, size_t n) {
  if (t->failed) return -t->failed;
  int status = flush(t);
  if (status == -EAGAIN) return -EAGAIN;
  if (status < 0) {
    t->failed = -status;
    error_errno_text(t->failed, t->text);
    return status;
  }
  size_t at = n < t->ahead ? n : t->ahead;
  t->ahead -= at;
  while (at < n) {
    ssize_t wrote = write_record(t, (const uint8_t *)p + at, n - at);
    if (wrote < 0 && at == 0) return wrote;
    if (wrote < 0) break; /* shows again at the next call */
    at += (size_t)wrote;
    if (t->unsent.length == 0) continue;
    t->ahead = 1;
    at--;
    break;
  }
  return at > 0 || n == 0 ? (ssize_t)at : -EAGAIN;
}

bool tls_pending(const struct tls *t) {
  if (t->failed || t->read_ended) return false;
  return (!t->drained && SSL_has_pending(t->ssl) == 1) || (t->under && tls_pending(t->under));
}

const char *tls_error_text(const struct tls *t) { return t->text; }

const char *tls_version_text(const struct tls *t) {
  struct tls *own = (struct tls *)(uintptr_t)t; /* only the text is made here */
  snprintf(own->version, sizeof own->version, "%s, %s%s", SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl),
           SSL_session_reused(t->ssl) ? ", resumed" : "");
  return own->version;
}

void tls_shutdown(struct tls *t) {
  if (!t->established || t->failed || t->closing || flush(t) < 0) return;
  t->closing = true;
  ERR_clear_error();
  (void)SSL_shutdown(t->ssl);
  ERR_clear_error();
  (void)flush(t);
  if (t->under) tls_shutdown(t->under);
}
