/* Trust and certificates.
 *
 * The system's trust is OpenSSL's own default place, which SSL_CERT_FILE and SSL_CERT_DIR replace as they do
 * everywhere; a library built on one distribution and run on another finds nothing there, so the well-known bundles
 * of the others are tried next. Somebody who set one of the variables meant it: then nothing else is tried.
 *
 * A parsed system bundle takes more than a megabyte, and a user's own is the same for every engine of a fleet, so contexts
 * share the store that was loaded last, of each of the two, as long as it would be loaded from the same files in the same
 * state. It lies in its `shelf`: whoever needs it takes it out, and puts it back; who finds it taken loads one of his own. No
 * lock, so a fork in the middle costs a load and never a deadlock. It is kept with OpenSSL's allocator, for it belongs to
 * no handle. */
#define _GNU_SOURCE
#include "tls_trust.h"

#include "error.h"
#include "mem.h"
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const known_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Ubuntu, Alpine, Arch, Gentoo */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL and what follows them */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* the same, newer */
    "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
    "/etc/ssl/cert.pem",                                 /* Alpine, the BSDs */
    "/usr/local/share/certs/ca-root-nss.crt",            /* FreeBSD */
    NULL};
struct trust_places trust_places = {.bundles = known_bundles};

const char *tls_reason(char out[static TLS_REASON_MAX]) {
  unsigned long e = ERR_get_error();
  const char *reason = e ? ERR_reason_error_string(e) : NULL;
  if (reason) snprintf(out, TLS_REASON_MAX, "%s", reason);
  else snprintf(out, TLS_REASON_MAX, "OpenSSL error %lx", e);
  ERR_clear_error();
  return out;
}

static int no_memory(wsc_error **err) {
  ERR_clear_error();
  return error_set(err, WSC_ERR_NOMEM, "out of memory for TLS certificates");
}

/* Reading files */

/* A passphrase is never asked for: there may be nobody at the terminal. self notes that one was wanted. */
static int no_passphrase(char *buffer, int size, int writing, void *self) {
  (void)buffer, (void)size, (void)writing;
  if (self) *(bool *)self = true;
  return -1;
}

/* Opened for reading; NULL with errno set. */
static BIO *open_file(const char *path) {
  FILE *f = fopen(path, "re");
  if (!f) return NULL;
  struct stat s;
  BIO *in = NULL;
  errno = 0;
  if (fstat(fileno(f), &s) == 0 && S_ISDIR(s.st_mode)) errno = EISDIR;
  else if ((in = BIO_new_fp(f, BIO_CLOSE)) == NULL) errno = ENOMEM;
  if (!in) {
    int e = errno;
    fclose(f);
    errno = e;
  }
  return in;
}

/* Adds every certificate in the text to the store: how many. *broken: something in it is no certificate. */
static size_t add_certificates(X509_STORE *store, BIO *in, bool *broken) {
  size_t count = 0;
  X509 *x;
  ERR_clear_error();
  while ((x = PEM_read_bio_X509_AUX(in, NULL, no_passphrase, NULL)) != NULL) {
    if (X509_STORE_add_cert(store, x) == 1) count++;
    X509_free(x);
  }
  unsigned long e = ERR_peek_last_error();
  *broken = !(ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE);
  if (!*broken) ERR_clear_error();
  return count;
}

/* Certificates under names that OpenSSL finds them by: eight hex digits, a dot, a number. */
static bool hashed_name(const char *name) {
  return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] >= '0' && name[9] <= '9';
}

/* 0 or errno; *count: hashed names in it (no more than one is looked for). */
static int look_into_dir(const char *path, size_t *count) {
  *count = 0;
  DIR *d = opendir(path);
  if (!d) return errno;
  for (struct dirent *entry; *count == 0 && (entry = readdir(d)) != NULL;)
    if (hashed_name(entry->d_name)) *count = 1;
  closedir(d);
  return 0;
}

static bool add_dir(X509_STORE *store, const char *path) {
  X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
  return lookup && X509_LOOKUP_add_dir(lookup, path, X509_FILETYPE_PEM) == 1;
}

