/* A tracer on a host's loop: the host says where its callbacks begin and end, the library makes their spans and those around them; all of them end,
 * also when the engine is cut. */
#define _GNU_SOURCE
#include "driven_bed.h"

#include <stdlib.h>
#include <string.h>

struct told {
  char text[4096]; /* "name<parent:status\n" as each ends */
  int open, events;
};

struct span {
  const char *name, *parent;
};

static void *span_start(void *self, void *parent, const char *name, int kind, int64_t at, const wsc_attribute *a,
                        size_t n) {
  struct told *t = self;
  struct span *s = calloc(1, sizeof *s);
  (void)a, (void)n;
  CHECK(s != NULL && at > 0 && (kind == WSC_SPAN_INTERNAL || kind == WSC_SPAN_CLIENT));
  s->name = name;
  s->parent = parent ? ((struct span *)parent)->name : "";
  t->open++;
  return s;
}

static void span_event(void *self, void *span, const char *name, int64_t at, const wsc_attribute *a, size_t n) {
  (void)span, (void)name, (void)at, (void)a, (void)n;
  ((struct told *)self)->events++;
}

static void span_end(void *self, void *span, int64_t at, int status, const wsc_error *error) {
  struct told *t = self;
  struct span *s = span;
  size_t n = strlen(t->text);
  (void)error;
  CHECK(at > 0);
  snprintf(t->text + n, sizeof t->text - n, "%s<%s:%s\n", s->name, s->parent, wsc_status_name(status));
  t->open--;
  free(s);
}

static const wsc_tracer tracer = {
    .struct_size = sizeof tracer, .span_start = span_start, .span_event = span_event, .span_end = span_end};

static int told(const struct told *t, const char *line) {
  int n = 0;
  for (const char *at = t->text; (at = strstr(at, line)) != NULL; at++) n++;
  return n;
}

static void callback(wsc_event *ev, int status) {
  wsc_reply reply = {.struct_size = sizeof reply, .status = status};
  wsc_trace_call *c = wsc_trace_begin(ev, NULL);
  CHECK(c != NULL);
  wsc_trace_end(c, status ? WSC_ERR_HOST : WSC_OK);
  wsc_event_done(ev, &reply);
}

static wsc_event make(struct bed *b, struct told *t) {
  *b = (struct bed){0};
  *t = (struct told){0};
  wsc_options *o = wsc_options_new();
  CHECK_EQ(wsc_options_set_tracer(o, &tracer, t), WSC_OK);
  peer_listen(&b->peer);
  CHECK_EQ(wsc_loop_new(NULL, &b->loop, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_new(b->peer.url, NULL, b, o, &b->engine, NULL), WSC_OK);
  wsc_options_free(o);
  CHECK_EQ(wsc_loop_add(b->loop, b->engine), WSC_OK);
  CHECK_EQ(wsc_engine_start_begin(b->engine, NULL, 1, NULL, NULL), WSC_OK);
  settle(b);
  peer_accept(&b->peer);
  return expect(b, WSC_EVENT_OPENED);
}

/* The end of a start: its completion, and what the tracer needs to know of it. */
static void started(struct bed *b, int status) {
  bool done = false, traced = false;
  while (!done || !traced) {
    wsc_event ev = {.struct_size = sizeof ev};
    CHECK_EQ(wsc_loop_next(b->loop, PATIENCE, &ev), WSC_OK);
    if (ev.type == WSC_EVENT_OP_DONE) CHECK_EQ(ev.status, status);
    done = done || ev.type == WSC_EVENT_OP_DONE;
    traced = traced || ev.type == WSC_EVENT_TRACE;
    if (ev.type == WSC_EVENT_STOPPED) callback(&ev, 0);
    else wsc_event_done(&ev, NULL);
  }
}

static void a_session(void) {
  struct bed b;
  struct told t;
  wsc_record r;
  wsc_event opened = make(&b, &t);
  wsc_trace_call *c = wsc_trace_begin(&opened, NULL);
  CHECK(strcmp(((struct span *)wsc_trace_span(c))->name, "wscengine.callback.on_open") == 0);
  CHECK(wsc_engine_span(b.engine) == NULL);
  wsc_trace_end(c, WSC_OK);
  wsc_event_done(&opened, NULL);
  started(&b, WSC_OK);
  CHECK_EQ(told(&t, "wscengine.start<:OK\n"), 1);
  CHECK_EQ(told(&t, "wscengine.background.start<wscengine.start:OK\n"), 1);
  CHECK_EQ(told(&t, "websocket.dial<wscengine.background.start:OK\n"), 1);
  peer_bytes(b.peer.fd,
             "\x81\x01"
             "a",
             3);
  wsc_event ev = expect(&b, WSC_EVENT_BATCH);
  CHECK(wsc_event_enter(&ev));
  CHECK(wsc_trace_begin(&ev, NULL) == NULL); /* a batch has a span for each message */
  CHECK_EQ(wsc_event_take(&ev, &r), 1);
  c = wsc_trace_begin(&ev, &r);
  wsc_event_done(&ev, &(wsc_reply){.struct_size = sizeof(wsc_reply), .consumed = 1});
  wsc_trace_end(c, WSC_ERR_HOST);
  wsc_event_leave(&ev);
  CHECK_EQ(told(&t, "websocket.read<wscengine.background.run:OK\n"), 1);
  CHECK_EQ(told(&t, "wscengine.callback.on_message<wscengine.background.run:ERR_HOST\n"), 1);
  CHECK_EQ(told(&t, "wscengine.background.run"), 2); /* as a parent only: it is open */
  tear_down(&b);                                     /* cut */
  CHECK_EQ(told(&t, "wscengine.background.run<:OK\n"), 1);
  CHECK_EQ(t.open, 0);
}

static void a_start_that_is_refused(void) {
  struct bed b;
  struct told t;
  wsc_event opened = make(&b, &t);
  callback(&opened, 1);
  started(&b, WSC_ERR_HOST);
  settle(&b);
  CHECK_EQ(told(&t, "wscengine.callback.on_open<wscengine.background.start:ERR_HOST\n"), 1);
  CHECK_EQ(told(&t, "wscengine.start<:ERR_HOST\n"), 1);
  CHECK_EQ(t.open, 0);
  tear_down(&b);
}

static void without_a_tracer_it_is_nothing(void) {
  struct bed b;
  open_it(&b, NULL);
  wsc_event ev = {.struct_size = sizeof ev, .type = WSC_EVENT_CLOSED, .engine = b.engine};
  CHECK(wsc_trace_begin(&ev, NULL) == NULL && wsc_trace_begin(NULL, NULL) == NULL && wsc_trace_span(NULL) == NULL);
  wsc_trace_end(NULL, WSC_OK);
  tear_down(&b);
}

int main(void) {
  a_session();
  a_start_that_is_refused();
  without_a_tracer_it_is_nothing();
  return 0;
}
