/* What option values may be. Every violation becomes a link of its own; the error that is given out names them all,
 * so that a user mends a configuration in one go. Values that may be secrets (headers, cookies, keys) are judged but
 * never quoted. */
#include "options_check.h"

#include "ascii.h"
#include "error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { NAME_SHOWN_MAX = 64 };

void violate(struct violations *v, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (buffer_append(&v->texts, text, strlen(text) + 1) != WSC_OK) v->status = WSC_ERR_NOMEM;
  v->count++;
}

void cannot_judge(struct violations *v) {
  v->status = WSC_ERR_NOMEM;
  v->count++;
}

const char *bad_in_value(const char *value) {
  for (const char *c = value; *c != 0; c++) {
    unsigned char b = (unsigned char)*c;
    if ((b < 0x20 && b != '\t') || b == 0x7f) return c;
  }
  return NULL;
}

const char *byte_name(char c, char buffer[static 32]) {
  if (c == '\r') return "a carriage return";
  if (c == '\n') return "a line feed";
  if (c == ' ') return "a space";
  if (c == '\t') return "a tab";
  if (c > 0x20 && c < 0x7f) snprintf(buffer, 32, "'%c'", c);
  else snprintf(buffer, 32, "the byte 0x%02x", (unsigned)(unsigned char)c);
  return buffer;
}

/* Headers that the handshake writes itself or that would change the meaning of the request, and what to do instead. */
static const struct {
  const char *name, *instead;
} reserved[] = {
    {"Host", "it is made from the URL"},
    {"Upgrade", "the handshake sets it"},
    {"Connection", "the handshake sets it"},
    {"Sec-WebSocket-Key", "the handshake makes a fresh one"},
    {"Sec-WebSocket-Version", "the handshake sets it"},
    {"Sec-WebSocket-Accept", "it belongs to the server's answer"},
    {"Sec-WebSocket-Extensions", "the handshake sets it"},
    {"Sec-WebSocket-Protocol", "use the option SUBPROTOCOL"},
    {"Content-Length", "an upgrade request has no body"},
    {"Transfer-Encoding", "an upgrade request has no body"},
    {"Trailer", "an upgrade request has no body"},
    {"Expect", "an upgrade request has no body"},
};

int options_check_header(const char *name_and_value, wsc_error **err) {
  char buffer[32];
  if (name_and_value == NULL) return error_set(err, WSC_ERR_INVALID, "header is NULL");
  const char *colon = strchr(name_and_value, ':');
  if (colon == NULL) return error_set(err, WSC_ERR_INVALID, "header has no colon: it must read \"Name: value\"");
  size_t length = (size_t)(colon - name_and_value);
  int shown = length < NAME_SHOWN_MAX ? (int)length : NAME_SHOWN_MAX;
  if (length == 0) return error_set(err, WSC_ERR_INVALID, "header has an empty name: it must read \"Name: value\"");
  for (const char *c = name_and_value; c < colon; c++) {
    if (!ascii_token(*c)) {
      return error_set(err, WSC_ERR_INVALID, "header name \"%.*s\" has %s at position %zu", shown, name_and_value,
                       byte_name(*c, buffer), (size_t)(c - name_and_value));
    }
  }
  const char *bad = bad_in_value(colon + 1);
  if (bad != NULL) {
    return error_set(err, WSC_ERR_INVALID, "value of header \"%.*s\" has %s at position %zu", shown, name_and_value,
                     byte_name(*bad, buffer), (size_t)(bad - colon - 1));
  }
  for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
    if (strlen(reserved[i].name) == length && ascii_equal_n(reserved[i].name, name_and_value, length)) {
      return error_set(err, WSC_ERR_INVALID, "header \"%s\" may not be set: %s", reserved[i].name, reserved[i].instead);
    }
  }
  return WSC_OK;
}

int options_check_subprotocol(const char *name, wsc_error **err) {
  char buffer[32];
  if (name == NULL) return error_set(err, WSC_ERR_INVALID, "subprotocol is NULL");
  if (*name == 0) return error_set(err, WSC_ERR_INVALID, "subprotocol is empty");
  for (const char *c = name; *c != 0; c++) {
    if (!ascii_token(*c)) {
      return error_set(err, WSC_ERR_INVALID,
                       "subprotocol \"%.64s\" has %s at position %zu: only letters, digits and !#$%%&'*+-.^_`|~", name,
                       byte_name(*c, buffer), (size_t)(c - name));
    }
  }
  return WSC_OK;
}

