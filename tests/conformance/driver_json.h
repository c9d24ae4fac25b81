/* JSON lines, as little of them as the drivers' protocol needs: whole numbers, no floats. */
#ifndef DRIVER_JSON_H
#define DRIVER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
  enum json_type type;
  int64_t number; /* also of a bool */
  char *string;   /* NUL-terminated; may hold NULs inside: length counts */
  size_t length;
  char *key;          /* inside an object */
  struct json *child; /* of arrays and objects */
  struct json *next;
};

struct json *json_parse(const char *text); /* NULL: malformed */
void json_free(struct json *j);            /* accepts NULL */

/* Look-ups accept NULL and anything that is no object. */
const struct json *json_get(const struct json *object, const char *key);
const char *json_text(const struct json *object, const char *key, const char *otherwise);
int64_t json_int(const struct json *object, const char *key, int64_t otherwise);

/* One object being written: "key":value pairs, without its outer braces. Keys NULL inside arrays. */
struct line {
  char *p;
  size_t n, capacity;
};
void line_open(struct line *l, const char *key, char bracket);     /* '{' or '[' */
void line_close(struct line *l, char bracket);                     /* '}' or ']' */
void line_text(struct line *l, const char *key, const char *text); /* NULL: null */
void line_bytes(struct line *l, const char *key, const uint8_t *p, size_t n);
void line_hex(struct line *l, const char *key, const uint8_t *p, size_t n);
void line_int(struct line *l, const char *key, int64_t value);
void line_bool(struct line *l, const char *key, bool value);
void line_raw(struct line *l, const char *text, size_t n); /* as it is: what another line has written */
void line_free(struct line *l);

#endif
