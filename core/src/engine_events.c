/* Session events: when one may be raised, what it says, what its answer means; and how batches are taken.
 *
 * A batch of a crew's engine is taken at an atomic cursor by any number of readers. To seize it (pause, exit) the cursor is swapped for a mark past the
 * end: what was not taken until then goes back as a batch of its own, at once, however long a running callback may take. A host takes batches whole;
 * it sees the control word and gives the rest back itself.
 *
 * One reader alone (solo) needs no atomic operation a message, which would be the dearest part of it: it stores the cursor, then looks whether the batch
 * was cut. Who seizes says that it cuts, has every thread pass a barrier, and only then reads the cursor. So either the reader sees the cut, and asks under
 * the lock whether the record is still its own, or its store is seen here. */
#define _GNU_SOURCE
#include "callback.h"
#include "engine.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "sized.h"

#include <stdio.h>

enum { CONTROL_PAUSE = 1, CONTROL_OVER = 2 };
static const uint32_t SEIZED = UINT32_C(0x80000000);

void engine_set_control(wsc_engine *e) {
  uint32_t word = 0;
  if (e->paused || e->pauses.head) word |= CONTROL_PAUSE;
  bool over = e->drop || (e->session && e->session->over) || e->wishes & (WISH_STOP | WISH_EXIT);
  if (over || (e->wishes & WISH_RESTART && e->session && e->session->attempt == e->restart_attempt))
    word |= CONTROL_OVER;
  __atomic_store_n(&e->control, word, __ATOMIC_SEQ_CST); /* a host reads it as a plain word; see wsc_event_take */
}

/* ---- when ---------------------------------------------------------------------------------------------------------- */

/* The engine holds the read lock in these. */
bool engine_holds_lock(int type) {
  return type == WSC_EVENT_READ_ERROR || type == WSC_EVENT_CLOSED || type == WSC_EVENT_CLOSE_ERROR;
}

static bool may_raise_pending(const wsc_engine *e) {
  if (e->out && !(e->out == WSC_EVENT_BATCH && e->grace_over)) return false;
  return !(engine_holds_lock(e->pending.type) && e->paused);
}

static bool may_raise_batch(wsc_engine *e) {
  const wsc_session *s = e->session;
  if (e->wishes & (WISH_STOP | WISH_EXIT | WISH_RESTART)) return false; /* they come before any further message */
  return e->reading && !e->out && !e->paused && !e->pauses.head && !e->drop && s && !s->over && s->connection &&
         s->active < e->reader_count && connection_has_batch(s->connection);
}

/* A reader that is free has found an error. It stays the connection's until the event is taken: who holds the pause may read it instead. */
static bool has_read_error(const wsc_engine *e) {
  const wsc_session *s = e->session;
  if (!e->reading || e->out || e->drop) return false;
  if (e->read_error) return true;
  return s && s->connection && s->active < e->reader_count && connection_has_read_error(s->connection);
}

static bool take_read_error(wsc_engine *e) {
  if (!e->read_error && e->session && e->session->connection)
    e->read_error = connection_take_read_error(e->session->connection);
  return e->read_error != NULL;
}

void engine_pump(wsc_engine *e) {
  if (!e->pending.type && has_read_error(e)) e->pending = (struct engine_pending){.type = WSC_EVENT_READ_ERROR};
  if (e->pending.type ? may_raise_pending(e) : may_raise_batch(e)) loop_post(e->actor.loop, &e->node);
}

/* ---- what it says -------------------------------------------------------------------------------------------------- */

static void fill_session(wsc_engine *e, wsc_event *ev, int type) {
  uint8_t *host_buffer = ev->host_buffer;
  size_t host_capacity = ev->host_capacity;
  *ev = (wsc_event){.struct_size = sizeof *ev,
                    .type = (uint32_t)type,
                    .engine = e,
                    .user = e->user,
                    .host_buffer = host_buffer,
                    .host_capacity = host_capacity,
                    .core = &e->node};
  if (e->session && e->session->epoch) {
    ev->session = wsc_session_ref(e->session);
    ev->epoch = e->session->epoch;
    ev->session_id = e->session->id;
  }
  actor_ref(&e->actor); /* until done */
}