static bool cookie_octet(char c) { return c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\'; }

/* "name=value" (RFC 6265 section 4.1.1), the value perhaps in quotes. */
static void check_cookie(struct violations *v, const char *cookie, size_t index) {
  char buffer[32];
  const char *equals = strchr(cookie, '=');
  if (equals == NULL || equals == cookie) {
    violate(v, "COOKIE[%zu] must read \"name=value\"", index);
    return;
  }
  for (const char *c = cookie; c < equals; c++) {
    if (ascii_token(*c)) continue;
    violate(v, "COOKIE[%zu]: its name has %s at position %zu", index, byte_name(*c, buffer), (size_t)(c - cookie));
    return;
  }
  const char *from = equals + 1, *to = from + strlen(from);
  if (to - from >= 2 && *from == '"' && to[-1] == '"') {
    from++;
    to--;
  }
  for (const char *c = from; c < to; c++) {
    if (cookie_octet(*c)) continue;
    violate(v, "COOKIE[%zu]: the value of \"%.*s\" has %s at position %zu: encode it", index,
            (int)(equals - cookie < NAME_SHOWN_MAX ? equals - cookie : NAME_SHOWN_MAX), cookie, byte_name(*c, buffer),
            (size_t)(c - equals - 1));
    return;
  }
}

static bool names_header(const char *name_and_value, const char *name) {
  size_t n = strlen(name);
  return strlen(name_and_value) > n && name_and_value[n] == ':' && ascii_equal_n(name_and_value, name, n);
}

static void check_headers(struct violations *v, const wsc_options *o) {
  const char *text;
  bool origin = options_is_set(o, WSC_OPT_ORIGIN), cookie = options_is_set(o, WSC_OPT_COOKIE);
  int origins = origin, cookies = cookie;
  for (size_t i = 0; (text = options_item(o, WSC_OPT_HEADER, i)) != NULL; i++) {
    wsc_error *e = NULL;
    if (options_check_header(text, &e) != WSC_OK) {
      violate(v, "HEADER[%zu]: %s", i, wsc_error_message(e));
      wsc_error_unref(e);
    } else if (names_header(text, "Origin") && ++origins > 1) {
      violate(v, "HEADER[%zu]: Origin is given twice%s", i, origin ? ", also by the option ORIGIN" : "");
    } else if (names_header(text, "Cookie") && ++cookies > 1) {
      violate(v, "HEADER[%zu]: Cookie is given twice%s: one header carries all cookies", i,
              cookie ? ", also by the option COOKIE" : "");
    }
  }
}

static void check_subprotocols(struct violations *v, const wsc_options *o) {
  const char *text;
  for (size_t i = 0; (text = options_item(o, WSC_OPT_SUBPROTOCOL, i)) != NULL; i++) {
    wsc_error *e = NULL;
    if (options_check_subprotocol(text, &e) != WSC_OK) {
      violate(v, "SUBPROTOCOL[%zu]: %s", i, wsc_error_message(e));
      wsc_error_unref(e);
    }
    for (size_t j = 0; j < i; j++) {
      if (strcmp(options_item(o, WSC_OPT_SUBPROTOCOL, j), text) != 0) continue;
      violate(v, "SUBPROTOCOL[%zu]: \"%.64s\" is offered twice, first as SUBPROTOCOL[%zu]", i, text, j);
      break;
    }
  }
}

static void check_strings(struct violations *v, const wsc_options *o) {
  char buffer[32];
  const char *origin = options_str(o, WSC_OPT_ORIGIN), *pem = options_str(o, WSC_OPT_CA_PEM), *bad;
  if (origin != NULL && *origin == 0) violate(v, "ORIGIN is empty: leave it out, or say \"null\" for an opaque one");
  if (origin != NULL && (bad = bad_in_value(origin)) != NULL) {
    violate(v, "ORIGIN has %s at position %zu", byte_name(*bad, buffer), (size_t)(bad - origin));
  }
  static const struct {
    int id;
    const char *name, *thing;
  } paths[] = {{WSC_OPT_CA_FILE, "CA_FILE", "file"},
               {WSC_OPT_CA_DIR, "CA_DIR", "directory"},
               {WSC_OPT_CERT_FILE, "CERT_FILE", "file"},
               {WSC_OPT_KEY_FILE, "KEY_FILE", "file"}};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    const char *path = options_str(o, paths[i].id);
    if (path != NULL && *path == 0) violate(v, "%s is empty: it must name a %s", paths[i].name, paths[i].thing);
  }
  if (pem != NULL && strstr(pem, "-----BEGIN ") == NULL) {
    violate(v, "CA_PEM has no \"-----BEGIN CERTIFICATE-----\": it takes PEM text; a file's name goes to CA_FILE");
  }
  if (options_str(o, WSC_OPT_KEY_FILE) != NULL && options_str(o, WSC_OPT_CERT_FILE) == NULL) {
    violate(v, "KEY_FILE is set without CERT_FILE: a key is of no use without its certificate");
  }
}

