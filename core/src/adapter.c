#include "adapter.h"

#include "mem.h"
#include "sized.h"

bool adapter_usable(const wsc_adapter *vtable) {
  if (vtable == NULL || vtable->struct_size < FIRST_ADAPTER || vtable->flags != 0) return false;
  return vtable->dial != NULL && vtable->close != NULL && vtable->ping != NULL && vtable->read != NULL &&
         vtable->write != NULL;
}

int adapter_new(const wsc_adapter *vtable, void *self, struct adapter **out) {
  if (!adapter_usable(vtable)) return WSC_ERR_INVALID;
  struct adapter *a = mem_zalloc(sizeof *a);
  if (a == NULL) return WSC_ERR_NOMEM;
  atomic_init(&a->refs, 1);
  pthread_mutex_init(&a->lock, NULL);
  sized_read(&a->vtable, sizeof a->vtable, vtable);
  a->self = self;
  *out = a;
  return WSC_OK;
}

struct adapter *adapter_ref(struct adapter *a) {
  if (a != NULL) atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
  return a;
}

void adapter_unref(struct adapter *a) {
  if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1) return;
  if (a->vtable.drop != NULL) a->vtable.drop(a->self);
  pthread_mutex_destroy(&a->lock);
  mem_free(a);
}

bool adapter_claim(struct adapter *a, struct adapter_user *u) {
  pthread_mutex_lock(&a->lock);
  bool mine = a->user == NULL || a->user == u;
  if (mine) {
    a->user = u;
  } else if (!u->waits) {
    u->waits = true;
    u->next = a->waiting;
    a->waiting = u;
  }
  pthread_mutex_unlock(&a->lock);
  return mine;
}

void adapter_release(struct adapter *a, struct adapter_user *u) {
  pthread_mutex_lock(&a->lock);
  for (struct adapter_user **at = &a->waiting; *at != NULL; at = &(*at)->next) {
    if (*at != u) continue;
    *at = u->next;
    break;
  }
  u->waits = false;
  if (a->user == u) {
    a->user = NULL;
    for (struct adapter_user *w = a->waiting; w != NULL; w = w->next) {
      w->waits = false;
      w->wake(w);
    }
    a->waiting = NULL; /* who finds it taken again asks anew */
  }
  pthread_mutex_unlock(&a->lock);
}
