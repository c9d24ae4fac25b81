/* The connection's public verbs: making one, begin and wait, and what can be asked of it. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "frame.h"
#include "mem.h"
#include "os.h"
#include "sized.h"
#include "trace_verbs.h"
#include "utf8.h"
#include "wire_log.h"

#include <string.h>

/* ---- making and freeing -------------------------------------------------------------------------------------------- */

static void release(wsc_connection *k) {
  adapted_free(k);
  dial_drop(k);
  if (k->transport.fd >= 0) {
    if (!k->finished && k->state >= CONN_OPEN) transport_finish(&k->transport);
    poller_remove(&k->loop->poller, k->transport.fd);
  }
  transport_close(&k->transport);
  if (k->receiver_made) receiver_free(&k->receiver);
  batch_queue_clear(&k->queue);
  send_drop(k);
  wsc_response_free(k->response);
  wsc_error_unref(k->error);
  redirect_return(k);
  mem_free(k->reason);
  url_free(&k->url);
  tls_context_unref(k->trust);
  wsc_options_free(k->options);
  pthread_mutex_destroy(&k->lock);
}

static void release_memory(struct actor *a) {
  mem_free((wsc_connection *)(void *)((char *)a - offsetof(wsc_connection, own)));
}

static void own_destroy(struct actor *a) {
  wsc_connection *k = (wsc_connection *)(void *)((char *)a - offsetof(wsc_connection, own));
  actor_leave(a);
  release(k);
  actor_bury(a, release_memory);
}

/* A connection without an engine is its own actor; its timer is all that is left to arrange. */
static void own_run(struct actor *a, uint32_t why) {
  wsc_connection *k = (wsc_connection *)(void *)((char *)a - offsetof(wsc_connection, own));
  connection_run(k, why, os_now_ns());
  connection_take_news(k);
  actor_timer(a, why, k->due_ns); /* no lock: only this run sets them */
  if (k->again) actor_kick(a, 0);
}

static int64_t ms(const wsc_connection *k, int option) { return options_int(k->options, option) * NS_PER_MS; }

int connection_new(wsc_loop *loop, struct actor *actor, const struct url *url, wsc_options *options,
                   struct tls_context *trust, const struct connection_owner *owner, void *owner_self,
                   wsc_connection **out, wsc_error **err) {
  wsc_connection *k = mem_zalloc(sizeof *k);
  if (!k) return error_set(err, WSC_ERR_NOMEM, "out of memory for a connection");
  pthread_mutex_init(&k->lock, NULL);
  atomic_init(&k->refs, 1);
  k->generation = loop->generation;
  k->transport.fd = -1;
  k->loop = loop;
  k->owner = owner;
  k->owner_self = owner_self;
  k->traced = owner ? owner->traced : NULL;
  k->traces = owner && owner->log_level >= WSC_LOG_TRACE;
  k->options = options_ref(options);
  k->rtt_last_ns = k->rtt_smoothed_ns = -1;
  k->ended.struct_size = sizeof k->ended;
  k->ended.reason = "";
  if (url_copy(url, &k->url)) goto fail;
  k->trust = trust ? tls_context_ref(trust) : NULL;
  k->connect_timeout_ns = ms(k, WSC_OPT_CONNECT_TIMEOUT_MS);
  k->close_timeout_ns = ms(k, WSC_OPT_CLOSE_TIMEOUT_MS);
  k->alive.interval = ms(k, WSC_OPT_KEEPALIVE_INTERVAL_MS);
  k->alive.timeout = ms(k, WSC_OPT_KEEPALIVE_TIMEOUT_MS);
  k->alive.data_idle = ms(k, WSC_OPT_DATA_IDLE_TIMEOUT_MS);
  k->receive_bytes = (uint64_t)options_int(options, WSC_OPT_RECEIVE_QUEUE_BYTES);
  k->send_bytes = (uint64_t)options_int(options, WSC_OPT_SEND_QUEUE_BYTES);
  k->fragment_bytes = (uint64_t)options_int(options, WSC_OPT_FRAGMENT_BYTES);
  k->compress_from = (uint64_t)options_int(options, WSC_OPT_COMPRESSION_THRESHOLD_BYTES);
  receiver_init(&k->receiver, loop->pool, (uint64_t)options_int(options, WSC_OPT_MAX_MESSAGE_BYTES));
  k->receiver_made = true;
  if (options_adapter(options) && adapted_new(k, actor ? actor : &k->own)) goto fail;
  if (k->traces) receiver_trace(&k->receiver, wire_log_received, k);
  if (!actor) {
    k->own.run = own_run;
    k->own.destroy = own_destroy;
    atomic_init(&k->own.refs, 1);
    actor = &k->own;
    if (actor_join(actor, loop)) goto fail;
  } else {
    actor_ref(actor); /* a user may keep the connection longer than its engine */
  }
  k->actor = actor;
  *out = k;
  return WSC_OK;
fail:
  release(k);
  mem_free(k);
  return error_set(err, WSC_ERR_NOMEM, "out of memory for a connection");
}

