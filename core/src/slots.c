#define _GNU_SOURCE
#include "slots.h"

#include "error.h"
#include "mem.h"
#include "operation.h"
#include "os.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t IDLE_NS = 10 * NS_PER_S; /* a writer's or pinger's patience */
static const uint64_t WRITTEN_BYTES = 16384;  /* so much is written without telling the actor, unless it was all */

enum role { READER, WRITER, PINGER, CLOSER, ROLES };
static const char *const names[ROLES] = {"wsc-read", "wsc-write", "wsc-ping", "wsc-close"};

struct worker {
  struct slots *slots;
  pthread_cond_t wake;
  bool alive, busy; /* has a thread; is inside a slot */
};

struct outgoing {
  struct outgoing *next;
  size_t length;
  int type;
  uint8_t bytes[];
};

struct slots {
  struct adapter_user user; /* first */
  atomic_uint refs;         /* of the connection, and of each thread */
  struct adapter *adapter;
  uint64_t message_bytes;
  wsc_cancel *cancel, *close_cancel;
  pthread_mutex_t lock; /* after the adapter's, before a cancel's and the loop's */
  struct actor *actor;  /* NULL: let go */
  struct worker workers[ROLES];
  struct slots_news news;

  struct wsc_attempt *dial; /* to be dialed; NULL: nothing (any more) */
  int64_t dial_deadline_ns;
  bool open;   /* dialed well */
  bool gone;   /* the adapter has said that its connection is */
  bool parked; /* the reader waits for slots_read_on */
  uint64_t room;

  struct outgoing *out_head, *out_tail;
  bool written_told, write_failed;

  uint64_t ping_wanted, ping_done, ping_out; /* out: of the call that is under way */
  wsc_cancel *ping_cancel;                   /* of that call */
  int64_t ping_timeout_ns;

  bool close_wanted, close_begun;
  bool close_late; /* no thread could be had for it: the first that returns from its slot does it */
  int close_code;
  int64_t close_timeout_ns;
  char close_reason[124];
};

/* ---- making and freeing -------------------------------------------------------------------------------------------- */

static void slots_unref(struct slots *s) {
  if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
  adapter_release(s->adapter, &s->user);
  adapter_unref(s->adapter);
  wsc_cancel_free(s->cancel);
  wsc_cancel_free(s->close_cancel);
  attempt_free(s->dial);
  wsc_error_unref(s->news.dial);
  wsc_error_unref(s->news.read);
  wsc_error_unref(s->news.write);
  wsc_error_unref(s->news.ping);
  wsc_error_unref(s->news.close);
  wsc_response_free(s->news.answer);
  batch_queue_clear(&s->news.batches);
  for (struct outgoing *m = s->out_head, *next; m; m = next) {
    next = m->next;
    mem_free(m);
  }
  for (int i = 0; i < ROLES; i++) pthread_cond_destroy(&s->workers[i].wake);
  pthread_mutex_destroy(&s->lock);
  mem_free(s);
}

static void kick(struct slots *s) {
  if (s->actor) actor_kick(s->actor, 0);
}

static void adapter_is_free(struct adapter_user *u) {
  struct slots *s = (struct slots *)(void *)u;
  pthread_mutex_lock(&s->lock);
  kick(s);
  pthread_mutex_unlock(&s->lock);
}

int slots_new(struct adapter *a, struct actor *actor, uint64_t message_bytes, struct slots **out) {
  struct slots *s = mem_zalloc(sizeof *s);
  if (!s || wsc_cancel_new(&s->cancel) || wsc_cancel_new(&s->close_cancel)) {
    if (s) wsc_cancel_free(s->cancel);
    mem_free(s);
    return WSC_ERR_NOMEM;
  }
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  for (int i = 0; i < ROLES; i++) {
    s->workers[i].slots = s;
    pthread_cond_init(&s->workers[i].wake, &monotonic);
  }
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&s->lock, NULL);
  atomic_init(&s->refs, 1);
  s->user.wake = adapter_is_free;
  s->adapter = adapter_ref(a);
  s->actor = actor;
  s->message_bytes = message_bytes;
  *out = s;
  return WSC_OK;
}

/* ---- the slots: the lock is held and let go for the call ------------------------------------------------------------ */

static wsc_context context(wsc_cancel *cancel, int64_t deadline_ns) {
  return (wsc_context){.struct_size = sizeof(wsc_context), .deadline_ns = deadline_ns, .cancel = cancel};
}

