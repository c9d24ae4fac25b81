#define _GNU_SOURCE
#include "standby.h"

#include "crew.h"
#include "loop.h"
#include "os.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const int64_t CREW_NS =
    5 * NS_PER_MS; /* a loop left alone so long gets a thread more, of its crew or of those in reserve */
static const int64_t HOST_NS = 50 * NS_PER_MS; /* a loop left alone so long is run from here */

/* What is `due` is looked at then; between a loop's look and its next arming HOST_NS pass, so that traffic costs at most that many wake-ups. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t left; /* the thread let go of `busy` */
  wsc_loop *loops;     /* being watched */
  wsc_loop *busy;      /* the thread works on it without the lock */
  pthread_t thread;
  bool running, finished; /* finished: `thread` has left, and somebody who waited for that is to join it */
  unsigned waiters;
  int epoll_fd, wake_fd;
  uint32_t generation;
} standby = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER, .epoll_fd = -1, .wake_fd = -1};

static void arm(wsc_loop *l, int op) {
  struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = l};
  epoll_ctl(standby.epoll_fd, op, l->poller.fd, &ev);
}

static _Thread_local bool on_standby; /* this thread is it */

/* Whether a thread was there, or came or went, since the loop announced work. Events need one that takes them. */
static bool attended(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  bool driven = l->present > 0 || l->turns != l->standby_turns;
  bool taken = l->takers > 0 || l->takes != l->standby_takes;
  bool yes = l->event_head ? taken : driven;
  pthread_mutex_unlock(&l->lock);
  return yes;
}

static bool has_work(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  bool work = l->standby_watches = l->run_head || l->event_head;
  pthread_mutex_unlock(&l->lock);
  return work;
}

static bool untaken(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  bool yes = (l->event_head && !l->takers) || (l->run_head && !l->present);
  pthread_mutex_unlock(&l->lock);
  return yes;
}

static void suspect(wsc_loop *l, int64_t now) {
  pthread_mutex_lock(&l->lock);
  l->standby_turns = l->turns;
  l->standby_takes = l->takes;
  l->standby_watches = true;
  l->standby_helped = l->crew || l->spares;
  pthread_mutex_unlock(&l->lock);
  l->standby_asked = false;
  l->standby_due_ns = now + (l->standby_helped ? CREW_NS : HOST_NS);
}

static bool watched(const wsc_loop *l) {
  for (const wsc_loop *at = standby.loops; at; at = at->standby_next)
    if (at == l) return true;
  return false;
}

/* Its time has come. The lock is held and let go while the loop is worked on. */
static void look(wsc_loop *l, int64_t now) {
  l->standby_due_ns = 0;
  if (!loop_try_ref(l)) return; /* it is being destroyed, and waits for the lock */
  bool alone = !attended(l);
  standby.busy = l;
  pthread_mutex_unlock(&standby.lock);
  bool again = l->standby_helped &&
               !l->standby_asked; /* the second look, HOST_NS after the first sign, is the one that re-arms */
  if (alone && again && l->crew) crew_wanted(l->crew);
  else if (alone && again) loop_call_spare(l);
  else if (alone) loop_run_protocol(l); /* a host's loop, or a crew with no thread to spare */
  loop_unref(l);                        /* perhaps the last: what ran may have been its last user */
  pthread_mutex_lock(&standby.lock);
  standby.busy = NULL;
  pthread_cond_broadcast(&standby.left);
  if (!watched(l)) return;
  if (again && !alone && untaken(l)) { /* they came after the look: a first look again */
    suspect(l, now);
  } else if (again) {
    l->standby_asked = true;
    l->standby_due_ns = now + HOST_NS - CREW_NS;
  } else if (has_work(l)) { /* what has left epoll already announces itself no more */
    suspect(l, now);
  } else {
    arm(l, EPOLL_CTL_MOD);
  }
}

static int64_t look_at_due(int64_t now) {
  int64_t next = 0;
  for (wsc_loop *l = standby.loops; l;) {
    if (l->standby_due_ns && l->standby_due_ns <= now) {
      look(l, now);
      l = standby.loops; /* the list may have changed meanwhile */
      next = 0;
      continue;
    }
    if (l->standby_due_ns && (!next || l->standby_due_ns < next)) next = l->standby_due_ns;
    l = l->standby_next;
  }
  return next;
}

