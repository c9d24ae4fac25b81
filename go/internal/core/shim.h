/* Crossings that save one another: what a goroutine does next in C, in one call. No pointer of Go's outlives a call. */
#ifndef WSCENGINE_GO_SHIM_H
#define WSCENGINE_GO_SHIM_H

#include <stdlib.h>
#include <string.h>
#include <wscengine.h>

/* An event, and its flags as they were before it was entered. entered: a batch that is still to be left. */
struct shim_event {
  wsc_event event;
  uint32_t flags;
  bool entered;
};

static inline void shim_taken(wsc_event *ev, uint32_t consumed) {
  wsc_event mine = *ev; /* the one that is entered lives on until its leave */
  wsc_reply r = {.struct_size = sizeof r, .consumed = consumed};
  wsc_event_done(&mine, &r);
}

static inline void shim_leave(struct shim_event *s) {
  if (s->entered) wsc_event_leave(&s->event);
  s->entered = false;
}

/* Leaves the batch before, and gives the next event, without waiting. A batch comes entered. */
static inline int shim_next(wsc_loop *l, struct shim_event *next) {
  wsc_event *ev = &next->event;
  shim_leave(next);
  for (;;) {
    memset(ev, 0, sizeof *ev);
    ev->struct_size = sizeof *ev;
    int r = wsc_loop_next(l, 0, ev);
    next->flags = ev->flags;
    if (r != WSC_OK || ev->type != WSC_EVENT_BATCH || wsc_event_enter(ev)) return r;
    wsc_reply none = {.struct_size = sizeof none};
    wsc_event_done(ev, &none); /* its session is over */
  }
}

/* For one reader more; false: there may be none. */
static inline bool shim_join(const struct shim_event *of, wsc_event *mine) {
  *mine = of->event;
  mine->flags = of->flags;
  return wsc_event_enter(mine);
}

static inline void shim_closed(wsc_event *ev, int code, const char *reason) {
  wsc_reply r = {.struct_size = sizeof r, .close_code = code, .close_reason = reason};
  wsc_event_done(ev, &r);
}

static inline void shim_refused(wsc_event *ev, wsc_error *error) {
  wsc_reply r = {.struct_size = sizeof r, .status = WSC_ERR_HOST, .error = error};
  wsc_event_done(ev, &r);
}

struct shim_result {
  int status;
  wsc_error *error;
};

/* One message, if it can go at once; WSC_ERR_QUEUE_FULL when there is no room. */
static inline struct shim_result shim_write_now(wsc_connection *k, int type, const uint8_t *p, size_t n) {
  wsc_context at_once = {.struct_size = sizeof at_once, .deadline_ns = 1};
  struct shim_result r = {0, NULL};
  r.status = wsc_connection_write(k, &at_once, type, p, n, &r.error);
  return r;
}

static inline struct shim_result shim_engine_write_now(wsc_engine *e, int type, const uint8_t *p, size_t n) {
  wsc_context at_once = {.struct_size = sizeof at_once, .deadline_ns = 1};
  struct shim_result r = {0, NULL};
  r.status = wsc_engine_write(e, &at_once, type, p, n, &r.error);
  return r;
}

/* user and host objects are numbers of Go's, which C only hands back. */
static inline int shim_engine_new(const char *url, uintptr_t id, const wsc_options *o, wsc_engine **out,
                                  wsc_error **err) {
  return wsc_engine_new(url, NULL, (void *)id, o, out, err);
}

static inline uintptr_t shim_user(const wsc_event *ev) { return (uintptr_t)ev->user; }

static inline int shim_error_new(int status, int close_code, const char *message, uintptr_t id, wsc_error **out) {
  return wsc_error_new(status, close_code, message, NULL, (void *)id, NULL, out);
}

static inline uintptr_t shim_error_host(const wsc_error *e) { return (uintptr_t)wsc_error_host(e); }

static inline int shim_start_begin(wsc_engine *e, const wsc_context *limit, uintptr_t span, uint64_t token, wsc_op **op,
                                   wsc_error **err) {
  wsc_context c = {.struct_size = sizeof c};
  if (limit) c = *limit;
  c.parent_span = (void *)span;
  return wsc_engine_start_begin(e, &c, token, op, err);
}

static inline uintptr_t shim_trace_span(const wsc_trace_call *c) { return (uintptr_t)wsc_trace_span(c); }

int shim_set_tracer(wsc_options *o, uintptr_t number);

#endif
