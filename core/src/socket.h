/* Stream sockets as the options want them: where they go out from, and the kernel's knobs. */
#ifndef WSC_SOCKET_H
#define WSC_SOCKET_H

#include "options.h"
#include "resolve.h"

/* A CLOEXEC, non-blocking socket that is ready to connect to `to`. The fd, or -errno; *option: which option the system
 * refused, 0: none. o NULL: the defaults. */
int socket_open(const wsc_options *o, const struct address *to, int *option);
/* "BIND_INTERFACE eth7: No such device": why socket_open failed. Cut to what fits; out itself. */
enum { SOCKET_FAULT_MAX = 256 };
const char *socket_fault_text(const wsc_options *o, int option, int os_error, char out[static SOCKET_FAULT_MAX]);
/* The address of UNIX_SOCKET, which is set. errors: WSC_ERR_NOMEM */
int socket_unix_address(const wsc_options *o, struct addresses *out);

#endif