/* Shared stores */

struct trust {
  X509_STORE *store;
  char *searched;
  char *key; /* what it was made from: places and the state of the files */
};

struct shelf {
  _Atomic(struct trust *) kept;
  int (*key)(struct buffer *out, const void *from); /* WSC_OK, WSC_ERR_NOMEM */
  /* Adds what is to be trusted; says in `searched` where it was looked for. */
  int (*load)(X509_STORE *store, const void *from, struct buffer *searched, wsc_error **err);
};

static void trust_free(struct trust *t) {
  if (!t) return;
  X509_STORE_free(t->store);
  OPENSSL_free(t->searched);
  OPENSSL_free(t->key);
  OPENSSL_free(t);
}

static int file_state(struct buffer *out, const char *path) {
  struct stat s;
  if (stat(path, &s) != 0) return buffer_printf(out, "%s -\n", path);
  return buffer_printf(out, "%s %lld.%ld %lld %llu\n", path, (long long)s.st_mtim.tv_sec, s.st_mtim.tv_nsec,
                       (long long)s.st_size, (unsigned long long)s.st_ino);
}

static int trust_new(const struct shelf *shelf, const void *from, const char *key, struct trust **out,
                     wsc_error **err) {
  struct buffer searched = {0};
  struct trust *t = OPENSSL_zalloc(sizeof *t);
  int status = WSC_ERR_NOMEM;
  if (!t || !(t->store = X509_STORE_new()) || !(t->key = OPENSSL_strdup(key))) goto fail;
  if ((status = shelf->load(t->store, from, &searched, err)) != WSC_OK) goto fail_told;
  status = buffer_append(&searched, "", 1);
  if (status != WSC_OK || !(t->searched = OPENSSL_strdup((char *)searched.data))) goto fail;
  buffer_free(&searched);
  *out = t;
  return WSC_OK;

fail:
  status = no_memory(err);
fail_told:
  buffer_free(&searched);
  trust_free(t);
  return status;
}

/* Gives ctx the store of the shelf, which is loaded anew when it is not, or no longer, what `from` says. */
static int use_shelf(SSL_CTX *ctx, struct shelf *shelf, const void *from, struct buffer *searched, wsc_error **err) {
  struct buffer key = {0};
  struct trust *t = atomic_exchange(&shelf->kept, NULL);
  int status = shelf->key(&key, from);
  if (status == WSC_OK) status = buffer_append(&key, "", 1);
  if (status != WSC_OK) {
    status = no_memory(err);
  } else if (!t || strcmp(t->key, (char *)key.data) != 0) {
    trust_free(t);
    t = NULL;
    status = trust_new(shelf, from, (char *)key.data, &t, err);
  }
  buffer_free(&key);
  if (status == WSC_OK) {
    SSL_CTX_set1_cert_store(ctx, t->store);
    status = buffer_printf(searched, "%s", t->searched);
    if (status != WSC_OK) status = no_memory(err);
  }
  if (status == WSC_OK) t = atomic_exchange(&shelf->kept, t);
  trust_free(t);
  return status;
}

/* Trust given by the user */

static int judge_certificates(const char *what, const char *path, size_t count, bool broken, wsc_error **err) {
  char reason[TLS_REASON_MAX];
  if (broken)
    return error_set(err, WSC_ERR_TLS, "%s%s: certificate number %zu in it is damaged: %s", what, path, count + 1,
                     tls_reason(reason));
  if (count == 0)
    return error_set(err, WSC_ERR_TLS, "%s%s: there is no certificate in it (PEM, \"-----BEGIN CERTIFICATE-----\")",
                     what, path);
  return WSC_OK;
}

static int add_user_file(X509_STORE *store, const char *path, wsc_error **err) {
  char text[128];
  BIO *in = open_file(path);
  if (!in) {
    int e = errno;
    return error_set_info(err, &(struct error_info){.status = WSC_ERR_TLS, .os_error = e}, "CA_FILE %s: %s", path,
                          error_errno_text(e, text));
  }
  bool broken;
  size_t count = add_certificates(store, in, &broken);
  BIO_free(in);
  return judge_certificates("CA_FILE ", path, count, broken, err);
}

