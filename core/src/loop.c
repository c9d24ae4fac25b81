#define _GNU_SOURCE
#include "loop.h"

#include "crew.h"
#include "error.h"
#include "mem.h"
#include "operation.h"
#include "os.h"
#include "sized.h"
#include "standby.h"

#include <errno.h>
#include <time.h>

enum { RUNS_PER_POLL = 32 };              /* a flood on one socket must not starve timers and other sockets */
static const int64_t SLEPT_NS = NS_PER_S; /* a jump of boottime against the monotonic clock that counts as suspend */
static const int64_t BREATHER_NS = NS_PER_MS;

/* What a lent thread is here for. */
struct drive {
  wsc_loop *loop;
  wsc_event *event;    /* takes events into it; NULL: only protocol work */
  const wsc_op *op;    /* leaves when it has ended */
  int64_t deadline_ns; /* < 0: none */
};
THREAD_POINTER const struct drive *driving;
THREAD_POINTER const wsc_loop *coming_back;

/* ---- waking -------------------------------------------------------------------------------------------------------- */

static void raise_fd(wsc_loop *l) {
  if (l->raised) return;
  l->raised = true;
  poller_wake(&l->poller);
}

static void lower_fd(wsc_loop *l) {
  if (!l->raised) return;
  l->raised = false;
  poller_unwake(&l->poller);
}

/* There is work: see that a thread looks at it. The thread that made it while it drives this loop looks itself. */
static void notify(wsc_loop *l) {
  if (driving && driving->loop == l && (driving->event || !l->event_head)) return;
  if (l->event_head && l->next_waiters) pthread_cond_signal(&l->next_cond);
  else if (l->polling) raise_fd(l);
  else if (l->next_waiters) pthread_cond_signal(&l->next_cond);
  else {
    if (l->lend_waiters && l->run_head) pthread_cond_broadcast(&l->op_cond);
    if (coming_back != l) raise_fd(l);
  }
}

void loop_coming_back(const wsc_loop *l) { coming_back = l; }

void loop_stay_away(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  if (l->run_head || l->event_head) notify(l);
  pthread_mutex_unlock(&l->lock);
}

/* A thread leaves with work still there. A crew's leader comes back for it; should its callback take long, the standby, which stays suspicious while there
 * is work, finds somebody else. Raising the fd each time would cost a flood two system calls a batch. */
static void leave_work(wsc_loop *l) {
  if (!l->crew || l->polling || l->wakes || !l->standby_watches) notify(l);
  else if (l->next_waiters) pthread_cond_signal(&l->next_cond);
  else if (l->lend_waiters && l->run_head) pthread_cond_broadcast(&l->op_cond);
}

/* ---- actors -------------------------------------------------------------------------------------------------------- */

static void enqueue(wsc_loop *l, struct actor *a, uint32_t why) {
  if (!a->joined) return;
  a->why |= why;
  if (a->state == ACTOR_RUNNING) a->state = ACTOR_AGAIN;
  if (a->state != ACTOR_IDLE) return;
  a->state = ACTOR_QUEUED;
  actor_ref(a);
  a->next = NULL;
  if (l->run_tail) l->run_tail->next = a;
  else l->run_head = a;
  l->run_tail = a;
}

/* Lets a reference go that is not the last. */
static bool unref_one_of_many(struct actor *a) {
  unsigned refs = atomic_load_explicit(&a->refs, memory_order_relaxed);
  while (refs > 1)
    if (atomic_compare_exchange_weak_explicit(&a->refs, &refs, refs - 1, memory_order_acq_rel, memory_order_relaxed))
      return true;
  return false;
}

/* Runs the first actor of the queue. Called with the lock held, which is let go meanwhile. */
static void run_one(wsc_loop *l) {
  struct actor *a = l->run_head;
  l->run_head = a->next;
  if (!l->run_head) l->run_tail = NULL;
  uint32_t why = a->why;
  a->why = 0;
  a->state = ACTOR_RUNNING;
  bool joined = a->joined;
  l->runs++;
  pthread_mutex_unlock(&l->lock);
  if (joined) a->run(a, why);
  pthread_mutex_lock(&l->lock);
  bool again = a->state == ACTOR_AGAIN;
  a->state = ACTOR_IDLE;
  if (again) enqueue(l, a, 0);
  if (unref_one_of_many(a)) return;
  pthread_mutex_unlock(&l->lock); /* the last one: it is destroyed */
  actor_unref(a);
  pthread_mutex_lock(&l->lock);
}

