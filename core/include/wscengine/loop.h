/* Tier 2: loops and events, for bindings and programs with an event loop of their own.
 *
 * The library has no I/O thread. Whoever calls wsc_loop_next lends the loop its thread; any number of threads may. An
 * event is out from next until wsc_event_done. */
#ifndef WSCENGINE_LOOP_H
#define WSCENGINE_LOOP_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* XX(NAME, number, session, doc): session = 1: at most one such event of an engine is out at a time. Append only. */
#define WSC_EVENT_MAP(XX) \
  XX(OPENED, 1, 1, "run on_open; reply.status/error refuse") \
  XX(BATCH, 2, 1, "messages; reply.consumed") \
  XX(READ_ERROR, 3, 1, "run on_read_error") \
  XX(CLOSED, 4, 1, "run on_close; reply.close_code/close_reason") \
  XX(CLOSE_ERROR, 5, 1, "run on_close_error") \
  XX(RESTART_ERROR, 6, 1, "run on_restart_error") \
  XX(BEFORE_ATTEMPT, 7, 1, "change event.attempt; reply.status != 0 gives up") \
  XX(DO_DIAL, 8, 0, \
     "host adapter: dial text with the headers and subprotocols of event.attempt, then wsc_engine_report(token)") \
  XX(DO_PING, 9, 0, "host adapter: ping, then report") \
  XX(DO_CLOSE, 10, 0, "host adapter: close with close_code and text, then report") \
  XX(DO_STOP_READING, 11, 0, "host adapter: read no more, take no more; report when the readers are out") \
  XX(OP_DONE, 12, 0, "the operation with this token has ended: status, error, op") \
  XX(STOPPED, 13, 1, "the run has ended: status is the stop reason; none after a first start that failed") \
  XX(TRACE, 14, 0, "a start has ended, for the tracer: only to be answered") \
  XX(LOG, 15, 0, "a log record: level, subsystem, session_id, text, received_ns (when), count (lost before it)")

enum wsc_event_type {
#define XX(name, number, session, doc) WSC_EVENT_##name = number,
  WSC_EVENT_MAP(XX)
#undef XX
};

/* One message of a batch. Frozen: 16 bytes for ever. */
typedef struct wsc_record {
  uint64_t offset; /* from event.arena */
  uint32_t length;
  uint16_t type;  /* WSC_TEXT or WSC_BINARY */
  uint16_t flags; /* 0 */
} wsc_record;

enum wsc_event_flags {
  WSC_EVENT_RESTARTING = 1, /* OPENED: not the first session of the run */
  WSC_EVENT_LAST = 2,       /* RESTART_ERROR: the engine gives up */
  WSC_EVENT_BY_PEER = 4,    /* CLOSED: event.close is set (peer closed, link died, or we failed the connection) */
  WSC_EVENT_IN_HOST = 8     /* BATCH: the payload was written to host_buffer, arena points there */
};

/* The caller sets struct_size (zeroing the rest) and may set host_buffer and host_capacity; next fills what its type
 * needs. Pointers are borrowed until wsc_event_done. */
typedef struct wsc_event {
  uint32_t struct_size, type;
  wsc_engine *engine;   /* NULL for an operation of a connection without an engine */
  void *user;           /* as given to wsc_engine_new */
  wsc_session *session; /* of session events */
  uint64_t epoch;
  const char *session_id;
  uint32_t flags, count;
  const uint8_t *arena;
  uint64_t arena_length;
  const wsc_record *records;
  uint8_t *host_buffer; /* in: a batch is written here when its payload fits */
  size_t host_capacity;
  int64_t received_ns;
  uint64_t token;
  int status, close_code, level;
  uint32_t retry;
  int64_t delay_ns; /* RESTART_ERROR: until the next attempt; DO_PING, DO_CLOSE: the timeout */
  const char *text, *subsystem;
  const wsc_error *error;
  const wsc_response *response;
  const wsc_close *close;
  wsc_attempt *attempt; /* BEFORE_ATTEMPT, DO_DIAL */
  wsc_op *op;
  void *core; /* the library's */
} wsc_event;

