/* A connection over a user's adapter: what its slots have brought becomes what the built-in connection would have found on its socket. Queues,
 * operations, counters and ends are those of every connection. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "mem.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { READ_ERRORS_MOST = 16 };                  /* in a row without a message: the link is as good as dead */
static const int64_t SLACK_NS = 100 * NS_PER_MS; /* past its deadline, for a slot that obeys it to say so itself */
static const int64_t LAST_WORDS_NS = NS_PER_S;   /* for slots to return when the connection has ended by itself */
static const int64_t PING_LEAST_NS = NS_PER_S;   /* a ping slot is given; keepalive's own clock may be shorter */

int adapted_new(wsc_connection *k, struct actor *actor) {
  struct adapted *a = mem_zalloc(sizeof *a);
  uint64_t most = (uint64_t)options_int(k->options, WSC_OPT_MAX_MESSAGE_BYTES);
  if (!a || slots_new(options_adapter(k->options), actor, most, &a->slots)) {
    mem_free(a);
    return WSC_ERR_NOMEM;
  }
  adapted_free(k); /* of the dial before */
  k->adapted = a;
  return WSC_OK;
}

void adapted_free(wsc_connection *k) {
  struct adapted *a = k->adapted;
  if (!a) return;
  k->adapted = NULL;
  slots_let_go(a->slots, WSC_CLOSE_GOING_AWAY);
  wsc_error_unref(a->read_error);
  wsc_error_unref(a->write_error);
  mem_free(a);
}

int adapted_write(wsc_connection *k, int type, const uint8_t *p, size_t n) {
  int r = slots_write(k->adapted->slots, type, p, n);
  if (!r) k->tx_bytes += n;
  return r;
}

int adapted_ping(wsc_connection *k) {
  int64_t timeout = k->alive.timeout > PING_LEAST_NS ? k->alive.timeout : PING_LEAST_NS;
  uint64_t oldest = k->pings.head ? k->pings.head->serial : k->ping_serial;
  int r = slots_ping(k->adapted->slots, k->ping_serial, oldest, timeout);
  if (!r && k->ping_queued) {
    k->ping_queued = false;
    life_ping_left(k, os_now_ns());
  }
  return r;
}

void adapted_close(wsc_connection *k, int code, const char *reason) {
  slots_close(k->adapted->slots, code, reason, k->close_timeout_ns);
  k->ended.code_sent = code;
}

/* ---- how it ends --------------------------------------------------------------------------------------------------- */

/* The adapter's connection is gone. Slots that have not noticed get a moment. */
static void wind_up(wsc_connection *k, int64_t now) {
  k->adapted->closed = true;
  slots_cancel(k->adapted->slots);
  k->deadline_ns = now + (k->close_timeout_ns < LAST_WORDS_NS ? k->close_timeout_ns : LAST_WORDS_NS);
}

static void lost(wsc_connection *k, wsc_error *e, int64_t now) {
  int status = wsc_error_status(e), code = wsc_error_close_code(e);
  if (!code) code = WSC_CLOSE_ABNORMAL;
  bool by_network = status == WSC_ERR_CLOSED && code == WSC_CLOSE_ABNORMAL;
  k->ended.initiator = status != WSC_ERR_CLOSED ? WSC_BY_LOCAL : by_network ? WSC_BY_NETWORK : WSC_BY_PEER;
  k->ended.code = code;
  if (k->ended.initiator == WSC_BY_PEER) k->ended.code_received = code;
  if (!by_network) k->ended.code_sent = code; /* the peer's is echoed (RFC 6455 section 5.5.1): the adapter's to do */
  k->ended.os_error = wsc_error_os_error(e);
  k->ended.timer = error_timer(e);
  const char *reason = wsc_error_message(e);
  connection_reason(k, reason, strlen(reason));
  struct error_info info = {.status = status,
                            .close_code = code,
                            .os_error = k->ended.os_error,
                            .timer = k->ended.timer,
                            .plain = true,
                            .cause = e};
  const char *who = by_network ? "connection lost" : status == WSC_ERR_CLOSED ? "closed by the peer" : "closed";
  const wsc_error *detail = wsc_error_cause(e); /* of what the adapter found wrong; the message is the reason it sent */
  k->state = CONN_ECHOING;
  if (detail && status != WSC_ERR_CLOSED) k->error = error_make(&info, "%s", wsc_error_message(detail));
  else k->error = error_make(&info, "%s: %s with code %d%s%s", k->url.shown, who, code, *reason ? ": " : "", reason);
  wind_up(k, now);
}

/* Cut: the adapter is told to close when the connection has ended. */
static void dead(wsc_connection *k, int timer, const char *what, wsc_error *cause) {
  struct error_info info = {.status = WSC_ERR_CLOSED,
                            .close_code = WSC_CLOSE_ABNORMAL,
                            .timer = timer,
                            .os_error = wsc_error_os_error(cause),
                            .cause = cause};
  k->ended.os_error = info.os_error;
  connection_dead(k, timer, error_make(&info, "%s: %s", k->url.shown, what));
}