static int add_user_pem(X509_STORE *store, const char *pem, wsc_error **err) {
  BIO *in = BIO_new_mem_buf(pem, -1);
  if (!in) return no_memory(err);
  bool broken;
  size_t count = add_certificates(store, in, &broken);
  BIO_free(in);
  return judge_certificates("CA_PEM", "", count, broken, err);
}

static int add_user_dir(X509_STORE *store, const char *path, wsc_error **err) {
  char text[128];
  size_t count;
  int e = look_into_dir(path, &count);
  if (e)
    return error_set_info(err, &(struct error_info){.status = WSC_ERR_TLS, .os_error = e}, "CA_DIR %s: %s", path,
                          error_errno_text(e, text));
  if (count == 0)
    return error_set(err, WSC_ERR_TLS,
                     "CA_DIR %s: there is no certificate under a hashed name in it (\"openssl rehash\" makes them)",
                     path);
  return add_dir(store, path) ? WSC_OK : no_memory(err);
}

struct user_trust {
  const char *file, *dir, *pem; /* NULL: not given */
};

static int user_key(struct buffer *out, const void *from) {
  const struct user_trust *u = from;
  int status = u->file ? file_state(out, u->file) : buffer_append(out, "\n", 1);
  if (status == WSC_OK) status = u->dir ? file_state(out, u->dir) : buffer_append(out, "\n", 1);
  if (status == WSC_OK && u->pem) status = buffer_append(out, u->pem, strlen(u->pem));
  return status;
}

static int load_user(X509_STORE *store, const void *from, struct buffer *searched, wsc_error **err) {
  const struct user_trust *u = from;
  int status = WSC_OK;
  if (u->file) status = add_user_file(store, u->file, err);
  if (status == WSC_OK && u->dir) status = add_user_dir(store, u->dir, err);
  if (status == WSC_OK && u->pem) status = add_user_pem(store, u->pem, err);
  if (status != WSC_OK) return status;
  if (u->file) status = buffer_printf(searched, "CA_FILE %s", u->file);
  if (status == WSC_OK && u->dir) status = buffer_printf(searched, "%sCA_DIR %s", searched->length ? ", " : "", u->dir);
  if (status == WSC_OK && u->pem) status = buffer_printf(searched, "%sCA_PEM", searched->length ? ", " : "");
  return status == WSC_OK ? WSC_OK : no_memory(err);
}

/* The system's trust */

struct places {
  const char *file, *dir;
  bool file_set, dir_set; /* by SSL_CERT_FILE, SSL_CERT_DIR */
};

static struct places system_places(void) {
  const char *file = secure_getenv(X509_get_default_cert_file_env()),
             *dir = secure_getenv(X509_get_default_cert_dir_env());
  struct places p = {.file_set = file && *file, .dir_set = dir && *dir};
  p.file = p.file_set ? file : trust_places.file ? trust_places.file : X509_get_default_cert_file();
  p.dir = p.dir_set ? dir : trust_places.dir ? trust_places.dir : X509_get_default_cert_dir();
  return p;
}

/* Everything that decides what is loaded. Certificates in a directory are looked up by name when they are needed. */
static int system_key(struct buffer *out, const void *from) {
  const struct places *p = from;
  int status = file_state(out, p->file);
  if (status == WSC_OK) status = file_state(out, p->dir);
  for (const char *const *b = trust_places.bundles; status == WSC_OK && *b; b++) status = file_state(out, *b);
  return status;
}

/* Adds what is in the file; says so in `searched`, also when it is nothing. How many certificates. */
static size_t add_system_file(X509_STORE *store, const char *path, const char *variable, struct buffer *searched) {
  char text[128];
  bool broken;
  const char *comma = searched->length ? ", " : "", *equals = *variable ? "=" : "";
  BIO *in = open_file(path);
  if (!in) {
    (void)buffer_printf(searched, "%s%s%s%s (%s)", comma, variable, equals, path, error_errno_text(errno, text));
    return 0;
  }
  size_t count = add_certificates(store, in, &broken);
  BIO_free(in);
  ERR_clear_error(); /* one bad certificate in a bundle does not take the others away */
  (void)buffer_printf(searched, "%s%s%s%s%s", comma, variable, equals, path, count ? "" : " (no certificate in it)");
  return count;
}

