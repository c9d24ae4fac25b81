#define _GNU_SOURCE
#include "tls_policy.h"

#include "error.h"
#include "mem.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DIGEST = 32, CODED = 44 };
static const char pin_prefix[] = "sha256//";

struct kept {
  SSL_SESSION *session; /* NULL: none */
  char *peer;
};

struct tls_policy {
  char *server_name;
  uint8_t (*pins)[DIGEST];
  size_t pin_count;
  int keylog; /* fd; -1: none */
  bool resume;
  pthread_mutex_t lock;
  struct kept kept[2]; /* with the lock; of the server and of its proxy */
};

static int no_memory(wsc_error **err) {
  ERR_clear_error();
  return error_set(err, WSC_ERR_NOMEM, "out of memory for the TLS context");
}

static int refuse(wsc_error **err, const char *option, const char *value) {
  char reason[TLS_REASON_MAX];
  return error_set(err, WSC_ERR_TLS, "%s \"%.100s\" is of no use to OpenSSL: %s", option, value, tls_reason(reason));
}

/* Protocols and ciphers */

static int set_versions(SSL_CTX *ctx, const wsc_options *o, wsc_error **err) {
  const char *least = options_str(o, WSC_OPT_TLS_MIN_VERSION), *ciphers = options_str(o, WSC_OPT_TLS_CIPHERS),
             *suites = options_str(o, WSC_OPT_TLS_CIPHERSUITES);
  int version = least && strcmp(least, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
  if (SSL_CTX_set_min_proto_version(ctx, version) != 1) return refuse(err, "TLS_MIN_VERSION", least ? least : "1.2");
  if (ciphers && SSL_CTX_set_cipher_list(ctx, ciphers) != 1) return refuse(err, "TLS_CIPHERS", ciphers);
  if (suites && SSL_CTX_set_ciphersuites(ctx, suites) != 1) return refuse(err, "TLS_CIPHERSUITES", suites);
  return WSC_OK;
}

/* Names with their lengths before them (RFC 7301). */
static int set_protocols(SSL_CTX *ctx, const wsc_options *o, wsc_error **err) {
  struct buffer list = {0};
  const char *name = options_item(o, WSC_OPT_TLS_ALPN, 0);
  if (!name) name = "http/1.1";
  int status = WSC_OK;
  for (size_t i = 1; name && status == WSC_OK; name = options_item(o, WSC_OPT_TLS_ALPN, i++)) {
    uint8_t n = (uint8_t)strlen(name);
    status = buffer_append(&list, &n, 1);
    if (status == WSC_OK) status = buffer_append(&list, name, n);
  }
  if (status == WSC_OK && SSL_CTX_set_alpn_protos(ctx, list.data, (unsigned)list.length) != 0) status = WSC_ERR_NOMEM;
  buffer_free(&list);
  return status == WSC_OK ? WSC_OK : no_memory(err);
}

/* Pins */

bool policy_read_pin(const char *text, uint8_t digest[static 32]) {
  size_t prefix = sizeof pin_prefix - 1;
  uint8_t plain[CODED / 4 * 3 + 1];
  if (strncmp(text, pin_prefix, prefix) != 0 || strlen(text) != prefix + CODED || text[prefix + CODED - 1] != '=')
    return false;
  if (EVP_DecodeBlock(plain, (const unsigned char *)text + prefix, CODED) != DIGEST + 1) return false;
  memcpy(digest, plain, DIGEST);
  return true;
}

static int read_pins(struct tls_policy *p, const wsc_options *o, wsc_error **err) {
  size_t n = 0;
  while (options_item(o, WSC_OPT_TLS_PIN, n)) n++;
  if (n == 0) return WSC_OK;
  if (!(p->pins = mem_alloc(n * sizeof *p->pins))) return no_memory(err);
  for (; p->pin_count < n; p->pin_count++) {
    const char *text = options_item(o, WSC_OPT_TLS_PIN, p->pin_count);
    if (!policy_read_pin(text, p->pins[p->pin_count]))
      return error_set(err, WSC_ERR_TLS, "TLS_PIN \"%.60s\" is not \"sha256//\" and 44 characters of base64", text);
  }
  return WSC_OK;
}

bool policy_accepts_key(const struct tls_policy *p, X509 *leaf, char why[static TRUST_TEXT_MAX]) {
  unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE] = {0}, coded[CODED + 1];
  unsigned length = 0;
  if (p->pin_count == 0) return true;
  int n = leaf ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &der) : -1;
  bool known = n > 0 && EVP_Digest(der, (size_t)n, digest, &length, EVP_sha256(), NULL) == 1 && length == DIGEST;
  OPENSSL_free(der);
  for (size_t i = 0; known && i < p->pin_count; i++)
    if (memcmp(p->pins[i], digest, DIGEST) == 0) return true;
  EVP_EncodeBlock(coded, digest, DIGEST);
  snprintf(why, TRUST_TEXT_MAX, "the server's key is %s%s, which is none of the %zu in TLS_PIN",
           known ? pin_prefix : "", known ? (const char *)coded : "unreadable", p->pin_count);
  return false;
}

