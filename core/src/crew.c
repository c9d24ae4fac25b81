#define _GNU_SOURCE
#include "crew.h"

#include "callback.h"
#include "engine.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "trace.h"

#include <string.h>
#include <time.h>

static const int64_t IDLE_NS = 10 * NS_PER_S; /* a spare thread's patience */
static const int64_t URGENT_NS =
    NS_PER_S; /* after callbacks have blocked, a spare takes the lead at once for so long */

/* A batch that several readers take from; lives on with the last of them. */
struct share {
  struct share *next;
  atomic_uint refs;
  atomic_bool finished; /* its event was answered */
  wsc_event event;
};

struct crew {
  wsc_loop *loop;
  pthread_mutex_t lock;
  pthread_cond_t spare_cond, gone_cond;
  unsigned max, threads;
  atomic_uint spares;  /* changed under the lock */
  atomic_bool leading; /* a thread is in wsc_loop_next, or on its way there */
  atomic_bool retired; /* set under the lock */
  bool outside_waits, left_any;
  pthread_t
      left; /* the thread that left last; the next to leave joins it, so that none outlives the crew by its exit */
  _Atomic int64_t urgent_until_ns;
  struct share *shares;
};

THREAD_POINTER struct crew *my_crew;

static int add_thread(struct crew *c);

/* ---- batches ------------------------------------------------------------------------------------------------------- */

static void share_unref(struct share *s) {
  if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) mem_free(s);
}

static void withdraw(struct crew *c, struct share *s);

/* Whoever takes the last record says so before its callback runs: no callback holds back what comes next. */
static void taken(struct crew *c, struct share *s, const wsc_event *ev) {
  if (s && atomic_exchange(&s->finished, true)) return;
  if (s) withdraw(c, s);
  engine_batch_taken(ev->engine, ev->core);
}

/* The next record that is this reader's; false: there is none. One of several readers pays an atomic operation for it, a lone one a plain store and a
 * look (see engine_events.c). */
static inline bool next_record(wsc_engine *e, struct wsc_batch *b, bool solo, uint32_t *at) {
  if (!solo) return (*at = atomic_fetch_add_explicit(&b->cursor, 1, memory_order_relaxed)) < b->count;
  *at = atomic_load_explicit(&b->cursor, memory_order_relaxed); /* a read verb in the callback moves it too */
  if (*at >= b->count) return false;
  atomic_store_explicit(&b->cursor, *at + 1, memory_order_relaxed);
  atomic_signal_fence(memory_order_seq_cst);
  return !atomic_load_explicit(&b->cut, memory_order_relaxed) || engine_keeps(e, b, *at);
}

/* Delivers until there is nothing more to take: the message path. s: NULL when nobody shares. */
static void take_all(struct crew *c, struct share *s, const wsc_event *ev) {
  wsc_engine *e = ev->engine;
  struct wsc_batch *b = ev->core;
  void (*on_message)(wsc_session *, int, const uint8_t *, size_t, void *) = e->callbacks.on_message;
  struct callback_frame f = {.engine = e, .event = ev};
  callback_push(&f);
  const bool solo = b->solo;
  uint32_t last = b->count - 1;
  for (uint32_t at; next_record(e, b, solo, &at);) {
    const wsc_record *r = &b->records[at];
    if (at == last && ev->count > 1) taken(c, s, ev);
    if (on_message) on_message(ev->session, r->type, ev->arena + r->offset, r->length, e->user);
  }
  callback_pop();
}

/* The same, with the spans of each message. */
static void take_all_traced(struct crew *c, struct share *s, const wsc_event *ev) {
  wsc_engine *e = ev->engine;
  struct wsc_batch *b = ev->core;
  struct callback_frame f = {.engine = e, .event = ev};
  const bool solo = b->solo;
  uint32_t last = b->count - 1;
  for (uint32_t at; next_record(e, b, solo, &at);) {
    const wsc_record *r = &b->records[at];
    if (at == last && ev->count > 1) taken(c, s, ev);
    struct trace_call call = {0};
    trace_message_before(e, ev, r->type, r->length, &call);
    f.span = call.span;
    callback_push(&f);
    if (e->callbacks.on_message)
      e->callbacks.on_message(ev->session, r->type, ev->arena + r->offset, r->length, e->user);
    callback_pop();
    trace_after(e, ev, &call, WSC_OK);
  }
}

/* Lets one more thread take from the batch, if there is one to be had. It is entered here, on that thread's behalf, so that the batch is
 * still there when it comes. */