static size_t add_system_dir(X509_STORE *store, const char *path, const char *variable, struct buffer *searched) {
  char text[128];
  size_t count;
  const char *comma = searched->length ? ", " : "", *equals = *variable ? "=" : "";
  int e = look_into_dir(path, &count);
  if (e == 0 && count > 0 && !add_dir(store, path)) count = 0;
  const char *why = e ? error_errno_text(e, text) : count ? "" : "no certificate in it";
  (void)buffer_printf(searched, "%s%s%s%s%s%s%s", comma, variable, equals, path, *why ? " (" : "", why,
                      *why ? ")" : "");
  return count;
}

/* Adds the system's certificates to the store; how many places had some. */
static size_t read_system(X509_STORE *store, const struct places *p, struct buffer *searched) {
  size_t found = add_system_file(store, p->file, p->file_set ? X509_get_default_cert_file_env() : "", searched);
  found += add_system_dir(store, p->dir, p->dir_set ? X509_get_default_cert_dir_env() : "", searched);
  if (found > 0 || p->file_set || p->dir_set) return found;
  for (const char *const *b = trust_places.bundles; *b && found == 0; b++) {
    if (strcmp(*b, p->file) != 0) found = add_system_file(store, *b, "", searched);
  }
  return found;
}

static int load_system(X509_STORE *store, const void *from, struct buffer *searched, wsc_error **err) {
  if (read_system(store, from, searched) > 0) return WSC_OK;
  return error_set_info(
      err, &(struct error_info){.status = WSC_ERR_TLS, .fatal = WSC_GIVE_UP_TLS_TRUST},
      "this machine has no certificates to trust; searched %.*s. Install the package ca-certificates, or set CA_FILE",
      (int)searched->length, (char *)searched->data);
}