int wsc_connection_new(wsc_loop *loop, const char *url, const wsc_options *o, wsc_connection **out, wsc_error **err) {
  if (!out) return error_set(err, WSC_ERR_INVALID, "wsc_connection_new: out is NULL");
  *out = NULL;
  if (loop && loop_forked(loop))
    return error_set(err, WSC_ERR_FORKED, "connection: the loop belongs to the parent process");
  struct url parsed = {0};
  struct tls_context *trust = NULL;
  wsc_options *snapshot = NULL;
  int r = wsc_options_validate(o, err);
  if (r || (r = url_parse(url, &parsed, err))) return r;
  snapshot = options_snapshot(o);
  if (!snapshot) {
    r = error_set(err, WSC_ERR_NOMEM, "out of memory for a connection");
    goto done;
  }
  if (parsed.secure && !options_adapter(snapshot) && (r = tls_context_new(snapshot, &trust, err))) goto done;
  if (loop) loop_ref(loop);
  else if ((r = loop_default(options_int(snapshot, WSC_OPT_CREW_MAX_THREADS), &loop, err))) goto done;
  r = connection_new(loop, NULL, &parsed, snapshot, trust, NULL, NULL, out, err);
  loop_unref(loop); /* the actor holds one of its own */
done:
  tls_context_unref(trust);
  wsc_options_free(snapshot);
  url_free(&parsed);
  return r;
}

wsc_connection *wsc_connection_ref(wsc_connection *k) {
  if (k) atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
  return k;
}

void connection_give_up(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  k->abandoned = true;
  pthread_mutex_unlock(&k->lock);
  actor_kick(k->actor, 0);
}

/* In the child of a fork only this process's copy of the fd may go: the loop, the locks and the TLS session are the parent's. */
static void free_forked(wsc_connection *k) {
  struct transport socket_only = {.fd = k->transport.fd};
  transport_close(&socket_only);
  k->transport.fd = -1;
}

void wsc_connection_unref(wsc_connection *k) {
  if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1) return;
  if (k->generation != os_fork_generation()) {
    free_forked(k);
  } else if (k->actor == &k->own) {
    connection_give_up(k); /* operations under way hold the rest; they end with it */
    actor_unref(&k->own);
  } else {
    struct actor *engine = k->actor;
    release(k);
    mem_free(k);
    actor_unref(engine);
  }
}

/* ---- beginning ----------------------------------------------------------------------------------------------------- */

static int usable(const wsc_connection *k, const char *verb, wsc_error **err) {
  if (!k) return error_set(err, WSC_ERR_INVALID, "%s: connection is NULL", verb);
  if (k->generation != os_fork_generation())
    return error_set(err, WSC_ERR_FORKED, "%s: the connection belongs to the parent process", verb);
  return WSC_OK;
}

/* The lock is held. Why a verb finds no open connection. */
static int not_open(wsc_connection *k, const char *verb, wsc_error **err) {
  if (k->state == CONN_NEW) return error_set(err, WSC_ERR_STATE, "%s: the connection was never dialed", verb);
  if (k->state < CONN_OPEN) return error_set(err, WSC_ERR_STATE, "%s: the connection is still dialing", verb);
  struct error_info info = {.status = WSC_ERR_CLOSED, .close_code = k->ended.code, .cause = wsc_error_ref(k->error)};
  if (k->error) return error_set_info(err, &info, "%s", verb);
  return error_set_info(err, &info, "%s: the connection is closing", verb);
}

