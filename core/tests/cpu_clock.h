/* What the micro-benchmarks measure with: CPU time of this process, and medians of it. */
#ifndef WSC_TESTS_CPU_CLOCK_H
#define WSC_TESTS_CPU_CLOCK_H

#include <stdlib.h>
#include <time.h>

static inline double cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts them; n is odd. */
static inline double median(double *values, size_t n) {
  qsort(values, n, sizeof *values, by_size);
  return values[n / 2];
}

#endif
