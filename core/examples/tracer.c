/* A tracer that writes each span to standard error as it ends: what it was inside of, how long it took, how it ended.
 *
 *   tracer ws://localhost:8080/ "hello"        (an echo server; the echo ends the run)
 *
 * A span is whatever span_start makes of it; OpenTelemetry's exporters take the same names, kinds and times. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wscengine.h>

struct span {
  const char *name, *parent; /* the library's names live for ever */
  int64_t start_ns;
  char facts[512];
};

static void note(struct span *s, const wsc_attribute *a, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t n = strlen(s->facts);
    if (a[i].type == WSC_ATTRIBUTE_STR) snprintf(s->facts + n, sizeof s->facts - n, " %s=%s", a[i].name, a[i].text);
    else snprintf(s->facts + n, sizeof s->facts - n, " %s=%lld", a[i].name, (long long)a[i].number);
  }
}

/* From any of the library's threads, and from ours inside its verbs; spans do not share anything here. */
static void *span_start(void *self, void *parent, const char *name, int kind, int64_t time_ns, const wsc_attribute *a,
                        size_t count) {
  (void)self, (void)kind;
  struct span *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL; /* it is not recorded then */
  s->name = name;
  s->parent = parent != NULL ? ((struct span *)parent)->name : "-";
  s->start_ns = time_ns;
  note(s, a, count);
  return s;
}

static void span_event(void *self, void *span, const char *name, int64_t time_ns, const wsc_attribute *a, size_t n) {
  (void)self, (void)time_ns;
  struct span *s = span;
  size_t at = strlen(s->facts);
  snprintf(s->facts + at, sizeof s->facts - at, " [%s]", name);
  note(s, a, n);
}

static void span_end(void *self, void *span, int64_t time_ns, int status, const wsc_error *error) {
  (void)self;
  struct span *s = span;
  double ms = (double)(time_ns - s->start_ns) / 1e6;
  fprintf(stderr, "%-34s in %-31s %9.3f ms %s%s\n", s->name, s->parent, ms,
          status == WSC_OK ? "ok"
          : error != NULL  ? wsc_error_message(error)
                           : wsc_status_text(status),
          s->facts);
  free(s);
}

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)r, (void)restarting;
  return wsc_connection_write(wsc_session_connection(s), NULL, WSC_TEXT, user, strlen(user), NULL);
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)type, (void)user;
  printf("%.*s\n", (int)length, (const char *)data);
  wsc_session_exit(s);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const wsc_tracer tracer = {
      .struct_size = sizeof tracer, .span_start = span_start, .span_event = span_event, .span_end = span_end};
  const wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_open = on_open, .on_message = on_message};
  wsc_options *options = wsc_options_new();
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  int status = wsc_options_set_tracer(options, &tracer, NULL);
  if (status == WSC_OK) status = wsc_engine_new(argv[1], &callbacks, argv[2], options, &engine, &error);
  wsc_options_free(options);
  if (status == WSC_OK) status = wsc_engine_start(engine, NULL, &error);
  if (status == WSC_OK) status = wsc_engine_wait(engine, NULL, &error);
  wsc_error_unref(error); /* the spans have told it */
  wsc_engine_free(engine);
  return status == WSC_STOPPED ? 0 : 1;
}
