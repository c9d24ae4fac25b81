/* The engine: joins the lifecycle with connections, and both with whoever speaks the user's language.
 *
 * Only the actor's run (engine_run.c) feeds the lifecycle and carries out its effects. Verbs of other threads leave a wish under the lock and kick
 * the actor. At most one session event is out at a time; a batch also counts as out until its last record is taken. */
#ifndef WSC_ENGINE_INTERNAL_H
#define WSC_ENGINE_INTERNAL_H

#include "attempt.h"
#include "connection.h"
#include "lifecycle.h"
#include "wscengine/engine.h"
#include "wscengine/trace.h"

struct wsc_session {
  atomic_uint refs;
  wsc_engine *engine;         /* a reference to its actor */
  wsc_connection *connection; /* a reference; NULL with a host adapter */
  uint64_t epoch;             /* 0 until it is open */
  uint64_t attempt;           /* the lifecycle's epoch */
  uint64_t run;               /* of its engine */
  unsigned active;            /* readers inside callbacks; under the engine's lock */
  bool over;                  /* no reader may come in any more */
  char id[37];
};

/* Why a session ended, as statistics tell it. */
enum engine_cause { CAUSE_USER, CAUSE_PEER, CAUSE_NETWORK, CAUSE_TIMEOUT, CAUSE_PROTOCOL, CAUSES };

/* What another thread wants of the actor. */
enum engine_wish { WISH_START = 1, WISH_STOP = 2, WISH_EXIT = 4, WISH_RESTART = 8, WISH_CUT = 16 };

/* The reply to the session event that was out. */
struct engine_answer {
  int type; /* enum wsc_event_type; 0: none */
  bool ok;
  int close_code;
  char close_reason[124];
};

/* The session event that waits to be taken. */
struct engine_pending {
  int type; /* 0: none */
  bool restarting, last, has_close;
  uint32_t retry;
  int64_t delay_ms;
  int reason;
};

enum host_question { HOST_DIAL, HOST_PING, HOST_CLOSE, HOST_STOP_READING, HOST_QUESTIONS };

/* A host adapter: questions out as DO_ events, answers in by wsc_engine_report. */
struct host_ask {
  struct event_node node;
  wsc_engine *engine;
  int type;         /* enum wsc_event_type */
  uint64_t token;   /* 0: none is out */
  uint64_t attempt; /* whose question it is: an answer that comes later means nothing to the next session */
  int close_code;
  int64_t timeout_ns, due_ns;
  char reason[124];
  struct wsc_attempt *dial; /* of a DO_DIAL that is not out yet: what is dialed, a copy, since the next may differ */
};
struct host_link {
  struct host_ask asks[HOST_QUESTIONS];
  uint64_t tokens;
  wsc_response *response;
  struct keepalive alive;
  wsc_error *error;     /* how the dial or the session ended */
  unsigned news;        /* enum connection_news */
  unsigned read_errors; /* in a row */
  bool open, readers_out;
  wsc_close ended;
  char ended_reason[124];
  struct traffic traffic;
  int64_t ping_at_ns, rtt_last_ns, rtt_smoothed_ns;
  int64_t due_ns;
};

struct trace;
struct log_entry;

struct log_queue {      /* log.c's */
  pthread_mutex_t lock; /* taken under any other but the loop's */
  struct event_node node;
  struct log_entry *head, *tail;
  unsigned count;
  uint32_t lost;       /* dropped since the last one that was not */
  bool out;            /* the head is, with a host or a hook */
  const wsc_log *hook; /* NULL: none; the host takes events */
  void *hook_self;
  bool giving, closed; /* to the hook */
  pthread_cond_t quiet;
};

struct wsc_engine {
  struct actor actor; /* first */
  uint32_t generation;
  uint64_t id;
  wsc_callbacks callbacks;
  bool has_callbacks; /* a crew runs it: batches are taken at the core's cursor */
  void *user;
  wsc_options *options, *base_options; /* base: as given; the hook of a run may change the others */
  struct url url, base_url;
  struct tls_context *trust;
  bool send_waits;
  struct connection_owner owner;
  uint32_t reader_count;

  pthread_mutex_t lock;
  struct lifecycle life;
  int64_t life_due_ns; /* the lifecycle's timer; 0: off */
  unsigned wishes;
  uint64_t restart_attempt;
  bool freed;         /* by the user: dies with the run */
  atomic_bool joined; /* has a loop */

  wsc_session *session; /* from its dial until the next one's */
  uint64_t sessions;    /* opened so far: the last epoch */
  uint64_t runs;        /* begun so far */
  struct wsc_attempt *attempt;
  wsc_error *failure; /* why the last attempt failed, or how the last session ended */
  wsc_error *stop_error;
  wsc_error *read_error; /* to be raised as READ_ERROR */
  int stop_reason;