/* What a slot returned, as one error; NULL: it went well. Takes over what it gave. */
static wsc_error *outcome(int status, wsc_error *given, const char *slot) {
  if (status == WSC_OK) {
    wsc_error_unref(given);
    return NULL;
  }
  if (given && wsc_error_status(given) < 0) return given;
  wsc_error_unref(given);
  if (status > 0)
    return error_make(&(struct error_info){.status = WSC_ERR_HOST}, "the adapter's %s returned %d", slot, status);
  return error_make(&(struct error_info){.status = status}, "the adapter's %s: %s", slot, wsc_status_text(status));
}

static void replace(wsc_error **field, wsc_error *error) {
  wsc_error_unref(*field);
  *field = error;
}

static void call_dial(struct slots *s) {
  const wsc_adapter *v = &s->adapter->vtable;
  struct wsc_attempt *a = s->dial;
  s->dial = NULL;
  wsc_context c = context(s->cancel, s->dial_deadline_ns);
  pthread_mutex_unlock(&s->lock);
  wsc_error *given = NULL;
  wsc_response *answer = wsc_response_new();
  int status = answer ? v->dial(s->adapter->self, &c, a->url.text, a, answer, &given) : WSC_ERR_NOMEM;
  wsc_error *error = outcome(status, given, "dial");
  attempt_free(a);
  if (error) {
    wsc_response_free(answer);
    answer = NULL;
  }
  pthread_mutex_lock(&s->lock);
  s->open = !error;
  s->news.dialed = true;
  s->news.dial = error;
  s->news.answer = answer;
}

/* An adapter that says it has read and has not would be asked for ever. */
static wsc_error *nothing_read(void) {
  return error_make(&(struct error_info){.status = WSC_ERR_HOST}, "the adapter's read returned OK without a message");
}

static wsc_error *not_added(const struct slots *s, const struct batch_room *room) {
  struct error_info info = {.status = room->status};
  unsigned long long n = room->refused, limit = s->message_bytes;
  if (room->status == WSC_ERR_TOO_BIG)
    return error_make(&info, "a message of %llu bytes is larger than max_message_bytes (%llu)", n, limit);
  return error_make(&info, "a message of %llu bytes that the adapter read: %s", n, wsc_status_text(room->status));
}

static void call_read(struct slots *s) {
  const wsc_adapter *v = &s->adapter->vtable;
  pthread_mutex_unlock(&s->lock);
  wsc_context c = context(s->cancel, 0);
  wsc_error *given = NULL, *error = NULL;
  struct batch_room room = {.limit = s->message_bytes};
  struct wsc_batch *b = batch_new(NULL);
  if (b) {
    b->room = &room;
    int status = v->read(s->adapter->self, &c, b, &given);
    error = outcome(status, given, "read");
    b->room = NULL;
    b->received_ns = os_unix_ns();
    if (room.status && (!error || wsc_error_status(error) == room.status)) replace(&error, not_added(s, &room));
    if (!error && b->count == 0) error = nothing_read();
  } else {
    error = outcome(WSC_ERR_NOMEM, NULL, "read");
  }
  pthread_mutex_lock(&s->lock);
  if (b && b->count) batch_queue_push(&s->news.batches, b);
  else batch_unref(b);
  if (!error) return;
  s->parked = true;
  if (wsc_error_status(error) == WSC_ERR_CLOSED || wsc_error_close_code(error)) s->gone = true;
  replace(&s->news.read, error);
}

static void call_write(struct slots *s) {
  const wsc_adapter *v = &s->adapter->vtable;
  struct outgoing *m = s->out_head;
  s->out_head = m->next;
  if (!s->out_head) s->out_tail = NULL;
  pthread_mutex_unlock(&s->lock);
  wsc_context c = context(s->cancel, 0);
  wsc_error *given = NULL;
  int status = v->write(s->adapter->self, &c, m->type, m->bytes, m->length, &given);
  wsc_error *error = outcome(status, given, "write");
  pthread_mutex_lock(&s->lock);
  if (error) {
    s->write_failed = true;
    replace(&s->news.write, error);
  } else {
    s->news.written += m->length;
  }
  mem_free(m);
}

static void call_ping(struct slots *s) {
  const wsc_adapter *v = &s->adapter->vtable;
  wsc_cancel *cancel = NULL;
  int status = wsc_cancel_new(&cancel);
  uint64_t serial = s->ping_out = s->ping_wanted;
  s->ping_cancel = cancel;
  int64_t began = os_now_ns(), until = began + s->ping_timeout_ns;
  pthread_mutex_unlock(&s->lock);
  wsc_context c = context(cancel, until);
  wsc_error *given = NULL;
  if (!status) status = v->ping(s->adapter->self, &c, &given);
  wsc_error *error = outcome(status, given, "ping");
  pthread_mutex_lock(&s->lock);
  int64_t now = os_now_ns();
  bool in_vain = error && wsc_error_status(error) == WSC_ERR_TIMEOUT && now >= until;
  bool dropped = error && wsc_cancel_fired(cancel);
  s->ping_cancel = NULL;
  wsc_cancel_free(cancel);
  if (!in_vain) s->ping_done = serial;
  if (in_vain || dropped) { /* keepalive's clock judges, or nobody waits any more */
    wsc_error_unref(error);
    return;
  }
  s->news.pong_serial = serial;
  s->news.ping_began_ns = began;
  s->news.ping_ended_ns = now;
  replace(&s->news.ping, error);
}

