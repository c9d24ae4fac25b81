#include "timers.h"

#include "mem.h"
#include "wscengine/status.h"

static void place(struct timers *t, struct timer *timer, size_t slot) {
  t->heap[slot] = timer;
  timer->slot = slot;
}

static void sift_up(struct timers *t, struct timer *timer, size_t slot) {
  for (; slot > 1 && t->heap[slot / 2]->due_ns > timer->due_ns; slot /= 2) place(t, t->heap[slot / 2], slot);
  place(t, timer, slot);
}

static void sift_down(struct timers *t, struct timer *timer, size_t slot) {
  for (;;) {
    size_t child = slot * 2;
    if (child > t->count) break;
    if (child < t->count && t->heap[child + 1]->due_ns < t->heap[child]->due_ns) child++;
    if (t->heap[child]->due_ns >= timer->due_ns) break;
    place(t, t->heap[child], slot);
    slot = child;
  }
  place(t, timer, slot);
}

static void clear(struct timers *t, struct timer *timer) {
  size_t slot = timer->slot;
  struct timer *last = t->heap[t->count--];
  timer->slot = 0;
  if (last == timer) return;
  if (slot > 1 && t->heap[slot / 2]->due_ns > last->due_ns) sift_up(t, last, slot);
  else sift_down(t, last, slot);
}

int timers_join(struct timers *t) {
  if (t->owners + 1 >= t->capacity) {
    size_t capacity = t->capacity ? t->capacity * 2 : 16;
    struct timer **heap = mem_realloc(t->heap, capacity * sizeof *heap);
    if (!heap) return WSC_ERR_NOMEM;
    t->heap = heap;
    t->capacity = capacity;
  }
  t->owners++;
  return WSC_OK;
}

void timers_leave(struct timers *t) { t->owners--; }

void timers_set(struct timers *t, struct timer *timer, int64_t due_ns) {
  if (timer->slot && timer->due_ns == due_ns) return;
  if (timer->slot) clear(t, timer);
  if (due_ns == 0) return;
  timer->due_ns = due_ns;
  sift_up(t, timer, ++t->count);
}

struct timer *timers_first(const struct timers *t) {
  return t->count ? t->heap[1] : NULL;
}

void timers_free(struct timers *t) {
  mem_free(t->heap);
  *t = (struct timers){0};
}
