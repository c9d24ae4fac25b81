/* When to ping and when to give a link up. A pure function of numbers; connection.c is the only caller. */
#ifndef WSC_KEEPALIVE_H
#define WSC_KEEPALIVE_H

#include <stdbool.h>
#include <stdint.h>

struct keepalive {
  /* settings, ns; 0: off */
  int64_t interval, timeout, data_idle;
  /* what happened, on the monotonic clock */
  int64_t last_life;   /* any byte received, any progress of our writes */
  int64_t last_data;   /* a data message */
  int64_t ping_left;   /* the outstanding keepalive ping was handed to the kernel; 0: none */
  int64_t stood_still; /* reading is held back (back-pressure) since; 0: it is not */
  bool ping_wanted;    /* asked for and not yet gone */
};

enum keepalive_verdict { KEEPALIVE_WAIT, KEEPALIVE_PING, KEEPALIVE_DEAD, KEEPALIVE_DATA_IDLE };

/* What to do at now; *next is when to ask again (0: never, until something happens). */
enum keepalive_verdict keepalive_check(struct keepalive *k, int64_t now, int64_t *next);

void keepalive_start(struct keepalive *k, int64_t now);
/* bytes came, or our writes moved on: ends an outstanding ping's wait */
void keepalive_life(struct keepalive *k, int64_t now);
void keepalive_data(struct keepalive *k, int64_t now);
void keepalive_pinged(struct keepalive *k, int64_t now); /* the ping has left */
/* back-pressure stops or resumes reading: the pong and idle clocks stand still */
void keepalive_held(struct keepalive *k, bool held, int64_t now);
/* the machine slept: ping at once, forget what was outstanding */
void keepalive_probe(struct keepalive *k, int64_t now);

#endif
