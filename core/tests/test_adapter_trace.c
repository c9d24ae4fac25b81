/* The instrumenting decorator: a client span around each slot, with the seed's names, attributes and events; and that an engine does not tell of the
 * same things twice. */
#define _GNU_SOURCE
#include "adapter_bed.h"

struct log {
  pthread_mutex_t lock;
  char text[16384];
  int open;
};

struct span {
  char text[512];
};

static void put(char *to, size_t size, const wsc_attribute *a, size_t n) {
  for (size_t i = 0; i < n; i++) {
    size_t at = strlen(to);
    if (a[i].type == WSC_ATTRIBUTE_STR) snprintf(to + at, size - at, " %s=%s", a[i].name, a[i].text);
    else snprintf(to + at, size - at, " %s=%lld", a[i].name, (long long)a[i].number);
  }
}

static void *span_start(void *self, void *parent, const char *name, int kind, int64_t at, const wsc_attribute *a,
                        size_t n) {
  struct log *l = self;
  struct span *s = calloc(1, sizeof *s);
  CHECK(s != NULL && at > 0);
  snprintf(s->text, sizeof s->text, "%s%s%s", name, kind == WSC_SPAN_CLIENT ? " client" : " internal",
           parent ? " child" : "");
  put(s->text, sizeof s->text, a, n);
  pthread_mutex_lock(&l->lock);
  l->open++;
  pthread_mutex_unlock(&l->lock);
  return s;
}

static void span_event(void *self, void *span, const char *name, int64_t at, const wsc_attribute *a, size_t n) {
  struct span *s = span;
  (void)self;
  CHECK(at > 0);
  size_t had = strlen(s->text);
  snprintf(s->text + had, sizeof s->text - had, " [%s", name);
  put(s->text, sizeof s->text, a, n);
  had = strlen(s->text);
  snprintf(s->text + had, sizeof s->text - had, "]");
}

static void span_end(void *self, void *span, int64_t at, int status, const wsc_error *error) {
  struct log *l = self;
  struct span *s = span;
  CHECK(at > 0);
  pthread_mutex_lock(&l->lock);
  size_t had = strlen(l->text);
  snprintf(l->text + had, sizeof l->text - had, "%s: %s%s%s\n", s->text, wsc_status_name(status), error ? " " : "",
           error ? wsc_error_message(error) : "");
  l->open--;
  pthread_mutex_unlock(&l->lock);
  free(s);
}

static const wsc_tracer tracer = {
    .struct_size = sizeof tracer, .span_start = span_start, .span_event = span_event, .span_end = span_end};

static int count(struct log *l, const char *what) {
  int n = 0;
  pthread_mutex_lock(&l->lock);
  for (const char *at = l->text; (at = strstr(at, what)); at++) n++;
  pthread_mutex_unlock(&l->lock);
  return n;
}

static void decorate(struct bed *b, struct log *l) {
  wsc_adapter out = {.struct_size = sizeof out};
  void *self = NULL;
  CHECK_EQ(wsc_options_set_adapter(b->options, NULL, NULL), WSC_OK); /* the toy was there alone */
  b->toy.drops = 0;
  CHECK_EQ(wsc_adapter_traced(&toy_vtable, &b->toy, &tracer, l, &out, &self), WSC_OK);
  CHECK_EQ(wsc_options_set_adapter(b->options, &out, self), WSC_OK);
}

static void a_life(bool engine_too) {
  struct bed b;
  struct log l = {.lock = PTHREAD_MUTEX_INITIALIZER}, *spans = &l;
  bed_init(&b);
  decorate(&b, spans);
  if (engine_too) CHECK_EQ(wsc_options_set_tracer(b.options, &tracer, spans), WSC_OK);
  toy_be(&b, TOY_DIAL, FAILS, WSC_ERR_IO);
  bed_make(&b);
  CHECK_EQ(wsc_engine_start(b.engine, NULL, NULL), WSC_ERR_IO);
  toy_be(&b, TOY_DIAL, OBEYS, 0);
  CHECK_EQ(wsc_engine_start(b.engine, NULL, NULL), WSC_OK);
  WAIT(wsc_engine_state(b.engine) == WSC_STATE_OPEN);
  CHECK_EQ(bed_write(&b, "hello", NULL), WSC_OK);
  toy_give(&b, WSC_OK, 0, "four");
  WAIT(SEEN(&b, messages) == 1);
  WAIT(TOY(&b, wrote) == 1);
  wsc_session *s = wsc_engine_session(b.engine);
  CHECK(wsc_connection_underlying(wsc_session_connection(s)) == b.toy.url);
  CHECK_EQ(wsc_connection_ping(wsc_session_connection(s), NULL, NULL, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_close(wsc_session_connection(s), NULL, 4000, "enough", NULL), WSC_OK);
  wsc_session_unref(s);
  bed_end(&b);
  CHECK_EQ(l.open, 0);
  static const char *const told[] = {
      "websocket.dial client url.full=wss://user:***@toy.example/feed: ERR_IO toy: dial\n",
      "websocket.write client url.full=wss://user:***@toy.example/feed websocket.message.size=5 "
      "websocket.message.opcode=1: OK\n",
      "websocket.read client url.full=wss://user:***@toy.example/feed [websocket.message.received "
      "websocket.message.size=4 websocket.message.opcode=1]: OK\n",
      "websocket.ping client url.full=wss://user:***@toy.example/feed: OK\n",
      "websocket.close client url.full=wss://user:***@toy.example/feed websocket.close.code=4000 "
      "websocket.close.reason=enough: OK\n"};
  for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
    if (count(spans, told[i]) != 1) fprintf(stderr, "not told once: %s\nbut\n%s\n", told[i], l.text);
    CHECK_EQ(count(spans, told[i]), 1);
  }
  CHECK(count(spans, "websocket.dial client url.full=wss://user:***@toy.example/feed: OK\n") >= 1);
  CHECK_EQ(count(spans, "secret"), 0);
  CHECK_EQ(count(spans, "wscengine.callback.on_message internal child") == 1, engine_too);
}

static void what_is_refused(void) {
  wsc_adapter out = {.struct_size = sizeof out}, bad = toy_vtable;
  void *self = NULL;
  struct toy toy = {.lock = PTHREAD_MUTEX_INITIALIZER};
  wsc_tracer none = tracer;
  bad.write = NULL;
  none.span_end = NULL;
  CHECK_EQ(wsc_adapter_traced(&bad, &toy, &tracer, NULL, &out, &self), WSC_ERR_INVALID);
  CHECK_EQ(wsc_adapter_traced(&toy_vtable, &toy, &none, NULL, &out, &self), WSC_ERR_INVALID);
  CHECK_EQ(wsc_adapter_traced(&toy_vtable, &toy, NULL, NULL, &out, &self), WSC_ERR_INVALID);
  CHECK_EQ(wsc_adapter_traced(&toy_vtable, &toy, &tracer, NULL, NULL, &self), WSC_ERR_INVALID);
  CHECK_EQ(toy.drops, 0);
  CHECK_EQ(wsc_adapter_traced(&toy_vtable, &toy, &tracer, NULL, &out, &self), WSC_OK);
  out.drop(self); /* never given to anybody */
  CHECK_EQ(toy.drops, 1);
}

int main(void) {
  a_life(false);
  a_life(true);
  what_is_refused();
  return 0;
}
