/* Bytes and what wsc makes of them. Everything here is a plain function of its arguments, but for complain(). */
#define _GNU_SOURCE
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(size_t wanted) {
  fprintf(stderr, "wsc: out of memory: %zu bytes wanted\n", wanted);
  exit(1);
}

uint8_t *bytes_room(struct bytes *b, size_t n) {
  if (n > SIZE_MAX / 2 - b->n) out_of_memory(n);
  if (b->p == NULL || b->capacity - b->n < n) {
    size_t capacity = b->capacity > 0 ? b->capacity : 4096;
    while (capacity - b->n < n) capacity *= 2;
    uint8_t *grown = realloc(b->p, capacity);
    if (grown == NULL) out_of_memory(capacity);
    b->p = grown;
    b->capacity = capacity;
  }
  return b->p + b->n;
}

void bytes_add(struct bytes *b, const void *p, size_t n) {
  if (n == 0) return; /* p may be NULL then */
  memcpy(bytes_room(b, n), p, n);
  b->n += n;
}

void bytes_print(struct bytes *b, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int n = vsnprintf(NULL, 0, format, arguments);
  if (n > 0) {
    vsnprintf((char *)bytes_room(b, (size_t)n + 1), (size_t)n + 1, format, again);
    b->n += (size_t)n;
  }
  va_end(again);
  va_end(arguments);
}

void bytes_free(struct bytes *b) {
  free(b->p);
  *b = (struct bytes){0};
}

size_t utf8_sequence(const uint8_t *p, size_t n) {
  uint8_t first = p[0];
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (n < length) return 0;
  for (size_t i = 1; i < length; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && p[1] < 0xa0) return 0; /* longer than needed */
  if (first == 0xed && p[1] > 0x9f) return 0; /* surrogates */
  if (first == 0xf0 && p[1] < 0x90) return 0; /* longer than needed */
  if (first == 0xf4 && p[1] > 0x8f) return 0; /* above U+10FFFF */
  return length;
}

size_t utf8_fault(const uint8_t *p, size_t n) {
  for (size_t at = 0; at < n;) {
    size_t length = utf8_sequence(p + at, n - at);
    if (length == 0) return at;
    at += length;
  }
  return n;
}

static bool json_plain(uint8_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

static void json_escape(struct bytes *b, uint8_t c) {
  static const char short_forms[] = "\bb\ff\nn\rr\tt\"\"\\\\";
  for (const char *s = short_forms; *s != '\0'; s += 2) {
    if ((uint8_t)s[0] == c) {
      bytes_print(b, "\\%c", s[1]);
      return;
    }
  }
  bytes_print(b, "\\u%04x", c);
}

void json_string(struct bytes *b, const uint8_t *p, size_t n) {
  bytes_add(b, "\"", 1);
  for (size_t at = 0; at < n;) {
    size_t plain = at;
    while (plain < n && json_plain(p[plain])) plain++;
    bytes_add(b, p + at, plain - at);
    at = plain;
    if (at == n) break;
    size_t length = utf8_sequence(p + at, n - at);
    if (length > 1) bytes_add(b, p + at, length);
    else if (length == 0) bytes_add(b, "\xef\xbf\xbd", 3);
    else json_escape(b, p[at]);
    at += length > 0 ? length : 1;
  }
  bytes_add(b, "\"", 1);
}

void base64(struct bytes *b, const uint8_t *p, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  uint8_t *to = bytes_room(b, (n + 2) / 3 * 4);
  for (size_t i = 0; i < n; i += 3) {
    size_t left = n - i;
    uint32_t three =
        (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? (uint32_t)p[i + 2] : 0);
    *to++ = (uint8_t)digits[three >> 18];
    *to++ = (uint8_t)digits[three >> 12 & 63];
    *to++ = left > 1 ? (uint8_t)digits[three >> 6 & 63] : (uint8_t)'=';
    *to++ = left > 2 ? (uint8_t)digits[three & 63] : (uint8_t)'=';
  }
  b->n = (size_t)(to - b->p);
}

void complain(const char *format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);

  /* One write a complaint: lines of several programs on one terminal stay whole. */
  struct bytes line = {0};
  bytes_print(&line, "wsc: ");
  for (const char *s = text; *s != '\0'; s++) {
    uint8_t c = (uint8_t)*s;
    if (c == '\n') bytes_print(&line, "\nwsc: ");
    else if (c < 0x20 || c == 0x7f) bytes_print(&line, "\\x%02x", c);
    else bytes_add(&line, s, 1);
  }
  bytes_add(&line, "\n", 1);
  ssize_t ignored = write(STDERR_FILENO, line.p, line.n);
  (void)ignored; /* nobody is left to be told */
  bytes_free(&line);
}