static void read_failed(wsc_connection *k, wsc_error *e, int64_t now) {
  struct adapted *a = k->adapted;
  int status = wsc_error_status(e), code = wsc_error_close_code(e);
  if (k->state != CONN_OPEN) {
    if (k->state == CONN_CLOSING && status == WSC_ERR_CLOSED && code != WSC_CLOSE_ABNORMAL)
      k->ended.code_received = code;
    wsc_error_unref(e);
  } else if (status == WSC_ERR_CLOSED || code) {
    lost(k, e, now);
  } else if (status == WSC_ERR_TOO_BIG) {
    connection_fail(k, WSC_CLOSE_TOO_BIG, "message too big", status, wsc_error_message(e));
    wsc_error_unref(e);
  } else if (status == WSC_ERR_NOMEM) { /* what was to be read may be lost */
    connection_fail(k, WSC_CLOSE_INTERNAL_ERROR, "out of memory", status, wsc_error_message(e));
    wsc_error_unref(e);
  } else if (++a->read_errors >= READ_ERRORS_MOST) {
    dead(k, WSC_TIMER_NONE, "16 read errors in a row", e);
  } else {
    a->read_error = e; /* there is none: the reader waits for this one to be heard of */
    connection_serve_reads(k);
  }
}

/* What the peer sent before, its close perhaps, comes first; but not without end. */
static void write_failed(wsc_connection *k, wsc_error *e, int64_t now) {
  if (k->state != CONN_OPEN || k->adapted->failing) {
    wsc_error_unref(e);
    return;
  }
  k->adapted->failing = true;
  k->adapted->write_error = e;
  k->broken = -EPIPE;
  k->deadline_ns = now + LAST_WORDS_NS;
}

static void pinged(wsc_connection *k, const struct slots_news *n) {
  if (k->state != CONN_OPEN) return;
  int64_t now = n->ping_ended_ns;
  if (!n->ping) {
    keepalive_life(&k->alive, now);
    k->looked = false;
    k->last_byte_ns = now;
    k->ping_at_ns = n->ping_began_ns;
    uint8_t payload[8];
    memcpy(payload, &n->pong_serial, sizeof payload);
    connection_pong(k, payload, sizeof payload, now);
    return;
  }
  for (wsc_op *op; (op = k->pings.head) && op->serial <= n->pong_serial;) {
    op_list_remove(&k->pings, op);
    op_complete(op, wsc_error_status(n->ping), wsc_error_ref(n->ping));
  }
  if (k->alive.ping_left)
    dead(k, WSC_TIMER_KEEPALIVE, "link is dead: the keepalive ping failed", wsc_error_ref(n->ping));
}

/* ---- how it runs --------------------------------------------------------------------------------------------------- */

/* A slot that says no more than that its time was over does not know which time that was. */
static wsc_error *dial_failure(wsc_connection *k, wsc_error *e, int64_t now) {
  wsc_error_ref(e);
  if (wsc_error_status(e) != WSC_ERR_TIMEOUT || !k->deadline_ns || now < k->deadline_ns - SLACK_NS) return e;
  struct error_info info = {.status = WSC_ERR_TIMEOUT, .timer = WSC_TIMER_CONNECT, .cause = e};
  return error_make(&info, "%s: no connection within %lld ms", k->url.shown,
                    (long long)(k->connect_timeout_ns / NS_PER_MS));
}

static void dialing(wsc_connection *k, struct slots_news *n, int64_t now) {
  struct adapted *a = k->adapted;
  if (!a->dialing && slots_claim(a->slots)) {
    a->dialing = true;
    if (slots_dial(a->slots, &k->url, k->options, k->deadline_ns)) {
      dial_ended(k, error_make(&(struct error_info){.status = WSC_ERR_NOMEM},
                               "%s: out of memory, or of threads, for the adapter's dial", k->url.shown));
      return;
    }
    if (k->deadline_ns) k->deadline_ns += SLACK_NS;
  }
  if (n->dialed && !n->dial) {
    k->response = n->answer;
    n->answer = NULL;
    dial_opened(k, now);
  } else if (n->dialed) {
    dial_ended(k, dial_failure(k, n->dial, now));
  } else if (k->deadline_ns && k->deadline_ns <= now) {
    struct error_info info = {.status = WSC_ERR_TIMEOUT, .timer = WSC_TIMER_CONNECT};
    dial_ended(k, a->dialing
                      ? dial_timed_out(k)
                      : error_make(&info, "%s: the adapter is still busy with the connection before", k->url.shown));
  }
}