int actor_join(struct actor *a, wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  int r = timers_join(&l->timers);
  if (r == WSC_OK) {
    a->loop = loop_ref(l);
    a->joined = true;
    a->all_previous = NULL;
    a->all_next = l->all;
    if (l->all) l->all->all_previous = a;
    l->all = a;
  }
  pthread_mutex_unlock(&l->lock);
  return r;
}

void actor_leave(struct actor *a) {
  wsc_loop *l = a->loop;
  if (!l) return;
  pthread_mutex_lock(&l->lock);
  if (a->joined) {
    a->joined = false;
    timers_set(&l->timers, &a->timer, 0);
    timers_leave(&l->timers);
    if (a->all_previous) a->all_previous->all_next = a->all_next;
    else l->all = a->all_next;
    if (a->all_next) a->all_next->all_previous = a->all_previous;
  }
  pthread_mutex_unlock(&l->lock);
}

struct actor *actor_ref(struct actor *a) {
  atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
  return a;
}

void actor_unref(struct actor *a) {
  if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1) a->destroy(a);
}

/* A poll under way may hold a pointer to the actor in its results; the polling thread frees it when it has looked at them. */
void actor_bury(struct actor *a, void (*release)(struct actor *)) {
  wsc_loop *l = a->loop;
  if (!l) {
    release(a);
    return;
  }
  actor_leave(a);
  pthread_mutex_lock(&l->lock);
  bool later = l->polling;
  if (later) {
    a->release = release;
    a->grave_next = l->graveyard;
    l->graveyard = a;
    raise_fd(l);
  }
  pthread_mutex_unlock(&l->lock);
  if (later) return; /* the loop's reference goes with the grave */
  release(a);
  loop_unref(l);
}

static void empty_graveyard(wsc_loop *l) {
  while (l->graveyard) {
    struct actor *a = l->graveyard;
    l->graveyard = a->grave_next;
    pthread_mutex_unlock(&l->lock);
    a->release(a);
    loop_unref(l); /* never the last: the thread that empties it holds one */
    pthread_mutex_lock(&l->lock);
  }
}

void actor_kick(struct actor *a, uint32_t why) {
  wsc_loop *l = a->loop;
  pthread_mutex_lock(&l->lock);
  enum actor_state was = a->state;
  enqueue(l, a, why | ACTOR_KICKED);
  if (was == ACTOR_IDLE && a->state == ACTOR_QUEUED) notify(l);
  pthread_mutex_unlock(&l->lock);
}

/* ---- timers -------------------------------------------------------------------------------------------------------- */

/* An alarm that is too early only costs one look; so it is set again only when a timer is due before it. */
static void set_alarm(wsc_loop *l) {
  const struct timer *first = timers_first(&l->timers);
  if (!first || (l->alarm_ns && l->alarm_ns <= first->due_ns)) return;
  l->alarm_ns = first->due_ns;
  int64_t in = first->due_ns - os_now_ns();
  poller_alarm(&l->poller, in > 0 ? in : 0);
}

void actor_timer(struct actor *a, uint32_t why, int64_t due_ns) {
  if (why & ACTOR_TIMER) a->due_ns = 0;
  if (!due_ns || (a->due_ns && a->due_ns <= due_ns)) return;
  a->due_ns = due_ns;
  wsc_loop *l = a->loop;
  pthread_mutex_lock(&l->lock);
  if (a->joined) {
    timers_set(&l->timers, &a->timer, due_ns);
    set_alarm(l);
  }
  pthread_mutex_unlock(&l->lock);
}

static void run_timers(wsc_loop *l) {
  poller_alarm_seen(&l->poller);
  l->alarm_ns = 0;
  int64_t now = os_now_ns();
  int64_t asleep = os_boottime_ns() - now;
  if (asleep - l->asleep_ns > SLEPT_NS)
    for (struct actor *a = l->all; a; a = a->all_next) enqueue(l, a, ACTOR_SLEPT);
  l->asleep_ns = asleep;
  for (struct timer *t; (t = timers_first(&l->timers)) && t->due_ns <= now;) {
    timers_set(&l->timers, t, 0);
    enqueue(l, (struct actor *)(void *)t, ACTOR_TIMER);
  }
  set_alarm(l);
}

/* ---- lending ------------------------------------------------------------------------------------------------------- */

