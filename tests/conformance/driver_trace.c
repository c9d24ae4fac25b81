/* The driver's tracer: a span becomes one `span` event as it ends. */
#include "driver.h"

#include <stdlib.h>

struct span {
  int64_t number;
  int kind;
  const char *name, *parent;
  struct line attributes, events;
};

static atomic_llong spans_started, spans_open;

static void line_attributes(struct line *l, const wsc_attribute *a, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (a[i].type == WSC_ATTRIBUTE_STR) line_text(l, a[i].name, a[i].text);
    else if (a[i].type == WSC_ATTRIBUTE_BOOL) line_bool(l, a[i].name, a[i].number != 0);
    else line_int(l, a[i].name, a[i].number);
  }
}

static void line_object(struct line *l, const char *key, const struct line *inside, char bracket) {
  line_open(l, key, bracket);
  line_raw(l, inside->p, inside->n);
  line_close(l, bracket == '{' ? '}' : ']');
}

/* Names are static in the library, so that a parent's may be kept. */
static void *span_start(void *self, void *parent, const char *name, int kind, int64_t time_ns, const wsc_attribute *a,
                        size_t n) {
  (void)self;
  struct span *s = calloc(1, sizeof *s);
  if (!s || time_ns <= 0) abort();
  s->number = atomic_fetch_add(&spans_started, 1) + 1;
  s->kind = kind;
  s->name = name;
  s->parent = parent ? ((struct span *)parent)->name : "";
  line_attributes(&s->attributes, a, n);
  atomic_fetch_add(&spans_open, 1);
  return s;
}

static void span_event(void *self, void *span, const char *name, int64_t time_ns, const wsc_attribute *a, size_t n) {
  (void)self;
  struct span *s = span;
  if (time_ns <= 0) abort();
  line_open(&s->events, NULL, '{');
  line_text(&s->events, "name", name);
  line_attributes(&s->events, a, n);
  line_close(&s->events, '}');
}

static void span_attributes(void *self, void *span, const wsc_attribute *a, size_t n) {
  (void)self;
  line_attributes(&((struct span *)span)->attributes, a, n);
}

static void span_end(void *self, void *span, int64_t time_ns, int status, const wsc_error *error) {
  (void)self;
  struct span *s = span;
  struct line l = {0};
  if (time_ns <= 0) abort();
  line_text(&l, "event", "span");
  line_int(&l, "span", s->number);
  line_text(&l, "name", s->name);
  line_text(&l, "parent", s->parent);
  line_text(&l, "kind", s->kind == WSC_SPAN_CLIENT ? "client" : s->kind == WSC_SPAN_INTERNAL ? "internal" : "?");
  line_text(&l, "status", wsc_status_name(status));
  line_error(&l, "error", error);
  line_object(&l, "attributes", &s->attributes, '{');
  line_object(&l, "events", &s->events, '[');
  atomic_fetch_sub(&spans_open, 1); /* before the runner can know */
  emit(&l);
  line_free(&s->attributes);
  line_free(&s->events);
  free(s);
}

const wsc_tracer *driver_tracer(void) {
  static const wsc_tracer tracer = {.struct_size = sizeof tracer,
                                    .span_start = span_start,
                                    .span_event = span_event,
                                    .span_attributes = span_attributes,
                                    .span_end = span_end};
  return &tracer;
}

int64_t driver_spans_open(void) { return atomic_load(&spans_open); }
