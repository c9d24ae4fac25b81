/* What the options of the way to the server may be: where sockets go out from and to, and the kernel's knobs. */
#define _GNU_SOURCE
#include "ascii.h"
#include "options_check.h"
#include "proxy.h"
#include "tls_policy.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>
#include <sys/un.h>

enum { UNIX_PATH_MAX_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 };

/* An IP address as text, an IPv6 one perhaps with its zone. */
static bool ip_literal(const char *text) {
  char host[INET6_ADDRSTRLEN];
  unsigned char out[sizeof(struct in6_addr)];
  size_t n = strcspn(text, "%");
  if (n >= sizeof host) return false;
  memcpy(host, text, n);
  host[n] = 0;
  if (inet_pton(AF_INET6, host, out) == 1) return text[n] == 0 || text[n + 1] != 0;
  return text[n] == 0 && inet_pton(AF_INET, host, out) == 1;
}

static void check_places(struct violations *v, const wsc_options *o) {
  const char *address = options_str(o, WSC_OPT_BIND_ADDRESS), *interface = options_str(o, WSC_OPT_BIND_INTERFACE),
             *path = options_str(o, WSC_OPT_UNIX_SOCKET);
  if (address != NULL && !ip_literal(address))
    violate(v, "BIND_ADDRESS \"%.64s\" is not an IP address of this machine, like 192.0.2.1 or 2001:db8::1", address);
  if (interface != NULL && (*interface == 0 || strlen(interface) >= IFNAMSIZ))
    violate(v, "BIND_INTERFACE \"%.64s\" has %zu bytes: a network interface's name has 1 to %d", interface,
            strlen(interface), IFNAMSIZ - 1);
  if (path == NULL) return;
  const char *kind = *path == '@' ? "an abstract socket's name has, with its @, 2" : "a path has 1";
  size_t least = *path == '@' ? 2 : 1;
  if (strlen(path) < least || strlen(path) > UNIX_PATH_MAX_BYTES)
    violate(v, "UNIX_SOCKET \"%.64s%s\" has %zu bytes: %s to %d", path, strlen(path) > 64 ? "..." : "", strlen(path),
            kind, UNIX_PATH_MAX_BYTES);
  if (address != NULL) violate(v, "BIND_ADDRESS is set beside UNIX_SOCKET: a Unix socket goes out from no address");
  if (interface != NULL)
    violate(v, "BIND_INTERFACE is set beside UNIX_SOCKET: a Unix socket goes through no interface");
}

static void check_proxy(struct violations *v, const wsc_options *o) {
  const char *text = options_str(o, WSC_OPT_PROXY);
  struct proxy parsed;
  wsc_error *why = NULL;
  if (text == NULL || strcmp(text, "none") == 0) return;
  int status = proxy_parse(text, &parsed, &why);
  if (status == WSC_ERR_NOMEM) cannot_judge(v);
  else if (status != WSC_OK) violate(v, "PROXY: %s", wsc_error_message(why));
  else if (options_str(o, WSC_OPT_UNIX_SOCKET) != NULL)
    violate(v, "PROXY is set beside UNIX_SOCKET: a Unix socket is reached by no proxy");
  proxy_free(&parsed);
  wsc_error_unref(why);
}

static void check_host_name(struct violations *v, const char *name) {
  struct buffer text = {0};
  struct url u = {0};
  int status = buffer_printf(&text, "wss://%s/", name);
  if (status == WSC_OK) status = url_parse((const char *)text.data, &u, NULL);
  if (status == WSC_ERR_NOMEM) cannot_judge(v);
  else if (status != WSC_OK || u.literal || !ascii_equal(u.authority, name))
    violate(v, "TLS_SERVER_NAME \"%.64s\" is not the name of a host", name);
  url_free(&u);
  buffer_free(&text);
}

static void check_tls(struct violations *v, const wsc_options *o) {
  char buffer[32];
  uint8_t digest[32];
  const char *host = options_str(o, WSC_OPT_HOST_HEADER), *name = options_str(o, WSC_OPT_TLS_SERVER_NAME),
             *least = options_str(o, WSC_OPT_TLS_MIN_VERSION), *keylog = options_str(o, WSC_OPT_TLS_KEYLOG_FILE), *text;
  const char *bad = host != NULL ? bad_in_value(host) : NULL;
  if (host != NULL && (*host == 0 || strcspn(host, " ,\t") != strlen(host)))
    violate(v, "HOST_HEADER \"%.64s\" must be one host, with its port where it has one", host);
  else if (bad != NULL) violate(v, "HOST_HEADER has %s at position %zu", byte_name(*bad, buffer), (size_t)(bad - host));
  if (name != NULL) check_host_name(v, name);
  if (least != NULL && strcmp(least, "1.2") != 0 && strcmp(least, "1.3") != 0)
    violate(v, "TLS_MIN_VERSION \"%.32s\" is neither \"1.2\" nor \"1.3\"", least);
  if (keylog != NULL && *keylog == 0) violate(v, "TLS_KEYLOG_FILE is empty: it must name a file");
  for (size_t i = 0; (text = options_item(o, WSC_OPT_TLS_ALPN, i)) != NULL; i++)
    if (*text == 0 || strlen(text) > 255)
      violate(v, "TLS_ALPN[%zu] has %zu bytes: a protocol's name has 1 to 255", i, strlen(text));
  for (size_t i = 0; (text = options_item(o, WSC_OPT_TLS_PIN, i)) != NULL; i++)
    if (!policy_read_pin(text, digest))
      violate(v, "TLS_PIN[%zu] \"%.60s\" is not \"sha256//\" and 44 characters of base64", i, text);
}

void check_network(struct violations *v, const wsc_options *o) {
  check_places(v, o);
  check_proxy(v, o);
  check_tls(v, o);
}