static void fill_pending(wsc_engine *e, wsc_event *ev) {
  const struct engine_pending *p = &e->pending;
  fill_session(e, ev, p->type);
  switch (p->type) {
  case WSC_EVENT_OPENED:
    if (p->restarting) ev->flags |= WSC_EVENT_RESTARTING;
    ev->response = link_response(e);
    break;
  case WSC_EVENT_CLOSED:
    if (p->has_close) {
      ev->flags |= WSC_EVENT_BY_PEER;
      ev->close = link_close(e);
      ev->close_code = ev->close ? ev->close->code : 0;
      ev->text = ev->close ? ev->close->reason : "";
      ev->error = e->failure;
    }
    break;
  case WSC_EVENT_READ_ERROR: ev->error = e->read_error; break;
  case WSC_EVENT_CLOSE_ERROR: ev->error = e->failure; break;
  case WSC_EVENT_RESTART_ERROR:
    ev->retry = p->retry;
    ev->delay_ns = p->delay_ms * INT64_C(1000000);
    if (p->last) ev->flags |= WSC_EVENT_LAST;
    ev->error = e->failure;
    ev->response = wsc_error_response(e->failure);
    break;
  case WSC_EVENT_BEFORE_ATTEMPT:
    ev->retry = p->retry;
    ev->attempt = e->attempt;
    break;
  case WSC_EVENT_STOPPED:
    ev->status = p->reason;
    ev->error = p->reason == WSC_STOPPED_BY_STOP || p->reason == WSC_STOPPED_BY_EXIT ? NULL : e->failure;
    break;
  default: break;
  }
  if (ev->error) ev->error = wsc_error_ref((wsc_error *)(uintptr_t)ev->error); /* until done: the engine's may change */
  e->out_batch = NULL; /* one that CLOSED overtook is nobody's any more */
  e->out = p->type;
  e->pending.type = 0;
}

/* A crew's batch comes entered: the references of its event are those of the leading reader's bracket, which wsc_event_leave ends. With one message it
 * is taken as it is given, and nothing is out. */
static bool fill_batch(wsc_engine *e, wsc_event *ev) {
  struct wsc_batch *b = connection_take(e->session->connection);
  if (!b) return false;
  fill_session(e, ev, WSC_EVENT_BATCH);
  atomic_store_explicit(&b->cursor, b->taken, memory_order_relaxed);
  atomic_store_explicit(&b->cut, 0, memory_order_relaxed);
  atomic_store_explicit(&b->by_cursor, e->has_callbacks, memory_order_relaxed);
  b->solo = e->has_callbacks && e->reader_count == 1 && os_can_barrier_all();
  ev->core = b;
  ev->records = b->records + b->taken;
  ev->count = b->count - b->taken;
  ev->received_ns = b->received_ns;
  ev->arena = b->base;
  ev->arena_length = b->length;
  if (ev->host_buffer && batch_pack(b, ev->host_buffer, ev->host_capacity, &ev->arena_length)) {
    ev->arena = ev->host_buffer;
    ev->records = b->packed;
    ev->flags |= WSC_EVENT_IN_HOST;
  }
  if (e->has_callbacks) {
    ev->flags |= EVENT_ENTERED;
    e->session->active++;
    e->active++;
    if (ev->count == 1) return true;
  }
  e->out = WSC_EVENT_BATCH;
  e->out_batch = b;
  return true;
}

bool engine_fill(struct event_node *n, wsc_event *ev) {
  wsc_engine *e = (wsc_engine *)(void *)((char *)n - offsetof(wsc_engine, node));
  pthread_mutex_lock(&e->lock);
  bool given = false;
  if (e->pending.type) {
    if (may_raise_pending(e) && e->pending.type == WSC_EVENT_READ_ERROR && !take_read_error(e)) {
      e->pending.type = 0;
      engine_pump(e);
    } else if (may_raise_pending(e)) {
      fill_pending(e, ev);
      given = true;
    }
  } else if (may_raise_batch(e)) {
    given = fill_batch(e, ev);
    if (given && !e->out) engine_pump(e); /* nothing is out: what waits behind it may go to another reader */
  }
  pthread_mutex_unlock(&e->lock);
  return given;
}