static int begin(wsc_connection *k, enum op_kind kind, const wsc_context *c, uint64_t token, wsc_op **out,
                 wsc_error **err) {
  return op_new(kind, k->actor, NULL, NULL, c, token, out, err);
}

/* The operation goes to its list, and the actor looks at deadlines and cancellation. Lets the lock go. */
static int enlist(wsc_connection *k, struct op_list *list, wsc_op *op, wsc_op **out) {
  op_list_push(list, op);
  pthread_mutex_unlock(&k->lock);
  actor_kick(k->actor, 0);
  return op_begun(op, out);
}

static int unlock_with(wsc_connection *k, int r) {
  pthread_mutex_unlock(&k->lock);
  return r;
}

/* An ended connection without an engine may dial again. WSC_OK or WSC_ERR_NOMEM: nothing has changed. */
static int renew(wsc_connection *k) {
  if (options_adapter(k->options) && adapted_new(k, k->actor)) return WSC_ERR_NOMEM;
  redirect_return(k);
  batch_queue_clear(&k->queue);
  wsc_response_free(k->response);
  wsc_error_unref(k->error);
  k->response = NULL;
  k->error = NULL;
  receiver_init(&k->receiver, k->loop->pool, (uint64_t)options_int(k->options, WSC_OPT_MAX_MESSAGE_BYTES));
  k->receiver_made = true;
  k->hangup = k->held = k->disarmed = k->finished = k->dial_aborted = k->shut_by_owner = false;
  k->broken = 0;
  k->peer_code = 0;
  k->corks = 0;
  k->read_out = k->looked = k->deaf = false;
  k->news = 0;
  k->ended = (wsc_close){.struct_size = sizeof k->ended};
  connection_reason(k, "", 0);
  return WSC_OK;
}

int wsc_connection_dial_begin(wsc_connection *k, const wsc_context *c, uint64_t token, wsc_op **out, wsc_error **err) {
  int r = usable(k, "dial", err);
  if (r) return r;
  if (k->actor != &k->own) return error_set(err, WSC_ERR_STATE, "dial: the engine dials this connection");
  wsc_op *op;
  if ((r = begin(k, OP_DIAL, c, token, &op, err))) return r;
  pthread_mutex_lock(&k->lock);
  if (k->state != CONN_NEW && k->state != CONN_ENDED) {
    pthread_mutex_unlock(&k->lock);
    op_refuse(op);
    return error_set(err, WSC_ERR_STATE, "dial: the connection is open or dialing already");
  }
  if (k->state == CONN_ENDED && (r = renew(k))) {
    pthread_mutex_unlock(&k->lock);
    op_refuse(op);
    return error_set(err, r, "dial: out of memory");
  }
  op_list_push(&k->dials, op);
  dial_start(k);
  pthread_mutex_unlock(&k->lock);
  actor_kick(k->actor, 0);
  return op_begun(op, out);
}

int wsc_connection_dial(wsc_connection *k, const wsc_context *c, wsc_error **err) {
  wsc_op *op;
  int r = wsc_connection_dial_begin(k, c, 0, &op, err);
  return r ? r : op_finish(op, err);
}

int wsc_connection_read_begin(wsc_connection *k, const wsc_context *c, uint64_t token, wsc_op **out, wsc_error **err) {
  int r = usable(k, "read", err);
  if (r) return r;
  wsc_op *op;
  if ((r = begin(k, OP_READ, c, token, &op, err)))
    return r; /* before a message is taken, which nothing could give back */
  r = k->owner ? k->owner->read(k->owner_self, k, &op->message) : WSC_AGAIN;
  if (r < 0) {
    op_refuse(op);
    return error_set(err, r,
                     r == WSC_ERR_STATE ? "read: the engine reads this connection; pause it, or read inside a callback"
                                        : "read: out of memory");
  }
  if (r == WSC_OK) {
    op_complete(op, WSC_OK, NULL);
    return op_begun(op, out);
  }
  pthread_mutex_lock(&k->lock);
  bool ended = k->state != CONN_OPEN || k->fenced || k->deaf;
  if (ended && !k->queue.head) {
    wsc_error *e = NULL;
    r = unlock_with(k, not_open(k, "read", &e));
    op_refuse(op);
    return error_give(err, e);
  }
  op_list_push(&k->reads, op);
  connection_serve_reads(k);
  bool waits = wsc_op_pending(op);
  pthread_mutex_unlock(&k->lock);
  if (waits) actor_kick(k->actor, 0);
  return op_begun(op, out);
}