static void run_open(wsc_connection *k, struct slots_news *n, int64_t now) {
  if (n->batches.head) {
    keepalive_life(&k->alive, now);
    keepalive_data(&k->alive, now);
    k->looked = false;
    k->last_byte_ns = now;
    k->adapted->read_errors = 0;
    receive_batches(k, &n->batches);
  }
  if (n->pong_serial) pinged(k, n);
  if (k->pings.head)
    slots_ping_oldest(k->adapted->slots, k->pings.head->serial); /* one before it may have been given up */
  if (n->read) read_failed(k, n->read, now);
  n->read = NULL;
  if (n->write) write_failed(k, n->write, now);
  n->write = NULL;
  if (k->state != CONN_OPEN) return;
  send_admit(k);
  bool full = receive_full(k);
  if (k->adapted->failing && k->deadline_ns <= now && !full) {
    wsc_error *e = k->adapted->write_error;
    k->adapted->write_error = NULL;
    dead(k, WSC_TIMER_NONE, "connection lost while writing", e);
    return;
  }
  if (k->adapted->failing && k->deadline_ns <= now) k->deadline_ns = now + LAST_WORDS_NS;
  receive_hold(k, full);
  slots_room(k->adapted->slots, full ? 0 : k->receive_bytes - k->queue.cost);
  connection_keepalive(k, now);
}

/* A close that failed, as CLOSE_ERROR tells it; that there was nothing to close any more is no failure. */
static void closed(wsc_connection *k, wsc_error *e, int64_t now) {
  if (e && wsc_error_status(e) != WSC_ERR_CLOSED && k->state == CONN_CLOSING) {
    k->ended.timer = WSC_TIMER_CLOSE;
    wsc_error_unref(k->error);
    k->error = wsc_error_ref(e);
  }
  wind_up(k, now);
}

static wsc_error *close_timed_out(wsc_connection *k) {
  k->ended.timer = WSC_TIMER_CLOSE;
  struct error_info info = {.status = WSC_ERR_TIMEOUT, .close_code = k->ended.code, .timer = WSC_TIMER_CLOSE};
  return error_make(&info, "%s: the adapter has not closed within %lld ms", k->url.shown,
                    (long long)(k->close_timeout_ns / NS_PER_MS));
}

static void run_closing(wsc_connection *k, struct slots_news *n, int64_t now) {
  struct adapted *a = k->adapted;
  if (k->state == CONN_CLOSING && (n->written || n->close_began)) k->deadline_ns = now + k->close_timeout_ns + SLACK_NS;
  if (n->closed) closed(k, n->close, now);
  slots_room(a->slots, UINT64_MAX); /* what comes is dropped; how the reader ends may say more */
  if (a->closed && n->idle) connection_end(k, NULL);
  else if (k->deadline_ns <= now) connection_end(k, k->state == CONN_CLOSING && !a->closed ? close_timed_out(k) : NULL);
}

/* Frees what nobody has taken. */
static void news_free(struct slots_news *n) {
  wsc_error_unref(n->dial);
  wsc_error_unref(n->read);
  wsc_error_unref(n->write);
  wsc_error_unref(n->ping);
  wsc_error_unref(n->close);
  wsc_response_free(n->answer);
  batch_queue_clear(&n->batches);
}

static void collect(wsc_connection *k, struct slots_news *n) {
  slots_collect(k->adapted->slots, n);
  k->tx_bytes -= n->written;
}

void adapted_run(wsc_connection *k, int64_t now) {
  if (k->state == CONN_NEW || k->state == CONN_ENDED) return;
  struct slots_news n;
  collect(k, &n);
  if (k->state == CONN_ADAPTING) dialing(k, &n, now);
  if (k->state >= CONN_OPEN && k->state != CONN_ENDED) run_open(k, &n, now);
  if (k->state > CONN_OPEN && k->state != CONN_ENDED) run_closing(k, &n, now);
  news_free(&n);
}

void adapted_end(wsc_connection *k) {
  struct slots_news n;
  if (k->state != CONN_ENDED && k->adapted->slots) {
    collect(k, &n);
    if (k->state >= CONN_OPEN) receive_batches(k, &n.batches);
    news_free(&n);
  }
  slots_let_go(k->adapted->slots, WSC_CLOSE_GOING_AWAY);
  k->adapted->slots = NULL;
}

/* ---- read errors that are no end ------------------------------------------------------------------------------------ */

void adapted_serve_read(wsc_connection *k) {
  struct adapted *a = k->adapted;
  if (k->queue.head || k->state != CONN_OPEN) return;
  if (!a->read_error) { /* OnReadError has it, and reads on */
    slots_read_on(a->slots);
    return;
  }
  wsc_op *op = k->reads.head;
  op_list_remove(&k->reads, op);
  op_complete(op, wsc_error_status(a->read_error), a->read_error);
  a->read_error = NULL;
  slots_read_on(a->slots);
}

bool connection_has_read_error(wsc_connection *k) {
  if (!k->adapted) return false;
  pthread_mutex_lock(&k->lock);
  bool has = k->adapted->read_error && !k->queue.head && !k->reads.head && k->state == CONN_OPEN;
  pthread_mutex_unlock(&k->lock);
  return has;
}

wsc_error *connection_take_read_error(wsc_connection *k) {
  if (!k->adapted) return NULL;
  pthread_mutex_lock(&k->lock);
  wsc_error *e = k->adapted->read_error;
  k->adapted->read_error = NULL;
  pthread_mutex_unlock(&k->lock);
  return e;
}

void connection_read_on(wsc_connection *k) {
  if (!k->adapted) return;
  pthread_mutex_lock(&k->lock);
  if (k->adapted->slots) slots_read_on(k->adapted->slots);
  pthread_mutex_unlock(&k->lock);
}
