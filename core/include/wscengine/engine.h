/* Tier 1: an engine and its callbacks.
 *
 * A run goes from start to stopped. In it, sessions follow one another; each is one connection with an id (UUID v4) and
 * an epoch (1, 2, 3 ...). A session is: on_open, then on_message and on_read_error, then on_close and perhaps
 * on_close_error; between sessions on_restart_error for every attempt that failed. */
#ifndef WSCENGINE_ENGINE_H
#define WSCENGINE_ENGINE_H

#include "connection.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Callbacks run on the library's crew of C threads with no lock of the library held; any of them may be NULL, and any
 * may call any function of this library. s, its connection and what is passed in are borrowed until the callback
 * returns (wsc_session_ref to keep a session). reader_count on_message calls may run at once; every other callback runs
 * alone. The crew is one a process; the first engine or connection that uses it decides its size (CREW_MAX_THREADS). */
typedef struct wsc_callbacks {
  uint32_t struct_size;
  uint32_t flags; /* 0 */
  /* The connection is open; may read and write it. Nothing else is processed until it returns. Non-zero refuses the
   * session as an error of OnOpen: closed with 1001, start fails or the attempt counts as failed, no other callback of
   * this session. */
  int (*on_open)(wsc_session *s, const wsc_response *r, bool restarting, void *user);
  /* One whole message; data is valid until it returns. */
  void (*on_message)(wsc_session *s, int type, const uint8_t *data, size_t length, void *user);
  /* A read error that is no close, in its place among the messages. Never raised for the built-in adapter, whose read
   * errors all end the session; a user's (adapter.h) and a host's (tier 2) are. The engine is paused meanwhile. */
  void (*on_read_error)(wsc_session *s, const wsc_error *e, void *user);
  /* Once for each session whose on_open succeeded, after its running callbacks returned. peer: how it was closed or
   * lost; NULL: the user ended it (exit, restart, stop), the connection is still open and usable, and is then closed
   * with the reply's code and reason (1001 "Going Away" when untouched). The engine is paused meanwhile. */
  void (*on_close)(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user);
  /* The close handshake failed. The engine is paused meanwhile. */
  void (*on_close_error)(wsc_session *s, const wsc_error *e, void *user);
  /* An attempt to reconnect failed; retry counts such failures in a row before it. last: the engine gives up, whatever
   * made it (max_attempts, also by a session that was too short; give_up_on; before_attempt), and on_stopped follows. */
  void (*on_restart_error)(wsc_engine *e, const wsc_error *why, uint32_t retry, bool last, void *user);
  /* Just before each attempt: may change it (wsc_attempt_*). false: give up. */
  bool (*before_attempt)(wsc_engine *e, wsc_attempt *a, void *user);
  /* The run has ended; no callback of this run follows. why: NULL after stop or exit. Not called when the first start
   * failed: then start's own result is all there is to say. */
  void (*on_stopped)(wsc_engine *e, int reason, const wsc_error *why, void *user);
} wsc_callbacks;

enum wsc_state {
  WSC_STATE_STOPPED = 0,
  WSC_STATE_STARTING = 1,
  WSC_STATE_OPEN = 2,
  WSC_STATE_RECONNECTING = 3,
  WSC_STATE_STOPPING = 4
};
enum wsc_stop_reason {
  WSC_STOPPED_NEVER_RAN = 0, /* no run has ended yet */
  WSC_STOPPED_BY_STOP = 1,
  WSC_STOPPED_BY_EXIT = 2,
  WSC_STOPPED_LOST = 3,    /* auto_reconnect is off and the connection ended */
  WSC_STOPPED_GAVE_UP = 4, /* max_attempts, give_up_on or the hook */
  WSC_STOPPED_START_FAILED = 5
};

