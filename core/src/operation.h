/* Operations and cancellation: one completion each, whoever gets there first. */
#ifndef WSC_OPERATION_H
#define WSC_OPERATION_H

#include "loop.h"
#include "wscengine/connection.h"

enum op_kind { OP_DIAL, OP_READ, OP_WRITE, OP_PING, OP_CLOSE, OP_START, OP_STOP, OP_WAIT, OP_SETTLE, OP_PAUSE };

struct wsc_op {
  atomic_uint refs;
  enum op_kind kind;
  wsc_loop *loop;
  struct actor *owner; /* runs when it is cancelled or its time is up; a reference until it has ended */
  wsc_engine *
      engine; /* for its event; NULL: a connection alone. Kept alive by owner and, once posted, by a reference of its own */
  void *user;
  uint64_t token;
  int64_t deadline_ns; /* 0: none */
  wsc_cancel *cancel;
  struct wsc_op *cancel_next, *cancel_previous;
  _Atomic bool cancel_wanted;
  atomic_int status; /* WSC_AGAIN while pending */
  wsc_error *error;
  int64_t rtt_ns;
  wsc_message message; /* of a read */
  struct event_node node;
  struct wsc_op *next; /* in its owner's list */
  /* the verb's own */
  int type, code;
  uint8_t *payload; /* a write that waits: a copy (owned) */
  const uint8_t *data;
  size_t length;
  int64_t began_ns;
  uint64_t serial; /* ping: what its pong must carry; pause: whose */
};

/* A first-in first-out list of operations, linked through next. */
struct op_list {
  struct wsc_op *head, *tail;
  int64_t due_ns; /* the earliest deadline of its members, or earlier; 0: none has one */
};
void op_list_push(struct op_list *list, wsc_op *op);
void op_list_remove(struct op_list *list, wsc_op *op);

/* Whether anything may begin under c, which may be NULL: also for a verb that may be done at once. errors: CANCELED (c has fired already), INVALID
 * (c->struct_size). */
int op_allowed(const wsc_context *c, wsc_error **err);
/* A pending operation with one reference for the caller and one for the list it will be in. c may be NULL. errors: NOMEM, and
 * those of op_allowed. */
int op_new(enum op_kind kind, struct actor *owner, wsc_engine *engine, void *user, const wsc_context *c, uint64_t token,
           wsc_op **out, wsc_error **err);
/* Ends it: takes over the error and the list's reference. Posts OP_DONE when there is a token. */
void op_complete(wsc_op *op, int status, wsc_error *error);
/* Completes every member whose cancellation or deadline has come, saying `what` in the error; returns the next deadline (0: none). */
int64_t op_list_expire_some(struct op_list *list, int64_t now_ns, const char *what);
static inline int64_t op_list_expire(struct op_list *list, uint32_t why, int64_t now_ns, const char *what) {
  if (!list->head) return 0;
  bool look = why & ACTOR_CANCEL || (list->due_ns && list->due_ns <= now_ns);
  return look ? op_list_expire_some(list, now_ns, what) : list->due_ns;
}
/* Whether its cancellation or deadline has come: WSC_OK, WSC_ERR_CANCELED or WSC_ERR_TIMEOUT. */
int op_due(const wsc_op *op, int64_t now_ns);
/* Of two instants of which 0 means never. */
static inline int64_t earlier(int64_t a_ns, int64_t b_ns) { return !a_ns || (b_ns && b_ns < a_ns) ? b_ns : a_ns; }
/* A begin that found it must not begin: no completion, both references go. */
void op_refuse(wsc_op *op);
/* Begin's common end: hands *op out or drops it. */
int op_begun(wsc_op *op, wsc_op **out);
/* Blocking form: waits (lending the thread), gives the outcome, drops op. */
int op_finish(wsc_op *op, wsc_error **err);

#endif
