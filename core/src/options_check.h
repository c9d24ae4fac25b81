/* What the rooms that judge options share: violations are collected, and every one becomes a link of the error. */
#ifndef WSC_OPTIONS_CHECK_H
#define WSC_OPTIONS_CHECK_H

#include "mem.h"
#include "options.h"

/* The violations found so far: their texts, each with its NUL, one behind the other. */
struct violations {
  struct buffer texts;
  size_t count;
  int status;
};

void violate(struct violations *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cannot_judge(struct violations *v); /* out of memory */
/* The byte that may not be in a header value (anything but tab and visible characters, RFC 9110 section 5.5), or
 * NULL. */
const char *bad_in_value(const char *value);
const char *byte_name(char c, char buffer[static 32]); /* "a line feed", "'x'", "the byte 0x00" */

void check_network(struct violations *v, const wsc_options *o); /* options_network.c */

#endif