static void offer(struct crew *c, struct share *s) {
  const struct wsc_batch *b = s->event.core;
  if (atomic_load_explicit(&b->cursor, memory_order_relaxed) + 1 >= b->count) return;
  pthread_mutex_lock(&c->lock);
  bool can = !c->retired && (c->spares || c->threads < c->max);
  pthread_mutex_unlock(&c->lock);
  wsc_event theirs = s->event;
  theirs.flags &= ~(uint32_t)EVENT_ENTERED;
  if (!can || !wsc_event_enter(&theirs)) return;
  pthread_mutex_lock(&c->lock);
  bool got = c->spares || add_thread(c) == WSC_OK;
  if (got) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    s->next = c->shares;
    c->shares = s;
    pthread_cond_signal(&c->spare_cond);
  }
  pthread_mutex_unlock(&c->lock);
  if (!got) wsc_event_leave(&theirs);
}

/* Takes the offer back if nobody has come for it. */
static void withdraw(struct crew *c, struct share *s) {
  bool found = false;
  pthread_mutex_lock(&c->lock);
  for (struct share **at = &c->shares; *at; at = &(*at)->next) {
    if (*at != s) continue;
    *at = s->next;
    found = true;
    break;
  }
  pthread_mutex_unlock(&c->lock);
  if (!found) return;
  wsc_event theirs = s->event;
  wsc_event_leave(&theirs);
  share_unref(s);
}

/* One reader of a shared batch; it has been entered. */
static void read_share(struct crew *c, struct share *s) {
  wsc_event mine = s->event;
  offer(c, s);
  if (mine.engine->trace) take_all_traced(c, s, &mine);
  else take_all(c, s, &mine);
  withdraw(c, s);
  wsc_event_leave(&mine);
  share_unref(s);
}

static void run_batch(struct crew *c, wsc_event *ev) {
  struct share *s = ev->engine->reader_count > 1 && ev->count > 1 ? mem_zalloc(sizeof *s) : NULL;
  if (!s) { /* the usual case; without memory one reader is better than none */
    if (ev->engine->trace) take_all_traced(c, NULL, ev);
    else take_all(c, NULL, ev);
    wsc_event_leave(ev);
    return;
  }
  atomic_init(&s->refs, 1);
  s->event = *ev;
  read_share(c, s);
}

/* ---- the other callbacks ------------------------------------------------------------------------------------------- */

static void run_closed(const wsc_event *ev, wsc_reply *reply, wsc_close *out) {
  ev->engine->callbacks.on_close(ev->session, ev->close, out, ev->user);
  reply->close_code = out->code;
  reply->close_reason = out->reason;
}

static void run_event(struct crew *c, wsc_event *ev) {
  if (ev->type == WSC_EVENT_BATCH) {
    run_batch(c, ev);
    return;
  }
  wsc_engine *e = ev->engine;
  wsc_reply reply = {.struct_size = sizeof reply};
  wsc_close close_reply = {.struct_size = sizeof close_reply};
  struct callback_frame f = {.engine = e, .event = ev};
  const wsc_callbacks *cb = e ? &e->callbacks : NULL;
  struct trace *trace = e ? e->trace : NULL;
  struct trace_call call = {0};
  if (trace) trace_before(e, ev, &call);
  f.span = call.span;
  callback_push(&f);
  switch (ev->type) {
  case WSC_EVENT_OPENED:
    if (cb->on_open) reply.status = cb->on_open(ev->session, ev->response, ev->flags & WSC_EVENT_RESTARTING, ev->user);
    break;
  case WSC_EVENT_READ_ERROR:
    if (cb->on_read_error) cb->on_read_error(ev->session, ev->error, ev->user);
    break;
  case WSC_EVENT_CLOSED:
    if (cb->on_close) run_closed(ev, &reply, &close_reply);
    break;
  case WSC_EVENT_CLOSE_ERROR:
    if (cb->on_close_error) cb->on_close_error(ev->session, ev->error, ev->user);
    break;
  case WSC_EVENT_RESTART_ERROR:
    if (cb->on_restart_error) cb->on_restart_error(e, ev->error, ev->retry, ev->flags & WSC_EVENT_LAST, ev->user);
    break;
  case WSC_EVENT_BEFORE_ATTEMPT:
    if (cb->before_attempt && !cb->before_attempt(e, ev->attempt, ev->user)) reply.status = WSC_ERR_CANCELED;
    break;
  case WSC_EVENT_STOPPED:
    if (cb->on_stopped) cb->on_stopped(e, ev->status, ev->error, ev->user);
    break;
  case WSC_EVENT_LOG: log_deliver(e, ev); break;
  default: break; /* a completion nobody on this loop listens for */
  }
  callback_pop();
  if (trace) trace_after(e, ev, &call, reply.status ? WSC_ERR_HOST : WSC_OK);
  loop_coming_back(c->loop);
  wsc_event_done(ev, &reply);
  loop_coming_back(NULL);
}

/* ---- threads ------------------------------------------------------------------------------------------------------- */