/* One wait of the poller. Called with the lock held, which is let go meanwhile. */
static void poll_once(wsc_loop *l, int64_t timeout_ns, const wsc_op *op) {
  struct poller_result result;
  l->polling = true;
  l->poller_op = op;
  pthread_mutex_unlock(&l->lock);
  poller_wait(&l->poller, timeout_ns, &result);
  pthread_mutex_lock(&l->lock);
  l->polling = false;
  l->poller_op = NULL;
  l->runs = 0;
  for (int i = 0; i < result.count; i++) enqueue(l, result.events[i].owner, result.events[i].ready);
  if (result.alarmed) run_timers(l);
  if (result.woken && !l->event_head && !l->wakes)
    lower_fd(l); /* a thread that takes no events must not silence them */
  empty_graveyard(l);
  if (l->next_waiters && l->run_head && l->run_head->next) pthread_cond_signal(&l->next_cond);
}

static struct event_node *pop_event(wsc_loop *l) {
  struct event_node *n = l->event_head;
  l->event_head = n->next;
  if (!l->event_head) l->event_tail = NULL;
  n->queued = false;
  return n;
}

/* Nothing can be done right now: poll, or wait for the thread that does. false: the time is up. */
static bool idle(wsc_loop *l, const struct drive *d, bool *polled) {
  int64_t left = -1;
  if (d->deadline_ns >= 0) {
    left = d->deadline_ns - os_now_ns();
    if (left < 0) left = 0;
  }
  if (!l->polling && !(left == 0 && *polled && !l->run_head)) {
    poll_once(l, l->run_head ? 0 : left, d->op);
    *polled = true;
    if (!d->event && (l->event_head || l->wakes) &&
        !l->run_head) {            /* events this thread may not take would make it spin */
      if (l->crew && !l->takers) { /* this thread is the crew's, in a callback that waits: somebody else must lead */
        pthread_mutex_unlock(&l->lock);
        crew_wanted(l->crew);
        pthread_mutex_lock(&l->lock);
      }
      int64_t until = os_now_ns() + BREATHER_NS;
      os_cond_wait(&l->op_cond, &l->lock, d->deadline_ns >= 0 && d->deadline_ns < until ? d->deadline_ns : until);
    }
    return true;
  }
  if (left == 0) return false;
  unsigned *waiters = d->event ? &l->next_waiters : &l->lend_waiters;
  ++*waiters;
  os_cond_wait(d->event ? &l->next_cond : &l->op_cond, &l->lock, d->deadline_ns);
  --*waiters;
  return true;
}

static int drive(const struct drive *d) {
  wsc_loop *l = d->loop;
  const struct drive *outer = driving;
  int status = WSC_AGAIN;
  bool polled = false;
  driving = d;
  pthread_mutex_lock(&l->lock);
  l->turns++;
  l->present++;
  if (d->event) l->takers++, l->takes++;
  for (;;) {
    if (d->event && l->event_head) {
      struct event_node *n = pop_event(l);
      struct actor *owner = n->owner; /* read now: the node may be gone with what it speaks of */
      pthread_mutex_unlock(&l->lock);
      bool given = n->fill(n, d->event);
      if (owner) actor_unref(owner);
      pthread_mutex_lock(&l->lock);
      if (given) {
        status = WSC_OK;
        break;
      }
      continue;
    }
    if (d->op && !wsc_op_pending(d->op)) {
      status = WSC_OK;
      break;
    }
    if (d->event && l->wakes) {
      l->wakes--;
      break;
    }
    if (l->run_head && (l->runs < RUNS_PER_POLL || l->polling)) {
      run_one(l);
      continue;
    }
    if (!idle(l, d, &polled)) break;
  }
  l->present--;
  l->turns++;
  if (d->event) l->takers--, l->takes++;
  driving = outer;
  if (l->event_head || l->run_head || l->wakes) {
    leave_work(l);
  } else {
    if (!l->polling) lower_fd(l);
    if (!l->polling && l->next_waiters) pthread_cond_signal(&l->next_cond); /* somebody else must poll now */
    else if (!l->polling && l->lend_waiters) pthread_cond_broadcast(&l->op_cond);
  }
  pthread_mutex_unlock(&l->lock);
  return status;
}

int64_t loop_deadline(int64_t timeout_ns) {
  if (timeout_ns < 0) return -1;
  int64_t now = os_now_ns();
  return timeout_ns > INT64_MAX - now ? -1 : now + timeout_ns;
}

int wsc_loop_next(wsc_loop *l, int64_t timeout_ns, wsc_event *ev) {
  if (!l || !ev || ev->struct_size < FIRST_EVENT) return WSC_ERR_INVALID;
  if (loop_forked(l)) return WSC_ERR_FORKED;
  struct drive d = {.loop = l, .event = ev, .deadline_ns = timeout_ns == 0 ? 0 : loop_deadline(timeout_ns)};
  if (ev->struct_size >= sizeof *ev) return drive(&d);
  wsc_event whole; /* an older caller's is too short to be filled in place */
  sized_read(&whole, sizeof whole, ev);
  d.event = &whole;
  int r = drive(&d);
  sized_write(ev, &whole, sizeof whole);
  return r;
}

