/* A user's adapter as the core holds it: the vtable with its self, shared by options, engines and connections, and dropped with the last of them.
 * It serves one connection at a time; the next one waits until no slot runs any more. */
#ifndef WSC_ADAPTER_INTERNAL_H
#define WSC_ADAPTER_INTERNAL_H

#include "wscengine/adapter.h"

#include <pthread.h>
#include <stdatomic.h>

/* Who wants to use an adapter: embedded in it. */
struct adapter_user {
  struct adapter_user *next;
  bool waits;
  void (*wake)(struct adapter_user *u); /* it may be free now; called under the adapter's lock */
};

struct adapter {
  atomic_uint refs;
  wsc_adapter vtable;
  void *self;
  pthread_mutex_t lock;
  const struct adapter_user *user; /* NULL: nobody */
  struct adapter_user *waiting;
};

/* errors: as wsc_options_set_adapter's. */
int adapter_new(const wsc_adapter *vtable, void *self, struct adapter **out);
struct adapter *adapter_ref(struct adapter *a); /* accepts NULL, like unref */
void adapter_unref(struct adapter *a);
bool adapter_usable(const wsc_adapter *vtable); /* has its size and all slots that it must have */

bool adapter_claim(struct adapter *a, struct adapter_user *u);   /* false: taken; wake says when to ask again */
void adapter_release(struct adapter *a, struct adapter_user *u); /* uses it, waits for it or neither */

bool adapter_is_traced(const struct adapter *a); /* adapter_trace.c: it makes the websocket.* spans itself */

#endif