/* An engine that is not started. what: copies url, callbacks and options, judges them all, starts nothing. cb NULL: for
 * wsc_loop_add
 * owns: the caller frees; user is only handed back · threads: any · blocks: no (certificate files are read here)
 * errors: WSC_ERR_INVALID naming field and value, WSC_ERR_TLS (certificates or key that cannot be used),
 *         WSC_ERR_NOMEM */
WSC_API int wsc_engine_new(const char *url, const wsc_callbacks *cb, void *user, const wsc_options *o, wsc_engine **out,
                           wsc_error **err);

/* what: stops a running engine (up to stop_timeout_ms) and frees it; inside one of its callbacks the freeing is
 * deferred until that callback returned; sessions and connections that the user still holds stay valid and closed. On a
 * loop of the host's the run is cut instead: nothing more is raised
 * owns: takes the caller's handle, NULL is fine · threads: any, once, no other call of this engine under way
 * blocks: until stopped; not inside its callbacks · errors: none */
WSC_API void wsc_engine_free(wsc_engine *e);

/* Tells the engines of a process apart, in log records and elsewhere: 1, 2, 3 ... in the order they were made.
 * owns: nothing · threads: any · blocks: no · errors: 0 for NULL */
WSC_API uint64_t wsc_engine_id(const wsc_engine *e);

/* The tracer's span of the callback of this engine that this thread is in: what a user's own spans have as parent.
 * owns: the tracer's, valid until the callback returns · threads: the callback's · blocks: no · errors: NULL outside of
 *       callbacks, without a tracer, and on a host's loop (wsc_trace_span) */
WSC_API void *wsc_engine_span(const wsc_engine *e);

/* start  what: dials, runs on_open and returns when that returned. The first start is not retried (option).
 *        on_open_timeout_ms and the context end it: socket closed, nothing goes on behind · errors: STATE (running
 *        already: nothing changes; or neither callbacks nor a loop), IN_CALLBACK, TIMEOUT, CANCELED (also by a stop),
 *        or the failure as cause, told apart by its status
 * stop   what: on_close, close handshake, all callbacks out; after OK no callback runs or will run. Inside a callback
 *        it acts as exit and returns OK at once. The pause holder's own stop ends the pause · errors: STATE (not
 *        started), TIMEOUT, CANCELED (it goes on stopping; a second stop waits again)
 * wait   what: until the run ended; *why receives the reason's error (NULL after stop and exit) · returns WSC_STOPPED
 *        with the reason in wsc_engine_stop_reason; OK at once when it never ran (wait_begin: STATE while it is on no
 *        loop)
 *        errors: TIMEOUT, CANCELED, IN_CALLBACK
 * stop_reason what: enum wsc_stop_reason, of the last run that ended · errors: none
 * owns: *op (wsc_op_unref), *err and *why (wsc_error_unref) are the caller's · threads: any
 * blocks: only the forms without _begin · errors, of each also: INVALID (NULL, a context without struct_size), NOMEM,
 *         FORKED; IO of a first start (the library's own loop could not be made) */
WSC_API int wsc_engine_start(wsc_engine *e, const wsc_context *c, wsc_error **err);
WSC_API int wsc_engine_start_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **op, wsc_error **err);
WSC_API int wsc_engine_stop(wsc_engine *e, const wsc_context *c, wsc_error **err);
WSC_API int wsc_engine_stop_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **op, wsc_error **err);
WSC_API int wsc_engine_wait(wsc_engine *e, const wsc_context *c, wsc_error **why);
WSC_API int wsc_engine_wait_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **op, wsc_error **err);
WSC_API int wsc_engine_stop_reason(const wsc_engine *e);

/* Requests on whatever is current: they take effect when the running callbacks return. exit belongs to the run; restart
 * to the session that is open when it is called.
 * owns: nothing · threads: any · blocks: no · errors: none (nothing happens when there is no run) */
WSC_API void wsc_engine_exit(wsc_engine *e);
WSC_API void wsc_engine_restart(wsc_engine *e);

