/* An adapter that tells a tracer of each slot of another: a client span around it, and what it brought as events. */
#include "adapter.h"
#include "attempt.h"
#include "batch.h"
#include "mem.h"
#include "options.h"
#include "os.h"
#include "sized.h"
#include "trace.h"

/* What is dialed, without its password. Each span takes a reference: the next dial may put another in its place. */
struct shown_url {
  atomic_uint refs;
  char text[];
};

struct traced {
  struct adapter *inner;
  wsc_tracer tracer;
  void *tracer_self;
  pthread_mutex_t lock;
  struct shown_url *url; /* NULL: never dialed */
};

struct call {
  struct traced *t;
  void *span;
  wsc_context context; /* the inner slot's: its parent is the span */
};

static struct shown_url *url_ref(struct traced *t) {
  pthread_mutex_lock(&t->lock);
  struct shown_url *u = t->url;
  if (u) atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
  pthread_mutex_unlock(&t->lock);
  return u;
}

static void url_unref(struct shown_url *u) {
  if (u && atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) == 1) mem_free(u);
}

/* Without memory the spans say "". */
static void url_set(struct traced *t, const char *shown) {
  size_t n = strlen(shown) + 1;
  struct shown_url *u = mem_alloc(sizeof *u + n), *before;
  if (u) {
    atomic_init(&u->refs, 1);
    memcpy(u->text, shown, n);
  }
  pthread_mutex_lock(&t->lock);
  before = t->url;
  t->url = u;
  pthread_mutex_unlock(&t->lock);
  url_unref(before);
}

static struct call begin(void *self, const wsc_context *c, int name, const wsc_attribute *more, size_t count) {
  struct call call = {.t = self, .context = {.struct_size = sizeof call.context}};
  if (c) sized_read(&call.context, sizeof call.context, c);
  struct shown_url *u = url_ref(self);
  wsc_attribute a[3] = {trace_str(WSC_TRACE_ATTRIBUTE_URL_FULL, u ? u->text : "")};
  for (size_t i = 0; i < count; i++) a[i + 1] = more[i];
  call.span = call.t->tracer.span_start(call.t->tracer_self, call.context.parent_span, wsc_trace_name(name),
                                        WSC_SPAN_CLIENT, os_unix_ns(), a, count + 1);
  call.context.parent_span = call.span;
  url_unref(u);
  return call;
}

static int end(struct call *call, int status, wsc_error **err) {
  if (call->span)
    call->t->tracer.span_end(call->t->tracer_self, call->span, os_unix_ns(), status, status && err ? *err : NULL);
  return status;
}

static int dial(void *self, const wsc_context *c, const char *url, const wsc_attempt *a, wsc_response *out,
                wsc_error **err) {
  struct traced *t = self;
  url_set(t, wsc_attempt_url(a));
  struct call call = begin(t, c, WSC_TRACE_SPAN_DIAL, NULL, 0);
  return end(&call, t->inner->vtable.dial(t->inner->self, &call.context, url, a, out, err), err);
}

static int close_it(void *self, const wsc_context *c, int code, const char *reason, wsc_error **err) {
  struct traced *t = self;
  wsc_attribute a[] = {trace_int(WSC_TRACE_ATTRIBUTE_WS_CLOSE_CODE, code),
                       trace_str(WSC_TRACE_ATTRIBUTE_WS_CLOSE_REASON, reason)};
  struct call call = begin(t, c, WSC_TRACE_SPAN_CLOSE, a, 2);
  return end(&call, t->inner->vtable.close(t->inner->self, &call.context, code, reason, err), err);
}

static int ping(void *self, const wsc_context *c, wsc_error **err) {
  struct traced *t = self;
  struct call call = begin(t, c, WSC_TRACE_SPAN_PING, NULL, 0);
  return end(&call, t->inner->vtable.ping(t->inner->self, &call.context, err), err);
}

static int read_it(void *self, const wsc_context *c, wsc_batch *out, wsc_error **err) {
  struct traced *t = self;
  struct call call = begin(t, c, WSC_TRACE_SPAN_READ, NULL, 0);
  uint32_t at = out ? out->count : 0;
  int status = t->inner->vtable.read(t->inner->self, &call.context, out, err);
  for (; call.span && out && at < out->count; at++) {
    wsc_attribute a[] = {trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_SIZE, out->records[at].length),
                         trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_OPCODE, out->records[at].type)};
    t->tracer.span_event(t->tracer_self, call.span, wsc_trace_name(WSC_TRACE_EVENT_MESSAGE_RECEIVED), os_unix_ns(), a,
                         2);
  }
  return end(&call, status, err);
}

static int write_it(void *self, const wsc_context *c, int type, const uint8_t *p, size_t n, wsc_error **err) {
  struct traced *t = self;
  wsc_attribute a[] = {trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_SIZE, (int64_t)n),
                       trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_OPCODE, type)};
  struct call call = begin(t, c, WSC_TRACE_SPAN_WRITE, a, 2);
  return end(&call, t->inner->vtable.write(t->inner->self, &call.context, type, p, n, err), err);
}

static void *underlying(void *self) {
  const struct adapter *a = ((struct traced *)self)->inner;
  return a->vtable.underlying ? a->vtable.underlying(a->self) : NULL;
}

static void drop(void *self) {
  struct traced *t = self;
  adapter_unref(t->inner);
  url_unref(t->url);
  pthread_mutex_destroy(&t->lock);
  mem_free(t);
}

bool adapter_is_traced(const struct adapter *a) { return a && a->vtable.drop == drop; }

int wsc_adapter_traced(const wsc_adapter *vtable, void *self, const wsc_tracer *tracer, void *tracer_self,
                       wsc_adapter *out, void **out_self) {
  static const wsc_adapter slots = {.struct_size = sizeof slots,
                                    .dial = dial,
                                    .close = close_it,
                                    .ping = ping,
                                    .read = read_it,
                                    .write = write_it,
                                    .underlying = underlying,
                                    .drop = drop};
  if (!out || out->struct_size < FIRST_ADAPTER || !out_self || !tracer_usable(tracer)) return WSC_ERR_INVALID;
  if (!adapter_usable(vtable)) return WSC_ERR_INVALID;
  struct traced *t = mem_zalloc(sizeof *t);
  int r = t ? adapter_new(vtable, self, &t->inner) : WSC_ERR_NOMEM;
  if (r) {
    mem_free(t);
    return r;
  }
  pthread_mutex_init(&t->lock, NULL);
  sized_read(&t->tracer, sizeof t->tracer, tracer);
  t->tracer_self = tracer_self;
  sized_write(out, &slots, sizeof slots);
  *out_self = t;
  return WSC_OK;
}