int wsc_connection_read(wsc_connection *k, const wsc_context *c, wsc_message *out, wsc_error **err) {
  if (!out || out->struct_size < FIRST_MESSAGE)
    return error_set(err, WSC_ERR_INVALID, "read: out is NULL or its struct_size is not set");
  if (k && k->traced) return traced_read(k, c, out, err);
  wsc_op *op;
  int r = wsc_connection_read_begin(k, c, 0, &op, err);
  if (r) return r;
  r = wsc_op_wait(op, -1, err);
  if (r == WSC_OK) r = wsc_op_take_message(op, out);
  wsc_op_unref(op);
  return r;
}

/* A write that finds no room waits in op. The lock is held and let go. Its data stay until the operation has ended. */
static int write_waits(wsc_connection *k, const wsc_context *c, const uint8_t *p, size_t n, bool copy, wsc_op *op,
                       wsc_op **out, wsc_error **err) {
  unsigned long long queued = k->tx_bytes;
  pthread_mutex_unlock(&k->lock);
  if (c && c->deadline_ns && c->deadline_ns <= os_now_ns()) {
    op_refuse(op);
    return error_set(err, WSC_ERR_QUEUE_FULL,
                     "write: no room for %zu bytes beside the %llu that wait (send_queue_bytes is %llu)", n, queued,
                     (unsigned long long)k->send_bytes);
  }
  op->data = p;
  op->length = n;
  if (copy) {
    op->payload = mem_alloc(n ? n : 1);
    if (!op->payload) {
      op_refuse(op);
      return error_set(err, WSC_ERR_NOMEM, "write: out of memory for %zu bytes", n);
    }
    memcpy(op->payload, p, n);
    op->data = op->payload;
  }
  pthread_mutex_lock(&k->lock);
  if (k->state != CONN_OPEN || k->fenced) { /* it ended meanwhile; its run may not come again */
    wsc_error *e = NULL;
    int r = unlock_with(k, not_open(k, "write", &e));
    op_complete(op, r, e);
    return op_begun(op, out);
  }
  return enlist(k, &k->writes, op, out);
}

/* Writes, or finds that it must wait (WSC_AGAIN, with the lock still held). */
static int write_now(wsc_connection *k, int type, const uint8_t *p, size_t n, wsc_error **err) {
  pthread_mutex_lock(&k->lock);
  int r = k->writes.head ? WSC_AGAIN : send_message(k, type, p, n); /* behind those that wait already */
  if (r == WSC_AGAIN && k->state == CONN_OPEN && !k->fenced) return r;
  if (r == WSC_ERR_CLOSED || r == WSC_AGAIN) r = not_open(k, "write", err);
  else if (r) error_set(err, r, "write: %s", wsc_status_text(r));
  return unlock_with(k, r);
}

int wsc_connection_write_begin(wsc_connection *k, const wsc_context *c, int type, const uint8_t *p, size_t n,
                               uint64_t token, wsc_op **out, wsc_error **err) {
  wsc_op *op;
  int r = usable(k, "write", err);
  if (r || (r = send_check(type, p, n, err))) return r;
  if ((r = begin(k, OP_WRITE, c, token, &op, err)))
    return r; /* before the message leaves: an error must mean that it has not */
  op->type = type;
  r = write_now(k, type, p, n, err);
  if (r == WSC_AGAIN) return write_waits(k, c, p, n, true, op, out, err);
  if (r) {
    op_refuse(op);
    return r;
  }
  op_complete(op, WSC_OK, NULL);
  return op_begun(op, out);
}

int wsc_connection_write(wsc_connection *k, const wsc_context *c, int type, const uint8_t *p, size_t n,
                         wsc_error **err) {
  int r = usable(k, "write", err);
  if (r || (r = send_check(type, p, n, err))) return r;
  if (k->traced) return traced_write(k, c, type, p, n, err);
  if ((r = op_allowed(c, err))) return r;
  r = write_now(k, type, p, n, err);
  if (r != WSC_AGAIN) return r;
  pthread_mutex_unlock(&k->lock);
  wsc_op *op;
  if ((r = begin(k, OP_WRITE, c, 0, &op, err))) return r;
  op->type = type;
  pthread_mutex_lock(&k->lock);
  r = write_waits(k, c, p, n, false, op, &op, err);
  return r ? r : op_finish(op, err);
}