int trust_load(SSL_CTX *ctx, const wsc_options *o, char **searched, wsc_error **err) {
  static struct shelf users = {.key = user_key, .load = load_user};
  static struct shelf systems = {.key = system_key, .load = load_system};
  struct buffer text = {0};
  struct user_trust user = {options_str(o, WSC_OPT_CA_FILE), options_str(o, WSC_OPT_CA_DIR),
                            options_str(o, WSC_OPT_CA_PEM)};
  int status;
  if (user.file || user.dir || user.pem) {
    status = use_shelf(ctx, &users, &user, &text, err);
    /* Who names a certificate means that one, also when it is not the root of its chain. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
  } else {
    struct places p = system_places();
    status = use_shelf(ctx, &systems, &p, &text, err);
  }
  *searched = status == WSC_OK ? mem_strndup((char *)text.data, text.length) : NULL;
  buffer_free(&text);
  return status == WSC_OK && !*searched ? no_memory(err) : status;
}

/* The client's own certificate */

static int cannot_read(const char *option, const char *path, int e, wsc_error **err) {
  char text[128];
  return error_set_info(err, &(struct error_info){.status = WSC_ERR_TLS, .os_error = e}, "%s %s: %s", option, path,
                        error_errno_text(e, text));
}

static int load_certificate(SSL_CTX *ctx, const char *path, wsc_error **err) {
  char reason[TLS_REASON_MAX];
  BIO *in = open_file(path);
  if (!in) return cannot_read("CERT_FILE", path, errno, err);
  BIO_free(in);
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(ctx, path) == 1) return WSC_OK;
  unsigned long e = ERR_peek_error();
  if (ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE) {
    ERR_clear_error();
    return error_set(err, WSC_ERR_TLS,
                     "CERT_FILE %s: there is no certificate in it (PEM, \"-----BEGIN CERTIFICATE-----\")", path);
  }
  return error_set(err, WSC_ERR_TLS, "CERT_FILE %s: not a certificate that can be used: %s", path, tls_reason(reason));
}

static int load_key(SSL_CTX *ctx, const char *option, const char *path, wsc_error **err) {
  char reason[TLS_REASON_MAX];
  bool encrypted = false;
  BIO *in = open_file(path);
  if (!in) return cannot_read(option, path, errno, err);
  ERR_clear_error();
  EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &encrypted);
  BIO_free(in);
  if (!key && encrypted) {
    ERR_clear_error();
    return error_set(err, WSC_ERR_TLS,
                     "%s %s: the key is encrypted with a passphrase, and none is asked for: decrypt it with \"openssl "
                     "pkey -in ... -out ...\" "
                     "into a file that only its user can read",
                     option, path);
  }
  if (!key) {
    unsigned long e = ERR_peek_last_error();
    bool absent = ERR_GET_REASON(e) == PEM_R_NO_START_LINE || ERR_GET_LIB(e) == ERR_LIB_OSSL_DECODER;
    const char *why = tls_reason(reason);
    if (absent) why = "there is no private key in it (PEM, \"-----BEGIN PRIVATE KEY-----\")";
    return error_set(err, WSC_ERR_TLS, "%s %s: %s", option, path, why);
  }
  int ok = SSL_CTX_use_PrivateKey(ctx, key);
  EVP_PKEY_free(key);
  if (ok == 1 && SSL_CTX_check_private_key(ctx) == 1) return WSC_OK;
  unsigned long e = ERR_peek_last_error();
  bool differ = ERR_GET_LIB(e) == ERR_LIB_X509 &&
                (ERR_GET_REASON(e) == X509_R_KEY_VALUES_MISMATCH || ERR_GET_REASON(e) == X509_R_KEY_TYPE_MISMATCH);
  const char *why = tls_reason(reason);
  if (differ) why = "this key does not belong to the certificate of CERT_FILE";
  return error_set(err, WSC_ERR_TLS, "%s %s: %s", option, path, why);
}

int identity_load(SSL_CTX *ctx, const wsc_options *o, wsc_error **err) {
  const char *certificate = options_str(o, WSC_OPT_CERT_FILE), *key = options_str(o, WSC_OPT_KEY_FILE);
  if (!certificate && !key) return WSC_OK;
  if (!certificate) return error_set(err, WSC_ERR_TLS, "KEY_FILE %s is set without CERT_FILE", key);
  SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
  int status = load_certificate(ctx, certificate, err);
  if (status != WSC_OK) return status;
  /* One file with both is as usual as two files. */
  return key ? load_key(ctx, "KEY_FILE", key, err) : load_key(ctx, "CERT_FILE (no KEY_FILE is set)", certificate, err);
}

/* Certificates in words */

enum { NAME_MAX_SHOWN = 200 };

