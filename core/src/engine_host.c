/* Host adapters: the engine asks by DO_ events, the host answers with wsc_engine_report. Messages stay with the host; here are only the dial, life and
 * death of its connection. */
#define _GNU_SOURCE
#include "engine.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "refusal.h"
#include "response.h"

#include <stdio.h>
#include <string.h>

enum { READ_ERRORS_MOST = 16 }; /* in a row without a message: the link is as good as dead */

static bool fill(struct event_node *n, wsc_event *ev) {
  struct host_ask *ask = (struct host_ask *)(void *)n;
  wsc_engine *e = ask->engine;
  pthread_mutex_lock(&e->lock);
  bool given = ask->token != 0;
  if (given) {
    *ev = (wsc_event){.struct_size = sizeof *ev,
                      .type = (uint32_t)ask->type,
                      .engine = e,
                      .user = e->user,
                      .token = ask->token,
                      .close_code = ask->close_code,
                      .delay_ns = ask->timeout_ns,
                      .core = n};
    ev->attempt = ask->dial;
    ev->text = ask->dial ? ask->dial->url.text : ask->reason;
    ask->dial = NULL;
    if (e->session) ev->epoch = e->session->epoch;
    actor_ref(&e->actor);
  }
  pthread_mutex_unlock(&e->lock);
  return given;
}

static int done(struct event_node *n, wsc_event *ev, const wsc_reply *r) {
  (void)n, (void)r; /* the answer is a report */
  attempt_free(ev->attempt);
  actor_unref(&ev->engine->actor);
  return WSC_OK;
}

int host_init(wsc_engine *e) {
  static const int types[HOST_QUESTIONS] = {WSC_EVENT_DO_DIAL, WSC_EVENT_DO_PING, WSC_EVENT_DO_CLOSE,
                                            WSC_EVENT_DO_STOP_READING};
  struct host_link *h = e->host = mem_zalloc(sizeof *h);
  if (!h) return WSC_ERR_NOMEM;
  h->rtt_last_ns = h->rtt_smoothed_ns = -1;
  h->readers_out = true;
  for (int q = 0; q < HOST_QUESTIONS; q++)
    h->asks[q] =
        (struct host_ask){.node = {.owner = &e->actor, .fill = fill, .done = done}, .engine = e, .type = types[q]};
  h->alive.interval = options_int(e->options, WSC_OPT_KEEPALIVE_INTERVAL_MS) * NS_PER_MS;
  h->alive.timeout = options_int(e->options, WSC_OPT_KEEPALIVE_TIMEOUT_MS) * NS_PER_MS;
  h->alive.data_idle = options_int(e->options, WSC_OPT_DATA_IDLE_TIMEOUT_MS) * NS_PER_MS;
  return WSC_OK;
}

void host_free(wsc_engine *e) {
  struct host_link *h = e->host;
  if (!h) return;
  attempt_free(h->asks[HOST_DIAL].dial);
  wsc_response_free(h->response);
  wsc_error_unref(h->error);
  mem_free(h);
}

void host_ask(wsc_engine *e, enum host_question q, int code, const char *reason, int64_t timeout_ns) {
  struct host_ask *ask = &e->host->asks[q];
  ask->token = ++e->host->tokens; /* an older question of the same kind is answered by nobody any more */
  ask->attempt = e->session ? e->session->attempt : 0;
  ask->close_code = code;
  ask->timeout_ns = timeout_ns;
  ask->due_ns = timeout_ns > 0 && q == HOST_CLOSE ? os_now_ns() + timeout_ns : 0;
  snprintf(ask->reason, sizeof ask->reason, "%s", reason);
  loop_post(e->actor.loop, &ask->node);
}

int host_dial(wsc_engine *e) {
  struct wsc_attempt *a = attempt_new(&e->url, e->options);
  if (!a) return WSC_ERR_NOMEM;
  a->engine = e;
  attempt_free(e->host->asks[HOST_DIAL].dial);
  e->host->asks[HOST_DIAL].dial = a;
  host_ask(e, HOST_DIAL, 0, "", options_int(e->options, WSC_OPT_CONNECT_TIMEOUT_MS) * NS_PER_MS);
  return WSC_OK;
}

