/* Spans of an engine. The protocol runs on any thread and under locks, where no tracer may be called, so it only leaves marks: when a dial or a
 * close began and ended. The crew calls the tracer as it comes to the next callback, with the times of the marks.
 *
 * A phase (start, run, shutdown, restart) is a span with a count: of the engine, and of the callbacks that are inside it. It ends when the last of them
 * is out. Phases change with session events, of which one is out at a time. */
#define _GNU_SOURCE
#include "trace.h"

#include "callback.h"
#include "engine.h"
#include "error.h"
#include "mem.h"
#include "os.h"

#include <stdio.h>
#include <string.h>

struct span {
  atomic_uint refs;
  void *handle;
  int status;
  int64_t end_ns; /* 0: as the last one is out */
  wsc_error *error;
};

enum phase { TRACE_IDLE, TRACE_STARTING, TRACE_RUNNING, TRACE_CLOSING, TRACE_RESTARTING };

/* Something of the connection's that began and ended; end_ns 0: not yet. */
struct mark {
  int64_t begin_ns, end_ns;
  wsc_error *error;
};

struct trace {
  const wsc_tracer *vtable;
  void *self;
  bool adapter_tells;     /* its adapter makes the client spans itself */
  char *url;              /* as the engine was made with, without its password */
  struct event_node node; /* a start has ended: whoever comes first settles it */

  /* under the engine's lock */
  struct span *start;
  bool start_over;
  int start_status;
  int64_t start_end_ns;
  wsc_error *start_error;
  struct mark dial, close;
  int close_code;
  char close_reason[124];
  struct span *phase;
  enum phase kind;
  unsigned settling;
  bool closed;
  pthread_cond_t quiet;
};

const char *wsc_trace_name(int name) {
  switch (name) {
#define XX(id, number, text) \
  case number: return text;
    WSC_TRACE_NAME_MAP(XX)
#undef XX
  default: return NULL;
  }
}

/* ---- spans --------------------------------------------------------------------------------------------------------- */

static void *handle_of(const struct span *s) { return s ? s->handle : NULL; }

static void *start_span(struct trace *t, void *parent, int name, int kind, int64_t at, const wsc_attribute *a,
                        size_t n) {
  if (t->adapter_tells && kind == WSC_SPAN_CLIENT) return NULL;
  return t->vtable->span_start(t->self, parent, wsc_trace_name(name), kind, at, a, n);
}

static void end_span(struct trace *t, void *handle, int64_t at, int status, const wsc_error *error) {
  if (handle) t->vtable->span_end(t->self, handle, at, status, error);
}

static struct span *phase_new(struct trace *t, void *parent, int name, int64_t at, const wsc_attribute *a, size_t n) {
  struct span *s = mem_zalloc(sizeof *s);
  if (!s) return NULL; /* not recorded */
  atomic_init(&s->refs, 1);
  s->handle = start_span(t, parent, name, WSC_SPAN_INTERNAL, at, a, n);
  return s;
}

static void phase_unref(struct trace *t, struct span *s) {
  if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
  end_span(t, s->handle, s->end_ns ? s->end_ns : os_unix_ns(), s->status, s->error);
  wsc_error_unref(s->error);
  mem_free(s);
}

static struct span *phase_ref(wsc_engine *e) {
  struct trace *t = e->trace;
  pthread_mutex_lock(&e->lock);
  struct span *s = t->phase;
  if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
  pthread_mutex_unlock(&e->lock);
  return s;
}

/* next (may be NULL) is the phase from here on; the one before ends at at_ns (0: now). */
static void phase_change(wsc_engine *e, enum phase kind, struct span *next, int64_t at_ns, int status,
                         const wsc_error *error) {
  struct trace *t = e->trace;
  pthread_mutex_lock(&e->lock);
  struct span *before = t->phase;
  t->phase = next;
  t->kind = kind;
  pthread_mutex_unlock(&e->lock);
  if (!before) return;
  before->end_ns = at_ns;
  before->status = status;
  before->error = wsc_error_ref((wsc_error *)(uintptr_t)error);
  phase_unref(t, before);
}

static enum phase phase_kind(wsc_engine *e) {
  pthread_mutex_lock(&e->lock);
  enum phase kind = e->trace->kind;
  pthread_mutex_unlock(&e->lock);
  return kind;
}

