/* The read lock: who waits for it, who holds it, how it ends. The engine's lock is held but for the verbs. */
#define _GNU_SOURCE
#include "callback.h"
#include "engine.h"
#include "error.h"

/* A number that no other living thread has. */
uint64_t engine_thread_id(void) {
  static _Thread_local char here;
  return (uint64_t)(uintptr_t)&here;
}

void engine_grant_pauses(wsc_engine *e) {
  engine_set_control(e);
  if (!e->pauses.head || e->paused || engine_holds_lock(e->out) || !engine_seize(e)) return;
  wsc_op *op = e->pauses.head;
  op_list_remove(&e->pauses, op);
  e->paused = true;
  e->pause_depth = 1;
  e->pause_holder = op->serial;
  engine_set_control(e);
  op_complete(op, WSC_OK, NULL);
}

void engine_end_pause(wsc_engine *e) {
  e->paused = false;
  e->pause_depth = 0;
  e->pause_holder = 0;
  engine_grant_pauses(e);
  engine_pump(e);
}

static int pause_begin(wsc_engine *e, const wsc_context *c, uint64_t holder, uint64_t token, wsc_op **out,
                       wsc_error **err) {
  int r = engine_usable(e, "pause", err);
  if (r) return r;
  wsc_op *op;
  if ((r = op_new(OP_PAUSE, &e->actor, e, e->user, c, token, &op, err))) return r;
  op->serial = holder;
  pthread_mutex_lock(&e->lock);
  bool nested = holder && e->paused && e->pause_holder == holder;
  bool inside = engine_holds_lock(e->out) && callback_of(e); /* the engine holds it for this very callback */
  if (e->life.phase == PHASE_IDLE && !(e->wishes & WISH_START)) {
    pthread_mutex_unlock(&e->lock);
    op_refuse(op);
    return error_set(err, WSC_ERR_STATE, "pause: the engine is not running");
  }
  if (nested || inside) {
    if (nested) e->pause_depth++;
    op_complete(op, WSC_OK, NULL);
  } else {
    op_list_push(&e->pauses, op);
    engine_grant_pauses(e);
  }
  bool waits = wsc_op_pending(op);
  pthread_mutex_unlock(&e->lock);
  if (waits) engine_kick(e);
  return op_begun(op, out);
}

int wsc_engine_pause_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **op, wsc_error **err) {
  return pause_begin(e, c, 0, token, op, err);
}

int wsc_engine_pause(wsc_engine *e, const wsc_context *c, wsc_error **err) {
  wsc_op *op;
  int r = pause_begin(e, c, engine_thread_id(), 0, &op, err);
  return r ? r : op_finish(op, err);
}

int wsc_engine_resume(wsc_engine *e) {
  int r = engine_usable(e, "resume", NULL);
  if (r) return r;
  pthread_mutex_lock(&e->lock);
  bool inside = engine_holds_lock(e->out) && callback_of(e);
  if (!e->paused && !inside) r = WSC_ERR_STATE;
  else if (e->paused && --e->pause_depth == 0) engine_end_pause(e);
  pthread_mutex_unlock(&e->lock);
  return r;
}
