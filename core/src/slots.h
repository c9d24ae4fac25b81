/* The slots of a user's adapter, called for one connection: each verb on a thread of its own, since each may block. What they have brought is
 * collected by the connection's actor, which is kicked; a slot never sees the connection, and the connection never waits for a slot.
 *
 * Threads come as they are needed (the reader for the dial, the others with their first work) and go: the reader with the connection, the others
 * also when they had nothing to do for long. What they share outlives the connection for as long as one of them is inside a slot. */
#ifndef WSC_SLOTS_H
#define WSC_SLOTS_H

#include "adapter.h"
#include "attempt.h"
#include "loop.h"

struct slots;

/* What slots have brought since the last look. The taker frees it. */
struct slots_news {
  bool dialed;          /* the dial has ended: ... */
  wsc_error *dial;      /* ... NULL: well */
  wsc_response *answer; /* of a dial that ended well */
  struct batch_queue batches;
  wsc_error *read;      /* the reader waits for slots_read_on */
  uint64_t written;     /* bytes of messages that were taken */
  wsc_error *write;     /* nothing more is written */
  uint64_t pong_serial; /* 0: no ping has ended */
  wsc_error *ping;      /* how; NULL: with a pong */
  int64_t ping_began_ns, ping_ended_ns;
  bool close_began, closed; /* the close slot was called; has returned */
  wsc_error *close;         /* NULL: well */
  bool idle;                /* no slot runs */
};

/* The actor is kicked, not kept. */
int slots_new(struct adapter *a, struct actor *actor, uint64_t message_bytes, struct slots **out);
/* The connection has ended or goes: every slot is told to return, the adapter's connection is closed (code) when nobody did so before. slots is not
 * to be used any more. Accepts NULL. */
void slots_let_go(struct slots *s, int code);
void slots_collect(struct slots *s, struct slots_news *out);

bool slots_claim(
    struct slots *s); /* the adapter is free for this connection; else the actor is kicked when it may be */
int slots_dial(struct slots *s, const struct url *url, wsc_options *o, int64_t deadline_ns); /* WSC_ERR_NOMEM */
void slots_room(struct slots *s, uint64_t bytes); /* the reader goes on while it has brought less than that */
void slots_read_on(struct slots *s);              /* after a read error */
int slots_write(struct slots *s, int type, const uint8_t *p, size_t n); /* copied and queued; WSC_ERR_NOMEM */
/* A ping that also answers all asked before it; of those from oldest on somebody waits for. timeout_ns: of the slot, which is called again when it has
 * passed. WSC_ERR_NOMEM */
int slots_ping(struct slots *s, uint64_t serial, uint64_t oldest, int64_t timeout_ns);
void slots_ping_oldest(struct slots *s, uint64_t oldest);
/* When what is queued has been written. timeout_ns: of the slot, from its call. */
void slots_close(struct slots *s, int code, const char *reason, int64_t timeout_ns);
void slots_cancel(struct slots *s); /* all but close */

#endif