bool connection_write_op(wsc_connection *k, struct op_list *from) {
  wsc_op *op = from->head;
  pthread_mutex_lock(&k->lock);
  bool behind = k->writes.head && k->state == CONN_OPEN && !k->fenced && !k->broken;
  int r = behind ? WSC_AGAIN : send_message(k, op->type, op->data, op->length);
  if (r != WSC_ERR_CLOSED) op_list_remove(from, op);
  if (r == WSC_AGAIN) op_list_push(&k->writes, op);
  pthread_mutex_unlock(&k->lock);
  if (r == WSC_AGAIN) actor_kick(k->actor, 0);
  else if (r != WSC_ERR_CLOSED) {
    struct error_info info = {.status = r};
    op_complete(op, r, r ? error_make(&info, "write: %s", wsc_status_text(r)) : NULL);
  }
  return r != WSC_ERR_CLOSED;
}

int wsc_connection_write_many(wsc_connection *k, const wsc_context *c, const wsc_outgoing *messages, size_t count,
                              wsc_error **err) {
  int r = usable(k, "write_many", err);
  if (!r && !messages && count) r = error_set(err, WSC_ERR_INVALID, "write_many: messages is NULL");
  for (size_t i = 0; !r && i < count; i++)
    r = send_check((int)messages[i].type, messages[i].data, messages[i].length, err);
  if (r) return r;
  if (k->traced) return traced_write_many(k, c, messages, count, err);
  if ((r = op_allowed(c, err))) return r;
  size_t at = 0;
  pthread_mutex_lock(&k->lock);
  if (k->writes.head) r = WSC_AGAIN;
  k->corks++;
  for (; !r && at < count; at++) {
    r = send_message(k, (int)messages[at].type, messages[at].data, messages[at].length);
    if (r) break;
  }
  if (--k->corks == 0) {
    send_flush(k, 0);
    send_uncorked(k);
  }
  if (r == WSC_ERR_CLOSED) r = not_open(k, "write_many", err);
  else if (r < 0) error_set(err, r, "write_many: %s", wsc_status_text(r));
  pthread_mutex_unlock(&k->lock);
  for (; r == WSC_AGAIN && at < count; at++) { /* no room: the rest one by one, waiting */
    int w = wsc_connection_write(k, c, (int)messages[at].type, messages[at].data, messages[at].length, err);
    if (w) return w;
  }
  return r == WSC_AGAIN ? WSC_OK : r;
}

int wsc_connection_ping_begin(wsc_connection *k, const wsc_context *c, uint64_t token, wsc_op **out, wsc_error **err) {
  int r = usable(k, "ping", err);
  if (r) return r;
  wsc_op *op;
  if ((r = begin(k, OP_PING, c, token, &op, err))) return r;
  pthread_mutex_lock(&k->lock);
  if (k->state != CONN_OPEN || k->fenced) {
    wsc_error *e = NULL;
    r = unlock_with(k, not_open(k, "ping", &e));
    op_refuse(op);
    return error_give(err, e);
  }
  uint8_t payload[8];
  op->serial = ++k->ping_serial;
  memcpy(payload, &op->serial, sizeof payload);
  k->ping_at_ns = op->began_ns;
  if ((r = send_control(k, OPCODE_PING, payload, sizeof payload))) {
    pthread_mutex_unlock(&k->lock);
    op_refuse(op);
    return error_set(err, r, r == WSC_ERR_QUEUE_FULL ? "ping: too many pings wait to be sent already" : "ping: %s",
                     wsc_status_text(r));
  }
  return enlist(k, &k->pings, op, out);
}

int wsc_connection_ping(wsc_connection *k, const wsc_context *c, int64_t *rtt_ns, wsc_error **err) {
  if (k && k->traced) return traced_ping(k, c, rtt_ns, err);
  wsc_op *op;
  int r = wsc_connection_ping_begin(k, c, 0, &op, err);
  if (r) return r;
  r = wsc_op_wait(op, -1, err);
  if (rtt_ns) *rtt_ns = wsc_op_rtt_ns(op);
  wsc_op_unref(op);
  return r;
}

