/* A loop that the test drives itself: its events one by one. */
#ifndef WSC_LOOP_BED_H
#define WSC_LOOP_BED_H

#include "check.h"
#include "os.h"
#include "wscengine.h"

#include <poll.h>

static const int64_t PATIENCE = 10 * NS_PER_S;

/* The next event, which must be of this type. */
static inline wsc_event loop_expect(wsc_loop *l, int type) {
  wsc_event ev = {.struct_size = sizeof ev};
  CHECK_EQ(wsc_loop_next(l, PATIENCE, &ev), WSC_OK);
  CHECK_EQ(ev.type, type);
  return ev;
}

/* Does all there is to do; no event may come of it. */
static inline void loop_settle(wsc_loop *l) {
  struct pollfd p = {.fd = wsc_loop_fd(l), .events = POLLIN};
  wsc_event ev = {.struct_size = sizeof ev};
  while (poll(&p, 1, 20) == 1) CHECK_EQ(wsc_loop_next(l, 0, &ev), WSC_AGAIN);
}

#endif