static const char *name_text(const X509_NAME *name, char out[static NAME_MAX_SHOWN]) {
  BIO *memory = BIO_new(BIO_s_mem());
  int n = 0;
  if (memory && X509_NAME_print_ex(memory, name, 0, XN_FLAG_ONELINE & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0)
    n = BIO_read(memory, out, NAME_MAX_SHOWN - 1);
  BIO_free(memory);
  out[n > 0 ? n : 0] = 0;
  return out;
}

static const char *time_text(const ASN1_TIME *time, char out[static 80]) {
  struct tm t;
  if (ASN1_TIME_to_tm(time, &t) != 1) return "an unreadable date";
  snprintf(out, 80, "%04d-%02d-%02d %02d:%02d:%02d UTC", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min,
           t.tm_sec);
  return out;
}

static const char *now_text(char out[static 80]) {
  time_t now = (time_t)(os_unix_ns() / NS_PER_S);
  struct tm t;
  gmtime_r(&now, &t);
  strftime(out, 80, "%Y-%m-%d %H:%M:%S UTC", &t);
  return out;
}

static void append(char *out, size_t size, const char *comma, const char *p, int n) {
  size_t at = strlen(out);
  snprintf(out + at, size - at, "%s%.*s", at ? comma : "", n, p);
}

static void append_ip(char *out, size_t size, const ASN1_OCTET_STRING *ip) {
  char text[64] = "", *at = text;
  const unsigned char *b = ASN1_STRING_get0_data(ip);
  int n = ASN1_STRING_length(ip);
  if (n == 4) {
    snprintf(text, sizeof text, "%d.%d.%d.%d", b[0], b[1], b[2], b[3]);
  } else if (n == 16) {
    for (int i = 0; i < 16; i += 2) at += snprintf(at, 6, "%s%x", i ? ":" : "", (unsigned)(b[i] << 8 | b[i + 1]));
  }
  append(out, size, ", ", text, (int)strlen(text));
}

/* The names a certificate is for. */
static const char *hosts_text(X509 *certificate, char *out, size_t size) {
  out[0] = 0;
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  int count = names ? sk_GENERAL_NAME_num(names) : 0;
  for (int i = 0; i < count && i < 8; i++) {
    const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
    if (n->type == GEN_DNS)
      append(out, size, ", ", (const char *)ASN1_STRING_get0_data(n->d.dNSName), ASN1_STRING_length(n->d.dNSName));
    else if (n->type == GEN_IPADD) append_ip(out, size, n->d.iPAddress);
  }
  if (count > 8) append(out, size, ", ", "...", 3);
  GENERAL_NAMES_free(names);
  return out;
}

void trust_explain(X509_STORE_CTX *verified, const char *host, const char *searched, char out[static TRUST_TEXT_MAX]) {
  char subject[NAME_MAX_SHOWN], issuer[NAME_MAX_SHOWN], hosts[300], when[80], now[80];
  X509 *x = X509_STORE_CTX_get_current_cert(verified);
  int error = X509_STORE_CTX_get_error(verified);
  const char *text = X509_verify_cert_error_string(error);
  if (!x) {
    snprintf(out, TRUST_TEXT_MAX, "the server's certificate cannot be checked: %s", text);
    return;
  }
  name_text(X509_get_subject_name(x), subject);
  name_text(X509_get_issuer_name(x), issuer);
  STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(verified);
  int sent_count = sent ? sk_X509_num(sent) : 0;
  switch (error) {
  case X509_V_ERR_CERT_HAS_EXPIRED:
    snprintf(out, TRUST_TEXT_MAX, "certificate \"%s\" (issuer \"%s\") expired on %s; this machine's clock says %s",
             subject, issuer, time_text(X509_get0_notAfter(x), when), now_text(now));
    break;
  case X509_V_ERR_CERT_NOT_YET_VALID:
    snprintf(out, TRUST_TEXT_MAX,
             "certificate \"%s\" (issuer \"%s\") is not valid before %s; this machine's clock says %s", subject, issuer,
             time_text(X509_get0_notBefore(x), when), now_text(now));
    break;
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    hosts_text(x, hosts, sizeof hosts);
    snprintf(out, TRUST_TEXT_MAX, "certificate \"%s\" (issuer \"%s\") is for %s, not for %s", subject, issuer,
             *hosts ? hosts : "no host at all (it has no subjectAltName)", host);
    break;
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    snprintf(out, TRUST_TEXT_MAX, "certificate \"%s\" is signed by itself and not trusted; searched %s", subject,
             searched);
    break;
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    snprintf(out, TRUST_TEXT_MAX, "the certificates lead to \"%s\", which is not trusted; searched %s", subject,
             searched);
    break;
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    snprintf(
        out, TRUST_TEXT_MAX,
        "issuer \"%s\" of certificate \"%s\" is not trusted; searched %s and what the server sent (%d certificate%s%s)",
        issuer, subject, searched, sent_count, sent_count == 1 ? "" : "s",
        sent_count == 1 ? ": is an intermediate one missing there?" : "");
    break;
  default:
    snprintf(out, TRUST_TEXT_MAX, "certificate \"%s\" (issuer \"%s\") is not acceptable: %s; searched %s", subject,
             issuer, text, searched);
  }
}