typedef struct wsc_reply {
  uint32_t struct_size, flags; /* flags: 0 */
  uint32_t consumed;           /* BATCH: records taken; the rest goes back to the front of the queue */
  int status;                  /* OPENED, BEFORE_ATTEMPT: not 0 refuses */
  wsc_error *error;            /* why; borrowed */
  int close_code;              /* CLOSED: 0 means 1001, and so does what may not be sent */
  const char *close_reason;
} wsc_reply;

/* A loop. what: o is only judged, NULL is fine. free answers the events that nobody took as done(.., NULL) would
 * owns: the caller frees, after its engines and connections · threads: any; free: with no thread in next · blocks: no
 * errors: free: none; new: WSC_ERR_INVALID, WSC_ERR_NOMEM, WSC_ERR_IO (epoll, timerfd, eventfd or the standby thread
 *         could not be made: os_error) */
WSC_API int wsc_loop_new(const wsc_options *o, wsc_loop **out, wsc_error **err);
WSC_API void wsc_loop_free(wsc_loop *l);

/* Puts an engine on this loop instead of the library's own, whose crew of C threads runs the callbacks: here nobody
 * calls those given to wsc_engine_new, the events stand for them. Only before its first start.
 * owns: the engine keeps the loop's memory, not its use · threads: any · blocks: no
 * errors: WSC_ERR_STATE (started, or on a loop already), WSC_ERR_INVALID, WSC_ERR_NOMEM, WSC_ERR_FORKED */
WSC_API int wsc_loop_add(wsc_loop *l, wsc_engine *e);

/* One fd, readable whenever next(.., 0) has something to do (an event, I/O or a timer) and not otherwise. Poll it,
 * never read it; a host loop may dup it.
 * owns: it is the loop's, valid until wsc_loop_free · threads: any · blocks: no
 * errors: -1 for NULL or after a fork */
WSC_API int wsc_loop_fd(wsc_loop *l);

/* Lends the calling thread: I/O, timers, state machines, until there is an event or timeout_ns (< 0: no limit) has
 * passed. returns WSC_OK with an event out, WSC_AGAIN without
 * owns: the caller answers the event with wsc_event_done, its pointers are borrowed until then
 * threads: any number at once · blocks: up to timeout_ns
 * errors: WSC_ERR_FORKED, WSC_ERR_INVALID (NULL, ev's struct_size) */
WSC_API int wsc_loop_next(wsc_loop *l, int64_t timeout_ns, wsc_event *ev);

/* A thread in reserve, for hosts whose threads run callbacks. what: waits until something has lain on the loop for some
 * milliseconds that no thread in next came for, since all of them are in callbacks: WSC_OK, go into next (with timeout 0, until it says
 * AGAIN, and come back); WSC_AGAIN: timeout_ns has passed (< 0: no limit), or wake
 * owns: nothing · threads: any number · blocks: up to timeout_ns; costs nothing meanwhile · errors: WSC_ERR_FORKED,
 *       WSC_ERR_INVALID (NULL) */
WSC_API int wsc_loop_spare(wsc_loop *l, int64_t timeout_ns);

/* Makes one thread blocked in next or spare return AGAIN, or else the next one that would block; events still come first.
 * owns: nothing · threads: any · blocks: no · errors: none */
WSC_API void wsc_loop_wake(wsc_loop *l);

/* Answers an event; r may be NULL (accept, all consumed). While a session event is out its engine yields no other, but
 * completions and LOG still come. Of a BATCH it is called when the last record was taken, not when its callback
 * returned.
 * owns: ends the loan of the event's pointers (a BATCH's to who has entered it: at leave); r and what it points to are
 *       the caller's · threads: any, once an event · blocks: no
 * errors: WSC_ERR_INVALID (no event, r's struct_size), WSC_ERR_STATE (this wsc_event was answered already: nothing
 *         changes) */
WSC_API int wsc_event_done(wsc_event *ev, const wsc_reply *r);

/* Brackets callbacks around a batch (once a batch and reader), so that stop and OnClose know when readers are out.
 * Between them the batch's pointers stay valid even past done. Each reader enters, before done, with a copy of the
 * event of its own.
 * enter: false when it is no batch, the session is over, reader_count are in already or this copy is; then leave does
 *        nothing
 * owns: what enter has lent, leave takes back · threads: any · blocks: no · errors: none but that false */
