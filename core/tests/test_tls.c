/* TLS sessions against a server in this very thread, every byte under control, and against `openssl s_server` and
 * Python's ssl: the socket's moods change nothing, ends and errors stay, memory may fail anywhere. Trust is
 * test_tls_trust.c's. */
#define _GNU_SOURCE
#include "error.h"
#include "mem.h"
#include "os.h"
#include "tls_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static struct os_io real_io;
static unsigned mood;       /* every other call finds the socket not ready */
static size_t at_most = 1;  /* bytes a call */
static long send_room = -1; /* bytes that may still be sent; -1: no limit */
static int recv_error;      /* the next recv fails with it, and the one behind finds the end, as the kernel has it */

static ssize_t moody_recvv(int fd, struct iovec *iov, int count) {
  if (++mood % 2) return -EAGAIN;
  struct iovec one = {iov[0].iov_base, iov[0].iov_len < at_most ? iov[0].iov_len : at_most};
  CHECK_EQ(count, 1);
  return real_io.recvv(fd, &one, 1);
}

static ssize_t moody_sendv(int fd, const struct iovec *iov, int count) {
  if (++mood % 3 == 0) return -EAGAIN;
  struct iovec one = {iov[0].iov_base, iov[0].iov_len < at_most ? iov[0].iov_len : at_most};
  CHECK_EQ(count, 1);
  return real_io.sendv(fd, &one, 1);
}

static ssize_t narrow_sendv(int fd, const struct iovec *iov, int count) {
  struct iovec one = iov[0];
  CHECK_EQ(count, 1);
  if (send_room == 0) return -EAGAIN;
  if (send_room > 0 && one.iov_len > (size_t)send_room) one.iov_len = (size_t)send_room;
  ssize_t n = real_io.sendv(fd, &one, 1);
  if (n > 0 && send_room > 0) send_room -= n;
  return n;
}

static ssize_t failing_recvv(int fd, struct iovec *iov, int count) {
  (void)fd, (void)iov, (void)count;
  int e = recv_error;
  recv_error = 0;
  return -e;
}

static struct server peer;
static struct tls_context *peer_context;

static struct tls *connected(void) {
  server_new(&peer, &good, NULL, false);
  peer_context = trusting("root.pem");
  struct tls *t = session(peer_context, peer.client_fd, "wss://example.test/");
  CHECK_EQ(shake(t, &peer, NULL), WSC_OK);
  CHECK(peer.done);
  return t;
}

static void disconnect(struct tls *t) {
  os_io = real_io;
  tls_free(t);
  tls_context_unref(peer_context);
  server_free(&peer);
}

static uint8_t byte_at(size_t i, int direction) { return (uint8_t)(i * 31 + i / 251 + (size_t)direction * 7); }

/* Both directions at once, each checked byte by byte. */
static void exchange(struct tls *t, size_t total) {
  uint8_t out[40000], in[3000];
  size_t sent = 0, echoed = 0, got = 0, seen = 0;
  while (seen < total || got < total) {
    size_t n = total - sent < sizeof out ? total - sent : sizeof out;
    for (size_t i = 0; i < n; i++) out[i] = byte_at(sent + i, 0);
    ssize_t r = tls_write(t, out, n);
    if (r > 0) sent += (size_t)r;
    else CHECK(r == -EAGAIN || n == 0);
    while ((r = SSL_read(peer.ssl, in, sizeof in)) > 0)
      for (ssize_t i = 0; i < r; i++) CHECK_EQ(in[i], byte_at(seen++, 0));
    n = total - echoed < sizeof out ? total - echoed : sizeof out;
    for (size_t i = 0; i < n; i++) out[i] = byte_at(echoed + i, 1);
    r = n ? SSL_write(peer.ssl, out, (int)n) : 0;
    if (r > 0) echoed += (size_t)r;
    ERR_clear_error();
    while ((r = tls_read(t, in, 1 + got % sizeof in)) > 0)
      for (ssize_t i = 0; i < r; i++) CHECK_EQ(in[i], byte_at(got++, 1));
    CHECK_EQ(r, -EAGAIN);
    CHECK(!tls_pending(t));
  }
  CHECK_EQ(seen, total);
  CHECK_EQ(got, total);
}

static void one_byte_at_a_time_changes_nothing(void) {
  os_io.recvv = moody_recvv;
  os_io.sendv = moody_sendv;
  struct tls *t = connected(); /* the handshake, too */
  exchange(t, 20000);
  at_most = 4097;
  exchange(t, 3000000);
  at_most = 1;
  disconnect(t);
  t = connected();
  exchange(t, 3000000);
  disconnect(t);
}

