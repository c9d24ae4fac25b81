/* Making errors. They are immutable, refcounted chains; out of memory yields a static one, so making an error never
 * fails. */
#ifndef WSC_ERROR_H
#define WSC_ERROR_H

#include "wscengine/connection.h"
#include "wscengine/status.h"

struct error_info {
  int status, close_code, os_error, http_status;
  int fatal;              /* WSC_GIVE_UP_* of a cause that waiting hardly mends, else 0 */
  int64_t retry_after_ms; /* of a 429 or 503, -1 (or 0): none */
  int timer;              /* enum wsc_timer that ended it */
  bool plain;             /* the message stands alone: the cause's is not put behind it */
  wsc_error *cause;       /* reference taken over */
  wsc_response *response; /* taken over (wsc_response_free) */
};

/* "what happened: cause's message" when there is a cause. Whatever a peer put into the text, the message is UTF-8 on
 * one line. os_error's text is not added: callers write it where it reads well. */
wsc_error *error_make(const struct error_info *info, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The usual way to fail: stores an error in *err when err is not NULL, returns status. */
int error_set(wsc_error **err, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
int error_set_info(wsc_error **err, const struct error_info *info, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* *err = e (reference moves; dropped when err is NULL); returns its status. */
int error_give(wsc_error **err, wsc_error *e);

/* Found along the chain, like close_code, os_error, http_status and response: the outermost link that has one. */
int error_fatal(const wsc_error *e);
int64_t error_retry_after_ms(const wsc_error *e); /* -1: none */
int error_timer(const wsc_error *e);
const char *error_errno_text(int os_error, char buffer[static 128]); /* thread-safe strerror */

#endif
