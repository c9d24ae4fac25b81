/* Upgrade answers. Headers are a plain list in order of arrival; a header is one block: name, NUL, value, NUL. */
#include "response.h"

#include "ascii.h"

struct wsc_response {
  int status;
  char *reason, *subprotocol; /* NULL: "" */
  char **headers;             /* "name\0value" */
  size_t count, capacity;
  struct buffer body;
};

static const char *value_of(const char *header) { return header + strlen(header) + 1; }
static const char *text_of(const char *text) { return text != NULL ? text : ""; }

static bool breaks_lines(const char *p, size_t n) {
  return n != 0 && (memchr(p, '\r', n) != NULL || memchr(p, '\n', n) != NULL || memchr(p, 0, n) != NULL);
}

wsc_response *wsc_response_new(void) { return mem_zalloc(sizeof(wsc_response)); }

void wsc_response_free(wsc_response *r) {
  if (r == NULL) return;
  for (size_t i = 0; i < r->count; i++) mem_free(r->headers[i]);
  mem_free(r->headers);
  mem_free(r->reason);
  mem_free(r->subprotocol);
  buffer_free(&r->body);
  mem_free(r);
}

static int replace(char **field, const char *p, size_t n) {
  if (breaks_lines(p, n)) return WSC_ERR_INVALID;
  char *copy = NULL;
  if (n != 0 && (copy = mem_strndup(p, n)) == NULL) return WSC_ERR_NOMEM;
  mem_free(*field);
  *field = copy;
  return WSC_OK;
}

int response_set_status(wsc_response *r, int status, const char *reason, size_t reason_length) {
  int result = replace(&r->reason, reason, reason_length);
  if (result == WSC_OK) r->status = status;
  return result;
}

int response_set_subprotocol(wsc_response *r, const char *name, size_t length) {
  return replace(&r->subprotocol, name, length);
}

int response_add_header(wsc_response *r, const char *name, size_t name_length, const char *value, size_t value_length) {
  if (name_length == 0 || breaks_lines(name, name_length) || breaks_lines(value, value_length)) return WSC_ERR_INVALID;
  if (r->count == r->capacity) {
    size_t capacity = r->capacity != 0 ? r->capacity * 2 : 8;
    char **headers = mem_realloc(r->headers, capacity * sizeof *headers);
    if (headers == NULL) return WSC_ERR_NOMEM;
    r->headers = headers;
    r->capacity = capacity;
  }
  char *header = mem_alloc(name_length + value_length + 2);
  if (header == NULL) return WSC_ERR_NOMEM;
  memcpy(header, name, name_length);
  header[name_length] = 0;
  if (value_length != 0) memcpy(header + name_length + 1, value, value_length);
  header[name_length + 1 + value_length] = 0;
  r->headers[r->count++] = header;
  return WSC_OK;
}

int response_add_body(wsc_response *r, const void *p, size_t n) {
  size_t room = RESPONSE_BODY_MAX - r->body.length;
  return buffer_append(&r->body, p, n < room ? n : room);
}

int response_fill(wsc_response *to, const wsc_response *r) {
  const char *reason = text_of(r->reason), *subprotocol = text_of(r->subprotocol);
  int status = response_set_status(to, r->status, reason, strlen(reason));
  if (status == WSC_OK) status = response_set_subprotocol(to, subprotocol, strlen(subprotocol));
  for (size_t i = 0; status == WSC_OK && i < r->count; i++) {
    const char *name = r->headers[i], *value = value_of(name);
    status = response_add_header(to, name, strlen(name), value, strlen(value));
  }
  return status != WSC_OK ? status : response_add_body(to, r->body.data, r->body.length);
}

wsc_response *response_copy(const wsc_response *r) {
  wsc_response *copy = r != NULL ? wsc_response_new() : NULL;
  if (copy == NULL || response_fill(copy, r) == WSC_OK) return copy;
  wsc_response_free(copy);
  return NULL;
}

int wsc_response_set(wsc_response *r, int status, const char *reason) {
  if (r == NULL || status < 100 || status > 999) return WSC_ERR_INVALID;
  return response_set_status(r, status, text_of(reason), strlen(text_of(reason)));
}

int wsc_response_add_header(wsc_response *r, const char *name, const char *value) {
  if (r == NULL || name == NULL || value == NULL) return WSC_ERR_INVALID;
  for (const char *c = name; *c != 0; c++) {
    if (!ascii_token(*c)) return WSC_ERR_INVALID;
  }
  /* A host adapter knows the agreed subprotocol only as this header. */
  bool agreed = ascii_equal(name, "Sec-WebSocket-Protocol");
  if (agreed) {
    int result = response_set_subprotocol(r, value, strlen(value));
    if (result != WSC_OK) return result;
  }
  return response_add_header(r, name, strlen(name), value, strlen(value));
}

int wsc_response_status(const wsc_response *r) { return r != NULL ? r->status : 0; }
const char *wsc_response_reason(const wsc_response *r) { return r != NULL ? text_of(r->reason) : ""; }
const char *wsc_response_subprotocol(const wsc_response *r) { return r != NULL ? text_of(r->subprotocol) : ""; }

const char *wsc_response_header(const wsc_response *r, const char *name, size_t n) {
  if (r == NULL || name == NULL) return NULL;
  for (size_t i = 0; i < r->count; i++) {
    if (ascii_equal(r->headers[i], name) && n-- == 0) return value_of(r->headers[i]);
  }
  return NULL;
}

const char *response_next_header(const wsc_response *r, const char *name, size_t *at) {
  while (*at < r->count) {
    const char *header = r->headers[(*at)++];
    if (ascii_equal(header, name)) return value_of(header);
  }
  return NULL;
}

bool wsc_response_header_at(const wsc_response *r, size_t index, const char **name, const char **value) {
  if (r == NULL || index >= r->count) return false;
  if (name != NULL) *name = r->headers[index];
  if (value != NULL) *value = value_of(r->headers[index]);
  return true;
}

const uint8_t *wsc_response_body(const wsc_response *r, size_t *length) {
  if (length != NULL) *length = r != NULL ? r->body.length : 0;
  return r != NULL ? r->body.data : NULL;
}