static void expect(const char *want) {
  char got[64] = "";
  size_t n = 0, length = strlen(want);
  while (n < length) {
    int r = SSL_read(peer.ssl, got + n, (int)(sizeof got - 1 - n));
    CHECK(r > 0);
    n += (size_t)r;
  }
  CHECK_STR(got, want);
  CHECK(SSL_read(peer.ssl, got, 1) <= 0);
  ERR_clear_error();
}

/* What a full socket was not seen to take may be changed, as with a socket. */
static void a_full_socket_takes_nothing_secretly(void) {
  struct tls *t = connected();
  os_io.sendv = narrow_sendv;
  send_room = 7;                          /* some bytes of the record, not all */
  CHECK_EQ(tls_write(t, "abcdef", 6), 5); /* all are under way; the last is kept back so that somebody comes again */
  CHECK_EQ(tls_write(t, "fgh", 3), -EAGAIN);
  send_room = -1;
  CHECK_EQ(tls_write(t, "fXY", 3), 3);
  expect("abcdefXY");
  send_room = 0;
  CHECK_EQ(tls_write(t, "1", 1), -EAGAIN); /* a lone byte is offered again */
  send_room = 3;
  CHECK_EQ(tls_write(t, "1", 1), -EAGAIN);
  send_room = -1;
  CHECK_EQ(tls_write(t, "1", 1), 1);
  expect("1");
  send_room = 0;
  CHECK_EQ(tls_write(t, "23", 2), 1);
  send_room = -1;
  CHECK_EQ(tls_write(t, "3", 1), 1);
  expect("23");
  CHECK_EQ(tls_write(t, "", 0), 0);
  disconnect(t);
}

static void pending_never_spins(void) {
  struct tls *t = connected();
  char c[8];
  CHECK_EQ(tls_read(t, c, 1), -EAGAIN);
  CHECK(!tls_pending(t));
  CHECK_EQ(SSL_write(peer.ssl, "abcd", 4), 4);
  CHECK_EQ(SSL_write(peer.ssl, "efgh", 4), 4);
  CHECK_EQ(tls_read(t, c, 2), 2);
  CHECK(tls_pending(t)); /* the socket is empty, and there is more */
  CHECK_EQ(tls_read(t, c, 2), 2);
  CHECK(tls_pending(t));
  CHECK_EQ(tls_read(t, c, 8), 4);
  CHECK_EQ(tls_read(t, c, 8), -EAGAIN);
  CHECK(!tls_pending(t));
  os_io.recvv = moody_recvv; /* half a record is there, and nothing can be read of it */
  at_most = 12;
  mood = 1;
  CHECK_EQ(SSL_write(peer.ssl, "ijkl", 4), 4);
  CHECK_EQ(tls_read(t, c, 8), -EAGAIN);
  CHECK(!tls_pending(t));
  os_io = real_io;
  at_most = 1;
  CHECK_EQ(tls_read(t, c, 8), 4);
  disconnect(t);
}

/* Each of the peer's key updates asks for one of ours, which it never reads: they must not pile up without end. */
static void answers_that_nobody_reads_have_a_limit(void) {
  enum { MANY = 100000 }; /* a record each, 27 bytes */
  struct tls *t = connected();
  char c[8];
  ssize_t n = -EAGAIN;
  int rounds = 0;
  os_io.sendv = narrow_sendv;
  send_room = 0;
  for (; n == -EAGAIN && rounds < MANY; rounds++) {
    CHECK_EQ(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    CHECK_EQ(SSL_do_handshake(peer.ssl), 1);
    n = tls_read(t, c, sizeof c);
  }
  CHECK(rounds > 100 && rounds < MANY);
  CHECK_EQ(n, -EPROTO);
  CHECK_STR(tls_error_text(t), "the server wants answer upon answer and does not read them");
  CHECK_EQ(tls_read(t, c, sizeof c), -EPROTO);
  send_room = -1;
  disconnect(t);
}

static size_t flooded;

/* The peer is always faster than we are. */
static ssize_t flooding_recvv(int fd, struct iovec *iov, int count) {
  enum { END = 8 << 20 };
  if (flooded > END) return -EAGAIN;
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    CHECK_EQ(SSL_do_handshake(peer.ssl), 1);
  }
  ssize_t n = real_io.recvv(fd, iov, count);
  if (n > 0) flooded += (size_t)n;
  return n;
}

