/* The connection as a state machine: how it runs, how it lives and how it ends. The verbs are in connection_api.c. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "mem.h"
#include "os.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const int64_t FAILING_NS =
    NS_PER_S; /* a peer that breaks the rules is not waited for as long as one that closes */

void connection_log(wsc_connection *k, int level, const char *subsystem, const char *format, ...) {
  if (!k->owner || k->owner->log_level < level) return;
  char text[LOG_TEXT_MAX];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  k->owner->log(k->owner_self, level, subsystem, k->session_id, text);
}

static void set_offers(wsc_connection *k) {
  atomic_store_explicit(&k->offers, k->queue.head && !k->reads.head, memory_order_release);
}

/* ---- how it ends --------------------------------------------------------------------------------------------------- */

void connection_reason(wsc_connection *k, const char *text, size_t n) {
  mem_free(k->reason);
  k->reason = n ? mem_alloc(n + 1) : NULL;
  if (k->reason) {
    memcpy(k->reason, text, n);
    k->reason[n] = 0;
  }
  k->ended.reason = k->reason ? k->reason : "";
}

static wsc_error *closed_error(const wsc_connection *k) {
  const wsc_close *c = &k->ended;
  struct error_info info = {.status = WSC_ERR_CLOSED, .close_code = c->code};
  const char *who = c->initiator == WSC_BY_PEER ? "closed by the peer" : "closed";
  if (k->reason) return error_make(&info, "%s: %s with code %d: %s", k->url.shown, who, c->code, k->reason);
  return error_make(&info, "%s: %s with code %d", k->url.shown, who, c->code);
}

/* What an operation that ends with `status` is told: the connection's error, under that status. */
static wsc_error *told(const wsc_connection *k, int status) {
  if (!status || wsc_error_status(k->error) == status) return status ? wsc_error_ref(k->error) : NULL;
  struct error_info info = {.status = status, .cause = wsc_error_ref(k->error)};
  return error_make(&info, k->error ? "%s" : "%s: the session is over", wsc_status_text(status));
}

static void end_ops(wsc_connection *k, struct op_list *list, int status) {
  for (wsc_op *op; (op = list->head);) {
    op_list_remove(list, op);
    op_complete(op, status, told(k, status));
  }
}

void connection_end(wsc_connection *k, wsc_error *error) {
  if (k->state == CONN_ENDED) {
    wsc_error_unref(error);
    return;
  }
  if (k->adapted) adapted_end(k);
  enum connection_state was = k->state;
  dial_drop(k);
  if (k->transport.fd >= 0) poller_remove(&k->loop->poller, k->transport.fd);
  if (was >= CONN_OPEN && !k->finished) transport_finish(&k->transport);
  transport_close(&k->transport);
  if (k->receiver_made) receiver_free(&k->receiver);
  k->receiver_made = false;
  k->ended.unsent_bytes = k->tx_bytes;
  send_drop(k);
  k->state = CONN_ENDED;
  k->readable = k->again = false;
  k->deadline_ns = k->due_ns = 0;
  if (was < CONN_OPEN) {
    k->ended.initiator = k->dial_aborted ? WSC_BY_LOCAL : WSC_BY_NETWORK;
    k->ended.timer = error_timer(error);
    k->ended.code = WSC_CLOSE_ABNORMAL;
  }
  if (k->error) wsc_error_unref(error);
  else k->error = error ? error : closed_error(k);
  k->news |= NEWS_ENDED;
  if (was >= CONN_OPEN && !k->shut_by_owner) k->news |= NEWS_LOST;
  if (was >= CONN_OPEN) connection_log(k, WSC_LOG_INFO, "connection", "%s", wsc_error_message(k->error));
  int timed_out = k->ended.timer == WSC_TIMER_CLOSE ? wsc_error_status(k->error) : WSC_OK;
  end_ops(k, &k->dials, wsc_error_status(k->error));
  end_ops(k, &k->closes, was == CONN_CLOSING ? timed_out : WSC_ERR_CLOSED);
  end_ops(k, &k->writes, WSC_ERR_CLOSED);
  end_ops(k, &k->pings, WSC_ERR_CLOSED);
  connection_serve_reads(k);
  end_ops(k, &k->reads, WSC_ERR_CLOSED);
  set_offers(k);
}

void connection_dead(wsc_connection *k, int timer, wsc_error *error) {
  k->ended.initiator = WSC_BY_NETWORK;
  k->ended.code = WSC_CLOSE_ABNORMAL;
  k->ended.timer = timer;
  const char *text = wsc_error_message(error);
  connection_reason(k, text, strlen(text));
  k->finished = true; /* a dead link is cut, not closed politely */
  connection_end(k, error);
}

