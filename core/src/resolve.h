/* Host names to addresses. Literals are answered at once and never need a thread; names go to getaddrinfo on helper
 * threads: at most 2, plus replacements of abandoned ones, up to 8 in all. Look-ups of one name under way are
 * shared. */
#ifndef WSC_RESOLVE_H
#define WSC_RESOLVE_H

#include "wscengine/status.h"

#include <netdb.h>
#include <sys/socket.h>

struct address {
  struct sockaddr_storage storage;
  socklen_t length;
};
struct addresses {
  struct address *items; /* mem_free */
  size_t count;
};

/* Reads a literal; false: it is none. *unknown_zone: the zone, when this machine has no such interface. */
bool address_parse(const char *host, uint16_t port, struct address *out, const char **unknown_zone);
/* "192.0.2.1:80", "[2001:db8::1]:80", "[fe80::1%eth0]:80", a Unix socket's path, "@name"; out itself. */
enum { ADDRESS_TEXT_MAX = 112 };
const char *address_text(const struct address *a, char out[static ADDRESS_TEXT_MAX]);

struct resolve; /* one look-up that somebody waits for */

/* wake(self) is called once from a helper thread when there is an answer; it must only post a wake-up: it is called
 * under the resolver's own lock and may take no lock under which these functions are called. A literal is answered
 * when begin returns and never wakes anybody, so poll once right after begin. */
int resolve_begin(const char *host, uint16_t port, void (*wake)(void *self), void *self, struct resolve **out,
                  wsc_error **err);
/* WSC_AGAIN while under way; WSC_OK with *out filled (in getaddrinfo's order, without repetitions); WSC_ERR_RESOLVE
 * (error_fatal: WSC_GIVE_UP_RESOLVE for a name that does not exist), WSC_ERR_NOMEM. */
int resolve_poll(struct resolve *r, struct addresses *out, wsc_error **err);
/* Ends the interest, in any state; no wake after it returned. Accepts NULL. */
void resolve_end(struct resolve *r);

/* Sends idle helper threads home and waits for them; one that hangs in getaddrinfo is left behind. New look-ups may
 * follow. */
void resolve_shutdown(void);

/* For tests, changed only while there is no thread: what is asked, and how long an idle thread stays. */
extern int (*resolve_getaddrinfo)(const char *node, const char *service, const struct addrinfo *hints,
                                  struct addrinfo **out);
extern int64_t resolve_idle_ns;
int resolve_thread_count(void);

#endif