/* ---- making and freeing -------------------------------------------------------------------------------------------- */

static bool fill(struct event_node *n, wsc_event *ev) {
  wsc_engine *e = (wsc_engine *)(void *)n->owner; /* its actor comes first */
  *ev = (wsc_event){.struct_size = sizeof *ev, .type = WSC_EVENT_TRACE, .engine = e, .user = e->user, .core = n};
  actor_ref(&e->actor);
  return true;
}

static int done(struct event_node *n, wsc_event *ev, const wsc_reply *r) {
  (void)n, (void)r;
  trace_settle(ev->engine);
  actor_unref(&ev->engine->actor);
  return WSC_OK;
}

int trace_new(wsc_engine *e) {
  void *self;
  const wsc_tracer *vtable = options_tracer(e->base_options, &self);
  if (!vtable) return WSC_OK;
  struct trace *t = mem_zalloc(sizeof *t);
  char *url = mem_strdup(e->url.shown);
  if (!t || !url) {
    mem_free(t);
    mem_free(url);
    return WSC_ERR_NOMEM;
  }
  t->url = url;
  t->adapter_tells = adapter_is_traced(options_adapter(e->base_options));
  t->vtable = vtable;
  t->self = self;
  t->node = (struct event_node){.owner = &e->actor, .fill = fill, .done = done};
  pthread_cond_init(&t->quiet, NULL);
  e->trace = t;
  return WSC_OK;
}

static void forget(struct mark *m) {
  wsc_error_unref(m->error);
  *m = (struct mark){0};
}

void trace_free(struct trace *t) {
  if (!t) return;
  forget(&t->dial);
  forget(&t->close);
  wsc_error_unref(t->start_error);
  mem_free(t->url);
  mem_free(t->start);
  mem_free(t->phase);
  pthread_cond_destroy(&t->quiet);
  mem_free(t);
}

/* ---- marks: the engine's lock is held ------------------------------------------------------------------------------ */

static void begin(struct mark *m) {
  forget(m);
  m->begin_ns = os_unix_ns();
}

static void end(struct mark *m, const wsc_error *error) {
  if (!m->begin_ns || m->end_ns) return;
  m->end_ns = os_unix_ns();
  m->error = wsc_error_ref((wsc_error *)(uintptr_t)error);
}

void trace_dial(wsc_engine *e) { begin(&e->trace->dial); }
void trace_dialed(wsc_engine *e, const wsc_error *error) { end(&e->trace->dial, error); }
void trace_close_done(wsc_engine *e, const wsc_error *error) { end(&e->trace->close, error); }

void trace_close_begun(wsc_engine *e, int code, const char *reason) {
  struct trace *t = e->trace;
  begin(&t->close);
  t->close_code = code;
  snprintf(t->close_reason, sizeof t->close_reason, "%s", reason);
}

/* Takes a mark that has ended. A dial that was given up ends with what comes after it. */
static struct mark take(wsc_engine *e, struct mark *m, bool pending_too) {
  struct mark taken = {0};
  pthread_mutex_lock(&e->lock);
  if (m->begin_ns && (m->end_ns || pending_too)) {
    taken = *m;
    *m = (struct mark){0};
  }
  pthread_mutex_unlock(&e->lock);
  if (taken.begin_ns && !taken.end_ns) taken.end_ns = os_unix_ns();
  return taken;
}

static void tell(wsc_engine *e, struct mark *m, void *parent, int name, const wsc_attribute *a, size_t n) {
  if (!m->begin_ns) return;
  void *span = start_span(e->trace, parent, name, WSC_SPAN_CLIENT, m->begin_ns, a, n);
  end_span(e->trace, span, m->end_ns, wsc_error_status(m->error), m->error);
  forget(m);
}

static void tell_dial(wsc_engine *e, struct mark *m, void *parent) {
  wsc_attribute a[] = {trace_str(WSC_TRACE_ATTRIBUTE_URL_FULL, e->trace->url)};
  tell(e, m, parent, WSC_TRACE_SPAN_DIAL, a, 1);
}