/* One read must come back, whatever the peer sends instead of data. */
static void records_without_data_have_a_limit(void) {
  struct tls *t = connected();
  char c[8];
  os_io.recvv = flooding_recvv;
  CHECK_EQ(tls_read(t, c, sizeof c), -EPROTO);
  CHECK(flooded < 1 << 20);
  CHECK_STR(tls_error_text(t), "the server sends records without end and no data in them");
  CHECK_EQ(tls_read(t, c, sizeof c), -EPROTO);
  disconnect(t);
}

/* One TLS connection to s, which serves its second one and more. Whether it resumed an earlier one. */
static bool resumes(struct tls_context *c, struct server *s, const char *url, bool proxy) {
  int fds[2];
  char byte;
  struct url u;
  struct tls *t;
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  SSL_free(s->ssl);
  close(s->fd);
  close(s->client_fd);
  s->ssl = NULL;
  s->fd = fds[0];
  s->client_fd = fds[1];
  s->done = false;
  CHECK_EQ(url_parse(url, &u, NULL), WSC_OK);
  CHECK_EQ(tls_new(c, s->client_fd, NULL, &u, proxy, &t, NULL), WSC_OK);
  url_free(&u);
  CHECK_EQ(shake(t, s, NULL), WSC_OK);
  CHECK_EQ(tls_read(t, &byte, 1), -EAGAIN); /* the tickets come behind the handshake */
  bool resumed = strstr(tls_version_text(t), "resumed") != NULL;
  tls_free(t);
  return resumed;
}

/* What a proxy gives does not push out what the server gave, nor is it ever shown to a server. */
static void a_proxy_has_sessions_of_its_own(void) {
  static const char at[] = "wss://example.test/", by[] = "wss://example.test:8443/";
  struct server server, proxy;
  server_new(&server, &good, NULL, false);
  server_new(&proxy, &good, NULL, false);
  struct tls_context *c = trusting("root.pem");
  CHECK(!resumes(c, &proxy, by, true));
  CHECK(!resumes(c, &server, at, false));
  CHECK(resumes(c, &proxy, by, true));
  CHECK(resumes(c, &server, at, false));
  CHECK(resumes(c, &server, at, false));
  CHECK(!resumes(c, &proxy, by, false)); /* the same peer, but now its name and key are judged as a server's */
  tls_context_unref(c);
  server_free(&server);
  server_free(&proxy);
}