void host_end(wsc_engine *e, int initiator, int code, int timer, const char *reason, wsc_error *error) {
  struct host_link *h = e->host;
  snprintf(h->ended_reason, sizeof h->ended_reason, "%s", reason ? reason : "");
  h->ended = (wsc_close){
      .struct_size = sizeof h->ended, .initiator = initiator, .code = code, .timer = timer, .reason = h->ended_reason};
  if (initiator == WSC_BY_PEER) h->ended.code_received = code;
  wsc_error_unref(h->error);
  h->error = error;
  if (h->open) h->news |= NEWS_ENDED | NEWS_LOST;
  h->open = false;
}

/* The link is given up from here: the host is told to drop its connection. */
static void cut(wsc_engine *e, int timer, const char *text) {
  struct error_info info = {.status = WSC_ERR_CLOSED, .close_code = WSC_CLOSE_ABNORMAL, .timer = timer};
  host_end(e, WSC_BY_NETWORK, WSC_CLOSE_ABNORMAL, timer, text, error_make(&info, "%s: %s", e->url.shown, text));
  host_ask(e, HOST_CLOSE, WSC_CLOSE_GOING_AWAY, "", 0);
}

void host_run(wsc_engine *e, int64_t now) {
  struct host_link *h = e->host;
  struct host_ask *closing = &h->asks[HOST_CLOSE];
  h->due_ns = 0;
  if (closing->token && closing->due_ns && closing->due_ns <= now) {
    closing->token = 0;
    h->ended.timer = WSC_TIMER_CLOSE;
    wsc_error_unref(h->error);
    h->error = error_make(&(struct error_info){.status = WSC_ERR_TIMEOUT, .timer = WSC_TIMER_CLOSE},
                          "%s: the host did not close in time", e->url.shown);
    h->open = false;
  } else if (closing->token) {
    h->due_ns = closing->due_ns;
  }
  if (!h->open || e->closing) return;
  int64_t next = 0;
  switch (keepalive_check(&h->alive, now, &next)) {
  case KEEPALIVE_PING:
    h->ping_at_ns = now;
    host_ask(e, HOST_PING, 0, "", h->alive.timeout);
    keepalive_pinged(&h->alive, now);
    keepalive_check(&h->alive, now, &next);
    break;
  case KEEPALIVE_DEAD: cut(e, WSC_TIMER_KEEPALIVE, "link is dead: no sign of life within the keepalive timeout"); break;
  case KEEPALIVE_DATA_IDLE: cut(e, WSC_TIMER_DATA_IDLE, "no data message within data_idle_timeout"); break;
  case KEEPALIVE_WAIT: break;
  }
  h->due_ns = earlier(h->due_ns, next);
}

/* ---- answers ------------------------------------------------------------------------------------------------------- */

static wsc_error *error_or(wsc_error *given, int status, const char *what) {
  if (given) return wsc_error_ref(given);
  return error_make(&(struct error_info){.status = status}, "%s: %s", what, wsc_status_text(status));
}

/* Why a dial failed. With an answer that is a refusal, or an upgrade that was not to be accepted, and error is its cause. */
static wsc_error *dial_failure(wsc_engine *e, int status, const wsc_response *r, wsc_error *error) {
  wsc_error *out = NULL;
  wsc_response *answer = wsc_response_status(r) != 101 ? response_copy(r) : NULL;
  if (answer) {
    refusal_error(answer, e->url.shown, wsc_error_ref(error), &out);
  } else if (wsc_response_status(r) == 101) {
    struct error_info info = {.status = WSC_ERR_HANDSHAKE, .http_status = 101, .fatal = WSC_GIVE_UP_UPGRADE};
    info.cause = wsc_error_ref(error);
    out = error_make(&info, "%s: malformed upgrade", e->url.shown);
  }
  return out ? out : error_or(error, status, "dial");
}

static void dialed(wsc_engine *e, int status, const wsc_response *r, wsc_error *error) {
  struct host_link *h = e->host;
  if (status) {
    wsc_error_unref(h->error);
    h->error = dial_failure(e, status, r, error);
    h->news |= NEWS_DIAL_FAILED;
    return;
  }
  wsc_response_free(h->response);
  h->response = response_copy(r);
  h->open = true;
  h->ended = (wsc_close){.struct_size = sizeof h->ended, .reason = ""};
  keepalive_start(&h->alive, os_now_ns());
  h->news |= NEWS_DIALED;
}