static void check_numbers(struct violations *v, const wsc_options *o) {
  wsc_option_description d = {.struct_size = sizeof d};
  for (int i = 0; wsc_option_info(i, &d) == WSC_OK; i++) {
    if (d.type != WSC_OPTION_INT && d.type != WSC_OPTION_BOOL) continue;
    int64_t value = options_int(o, d.id);
    const char *space = d.unit[0] == 0 || d.unit[0] == '%' ? "" : " ", *unit = d.unit;
    if (value >= d.min && value <= d.max) continue;
    if (d.id == WSC_OPT_GIVE_UP_ON) space = unit = "";
    violate(v, "%s is %" PRId64 "%s%s: it must be %" PRId64 " to %" PRId64 "%s%s", d.name, value, space, unit, d.min,
            d.max, space, unit);
  }
}

/* One error that names all violations, and behind it a chain with one link for each, in the same order. */
static wsc_error *join(struct violations *v) {
  wsc_error *chain = NULL;
  const char *texts = (const char *)v->texts.data;
  for (size_t end = v->texts.length; end > 0;) { /* from the last to the first */
    size_t start = end - 1;
    while (start > 0 && texts[start - 1] != 0) start--;
    struct error_info link = {.status = WSC_ERR_INVALID, .plain = true, .cause = chain};
    chain = error_make(&link, "%s", texts + start);
    end = start;
  }
  struct buffer all = {0};
  const char *separator = "";
  for (const wsc_error *e = chain; e != NULL && v->status == WSC_OK; e = wsc_error_cause(e)) {
    v->status = buffer_printf(&all, "%s%s", separator, wsc_error_message(e));
    separator = "; ";
  }
  struct error_info whole = {.status = WSC_ERR_INVALID, .plain = true, .cause = chain};
  wsc_error *e;
  if (v->status != WSC_OK) {
    whole.status = v->status;
    e = error_make(&whole, "out of memory while options were judged");
  } else if (v->count == 1) {
    e = error_make(&whole, "invalid option: %s", (const char *)all.data);
  } else {
    e = error_make(&whole, "%zu invalid options: %s", v->count, (const char *)all.data);
  }
  buffer_free(&all);
  return e;
}

int wsc_options_validate(const wsc_options *o, wsc_error **all) {
  struct violations v = {.status = WSC_OK};
  const char *cookie;
  check_numbers(&v, o);
  check_headers(&v, o);
  check_subprotocols(&v, o);
  for (size_t i = 0; (cookie = options_item(o, WSC_OPT_COOKIE, i)) != NULL; i++) check_cookie(&v, cookie, i);
  check_strings(&v, o);
  check_network(&v, o);
  if (options_adapter(o) && options_int(o, WSC_OPT_HOST_ADAPTER))
    violate(&v, "HOST_ADAPTER is 1: an engine with an adapter (wsc_options_set_adapter) cannot have the host's too");
  int status = v.count == 0 ? WSC_OK : error_give(all, join(&v));
  buffer_free(&v.texts);
  return status;
}
