/* Errors: immutable once made, so they are shared by reference count alone. Making one never fails: without memory
 * there is a static one for each status, which counts no references and frees nothing. What an error was to take
 * over is then released. */
#define _GNU_SOURCE
#include "error.h"

#include "mem.h"
#include "utf8.h"
#include "wscengine/adapter.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct wsc_error {
  atomic_uint refs; /* 0: static */
  struct error_info info;
  void *host;
  void (*host_drop)(void *);
  const char *message; /* behind the struct, in the same block */
};

static const struct status_row {
  int status;
  const char *name, *text;
} statuses[] = {
#define XX(name, number, python, text) {number, #name, text},
    WSC_STATUS_MAP(XX)
#undef XX
};

#define ROWS (sizeof statuses / sizeof statuses[0])

static wsc_error unmade[ROWS] = {
#define XX(name, number, python, words) {.info = {.status = number}, .message = words " (and no memory to say more)"},
    WSC_STATUS_MAP(XX)
#undef XX
};

static const struct status_row *row_of(int status) {
  for (size_t i = 0; i < ROWS; i++) {
    if (statuses[i].status == status) return &statuses[i];
  }
  return NULL;
}

const char *wsc_status_name(int status) {
  const struct status_row *row = row_of(status);
  return row != NULL ? row->name : "UNKNOWN";
}

const char *wsc_status_text(int status) {
  const struct status_row *row = row_of(status);
  return row != NULL ? row->text : "unknown status";
}

static wsc_error *without_memory(int status) {
  const struct status_row *row = row_of(status);
  return &unmade[row != NULL ? (size_t)(row - statuses) : (size_t)(row_of(WSC_ERR_NOMEM) - statuses)];
}

/* Reasons and headers are the peer's words: they may break neither a log line nor a decoder. */
static void tidy(char *text, size_t n, bool one_line) {
  bool utf8 = utf8_valid((const uint8_t *)text, n);
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)text[i];
    bool control = c < 0x20 || c == 0x7f;
    if (control && !one_line && (c == '\n' || c == '\t')) control = false;
    if (control || (c >= 0x80 && !utf8)) text[i] = '?';
  }
}

static wsc_error *make(const struct error_info *info, void *host, void (*host_drop)(void *), bool one_line,
                       const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int n = vsnprintf(NULL, 0, format, arguments);
  size_t own = n > 0 ? (size_t)n : 0;
  const char *rest = info->plain || info->cause == NULL ? "" : info->cause->message;
  size_t room = own + strlen(rest) + sizeof ": ";
  wsc_error *e = mem_alloc(sizeof *e + room);
  if (e != NULL) {
    atomic_init(&e->refs, 1);
    e->info = *info;
    e->host = host;
    e->host_drop = host_drop;
    char *text = (char *)(e + 1);
    e->message = text;
    vsnprintf(text, room, format, again);
    tidy(text, own, one_line);
    if (*rest != 0) snprintf(text + own, room - own, "%s%s", own != 0 ? ": " : "", rest);
  }
  va_end(again);
  if (e != NULL) return e;
  wsc_error_unref(info->cause);
  wsc_response_free(info->response);
  return without_memory(info->status);
}

wsc_error *error_make(const struct error_info *info, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  wsc_error *e = make(info, NULL, NULL, true, format, arguments);
  va_end(arguments);
  return e;
}

int error_set(wsc_error **err, int status, const char *format, ...) {
  if (err == NULL) return status;
  va_list arguments;
  va_start(arguments, format);
  *err = make(&(struct error_info){.status = status}, NULL, NULL, true, format, arguments);
  va_end(arguments);
  return status;
}

int error_set_info(wsc_error **err, const struct error_info *info, const char *format, ...) {
  if (err == NULL) {
    wsc_error_unref(info->cause);
    wsc_response_free(info->response);
    return info->status;
  }
  va_list arguments;
  va_start(arguments, format);
  *err = make(info, NULL, NULL, true, format, arguments);
  va_end(arguments);
  return info->status;
}

