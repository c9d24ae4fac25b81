/* What TLS adds to receiving: a flood of 16 B frames by TCP and by TLS, read bare (recv and SSL_read, nothing looked at) and by an engine. The server is a
 * process of its own; CPU is that of this process. Rounds take turns. Prints one JSON object: ns of CPU a message, medians. */
#define _GNU_SOURCE
#include "cpu_clock.h"
#include "upgrade.h"
#include "wscengine.h"

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGES = 1000000, FRAME = 18, ROUNDS = 9, RECORD = 16384 - 16384 % FRAME };
enum way { BARE, BARE_TLS, OURS, OURS_TLS, WAYS };

static SSL_CTX *server_context(void) {
  SSL_CTX *c = SSL_CTX_new(TLS_server_method());
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *cert = X509_new();
  X509_gmtime_adj(X509_getm_notBefore(cert), 0);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
  X509_set_pubkey(cert, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"bench", -1, -1,
                             0);
  X509_set_issuer_name(cert, X509_get_subject_name(cert));
  CHECK(X509_sign(cert, key, EVP_sha256()) > 0);
  CHECK(SSL_CTX_use_certificate(c, cert) == 1 && SSL_CTX_use_PrivateKey(c, key) == 1);
  X509_free(cert);
  EVP_PKEY_free(key);
  return c;
}

/* ---- the server ---- */

struct end {
  int fd;
  SSL *ssl; /* NULL: plain */
};

static bool get(void *end, void *to, size_t n) {
  struct end *e = end;
  for (uint8_t *at = to; n > 0;) {
    int got = e->ssl ? SSL_read(e->ssl, at, (int)n) : (int)recv(e->fd, at, n, 0);
    if (got <= 0) return false;
    at += got;
    n -= (size_t)got;
  }
  return true;
}

static bool put(struct end *e, const uint8_t *p, size_t n) {
  while (n > 0) {
    int sent = e->ssl ? SSL_write(e->ssl, p, (int)n) : (int)send(e->fd, p, n, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    p += sent;
    n -= (size_t)sent;
  }
  return true;
}

static void serve(int listener, SSL_CTX *context, bool upgrades) {
  static uint8_t frames[RECORD];
  struct end e = {.fd = accept(listener, NULL, NULL)};
  if (context) {
    e.ssl = SSL_new(context);
    SSL_set_fd(e.ssl, e.fd);
    if (SSL_accept(e.ssl) != 1) _exit(1);
  }
  char answer[UPGRADE_ANSWER_MAX];
  enum upgrade_outcome outcome;
  size_t n = upgrades ? upgrade_answer(get, &e, answer, &outcome) : 0;
  if (upgrades && !put(&e, (uint8_t *)answer, n)) _exit(1);
  for (size_t i = 0; i < sizeof frames; i += FRAME)
    memcpy(frames + i,
           "\x82\x10"
           "0123456789abcdef",
           FRAME);
  for (size_t left = (size_t)MESSAGES * FRAME; left > 0;) {
    size_t part = left < sizeof frames ? left : sizeof frames;
    if (!put(&e, frames, part)) _exit(1);
    left -= part;
  }
  char waste;
  get(&e, &waste, 1); /* until the client has had enough */
  _exit(0);
}

/* ---- the clients ---- */

static void read_bare(int port, bool tls) {
  static uint8_t buffer[65536];
  struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
  SSL_CTX *context = tls ? SSL_CTX_new(TLS_client_method()) : NULL;
  SSL *ssl = tls ? SSL_new(context) : NULL;
  if (tls) {
    SSL_set_fd(ssl, fd);
    SSL_set_read_ahead(ssl, 1);
    SSL_CTX_set_default_read_buffer_len(context, sizeof buffer);
    CHECK_EQ(SSL_connect(ssl), 1);
  }
  for (size_t left = (size_t)MESSAGES * FRAME; left > 0;) {
    int got = tls ? SSL_read(ssl, buffer, sizeof buffer) : (int)recv(fd, buffer, sizeof buffer, 0);
    CHECK(got > 0);
    left -= (size_t)got;
  }
  SSL_free(ssl);
  SSL_CTX_free(context);
  close(fd);
}

struct count {
  sem_t all;
  uint64_t messages;
};

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)data, (void)length;
  struct count *c = user;
  if (++c->messages == MESSAGES) sem_post(&c->all);
}

static void read_ours(int port, bool tls) {
  char url[64];
  struct count count = {.messages = 0};
  sem_init(&count.all, 0, 0);
  snprintf(url, sizeof url, "%s://127.0.0.1:%d/", tls ? "wss" : "ws", port);
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};
  wsc_options *o = wsc_options_new();
  wsc_options_set_int(o, WSC_OPT_INSECURE, 1);
  wsc_options_set_int(o, WSC_OPT_AUTO_RECONNECT, 0);
  wsc_options_set_int(o, WSC_OPT_CLOSE_TIMEOUT_MS, 1);
  wsc_engine *e = NULL;
  CHECK_EQ(wsc_engine_new(url, &callbacks, &count, o, &e, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_start(e, NULL, NULL), WSC_OK);
  sem_wait(&count.all);
  wsc_engine_free(e);
  wsc_options_free(o);
}

static double run(SSL_CTX *context, enum way way) {
  bool tls = way == BARE_TLS || way == OURS_TLS, ours = way == OURS || way == OURS_TLS;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof a;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(listener, (struct sockaddr *)&a, size) == 0 && listen(listener, 1) == 0);
  CHECK_EQ(getsockname(listener, (struct sockaddr *)&a, &size), 0);
  pid_t server = fork();
  CHECK(server >= 0);
  if (server == 0) serve(listener, tls ? context : NULL, ours);
  double began = cpu_ns();
  (ours ? read_ours : read_bare)(ntohs(a.sin_port), tls);
  double took = cpu_ns() - began;
  close(listener);
  CHECK_EQ(waitpid(server, NULL, 0), server);
  return took / MESSAGES;
}

int main(void) {
  double ns[WAYS][ROUNDS];
  signal(SIGPIPE, SIG_IGN);
  SSL_CTX *context = server_context();
  for (int round = 0; round < ROUNDS; round++)
    for (enum way way = BARE; way < WAYS; way++) ns[way][round] = run(context, way);
  printf("{\"bare\": %.1f, \"bare_tls\": %.1f, \"ours\": %.1f, \"ours_tls\": %.1f}\n", median(ns[BARE], ROUNDS),
         median(ns[BARE_TLS], ROUNDS), median(ns[OURS], ROUNDS), median(ns[OURS_TLS], ROUNDS));
  SSL_CTX_free(context);
  return 0;
}
