#include "callback.h"

#include "os.h"

THREAD_POINTER struct callback_frame *innermost;

void callback_push(struct callback_frame *f) {
  f->outer = innermost;
  innermost = f;
}

void callback_pop(void) { innermost = innermost->outer; }

const struct callback_frame *callback_of(const wsc_engine *e) {
  for (const struct callback_frame *f = innermost; f; f = f->outer)
    if (f->engine == e) return f;
  return NULL;
}

bool callback_on_this_thread(void) { return innermost != NULL; }
