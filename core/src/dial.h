/* One connection out of many addresses: Happy Eyeballs (RFC 8305). Non-blocking; knows no loop: the caller
 * watches the fds it is told of and calls dial_step whenever one is ready or the time it asked for has come. */
#ifndef WSC_DIAL_H
#define WSC_DIAL_H

#include "options.h"
#include "resolve.h"

/* How the caller's poller learns of sockets. unwatch is called before close. */
struct dial_watch {
  int (*watch)(void *self, int fd); /* edge-triggered, in and out; 0 or -errno */
  void (*unwatch)(void *self, int fd);
  void *self;
};

struct dial;
/* Takes over addresses (also on failure; leaves {0}); interleaves the families, first family first. host and port
 * are for error texts. Opens nothing yet: call dial_step at once. errors: WSC_ERR_NOMEM */
int dial_new(struct addresses *addresses, const char *host, uint16_t port, int64_t delay_ns, const struct dial_watch *w,
             struct dial **out);
/* Sockets are made as these options say (socket.h); borrowed. Without it: the defaults. */
void dial_use(struct dial *d, const wsc_options *o);
/* WSC_AGAIN: call again when an fd is ready or at *next_ns (0: only an fd can bring news); WSC_OK: *fd connected
 * (still watched), owned by the caller; WSC_ERR_IO: every address failed: the error names each with its errno text, and
 * the option that the system refused. */
int dial_step(struct dial *d, int64_t now_ns, int64_t *next_ns, int *fd, wsc_error **err);
/* "198.51.100.7:443 (no answer), [2001:db8::1]:443 (Network is unreachable)": what came of each address tried, for
 * the error of a deadline that passed meanwhile. Cut to what fits into n; out itself. */
const char *dial_describe(const struct dial *d, char *out, size_t n);
void dial_free(struct dial *d); /* closes what is still open; accepts NULL */

#endif
