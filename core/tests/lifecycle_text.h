/* Effects and inputs of the lifecycle as short text: what test_lifecycle.c compares and test_lifecycle_explore.c
 * prints. */
#ifndef WSC_LIFECYCLE_TEXT_H
#define WSC_LIFECYCLE_TEXT_H

#include <stdarg.h>
#include <stdio.h>

#include "lifecycle.h"

struct text {
  size_t used;
  char chars[1024];
};

__attribute__((format(printf, 2, 3))) static inline void text_add(struct text *t, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(t->chars + t->used, sizeof t->chars - t->used, format, arguments);
  va_end(arguments);
  if (n > 0) t->used += (size_t)n;
  if (t->used >= sizeof t->chars) t->used = sizeof t->chars - 1;
}

static inline void text_effect(struct text *t, const struct lifecycle_effect *e) {
  switch (e->kind) {
  case EF_ASK: text_add(t, "ASK retry=%u", e->retry); return;
  case EF_DIAL: text_add(t, "DIAL %llu", (unsigned long long)e->epoch); return;
  case EF_CANCEL_DIAL: text_add(t, "CANCEL_DIAL %d", e->status); return;
  case EF_OPENED: text_add(t, "OPENED%s", e->restarting ? " restarting" : ""); return;
  case EF_READ: text_add(t, "READ"); return;
  case EF_SESSION_OVER: text_add(t, "SESSION_OVER%s%s", e->drop ? " drop" : "", e->fence ? " fence" : ""); return;
  case EF_DRAIN: text_add(t, "DRAIN"); return;
  case EF_GRACE_OVER: text_add(t, "GRACE_OVER"); return;
  case EF_CLOSED: text_add(t, "CLOSED%s", e->has_close ? " has_close" : ""); return;
  case EF_CLOSE: text_add(t, "CLOSE%s", e->use_reply ? " reply" : ""); return;
  case EF_ABORT: text_add(t, "ABORT %d", e->status); return;
  case EF_CLOSE_ERROR: text_add(t, "CLOSE_ERROR"); return;
  case EF_RESTART_ERROR:
    text_add(t, "RESTART_ERROR retry=%u delay=%lld", e->retry, (long long)e->delay_ms);
    if (e->status != 1) text_add(t, " status=%d", e->status);
    if (e->last) text_add(t, " last");
    return;
  case EF_TIMER: text_add(t, "TIMER %lld", (long long)e->at_ms); return;
  case EF_START_DONE: text_add(t, "START_DONE %d", e->status); return;
  case EF_STOPPED: text_add(t, "STOPPED %d", e->reason); return;
  case EF_RUN_OVER: text_add(t, "RUN_OVER %d", e->reason); return;
  case EF_DRAIN_ALL: text_add(t, "DRAIN_ALL"); return;
  }
  text_add(t, "?%d", (int)e->kind);
}

static inline void text_effects(struct text *t, const struct lifecycle_effects *effects) {
  for (int i = 0; i < effects->count; i++) {
    if (i) text_add(t, ", ");
    text_effect(t, &effects->items[i]);
  }
}

static inline const char *text_input(enum lifecycle_input_kind kind) {
  static const char *const names[] = {[IN_START] = "START",
                                      [IN_START_ABORTED] = "START_ABORTED",
                                      [IN_STOP] = "STOP",
                                      [IN_STOP_DEADLINE] = "STOP_DEADLINE",
                                      [IN_EXIT] = "EXIT",
                                      [IN_RESTART] = "RESTART",
                                      [IN_ANSWERED] = "ANSWERED",
                                      [IN_DIALED] = "DIALED",
                                      [IN_DIAL_FAILED] = "DIAL_FAILED",
                                      [IN_OPENED] = "OPENED",
                                      [IN_LOST] = "LOST",
                                      [IN_TAKEN] = "TAKEN",
                                      [IN_READERS_OUT] = "READERS_OUT",
                                      [IN_CLOSE_ANSWERED] = "CLOSE_ANSWERED",
                                      [IN_CLOSED] = "CLOSED",
                                      [IN_CALLBACK_DONE] = "CALLBACK_DONE",
                                      [IN_TIMER] = "TIMER",
                                      [IN_ALL_OUT] = "ALL_OUT"};
  return names[kind];
}

#endif