static void call_close(struct slots *s) {
  const wsc_adapter *v = &s->adapter->vtable;
  s->close_begun = s->news.close_began = true;
  int code = s->close_code;
  wsc_context c = context(s->close_cancel, os_now_ns() + (s->actor ? s->close_timeout_ns : 0));
  kick(s);
  pthread_mutex_unlock(&s->lock);
  wsc_error *given = NULL;
  int status = v->close(s->adapter->self, &c, code, s->close_reason, &given);
  wsc_error *error = outcome(status, given, "close");
  pthread_mutex_lock(&s->lock);
  s->gone = s->news.closed = true;
  replace(&s->news.close, error);
}

/* ---- threads: the lock is held ------------------------------------------------------------------------------------- */

static bool close_due(const struct slots *s) {
  if (!s->close_wanted || s->close_begun || !s->open) return false;
  if (!s->actor) return !s->gone;
  return s->write_failed || (!s->out_head && !s->workers[WRITER].busy);
}

/* The call that this thread has to make now; NULL: none. */
static void (*next_call(const struct slots *s, enum role r))(struct slots *) {
  bool over = !s->actor;
  if (s->close_late && close_due(s)) return call_close;
  switch (r) {
  case READER:
    if (s->dial) return over ? NULL : call_dial;
    return s->open && !over && !s->gone && !s->parked && s->news.batches.cost < s->room ? call_read : NULL;
  case WRITER: return s->open && !over && !s->gone && s->out_head && !s->write_failed ? call_write : NULL;
  case PINGER: return s->open && !over && !s->gone && s->ping_wanted > s->ping_done ? call_ping : NULL;
  default: return close_due(s) ? call_close : NULL;
  }
}

static int start(struct slots *s, enum role r);

/* A call whose pong nobody waits for gives way to those that come after it. */
static void drop_ping(struct slots *s, uint64_t oldest) {
  if (s->ping_cancel && s->ping_out < oldest) wsc_cancel_fire(s->ping_cancel);
}

static void cancel_all(struct slots *s) {
  wsc_cancel_fire(s->cancel);
  drop_ping(s, UINT64_MAX);
}

static void begin_close(struct slots *s) {
  if (!close_due(s) || start(s, CLOSER) == WSC_OK) return;
  s->close_late = true;
  cancel_all(s);
  for (int i = 0; i < ROLES; i++) pthread_cond_broadcast(&s->workers[i].wake);
}

/* Whether the actor should look now. */
static bool worth_telling(const struct slots *s, enum role r) {
  return r != WRITER || !s->out_head || s->write_failed || s->news.written >= WRITTEN_BYTES;
}

/* After a call. */
static void after(struct slots *s, enum role r) {
  if (worth_telling(s, r)) kick(s);
  if (!s->actor && s->open && !s->gone && !s->close_wanted) { /* a dial that came too late */
    s->close_wanted = true;
    s->close_code = WSC_CLOSE_GOING_AWAY;
  }
  begin_close(s);
}

/* false: there was nothing to do for too long. */
static bool wait_for_work(struct slots *s, enum role r) {
  if (r == READER) return pthread_cond_wait(&s->workers[r].wake, &s->lock) == 0;
  int64_t until = os_now_ns() + IDLE_NS;
  struct timespec at = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
  return pthread_cond_timedwait(&s->workers[r].wake, &s->lock, &at) == 0 || next_call(s, r);
}

static void *worker_main(void *arg) {
  struct worker *w = arg;
  struct slots *s = w->slots;
  enum role r = (enum role)(w - s->workers);
  pthread_mutex_lock(&s->lock);
  for (;;) {
    void (*call)(struct slots *) = next_call(s, r);
    if (call) {
      w->busy = true;
      call(s);
      w->busy = false;
      after(s, r);
    } else if (!s->actor || r == CLOSER || !wait_for_work(s, r)) {
      break;
    }
  }
  w->alive = false;
  pthread_mutex_unlock(&s->lock);
  slots_unref(s);
  return NULL;
}

