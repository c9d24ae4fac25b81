/* The instrumenting decorators: spans around an engine's callbacks, its phases and a connection's verbs. An engine without a tracer has no struct
 * trace and pays one branch. */
#ifndef WSC_TRACE_INTERNAL_H
#define WSC_TRACE_INTERNAL_H

#include "wscengine/loop.h"
#include "wscengine/trace.h"

struct span;
struct trace;

/* Around one callback. */
struct trace_call {
  struct span *phase; /* kept until the callback is out */
  void *span;         /* the tracer's; NULL: the callback has none */
};

int trace_new(wsc_engine *e);     /* e->trace, when its options have a tracer; WSC_OK, WSC_ERR_NOMEM */
void trace_free(struct trace *t); /* accepts NULL */
void trace_close(wsc_engine *e);  /* no call of the tracer runs or comes after it; not inside one */
void trace_settle(wsc_engine *e); /* ends the spans of a start that has ended; harmless at any time */

/* A start that may begin: its spans are open before anything of it can happen. trace_start_refused: it did not begin. */
struct trace_start {
  struct span *start, *background;
};
void trace_start_begin(wsc_engine *e, const wsc_context *c, struct trace_start *out);
void trace_start_refused(wsc_engine *e, struct trace_start *s, int status, const wsc_error *error);

/* The engine's lock is held. */
void trace_started(wsc_engine *e, struct trace_start *s); /* it begins; takes them over */
void trace_start_done(wsc_engine *e, int status, const wsc_error *error);
void trace_dial(wsc_engine *e);
void trace_dialed(wsc_engine *e, const wsc_error *error);
void trace_close_begun(wsc_engine *e, int code, const char *reason);
void trace_close_done(wsc_engine *e, const wsc_error *error);

/* The crew, around a callback; no lock is held. status: of the callback. */
void trace_before(wsc_engine *e, const wsc_event *ev, struct trace_call *call);
void trace_after(wsc_engine *e, const wsc_event *ev, struct trace_call *call, int status);
void trace_message_before(wsc_engine *e, const wsc_event *ev, int type, size_t length, struct trace_call *call);

void *trace_stop(wsc_engine *e, const wsc_context *c); /* ends by trace_verb_end */

/* Verbs. attributes: beside url.full. parent: c's, else the callback's. */
void *trace_verb(wsc_engine *e, const wsc_context *c, int name, const wsc_attribute *attributes, size_t count);
void trace_verb_event(wsc_engine *e, void *span, int name, const wsc_attribute *attributes, size_t count);
void trace_verb_end(wsc_engine *e, void *span, int status, const wsc_error *error);

static inline wsc_attribute trace_int(int name, int64_t n) {
  return (wsc_attribute){.name = wsc_trace_name(name), .type = WSC_ATTRIBUTE_INT, .number = n};
}
static inline wsc_attribute trace_bool(int name, bool yes) {
  return (wsc_attribute){.name = wsc_trace_name(name), .type = WSC_ATTRIBUTE_BOOL, .number = yes};
}
static inline wsc_attribute trace_str(int name, const char *text) {
  return (wsc_attribute){.name = wsc_trace_name(name), .type = WSC_ATTRIBUTE_STR, .text = text ? text : ""};
}

#endif