/* is_started: true while a run is on, also between its sessions. Waits while the engine is starting or stopping, except
 *             inside its callbacks: there starting is true and stopping is false
 * state: enum wsc_state, at once
 * owns: nothing · threads: any · blocks: is_started · errors: none (false, STOPPED) */
WSC_API bool wsc_engine_is_started(wsc_engine *e);
WSC_API int wsc_engine_state(const wsc_engine *e);

/* The read lock. what: while it is held nothing is processed and the holder may read, write and ping the connection
 * itself. Granted at once when no message is being taken, also while a callback runs. Nests on one thread. The holder's
 * own stop ends it. In on_read_error, on_close and on_close_error the engine holds it for the callback: pause and
 * resume are OK there at once.
 * owns: *op (wsc_op_unref) and *err are the caller's · threads: any; resume need not come from the one that paused;
 *       what pause_begin was granted does not nest · blocks: pause, until granted
 * errors: pause: TIMEOUT, CANCELED, STATE (not running), CLOSED (the run ended first), NOMEM; resume: STATE (not
 *         paused); both INVALID, FORKED */
WSC_API int wsc_engine_pause(wsc_engine *e, const wsc_context *c, wsc_error **err);
WSC_API int wsc_engine_pause_begin(wsc_engine *e, const wsc_context *c, uint64_t token, wsc_op **op, wsc_error **err);
WSC_API int wsc_engine_resume(wsc_engine *e);

/* Sends on the session that is open now. what: like wsc_connection_write; between sessions ERR_CLOSED, or waits for the
 * next session until the deadline with send_waits_for_session
 * owns: p is the caller's again on return; *op (wsc_op_unref) and *err are the caller's · threads: any · blocks: write,
 *       as wsc_connection_write does · errors: of wsc_connection_write; STATE (never started), UNSUPPORTED (host
 *       adapter) */
WSC_API int wsc_engine_write(wsc_engine *e, const wsc_context *c, int type, const uint8_t *p, size_t n,
                             wsc_error **err);
WSC_API int wsc_engine_write_begin(wsc_engine *e, const wsc_context *c, int type, const uint8_t *p, size_t n,
                                   uint64_t token, wsc_op **op, wsc_error **err);

/* The session that is open now: from on_open's return to its on_close, and inside on_open itself; NULL between
 * sessions.
 * owns: the caller unrefs · threads: any · blocks: no · errors: none */
WSC_API wsc_session *wsc_engine_session(wsc_engine *e);

/* A session. id: UUID v4 text, epoch: 1, 2, 3 ... · connection: valid as long as the session; NULL with a host adapter
 * received_ns: inside on_message, when that message was read from the socket (Unix time); else 0
 * exit, restart: like the engine's, but restart never touches a newer session
 * owns: what ref gives must be unref'd; id, connection and engine are borrowed from the session
 * threads: any · blocks: no · errors: none (NULL is fine) */
WSC_API wsc_session *wsc_session_ref(wsc_session *s);
WSC_API void wsc_session_unref(wsc_session *s);
WSC_API const char *wsc_session_id(const wsc_session *s);
WSC_API uint64_t wsc_session_epoch(const wsc_session *s);
WSC_API wsc_connection *wsc_session_connection(wsc_session *s);
WSC_API wsc_engine *wsc_session_engine(wsc_session *s);
WSC_API int64_t wsc_session_received_ns(const wsc_session *s);
WSC_API void wsc_session_exit(wsc_session *s);
WSC_API void wsc_session_restart(wsc_session *s);

