/* What a test program needs: stop at the first wrong answer and say where, what was asked, what came and what was
 * expected. */
#ifndef WSC_CHECK_H
#define WSC_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(expression) \
  do { \
    if (!(expression)) { \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #expression); \
      exit(1); \
    } \
  } while (0)

/* Integers of any type, also negative ones and enums. */
#define CHECK_EQ(got, want) \
  do { \
    long long check_got_ = (long long)(got), check_want_ = (long long)(want); \
    if (check_got_ != check_want_) { \
      fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, check_got_, check_want_); \
      exit(1); \
    } \
  } while (0)

#define CHECK_TEXT_(text) ((text) != NULL ? (text) : "(NULL)")

/* Texts; NULL equals only NULL. */
#define CHECK_STR(got, want) \
  do { \
    const char *check_got_ = (got), *check_want_ = (want); \
    bool check_same_ = check_got_ == check_want_; \
    if (check_got_ != NULL && check_want_ != NULL) check_same_ = strcmp(check_got_, check_want_) == 0; \
    if (!check_same_) { \
      fprintf(stderr, "%s:%d: %s is\n  %s\nnot\n  %s\n", __FILE__, __LINE__, #got, CHECK_TEXT_(check_got_), \
              CHECK_TEXT_(check_want_)); \
      exit(1); \
    } \
  } while (0)

/* A text that contains another one: for error messages, whose facts matter and whose wording may change. */
#define CHECK_HAS(got, part) \
  do { \
    const char *check_got_ = (got), *check_part_ = (part); \
    if (check_got_ == NULL || strstr(check_got_, check_part_) == NULL) { \
      fprintf(stderr, "%s:%d: %s is\n  %s\nwithout\n  %s\n", __FILE__, __LINE__, #got, CHECK_TEXT_(check_got_), \
              check_part_); \
      exit(1); \
    } \
  } while (0)

#define CHECK_BYTES(got, want, n) \
  do { \
    const unsigned char *check_got_ = (const unsigned char *)(got), *check_want_ = (const unsigned char *)(want); \
    for (size_t check_i_ = 0; check_i_ < (size_t)(n); check_i_++) { \
      if (check_got_[check_i_] != check_want_[check_i_]) { \
        fprintf(stderr, "%s:%d: byte %zu of %s is 0x%02x, not 0x%02x\n", __FILE__, __LINE__, check_i_, #got, \
                check_got_[check_i_], check_want_[check_i_]); \
        exit(1); \
      } \
    } \
  } while (0)

#endif
