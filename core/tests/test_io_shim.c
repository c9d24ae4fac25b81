/* The worst socket there is: one byte a call, EAGAIN before each of them, EINTR from a storm of signals. A conversation over it must go
 * exactly as over a good one, plain and by TLS. */
#define _GNU_SOURCE
#include "connection.h"
#include "os.h"
#include "peer.h"
#include "wscengine.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#ifdef __SANITIZE_THREAD__ /* it does not see how OpenSSL, which is not built for it, counts what threads share */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:libcrypto.so\n"; }
#endif

static const int64_t LONG = 60 * NS_PER_S;

/* ---- the shim ------------------------------------------------------------------------------------------------------ */

/* The poller is edge-triggered: an EAGAIN that the kernel did not say must be followed by an edge, and so must a short read that did not empty the
 * socket. EPOLL_CTL_MOD makes one: it announces again what is ready. */
static struct os_io real;
static atomic_bool mean;         /* misbehave */
static atomic_ulong pretended;   /* EAGAINs */
static _Atomic(wsc_loop *) loop; /* whose sockets these are */
static _Atomic(void *) owner;
static _Thread_local unsigned reads, writes;

static bool announce(int fd) {
  struct epoll_event again = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = owner};
  return epoll_ctl(wsc_loop_fd(loop), EPOLL_CTL_MOD, fd, &again) == 0; /* not while Happy Eyeballs hands it over */
}

static bool refuse(int fd, unsigned *calls) {
  if (!mean || ++*calls % 2 || !announce(fd)) return false;
  pretended++;
  return true;
}

static ssize_t mean_recvv(int fd, struct iovec *iov, int count) {
  if (refuse(fd, &reads)) return -EAGAIN;
  struct iovec one = {iov[0].iov_base, 1};
  if (!mean) return real.recvv(fd, iov, count);
  ssize_t n = real.recvv(fd, &one, 1);
  if (n > 0) announce(fd);
  return n;
}

static ssize_t mean_sendv(int fd, const struct iovec *iov, int count) {
  if (refuse(fd, &writes)) return -EAGAIN;
  struct iovec one = {iov[0].iov_base, 1};
  return mean ? real.sendv(fd, &one, 1) : real.sendv(fd, iov, count);
}

/* ---- the server: echoes frames, plain or by TLS -------------------------------------------------------------------- */

struct server {
  struct peer peer;
  SSL_CTX *tls;
  SSL *ssl;
};

static bool get(struct server *s, void *to, size_t n) {
  for (char *at = to; n > 0;) {
    size_t part = 0;
    if (s->ssl) {
      if (!SSL_read_ex(s->ssl, at, n, &part)) return false;
    } else {
      ssize_t got = recv(s->peer.fd, at, n, 0);
      if (got <= 0) return false;
      part = (size_t)got;
    }
    at += part;
    n -= part;
  }
  return true;
}

static void put(struct server *s, const void *from, size_t n) {
  size_t wrote = 0;
  if (n == 0) return;
  if (s->ssl) CHECK(SSL_write_ex(s->ssl, from, n, &wrote) && wrote == n);
  else peer_bytes(s->peer.fd, from, n);
}

static bool get_of(void *server, void *to, size_t n) { return get(server, to, n); }

static void upgrade(struct server *s) {
  char answer[UPGRADE_ANSWER_MAX];
  enum upgrade_outcome outcome;
  size_t length = upgrade_answer(get_of, s, answer, &outcome);
  CHECK(length > 0);
  put(s, answer, length);
}

/* Each frame comes back as it came, with a ping of the server's before it; a close ends it. */
static void *serve(void *arg) {
  struct server *s = arg;
  static uint8_t payload[1 << 17];
  unsigned pings = 0, pongs = 0;
  peer_accept_tcp(&s->peer);
  if (s->tls) {
    s->ssl = SSL_new(s->tls);
    SSL_set_fd(s->ssl, s->peer.fd);
    CHECK_EQ(SSL_accept(s->ssl), 1);
  }
  upgrade(s);
  for (;;) {
    uint8_t h[10], key[4], out[10];
    CHECK(get(s, h, 2));
    CHECK(h[1] & 0x80);
    uint64_t n = h[1] & 0x7f;
    int more = n == 126 ? 2 : n == 127 ? 8 : 0;
    CHECK(get(s, h + 2, (size_t)more));
    for (int i = 0; i < more; i++) n = (i ? n << 8 : 0) | h[2 + i];
    CHECK(n <= sizeof payload && get(s, key, 4) && get(s, payload, n));
    for (size_t i = 0; i < n; i++) payload[i] ^= key[i & 3];
    int opcode = h[0] & 15;
    if (opcode == 10) {
      CHECK(n == 2 && memcmp(payload, "p!", 2) == 0);
      pongs++;
      continue;
    }
    if (opcode < 8) {
      put(s, "\x89\x02p!", 4);
      pings++;
    }
    put(s, out, peer_header(out, opcode == 9 ? 0x8a : h[0], n));
    put(s, payload, n);
    if (opcode == 8) break;
  }
  CHECK_EQ(pongs, pings);
  uint8_t more;
  CHECK(!get(s, &more, 1)); /* and the client lets go */
  if (s->ssl) SSL_free(s->ssl);
  s->ssl = NULL;
  peer_drop(&s->peer);
  return NULL;
}