/* ---- taking -------------------------------------------------------------------------------------------------------- */

uint32_t wsc_event_take(wsc_event *ev, wsc_record *out) {
  if (!ev || !out || ev->type != WSC_EVENT_BATCH) return 0;
  struct wsc_batch *b = ev->core;
  if (!atomic_load_explicit(&b->by_cursor, memory_order_relaxed)) atomic_store(&b->by_cursor, true);
  /* either this sees that a pause is wanted, or the pause sees that the cursor counts */
  if (!ev->engine->has_callbacks && __atomic_load_n(&ev->engine->control, __ATOMIC_SEQ_CST)) return 0;
  uint32_t at = atomic_fetch_add_explicit(&b->cursor, 1, memory_order_relaxed);
  if (at >= b->count) return 0;
  *out = ev->flags & WSC_EVENT_IN_HOST ? b->packed[at - b->taken] : b->records[at];
  return 1;
}

static bool seized(const struct wsc_batch *b) {
  if (b->solo) return atomic_load_explicit(&b->cut, memory_order_relaxed) != 0;
  return atomic_load_explicit(&b->cursor, memory_order_acquire) >= SEIZED;
}

/* The first record that nobody has taken; at or past the end: none. Only of a batch that is not seized. */
static uint32_t seize(struct wsc_batch *b) {
  if (!b->solo) return atomic_exchange_explicit(&b->cursor, SEIZED, memory_order_acq_rel);
  atomic_store_explicit(&b->cut, SEIZED, memory_order_relaxed);
  os_barrier_all();
  uint32_t at = atomic_load_explicit(&b->cursor, memory_order_relaxed);
  atomic_store_explicit(&b->cut, at + 1, memory_order_relaxed);
  return at;
}

bool engine_keeps(wsc_engine *e, struct wsc_batch *b, uint32_t at) {
  pthread_mutex_lock(&e->lock);
  bool mine = at + 1 < atomic_load_explicit(&b->cut, memory_order_relaxed);
  pthread_mutex_unlock(&e->lock);
  return mine;
}

bool engine_seize(wsc_engine *e) {
  if (e->out != WSC_EVENT_BATCH) return true;
  struct wsc_batch *b = e->out_batch;
  if (!atomic_load(&b->by_cursor) || seized(b)) return false;
  uint32_t at = seize(b);
  if (at < b->count) {
    struct wsc_batch *rest = batch_rest(b, at);
    if (!rest) { /* no memory: the batch itself goes back, when its readers have left it (return_seized) */
      b->taken = at;
      return false;
    }
    connection_give_back(e->session->connection, rest);
  }
  e->out = 0;
  e->out_batch = NULL;
  return true;
}

static void return_seized(wsc_engine *e) {
  struct wsc_batch *b = e->out_batch;
  if (!b || e->session->active || !seized(b)) return;
  e->out = 0;
  e->out_batch = NULL;
  connection_give_back(e->session->connection, batch_ref(b));
}

bool wsc_event_enter(wsc_event *ev) {
  if (!ev || ev->type != WSC_EVENT_BATCH) return false;
  wsc_engine *e = ev->engine;
  pthread_mutex_lock(&e->lock);
  bool in = !(ev->flags & EVENT_ENTERED) && !ev->session->over && ev->session->active < e->reader_count;
  if (in) {
    ev->session->active++;
    e->active++;
    wsc_session_ref(ev->session);
    actor_ref(&e->actor);
    batch_ref(ev->core);
    ev->flags |= EVENT_ENTERED;
  }
  pthread_mutex_unlock(&e->lock);
  return in;
}

void wsc_event_leave(wsc_event *ev) {
  if (!ev || !(ev->flags & EVENT_ENTERED)) return;
  ev->flags &= ~(uint32_t)EVENT_ENTERED;
  wsc_engine *e = ev->engine;
  pthread_mutex_lock(&e->lock);
  ev->session->active--;
  e->active--;
  return_seized(e);
  bool wanted = e->draining || e->drain_all || e->pauses.head;
  if (!wanted) engine_pump(e);
  pthread_mutex_unlock(&e->lock);
  if (wanted) actor_kick(&e->actor, 0);
  batch_unref(ev->core);
  wsc_session_unref(ev->session);
  actor_unref(&e->actor);
}