/* The key log */

static int open_keylog(struct tls_policy *p, const wsc_options *o, wsc_error **err) {
  const char *path = options_str(o, WSC_OPT_TLS_KEYLOG_FILE);
  char text[128];
  if (!path) return WSC_OK;
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
  p->keylog = fd >= 0 ? os_above_stdio(fd) : -errno;
  if (p->keylog >= 0) return WSC_OK;
  int e = -p->keylog;
  p->keylog = -1;
  return error_set_info(err, &(struct error_info){.status = WSC_ERR_TLS, .os_error = e}, "TLS_KEYLOG_FILE %s: %s", path,
                        error_errno_text(e, text));
}

void policy_log_key(const struct tls_policy *p, const char *line) {
  char whole[512];
  int n = snprintf(whole, sizeof whole, "%s\n", line);
  /* One write a line: several programs may log into one file. A full disk is no reason to lose a connection. */
  if (p->keylog >= 0 && n > 0 && (size_t)n < sizeof whole && write(p->keylog, whole, (size_t)n) < 0) return;
}

/* Sessions */

bool policy_keep(struct tls_policy *p, bool proxy, const char *peer, SSL_SESSION *s) {
  if (!p->resume || !SSL_SESSION_is_resumable(s)) return false;
  struct kept fresh = {s, mem_strdup(peer)};
  if (!fresh.peer) return false;
  pthread_mutex_lock(&p->lock);
  struct kept old = p->kept[proxy];
  p->kept[proxy] = fresh;
  pthread_mutex_unlock(&p->lock);
  SSL_SESSION_free(old.session);
  mem_free(old.peer);
  return true;
}

SSL_SESSION *policy_take(struct tls_policy *p, bool proxy, const char *peer) {
  struct kept *k = &p->kept[proxy];
  SSL_SESSION *s = NULL;
  pthread_mutex_lock(&p->lock);
  bool mine = k->session && strcmp(k->peer, peer) == 0;
  if (mine) {
    s = k->session;
    mem_free(k->peer);
    *k = (struct kept){0};
  }
  pthread_mutex_unlock(&p->lock);
  return s;
}

/* All of it */

const char *policy_server_name(const struct tls_policy *p) { return p->server_name; }

int policy_new(SSL_CTX *ctx, const wsc_options *o, struct tls_policy **out, wsc_error **err) {
  *out = NULL;
  const char *name = options_str(o, WSC_OPT_TLS_SERVER_NAME);
  struct tls_policy *p = mem_zalloc(sizeof *p);
  if (!p) return no_memory(err);
  pthread_mutex_init(&p->lock, NULL);
  p->keylog = -1;
  p->resume = options_int(o, WSC_OPT_TLS_RESUME) != 0;
  int status = name && !(p->server_name = mem_strdup(name)) ? no_memory(err) : WSC_OK;
  if (status == WSC_OK) status = set_versions(ctx, o, err);
  if (status == WSC_OK) status = set_protocols(ctx, o, err);
  if (status == WSC_OK) status = read_pins(p, o, err);
  if (status == WSC_OK) status = open_keylog(p, o, err);
  if (status == WSC_OK) *out = p;
  else policy_free(p);
  return status;
}

void policy_free(struct tls_policy *p) {
  if (!p) return;
  for (size_t i = 0; i < sizeof p->kept / sizeof *p->kept; i++) {
    SSL_SESSION_free(p->kept[i].session);
    mem_free(p->kept[i].peer);
  }
  mem_free(p->server_name);
  mem_free(p->pins);
  if (p->keylog >= 0) close(p->keylog);
  pthread_mutex_destroy(&p->lock);
  mem_free(p);
}