/* A certificate for 127.0.0.1, made on the spot; its PEM text is what the client trusts. */
static char *make_tls(struct server *s) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_set_pubkey(cert, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"shim", -1, -1, 0);
  X509_set_issuer_name(cert, X509_get_subject_name(cert));
  X509_EXTENSION *name = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
  X509_add_ext(cert, name, -1);
  X509_EXTENSION_free(name);
  CHECK(X509_sign(cert, key, EVP_sha256()) > 0);
  s->tls = SSL_CTX_new(TLS_server_method());
  CHECK(SSL_CTX_use_certificate(s->tls, cert) == 1 && SSL_CTX_use_PrivateKey(s->tls, key) == 1);
  BIO *memory = BIO_new(BIO_s_mem());
  CHECK(PEM_write_bio_X509(memory, cert));
  char *data, *pem;
  long n = BIO_get_mem_data(memory, &data);
  pem = calloc(1, (size_t)n + 1);
  CHECK(pem != NULL);
  memcpy(pem, data, (size_t)n);
  BIO_free(memory);
  X509_free(cert);
  EVP_PKEY_free(key);
  return pem;
}

/* ---- the conversation ---------------------------------------------------------------------------------------------- */

static void round_trip(wsc_connection *k, size_t n, int type) {
  static uint8_t data[70001];
  wsc_message m = {.struct_size = sizeof m};
  wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + LONG};
  for (size_t i = 0; i < n; i++) data[i] = (uint8_t)(type == WSC_TEXT ? 'a' + (i * 31 + n) % 26 : i * 31 + n);
  CHECK_EQ(wsc_connection_write(k, &c, type, data, n, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_read(k, &c, &m, NULL), WSC_OK);
  CHECK_EQ(m.type, type);
  CHECK_EQ(m.length, n);
  CHECK(memcmp(m.data, data, n) == 0);
  wsc_message_free(&m);
  /* All was read, so nothing is kept for more: a burst to thousands of connections would keep 64 KiB each. */
  if (!mean) CHECK(k->receiver.arena == NULL);
}

static void converse(bool tls, bool badly) {
  static const size_t sizes[] = {0,   1,    2,    124,  125,   126,   127,   511,  512,
                                 513, 1000, 4095, 4096, 65535, 65536, 65537, 70000};
  struct server s = {0};
  wsc_connection *k;
  wsc_loop *l;
  wsc_options *o = wsc_options_new();
  pthread_t thread;
  char url[64];
  peer_listen(&s.peer);
  snprintf(url, sizeof url, "%s://127.0.0.1:%u/", tls ? "wss" : "ws", s.peer.port);
  char *pem = tls ? make_tls(&s) : NULL;
  if (tls) CHECK_EQ(wsc_options_set_str(o, WSC_OPT_CA_PEM, pem), WSC_OK);
  CHECK_EQ(wsc_loop_new(NULL, &l, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_new(l, url, o, &k, NULL), WSC_OK);
  loop = l;
  owner = k; /* its actor is its first member */
  unsigned long before = pretended;
  mean = badly;
  CHECK_EQ(pthread_create(&thread, NULL, serve, &s), 0);
  wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + LONG};
  wsc_error *e = NULL;
  int r = wsc_connection_dial(k, &c, &e);
  if (r) fprintf(stderr, "%s\n", wsc_error_message(e));
  CHECK_EQ(r, WSC_OK);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    round_trip(k, sizes[i], i % 2 ? WSC_TEXT : WSC_BINARY);
    int64_t rtt = 0;
    c.deadline_ns = wsc_now_ns() + LONG; /* for each: one byte a call takes minutes in all under valgrind */
    CHECK_EQ(wsc_connection_ping(k, &c, &rtt, NULL), WSC_OK);
    CHECK(rtt > 0);
  }
  CHECK_EQ(wsc_connection_close(k, &c, 4000, "enough", NULL), WSC_OK);
  wsc_close closed = {.struct_size = sizeof closed};
  CHECK(wsc_connection_closed(k, &closed));
  CHECK_EQ(closed.code, 4000);
  CHECK_EQ(closed.code_received, 4000);
  CHECK_EQ(closed.initiator, WSC_BY_LOCAL);
  mean = false;
  pthread_join(thread, NULL);
  if (badly) CHECK(pretended - before > (tls ? 1000 : 300000)); /* about one a byte each way */
  SSL_CTX_free(s.tls);
  wsc_connection_unref(k);
  wsc_loop_free(l);
  wsc_options_free(o);
  free(pem);
  peer_close(&s.peer);
}

/* ---- signals ------------------------------------------------------------------------------------------------------- */

static atomic_ulong signals;
static atomic_bool storm_over;

static void on_signal(int number) {
  (void)number;
  signals++;
}

static void *storm(void *target) {
  while (!storm_over) {
    pthread_kill(*(pthread_t *)target, SIGUSR1);
    usleep(100);
  }
  return NULL;
}

/* The handler is set without SA_RESTART, and hits the thread that lends itself to the loop. */
static void signals_change_nothing(void) {
  struct sigaction interrupts = {.sa_handler = on_signal};
  pthread_t thread, self = pthread_self();
  sigaction(SIGUSR1, &interrupts, NULL);
  CHECK_EQ(pthread_create(&thread, NULL, storm, &self), 0);
  for (int i = 0; i < 10 || signals < 50; i++) {
    converse(false, false);
    converse(true, false);
  }
  storm_over = true;
  pthread_join(thread, NULL);
}

int main(void) {
  real = os_io;
  os_io.recvv = mean_recvv;
  os_io.sendv = mean_sendv;
  converse(false, false);
  converse(false, true);
  converse(true, false);
  converse(true, true);
  signals_change_nothing();
  return 0;
}
