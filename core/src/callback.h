/* Which callback of which engine this thread is in. Set by the crew; lets verbs tell the inside from the outside. */
#ifndef WSC_CALLBACK_H
#define WSC_CALLBACK_H

#include "wscengine/loop.h"

struct callback_frame {
  const wsc_engine *engine;
  const wsc_event *event;
  void *span; /* the tracer's; NULL: none */
  struct callback_frame *outer;
};

void callback_push(struct callback_frame *f); /* f lives on the caller's stack until pop */
void callback_pop(void);
/* The innermost frame of this engine on this thread; NULL: none. */
const struct callback_frame *callback_of(const wsc_engine *e);
bool callback_on_this_thread(void); /* of any engine */

#endif