/* Of the phase that is on. Returns when it ended; 0: there was none. */
static int64_t tell_close(wsc_engine *e) {
  struct trace *t = e->trace;
  struct mark m = take(e, &t->close, true);
  int64_t at = m.end_ns;
  wsc_attribute a[] = {trace_str(WSC_TRACE_ATTRIBUTE_URL_FULL, e->trace->url),
                       trace_int(WSC_TRACE_ATTRIBUTE_WS_CLOSE_CODE, t->close_code),
                       trace_str(WSC_TRACE_ATTRIBUTE_WS_CLOSE_REASON, t->close_reason)};
  struct span *phase = phase_ref(e);
  tell(e, &m, handle_of(phase), WSC_TRACE_SPAN_CLOSE, a, 3);
  phase_unref(t, phase);
  return at;
}

/* ---- the start ----------------------------------------------------------------------------------------------------- */

static void *callback_span(const wsc_engine *e) {
  const struct callback_frame *f = callback_of(e);
  return f ? f->span : NULL;
}

static void *parent_of(const wsc_engine *e, const wsc_context *c) {
  return c && c->struct_size && c->parent_span ? c->parent_span : callback_span(e);
}

void *wsc_engine_span(const wsc_engine *e) { return e ? callback_span(e) : NULL; }

void trace_start_begin(wsc_engine *e, const wsc_context *c, struct trace_start *out) {
  struct trace *t = e->trace;
  int64_t now = os_unix_ns();
  wsc_attribute a[] = {
      trace_bool(WSC_TRACE_ATTRIBUTE_AUTO_RECONNECT, options_int(e->base_options, WSC_OPT_AUTO_RECONNECT) != 0)};
  trace_settle(e); /* of a start whose result nobody waited for */
  out->start = phase_new(t, parent_of(e, c), WSC_TRACE_SPAN_START, now, a, 1);
  out->background = phase_new(t, handle_of(out->start), WSC_TRACE_SPAN_BACKGROUND_START, now, a, 1);
}

static void fail(struct span *s, int64_t at, int status, const wsc_error *error) {
  if (!s) return;
  s->end_ns = at;
  s->status = status;
  s->error = wsc_error_ref((wsc_error *)(uintptr_t)error);
}

void trace_start_refused(wsc_engine *e, struct trace_start *s, int status, const wsc_error *error) {
  fail(s->background, 0, status, error);
  fail(s->start, 0, status, error);
  phase_unref(e->trace, s->background);
  phase_unref(e->trace, s->start);
}

void trace_started(wsc_engine *e, struct trace_start *s) {
  struct trace *t = e->trace;
  t->start = s->start;
  t->start_over = false;
  t->phase = s->background;
  t->kind = TRACE_STARTING;
  forget(&t->dial);
  forget(&t->close);
}

void trace_start_done(wsc_engine *e, int status, const wsc_error *error) {
  struct trace *t = e->trace;
  t->start_over = true;
  t->start_status = status;
  t->start_end_ns = os_unix_ns();
  wsc_error_unref(t->start_error);
  t->start_error = wsc_error_ref((wsc_error *)(uintptr_t)error);
  loop_post(e->actor.loop, &t->node);
}

/* Of a start that failed: no event of a session speaks of its end. */
static void settle_failure(wsc_engine *e, int64_t at, int status, const wsc_error *error) {
  struct mark dial = take(e, &e->trace->dial, true);
  struct span *phase = phase_ref(e);
  tell_dial(e, &dial, handle_of(phase));
  tell_close(e);
  phase_unref(e->trace, phase);
  phase_change(e, TRACE_IDLE, NULL, at, status, error);
}

void trace_settle(wsc_engine *e) {
  struct trace *t = e->trace;
  pthread_mutex_lock(&e->lock);
  bool over = t->start_over && !t->closed;
  struct span *start = over ? t->start : NULL;
  wsc_error *error = over ? t->start_error : NULL;
  int status = t->start_status;
  int64_t at = t->start_end_ns;
  if (over) {
    t->start = NULL;
    t->start_error = NULL;
    t->start_over = false;
    t->settling++;
  }
  pthread_mutex_unlock(&e->lock);
  if (!over) return;
  if (status) settle_failure(e, at, status, error);
  fail(start, at, status, error);
  phase_unref(t, start);
  wsc_error_unref(error);
  pthread_mutex_lock(&e->lock);
  t->settling--;
  pthread_cond_broadcast(&t->quiet);
  pthread_mutex_unlock(&e->lock);
}

