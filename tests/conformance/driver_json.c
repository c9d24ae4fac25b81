/* The JSON of the drivers' protocol: a small recursive reader and an appending writer. Out of memory ends the
 * driver: it is a test program, and the runner reports a driver that died. */
#include "driver_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *p) {
  if (p) return p;
  fputs("driver: out of memory\n", stderr);
  abort();
}

/* ---- reading ---- */

static const char *skip(const char *p) {
  while (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n') p++;
  return p;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static const char *read_unit(const char *p, uint32_t *unit) {
  *unit = 0;
  for (int i = 0; i < 4; i++, p++) {
    int digit = hex_digit(*p);
    if (digit < 0) return NULL;
    *unit = *unit << 4 | (uint32_t)digit;
  }
  return p;
}

static size_t put_utf8(char *out, uint32_t c) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 63));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char)(0xE0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 63));
    out[2] = (char)(0x80 | (c & 63));
    return 3;
  }
  out[0] = (char)(0xF0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 63));
  out[2] = (char)(0x80 | (c >> 6 & 63));
  out[3] = (char)(0x80 | (c & 63));
  return 4;
}

/* p is behind the backslash. A \u escape is never shorter than the UTF-8 it stands for, so out cannot run over. */
static const char *read_escape(const char *p, char *out, size_t *n) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *found = *p ? strchr(from, *p) : NULL;
  if (found) {
    out[(*n)++] = to[found - from];
    return p + 1;
  }
  uint32_t c, low;
  if (*p != 'u' || !(p = read_unit(p + 1, &c))) return NULL;
  if (c >= 0xD800 && c < 0xDC00 && p[0] == '\\' && p[1] == 'u') {
    if (!(p = read_unit(p + 2, &low))) return NULL;
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
  }
  *n += put_utf8(out + *n, c);
  return p;
}

static const char *read_string(const char *p, char **out, size_t *length) {
  size_t n = 0;
  char *s = need(malloc(strlen(p) + 1));
  while (*p && *p != '"') {
    if (*p != '\\') {
      s[n++] = *p++;
    } else if (!(p = read_escape(p + 1, s, &n))) {
      free(s);
      return NULL;
    }
  }
  if (*p != '"') {
    free(s);
    return NULL;
  }
  s[n] = 0;
  *out = need(realloc(s, n + 1));
  *length = n;
  return p + 1;
}

static const char *read_value(const char *p, struct json *j);

static const char *read_members(const char *p, struct json *j, char end) {
  struct json **tail = &j->child;
  p = skip(p);
  if (*p == end) return p + 1;
  for (;;) {
    struct json *item = need(calloc(1, sizeof *item));
    *tail = item;
    tail = &item->next;
    p = skip(p);
    if (end == '}') {
      size_t ignored;
      if (*p != '"' || !(p = read_string(p + 1, &item->key, &ignored))) return NULL;
      p = skip(p);
      if (*p++ != ':') return NULL;
    }
    if (!(p = read_value(p, item))) return NULL;
    p = skip(p);
    if (*p == end) return p + 1;
    if (*p++ != ',') return NULL;
  }
}

static const char *read_word(const char *p, const char *word, struct json *j, enum json_type type, int64_t number) {
  if (strncmp(p, word, strlen(word))) return NULL;
  j->type = type;
  j->number = number;
  return p + strlen(word);
}

static const char *read_value(const char *p, struct json *j) {
  p = skip(p);
  switch (*p) {
  case '{': j->type = JSON_OBJECT; return read_members(p + 1, j, '}');
  case '[': j->type = JSON_ARRAY; return read_members(p + 1, j, ']');
  case '"': j->type = JSON_STRING; return read_string(p + 1, &j->string, &j->length);
  case 't': return read_word(p, "true", j, JSON_BOOL, 1);
  case 'f': return read_word(p, "false", j, JSON_BOOL, 0);
  case 'n': return read_word(p, "null", j, JSON_NULL, 0);
  default: break;
  }
  char *end;
  j->type = JSON_NUMBER;
  j->number = strtoll(p, &end, 10);
  return end == p || *end == '.' || *end == 'e' || *end == 'E' ? NULL : end;
}

struct json *json_parse(const char *text) {
  struct json *j = need(calloc(1, sizeof *j));
  const char *end = read_value(text, j);
  if (end && !*skip(end)) return j;
  json_free(j);
  return NULL;
}

void json_free(struct json *j) {
  while (j) {
    struct json *next = j->next;
    json_free(j->child);
    free(j->key);
    free(j->string);
    free(j);
    j = next;
  }
}

const struct json *json_get(const struct json *object, const char *key) {
  if (!object || object->type != JSON_OBJECT) return NULL;
  for (const struct json *j = object->child; j; j = j->next)
    if (!strcmp(j->key, key)) return j;
  return NULL;
}

const char *json_text(const struct json *object, const char *key, const char *otherwise) {
  const struct json *j = json_get(object, key);
  return j && j->type == JSON_STRING ? j->string : otherwise;
}

int64_t json_int(const struct json *object, const char *key, int64_t otherwise) {
  const struct json *j = json_get(object, key);
  return j && (j->type == JSON_NUMBER || j->type == JSON_BOOL) ? j->number : otherwise;
}

/* ---- writing ---- */

static void put(struct line *l, const char *p, size_t n) {
  if (l->n + n + 1 > l->capacity) {
    l->capacity = (l->n + n + 1) * 2;
    l->p = need(realloc(l->p, l->capacity));
  }
  memcpy(l->p + l->n, p, n);
  l->n += n;
  l->p[l->n] = 0;
}

static void put_key(struct line *l, const char *key) {
  char last = l->n ? l->p[l->n - 1] : '{';
  if (last != '{' && last != '[') put(l, ",", 1);
  if (!key) return;
  put(l, "\"", 1);
  put(l, key, strlen(key));
  put(l, "\":", 2);
}

void line_open(struct line *l, const char *key, char bracket) {
  put_key(l, key);
  put(l, &bracket, 1);
}

void line_close(struct line *l, char bracket) { put(l, &bracket, 1); }

void line_bytes(struct line *l, const char *key, const uint8_t *p, size_t n) {
  put_key(l, key);
  put(l, "\"", 1);
  for (size_t i = 0; i < n; i++) {
    char escape[8];
    if (p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7F) put(l, (const char *)p + i, 1);
    else put(l, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", p[i]));
  }
  put(l, "\"", 1);
}

void line_text(struct line *l, const char *key, const char *text) {
  if (text) {
    line_bytes(l, key, (const uint8_t *)text, strlen(text));
    return;
  }
  put_key(l, key);
  put(l, "null", 4);
}

void line_hex(struct line *l, const char *key, const uint8_t *p, size_t n) {
  put_key(l, key);
  put(l, "\"", 1);
  for (size_t i = 0; i < n; i++) {
    char two[4];
    put(l, two, (size_t)snprintf(two, sizeof two, "%02x", p[i]));
  }
  put(l, "\"", 1);
}

void line_int(struct line *l, const char *key, int64_t value) {
  char text[24];
  put_key(l, key);
  put(l, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
}

void line_bool(struct line *l, const char *key, bool value) {
  put_key(l, key);
  put(l, value ? "true" : "false", value ? 4 : 5);
}

void line_raw(struct line *l, const char *text, size_t n) {
  if (n) put(l, text, n);
}

void line_free(struct line *l) {
  free(l->p);
  *l = (struct line){0};
}
