#define _GNU_SOURCE
#include "operation.h"

#include "callback.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "sized.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct wsc_cancel {
  pthread_mutex_t lock;
  _Atomic bool fired;
  int fd; /* -1: nobody has asked for it */
  uint32_t generation;
  wsc_op *ops;
};

int wsc_cancel_new(wsc_cancel **out) {
  if (!out) return WSC_ERR_INVALID;
  *out = mem_zalloc(sizeof **out);
  if (!*out) return WSC_ERR_NOMEM;
  pthread_mutex_init(&(*out)->lock, NULL);
  (*out)->fd = -1;
  (*out)->generation = os_fork_generation();
  return WSC_OK;
}

/* Its counter never goes down: once raised it stays readable. */
static void raise_fd(wsc_cancel *c) {
  uint64_t one = 1;
  while (write(c->fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

int wsc_cancel_fd(wsc_cancel *c) {
  if (!c || c->generation != os_fork_generation()) return -1;
  pthread_mutex_lock(&c->lock);
  if (c->fd < 0) {
    c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->fd >= 0 && atomic_load(&c->fired)) raise_fd(c);
  }
  int fd = c->fd;
  pthread_mutex_unlock(&c->lock);
  return fd;
}

void wsc_cancel_fire(wsc_cancel *c) {
  if (!c) return;
  pthread_mutex_lock(&c->lock);
  bool already = atomic_exchange(&c->fired, true);
  if (c->fd >= 0 && !already && c->generation == os_fork_generation()) raise_fd(c); /* a child has the parent's fd */
  for (wsc_op *op = c->ops; op; op = op->cancel_next) {
    if (loop_forked(op->loop)) continue; /* the parent's operation: its locks and its eventfd are not ours to touch */
    atomic_store(&op->cancel_wanted, true);
    actor_kick(op->owner, ACTOR_CANCEL);
  }
  pthread_mutex_unlock(&c->lock);
}

bool wsc_cancel_fired(const wsc_cancel *c) { return c && atomic_load(&c->fired); }

void wsc_cancel_free(wsc_cancel *c) {
  if (!c) return;
  if (c->fd >= 0) close(c->fd);
  pthread_mutex_destroy(&c->lock);
  mem_free(c);
}

/* false: it has fired already. */
static bool cancel_link(wsc_cancel *c, wsc_op *op) {
  pthread_mutex_lock(&c->lock);
  bool linked = !atomic_load(&c->fired);
  if (linked) {
    op->cancel = c;
    op->cancel_next = c->ops;
    if (c->ops) c->ops->cancel_previous = op;
    c->ops = op;
  }
  pthread_mutex_unlock(&c->lock);
  return linked;
}

static void cancel_unlink(wsc_op *op) {
  wsc_cancel *c = op->cancel;
  if (!c) return;
  pthread_mutex_lock(&c->lock);
  if (op->cancel_previous) op->cancel_previous->cancel_next = op->cancel_next;
  else c->ops = op->cancel_next;
  if (op->cancel_next) op->cancel_next->cancel_previous = op->cancel_previous;
  op->cancel = NULL;
  pthread_mutex_unlock(&c->lock);
}

/* ---- operations ---------------------------------------------------------------------------------------------------- */

static bool fill_done(struct event_node *n, wsc_event *ev);
static int taken_done(struct event_node *n, wsc_event *ev, const wsc_reply *r);

int op_allowed(const wsc_context *c, wsc_error **err) {
  if (c && c->struct_size < FIRST_CONTEXT)
    return error_set(err, WSC_ERR_INVALID, "context: struct_size is %u, at least %u is needed", c->struct_size,
                     (unsigned)FIRST_CONTEXT);
  if (c && wsc_cancel_fired(c->cancel)) return error_set(err, WSC_ERR_CANCELED, "canceled before it began");
  return WSC_OK;
}

int op_new(enum op_kind kind, struct actor *owner, wsc_engine *engine, void *user, const wsc_context *c, uint64_t token,
           wsc_op **out, wsc_error **err) {
  int r = op_allowed(c, err);
  if (r) return r;
  wsc_op *op = mem_zalloc(sizeof *op);
  if (!op) return error_set(err, WSC_ERR_NOMEM, "out of memory for an operation");
  atomic_init(&op->refs, 2);
  atomic_init(&op->status, WSC_AGAIN);
  op->kind = kind;
  op->loop = loop_ref(owner->loop);
  op->owner = actor_ref(owner);
  op->engine = engine;
  op->user = user;
  op->token = token;
  op->rtt_ns = -1;
  op->began_ns = os_now_ns();
  op->node = (struct event_node){.fill = fill_done, .done = taken_done};
  if (c) {
    op->deadline_ns = c->deadline_ns;
    if (c->cancel && !cancel_link(c->cancel, op))
      atomic_store(&op->cancel_wanted, true); /* the owner's next run completes it */
  }
  *out = op;
  return WSC_OK;
}

wsc_op *wsc_op_ref(wsc_op *op) {
  if (op) atomic_fetch_add_explicit(&op->refs, 1, memory_order_relaxed);
  return op;
}

void wsc_op_unref(wsc_op *op) {
  if (!op || atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel) != 1) return;
  struct actor *owner = op->owner;
  wsc_loop *loop = op->loop;
  wsc_message_free(&op->message);
  wsc_error_unref(op->error);
  mem_free(op->payload);
  mem_free(op);
  if (owner) actor_unref(owner);
  loop_unref(loop);
}

void op_complete(wsc_op *op, int status, wsc_error *error) {
  cancel_unlink(op);
  wsc_loop *l = op->loop;
  pthread_mutex_lock(&l->lock);
  op->error = error;
  atomic_store_explicit(&op->status, status, memory_order_release);
  if (l->op_waiters) pthread_cond_broadcast(&l->op_cond);
  if (l->polling && l->poller_op == op && !l->raised) {
    l->raised = true;
    poller_wake(&l->poller);
  }
  pthread_mutex_unlock(&l->lock);
  mem_free(op->payload);
  op->payload = NULL;
  if (op->token) loop_post(l, &op->node); /* the list's reference becomes the event's */
  else wsc_op_unref(op);
}

static bool fill_done(struct event_node *n, wsc_event *ev) {
  wsc_op *op = (wsc_op *)(void *)((char *)n - offsetof(wsc_op, node));
  *ev = (wsc_event){.struct_size = ev->struct_size,
                    .type = WSC_EVENT_OP_DONE,
                    .engine = op->engine,
                    .user = op->user,
                    .token = op->token,
                    .status = atomic_load(&op->status),
                    .error = op->error,
                    .op = op,
                    .core = n};
  return true;
}

static int taken_done(struct event_node *n, wsc_event *ev, const wsc_reply *r) {
  (void)n, (void)r;
  wsc_op_unref(ev->op);
  return WSC_OK;
}

void wsc_op_cancel(wsc_op *op) {
  if (!op || !wsc_op_pending(op) || loop_forked(op->loop)) return;
  atomic_store(&op->cancel_wanted, true);
  actor_kick(op->owner, ACTOR_CANCEL);
}

bool wsc_op_pending(const wsc_op *op) {
  return op && atomic_load_explicit(&op->status, memory_order_acquire) == WSC_AGAIN;
}

int wsc_op_status(const wsc_op *op, wsc_error **err) {
  if (!op) return error_set(err, WSC_ERR_INVALID, "op is NULL");
  int status = atomic_load_explicit(&op->status, memory_order_acquire);
  if (err) *err = status == WSC_AGAIN ? NULL : wsc_error_ref(op->error);
  return status;
}

int64_t wsc_op_rtt_ns(const wsc_op *op) { return op && !wsc_op_pending(op) ? op->rtt_ns : -1; }

int wsc_op_wait(wsc_op *op, int64_t timeout_ns, wsc_error **err) {
  if (!op) return error_set(err, WSC_ERR_INVALID, "op is NULL");
  if (loop_forked(op->loop)) return error_set(err, WSC_ERR_FORKED, "the operation belongs to the parent process");
  if (wsc_op_pending(op) && timeout_ns != 0) {
    /* A crew's loop always has a thread that runs it, unless that thread is this one, in a callback. */
    bool lend = !op->loop->crew || callback_on_this_thread();
    loop_wait_op(op->loop, op, loop_deadline(timeout_ns), lend);
  }
  if (wsc_op_pending(op)) return error_set(err, WSC_ERR_TIMEOUT, "the operation is still under way");
  return wsc_op_status(op, err);
}

int wsc_op_take_message(wsc_op *op, wsc_message *out) {
  if (!op || !out || out->struct_size < FIRST_MESSAGE) return WSC_ERR_INVALID;
  if (wsc_op_pending(op) || op->kind != OP_READ || !op->message.owner) return WSC_ERR_STATE;
  sized_write(out, &op->message, sizeof op->message);
  op->message = (wsc_message){0};
  return WSC_OK;
}

void wsc_message_free(wsc_message *m) {
  if (!m) return;
  mem_free(m->owner);
  const wsc_message none = {0};
  if (m->struct_size >= FIRST_MESSAGE) sized_write(m, &none, sizeof none);
}

void op_refuse(wsc_op *op) {
  op->token = 0;
  op_complete(op, WSC_ERR_STATE, NULL);
  wsc_op_unref(op);
}

int op_begun(wsc_op *op, wsc_op **out) {
  if (out) *out = op;
  else wsc_op_unref(op);
  return WSC_OK;
}

int op_finish(wsc_op *op, wsc_error **err) {
  int r = wsc_op_wait(op, -1, err);
  wsc_op_unref(op);
  return r;
}

/* ---- lists --------------------------------------------------------------------------------------------------------- */

void op_list_push(struct op_list *list, wsc_op *op) {
  op->next = NULL;
  if (list->tail) list->tail->next = op;
  else list->head = op;
  list->tail = op;
  list->due_ns = earlier(list->due_ns, op->deadline_ns);
  if (atomic_load(&op->cancel_wanted)) list->due_ns = 1; /* cancelled before it was here: look at the next run */
}

void op_list_remove(struct op_list *list, wsc_op *op) {
  wsc_op **at = &list->head, *previous = NULL;
  for (; *at != op; at = &(*at)->next) previous = *at;
  *at = op->next;
  if (list->tail == op) list->tail = previous;
  op->next = NULL;
}

int op_due(const wsc_op *op, int64_t now_ns) {
  if (atomic_load(&op->cancel_wanted)) return WSC_ERR_CANCELED;
  return op->deadline_ns && op->deadline_ns <= now_ns ? WSC_ERR_TIMEOUT : WSC_OK;
}

int64_t op_list_expire_some(struct op_list *list, int64_t now_ns, const char *what) {
  int64_t next = 0;
  for (wsc_op *op = list->head, *after; op; op = after) {
    after = op->next;
    int due = op_due(op, now_ns);
    if (due) {
      wsc_error *e = error_make(&(struct error_info){.status = due}, "%s %s", what,
                                due == WSC_ERR_TIMEOUT ? "timed out" : "was canceled");
      op_list_remove(list, op);
      op_complete(op, due, e);
    } else next = earlier(next, op->deadline_ns);
  }
  list->due_ns = next;
  return next;
}
