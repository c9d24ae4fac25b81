/* One attempt to connect: where to and with what. The hook before it may change it, an adapter dials by it. */
#ifndef WSC_ATTEMPT_H
#define WSC_ATTEMPT_H

#include "options.h"
#include "url.h"
#include "wscengine/engine.h"

struct wsc_attempt {
  wsc_engine *engine;
  uint32_t number;
  wsc_error *last_error;
  struct url url;
  wsc_options *options;
  int64_t delay_ms, retry_delay_ms;
  bool reset;
};

struct wsc_attempt *attempt_new(const struct url *url, wsc_options *o); /* copies; NULL: out of memory */
void attempt_free(struct wsc_attempt *a);                               /* accepts NULL */

#endif
