/* Sockets before they connect. What the kernel is told stands in one table; a value of 0 leaves it to the system. A
 * default that the system refuses is no reason to stay away from the server, what the user asked for is. */
#define _GNU_SOURCE
#include "socket.h"

#include "error.h"
#include "mem.h"
#include "os.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static const struct {
  int option, level, name;
  bool tcp; /* a Unix socket has no such thing */
} knobs[] = {
    {WSC_OPT_TCP_NODELAY, IPPROTO_TCP, TCP_NODELAY, true},
    {WSC_OPT_TCP_KEEPALIVE, SOL_SOCKET, SO_KEEPALIVE, true},
    {WSC_OPT_TCP_KEEPALIVE_IDLE_S, IPPROTO_TCP, TCP_KEEPIDLE, true},
    {WSC_OPT_TCP_KEEPALIVE_INTERVAL_S, IPPROTO_TCP, TCP_KEEPINTVL, true},
    {WSC_OPT_TCP_KEEPALIVE_COUNT, IPPROTO_TCP, TCP_KEEPCNT, true},
    {WSC_OPT_TCP_USER_TIMEOUT_MS, IPPROTO_TCP, TCP_USER_TIMEOUT, true},
    {WSC_OPT_SOCKET_RECEIVE_BYTES, SOL_SOCKET, SO_RCVBUF, false},
    {WSC_OPT_SOCKET_SEND_BYTES, SOL_SOCKET, SO_SNDBUF, false},
};

/* Who says how the kernel should probe wants it to probe. */
static int64_t value_of(const wsc_options *o, int option) {
  if (option != WSC_OPT_TCP_KEEPALIVE || options_is_set(o, option)) return options_int(o, option);
  return options_int(o, WSC_OPT_TCP_KEEPALIVE_IDLE_S) || options_int(o, WSC_OPT_TCP_KEEPALIVE_INTERVAL_S) ||
         options_int(o, WSC_OPT_TCP_KEEPALIVE_COUNT);
}

/* All below: 0, or errno with *option. */

static int turn_knobs(int fd, const wsc_options *o, bool tcp, int *option) {
  for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++) {
    int value = (int)value_of(o, knobs[i].option); /* validated: it fits */
    if (value == 0 || (knobs[i].tcp && !tcp)) continue;
    if (setsockopt(fd, knobs[i].level, knobs[i].name, &value, sizeof value) == 0) continue;
    if (!options_is_set(o, knobs[i].option)) continue;
    *option = knobs[i].option;
    return errno;
  }
  return 0;
}

static int bind_interface(int fd, const char *name, int *option) {
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name) + 1) == 0) return 0;
  *option = WSC_OPT_BIND_INTERFACE;
  return errno;
}

static int bind_address(int fd, const char *text, sa_family_t family, int *option) {
  struct address own;
  const char *unknown_zone = NULL;
  int on = 1;
  *option = WSC_OPT_BIND_ADDRESS;
  if (!address_parse(text, 0, &own, &unknown_zone)) return EINVAL;
  if (unknown_zone) return ENODEV;
  if (own.storage.ss_family != family) return EAFNOSUPPORT;
  /* The port is chosen when it connects, so that one port may serve for several servers. */
  (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&own.storage, own.length) != 0) return errno;
  *option = 0;
  return 0;
}

int socket_open(const wsc_options *o, const struct address *to, int *option) {
  sa_family_t family = to->storage.ss_family;
  bool tcp = family != AF_UNIX;
  const char *interface = options_str(o, WSC_OPT_BIND_INTERFACE), *address = options_str(o, WSC_OPT_BIND_ADDRESS);
  *option = 0;
  int fd = os_socket(family, SOCK_STREAM, tcp ? IPPROTO_TCP : 0);
  if (fd < 0) return fd;
  int e = turn_knobs(fd, o, tcp, option);
  if (e == 0 && tcp && interface) e = bind_interface(fd, interface, option);
  if (e == 0 && tcp && address) e = bind_address(fd, address, family, option);
  if (e == 0) return fd;
  close(fd);
  return -e;
}

const char *socket_fault_text(const wsc_options *o, int option, int os_error, char out[static SOCKET_FAULT_MAX]) {
  char reason[128];
  const char *text = error_errno_text(os_error, reason), *name = options_name(option), *value = options_str(o, option);
  if (option == WSC_OPT_BIND_ADDRESS && os_error == EAFNOSUPPORT) text = "of the other address family";
  if (value) snprintf(out, SOCKET_FAULT_MAX, "%s %s: %s", name, value, text);
  else snprintf(out, SOCKET_FAULT_MAX, "%s %lld: %s", name, (long long)options_int(o, option), text);
  return out;
}

int socket_unix_address(const wsc_options *o, struct addresses *out) {
  const char *path = options_str(o, WSC_OPT_UNIX_SOCKET);
  size_t n = strlen(path);
  struct address *a = mem_zalloc(sizeof *a);
  if (!a) return WSC_ERR_NOMEM;
  struct sockaddr_un *to = (struct sockaddr_un *)&a->storage;
  to->sun_family = AF_UNIX;
  memcpy(to->sun_path, path, n); /* validated: it fits, with a NUL behind it */
  bool abstract = *path == '@';
  if (abstract) to->sun_path[0] = 0; /* the name is exactly these bytes, no NUL ends it */
  a->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (abstract ? 0 : 1));
  *out = (struct addresses){.items = a, .count = 1};
  return WSC_OK;
}