void trace_close(wsc_engine *e) {
  struct trace *t = e->trace;
  trace_settle(e);
  phase_change(e, TRACE_IDLE, NULL, 0, WSC_OK, NULL); /* of a run on a host's loop that is cut */
  pthread_mutex_lock(&e->lock);
  t->closed = true;
  while (t->settling) pthread_cond_wait(&t->quiet, &e->lock);
  pthread_mutex_unlock(&e->lock);
}

/* ---- what a callback begins ---------------------------------------------------------------------------------------- */

/* An attempt to reconnect, from its dial on. */
static void begin_restart(wsc_engine *e, const wsc_event *ev) {
  struct trace *t = e->trace;
  enum phase kind = phase_kind(e);
  int64_t closed_ns = tell_close(e);
  if (kind != TRACE_STARTING && kind != TRACE_RESTARTING) {
    pthread_mutex_lock(&e->lock);
    int64_t at = t->dial.begin_ns;
    uint32_t retry = e->life.failed;
    pthread_mutex_unlock(&e->lock);
    wsc_attribute a[] = {trace_bool(WSC_TRACE_ATTRIBUTE_AUTO_RECONNECT, true),
                         trace_int(WSC_TRACE_ATTRIBUTE_RETRY_COUNT, ev->type == WSC_EVENT_OPENED ? retry : ev->retry)};
    struct span *next = phase_new(t, NULL, WSC_TRACE_SPAN_BACKGROUND_RESTART, at ? at : os_unix_ns(), a, 2);
    phase_change(e, TRACE_RESTARTING, next, closed_ns, WSC_OK, NULL);
  }
  struct mark dial = take(e, &t->dial, false);
  struct span *phase = phase_ref(e);
  tell_dial(e, &dial, handle_of(phase));
  phase_unref(t, phase);
}

static bool goes_on(wsc_engine *e) {
  pthread_mutex_lock(&e->lock);
  bool over = e->life.stop || e->life.exit || e->wishes & (WISH_STOP | WISH_EXIT);
  pthread_mutex_unlock(&e->lock);
  return !over && options_int(e->base_options, WSC_OPT_AUTO_RECONNECT);
}

static void end_of_run(wsc_engine *e, const wsc_event *ev, void *run, bool restarts) {
  struct trace *t = e->trace;
  int64_t now = os_unix_ns();
  wsc_attribute how[] = {trace_int(WSC_TRACE_ATTRIBUTE_CLOSE_CODE, ev->close_code),
                         trace_str(WSC_TRACE_ATTRIBUTE_CLOSE_REASON, ev->text)};
  wsc_attribute again[] = {trace_bool(WSC_TRACE_ATTRIBUTE_RESTART, restarts)};
  if (!run) return;
  if (ev->close) t->vtable->span_event(t->self, run, wsc_trace_name(WSC_TRACE_EVENT_CONNECTION_CLOSED), now, how, 2);
  else t->vtable->span_event(t->self, run, wsc_trace_name(WSC_TRACE_EVENT_EXIT), now, again, 1);
  for (uint32_t worker = 0; worker < e->reader_count; worker++) {
    wsc_attribute id[] = {trace_int(WSC_TRACE_ATTRIBUTE_WORKER_ID, worker)};
    t->vtable->span_event(t->self, run, wsc_trace_name(WSC_TRACE_EVENT_WORKER_EXIT), now, id, 1);
  }
}

static void begin_shutdown(wsc_engine *e, const wsc_event *ev) {
  struct trace *t = e->trace;
  bool restarts = ev->type == WSC_EVENT_CLOSED && goes_on(e);
  struct span *before = phase_ref(e);
  bool ended = ev->close || ev->type != WSC_EVENT_CLOSED;
  wsc_attribute a[] = {trace_bool(WSC_TRACE_ATTRIBUTE_RESTART, restarts),
                       trace_bool(WSC_TRACE_ATTRIBUTE_SKIP_CLOSE_CONNECTION, ended),
                       trace_bool(WSC_TRACE_ATTRIBUTE_HAS_CLOSE_MESSAGE, ev->close != NULL)};
  if (ev->type == WSC_EVENT_CLOSED) end_of_run(e, ev, handle_of(before), restarts);
  struct span *next = phase_new(t, handle_of(before), WSC_TRACE_SPAN_BACKGROUND_SHUTDOWN, os_unix_ns(), a, 3);
  phase_change(e, TRACE_CLOSING, next, 0, WSC_OK, NULL);
  phase_unref(t, before);
}

