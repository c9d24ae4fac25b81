/* The loop: lent threads run actors and hand out events.
 *
 * An actor is something with protocol work (an engine with its connection, or a connection alone). It is run by one thread at a time: its state word
 * {idle, queued, running, again} sits under the loop's lock, so there is no lost wake-up and no double owner. One lent thread at a time
 * polls; the others wait until it leaves with an event. The loop's lock is a leaf: nothing is called while it is held.
 *
 * Lock order of the whole core: engine, connection, adapter, slots, cancel, loop. */
#ifndef WSC_LOOP_INTERNAL_H
#define WSC_LOOP_INTERNAL_H

#include "batch.h"
#include "poller.h"
#include "timers.h"
#include "wscengine/loop.h"

#include <pthread.h>
#include <stdatomic.h>

/* why an actor runs, beside POLLER_* */
enum { ACTOR_CANCEL = 64, ACTOR_TIMER = 8, ACTOR_SLEPT = 16 /* the machine was suspended */, ACTOR_KICKED = 32 };

enum actor_state { ACTOR_IDLE, ACTOR_QUEUED, ACTOR_RUNNING, ACTOR_AGAIN };

struct actor {
  struct timer timer; /* first: the heap gives it back */
  wsc_loop *loop;
  void (*run)(struct actor *a, uint32_t why); /* no lock is held; never twice at once */
  void (*destroy)(struct actor *a);           /* the last reference went; frees with loop_bury */
  atomic_uint refs;
  int64_t due_ns; /* what its timer is set for, as its own runs know; 0: not set */
  /* under the loop's lock */
  enum actor_state state;
  uint32_t why;
  bool joined;
  struct actor *next, *all_next, *all_previous, *grave_next;
  void (*release)(struct actor *a);
};

/* Something to hand to the host. Embedded in what it speaks of; posting it twice before it is taken posts it once. */
struct event_node {
  struct event_node *next;
  bool queued;                                       /* under the loop's lock */
  struct actor *owner;                               /* kept while it is queued; NULL: the node keeps itself */
  bool (*fill)(struct event_node *n, wsc_event *ev); /* false: it has nothing to say any more */
  int (*done)(struct event_node *n, wsc_event *ev, const wsc_reply *r);
};

struct crew;

struct wsc_loop {
  atomic_uint refs;
  uint32_t generation; /* os_fork_generation of its maker */
  struct poller poller;
  struct arena_pool *pool;
  struct crew *crew; /* NULL: a host's loop */

  pthread_mutex_t lock;
  pthread_cond_t next_cond; /* threads in next that do not poll */
  pthread_cond_t op_cond;   /* threads in wsc_op_wait that do not poll */
  unsigned next_waiters, lend_waiters, op_waiters, present;
  bool polling, raised;
  const wsc_op *poller_op; /* what the polling thread waits for */
  uint64_t turns;          /* goes up whenever a thread comes or goes */
  unsigned takers;         /* threads in next: the ones that take events */
  uint64_t takes;          /* goes up whenever one of them comes or goes */
  unsigned runs;           /* actors run since the last poll */
  unsigned wakes;          /* wsc_loop_wake */
  unsigned spares;         /* threads in wsc_loop_spare */
  bool spare_called;
  pthread_cond_t spare_cond;
  struct actor *run_head, *run_tail, *all, *graveyard;
  struct event_node *event_head, *event_tail;
  struct timers timers;
  int64_t alarm_ns;  /* what the poller's alarm is set for; 0: nothing */
  int64_t asleep_ns; /* boottime minus monotonic: grows when the machine sleeps */

  /* standby.c's, under its lock */
  struct wsc_loop *standby_next;
  uint64_t standby_turns, standby_takes;
  int64_t standby_due_ns;
  bool standby_asked, standby_helped; /* it has somebody to ask before the standby does it itself */
  bool standby_watches;               /* under lock: the standby will look again without being told */
};

int loop_new(wsc_loop **out, wsc_error **err);
wsc_loop *loop_ref(wsc_loop *l);
bool loop_try_ref(wsc_loop *l); /* false: the last reference has gone already */
void loop_unref(wsc_loop *l);
/* The library's own loop with its crew: made for the first who needs it, gone with the last reference. */
int loop_default(int64_t crew_max_threads, wsc_loop **out, wsc_error **err);
bool loop_forked(const wsc_loop *l);
void loop_destroy(wsc_loop *l); /* crew.c: the last thread of a retired crew */

int actor_join(struct actor *a, wsc_loop *l); /* takes a reference to l; WSC_OK or WSC_ERR_NOMEM. refs must be 1 */
void actor_leave(struct actor *a);            /* no run, no timer after the one under way; idempotent */
struct actor *actor_ref(struct actor *a);
void actor_unref(struct actor *a);
void actor_bury(
    struct actor *a,
    void (*release)(struct actor *)); /* release(a) once no poll can still name it; drops the loop's reference */
void actor_kick(struct actor *a, uint32_t why); /* run it soon */
/* At the end of a run (why: its reasons): run it again at due_ns at the latest; 0: no need. A run that turns out to be too early costs less than
 * moving the timer with every message. */
void actor_timer(struct actor *a, uint32_t why, int64_t due_ns);

void loop_post(wsc_loop *l, struct event_node *n);
bool loop_unpost(wsc_loop *l, struct event_node *n); /* true: it had not been taken */

int64_t loop_deadline(int64_t timeout_ns); /* from now; -1: never (timeout_ns < 0, or past the end of the clock) */

/* Runs the protocol as a lent thread until op has ended or the deadline (< 0: none). lend = false: only waits. */
int loop_wait_op(wsc_loop *l, const wsc_op *op, int64_t deadline_ns, bool lend);
/* The calling thread answers an event and then comes back to next (l; NULL: it has answered), so that work which it makes and nobody else looks
 * at need not be announced. If it does not come back after all it says so by loop_stay_away. */
void loop_coming_back(const wsc_loop *l);
void loop_stay_away(wsc_loop *l);
/* A thread in reserve is wanted, if there is one. */
void loop_call_spare(wsc_loop *l);
/* What the standby does: one round of polling and running, without waiting and without events. */
void loop_run_protocol(wsc_loop *l);

#endif