int error_give(wsc_error **err, wsc_error *e) {
  int status = wsc_error_status(e);
  if (err != NULL) *err = e;
  else wsc_error_unref(e);
  return status;
}

__attribute__((format(printf, 4, 5))) static wsc_error *make_host(const struct error_info *info, void *host,
                                                                  void (*host_drop)(void *), const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  wsc_error *e = make(info, host, host_drop, false, format, arguments);
  va_end(arguments);
  return e;
}

int wsc_error_new(int status, int close_code, const char *message, wsc_error *cause, void *host,
                  void (*host_drop)(void *), wsc_error **out) {
  int result = WSC_ERR_INVALID;
  if (out != NULL && status < 0 && row_of(status) != NULL) {
    struct error_info info = {.status = status, .close_code = close_code, .cause = cause};
    *out = make_host(&info, host, host_drop, "%s", message != NULL ? message : wsc_status_text(status));
    if (atomic_load_explicit(&(*out)->refs, memory_order_relaxed) != 0) return WSC_OK;
    *out = NULL; /* make has released the cause */
    result = WSC_ERR_NOMEM;
  } else {
    if (out != NULL) *out = NULL;
    wsc_error_unref(cause);
  }
  if (host_drop != NULL) host_drop(host);
  return result;
}

wsc_error *wsc_error_ref(wsc_error *e) {
  if (e == NULL || atomic_load_explicit(&e->refs, memory_order_relaxed) == 0) return e;
  atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
  return e;
}

void wsc_error_unref(wsc_error *e) {
  while (e != NULL) { /* a loop: a chain may be longer than a stack is deep */
    if (atomic_load_explicit(&e->refs, memory_order_relaxed) == 0) return;
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1) return;
    wsc_error *cause = e->info.cause;
    wsc_response_free(e->info.response);
    if (e->host_drop != NULL) e->host_drop(e->host);
    mem_free(e);
    e = cause;
  }
}

int wsc_error_status(const wsc_error *e) { return e != NULL ? e->info.status : WSC_OK; }
const char *wsc_error_message(const wsc_error *e) { return e != NULL ? e->message : ""; }
const wsc_error *wsc_error_cause(const wsc_error *e) { return e != NULL ? e->info.cause : NULL; }

/* Facts of the outermost link that has them: whoever wraps an error need not copy them, and the user need not walk
 * the chain. */
#define FOUND_ALONG(e, field) \
  do { \
    for (; e != NULL; e = e->info.cause) { \
      if (e->info.field != 0) return e->info.field; \
    } \
    return 0; \
  } while (0)

int wsc_error_close_code(const wsc_error *e) { FOUND_ALONG(e, close_code); }
int wsc_error_os_error(const wsc_error *e) { FOUND_ALONG(e, os_error); }
int wsc_error_http_status(const wsc_error *e) { FOUND_ALONG(e, http_status); }
int error_fatal(const wsc_error *e) { FOUND_ALONG(e, fatal); }
int error_timer(const wsc_error *e) { FOUND_ALONG(e, timer); }
const wsc_response *wsc_error_response(const wsc_error *e) { FOUND_ALONG(e, response); }

int64_t error_retry_after_ms(const wsc_error *e) {
  for (; e != NULL; e = e->info.cause) {
    if (e->info.retry_after_ms > 0) return e->info.retry_after_ms;
  }
  return -1;
}

void *wsc_error_host(const wsc_error *e) {
  for (; e != NULL; e = e->info.cause) {
    if (e->host != NULL) return e->host;
  }
  return NULL;
}

const char *error_errno_text(int os_error, char buffer[static 128]) {
#ifdef __GLIBC__
  const char *text = strerror_r(os_error, buffer, 128); /* may answer with a text of its own */
  if (text != buffer) snprintf(buffer, 128, "%s", text);
#else
  if (strerror_r(os_error, buffer, 128) != 0) snprintf(buffer, 128, "error %d", os_error);
#endif
  return buffer;
}
