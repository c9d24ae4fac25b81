/* Callbacks become events, and play the script the runner gave them: an event before the first step, an `action`
 * event for each step, a `leave` event as the very last thing, so that the runner can judge overlap and order from
 * the trace alone. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

const char *const callback_names[CALLBACK_KINDS] = {"on_open",        "on_message",     "on_read_error",
                                                    "on_close",       "on_close_error", "on_restart_error",
                                                    "before_attempt", "on_stopped"};

/* ---- how things look in an event ---- */

void line_response(struct line *l, const char *key, const wsc_response *r) {
  if (!r) {
    line_text(l, key, NULL);
    return;
  }
  const char *name, *value;
  size_t length = 0;
  const uint8_t *body = wsc_response_body(r, &length);
  line_open(l, key, '{');
  line_int(l, "status", wsc_response_status(r));
  line_text(l, "reason", wsc_response_reason(r));
  line_text(l, "subprotocol", wsc_response_subprotocol(r));
  line_open(l, "headers", '{');
  for (size_t i = 0; wsc_response_header_at(r, i, &name, &value); i++) line_text(l, name, value);
  line_close(l, '}');
  line_int(l, "body_length", (int64_t)length);
  line_bytes(l, "body", body ? body : (const uint8_t *)"", body ? (length < 1024 ? length : 1024) : 0);
  line_close(l, '}');
}

/* The outermost link's numbers; names and texts of all links, outermost first. */
void line_error(struct line *l, const char *key, const wsc_error *e) {
  if (!e) {
    line_text(l, key, NULL);
    return;
  }
  line_open(l, key, '{');
  line_text(l, "status", wsc_status_name(wsc_error_status(e)));
  line_text(l, "message", wsc_error_message(e));
  line_int(l, "close_code", wsc_error_close_code(e));
  line_int(l, "os_error", wsc_error_os_error(e));
  line_int(l, "http_status", wsc_error_http_status(e));
  line_open(l, "chain", '[');
  for (const wsc_error *link = e; link; link = wsc_error_cause(link))
    line_text(l, NULL, wsc_status_name(wsc_error_status(link)));
  line_close(l, ']');
  line_open(l, "messages", '[');
  for (const wsc_error *link = e; link; link = wsc_error_cause(link)) line_text(l, NULL, wsc_error_message(link));
  line_close(l, ']');
  line_response(l, "response", wsc_error_response(e));
  line_close(l, '}');
}

static uint32_t crc32_of(const uint8_t *p, size_t n) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < n; i++) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
  }
  return ~crc;
}

void line_message(struct line *l, int type, const uint8_t *p, size_t n) {
  line_text(l, "type", type == WSC_TEXT ? "text" : type == WSC_BINARY ? "binary" : "unknown");
  line_int(l, "length", (int64_t)n);
  if (n > 256) {
    line_int(l, "crc", crc32_of(p, n));
    if (type == WSC_TEXT) line_bytes(l, "head", p, 32);
  } else if (type == WSC_TEXT) {
    line_bytes(l, "text", p, n);
  } else {
    line_hex(l, "hex", p, n);
  }
}

static void line_close_details(struct line *l, const wsc_close *c) {
  static const char *const who[] = {"nobody", "local", "peer", "network"};
  static const char *const timers[] = {"none", "connect", "keepalive", "data_idle", "close"};
  line_text(l, "by", !c ? "user" : c->initiator >= 0 && c->initiator <= 3 ? who[c->initiator] : "?");
  if (!c) return;
  line_int(l, "code", c->code);
  line_int(l, "code_sent", c->code_sent);
  line_int(l, "code_received", c->code_received);
  line_int(l, "os_error", c->os_error);
  line_text(l, "timer", c->timer >= 0 && c->timer <= 4 ? timers[c->timer] : "?");
  line_int(l, "unsent_bytes", (int64_t)c->unsent_bytes);
  line_text(l, "reason", c->reason);
}

/* ---- scripts ---- */

static bool rule_fits(const struct json *rule, const struct scope *s) {
  int64_t call = json_int(rule, "call", 0);
  const struct json *text = json_get(rule, "text");
  if (call && call != s->call) return false;
  return !text || (s->data && text->length == s->length && !memcmp(text->string, s->data, s->length));
}

/* The first rule that fits is played. */
static void play(struct script *script, struct scope *s) {
  const struct json *rules = json_get(json_get(script->command, "on"), s->of);
  const struct json *rule = rules ? rules->child : NULL;
  while (rule && !rule_fits(rule, s)) rule = rule->next;
  const struct json *steps = json_get(rule, "do");
  for (const struct json *step = steps ? steps->child : NULL; step; step = step->next) {
    struct line out = {0};
    line_text(&out, "event", "action");
    line_text(&out, "of", s->of);
    line_int(&out, "call", s->call);
    line_text(&out, "cmd", json_text(step, "cmd", ""));
    run_command(s, step, &out);
    emit(&out);
  }
  struct line out = {0};
  line_text(&out, "event", "leave");
  line_text(&out, "of", s->of);
  line_int(&out, "call", s->call);
  if (s->session) line_int(&out, "epoch", (int64_t)wsc_session_epoch(s->session));
  emit(&out);
}

