/* What wsc prints about an event. JSON: one object a line, "event" first, then session and epoch where there is one. */
#define _GNU_SOURCE
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void text_field(struct bytes *b, const char *name, const char *value) {
  bytes_print(b, ",\"%s\":", name);
  json_string(b, (const uint8_t *)value, strlen(value));
}

static void begin(struct bytes *b, const char *event, const wsc_session *session) {
  bytes_print(b, "{\"event\":\"%s\"", event);
  if (session == NULL) return;
  text_field(b, "session", wsc_session_id(session));
  bytes_print(b, ",\"epoch\":%" PRIu64, wsc_session_epoch(session));
}

static void end(struct bytes *b) { bytes_add(b, "}\n", 2); }

static const char *truth(bool b) { return b ? "true" : "false"; }

void report_open(const struct settings *s, struct bytes *out, const wsc_event *ev) {
  if (!s->json) return;
  const char *subprotocol = wsc_response_subprotocol(ev->response);
  begin(out, "open", ev->session);
  bytes_print(out, ",\"restarting\":%s,\"status\":%d", truth((ev->flags & WSC_EVENT_RESTARTING) != 0),
              wsc_response_status(ev->response));
  text_field(out, "subprotocol", subprotocol != NULL ? subprotocol : "");
  end(out);
}

static void json_message(struct bytes *out, const wsc_event *ev, const wsc_record *r) {
  const uint8_t *p = ev->arena + r->offset;
  begin(out, "message", ev->session);
  if (r->type == WSC_TEXT) {
    bytes_print(out, ",\"type\":\"text\",\"data\":");
    json_string(out, p, r->length);
  } else {
    bytes_print(out, ",\"type\":\"binary\",\"base64\":\"");
    base64(out, p, r->length);
    bytes_add(out, "\"", 1);
  }
  bytes_print(out, ",\"received_ns\":%" PRId64, ev->received_ns);
  end(out);
}

void report_message(const struct settings *s, struct bytes *out, const wsc_event *ev, const wsc_record *r) {
  if (s->json) {
    json_message(out, ev, r);
    return;
  }
  const uint8_t *p = ev->arena + r->offset;
  if (r->type == WSC_BINARY && !s->binary) base64(out, p, r->length);
  else bytes_add(out, p, r->length);
  if (r->type != WSC_BINARY || !s->binary) bytes_add(out, "\n", 1);
}

static const char *initiator_name(int initiator) {
  switch (initiator) {
  case WSC_BY_LOCAL: return "local";
  case WSC_BY_PEER: return "peer";
  case WSC_BY_NETWORK: return "network";
  default: return "nobody";
  }
}

static const char *what_happened(int initiator) {
  switch (initiator) {
  case WSC_BY_LOCAL: return "connection closed by wsc";
  case WSC_BY_PEER: return "connection closed by the server";
  default: return "connection lost";
  }
}

void report_close(const struct settings *s, struct bytes *out, const wsc_event *ev, const wsc_reply *reply,
                  bool quiet) {
  const wsc_close *c = reply == NULL ? ev->close : NULL;
  int code = c != NULL ? c->code : reply != NULL ? reply->close_code : WSC_CLOSE_GOING_AWAY;
  const char *reason = c != NULL ? c->reason : reply != NULL ? reply->close_reason : "";
  int initiator = c != NULL ? c->initiator : WSC_BY_LOCAL;
  if (s->json) {
    begin(out, "close", ev->session);
    bytes_print(out, ",\"code\":%d", code);
    text_field(out, "reason", reason);
    text_field(out, "initiator", initiator_name(initiator));
    end(out);
  }
  if (c != NULL && !quiet) {
    /* When it was us who failed the connection, the error tells more than the reason that went to the server. */
    if (initiator == WSC_BY_LOCAL && ev->error != NULL) complain_of(wsc_error_message(ev->error), "");
    else complain("%s: %d%s%s", what_happened(initiator), code, reason[0] != '\0' ? " " : "", reason);
  }
  if (c != NULL && c->unsent_bytes > 0)
    complain("%" PRIu64 " bytes that had been accepted for sending were lost with the connection", c->unsent_bytes);
}

