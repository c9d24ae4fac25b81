/* A binary heap of timers. Setting one never fails: room is reserved when its owner joins the loop. No lock of its own. */
#ifndef WSC_TIMERS_H
#define WSC_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer {
  int64_t due_ns;
  size_t slot; /* place in the heap, from 1; 0: not set */
};

struct timers {
  struct timer **heap; /* heap[1] is due first */
  size_t count, capacity, owners;
};

int timers_join(struct timers *t); /* room for one more timer: WSC_OK or WSC_ERR_NOMEM */
void timers_leave(struct timers *t);
void timers_set(struct timers *t, struct timer *timer,
                int64_t due_ns);                    /* moves it when it is set already; 0: clears it */
struct timer *timers_first(const struct timers *t); /* NULL: none is set */
void timers_free(struct timers *t);

#endif