/* Opens the event; the caller adds its own fields and emits. */
static struct scope enter(struct line *l, struct script *script, enum callback_kind kind, wsc_session *session,
                          wsc_engine *engine) {
  struct scope s = {
      .of = callback_names[kind], .session = session, .engine = session ? wsc_session_engine(session) : engine};
  s.call = atomic_fetch_add(&script->calls[kind], 1) + 1;
  line_text(l, "event", s.of);
  line_int(l, "call", s.call);
  if (session) {
    line_text(l, "session", wsc_session_id(session));
    line_int(l, "epoch", (int64_t)wsc_session_epoch(session));
  }
  return s;
}

static int on_open(wsc_session *session, const wsc_response *r, bool restarting, void *user) {
  struct line l = {0};
  struct scope s = enter(&l, user, ON_OPEN, session, NULL);
  line_bool(&l, "restarting", restarting);
  line_text(&l, "subprotocol", wsc_response_subprotocol(r));
  line_response(&l, "response", r);
  emit(&l);
  play(user, &s);
  return s.refuse;
}

static void on_message(wsc_session *session, int type, const uint8_t *data, size_t length, void *user) {
  struct line l = {0};
  struct scope s = enter(&l, user, ON_MESSAGE, session, NULL);
  s.type = type;
  s.data = data;
  s.length = length;
  line_message(&l, type, data, length);
  line_bool(&l, "stamped", wsc_session_received_ns(session) > 0);
  emit(&l);
  play(user, &s);
}

static void on_read_error(wsc_session *session, const wsc_error *e, void *user) {
  struct line l = {0};
  struct scope s = enter(&l, user, ON_READ_ERROR, session, NULL);
  line_error(&l, "error", e);
  emit(&l);
  play(user, &s);
}

static void on_close(wsc_session *session, const wsc_close *peer, wsc_close *reply, void *user) {
  static _Thread_local char reason[124]; /* must outlive the callback: the engine reads the reply after it returned */
  struct line l = {0};
  struct scope s = enter(&l, user, ON_CLOSE, session, NULL);
  s.reply = reply;
  s.reply_reason = reason;
  line_close_details(&l, peer);
  emit(&l);
  play(user, &s);
}

static void on_close_error(wsc_session *session, const wsc_error *e, void *user) {
  struct line l = {0};
  struct scope s = enter(&l, user, ON_CLOSE_ERROR, session, NULL);
  line_error(&l, "error", e);
  emit(&l);
  play(user, &s);
}

static void on_restart_error(wsc_engine *engine, const wsc_error *why, uint32_t retry, bool last, void *user) {
  struct line l = {0};
  struct scope s = enter(&l, user, ON_RESTART_ERROR, NULL, engine);
  line_int(&l, "retry", retry);
  line_bool(&l, "last", last);
  line_error(&l, "error", why);
  emit(&l);
  play(user, &s);
}

static bool before_attempt(wsc_engine *engine, wsc_attempt *attempt, void *user) {
  struct line l = {0};
  struct scope s = enter(&l, user, BEFORE_ATTEMPT, NULL, engine);
  s.attempt = attempt;
  line_int(&l, "number", wsc_attempt_number(attempt));
  line_text(&l, "url", wsc_attempt_url(attempt));
  line_error(&l, "last_error", wsc_attempt_last_error(attempt));
  emit(&l);
  play(user, &s);
  return !s.refuse;
}

static void on_stopped(wsc_engine *engine, int reason, const wsc_error *why, void *user) {
  static const char *const reasons[] = {"never_ran", "stop", "exit", "lost", "gave_up", "start_failed"};
  struct line l = {0};
  struct scope s = enter(&l, user, ON_STOPPED, NULL, engine);
  line_text(&l, "reason", reason >= 0 && reason <= 5 ? reasons[reason] : "?");
  line_error(&l, "error", why);
  emit(&l);
  play(user, &s);
}

const wsc_callbacks *script_callbacks(const struct json *rules, wsc_callbacks *room) {
  *room = (wsc_callbacks){.struct_size = sizeof *room,
                          .on_open = on_open,
                          .on_message = on_message,
                          .on_read_error = on_read_error,
                          .on_close = on_close,
                          .on_close_error = on_close_error,
                          .on_restart_error = on_restart_error,
                          .on_stopped = on_stopped};
  /* Giving the hook sets ASK_BEFORE_ATTEMPT: only scenarios about it have it. */
  if (json_get(rules, "before_attempt")) room->before_attempt = before_attempt;
  return room;
}
