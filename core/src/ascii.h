/* Characters as protocols see them: ASCII, whatever the locale says. */
#ifndef WSC_ASCII_H
#define WSC_ASCII_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }
static inline bool ascii_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool ascii_alnum(char c) { return ascii_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'); }

/* The first n characters of a and b are equal but for case; neither needs a NUL. */
static inline bool ascii_equal_n(const char *a, const char *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (ascii_lower(a[i]) != ascii_lower(b[i])) return false;
  }
  return true;
}

static inline bool ascii_equal(const char *a, const char *b) {
  size_t n = strlen(a);
  return n == strlen(b) && ascii_equal_n(a, b, n);
}

/* A character of an HTTP token (RFC 9110 section 5.6.2). */
static inline bool ascii_token(char c) { return ascii_alnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL); }

/* n bytes of anybody's as text that may stand between quotes in a log or an error: what is no plain character becomes
 * \x and two digits. In out, which is returned; capacity >= 1; what does not fit is left out. */
const char *ascii_shown(char *out, size_t capacity, const uint8_t *p, size_t n);

#endif