static void ponged(wsc_engine *e, int status, wsc_error *error) {
  struct host_link *h = e->host;
  if (!h->open) return;
  if (status) {
    host_end(e, WSC_BY_NETWORK, WSC_CLOSE_ABNORMAL, WSC_TIMER_KEEPALIVE, "ping failed",
             error_or(error, status, "ping"));
    host_ask(e, HOST_CLOSE, WSC_CLOSE_GOING_AWAY, "", 0);
    return;
  }
  int64_t now = os_now_ns(), rtt = now - h->ping_at_ns;
  keepalive_life(&h->alive, now);
  h->rtt_smoothed_ns = h->rtt_last_ns < 0 ? rtt : h->rtt_smoothed_ns + (rtt - h->rtt_smoothed_ns) / 8;
  h->rtt_last_ns = rtt;
}

static void host_closed(wsc_engine *e, int status, wsc_error *error) {
  struct host_link *h = e->host;
  if (!h->open) return; /* of a link that was given up: how it ended is known */
  h->open = false;
  h->ended.initiator = WSC_BY_LOCAL;
  if (!status) return;
  h->ended.timer = WSC_TIMER_CLOSE; /* how a close that failed is told apart */
  wsc_error_unref(h->error);
  h->error = error_or(error, status, "close");
}

int wsc_engine_report(wsc_engine *e, uint64_t token, int status, const wsc_response *r, wsc_error *error) {
  int bad = engine_usable(e, "report", NULL);
  if (bad) return bad;
  pthread_mutex_lock(&e->lock);
  int q = e->host ? 0 : HOST_QUESTIONS;
  while (q < HOST_QUESTIONS && (!token || e->host->asks[q].token != token)) q++;
  if (q < HOST_QUESTIONS) e->host->asks[q].token = 0;
  bool late = q < HOST_QUESTIONS && (!e->session || e->host->asks[q].attempt != e->session->attempt);
  switch (late ? HOST_QUESTIONS : q) {
  case HOST_DIAL: dialed(e, status, r, error); break;
  case HOST_PING: ponged(e, status, error); break;
  case HOST_CLOSE: host_closed(e, status, error); break;
  default: break;
  }
  if (q == HOST_STOP_READING) e->host->readers_out = true; /* also when its session is over: a stop waits for it */
  pthread_mutex_unlock(&e->lock);
  engine_kick(e);
  return q < HOST_QUESTIONS ? WSC_OK : WSC_ERR_STATE;
}

static bool current(const wsc_engine *e, uint64_t epoch) {
  return e->host && e->host->open && e->session && e->session->epoch == epoch;
}

int wsc_engine_report_read(wsc_engine *e, uint64_t epoch, wsc_error *error) {
  int bad = engine_usable(e, "report_read", NULL);
  if (bad) return bad;
  struct host_link *h = e->host;
  pthread_mutex_lock(&e->lock);
  if (!current(e, epoch)) {
    bad = WSC_ERR_CLOSED;
  } else if (wsc_error_status(error) == WSC_ERR_CLOSED || !error) {
    int code = wsc_error_close_code(error) ? wsc_error_close_code(error) : WSC_CLOSE_ABNORMAL;
    host_end(e, code == WSC_CLOSE_ABNORMAL ? WSC_BY_NETWORK : WSC_BY_PEER, code, WSC_TIMER_NONE,
             wsc_error_message(error), error_or(error, WSC_ERR_CLOSED, "read"));
  } else if (wsc_error_close_code(error)) {
    int code = wsc_error_close_code(error);
    host_end(e, WSC_BY_LOCAL, code, WSC_TIMER_NONE, wsc_error_message(error), wsc_error_ref(error));
    h->ended.code_sent = code;
  } else if (++h->read_errors >= READ_ERRORS_MOST) {
    cut(e, WSC_TIMER_NONE, "16 read errors in a row");
  } else {
    if (!e->read_error) e->read_error = wsc_error_ref(error); /* one OnReadError speaks for all before it ran */
  }
  pthread_mutex_unlock(&e->lock);
  engine_kick(e);
  return bad;
}

void wsc_engine_report_alive(wsc_engine *e, uint64_t epoch, uint64_t messages, uint64_t bytes) {
  if (engine_usable(e, "report_alive", NULL)) return;
  pthread_mutex_lock(&e->lock);
  if (current(e, epoch)) {
    int64_t now = os_now_ns();
    if (messages) e->host->read_errors = 0;
    e->host->traffic.messages_received += messages;
    e->host->traffic.bytes_received += bytes;
    keepalive_life(&e->host->alive, now);
    if (messages) keepalive_data(&e->host->alive, now);
  }
  pthread_mutex_unlock(&e->lock);
}