void wsc_loop_wake(wsc_loop *l) {
  if (!l || loop_forked(l)) return;
  pthread_mutex_lock(&l->lock);
  l->wakes++;
  if (l->next_waiters) pthread_cond_signal(&l->next_cond);
  else raise_fd(l);
  if (l->spares) pthread_cond_signal(&l->spare_cond); /* whoever comes first */
  pthread_mutex_unlock(&l->lock);
}

int wsc_loop_spare(wsc_loop *l, int64_t timeout_ns) {
  if (!l) return WSC_ERR_INVALID;
  if (loop_forked(l)) return WSC_ERR_FORKED;
  int64_t deadline_ns = loop_deadline(timeout_ns);
  pthread_mutex_lock(&l->lock);
  bool in_time = true;
  l->spares++;
  while (!l->spare_called && !l->wakes && in_time) in_time = os_cond_wait(&l->spare_cond, &l->lock, deadline_ns);
  l->spares--;
  bool called = l->spare_called;
  if (called) l->spare_called = false;
  else if (l->wakes) l->wakes--;
  pthread_mutex_unlock(&l->lock);
  return called ? WSC_OK : WSC_AGAIN;
}

void loop_call_spare(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  if (l->spares) {
    l->spare_called = true;
    pthread_cond_signal(&l->spare_cond);
  }
  pthread_mutex_unlock(&l->lock);
}

int loop_wait_op(wsc_loop *l, const wsc_op *op, int64_t deadline_ns, bool lend) {
  pthread_mutex_lock(&l->lock);
  l->op_waiters++;
  pthread_mutex_unlock(&l->lock);
  if (lend) {
    struct drive d = {.loop = l, .op = op, .deadline_ns = deadline_ns};
    drive(&d);
    pthread_mutex_lock(&l->lock);
  } else {
    pthread_mutex_lock(&l->lock);
    while (wsc_op_pending(op) && (deadline_ns < 0 || os_now_ns() < deadline_ns))
      os_cond_wait(&l->op_cond, &l->lock, deadline_ns);
  }
  l->op_waiters--;
  pthread_mutex_unlock(&l->lock);
  return wsc_op_pending(op) ? WSC_ERR_TIMEOUT : WSC_OK;
}

void loop_run_protocol(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  if (!l->polling) poll_once(l, 0, NULL);
  for (unsigned n = 0; l->run_head && n < RUNS_PER_POLL; n++) run_one(l);
  if (l->event_head || l->run_head) raise_fd(l);
  if (!l->polling && l->next_waiters) pthread_cond_signal(&l->next_cond); /* who came meanwhile must poll now */
  else if (!l->polling && l->lend_waiters) pthread_cond_broadcast(&l->op_cond);
  pthread_mutex_unlock(&l->lock);
}

void loop_post(wsc_loop *l, struct event_node *n) {
  pthread_mutex_lock(&l->lock);
  if (!n->queued) {
    n->queued = true;
    if (n->owner) actor_ref(n->owner);
    n->next = NULL;
    if (l->event_tail) l->event_tail->next = n;
    else l->event_head = n;
    l->event_tail = n;
    notify(l);
  }
  pthread_mutex_unlock(&l->lock);
}

bool loop_unpost(wsc_loop *l, struct event_node *n) {
  pthread_mutex_lock(&l->lock);
  bool was = n->queued;
  if (was) {
    struct event_node **at = &l->event_head, *previous = NULL;
    for (; *at != n; at = &(*at)->next) previous = *at;
    *at = n->next;
    if (l->event_tail == n) l->event_tail = previous;
    n->queued = false;
  }
  pthread_mutex_unlock(&l->lock);
  if (was && n->owner) actor_unref(n->owner);
  return was;
}

/* ---- making and freeing -------------------------------------------------------------------------------------------- */

