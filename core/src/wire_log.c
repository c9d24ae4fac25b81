#include "wire_log.h"

#include "ascii.h"
#include "frame.h"
#include "inspect.h"

#include <stdio.h>

enum { PREVIEW_MOST = 256 }; /* the limit of LOG_PREVIEW_BYTES */

/* Everything else may be somebody's credential: Authorization, cookies, keys of APIs, redirects with tokens. */
static const char *const harmless[] = {"Host",
                                       "Upgrade",
                                       "Connection",
                                       "Sec-WebSocket-Key",
                                       "Sec-WebSocket-Version",
                                       "Sec-WebSocket-Protocol",
                                       "Sec-WebSocket-Extensions",
                                       "Sec-WebSocket-Accept",
                                       "Origin",
                                       "User-Agent",
                                       "Server",
                                       "Date",
                                       "Content-Type",
                                       "Content-Length",
                                       "Transfer-Encoding",
                                       "Retry-After"};

/* ---- the upgrade --------------------------------------------------------------------------------------------------- */

static void log_header(wsc_connection *k, const char *way, const char *name, size_t name_n, const char *value,
                       size_t value_n) {
  char shown[512];
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
    if (strlen(harmless[i]) != name_n || !ascii_equal_n(name, harmless[i], name_n)) continue;
    ascii_shown(shown, sizeof shown, (const uint8_t *)value, value_n);
    connection_log(k, WSC_LOG_TRACE, "http", "%s %.*s: %s", way, (int)name_n, name, shown);
    return;
  }
  connection_log(k, WSC_LOG_TRACE, "http", "%s %.*s: (not shown)", way, (int)name_n, name);
}

void wire_log_request(wsc_connection *k, const uint8_t *p, size_t n) {
  const char *line = (const char *)p, *end = line + n, *next;
  for (bool first = true; line < end; line = next + 1, first = false) {
    next = memchr(line, '\n', (size_t)(end - line));
    if (!next || next - line < 2) return; /* the empty line */
    size_t length = (size_t)(next - line - 1);
    const char *colon = first ? NULL : memchr(line, ':', length);
    char shown[512];
    if (colon) log_header(k, ">", line, (size_t)(colon - line), colon + 2, (size_t)(line + length - colon - 2));
    else
      connection_log(k, WSC_LOG_TRACE, "http", "> %s", ascii_shown(shown, sizeof shown, (const uint8_t *)line, length));
  }
}

void wire_log_response(wsc_connection *k, const wsc_response *r) {
  if (!r) return;
  const char *name, *value, *reason = wsc_response_reason(r);
  char shown[256];
  connection_log(k, WSC_LOG_TRACE, "http", "< %d %s", wsc_response_status(r),
                 ascii_shown(shown, sizeof shown, (const uint8_t *)reason, strlen(reason)));
  for (size_t i = 0; wsc_response_header_at(r, i, &name, &value); i++)
    log_header(k, "<", name, strlen(name), value, strlen(value));
}

/* ---- frames -------------------------------------------------------------------------------------------------------- */

static void log_frame(wsc_connection *k, const char *way, int first, const uint8_t *p, size_t length) {
  size_t most = (size_t)options_int(k->options, WSC_OPT_LOG_PREVIEW_BYTES);
  size_t n = length < most ? length : most;
  char shown[4 * PREVIEW_MOST + 1] = "";
  if (n) ascii_shown(shown, sizeof shown, p, n);
  const char *name = opcode_name(first & 15);
  connection_log(k, WSC_LOG_TRACE, "frame", "%s %s%s%s, %zu bytes%s%s%s%s", way, name ? name : "unknown",
                 first & 0x80 ? ", fin" : "", first & FRAME_RSV1 ? ", rsv1" : "", length, n ? ": \"" : "", shown,
                 n ? "\"" : "", n && n < length ? "..." : "");
}

void wire_log_received(void *connection, int first, const uint8_t *payload, size_t length) {
  log_frame(connection, "<", first, payload, length);
}

void wire_log_sent(wsc_connection *k, int first, const uint8_t *payload, size_t length) {
  log_frame(k, ">", first, payload, length);
}