static void begin_phase(wsc_engine *e, const wsc_event *ev) {
  switch (ev->type) {
  case WSC_EVENT_OPENED:
  case WSC_EVENT_RESTART_ERROR: begin_restart(e, ev); break;
  case WSC_EVENT_CLOSED: begin_shutdown(e, ev); break;
  case WSC_EVENT_CLOSE_ERROR: tell_close(e); break;
  case WSC_EVENT_STOPPED:
    if (phase_kind(e) != TRACE_CLOSING) begin_shutdown(e, ev);
    tell_close(e);
    break;
  default: break;
  }
}

static void begin_callback(wsc_engine *e, const wsc_event *ev, struct trace_call *call) {
  wsc_attribute a[4];
  size_t n = 0;
  int name;
  if (*ev->session_id) a[n++] = trace_str(WSC_TRACE_ATTRIBUTE_SESSION_ID, ev->session_id);
  switch (ev->type) {
  case WSC_EVENT_OPENED:
    name = WSC_TRACE_SPAN_ON_OPEN;
    a[n++] = trace_bool(WSC_TRACE_ATTRIBUTE_RESTART, ev->flags & WSC_EVENT_RESTARTING);
    break;
  case WSC_EVENT_READ_ERROR: name = WSC_TRACE_SPAN_ON_READ_ERROR; break;
  case WSC_EVENT_CLOSED:
    name = WSC_TRACE_SPAN_ON_CLOSE;
    a[n++] = trace_bool(WSC_TRACE_ATTRIBUTE_HAS_CLOSE_MESSAGE, ev->close != NULL);
    if (ev->close) {
      a[n++] = trace_int(WSC_TRACE_ATTRIBUTE_CLOSE_CODE, ev->close_code);
      a[n++] = trace_str(WSC_TRACE_ATTRIBUTE_CLOSE_REASON, ev->text);
    }
    break;
  case WSC_EVENT_CLOSE_ERROR: name = WSC_TRACE_SPAN_ON_CLOSE_ERROR; break;
  case WSC_EVENT_RESTART_ERROR:
    name = WSC_TRACE_SPAN_ON_RESTART_ERROR;
    a[n++] = trace_int(WSC_TRACE_ATTRIBUTE_RETRY_COUNT, ev->retry);
    break;
  default: return; /* before_attempt and on_stopped are ours, not the seed's */
  }
  call->phase = phase_ref(e);
  call->span = start_span(e->trace, handle_of(call->phase), name, WSC_SPAN_INTERNAL, os_unix_ns(), a, n);
}

void trace_before(wsc_engine *e, const wsc_event *ev, struct trace_call *call) {
  *call = (struct trace_call){0};
  wsc_event told = *ev;
  if (!told.session_id) told.session_id = "";
  trace_settle(e);
  begin_phase(e, &told);
  begin_callback(e, &told, call);
}

/* The message as the adapter's read gave it, and the callback it is for. */
void trace_message_before(wsc_engine *e, const wsc_event *ev, int type, size_t length, struct trace_call *call) {
  struct trace *t = e->trace;
  wsc_attribute url[] = {trace_str(WSC_TRACE_ATTRIBUTE_URL_FULL, e->trace->url)};
  wsc_attribute got[] = {trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_SIZE, (int64_t)length),
                         trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_OPCODE, type)};
  wsc_attribute a[] = {trace_str(WSC_TRACE_ATTRIBUTE_SESSION_ID, ev->session_id),
                       trace_int(WSC_TRACE_ATTRIBUTE_MESSAGE_LENGTH, (int64_t)length),
                       trace_int(WSC_TRACE_ATTRIBUTE_MESSAGE_OPCODE, type)};
  call->phase = phase_ref(e);
  void *parent = handle_of(call->phase);
  void *read = start_span(t, parent, WSC_TRACE_SPAN_READ, WSC_SPAN_CLIENT, ev->received_ns, url, 1);
  trace_verb_event(e, read, WSC_TRACE_EVENT_MESSAGE_RECEIVED, got, 2);
  end_span(t, read, os_unix_ns(), WSC_OK, NULL);
  call->span = start_span(t, parent, WSC_TRACE_SPAN_ON_MESSAGE, WSC_SPAN_INTERNAL, os_unix_ns(), a, 3);
}