/* A server, or what balances load before it, that hangs up on a session it does not like: the next attempt goes without. */
static void a_session_that_did_not_help_is_dropped(void) {
  static const char url[] = "wss://example.test/";
  struct server server;
  server_new(&server, &good, NULL, false);
  CHECK_EQ(SSL_CTX_set_max_proto_version(server.ctx, TLS1_2_VERSION), 1);
  struct tls_context *c = trusting("root.pem");
  CHECK(!resumes(c, &server, url, false));
  CHECK(resumes(c, &server, url, false));
  CHECK(resumes(c, &server, url, false));
  int fds[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  struct tls *t = session(c, fds[0], url);
  CHECK_EQ(tls_handshake(t, NULL), WSC_AGAIN);
  close(fds[1]);
  CHECK_EQ(tls_handshake(t, NULL), WSC_ERR_IO);
  tls_free(t);
  close(fds[0]);
  CHECK(!resumes(c, &server, url, false));
  CHECK(resumes(c, &server, url, false));
  tls_context_unref(c);
  server_free(&server);
}

/* TLS_ALPN is what the server is asked for: a proxy may know HTTP only, and must refuse what it does not know. */
static void a_proxy_is_asked_for_http(void) {
  struct server s;
  struct tls_context *c = context_of(with(WSC_OPT_CA_FILE, world_path("root.pem"), WSC_OPT_TLS_ALPN, "mqtt"));
  for (int proxy = 0; proxy < 2; proxy++) {
    struct url u;
    struct tls *t;
    wsc_error *e = NULL;
    server_new(&s, &good, NULL, false);
    CHECK_EQ(url_parse("wss://example.test/", &u, NULL), WSC_OK);
    CHECK_EQ(tls_new(c, s.client_fd, NULL, &u, proxy != 0, &t, NULL), WSC_OK);
    CHECK_EQ(shake(t, &s, &e), proxy ? WSC_OK : WSC_ERR_TLS);
    if (!proxy) CHECK_HAS(wsc_error_message(e), "no application protocol");
    wsc_error_unref(e);
    url_free(&u);
    tls_free(t);
    server_free(&s);
  }
  tls_context_unref(c);
}

static void the_end_is_the_end(void) {
  char c[8];
  for (int i = 0; i < 2; i++) { /* with and without close_notify */
    struct tls *t = connected();
    CHECK_EQ(SSL_write(peer.ssl, "last", 4), 4);
    if (i == 0) SSL_shutdown(peer.ssl);
    shutdown(peer.fd, SHUT_WR);
    CHECK_EQ(tls_read(t, c, 8), 4);
    CHECK_EQ(tls_read(t, c, 8), 0);
    CHECK_EQ(tls_read(t, c, 8), 0);
    CHECK(!tls_pending(t));
    CHECK_EQ(tls_write(t, "still", 5), 5); /* the other direction is open */
    expect("still");
    disconnect(t);
  }
}

static void an_error_stays(void) {
  char c[8];
  struct tls *t = connected();
  os_io.recvv = failing_recvv;
  recv_error = ECONNRESET;
  CHECK_EQ(tls_read(t, c, 8), -ECONNRESET);
  CHECK_EQ(tls_read(t, c, 8), -ECONNRESET); /* the kernel would now say: end of stream */
  CHECK_EQ(tls_write(t, "x", 1), -ECONNRESET);
  CHECK_STR(tls_error_text(t), "Connection reset by peer");
  disconnect(t);

  t = connected();
  close(peer.fd);
  peer.fd = -1;
  CHECK_EQ(tls_write(t, "x", 1), -EPIPE); /* and no SIGPIPE, which would have ended this program */
  CHECK_EQ(tls_write(t, "x", 1), -EPIPE);
  tls_shutdown(t);
  disconnect(t);

  t = connected();
  CHECK_EQ(write(peer.fd, "\x17\x03\x03\x00\x14garbagegarbagegarbag", 25), 25);
  CHECK_EQ(tls_read(t, c, 8), -EPROTO);
  CHECK(strlen(tls_error_text(t)) > 0);
  CHECK_EQ(ERR_peek_error(), 0);
  disconnect(t);
}

static void shutdown_tells_the_peer_and_free_does_not(void) {
  char c;
  struct tls *t = connected();
  tls_shutdown(t);
  tls_shutdown(t);
  CHECK_EQ(SSL_get_error(peer.ssl, SSL_read(peer.ssl, &c, 1)), SSL_ERROR_ZERO_RETURN);
  disconnect(t);
  t = connected();
  tls_free(t);
  CHECK_EQ(SSL_get_error(peer.ssl, SSL_read(peer.ssl, &c, 1)), SSL_ERROR_WANT_READ);
  CHECK(fcntl(peer.client_fd, F_GETFD) >= 0);
  tls_context_unref(peer_context);
  server_free(&peer);
}

/* Errors of others in the thread's queue are not taken for ours. */
static void a_foreign_error_is_not_ours(void) {
  struct tls *t = connected();
  char c;
  ERR_raise(ERR_LIB_USER, 1);
  CHECK_EQ(tls_read(t, &c, 1), -EAGAIN);
  CHECK_EQ(SSL_write(peer.ssl, "a", 1), 1);
  ERR_raise(ERR_LIB_USER, 1);
  CHECK_EQ(tls_read(t, &c, 1), 1);
  disconnect(t);
}

static void lack_of_memory_is_survived(void) {
  long live = mem_live();
  bool failed = true;
  for (long n = 1; failed; n++) {
    struct server s;
    struct tls_context *c = NULL;
    struct tls *t = NULL;
    struct url u;
    wsc_error *e = NULL;
    wsc_options *o = with(WSC_OPT_CERT_FILE, world_path("both.pem"), WSC_OPT_CA_FILE, world_path("root.pem"));
    CHECK_EQ(url_parse("wss://example.test/", &u, NULL), WSC_OK);
    server_new(&s, &good, NULL, true);
    os_io.sendv = moody_sendv; /* so that something has to be kept */
    mem_fail_after(n);
    int status = tls_context_new(o, &c, &e);
    if (status == WSC_OK) status = tls_new(c, s.client_fd, NULL, &u, false, &t, &e);
    if (status == WSC_OK) status = shake(t, &s, &e);
    failed = mem_failed();
    mem_fail_after(-1);
    os_io = real_io;
    CHECK_EQ(status, failed ? WSC_ERR_NOMEM : WSC_OK);
    CHECK_EQ(wsc_error_status(e), status);
    wsc_error_unref(e);
    tls_free(t);
    tls_context_unref(c);
    url_free(&u);
    wsc_options_free(o);
    server_free(&s);
    CHECK_EQ(mem_live(), live);
  }
}

/* ---- other people's servers
 * ---------------------------------------------------------------------------------------- */

/* Starts it; the port is what follows the last colon of its first line that has one (or all of it). -1: it is not
 * installed. */
static int start(char *const argv[], pid_t *pid, int *keep_open, FILE **out) {
  int to[2], from[2];
  CHECK_EQ(pipe2(to, O_CLOEXEC), 0);
  CHECK_EQ(pipe2(from, O_CLOEXEC), 0);
  fflush(NULL);
  *pid = fork();
  if (*pid == 0) {
    dup2(to[0], 0);
    dup2(from[1], 1);
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2); /* what it says of each connection */
    execvp(argv[0], argv);
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  *keep_open = to[1];
  *out = fdopen(from[0], "r");
  char line[256];
  while (fgets(line, sizeof line, *out)) {
    const char *colon = strrchr(line, ':');
    int port = colon ? atoi(colon + 1) : 0;
    if (port > 0) return port;
  }
  return -1;
}

/* Says hello to the server at the port and reads what comes back. */
static void talk_to(int port, const char *want) {
  struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct tls_context *c = trusting("root.pem");
  char url[64], got[256] = "";
  wsc_error *e = NULL;
  int status, fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
  CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  struct pollfd p = {.fd = fd, .events = POLLIN};
  snprintf(url, sizeof url, "wss://127.0.0.1:%d/", port);
  struct tls *t = session(c, fd, url);
  while ((status = tls_handshake(t, &e)) == WSC_AGAIN) CHECK_EQ(poll(&p, 1, 20000), 1);
  if (status != WSC_OK) fprintf(stderr, "%s\n", wsc_error_message(e));
  CHECK_EQ(status, WSC_OK);
  CHECK_EQ(tls_write(t, "hello\n", 6), 6);
  for (size_t n = 0; n < strlen(want);) {
    ssize_t r = tls_read(t, got + n, sizeof got - 1 - n);
    if (r == -EAGAIN) CHECK_EQ(poll(&p, 1, 20000), 1);
    else CHECK(r > 0);
    if (r > 0) n += (size_t)r;
  }
  CHECK_STR(got, want);
  tls_shutdown(t);
  tls_free(t);
  tls_context_unref(c);
  close(fd);
}

static void openssl_and_python_are_understood(void) {
  static const char program[] = "import socket, ssl, sys\n"
                                "c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
                                "c.load_cert_chain(sys.argv[1], sys.argv[2])\n"
                                "l = socket.create_server(('127.0.0.1', 0))\n"
                                "print('port:%d' % l.getsockname()[1], flush=True)\n"
                                "s = c.wrap_socket(l.accept()[0], server_side=True)\n"
                                "s.sendall(b'you said ' + s.recv(100))\n"
                                "s.recv(100)\n";
  char certificate[128], key[128];
  snprintf(certificate, sizeof certificate, "%s", world_path("good.pem"));
  snprintf(key, sizeof key, "%s", world_path("good.key"));
  char *const servers[][16] = {{"openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key,
                                "-rev", "-naccept", "1", NULL},
                               {"openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key,
                                "-rev", "-naccept", "1", "-tls1_2", NULL},
                               {"python3", "-c", (char *)(uintptr_t)program, certificate, key, NULL}};
  static const char *const answers[] = {"olleh\n", "olleh\n", "you said hello\n"};
  for (int i = 0; i < 3; i++) {
    pid_t pid;
    int keep_open, status;
    FILE *out;
    int port = start(servers[i], &pid, &keep_open, &out);
    if (port > 0) talk_to(port, answers[i]);
    else printf("skipped: %s did not start\n", servers[i][0]);
    close(keep_open);
    kill(pid, SIGKILL); /* our own child */
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (port < 0) CHECK(WIFEXITED(status)); /* not installed or unable: not hanging */
    fclose(out);
  }
}

int main(void) {
  CHECK(mem_live() >= 0); /* counts from here on */
  real_io = os_io;
  make_world();
  one_byte_at_a_time_changes_nothing();
  a_full_socket_takes_nothing_secretly();
  pending_never_spins();

  answers_that_nobody_reads_have_a_limit();
  records_without_data_have_a_limit();
  a_proxy_has_sessions_of_its_own();
  a_session_that_did_not_help_is_dropped();
  a_proxy_is_asked_for_http();
  the_end_is_the_end();
  an_error_stays();
  shutdown_tells_the_peer_and_free_does_not();
  a_foreign_error_is_not_ours();
  lack_of_memory_is_survived();
  openssl_and_python_are_understood();
  tls_free(NULL);
  tls_context_unref(NULL);
  end_world();
  CHECK_EQ(mem_live(), 0);
  return 0;
}