int loop_new(wsc_loop **out, wsc_error **err) {
  wsc_loop *l = mem_zalloc(sizeof *l);
  if (!l) return error_set(err, WSC_ERR_NOMEM, "out of memory for a loop");
  int r = poller_open(&l->poller);
  if (r < 0) goto fail;
  atomic_init(&l->refs, 1);
  l->generation = os_fork_generation();
  l->asleep_ns = os_boottime_ns() - os_now_ns();
  l->pool = arena_pool_new();
  if (!l->pool) {
    r = -ENOMEM;
    goto fail_poller;
  }
  pthread_mutex_init(&l->lock, NULL);
  os_cond_init(&l->next_cond);
  os_cond_init(&l->op_cond);
  os_cond_init(&l->spare_cond);
  if ((r = standby_add(l)) < 0) goto fail_sync;
  *out = l;
  return WSC_OK;
fail_sync:
  pthread_mutex_destroy(&l->lock);
  pthread_cond_destroy(&l->next_cond);
  pthread_cond_destroy(&l->op_cond);
  pthread_cond_destroy(&l->spare_cond);
fail_poller:
  arena_pool_free(l->pool);
  poller_close(&l->poller);
fail:
  mem_free(l);
  if (r == -ENOMEM) return error_set(err, WSC_ERR_NOMEM, "out of memory for a loop");
  char text[128];
  struct error_info info = {.status = WSC_ERR_IO, .os_error = -r};
  return error_set_info(err, &info, "loop: epoll, eventfd, timerfd or thread: %s", error_errno_text(-r, text));
}

bool loop_forked(const wsc_loop *l) { return l->generation != os_fork_generation(); }

wsc_loop *loop_ref(wsc_loop *l) {
  atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
  return l;
}

bool loop_try_ref(wsc_loop *l) {
  unsigned refs = atomic_load(&l->refs);
  while (refs)
    if (atomic_compare_exchange_weak(&l->refs, &refs, refs + 1)) return true;
  return false;
}

void loop_destroy(wsc_loop *l) {
  standby_remove(l);
  timers_free(&l->timers);
  arena_pool_free(l->pool);
  poller_close(&l->poller);
  pthread_mutex_destroy(&l->lock);
  pthread_cond_destroy(&l->next_cond);
  pthread_cond_destroy(&l->op_cond);
  pthread_cond_destroy(&l->spare_cond);
  mem_free(l);
}

/* The library's own loop. Its references are counted under a lock, so that the last one to go and the next one to come cannot cross. */
static struct {
  pthread_mutex_t lock;
  wsc_loop *loop;
  uint32_t generation;
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

int loop_default(int64_t crew_max_threads, wsc_loop **out, wsc_error **err) {
  uint32_t generation = os_fork_generation();
  if (own.generation != generation) { /* the child of a fork: what was here is the parent's */
    pthread_mutex_init(&own.lock, NULL);
    own.loop = NULL;
    own.generation = generation;
  }
  pthread_mutex_lock(&own.lock);
  int r = WSC_OK;
  if (own.loop) {
    loop_ref(own.loop);
  } else if ((r = loop_new(&own.loop, err)) == WSC_OK &&
             (r = crew_new(own.loop, (unsigned)crew_max_threads, &own.loop->crew, err))) {
    loop_destroy(own.loop);
    own.loop = NULL;
  }
  *out = own.loop;
  pthread_mutex_unlock(&own.lock);
  return r;
}

void loop_unref(wsc_loop *l) {
  if (!l) return;
  if (loop_forked(l)) { /* the parent's: only this process's copies of its fds may be touched */
    if (atomic_fetch_sub(&l->refs, 1) == 1) poller_close(&l->poller);
    return;
  }
  if (!l->crew) {
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1) loop_destroy(l);
    return;
  }
  pthread_mutex_lock(&own.lock);
  bool last = atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1;
  if (last) own.loop = NULL;
  pthread_mutex_unlock(&own.lock);
  if (last) crew_retire(l->crew);
}

int wsc_loop_new(const wsc_options *o, wsc_loop **out, wsc_error **err) {
  if (!out) return error_set(err, WSC_ERR_INVALID, "wsc_loop_new: out is NULL");
  *out = NULL;
  int r = wsc_options_validate(o, err);
  return r ? r : loop_new(out, err);
}

void wsc_loop_free(wsc_loop *l) {
  if (!l) return;
  if (loop_forked(l)) {
    poller_close(&l->poller);
    return;
  } else { /* what nobody took goes back to its owners */
    pthread_mutex_lock(&l->lock);
    while (l->event_head) {
      struct event_node *n = pop_event(l);
      struct actor *owner = n->owner;
      wsc_event ev = {.struct_size = sizeof ev};
      pthread_mutex_unlock(&l->lock);
      if (n->fill(n, &ev)) wsc_event_done(&ev, NULL);
      if (owner) actor_unref(owner);
      pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
  }
  loop_unref(l);
}

int wsc_loop_fd(wsc_loop *l) { return l && !loop_forked(l) ? l->poller.fd : -1; }