/* How many records of the event have been taken: by the cursor, or as the host says. */
static uint32_t consumed(const wsc_engine *e, const struct wsc_batch *b, const wsc_reply *r) {
  uint32_t at = seized(b) ? b->count : atomic_load_explicit(&b->cursor, memory_order_acquire);
  if (at > b->count) at = b->count;
  if (e->has_callbacks) return at;
  uint32_t said = r ? r->consumed : b->count - b->taken;
  if (said > b->count - b->taken) said = b->count - b->taken;
  return at > b->taken + said ? at : b->taken + said;
}

static void batch_done(wsc_engine *e, struct wsc_batch *b, const wsc_reply *r) {
  bool ours = e->out_batch == b;
  if (!ours) return; /* seized: it is not out any more */
  e->out = 0;
  e->out_batch = NULL;
  uint32_t at = consumed(e, b, r);
  if (at >= b->count) return;
  /* what a host has in its buffer is made anew for the next event: a reader may still be in this one */
  struct wsc_batch *rest = b->packed ? batch_rest(b, at) : NULL;
  if (!rest) {
    b->taken = at;
    rest = batch_ref(b);
  }
  connection_give_back(e->session->connection, rest);
}

void engine_batch_taken(wsc_engine *e, struct wsc_batch *b) {
  pthread_mutex_lock(&e->lock);
  batch_done(e, b, NULL);
  bool kick = e->draining || e->pauses.head;
  if (!kick) engine_pump(e);
  pthread_mutex_unlock(&e->lock);
  if (kick) engine_kick(e);
}

/* What OnClose wants to be sent, unless that would break the protocol: then it is as if it had said nothing. */
static void answer_close(wsc_engine *e, struct engine_answer *a, const wsc_reply *r) {
  wsc_error *bad = NULL;
  if (wsc_close_check(r->close_code, r->close_reason, &bad) != WSC_OK) {
    engine_log(e, WSC_LOG_ERROR, "engine", e->session ? e->session->id : "",
               "on_close's answer is not sent, but 1001: %s", wsc_error_message(bad));
    wsc_error_unref(bad);
    return;
  }
  a->close_code = r->close_code;
  snprintf(a->close_reason, sizeof a->close_reason, "%s", r->close_reason ? r->close_reason : "");
}

static void answer(wsc_engine *e, int type, const wsc_reply *r) {
  struct engine_answer *a = &e->answer;
  *a = (struct engine_answer){.type = type, .ok = !r || r->status == WSC_OK};
  e->out = 0;
  if (type == WSC_EVENT_OPENED && !a->ok) {
    struct error_info info = {.status = WSC_ERR_HOST, .cause = wsc_error_ref(r->error)};
    e->failed_attempts++;
    e->refused = true;
    engine_set_failure(e, error_make(&info, "on_open refused the session (%d)", r->status));
  }
  if (type == WSC_EVENT_BEFORE_ATTEMPT && !a->ok) {
    struct error_info info = {.status = WSC_ERR_HOST, .cause = wsc_error_ref(r->error ? r->error : e->failure)};
    engine_set_failure(e, error_make(&info, "before_attempt gave up"));
  }
  if (type == WSC_EVENT_CLOSED && r && r->close_code && !e->life.lost) answer_close(e, a, r);
  if (type == WSC_EVENT_READ_ERROR) {
    wsc_error_unref(e->read_error);
    e->read_error = NULL;
    if (e->session && e->session->connection) connection_read_on(e->session->connection);
    a->type = 0;
  }
}

static int session_done(wsc_event *ev, const wsc_reply *r) {
  wsc_engine *e = ev->engine;
  bool batch = ev->type == WSC_EVENT_BATCH;
  pthread_mutex_lock(&e->lock);
  if (batch) batch_done(e, ev->core, r);
  else answer(e, (int)ev->type, r);
  bool kick = !batch || e->draining || e->drain_all || e->pauses.head;
  if (!kick) engine_pump(e);
  pthread_mutex_unlock(&e->lock);
  if (kick) actor_kick(&e->actor, 0);
  if (batch) batch_unref(ev->core);
  wsc_error_unref((wsc_error *)(uintptr_t)ev->error);
  wsc_session_unref(ev->session);
  actor_unref(&e->actor);
  return WSC_OK;
}