/* ---- what a callback ends ------------------------------------------------------------------------------------------ */

static void end_phase(wsc_engine *e, const wsc_event *ev, int status) {
  struct trace *t = e->trace;
  enum phase kind = phase_kind(e);
  switch (ev->type) {
  case WSC_EVENT_OPENED:
    if (status || (kind != TRACE_STARTING && kind != TRACE_RESTARTING)) return; /* refused, or given up meanwhile */
    wsc_attribute a[] = {trace_str(WSC_TRACE_ATTRIBUTE_SESSION_ID, ev->session_id)};
    struct span *run = phase_new(t, NULL, WSC_TRACE_SPAN_BACKGROUND_RUN, os_unix_ns(), a, 1);
    phase_change(e, TRACE_RUNNING, run, 0, WSC_OK, NULL);
    break;
  case WSC_EVENT_RESTART_ERROR:
    if (kind == TRACE_RESTARTING)
      phase_change(e, TRACE_IDLE, NULL, 0, ev->error ? wsc_error_status(ev->error) : WSC_ERR_CLOSED, ev->error);
    break;
  case WSC_EVENT_STOPPED: phase_change(e, TRACE_IDLE, NULL, 0, WSC_OK, NULL); break;
  default: break;
  }
}

void trace_after(wsc_engine *e, const wsc_event *ev, struct trace_call *call, int status) {
  end_span(e->trace, call->span, os_unix_ns(), status, NULL);
  end_phase(e, ev, status);
  phase_unref(e->trace, call->phase);
}

/* ---- callbacks of a host ------------------------------------------------------------------------------------------- */

struct wsc_trace_call {
  struct trace_call call;
  const wsc_event *event;
};

wsc_trace_call *wsc_trace_begin(const wsc_event *ev, const wsc_record *r) {
  wsc_engine *e = ev ? ev->engine : NULL;
  if (!e || !e->trace || e->has_callbacks || (ev->type == WSC_EVENT_BATCH) != (r != NULL)) return NULL;
  wsc_trace_call *c = mem_zalloc(sizeof *c);
  if (!c) return NULL; /* not recorded */
  c->event = ev;
  if (r) trace_message_before(e, ev, (int)r->type, r->length, &c->call);
  else trace_before(e, ev, &c->call);
  return c;
}

void *wsc_trace_span(const wsc_trace_call *c) { return c ? c->call.span : NULL; }

void wsc_trace_end(wsc_trace_call *c, int status) {
  if (!c) return;
  trace_after(c->event->engine, c->event, &c->call, status);
  mem_free(c);
}

void *trace_stop(wsc_engine *e, const wsc_context *c) {
  return start_span(e->trace, parent_of(e, c), WSC_TRACE_SPAN_STOP, WSC_SPAN_INTERNAL, os_unix_ns(), NULL, 0);
}

/* ---- verbs --------------------------------------------------------------------------------------------------------- */

enum { VERB_ATTRIBUTES = 4 };

void *trace_verb(wsc_engine *e, const wsc_context *c, int name, const wsc_attribute *attributes, size_t count) {
  pthread_mutex_lock(&e->lock);
  bool closed = e->trace->closed; /* a connection may be kept longer than its engine */
  pthread_mutex_unlock(&e->lock);
  if (closed) return NULL;
  wsc_attribute a[VERB_ATTRIBUTES] = {trace_str(WSC_TRACE_ATTRIBUTE_URL_FULL, e->trace->url)};
  if (count > VERB_ATTRIBUTES - 1) count = VERB_ATTRIBUTES - 1;
  if (count) memcpy(a + 1, attributes, count * sizeof *a);
  return start_span(e->trace, parent_of(e, c), name, WSC_SPAN_CLIENT, os_unix_ns(), a, count + 1);
}

void trace_verb_event(wsc_engine *e, void *span, int name, const wsc_attribute *attributes, size_t count) {
  struct trace *t = e->trace;
  if (span) t->vtable->span_event(t->self, span, wsc_trace_name(name), os_unix_ns(), attributes, count);
}

void trace_verb_end(wsc_engine *e, void *span, int status, const wsc_error *error) {
  end_span(e->trace, span, os_unix_ns(), status, error);
}