/* One attempt, inside before_attempt (or between BEFORE_ATTEMPT and its done). Changes last for the rest of the run.
 * DO_DIAL carries one too, until its done: url, header and subprotocol say what the host should dial with; a change of
 * it changes nothing.
 * number: failed attempts in a row so far · last_error: why the one before failed, NULL for the first
 * url: without its password · header, subprotocol: those that will be offered, "Name: value" and "name", in order; NULL
 * past the last (user names, cookies and the origin are options, not in here)
 * set_url, add_header, clear_headers, clear_subprotocols, add_subprotocol  change what the options said
 * set_delay_ms: wait this long, then ask again · set_retry_delay_ms: the delay if this attempt fails, instead of the
 * table's
 * reset: forget the failures so far
 * owns: the attempt and what it gives are borrowed until the hook returns; what it is given is copied
 * threads: the hook's, one at a time · blocks: no
 * errors of setters: WSC_ERR_INVALID (a bad URL, header or subprotocol), WSC_ERR_NOMEM: the attempt is unchanged; of
 *           those that return nothing: none */
WSC_API uint32_t wsc_attempt_number(const wsc_attempt *a);
WSC_API const wsc_error *wsc_attempt_last_error(const wsc_attempt *a);
WSC_API const char *wsc_attempt_url(const wsc_attempt *a);
WSC_API const char *wsc_attempt_header(const wsc_attempt *a, size_t index);
WSC_API const char *wsc_attempt_subprotocol(const wsc_attempt *a, size_t index);
WSC_API int wsc_attempt_set_url(wsc_attempt *a, const char *url, wsc_error **err);
WSC_API int wsc_attempt_add_header(wsc_attempt *a, const char *name_and_value, wsc_error **err);
WSC_API void wsc_attempt_clear_headers(wsc_attempt *a);
WSC_API int wsc_attempt_add_subprotocol(wsc_attempt *a, const char *name, wsc_error **err);
WSC_API void wsc_attempt_clear_subprotocols(wsc_attempt *a);
WSC_API void wsc_attempt_set_delay_ms(wsc_attempt *a, int64_t ms);
WSC_API void wsc_attempt_set_retry_delay_ms(wsc_attempt *a, int64_t ms);
WSC_API void wsc_attempt_reset(wsc_attempt *a);

/* Counters of an engine, all sessions together. */
typedef struct wsc_stats {
  uint32_t struct_size, flags;
  uint64_t messages_received, bytes_received; /* payload of data messages */
  uint64_t messages_sent, bytes_sent;
  uint64_t messages_dropped; /* received, never taken: exit, restart, stop */
  uint64_t sessions, reconnects, failed_attempts;
  uint64_t queued_messages, queued_bytes; /* received, not yet taken */
  int64_t rtt_last_ns, rtt_smoothed_ns;   /* -1: no pong yet; smoothed as TCP does (RFC 6298, 1/8) */
  int64_t last_byte_age_ns;               /* since this session received anything; -1: nothing yet, or no session */
  /* payload of the messages that permessage-deflate compressed, as it went over the wire and as it was: their quotient
   * is the compression ratio; all zero without it */
  uint64_t packed_received_bytes, unpacked_received_bytes, packed_sent_bytes, unpacked_sent_bytes;
  /* reconnects, by why the session before had ended: the peer closed · the link broke · keepalive or data_idle_timeout found
   * it dead · we failed it for what the peer sent · restart was called, or on_open refused */
  uint64_t reconnects_by_peer, reconnects_by_network, reconnects_by_timeout, reconnects_by_protocol, reconnects_by_user;
  uint64_t wire_received_bytes, wire_sent_bytes; /* frames, with their headers and control frames; TLS not counted */
  uint64_t unsent_bytes;                         /* accepted for sending and not yet written; 0 without a session */
} wsc_stats;

/* The counters now; before the first start too. what: the caller sets out's struct_size. With a user's
 * adapter nothing is known of wire bytes and compression (0). With a host adapter
 * messages_received and bytes_received are what wsc_engine_report_alive said
 * owns: out is the caller's · threads: any · blocks: no · errors: WSC_ERR_INVALID (NULL, no struct_size),
 *       WSC_ERR_FORKED */
WSC_API int wsc_engine_stats(wsc_engine *e, wsc_stats *out);

#ifdef __cplusplus
}
#endif
#endif
