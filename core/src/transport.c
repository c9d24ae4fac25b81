#define _GNU_SOURCE
#include "transport.h"

#include "error.h"
#include "os.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* glibc's own tcp_info ends before tcpi_bytes_acked */
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXPECT_LEAST = 64 * 1024, EXPECT_MOST = 256 * 1024 };

void transport_stamp(struct transport *t) {
  int on = 1;
  t->stamped = !t->tls && setsockopt(t->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0;
}

ssize_t transport_recv(struct transport *t, struct iovec *iov, int count) {
  if (t->stamped) return os_recv_stamped(t->fd, iov, count, &t->stamp_ns);
  if (!t->tls) return os_io.recvv(t->fd, iov, count);
  size_t got = 0;
  for (int i = 0; i < count; i++) {
    for (size_t at = 0; at < iov[i].iov_len;) {
      ssize_t n = tls_read(t->tls, (uint8_t *)iov[i].iov_base + at, iov[i].iov_len - at);
      t->dry = n == -EAGAIN;
      if (n <= 0) return got ? (ssize_t)got : n; /* an end or an error shows again at the next call */
      at += (size_t)n;
      got += (size_t)n;
    }
  }
  return (ssize_t)got;
}

void transport_expect(struct transport *t, uint64_t bytes) {
  int least = bytes < EXPECT_LEAST || t->tls ? 0 : bytes < EXPECT_MOST ? (int)bytes : EXPECT_MOST;
  if (t->least == least || setsockopt(t->fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least)) return;
  t->least = least;
}

ssize_t transport_send(struct transport *t, const void *p, size_t n) {
  if (t->tls) return tls_write(t->tls, p, n);
  struct iovec one = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
  return os_io.sendv(t->fd, &one, 1);
}

const char *transport_error(const struct transport *t, ssize_t result, char buffer[static 128]) {
  return result == -EPROTO && t->tls ? tls_error_text(t->tls) : error_errno_text((int)-result, buffer);
}

void transport_finish(struct transport *t) {
  if (t->fd < 0) return;
  transport_expect(t, 0);
  if (t->tls) tls_shutdown(t->tls);
  shutdown(t->fd, SHUT_WR);
}

bool transport_progress(const struct transport *t, struct progress *out) {
  struct tcp_info info = {0};
  socklen_t n = sizeof info;
  int waiting = 0;
  if (t->fd < 0 || getsockopt(t->fd, IPPROTO_TCP, TCP_INFO, &info, &n) || ioctl(t->fd, SIOCOUTQ, &waiting))
    return false;
  if (n < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked) return false;
  *out = (struct progress){.acked = info.tcpi_bytes_acked,
                           .waiting = (uint64_t)waiting,
                           .unanswered = info.tcpi_unacked > 0 || info.tcpi_probes > 0};
  return true;
}

void transport_close(struct transport *t) {
  t->stamped = false;
  t->least = 0;
  t->stamp_ns = 0;
  tls_free(t->tls);
  t->tls = NULL;
  if (t->fd >= 0) close(t->fd);
  t->fd = -1;
}
