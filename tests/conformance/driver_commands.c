/* The verbs of the line protocol. Each is one small function: it reads its arguments from the command, calls the
 * engine and appends "status" and whatever else the README promises for it. The same functions serve lanes and the
 * steps of callbacks' scripts. */
#define _GNU_SOURCE
#include "driver_commands.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* everything below */
static wsc_engine *current;
static struct script *scripts;
static struct {
  char name[32];
  wsc_session *session;
} kept[KEPT];

wsc_engine *engine_of(const struct scope *s) {
  if (s->engine) return s->engine;
  pthread_mutex_lock(&lock);
  wsc_engine *e = current;
  pthread_mutex_unlock(&lock);
  return e;
}

/* ---- engine ---- */

static struct json *copy_of(const struct json *j) {
  struct json *copy = calloc(1, sizeof *copy);
  if (!copy) abort();
  *copy = *j;
  copy->key = j->key ? strdup(j->key) : NULL;
  copy->string = NULL;
  if (j->string && (copy->string = malloc(j->length + 1))) memcpy(copy->string, j->string, j->length + 1);
  copy->child = j->child ? copy_of(j->child) : NULL;
  copy->next = j->next ? copy_of(j->next) : NULL;
  return copy;
}

static void run_engine(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  wsc_options *o = NULL;
  wsc_error *error = NULL;
  wsc_engine *made = NULL;
  wsc_callbacks callbacks;
  struct script *script = calloc(1, sizeof *script);
  if (!script) abort();
  script->command = copy_of(c);
  int status = options_of(c, &o);
  if (status == WSC_OK && json_int(c, "trace", 0)) status = wsc_options_set_tracer(o, driver_tracer(), NULL);
  if (status == WSC_OK)
    status = wsc_engine_new(json_text(c, "url", NULL), script_callbacks(json_get(c, "on"), &callbacks), script, o,
                            &made, &error);
  wsc_options_free(o);
  pthread_mutex_lock(&lock);
  script->next = scripts;
  scripts = script;
  if (status == WSC_OK) current = made;
  pthread_mutex_unlock(&lock);
  line_bool(out, "made", made != NULL);
  end_with(out, status, error);
}

static void run_free(struct scope *s, const struct json *c, struct line *out) {
  (void)c;
  wsc_engine *e = engine_of(s);
  pthread_mutex_lock(&lock);
  if (current == e) current = NULL;
  pthread_mutex_unlock(&lock);
  wsc_engine_free(e);
  line_bool(out, "freed", e != NULL);
  end_with(out, WSC_OK, NULL);
}

static void run_start(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  int status = wsc_engine_start(engine_of(s), context_of(c, &room), &error);
  end_with(out, status, error);
}

static void run_stop(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  int status = wsc_engine_stop(engine_of(s), context_of(c, &room), &error);
  end_with(out, status, error);
}

static void stop_reason(const wsc_engine *e, struct line *out) {
  static const char *const names[] = {"never_ran", "stop", "exit", "lost", "gave_up", "start_failed"};
  int reason = wsc_engine_stop_reason(e);
  line_text(out, "reason", reason >= 0 && reason <= 5 ? names[reason] : "?");
}

static void run_wait(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  wsc_engine *e = engine_of(s);
  int status = wsc_engine_wait(e, context_of(c, &room), &error);
  stop_reason(e, out);
  end_with(out, status, error);
}

static void run_pause(struct scope *s, const struct json *c, struct line *out) {
  wsc_context room;
  wsc_error *error = NULL;
  int status = wsc_engine_pause(engine_of(s), context_of(c, &room), &error);
  end_with(out, status, error);
}

static void run_resume(struct scope *s, const struct json *c, struct line *out) {
  (void)c;
  end_with(out, wsc_engine_resume(engine_of(s)), NULL);
}

static wsc_session *session_named(const char *name) {
  wsc_session *found = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < KEPT && !found; i++)
    if (kept[i].session && !strcmp(kept[i].name, name)) found = wsc_session_ref(kept[i].session);
  pthread_mutex_unlock(&lock);
  return found;
}

wsc_session *session_of(const struct scope *s, const struct json *c) {
  const char *via = json_text(c, "via", "");
  if (*via && strcmp(via, "engine")) return session_named(via);
  if (!*via && s->session) return wsc_session_ref(s->session);
  return wsc_engine_session(engine_of(s));
}

/* The session's own exit and restart inside session callbacks (via=engine: the engine's), a kept session's with
 * via=NAME. */