/* Work has come for it. WSC_ERR_NOMEM: it has no thread, and there is none to be had. */
static int start(struct slots *s, enum role r) {
  struct worker *w = &s->workers[r];
  if (w->alive) {
    pthread_cond_signal(&w->wake);
    return WSC_OK;
  }
  atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
  w->alive = true;
  if (os_thread(worker_main, w, names[r], true, NULL) == 0) return WSC_OK;
  w->alive = false;
  atomic_fetch_sub_explicit(&s->refs, 1, memory_order_relaxed);
  return WSC_ERR_NOMEM;
}

/* ---- for the connection -------------------------------------------------------------------------------------------- */

bool slots_claim(struct slots *s) { return adapter_claim(s->adapter, &s->user); }

int slots_dial(struct slots *s, const struct url *url, wsc_options *o, int64_t deadline_ns) {
  struct wsc_attempt *a = attempt_new(url, o);
  if (!a) return WSC_ERR_NOMEM;
  pthread_mutex_lock(&s->lock);
  s->dial = a;
  s->dial_deadline_ns = deadline_ns;
  int r = start(s, READER);
  if (r) s->dial = NULL;
  pthread_mutex_unlock(&s->lock);
  if (r) attempt_free(a);
  return r;
}

void slots_collect(struct slots *s, struct slots_news *out) {
  pthread_mutex_lock(&s->lock);
  *out = s->news;
  s->news = (struct slots_news){0};
  out->idle = true;
  for (int i = 0; i < ROLES; i++) out->idle = out->idle && !s->workers[i].busy;
  pthread_mutex_unlock(&s->lock);
}

void slots_room(struct slots *s, uint64_t bytes) {
  pthread_mutex_lock(&s->lock);
  s->room = bytes;
  if (s->workers[READER].alive && next_call(s, READER)) pthread_cond_signal(&s->workers[READER].wake);
  pthread_mutex_unlock(&s->lock);
}

void slots_read_on(struct slots *s) {
  pthread_mutex_lock(&s->lock);
  if (!s->news.read) s->parked = false; /* one that nobody has collected comes first */
  if (!s->parked) pthread_cond_signal(&s->workers[READER].wake);
  pthread_mutex_unlock(&s->lock);
}

int slots_write(struct slots *s, int type, const uint8_t *p, size_t n) {
  struct outgoing *m = mem_alloc(sizeof *m + n);
  if (!m) return WSC_ERR_NOMEM;
  *m = (struct outgoing){.type = type, .length = n};
  if (n) memcpy(m->bytes, p, n);
  pthread_mutex_lock(&s->lock);
  int r = start(s, WRITER);
  if (!r) {
    if (s->out_tail) s->out_tail->next = m;
    else s->out_head = m;
    s->out_tail = m;
  }
  pthread_mutex_unlock(&s->lock);
  if (r) mem_free(m);
  return r;
}

void slots_ping_oldest(struct slots *s, uint64_t oldest) {
  pthread_mutex_lock(&s->lock);
  drop_ping(s, oldest);
  pthread_mutex_unlock(&s->lock);
}

int slots_ping(struct slots *s, uint64_t serial, uint64_t oldest, int64_t timeout_ns) {
  pthread_mutex_lock(&s->lock);
  int r = start(s, PINGER);
  if (!r) {
    s->ping_wanted = serial;
    s->ping_timeout_ns = timeout_ns;
    drop_ping(s, oldest);
  }
  pthread_mutex_unlock(&s->lock);
  return r;
}

void slots_close(struct slots *s, int code, const char *reason, int64_t timeout_ns) {
  pthread_mutex_lock(&s->lock);
  s->close_wanted = true;
  s->close_code = code;
  s->close_timeout_ns = timeout_ns;
  snprintf(s->close_reason, sizeof s->close_reason, "%s", reason);
  begin_close(s); /* when it is due; otherwise who makes it so begins it */
  pthread_mutex_unlock(&s->lock);
}

void slots_cancel(struct slots *s) {
  pthread_mutex_lock(&s->lock);
  cancel_all(s);
  pthread_mutex_unlock(&s->lock);
}

void slots_let_go(struct slots *s, int code) {
  if (!s) return;
  pthread_mutex_lock(&s->lock);
  s->actor = NULL;
  cancel_all(s);
  if (s->close_begun) wsc_cancel_fire(s->close_cancel);
  if (s->open && !s->gone && !s->close_wanted) {
    s->close_wanted = true;
    s->close_code = code;
  }
  begin_close(s);
  for (int i = 0; i < ROLES; i++) pthread_cond_broadcast(&s->workers[i].wake);
  pthread_mutex_unlock(&s->lock);
  slots_unref(s);
}