void connection_lost(wsc_connection *k, const char *what, ssize_t result) {
  if (k->state != CONN_OPEN) { /* the close frames have said what there was to say */
    connection_end(k, NULL);
    return;
  }
  char text[128];
  if (result == 0 && k->broken &&
      k->broken != -EPIPE) { /* the write took the socket's error: it says more than the end */
    what = "writing";
    result = k->broken;
  }
  struct error_info info = {
      .status = WSC_ERR_CLOSED, .close_code = WSC_CLOSE_ABNORMAL, .os_error = result == -EPROTO ? 0 : (int)-result};
  k->ended.os_error = info.os_error;
  if (result == 0)
    connection_dead(k, WSC_TIMER_NONE,
                    error_make(&info, "%s: the peer ended the stream without a close frame", k->url.shown));
  else
    connection_dead(k, WSC_TIMER_NONE,
                    error_make(&info, "%s: connection lost while %s: %s", k->url.shown, what,
                               transport_error(&k->transport, result, text)));
}

void connection_fail(wsc_connection *k, int code, const char *reason, int status, const char *detail) {
  if (k->state != CONN_OPEN) {
    k->broken = -EPROTO; /* closing anyway: do not wait for the rest */
    actor_kick(k->actor, 0);
    return;
  }
  struct error_info info = {.status = status, .close_code = code};
  k->error = error_make(&info, "%s: closed with %d: %s", k->url.shown, code, detail);
  k->ended.initiator = WSC_BY_LOCAL;
  k->ended.code = code;
  connection_reason(k, reason, strlen(reason));
  send_close(k, code, reason);
  k->state = CONN_FAILING;
  int64_t wait = k->close_timeout_ns < FAILING_NS ? k->close_timeout_ns : FAILING_NS;
  k->deadline_ns = os_now_ns() + wait;
  actor_kick(k->actor, 0); /* a sender's thread may have found the fault */
}

/* ---- how it runs --------------------------------------------------------------------------------------------------- */

/* A dial whose operation was cancelled or timed out ends with that. */
static void check_dial_op(wsc_connection *k, int64_t now) {
  wsc_op *op = k->dials.head;
  if (!op || k->state >= CONN_OPEN) return;
  int due = k->dial_aborted ? WSC_ERR_CANCELED : op_due(op, now);
  if (!due) {
    k->due_ns = earlier(k->due_ns, op->deadline_ns);
    return;
  }
  k->news |= NEWS_DIAL_FAILED;
  connection_end(k, error_make(&(struct error_info){.status = due}, "%s: dial %s while %s", k->url.shown,
                               due == WSC_ERR_TIMEOUT ? "timed out" : "was canceled", dial_step_name(k->state)));
}

static void run_open(wsc_connection *k, uint32_t why, int64_t now) {
  if (why & ACTOR_SLEPT) keepalive_probe(&k->alive, now);
  if (why & POLLER_WRITE || !k->blocked) send_flush(k, now);
  if (k->broken && !k->read_out) k->read_out = k->readable = true;
  receive_run(k, now);
  if (k->state == CONN_ENDED) return;
  bool nothing_more = (k->read_out && !receive_pending(k)) || k->state != CONN_OPEN || k->broken == -ENOMEM;
  if (k->broken && nothing_more) { /* what the peer sent before, its close frame perhaps, comes first */
    connection_lost(k, "writing", k->broken);
    return;
  }
  send_admit(k);
  if (k->state == CONN_ECHOING && !k->tx_head) connection_end(k, NULL);
  if (k->state == CONN_FAILING && !k->tx_head && !k->finished) {
    transport_finish(&k->transport);
    k->finished = true;
  }
  connection_keepalive(k, now);
}

static void check_close_deadline(wsc_connection *k, int64_t now) {
  if (k->state < CONN_CLOSING || k->state == CONN_ENDED || !k->deadline_ns || k->deadline_ns > now) return;
  if (k->state != CONN_CLOSING) {
    connection_end(k, NULL);
    return;
  }
  k->ended.timer = WSC_TIMER_CLOSE;
  struct error_info info = {.status = WSC_ERR_TIMEOUT, .close_code = k->ended.code, .timer = WSC_TIMER_CLOSE};
  connection_end(k, error_make(&info, "%s: the peer did not answer the close frame within %lld ms; socket closed",
                               k->url.shown, (long long)(k->close_timeout_ns / NS_PER_MS)));
}

void connection_run(wsc_connection *k, uint32_t why, int64_t now) {
  pthread_mutex_lock(&k->lock);
  if (why & POLLER_HANGUP) k->hangup = true;
  if (why & (POLLER_READ | POLLER_HANGUP)) k->readable = true;
  k->again = false;
  if (k->abandoned && k->state != CONN_ENDED)
    connection_end(k, error_make(&(struct error_info){.status = WSC_ERR_CLOSED, .close_code = WSC_CLOSE_GOING_AWAY},
                                 "%s: given up", k->url.shown));
  k->due_ns = op_list_expire(&k->reads, why, now, "read");
  k->due_ns = earlier(k->due_ns, op_list_expire(&k->writes, why, now, "write"));
  k->due_ns = earlier(k->due_ns, op_list_expire(&k->pings, why, now, "ping"));
  k->due_ns = earlier(k->due_ns, op_list_expire(&k->closes, why, now, "close"));
  if (k->state > CONN_NEW && k->state < CONN_OPEN) {
    check_dial_op(k, now);
    if (!k->adapted) dial_run(k, now);
  }
  if (k->adapted) {
    if (why & ACTOR_SLEPT) keepalive_probe(&k->alive, now);
    adapted_run(k, now);
  } else {
    if (k->state >= CONN_OPEN && k->state != CONN_ENDED) run_open(k, why, now);
    check_close_deadline(k, now);
  }
  if (k->state != CONN_ENDED) k->due_ns = earlier(k->due_ns, k->deadline_ns);
  pthread_mutex_unlock(&k->lock);
}