static void run_exit(struct scope *s, const struct json *c, struct line *out) {
  wsc_session *session = s->session || json_get(c, "via") ? session_of(s, c) : NULL;
  if (session && strcmp(json_text(c, "via", ""), "engine")) wsc_session_exit(session);
  else wsc_engine_exit(engine_of(s));
  wsc_session_unref(session);
  end_with(out, WSC_OK, NULL);
}

static void run_restart(struct scope *s, const struct json *c, struct line *out) {
  wsc_session *session = s->session || json_get(c, "via") ? session_of(s, c) : NULL;
  if (session && strcmp(json_text(c, "via", ""), "engine")) wsc_session_restart(session);
  else wsc_engine_restart(engine_of(s));
  wsc_session_unref(session);
  end_with(out, WSC_OK, NULL);
}

static void run_is_started(struct scope *s, const struct json *c, struct line *out) {
  (void)c;
  line_bool(out, "value", wsc_engine_is_started(engine_of(s)));
  end_with(out, WSC_OK, NULL);
}

static void run_state(struct scope *s, const struct json *c, struct line *out) {
  static const char *const names[] = {"stopped", "starting", "open", "reconnecting", "stopping"};
  (void)c;
  int state = wsc_engine_state(engine_of(s));
  line_text(out, "value", state >= 0 && state <= 4 ? names[state] : "?");
  stop_reason(engine_of(s), out);
  end_with(out, WSC_OK, NULL);
}

static void run_stats(struct scope *s, const struct json *c, struct line *out) {
  (void)c;
  wsc_stats st = {.struct_size = sizeof st};
  int status = wsc_engine_stats(engine_of(s), &st);
#define COUNT(field) line_int(out, #field, (int64_t)st.field)
  COUNT(messages_received);
  COUNT(bytes_received);
  COUNT(messages_sent);
  COUNT(bytes_sent);
  COUNT(messages_dropped);
  COUNT(sessions);
  COUNT(reconnects);
  COUNT(failed_attempts);
  COUNT(queued_messages);
  COUNT(queued_bytes);
  COUNT(rtt_last_ns);
  COUNT(rtt_smoothed_ns);
  COUNT(last_byte_age_ns);
  COUNT(reconnects_by_peer);
  COUNT(reconnects_by_network);
  COUNT(reconnects_by_timeout);
  COUNT(reconnects_by_protocol);
  COUNT(reconnects_by_user);
  COUNT(wire_received_bytes);
  COUNT(unsent_bytes);
  COUNT(wire_sent_bytes);
  COUNT(packed_received_bytes);
  COUNT(unpacked_received_bytes);
  COUNT(packed_sent_bytes);
  COUNT(unpacked_sent_bytes);
#undef COUNT
  end_with(out, status, NULL);
}

static void run_session(struct scope *s, const struct json *c, struct line *out) {
  wsc_session *session = session_of(s, c);
  line_text(out, "session", session ? wsc_session_id(session) : NULL);
  if (session) line_int(out, "epoch", (int64_t)wsc_session_epoch(session));
  wsc_session_unref(session);
  end_with(out, WSC_OK, NULL);
}

static void run_keep(struct scope *s, const struct json *c, struct line *out) {
  wsc_session *session = session_of(s, c);
  bool done = false;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < KEPT && session && !done; i++) {
    if (kept[i].session) continue;
    snprintf(kept[i].name, sizeof kept[i].name, "%s", json_text(c, "name", ""));
    kept[i].session = session;
    done = true;
  }
  pthread_mutex_unlock(&lock);
  end_with(out, done ? WSC_OK : WSC_ERR_STATE, NULL);
}

static void run_forget(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  (void)c;
  for (int i = 0; i < KEPT; i++) {
    pthread_mutex_lock(&lock);
    wsc_session *session = kept[i].session;
    kept[i].session = NULL;
    pthread_mutex_unlock(&lock);
    wsc_session_unref(session);
  }
  end_with(out, WSC_OK, NULL);
}

/* ---- answers of callbacks ---- */

static void run_refuse(struct scope *s, const struct json *c, struct line *out) {
  (void)c;
  s->refuse = true;
  end_with(out, WSC_OK, NULL);
}

static void run_reply(struct scope *s, const struct json *c, struct line *out) {
  if (s->reply) {
    snprintf(s->reply_reason, 124, "%s", json_text(c, "reason", ""));
    s->reply->code = (int)json_int(c, "code", 1000);
    s->reply->reason = s->reply_reason;
  }
  end_with(out, s->reply ? WSC_OK : WSC_ERR_STATE, NULL);
}

