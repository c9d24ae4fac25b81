/* What the fuzz targets share: each is one function fed with bytes by libFuzzer, or by replay.c with the files of its
 * corpus where there is no libFuzzer. */
#ifndef WSC_FUZZ_H
#define WSC_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the library that does not hold: libFuzzer keeps the input. */
#define PROMISE(expression) \
  do { \
    if (!(expression)) abort(); \
  } while (0)

/* The input, read from its front. */
struct input {
  const uint8_t *p;
  size_t n;
};

static inline uint8_t take_byte(struct input *in) {
  if (in->n == 0) return 0;
  in->n--;
  return *in->p++;
}

/* So many bytes as a copy of exactly that size, so that a read past the end is seen. free() it. */
static inline uint8_t *take_copy(struct input *in, size_t n, size_t *got) {
  *got = n < in->n ? n : in->n;
  uint8_t *copy = malloc(*got ? *got : 1);
  PROMISE(copy != NULL);
  if (*got == 0) return copy;
  memcpy(copy, in->p, *got);
  in->p += *got;
  in->n -= *got;
  return copy;
}

static inline char *take_text(struct input *in, size_t n) {
  size_t got = n < in->n ? n : in->n;
  char *text = malloc(got + 1);
  PROMISE(text != NULL);
  if (got > 0) memcpy(text, in->p, got);
  text[got] = 0;
  if (got > 0) in->p += got;
  in->n -= got;
  return text;
}

#endif