static void crew_free(struct crew *c) {
  wsc_loop *l = c->loop;
  pthread_mutex_destroy(&c->lock);
  pthread_cond_destroy(&c->spare_cond);
  pthread_cond_destroy(&c->gone_cond);
  mem_free(c);
  loop_destroy(l);
}

/* Takes events and runs them for as long as nobody else leads. No lock: this is the message path. */
static void lead(struct crew *c) {
  bool answered = false;
  while (!c->retired && !atomic_exchange(&c->leading, true)) {
    wsc_event ev = {.struct_size = sizeof ev};
    int r = wsc_loop_next(c->loop, -1, &ev);
    atomic_store(&c->leading, false);
    if (r != WSC_OK) return;
    answered = true;
    if (c->spares && c->urgent_until_ns && os_now_ns() < c->urgent_until_ns) {
      pthread_mutex_lock(&c->lock);
      pthread_cond_signal(&c->spare_cond);
      pthread_mutex_unlock(&c->lock);
    }
    run_event(c, &ev);
  }
  if (answered) loop_stay_away(c->loop); /* who leads now may have looked before there was work */
}

/* Waits for something to do. false: nothing came for long, and there are others. */
static bool wait_spare(struct crew *c) {
  c->spares++;
  bool called = os_cond_wait(&c->spare_cond, &c->lock, os_now_ns() + IDLE_NS);
  c->spares--;
  return called || c->shares || !c->leading || c->retired;
}

static void *crew_main(void *arg) {
  struct crew *c = my_crew = arg;
  pthread_mutex_lock(&c->lock);
  for (;;) {
    if (c->shares) {
      struct share *s = c->shares;
      c->shares = s->next;
      pthread_mutex_unlock(&c->lock);
      read_share(c, s);
      pthread_mutex_lock(&c->lock);
    } else if (c->retired) {
      break;
    } else if (!c->leading) {
      pthread_mutex_unlock(&c->lock);
      lead(c);
      pthread_mutex_lock(&c->lock);
    } else if (!wait_spare(c)) {
      break;
    }
  }
  bool last = --c->threads == 0 && c->retired;
  bool mine = last && !c->outside_waits, others = c->left_any;
  pthread_t before = c->left;
  c->left = pthread_self();
  c->left_any = true;
  if (last && !mine) pthread_cond_signal(&c->gone_cond);
  pthread_mutex_unlock(&c->lock);
  if (others) pthread_join(before, NULL);
  if (mine) {
    pthread_detach(pthread_self());
    crew_free(c);
  }
  return NULL;
}

static int add_thread(struct crew *c) {
  if (c->threads >= c->max) return WSC_ERR_STATE;
  pthread_t unused; /* each joins the one that left before it */
  if (os_thread(crew_main, c, "wsc-crew", false, &unused)) return WSC_ERR_NOMEM;
  c->threads++;
  return WSC_OK;
}

int crew_new(wsc_loop *l, unsigned max_threads, struct crew **out, wsc_error **err) {
  struct crew *c = mem_zalloc(sizeof *c);
  if (!c) return error_set(err, WSC_ERR_NOMEM, "out of memory for callback threads");
  pthread_mutex_init(&c->lock, NULL);
  os_cond_init(&c->spare_cond);
  os_cond_init(&c->gone_cond);
  c->loop = l;
  c->max = max_threads;
  pthread_mutex_lock(&c->lock);
  int r = add_thread(c);
  pthread_mutex_unlock(&c->lock);
  if (r) {
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->spare_cond);
    pthread_cond_destroy(&c->gone_cond);
    mem_free(c);
    return error_set(err, WSC_ERR_NOMEM, "no thread for callbacks could be started");
  }
  *out = c;
  return WSC_OK;
}

void crew_wanted(struct crew *c) {
  pthread_mutex_lock(&c->lock);
  if (!c->leading && !c->retired) {
    c->urgent_until_ns = os_now_ns() + URGENT_NS;
    if (c->spares) pthread_cond_signal(&c->spare_cond);
    else add_thread(c);
  }
  pthread_mutex_unlock(&c->lock);
}

void crew_retire(struct crew *c) {
  wsc_loop *l = c->loop;
  bool inside = my_crew == c;
  pthread_mutex_lock(&c->lock);
  c->retired = true;
  c->outside_waits = !inside;
  pthread_cond_broadcast(&c->spare_cond);
  pthread_mutex_unlock(&c->lock);
  wsc_loop_wake(l);
  if (inside) return;
  pthread_mutex_lock(&c->lock);
  while (c->threads) pthread_cond_wait(&c->gone_cond, &c->lock);
  pthread_mutex_unlock(&c->lock);
  pthread_join(c->left, NULL);
  crew_free(c);
}