static void *standby_main(void *unused) {
  (void)unused;
  on_standby = true;
  pthread_mutex_lock(&standby.lock);
  while (standby.loops) {
    int64_t now = os_now_ns();
    int64_t next = look_at_due(now);
    if (!standby.loops) break;
    pthread_mutex_unlock(&standby.lock);
    struct epoll_event events[32];
    int timeout = next ? (int)((next - now + NS_PER_MS - 1) / NS_PER_MS) : -1;
    int n = epoll_wait(standby.epoll_fd, events, 32, timeout < 0 && next ? 0 : timeout);
    pthread_mutex_lock(&standby.lock);
    now = os_now_ns();
    for (int i = 0; i < n; i++) {
      uint64_t count;
      if (!events[i].data.ptr) {
        ssize_t ignored = read(standby.wake_fd, &count, sizeof count);
        (void)ignored;
        continue;
      }
      for (wsc_loop *l = standby.loops; l; l = l->standby_next)
        if (l == events[i].data.ptr) suspect(l, now);
    }
  }
  close(standby.epoll_fd);
  close(standby.wake_fd);
  standby.epoll_fd = standby.wake_fd = -1;
  standby.running = false;
  standby.finished = standby.waiters > 0;
  if (!standby.finished) pthread_detach(pthread_self());
  pthread_cond_broadcast(&standby.left);
  pthread_mutex_unlock(&standby.lock);
  return NULL;
}

/* What a thread's exit frees (OpenSSL's state of it) is freed when this returns. It has let go of the lock for good. */
static void join_finished(void) {
  if (!standby.finished) return;
  pthread_join(standby.thread, NULL);
  standby.finished = false;
}

/* 0 or -errno. */
static int start_thread(void) {
  int r = 0;
  join_finished();
  standby.epoll_fd = os_above_stdio(epoll_create1(EPOLL_CLOEXEC));
  standby.wake_fd = os_above_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  struct epoll_event ev = {.events = EPOLLIN};
  if ((r = standby.epoll_fd) < 0 || (r = standby.wake_fd) < 0) goto fail;
  if ((r = epoll_ctl(standby.epoll_fd, EPOLL_CTL_ADD, standby.wake_fd, &ev) ? -errno : 0)) goto fail;
  if ((r = -os_thread(standby_main, NULL, "wsc-standby", false, &standby.thread))) goto fail;
  standby.running = true;
  return 0;
fail:
  if (standby.epoll_fd >= 0) close(standby.epoll_fd);
  if (standby.wake_fd >= 0) close(standby.wake_fd);
  standby.epoll_fd = standby.wake_fd = -1;
  return r;
}

/* After fork the thread and the lock's state are the parent's: begin anew. The fds are only copies. */
static void check_fork(void) {
  uint32_t generation = os_fork_generation();
  if (standby.generation == generation) return;
  if (standby.epoll_fd >= 0) close(standby.epoll_fd);
  if (standby.wake_fd >= 0) close(standby.wake_fd);
  standby.loops = standby.busy = NULL;
  standby.running = false;
  standby.epoll_fd = standby.wake_fd = -1;
  pthread_mutex_init(&standby.lock, NULL);
  pthread_cond_init(&standby.left, NULL);
  standby.generation = generation;
}

int standby_add(wsc_loop *l) {
  check_fork();
  pthread_mutex_lock(&standby.lock);
  l->standby_next = standby.loops;
  standby.loops = l; /* before the thread: it leaves when it sees none */
  int r = standby.running ? 0 : start_thread();
  if (r) standby.loops = l->standby_next;
  else arm(l, EPOLL_CTL_ADD);
  pthread_mutex_unlock(&standby.lock);
  return r;
}

void standby_remove(wsc_loop *l) {
  pthread_mutex_lock(&standby.lock);
  while (standby.busy == l && !on_standby) pthread_cond_wait(&standby.left, &standby.lock);
  wsc_loop **at = &standby.loops;
  while (*at && *at != l) at = &(*at)->standby_next;
  if (*at) {
    *at = l->standby_next;
    struct epoll_event unused = {0};
    epoll_ctl(standby.epoll_fd, EPOLL_CTL_DEL, l->poller.fd, &unused);
  }
  if (!standby.loops && standby.running) { /* the last one: the thread goes too */
    uint64_t one = 1;
    ssize_t ignored = write(standby.wake_fd, &one, sizeof one);
    (void)ignored;
    standby.waiters += !on_standby;
    while (!on_standby && !standby.loops && standby.running) pthread_cond_wait(&standby.left, &standby.lock);
    standby.waiters -= !on_standby;
    join_finished();
  }
  pthread_mutex_unlock(&standby.lock);
}