int wsc_event_done(wsc_event *ev, const wsc_reply *r) {
  if (!ev || !ev->core) return WSC_ERR_INVALID;
  if (r && r->struct_size < FIRST_REPLY) return WSC_ERR_INVALID;
  if (ev->flags & EVENT_ANSWERED) return WSC_ERR_STATE; /* a second done changes nothing */
  ev->flags |= EVENT_ANSWERED;
  wsc_event mine;
  sized_read(&mine, sizeof mine, ev);
  wsc_reply reply;
  if (r) {
    sized_read(&reply, sizeof reply, r);
    r = &reply;
  }
  switch (mine.type) {
  case WSC_EVENT_OPENED:
  case WSC_EVENT_BATCH:
  case WSC_EVENT_READ_ERROR:
  case WSC_EVENT_CLOSED:
  case WSC_EVENT_CLOSE_ERROR:
  case WSC_EVENT_RESTART_ERROR:
  case WSC_EVENT_BEFORE_ATTEMPT:
  case WSC_EVENT_STOPPED: return session_done(&mine, r);
  default: {
    struct event_node *n = mine.core;
    return n->done(n, &mine, r);
  }
  }
}

/* One record of the batch that is out, as a message; WSC_AGAIN: there is none left. Copied before it is taken: without memory it stays. */
static int take_one(wsc_engine *e, struct wsc_batch *b, wsc_message *out) {
  uint32_t at = atomic_load_explicit(&b->cursor, memory_order_relaxed);
  while (at < b->count) {
    if (batch_message(b, at, out)) return WSC_ERR_NOMEM;
    if (atomic_compare_exchange_weak_explicit(&b->cursor, &at, at + 1, memory_order_relaxed, memory_order_relaxed)) {
      if (at + 1 == b->count) batch_done(e, b, NULL); /* the last one was taken here, not by a reader */
      return WSC_OK;
    }
    wsc_message_free(out);
  }
  return WSC_AGAIN;
}

/* A read verb on a session's connection: only where the engine does not take messages itself. What is out comes first. */
int engine_read(void *self, wsc_connection *k, wsc_message *out) {
  wsc_engine *e = self;
  bool inside = callback_of(e) != NULL;
  pthread_mutex_lock(&e->lock);
  struct wsc_batch *b = e->session && e->session->connection == k ? e->out_batch : NULL;
  if (b && !atomic_load_explicit(&b->by_cursor, memory_order_relaxed)) b = NULL; /* its host has the rest of it */
  bool over = !e->session || e->session->connection != k;   /* the connection itself says how it ended */
  bool hosted = !e->has_callbacks && (e->out || e->active); /* its callbacks run on threads only the host knows */
  int r = inside || over || e->paused || hosted ? WSC_AGAIN : WSC_ERR_STATE;
  if (r == WSC_AGAIN && b) r = take_one(e, b, out);
  pthread_mutex_unlock(&e->lock);
  return r;
}

/* ---- keeping ------------------------------------------------------------------------------------------------------- */

wsc_batch *wsc_event_hold(const wsc_event *ev) {
  if (!ev || ev->type != WSC_EVENT_BATCH) return NULL;
  struct wsc_batch *b = ev->core, *held = batch_rest(b, b->count - ev->count);
  if (held && batch_wasteful(held) && batch_compact(held) != WSC_OK) {
    batch_unref(held);
    held = NULL;
  }
  return held;
}

const uint8_t *wsc_batch_arena(const wsc_batch *b, uint64_t *length) {
  if (length) *length = b ? b->length : 0;
  return b ? b->base : NULL;
}

const wsc_record *wsc_batch_records(const wsc_batch *b, uint32_t *count) {
  if (count) *count = b ? b->count : 0;
  return b ? b->records : NULL;
}

void wsc_batch_unref(wsc_batch *b) { batch_unref(b); }
const volatile uint32_t *wsc_engine_control(const wsc_engine *e) { return e ? &e->control : NULL; }