  struct event_node node;
  struct engine_pending pending;
  struct engine_answer answer;
  int out; /* type of the session event that is out; 0: none */
  struct wsc_batch *out_batch;
  bool reading; /* OnOpen succeeded: messages are delivered */
  bool draining, drop, taken_told, readers_told, drain_all, grace_over;
  bool closing;     /* EF_CLOSE or EF_ABORT was carried out: IN_CLOSED is owed */
  bool dial_failed; /* before there was a connection */
  bool refused;     /* by on_open, whose error stands however the close goes */
  unsigned active;  /* readers of all sessions inside callbacks */
  volatile uint32_t control;

  bool paused;
  unsigned pause_depth;
  uint64_t pause_holder;
  struct op_list pauses;

  wsc_op *start;
  struct op_list stops, waits, settles, writes;
  bool stop_overdue;

  struct host_link *host; /* NULL: connections are our own */
  struct traffic traffic; /* of the connections that are gone */
  uint64_t reconnects, failed_attempts;
  uint64_t reconnects_by[CAUSES];
  enum engine_cause cause; /* why the last session ended */
  int64_t rtt_last_ns, rtt_smoothed_ns;

  struct log_queue log;
  struct trace *trace; /* NULL: no tracer */
};

/* engine.c */
void engine_kick(wsc_engine *e);
uint64_t engine_thread_id(void);
int engine_usable(const wsc_engine *e, const char *verb, wsc_error **err);
/* session_id: "" when there is none. */
void engine_log(wsc_engine *e, int level, const char *subsystem, const char *session_id, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void log_init(wsc_engine *e);
void log_free(wsc_engine *e);
void log_deliver(wsc_engine *e, const wsc_event *ev); /* to the user's vtable */
void log_close(wsc_engine *e);                        /* none after it returned; not inside a log line */
void log_options(wsc_engine *e);                      /* those that are set, without their secrets */
wsc_session *session_new(wsc_engine *e, uint64_t attempt);

/* engine_run.c */
void engine_run(struct actor *a, uint32_t why);

/* engine_effects.c: lock held */
void engine_effect(wsc_engine *e, const struct lifecycle_effect *f, int64_t now_ns);
void engine_set_failure(wsc_engine *e, wsc_error *error); /* takes over the reference */
void engine_end_run(wsc_engine *e, int reason);
void engine_hand_over_writes(wsc_engine *e); /* writes that waited for a session go to the one that is open */

/* In wsc_event.flags, the library's own. */
enum { EVENT_ENTERED = 1 << 30, EVENT_ANSWERED = 1 << 29 };

/* engine_events.c: lock held, but for the node's own functions */
bool engine_fill(struct event_node *n, wsc_event *ev);
void engine_batch_taken(wsc_engine *e,
                        struct wsc_batch *b); /* no lock is held: the crew has taken the last record of several */
void engine_pump(wsc_engine *e);              /* posts the next session event if there may be one */
bool engine_keeps(wsc_engine *e, struct wsc_batch *b,
                  uint32_t at); /* of a solo batch that was cut: whether this record is the
                                                                        reader's; takes the lock */
bool engine_seize(
    wsc_engine *e); /* the records not yet taken of the batch that is out go back; false: it must be waited for */
void engine_set_control(wsc_engine *e);
bool engine_holds_lock(int type); /* the engine holds the read lock while such an event is out */
int engine_read(void *self, wsc_connection *k, wsc_message *out);

/* engine_pause.c: lock held */
void engine_grant_pauses(wsc_engine *e);
void engine_end_pause(wsc_engine *e);

/* engine_link.c: one face for the built-in connection and a host adapter; lock held */
int link_dial(wsc_engine *e);         /* of e->session */
const char *link_step(wsc_engine *e); /* what an attempt that is not open yet is doing */
void link_shut(wsc_engine *e, int code, const char *reason);
void link_abort(wsc_engine *e, int code);
void link_fence(wsc_engine *e);
void link_drop(wsc_engine *e);
unsigned link_news(wsc_engine *e);
bool link_ended(wsc_engine *e);
bool link_queue_empty(wsc_engine *e);
bool link_readers_out(wsc_engine *e);
wsc_error *link_error(wsc_engine *e);
const wsc_close *link_close(wsc_engine *e);
const wsc_response *link_response(wsc_engine *e);
void link_forget(wsc_engine *e); /* the session's counters are added up before it goes */
void link_stop_reading(wsc_engine *e);

/* engine_host.c: lock held */
int host_init(wsc_engine *e); /* WSC_OK or WSC_ERR_NOMEM */
int host_dial(wsc_engine *e); /* asks the host to dial what the engine has now; WSC_OK, WSC_ERR_NOMEM */
void host_ask(wsc_engine *e, enum host_question q, int code, const char *reason, int64_t timeout_ns);
void host_run(wsc_engine *e, int64_t now_ns);
void host_free(wsc_engine *e);
void host_end(wsc_engine *e, int initiator, int code, int timer, const char *reason, wsc_error *error);

#endif