/* ---- for its owner ------------------------------------------------------------------------------------------------- */

void connection_begin_close(wsc_connection *k, int code, const char *reason) {
  connection_reason(k, reason, strlen(reason));
  k->ended.initiator = WSC_BY_LOCAL;
  k->ended.code = code;
  send_close(k, code, reason);
  k->state = CONN_CLOSING;
  k->deadline_ns = os_now_ns() + k->close_timeout_ns;
  receive_hold(k, false); /* the peer's close frame may be behind what was held back */
}

void connection_shut(wsc_connection *k, int code, const char *reason) {
  pthread_mutex_lock(&k->lock);
  k->shut_by_owner = true;
  if (k->state == CONN_OPEN) connection_begin_close(k, code, reason);
  pthread_mutex_unlock(&k->lock);
  actor_kick(k->actor, 0);
}

void connection_abort(wsc_connection *k, int code) {
  pthread_mutex_lock(&k->lock);
  k->shut_by_owner = k->dial_aborted = true;
  if (k->state == CONN_OPEN) {
    k->ended.initiator = WSC_BY_LOCAL;
    k->ended.code = code ? code : WSC_CLOSE_ABNORMAL;
    if (code && !k->blocked) send_close(k, code, "");
  }
  if (k->state != CONN_ENDED)
    connection_end(k, error_make(&(struct error_info){.status = WSC_ERR_CLOSED, .close_code = code}, "%s: given up",
                                 k->url.shown));
  pthread_mutex_unlock(&k->lock);
}

unsigned connection_take_news(wsc_connection *k) { return k->news ? atomic_exchange(&k->news, 0) : 0; }

void connection_fence(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  k->fenced = true;
  end_ops(k, &k->writes, WSC_ERR_CLOSED);
  connection_serve_reads(k);
  end_ops(k, &k->reads, WSC_ERR_CLOSED);
  set_offers(k);
  pthread_mutex_unlock(&k->lock);
}

void connection_end_reads(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  k->deaf = true;
  end_ops(k, &k->reads, WSC_ERR_CLOSED);
  set_offers(k);
  pthread_mutex_unlock(&k->lock);
}

void connection_drop(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  k->traffic.dropped += batch_queue_clear(&k->queue);
  set_offers(k);
  receive_hold(k, false);
  if (k->adapted) actor_kick(k->actor, 0); /* there is room again */
  pthread_mutex_unlock(&k->lock);
}

/* Taking makes room: the socket may be read again. */
static void made_room(wsc_connection *k, bool was_full) {
  bool waits = k->held || (was_full && k->readable);
  if (waits && !receive_full(k)) actor_kick(k->actor, 0);
}

bool connection_has_batch(wsc_connection *k) { return atomic_load_explicit(&k->offers, memory_order_acquire); }

struct wsc_batch *connection_take(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  bool full = receive_full(k);
  struct wsc_batch *b = k->reads.head ? NULL : batch_queue_pop(&k->queue);
  set_offers(k);
  made_room(k, full);
  pthread_mutex_unlock(&k->lock);
  return b;
}

void connection_give_back(wsc_connection *k, struct wsc_batch *b) {
  pthread_mutex_lock(&k->lock);
  batch_queue_push_front(&k->queue, b);
  connection_serve_reads(k);
  pthread_mutex_unlock(&k->lock);
}

bool connection_queue_empty(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  bool empty = !k->queue.head;
  pthread_mutex_unlock(&k->lock);
  return empty;
}

wsc_error *connection_error(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  wsc_error *e = wsc_error_ref(k->error);
  pthread_mutex_unlock(&k->lock);
  return e;
}

/* ---- reading one message ------------------------------------------------------------------------------------------- */

static int take_message(wsc_connection *k, wsc_message *out) {
  struct wsc_batch *b = k->queue.head;
  if (batch_message(b, b->taken, out)) return WSC_ERR_NOMEM;
  bool full = receive_full(k);
  batch_queue_pass(&k->queue);
  made_room(k, full);
  return WSC_OK;
}

void connection_serve_reads(wsc_connection *k) {
  while (k->reads.head && k->queue.head) {
    wsc_op *op = k->reads.head;
    int r = take_message(k, &op->message);
    op_list_remove(&k->reads, op);
    op_complete(op, r, r ? error_make(&(struct error_info){.status = r}, "read: out of memory for a message") : NULL);
  }
  if (k->adapted && k->reads.head) adapted_serve_read(k);
  set_offers(k);
}