void report_close_error(const struct settings *s, struct bytes *out, const wsc_event *ev) {
  if (s->json) {
    begin(out, "close_error", ev->session);
    text_field(out, "error", wsc_error_message(ev->error));
    end(out);
  }
  complain_of(wsc_error_message(ev->error), "");
}

void report_restart_error(const struct settings *s, struct bytes *out, const wsc_event *ev) {
  bool last = (ev->flags & WSC_EVENT_LAST) != 0;
  int64_t delay_ms = ev->delay_ns / 1000000;
  if (s->json) {
    begin(out, "restart_error", ev->session);
    bytes_print(out, ",\"retry\":%" PRIu32, ev->retry);
    text_field(out, "error", wsc_error_message(ev->error));
    bytes_print(out, ",\"delay_ms\":%" PRId64 ",\"last\":%s", delay_ms, truth(last));
    end(out);
  }
  char tail[48] = "; giving up";
  if (!last) snprintf(tail, sizeof tail, "; trying again in %.1f s", (double)delay_ms / 1000);
  complain_of(wsc_error_message(ev->error), tail);
}

void report_error(const struct settings *s, struct bytes *out, const wsc_session *session, const char *text) {
  if (s->json) {
    begin(out, "error", session);
    text_field(out, "error", text);
    end(out);
  }
  complain_of(text, "");
}

void report_log(const wsc_event *ev) {
  static const char *const levels[] = {"log", "error", "warning", "info", "debug", "trace"};
  const char *level = ev->level >= 1 && ev->level <= 5 ? levels[ev->level] : levels[0];
  complain("%s: %s: %s", level, ev->subsystem != NULL ? ev->subsystem : "engine", ev->text != NULL ? ev->text : "");
}

static const char *plural(uint64_t n) { return n == 1 ? "" : "s"; }

/* ", 2 reconnects (1 by the peer, 1 by a timeout)" without its comma. */
static const char *reconnects_text(const wsc_stats *t, char out[static 192]) {
  const struct {
    uint64_t n;
    const char *cause;
  } causes[] = {{t->reconnects_by_peer, "the peer"},
                {t->reconnects_by_network, "the network"},
                {t->reconnects_by_timeout, "a timeout"},
                {t->reconnects_by_protocol, "a broken rule"},
                {t->reconnects_by_user, "us"}};
  size_t at = (size_t)snprintf(out, 192, "%" PRIu64 " reconnect%s", t->reconnects, plural(t->reconnects));
  const char *before = " (";
  for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
    if (causes[i].n == 0) continue;
    at += (size_t)snprintf(out + at, 192 - at, "%s%" PRIu64 " by %s", before, causes[i].n, causes[i].cause);
    before = ", ";
  }
  if (t->reconnects > 0) snprintf(out + at, 192 - at, ")");
  return out;
}

void report_stats(wsc_engine *e) {
  wsc_stats t = {.struct_size = sizeof t};
  char rtt[96] = "unknown", reconnects[192];
  if (wsc_engine_stats(e, &t) != WSC_OK) return;
  if (t.rtt_last_ns >= 0)
    snprintf(rtt, sizeof rtt, "%.3f ms last, %.3f ms smoothed", (double)t.rtt_last_ns / 1e6,
             (double)t.rtt_smoothed_ns / 1e6);
  complain("received %" PRIu64 " message%s, %" PRIu64 " bytes; sent %" PRIu64 " message%s, %" PRIu64 " bytes\n"
           "%" PRIu64 " session%s, %s, %" PRIu64 " failed attempt%s; RTT %s\n"
           "on the wire: received %" PRIu64 " bytes, sent %" PRIu64,
           t.messages_received, plural(t.messages_received), t.bytes_received, t.messages_sent, plural(t.messages_sent),
           t.bytes_sent, t.sessions, plural(t.sessions), reconnects_text(&t, reconnects), t.failed_attempts,
           plural(t.failed_attempts), rtt, t.wire_received_bytes, t.wire_sent_bytes);
  if (t.unpacked_received_bytes + t.unpacked_sent_bytes > 0)
    complain("compressed: received %" PRIu64 " bytes that were %" PRIu64 "; sent %" PRIu64 " bytes that were %" PRIu64,
             t.packed_received_bytes, t.unpacked_received_bytes, t.packed_sent_bytes, t.unpacked_sent_bytes);
}
