#include "ascii.h"

#include <stdio.h>

const char *ascii_shown(char *out, size_t capacity, const uint8_t *p, size_t n) {
  size_t at = 0;
  for (size_t i = 0; i < n && at + sizeof "\\x00" <= capacity; i++) {
    bool plain = p[i] >= ' ' && p[i] < 0x7f && p[i] != '"' && p[i] != '\\';
    if (plain) out[at++] = (char)p[i];
    else at += (size_t)snprintf(out + at, capacity - at, "\\x%02x", p[i]);
  }
  out[at] = 0;
  return out;
}
