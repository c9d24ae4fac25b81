/* The verbs of a connection: the callback's session's, the open one's, a kept one's (via=NAME), or alone (via=own). */
#define _GNU_SOURCE
#include "driver_commands.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* own */
static wsc_connection *own;                              /* of `connect`: a connection without an engine */

static wsc_connection *connection_of(const struct scope *s, const struct json *c) {
  if (!strcmp(json_text(c, "via", ""), "own")) {
    pthread_mutex_lock(&lock);
    wsc_connection *k = own ? wsc_connection_ref(own) : NULL;
    pthread_mutex_unlock(&lock);
    return k;
  }
  wsc_session *session = session_of(s, c);
  wsc_connection *k = session ? wsc_connection_ref(wsc_session_connection(session)) : NULL;
  wsc_session_unref(session);
  return k;
}

/* Outside session callbacks, or with via=engine, the engine's own write: it knows which session is open. */
void run_write(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  const char *via = json_text(c, "via", s->session ? "" : "engine");
  wsc_connection *k = strcmp(via, "engine") ? connection_of(s, c) : NULL;
  size_t n = 0;
  int64_t i, count = json_int(c, "count", 1);
  uint8_t *p = payload_of(c, &n);
  int status = WSC_OK;
  for (i = 0; i < count && status == WSC_OK; i++) {
    char number[24];
    const uint8_t *data = p;
    size_t length = n;
    if (json_int(c, "numbered", 0)) {
      length = (size_t)snprintf(number, sizeof number, "%lld", (long long)i);
      data = (const uint8_t *)number;
    }
    const wsc_context *limit = context_of(c, &room);
    status = strcmp(via, "engine") ? wsc_connection_write(k, limit, type_of(c), data, length, &error)
                                   : wsc_engine_write(engine_of(s), limit, type_of(c), data, length, &error);
  }
  free(p);
  wsc_connection_unref(k);
  line_int(out, "written", i - (status != WSC_OK));
  end_with(out, status, error);
}

void run_write_many(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  wsc_outgoing many[64];
  const struct json *texts = json_get(c, "texts");
  size_t count = 0;
  for (const struct json *t = texts ? texts->child : NULL; t && count < 64; t = t->next)
    many[count++] = (wsc_outgoing){.data = (const uint8_t *)t->string, .length = t->length, .type = WSC_TEXT};
  wsc_connection *k = connection_of(s, c);
  int status = wsc_connection_write_many(k, context_of(c, &room), many, count, &error);
  wsc_connection_unref(k);
  end_with(out, status, error);
}

void run_echo(struct scope *s, const struct json *c, struct line *out) {
  (void)c;
  wsc_error *error = NULL;
  wsc_connection *k = s->session ? wsc_session_connection(s->session) : NULL;
  int status = wsc_connection_write(k, NULL, s->type, s->data, s->length, &error);
  end_with(out, status, error);
}

void run_read(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  wsc_message m = {.struct_size = sizeof m};
  wsc_connection *k = connection_of(s, c);
  int status = wsc_connection_read(k, context_of(c, &room), &m, &error);
  if (status == WSC_OK) {
    line_message(out, (int)m.type, m.data, m.length);
    line_bool(out, "stamped", m.received_ns > 0);
    wsc_message_free(&m);
  }
  wsc_connection_unref(k);
  end_with(out, status, error);
}

void run_ping(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  int64_t rtt = -1;
  wsc_connection *k = connection_of(s, c);
  int status = wsc_connection_ping(k, context_of(c, &room), &rtt, &error);
  line_int(out, "rtt_ns", rtt);
  line_int(out, "last_rtt_ns", k ? wsc_connection_last_rtt_ns(k) : -1);
  wsc_connection_unref(k);
  end_with(out, status, error);
}

void run_close(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  wsc_connection *k = connection_of(s, c);
  int status =
      wsc_connection_close(k, context_of(c, &room), (int)json_int(c, "code", 1000), json_text(c, "reason", ""), &error);
  wsc_connection_unref(k);
  end_with(out, status, error);
}

void run_cork(struct scope *s, const struct json *c, struct line *out) {
  wsc_connection *k = connection_of(s, c);
  wsc_connection_cork(k);
  wsc_connection_unref(k);
  end_with(out, WSC_OK, NULL);
}

void run_uncork(struct scope *s, const struct json *c, struct line *out) {
  wsc_error *error = NULL;
  wsc_connection *k = connection_of(s, c);
  int status = wsc_connection_uncork(k, &error);
  wsc_connection_unref(k);
  end_with(out, status, error);
}

void run_connect(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  wsc_context room;
  wsc_error *error = NULL;
  wsc_options *o = NULL;
  wsc_connection *k = NULL;
  int status = options_of(c, &o);
  if (status == WSC_OK) status = wsc_connection_new(NULL, json_text(c, "url", NULL), o, &k, &error);
  wsc_options_free(o);
  if (status == WSC_OK) status = wsc_connection_dial(k, context_of(c, &room), &error);
  if (status == WSC_OK) line_response(out, "response", wsc_connection_response(k));
  pthread_mutex_lock(&lock);
  wsc_connection *before = own;
  own = k;
  pthread_mutex_unlock(&lock);
  wsc_connection_unref(before);
  end_with(out, status, error);
}

void run_disconnect(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  (void)c;
  pthread_mutex_lock(&lock);
  wsc_connection *before = own;
  own = NULL;
  pthread_mutex_unlock(&lock);
  wsc_connection_unref(before);
  end_with(out, WSC_OK, NULL);
}

void connection_end_own(void) { wsc_connection_unref(own); }