int wsc_close_check(int code, const char *reason, wsc_error **err) {
  if (!frame_close_code_ok(code))
    return error_set(err, WSC_ERR_INVALID, "close: code %d may not be sent; use 1000, 1001 ... or 3000-4999", code);
  size_t n = reason ? strlen(reason) : 0;
  if (n > 123) return error_set(err, WSC_ERR_INVALID, "close: reason has %zu bytes, the limit is 123", n);
  if (n && !utf8_valid((const uint8_t *)reason, n))
    return error_set(err, WSC_ERR_INVALID, "close: reason is not UTF-8");
  return WSC_OK;
}

int wsc_connection_close_begin(wsc_connection *k, const wsc_context *c, int code, const char *reason, uint64_t token,
                               wsc_op **out, wsc_error **err) {
  int r = usable(k, "close", err);
  if (r || (r = wsc_close_check(code, reason, err))) return r;
  wsc_op *op;
  if ((r = begin(k, OP_CLOSE, c, token, &op, err))) return r;
  pthread_mutex_lock(&k->lock);
  if (k->state > CONN_NEW && k->state < CONN_OPEN) {
    k->dial_aborted =
        true; /* the dial ends with ERR_CANCELED, the close with ERR_CLOSED: there was nothing to close yet */
  } else if (k->state == CONN_OPEN) {
    connection_begin_close(k, code, reason ? reason : "");
  } else {
    wsc_error *e = NULL;
    r = unlock_with(k, not_open(k, "close", &e));
    op_refuse(op);
    return error_give(err, e);
  }
  return enlist(k, &k->closes, op, out);
}

int wsc_connection_close(wsc_connection *k, const wsc_context *c, int code, const char *reason, wsc_error **err) {
  if (k && k->traced) return traced_close(k, c, code, reason, err);
  wsc_op *op;
  int r = wsc_connection_close_begin(k, c, code, reason, 0, &op, err);
  return r ? r : op_finish(op, err);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------ */

void wsc_connection_cork(wsc_connection *k) {
  if (usable(k, "cork", NULL)) return;
  pthread_mutex_lock(&k->lock);
  k->corks++;
  pthread_mutex_unlock(&k->lock);
}

int wsc_connection_uncork(wsc_connection *k, wsc_error **err) {
  int r = usable(k, "uncork", err);
  if (r) return r;
  pthread_mutex_lock(&k->lock);
  if (k->corks == 0) r = error_set(err, WSC_ERR_STATE, "uncork: the connection is not corked");
  else if (--k->corks == 0) {
    send_flush(k, 0);
    send_uncorked(k);
  }
  if (!r && (k->state != CONN_OPEN || k->broken)) r = not_open(k, "uncork", err);
  return unlock_with(k, r);
}

const wsc_response *wsc_connection_response(const wsc_connection *k) { return k ? k->response : NULL; }

bool wsc_connection_closed(const wsc_connection *k, wsc_close *out) {
  if (usable(k, "closed", NULL)) return false;
  wsc_connection *unlocked = (wsc_connection *)(uintptr_t)k;
  pthread_mutex_lock(&unlocked->lock);
  bool ended = k->state == CONN_ENDED;
  if (ended && out && out->struct_size >= FIRST_CLOSE) sized_write(out, &k->ended, sizeof k->ended);
  pthread_mutex_unlock(&unlocked->lock);
  return ended;
}

int64_t wsc_connection_last_rtt_ns(const wsc_connection *k) {
  if (usable(k, "last_rtt_ns", NULL)) return -1;
  wsc_connection *unlocked = (wsc_connection *)(uintptr_t)k;
  pthread_mutex_lock(&unlocked->lock);
  int64_t rtt = k->rtt_last_ns;
  pthread_mutex_unlock(&unlocked->lock);
  return rtt;
}

void *wsc_connection_underlying(const wsc_connection *k) {
  const struct adapter *a = usable(k, "underlying", NULL) ? NULL : options_adapter(k->options);
  return a && a->vtable.underlying ? a->vtable.underlying(a->self) : NULL;
}