WSC_API bool wsc_event_enter(wsc_event *ev);
WSC_API void wsc_event_leave(wsc_event *ev);

/* The next record of a batch that is out, at the core's cursor: 1, or 0 when there is none or the engine wants no more
 * taken (pause, session over). A caller of take gives its done with consumed = 0 + what take gave; the core knows and
 * ignores it. From the first take on the cursor counts for this batch: a pause, exit, restart or stop takes the rest back at
 * once, however long the callback of the last record runs, and a read verb inside a callback goes on from there.
 * owns: out is the caller's, the payload the event's · threads: any number at once · blocks: no · errors: none */
WSC_API uint32_t wsc_event_take(wsc_event *ev, wsc_record *out);

/* Not 0: give the rest back (done) before taking another record. A plain word to be read without a call.
 * owns: the engine's, valid as long as it is · threads: any · blocks: no · errors: NULL for NULL */
WSC_API const volatile uint32_t *wsc_engine_control(const wsc_engine *e);

/* Keeps a batch's records and payload beyond done; it outlives loop and engine. The payload is not copied, unless it would pin
 * more than four times the memory that the messages need: then it is, right-sized. Records' offsets count from wsc_batch_arena.
 * owns: the caller unrefs what hold gives; arena and records are borrowed from it · threads: any · blocks: no
 * errors: hold: NULL: out of memory, or no batch; the others none (of NULL: NULL and 0) */
WSC_API wsc_batch *wsc_event_hold(const wsc_event *ev);
WSC_API const uint8_t *wsc_batch_arena(const wsc_batch *b, uint64_t *length);
WSC_API const wsc_record *wsc_batch_records(const wsc_batch *b, uint32_t *count);
WSC_API void wsc_batch_unref(wsc_batch *b);

/* A callback that a host runs, told to the engine's tracer (wsc_options_set_tracer). begin: just before the callback of a
 * session event, r NULL, or of one message of a batch that is entered, with its record. span: the tracer's, the parent of what
 * the callback does; NULL: it has none. end: when it has returned, before wsc_event_done (a batch's: before leave);
 * status: not OK when it failed or refused
 * owns: end frees what begin gave; ev is borrowed until then · threads: any · blocks: as the tracer does
 * errors: begin: NULL without a tracer (or memory, or where a crew calls back); the others take NULL */
typedef struct wsc_trace_call wsc_trace_call;
WSC_API wsc_trace_call *wsc_trace_begin(const wsc_event *ev, const wsc_record *r);
WSC_API void *wsc_trace_span(const wsc_trace_call *c);
WSC_API void wsc_trace_end(wsc_trace_call *c, int status);

/* Host adapters (option HOST_ADAPTER): answers the DO_ event with this token; exactly once each.
 * DO_DIAL  OK: open; r may be NULL · an error: the attempt failed; with r it is a refused or (101) malformed upgrade, whose
 *          status and Retry-After count as with the built-in connection, and error is its cause
 * DO_PING  OK: the pong came · an error: the link is dead
 * DO_CLOSE, DO_STOP_READING  done, or error
 * owns: r is copied; the caller keeps r and error · threads: any · blocks: no
 * errors: WSC_ERR_STATE (nobody waits for this token: answered already, overtaken by a newer question or given up; or
 *         never started), WSC_ERR_INVALID, WSC_ERR_FORKED */
WSC_API int wsc_engine_report(wsc_engine *e, uint64_t token, int status, const wsc_response *r, wsc_error *error);

/* What a host adapter's readers saw, without being asked: an error of status CLOSED (with close code) ends the session as closed by
 * the peer, one of another status with a close code as closed by the host; any other is a read error, the 16th in a row without an alive cuts the link; NULL: lost. alive: messages were seen
 * since the last call; counts as life for keepalive. Fenced by epoch.
 * owns: the caller keeps error · threads: any · blocks: no
 * errors: alive: none; read: WSC_ERR_CLOSED (not the session that is open), WSC_ERR_STATE (never started),
 *         WSC_ERR_INVALID, WSC_ERR_FORKED */
WSC_API int wsc_engine_report_read(wsc_engine *e, uint64_t epoch, wsc_error *error);
WSC_API void wsc_engine_report_alive(wsc_engine *e, uint64_t epoch, uint64_t messages, uint64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
