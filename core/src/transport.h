/* The byte stream under a connection: a socket, with or without TLS. Non-blocking; results are bytes, 0 for the end of the stream (recv), or -errno
 * (-EAGAIN: the edge-triggered poller will tell; -EPROTO: TLS failed, see transport_error). */
#ifndef WSC_TRANSPORT_H
#define WSC_TRANSPORT_H

#include "tls.h"

#include <sys/uio.h>

struct transport {
  int fd; /* -1: none */
  struct tls *tls;
  bool stamped;     /* the kernel says when bytes came */
  bool dry;         /* by TLS: the latest read took all that was there */
  int least;        /* bytes before the kernel says that there are any; 0: any */
  int64_t stamp_ns; /* of the latest read (Unix time), 0: it did not say */
};

/* From here on the kernel stamps what comes, where it can: on plain sockets. */
void transport_stamp(struct transport *t);
/* So many bytes are of use only together: the kernel need not wake anybody for the first few of them, only for a good part (SO_RCVLOWAT; the end
 * of the stream always shows, and a read always gives what is there). 0: every byte counts again. */
void transport_expect(struct transport *t, uint64_t bytes);
ssize_t transport_recv(struct transport *t, struct iovec *iov, int count);
ssize_t transport_send(struct transport *t, const void *p, size_t n);
/* What went wrong, for -errno: TLS's own text or the errno's. */
const char *transport_error(const struct transport *t, ssize_t result, char buffer[static 128]);
/* Half-close: nothing more will be sent; the peer reads the end of the stream. */
void transport_finish(struct transport *t);
/* What the peer's system has acknowledged, of all that was ever written here. false: nobody knows. */
struct progress {
  uint64_t acked;   /* bytes */
  uint64_t waiting; /* bytes written and not acknowledged, sent or not */
  bool unanswered;  /* some of them, or the probe of a shut window, are on their way */
};
bool transport_progress(const struct transport *t, struct progress *out);
void transport_close(struct transport *t); /* accepts {-1} */

#endif
