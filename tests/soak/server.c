#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 2048 }; /* of a request, or of a frame: the soak's messages are small */

struct client {
  int fd;
  SSL *ssl;
  bool shaken, upgraded;
  size_t used;
  uint8_t in[ROOM];
};

static void must(bool ok, const char *what) {
  if (ok) return;
  perror(what);
  _exit(3);
}

/* 127.0.0.1:port, any port for 0. With SO_REUSEPORT the keeper holds the port while no server lives. */
static int bound(uint16_t port) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  must(fd >= 0, "socket");
  must(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0, "SO_REUSEPORT");
  must(bind(fd, (struct sockaddr *)&a, sizeof a) == 0, "bind");
  return fd;
}

/* A certificate for 127.0.0.1 that is its own issuer. */
static SSL_CTX *make_context(char **pem) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *x = X509_new();
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  BIO *text = BIO_new(BIO_s_mem());
  must(key && x && ctx && text, "OpenSSL");
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)"soak", -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  X509_gmtime_adj(X509_getm_notBefore(x), -3600L);
  X509_gmtime_adj(X509_getm_notAfter(x), 86400L);
  X509_set_pubkey(x, key);
  X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
  must(names && X509_add_ext(x, names, -1) == 1 && X509_sign(x, key, EVP_sha256()) > 0, "certificate");
  must(SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1, "certificate");
  must(PEM_write_bio_X509(text, x) == 1, "PEM");
  char *data;
  long n = BIO_get_mem_data(text, &data);
  must((*pem = calloc(1, (size_t)n + 1)) != NULL, "memory");
  memcpy(*pem, data, (size_t)n); /* it ends without a NUL */
  X509_EXTENSION_free(names);
  X509_free(x);
  EVP_PKEY_free(key);
  BIO_free(text);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  return ctx;
}

/* ---- the server ---- */

/* > 0: bytes; 0: nothing now; -1: over. */
static int take(struct client *c) {
  size_t room = ROOM - c->used;
  if (room == 0) return -1;
  if (!c->ssl) {
    ssize_t n = recv(c->fd, c->in + c->used, room, 0);
    return n > 0 ? (int)n : n < 0 && errno == EAGAIN ? 0 : -1;
  }
  int n = c->shaken ? SSL_read(c->ssl, c->in + c->used, (int)room) : SSL_accept(c->ssl);
  if (n <= 0) return SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ ? 0 : -1;
  if (c->shaken) return n;
  c->shaken = true;
  return take(c);
}

static bool give(struct client *c, const void *p, size_t n) {
  if (c->ssl) return SSL_write(c->ssl, p, (int)n) == (int)n;
  return send(c->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool upgrade(struct client *c) {
  char joined[80], answer[256], accepted[32];
  uint8_t digest[20];
  const char *end = memmem(c->in, c->used, "\r\n\r\n", 4);
  if (!end) return true;
  const char *key = memmem(c->in, c->used, "Sec-WebSocket-Key: ", 19);
  if (!key) return false;
  snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
  SHA1((unsigned char *)joined, strlen(joined), digest);
  EVP_EncodeBlock((unsigned char *)accepted, digest, 20);
  int n = snprintf(answer, sizeof answer,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\n",
                   accepted);
  c->upgraded = true;
  c->used = 0; /* a client says nothing before the answer */
  return give(c, answer, (size_t)n);
}

/* Whole frames of up to 125 bytes go back as they came, a ping as a pong; false after a close. */
static bool frames(struct client *c) {
  size_t at = 0;
  while (c->used - at >= 6) {
    uint8_t *f = c->in + at;
    size_t n = f[1] & 0x7f;
    if (n > 125) return false;
    if (c->used - at < 6 + n) break;
    int opcode = f[0] & 15;
    uint8_t out[2 + 125] = {(uint8_t)(opcode == 9 ? 0x8a : f[0]), (uint8_t)n};
    for (size_t i = 0; i < n; i++) out[2 + i] = f[6 + i] ^ f[2 + (i & 3)];
    if ((opcode < 3 || opcode == 8 || opcode == 9) && !give(c, out, 2 + n)) return false;
    if (opcode == 8) return false;
    at += 6 + n;
  }
  memmove(c->in, c->in + at, c->used - at);
  c->used -= at;
  return true;
}

static bool serve(struct client *c) {
  int n;
  while ((n = take(c)) > 0) {
    c->used += (size_t)n;
    if (!(c->upgraded ? frames(c) : upgrade(c))) return false;
  }
  return n == 0;
}

static void drop(struct client *c) {
  if (c->ssl && c->shaken) SSL_shutdown(c->ssl);
  SSL_free(c->ssl);
  close(c->fd);
  free(c);
}

static void take_in(int poller, int listener, SSL_CTX *ctx) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct client *c = calloc(1, sizeof *c);
    must(c != NULL, "calloc");
    c->fd = fd;
    if (ctx) {
      c->ssl = SSL_new(ctx);
      must(c->ssl && SSL_set_fd(c->ssl, fd) == 1, "SSL");
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &ev) == 0, "epoll");
  }
  must(errno == EAGAIN || errno == ECONNABORTED, "accept");
}

static void run_server(uint16_t port, SSL_CTX *ctx, int ready) {
  int listener = bound(port), poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event ev = {.events = EPOLLIN}, got[256];
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  must(listen(listener, 4096) == 0 && fcntl(listener, F_SETFL, O_NONBLOCK) == 0, "listen");
  must(poller >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, listener, &ev) == 0, "epoll");
  must(write(ready, "u", 1) == 1, "write");
  for (;;) {
    int n = epoll_wait(poller, got, 256, -1);
    for (int i = 0; i < n; i++) {
      struct client *c = got[i].data.ptr;
      if (!c) take_in(poller, listener, ctx);
      else if (!serve(c)) drop(c);
    }
  }
}

/* ---- the keeper ---- */

static void run_keeper(int line, uint16_t port, SSL_CTX *ctx) {
  pid_t server = 0;
  char command;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (read(line, &command, 1) == 1) {
    if (command == 'u') {
      server = fork();
      must(server >= 0, "fork");
      if (server == 0) run_server(port, ctx, line);
    } else {
      kill(server, SIGKILL);
      waitpid(server, NULL, 0);
      must(write(line, "d", 1) == 1, "write");
    }
  }
  _exit(0);
}

static void command(struct keeper *k, char what) {
  char answer;
  must(write(k->line, &what, 1) == 1, "the server's keeper");
  must(read(k->line, &answer, 1) == 1 && answer == what, "the server's keeper");
}

void keeper_up(struct keeper *k) { command(k, 'u'); }
void keeper_down(struct keeper *k) { command(k, 'd'); }

void keeper_start(struct keeper *k, bool tls) {
  int line[2], held = bound(0);
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  *k = (struct keeper){0};
  must(getsockname(held, (struct sockaddr *)&a, &n) == 0, "getsockname");
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) == 0, "socketpair");
  k->port = ntohs(a.sin_port);
  SSL_CTX *ctx = tls ? make_context(&k->certificate) : NULL;
  k->pid = fork();
  must(k->pid >= 0, "fork");
  if (k->pid == 0) {
    close(line[0]);
    run_keeper(line[1], k->port, ctx);
  }
  SSL_CTX_free(ctx);
  close(line[1]);
  close(held);
  k->line = line[0];
}

void keeper_stop(struct keeper *k) {
  close(k->line);
  waitpid(k->pid, NULL, 0);
  free(k->certificate);
}
