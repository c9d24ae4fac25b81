/* A host's loop that nobody drives: the library keeps its protocol going, and hands the polling over to whoever comes meanwhile. */
#define _GNU_SOURCE
#include "driven_bed.h"
#include "loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>

/* ---- the standby's look, held ---------------------------------------------------------------------------------------- */

static _Atomic(wsc_loop *)
    watched; /* the next look at this loop that finds something is held until a thread waits in next */
static atomic_bool held;

static unsigned waiting_in_next(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  unsigned n = l->next_waiters;
  pthread_mutex_unlock(&l->lock);
  return n;
}

/* Takes the place of the C library's. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout) {
  int n = (int)syscall(SYS_epoll_pwait, fd, events, max, timeout, NULL, (size_t)0);
  wsc_loop *l = watched;
  if (l && fd == wsc_loop_fd(l) && timeout == 0 && n > 0) {
    watched = NULL;
    held = true;
    for (int i = 0; i < 20000 && waiting_in_next(l) == 0; i++) usleep(500);
  }
  return n;
}

static void a_ping_is_answered_although_nobody_drives(void) {
  struct bed b;
  uint8_t got[125];
  size_t n;
  open_it(&b, NULL);
  for (int i = 0; i < 3; i++) {
    peer_send(&b.peer, 9, "there?", 6);
    CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x8a);
    CHECK_EQ(n, 6);
    CHECK_BYTES(got, "there?", 6);
  }
  tear_down(&b);
}

/* Messages wait for the host, and pings go on beside them. */
static void an_event_nobody_takes_does_not_silence_the_pongs(void) {
  struct bed b;
  uint8_t got[125];
  size_t n;
  open_it(&b, NULL);
  for (int i = 0; i < 2; i++) {
    peer_send(&b.peer, 1, "hello", 5);
    peer_send(&b.peer, 9, "there?", 6);
    CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x8a);
  }
  for (uint32_t taken = 0; taken < 2;) {
    wsc_event ev = expect(&b, WSC_EVENT_BATCH);
    taken += ev.count;
    wsc_event_done(&ev, NULL);
  }
  tear_down(&b);
}

static void *take_a_message(void *arg) {
  struct bed *b = arg;
  wsc_event ev = {.struct_size = sizeof ev};
  CHECK_EQ(wsc_loop_next(b->loop, -1, &ev), WSC_OK); /* a time limit would end in a look of its own */
  CHECK_EQ(ev.type, WSC_EVENT_BATCH);
  CHECK_BYTES(ev.arena + ev.records[0].offset, "x", 1);
  wsc_event_done(&ev, NULL);
  return NULL;
}

static void a_thread_that_comes_while_the_standby_polls_is_not_forgotten(void) {
  struct bed b;
  uint8_t got[125];
  size_t n;
  pthread_t thread;
  open_it(&b, NULL);
  held = false;
  watched = b.loop;
  peer_send(&b.peer, 9, "there?", 6);
  for (int i = 0; i < 20000 && !held; i++) usleep(500);
  CHECK(held);
  CHECK_EQ(pthread_create(&thread, NULL, take_a_message, &b), 0);
  CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x8a);
  peer_send(&b.peer, 1, "x", 1);
  struct timespec patience;
  clock_gettime(CLOCK_REALTIME, &patience);
  patience.tv_sec += 20;
  CHECK_EQ(pthread_timedjoin_np(thread, NULL, &patience), 0);
  tear_down(&b);
}

struct reserve {
  struct bed *b;
  atomic_int calls, taken;
};

static void *stand_in(void *arg) {
  struct reserve *r = arg;
  while (wsc_loop_spare(r->b->loop, -1) == WSC_OK) {
    r->calls++;
    wsc_event ev = {.struct_size = sizeof ev};
    while (wsc_loop_next(r->b->loop, 0, &ev) == WSC_OK) {
      r->taken += ev.type == WSC_EVENT_BATCH ? (int)ev.count : 0;
      wsc_event_done(&ev, NULL);
    }
  }
  return NULL;
}

/* The host's only thread is in a callback (here: nowhere); the one in reserve takes what comes meanwhile, and sleeps otherwise. */
static void a_thread_in_reserve_is_called_when_the_others_are_busy(void) {
  struct bed b;
  struct reserve r = {.b = &b};
  pthread_t thread;
  open_it(&b, NULL);
  CHECK_EQ(wsc_loop_spare(NULL, 0), WSC_ERR_INVALID);
  CHECK_EQ(wsc_loop_spare(b.loop, NS_PER_MS), WSC_AGAIN);
  CHECK_EQ(pthread_create(&thread, NULL, stand_in, &r), 0);
  CHECK_EQ(r.calls, 0); /* nothing lies there */
  peer_send(&b.peer, 1, "x", 1);
  for (int i = 0; i < 20000 && r.taken < 1; i++) usleep(500);
  CHECK_EQ(r.taken, 1);
  CHECK(r.calls > 0);
  wsc_loop_wake(b.loop);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  tear_down(&b);
}

int main(void) {
  a_ping_is_answered_although_nobody_drives();
  an_event_nobody_takes_does_not_silence_the_pongs();
  a_thread_that_comes_while_the_standby_polls_is_not_forgotten();
  a_thread_in_reserve_is_called_when_the_others_are_busy();
  return 0;
}
