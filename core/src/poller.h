/* Readiness of file descriptors: epoll today, behind an interface that kqueue can fill. Sockets are edge-triggered, so that any number of threads may
 * wait and no event is re-armed one by one; the wake-up and the alarm are level-triggered. Thread-safe: the kernel does the locking. */
#ifndef WSC_POLLER_H
#define WSC_POLLER_H

#include <stdbool.h>
#include <stdint.h>

struct poller {
  int fd;       /* the epoll set: what host loops wait on */
  int wake_fd;  /* eventfd */
  int alarm_fd; /* timerfd on CLOCK_BOOTTIME: fires at once when the machine wakes from a sleep that outlasted it */
};

enum { POLLER_READ = 1, POLLER_WRITE = 2, POLLER_HANGUP = 4 };
enum { POLLER_BATCH = 64 };

struct poller_event {
  void *owner; /* NULL: see woken and alarmed */
  uint32_t ready;
};
struct poller_result {
  int count;
  bool woken, alarmed;
  struct poller_event events[POLLER_BATCH];
};

int poller_open(struct poller *p); /* 0 or -errno */
void poller_close(struct poller *p);
int poller_add(struct poller *p, int fd, void *owner); /* 0 or -errno */
void poller_arm(struct poller *p, int fd, void *owner,
                bool read); /* with or without READ; arming again reports what is there */
void poller_remove(struct poller *p, int fd);
void poller_wait(struct poller *p, int64_t timeout_ns, struct poller_result *out); /* < 0: no limit */
void poller_wake(struct poller *p);                                                /* makes fd readable until ... */
void poller_unwake(struct poller *p);                                              /* ... this */
void poller_alarm(struct poller *p, int64_t in_ns); /* once, in that time; 0: at once; < 0: never */
void poller_alarm_seen(struct poller *p);

#endif