static void run_attempt(struct scope *s, const struct json *c, struct line *out) {
  wsc_error *error = NULL;
  int status = s->attempt ? WSC_OK : WSC_ERR_STATE;
  for (const struct json *j = s->attempt ? c->child : NULL; j && status == WSC_OK; j = j->next) {
    if (!strcmp(j->key, "url")) status = wsc_attempt_set_url(s->attempt, j->string, &error);
    else if (!strcmp(j->key, "header")) status = wsc_attempt_add_header(s->attempt, j->string, &error);
    else if (!strcmp(j->key, "clear_headers")) wsc_attempt_clear_headers(s->attempt);
    else if (!strcmp(j->key, "subprotocol")) status = wsc_attempt_add_subprotocol(s->attempt, j->string, &error);
    else if (!strcmp(j->key, "clear_subprotocols")) wsc_attempt_clear_subprotocols(s->attempt);
    else if (!strcmp(j->key, "delay_ms")) wsc_attempt_set_delay_ms(s->attempt, j->number);
    else if (!strcmp(j->key, "retry_delay_ms")) wsc_attempt_set_retry_delay_ms(s->attempt, j->number);
    else if (!strcmp(j->key, "reset")) wsc_attempt_reset(s->attempt);
  }
  end_with(out, status, error);
}

/* ---- the driver's own ---- */

static void run_latch(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  end_with(out, latch_wait(json_text(c, "name", ""), json_int(c, "timeout_ms", 20000)), NULL);
}

static void run_release(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  latch_release(json_text(c, "name", ""));
  end_with(out, WSC_OK, NULL);
}

static void run_cancel(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  wsc_cancel_fire(cancel_named(json_text(c, "name", "")));
  end_with(out, WSC_OK, NULL);
}

static void run_spans(struct scope *s, const struct json *c, struct line *out) {
  (void)s, (void)c;
  line_int(out, "open", driver_spans_open());
  end_with(out, WSC_OK, NULL);
}

static void run_leaks(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  (void)c;
  probe_leaks(out);
}

static void run_validate(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  wsc_options *o = NULL;
  wsc_error *error = NULL;
  int status = options_of(c, &o);
  if (status == WSC_OK) status = wsc_options_validate(o, &error);
  wsc_options_free(o);
  end_with(out, status, error);
}

static void run_close_codes(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  (void)c;
  probe_close_codes(out);
}

static void run_null_handles(struct scope *s, const struct json *c, struct line *out) {
  (void)s;
  (void)c;
  probe_null_handles(out);
}

static void run_fork_check(struct scope *s, const struct json *c, struct line *out) {
  (void)c;
  probe_fork(engine_of(s), out);
}

static const struct {
  const char *name;
  void (*run)(struct scope *s, const struct json *c, struct line *out);
} verbs[] = {
    {"engine", run_engine},
    {"free", run_free},
    {"start", run_start},
    {"stop", run_stop},
    {"wait", run_wait},
    {"pause", run_pause},
    {"resume", run_resume},
    {"exit", run_exit},
    {"restart", run_restart},
    {"is_started", run_is_started},
    {"state", run_state},
    {"stats", run_stats},
    {"session", run_session},
    {"keep", run_keep},
    {"forget", run_forget},
    {"write", run_write},
    {"write_many", run_write_many},
    {"echo", run_echo},
    {"read", run_read},
    {"ping", run_ping},
    {"close", run_close},
    {"cork", run_cork},
    {"uncork", run_uncork},
    {"connect", run_connect},
    {"disconnect", run_disconnect},
    {"refuse", run_refuse},
    {"reply", run_reply},
    {"attempt", run_attempt},
    {"latch", run_latch},
    {"release", run_release},
    {"cancel", run_cancel},
    {"leaks", run_leaks},
    {"spans", run_spans},
    {"validate", run_validate},
    {"close_codes", run_close_codes},
    {"null_handles", run_null_handles},
    {"fork_check", run_fork_check},
};

void run_command(struct scope *s, const struct json *command, struct line *out) {
  const char *name = json_text(command, "cmd", "");
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (!strcmp(verbs[i].name, name)) {
      verbs[i].run(s, command, out);
      return;
    }
  line_text(out, "status", "UNKNOWN_COMMAND");
}

void commands_end(void) {
  wsc_engine_free(current);
  connection_end_own();
  for (int i = 0; i < KEPT; i++) wsc_session_unref(kept[i].session);
  while (scripts) {
    struct script *next = scripts->next;
    json_free(scripts->command);
    free(scripts);
    scripts = next;
  }
}
