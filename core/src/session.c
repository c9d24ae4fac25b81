/* Sessions as the user sees them, and sends through the engine. */
#define _GNU_SOURCE
#include "callback.h"
#include "engine.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "random.h"
#include "trace_verbs.h"

#include <string.h>

wsc_session *session_new(wsc_engine *e, uint64_t attempt) {
  wsc_session *s = mem_zalloc(sizeof *s);
  if (!s) return NULL;
  atomic_init(&s->refs, 1);
  s->engine = e;
  s->attempt = attempt;
  s->run = e->runs;
  random_uuid(s->id);
  actor_ref(&e->actor);
  return s;
}

wsc_session *wsc_session_ref(wsc_session *s) {
  if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
  return s;
}

void wsc_session_unref(wsc_session *s) {
  if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
  wsc_engine *e = s->engine;
  wsc_connection_unref(s->connection);
  mem_free(s);
  if (e->generation == os_fork_generation()) actor_unref(&e->actor);
}

const char *wsc_session_id(const wsc_session *s) { return s ? s->id : ""; }
uint64_t wsc_session_epoch(const wsc_session *s) { return s ? s->epoch : 0; }
wsc_connection *wsc_session_connection(wsc_session *s) { return s ? s->connection : NULL; }
wsc_engine *wsc_session_engine(wsc_session *s) { return s ? s->engine : NULL; }

int64_t wsc_session_received_ns(const wsc_session *s) {
  const struct callback_frame *f = s ? callback_of(s->engine) : NULL;
  return f && f->event && f->event->type == WSC_EVENT_BATCH ? f->event->received_ns : 0;
}

/* ---- sends through the engine -------------------------------------------------------------------------------------- */

static int waits_for_session(wsc_engine *e, const wsc_context *c, int type, const uint8_t *p, size_t n, uint64_t token,
                             wsc_op **out, wsc_error **err) {
  int r = send_check(type, p, n, err);
  if (r) return r;
  if (!e->send_waits)
    return error_set(err, WSC_ERR_CLOSED, "write: no session is open (option send_waits_for_session waits for one)");
  wsc_op *op;
  if ((r = op_new(OP_WRITE, &e->actor, e, e->user, c, token, &op, err))) return r;
  op->type = type;
  op->length = n;
  op->data = op->payload = mem_alloc(n ? n : 1);
  if (op->payload) memcpy(op->payload, p, n);
  pthread_mutex_lock(&e->lock);
  bool on = e->life.phase != PHASE_IDLE || e->start, have = op->payload != NULL;
  if (have && on) op_list_push(&e->writes, op); /* from here on it may end at any moment */
  pthread_mutex_unlock(&e->lock);
  if (!have || !on) {
    r = have ? WSC_ERR_CLOSED : WSC_ERR_NOMEM;
    op_refuse(op);
    return error_set(
        err, r, r == WSC_ERR_CLOSED ? "write: the engine is not running" : "write: out of memory for %zu bytes", n);
  }
  engine_kick(e);
  return op_begun(op, out);
}

int wsc_engine_write_begin(wsc_engine *e, const wsc_context *c, int type, const uint8_t *p, size_t n, uint64_t token,
                           wsc_op **out, wsc_error **err) {
  int r = engine_usable(e, "write", err);
  if (r) return r;
  wsc_session *s = wsc_engine_session(e);
  r = WSC_ERR_CLOSED;
  pthread_mutex_lock(&e->lock);
  bool queued = e->writes.head != NULL;
  pthread_mutex_unlock(&e->lock);
  if (s && s->connection && !queued) r = wsc_connection_write_begin(s->connection, c, type, p, n, token, out, err);
  else if (s && !s->connection)
    r = error_set(err, WSC_ERR_UNSUPPORTED, "write: messages of a host adapter do not enter the library");
  bool lost = s && s->connection && r == WSC_ERR_CLOSED;
  wsc_session_unref(s);
  if (r != WSC_ERR_CLOSED) return r;
  if (lost && !e->send_waits) return r;
  if (lost && err) {
    wsc_error_unref(*err);
    *err = NULL;
  }
  return waits_for_session(e, c, type, p, n, token, out, err);
}

int wsc_engine_write(wsc_engine *e, const wsc_context *c, int type, const uint8_t *p, size_t n, wsc_error **err) {
  int r = engine_usable(e, "write", err);
  if (r) return r;
  void *span = e->owner.traced ? traced_write_begin(e, c, type, n) : NULL;
  wsc_op *op = NULL;
  r = wsc_engine_write_begin(e, c, type, p, n, 0, &op, err);
  if (!r && op) r = op_finish(op, err);
  if (span) trace_verb_end(e, span, r, err ? *err : NULL);
  return r;
}
