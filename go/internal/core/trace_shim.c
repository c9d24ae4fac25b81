/* The tracer that calls Go. Spans and the tracer itself are numbers of Go's, which C only hands back. */
#include "shim.h"

#include "_cgo_export.h"

static void *start(void *self, void *parent, const char *name, int kind, int64_t at, const wsc_attribute *a, size_t n) {
  return (void *)wscengineGoSpanStart((uintptr_t)self, (uintptr_t)parent, (char *)name, kind, at, (wsc_attribute *)a, n);
}

static void event(void *self, void *span, const char *name, int64_t at, const wsc_attribute *a, size_t n) {
  wscengineGoSpanEvent((uintptr_t)self, (uintptr_t)span, (char *)name, at, (wsc_attribute *)a, n);
}

static void attributes(void *self, void *span, const wsc_attribute *a, size_t n) {
  wscengineGoSpanAttributes((uintptr_t)self, (uintptr_t)span, (wsc_attribute *)a, n);
}

static void end(void *self, void *span, int64_t at, int status, const wsc_error *e) {
  wscengineGoSpanEnd((uintptr_t)self, (uintptr_t)span, at, status, (wsc_error *)e);
}

int shim_set_tracer(wsc_options *o, uintptr_t number) {
  static const wsc_tracer vtable = {.struct_size = sizeof vtable,
                                    .span_start = start,
                                    .span_event = event,
                                    .span_attributes = attributes,
                                    .span_end = end};
  return wsc_options_set_tracer(o, &vtable, (void *)number);
}
