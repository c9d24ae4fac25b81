/* An adapter of one's own: callbacks, reconnects and clean ends of the engine over a local packet socket, where a packet is a message.
 *
 *   own_adapter /run/feed.sock "hello"
 *
 * Each slot may block, and obeys its context: the deadline, and the cancellation, whose descriptor is polled beside the
 * socket. A text "bye" ends the run; after any other end of the connection the engine dials again. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <wscengine.h>

struct packets {
  struct sockaddr_un address;
  int fd; /* after a close it is only shut down, which wakes who waits for it; the next dial closes it */
};

static int wait_for(const struct packets *p, short events, const wsc_context *c) {
  struct pollfd on[2] = {{.fd = p->fd, .events = events}, {.fd = wsc_cancel_fd(c->cancel), .events = POLLIN}};
  int64_t left = c->deadline_ns != 0 ? (c->deadline_ns - wsc_now_ns()) / 1000000 : 1000;
  int ready = poll(on, 2, left > 1000 ? 1000 : left < 0 ? 0 : (int)left);
  if (on[1].revents != 0) return WSC_ERR_CANCELED;
  return ready == 0 && c->deadline_ns != 0 && wsc_now_ns() >= c->deadline_ns ? WSC_ERR_TIMEOUT : WSC_OK;
}

static int dial(void *self, const wsc_context *c, const char *url, const wsc_attempt *a, wsc_response *out,
                wsc_error **err) {
  struct packets *p = self;
  (void)c, (void)url, (void)a, (void)out;
  if (p->fd >= 0) close(p->fd);
  p->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connect(p->fd, (struct sockaddr *)&p->address, sizeof p->address) == 0) return WSC_OK;
  wsc_error_new(WSC_ERR_IO, 0, p->address.sun_path, NULL, NULL, NULL, err); /* says where, for the log and start */
  return WSC_ERR_IO;
}

static int hang_up(void *self, const wsc_context *c, int code, const char *reason, wsc_error **err) {
  (void)c, (void)code, (void)reason, (void)err;
  return shutdown(((struct packets *)self)->fd, SHUT_RDWR) == 0 ? WSC_OK : WSC_ERR_CLOSED;
}

static int ping(void *self, const wsc_context *c, wsc_error **err) {
  (void)c, (void)err;
  return send(((struct packets *)self)->fd, "", 0, MSG_NOSIGNAL) == 0 ? WSC_OK : WSC_ERR_CLOSED;
}

static int read_packet(void *self, const wsc_context *c, wsc_batch *out, wsc_error **err) {
  struct packets *p = self;
  uint8_t data[65536];
  (void)err;
  for (int status; (status = wait_for(p, POLLIN, c)) == WSC_OK;) {
    ssize_t n = recv(p->fd, data, sizeof data, MSG_DONTWAIT);
    if (n > 0) return wsc_batch_add(out, WSC_TEXT, data, (size_t)n);
    if (n == 0) return WSC_ERR_CLOSED; /* with a wsc_error_new the close code and reason would go along */
  }
  return WSC_ERR_CANCELED;
}

static int write_packet(void *self, const wsc_context *c, int type, const uint8_t *p, size_t n, wsc_error **err) {
  (void)type, (void)err;
  int status = wait_for(self, POLLOUT, c);
  if (status != WSC_OK) return status;
  return send(((struct packets *)self)->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n ? WSC_OK : WSC_ERR_CLOSED;
}

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)r, (void)restarting;
  return wsc_connection_write(wsc_session_connection(s), NULL, WSC_TEXT, user, strlen(user), NULL);
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)type, (void)user;
  printf("%.*s\n", (int)length, (const char *)data);
  fflush(stdout);
  if (length == 3 && memcmp(data, "bye", 3) == 0) wsc_session_exit(s);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  static struct packets packets = {.address.sun_family = AF_UNIX, .fd = -1};
  static const wsc_adapter slots = {sizeof slots, 0, dial, hang_up, ping, read_packet, write_packet, NULL, NULL};
  const wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_open = on_open, .on_message = on_message};
  strncpy(packets.address.sun_path, argv[1], sizeof packets.address.sun_path - 1);
  wsc_options *options = wsc_options_new();
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  int status = wsc_options_set_adapter(options, &slots, &packets);
  if (status == WSC_OK) status = wsc_engine_new("ws://packets.invalid/", &callbacks, argv[2], options, &engine, &error);
  if (status == WSC_OK) status = wsc_engine_start(engine, NULL, &error);
  if (status == WSC_OK) status = wsc_engine_wait(engine, NULL, &error);
  if (error != NULL) fprintf(stderr, "%s\n", wsc_error_message(error));
  wsc_error_unref(error);
  wsc_engine_free(engine);
  wsc_options_free(options);
  return status == WSC_STOPPED ? 0 : 1;
}
