/* One WebSocket connection: the verbs of the seed's adapter interface. An engine makes one a session
 * (wsc_session_connection); wsc_connection_new makes one that needs no engine. */
#ifndef WSCENGINE_CONNECTION_H
#define WSCENGINE_CONNECTION_H

#include "options.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum wsc_message_type { WSC_TEXT = 1, WSC_BINARY = 2 };

/* A whole received message. data belongs to the message until wsc_message_free; text is valid UTF-8, not
 * NUL-terminated. */
typedef struct wsc_message {
  uint32_t struct_size, type; /* WSC_TEXT or WSC_BINARY */
  const uint8_t *data;
  size_t length;
  int64_t received_ns; /* Unix time at which its last byte was read from the socket */
  void *owner;         /* the library's */
} wsc_message;

/* One message to send. */
typedef struct wsc_outgoing {
  const uint8_t *data;
  size_t length;
  uint32_t type, flags; /* flags: 0 */
} wsc_outgoing;

enum wsc_initiator { WSC_BY_NOBODY = 0, WSC_BY_LOCAL = 1, WSC_BY_PEER = 2, WSC_BY_NETWORK = 3 };
enum wsc_timer {
  WSC_TIMER_NONE = 0,
  WSC_TIMER_CONNECT = 1,
  WSC_TIMER_KEEPALIVE = 2,
  WSC_TIMER_DATA_IDLE = 3,
  WSC_TIMER_CLOSE = 4
};

/* How a connection ended. In on_close's reply only code and reason are read. */
typedef struct wsc_close {
  uint32_t struct_size;
  int initiator;         /* enum wsc_initiator */
  int code;              /* what it stands for: the peer's, ours when we failed the connection, 1006 for a dead link */
  int code_sent;         /* 0: no close frame was sent */
  int code_received;     /* 0: none came; 1005: one without a code */
  int os_error;          /* errno of a dead link, else 0 */
  int timer;             /* enum wsc_timer: which timer ended it */
  uint64_t unsent_bytes; /* accepted for sending, but lost with the link; never replayed */
  const char *reason;    /* never NULL */
} wsc_close;

/* The answer to an upgrade request, also a refused one. Names are matched without case.
 * header: value of the n-th header of that name (0 first), NULL past the last · header_at: by position, false past the
 * last
 * body: of a refusal, at most its first 64 KiB · subprotocol: "" when none was agreed
 * owns: borrowed from the connection, the error or the event that gave it · threads: any · blocks: no · errors: none */
WSC_API int wsc_response_status(const wsc_response *r);
WSC_API const char *wsc_response_reason(const wsc_response *r);
WSC_API const char *wsc_response_header(const wsc_response *r, const char *name, size_t n);
WSC_API bool wsc_response_header_at(const wsc_response *r, size_t index, const char **name, const char **value);
WSC_API const uint8_t *wsc_response_body(const wsc_response *r, size_t *length);
WSC_API const char *wsc_response_subprotocol(const wsc_response *r);
WSC_API const wsc_response *wsc_error_response(
    const wsc_error *e); /* of an ERR_HANDSHAKE, found along the chain; else NULL */

/* A connection without an engine, on a loop (NULL: the library's own).
 * what: judges URL and options, opens nothing
 * owns: the caller unrefs; the last unref closes the socket and ends what is under way with ERR_CLOSED
 * threads: any · blocks: no (certificate files are read here) · errors: ref, unref: none; new: WSC_ERR_INVALID,
 *          WSC_ERR_TLS (certificates or key that cannot be used), WSC_ERR_NOMEM, WSC_ERR_IO (the library's own loop
 *          could not be made), WSC_ERR_FORKED */
WSC_API int wsc_connection_new(wsc_loop *loop, const char *url, const wsc_options *o, wsc_connection **out,
                               wsc_error **err);
WSC_API wsc_connection *wsc_connection_ref(wsc_connection *k);
WSC_API void wsc_connection_unref(wsc_connection *k);

/* Whether a close message may be sent: code 1000-1003, 1007-1014 or 3000-4999, reason (NULL: none) of at most 123 bytes of UTF-8 (RFC 6455
 * sections 5.5.1 and 7.4). Closes and on_close's answers are judged by it; so a host can judge for an adapter.
 * owns: *err is the caller's · threads: any · blocks: no · errors: WSC_ERR_INVALID, which says what is wrong */
WSC_API int wsc_close_check(int code, const char *reason, wsc_error **err);

/* The verbs; each is its _begin form plus wsc_op_wait, so the blocking forms lend their thread to the loop.
 * A _begin that returns an error begins nothing and posts no completion; *op may be NULL when only the event is wanted.
 *
 * dial   what: until the upgrade is accepted; one that has ended may dial again · errors: STATE (open or dialing
 *        already, or an engine's connection), RESOLVE, IO, TLS, HANDSHAKE, TIMEOUT, CANCELED
 * read   what: the next whole message, in arrival order. On a session: only inside its callbacks or while the caller
 *        holds the pause · owns: *out is the caller's to wsc_message_free; of a read_begin wsc_op_take_message gives
 *        it, once (STATE: pending, no read, ended badly or taken already) · errors: CLOSED (with the close's code;
 *        everything received before it was given first), STATE, TIMEOUT, CANCELED: the last two leave the connection as
 *        it was
 * write  what: one whole message, from any thread and any callback, never interleaved; done when it is accepted:
 *        written to the socket, or queued in full · owns: p is the caller's again on return, also from a _begin (copied
 *        if it must wait) · errors: CLOSED, TIMEOUT, CANCELED, QUEUE_FULL (no room, and the deadline had passed when it
 *        was called), INVALID (text that is no UTF-8, unknown type)
 * write_many what: all of them under one lock, in as few writes to the socket as fit; those that find no room then wait
 *        one by one, and other writes may come between. It has no _begin form: cork, a write_begin each, uncork is that
 *        errors: of write; INVALID before anything was sent, any other leaves sent what came before it
 * ping   what: until its pong; rtt_ns may be NULL · errors: CLOSED, TIMEOUT, CANCELED, QUEUE_FULL (4 KiB of pings and
 *        pongs wait already), NOMEM
 * close  what: sends the close frame, waits for the peer's up to close_timeout_ms, then closes the socket. A second
 *        close is an ERR_CLOSED. While dialing it ends the dial with ERR_CANCELED and itself with ERR_CLOSED
 *        errors: INVALID (a code that may not be sent, a reason over 123 bytes or not UTF-8), CLOSED, TIMEOUT (the peer
 *        never answered; the socket is closed all the same)
 * owns: *op (wsc_op_unref) and *err (wsc_error_unref) are the caller's · threads: any · blocks: the _begin forms never
 * errors, of each also: INVALID (NULL, a context without struct_size), STATE (never dialed, or dialing still), CANCELED
 *         (before it began), NOMEM, FORKED; IO (no random numbers for a mask) of write and ping */
WSC_API int wsc_connection_dial(wsc_connection *k, const wsc_context *c, wsc_error **err);
WSC_API int wsc_connection_dial_begin(wsc_connection *k, const wsc_context *c, uint64_t token, wsc_op **op,
                                      wsc_error **err);
WSC_API int wsc_connection_read(wsc_connection *k, const wsc_context *c, wsc_message *out, wsc_error **err);
WSC_API int wsc_connection_read_begin(wsc_connection *k, const wsc_context *c, uint64_t token, wsc_op **op,
                                      wsc_error **err);
WSC_API int wsc_op_take_message(wsc_op *op, wsc_message *out);
WSC_API void wsc_message_free(wsc_message *m);
WSC_API int wsc_connection_write(wsc_connection *k, const wsc_context *c, int type, const uint8_t *p, size_t n,
                                 wsc_error **err);
WSC_API int wsc_connection_write_begin(wsc_connection *k, const wsc_context *c, int type, const uint8_t *p, size_t n,
                                       uint64_t token, wsc_op **op, wsc_error **err);
WSC_API int wsc_connection_write_many(wsc_connection *k, const wsc_context *c, const wsc_outgoing *messages,
                                      size_t count, wsc_error **err);
WSC_API int wsc_connection_ping(wsc_connection *k, const wsc_context *c, int64_t *rtt_ns, wsc_error **err);
WSC_API int wsc_connection_ping_begin(wsc_connection *k, const wsc_context *c, uint64_t token, wsc_op **op,
                                      wsc_error **err);
WSC_API int wsc_connection_close(wsc_connection *k, const wsc_context *c, int code, const char *reason,
                                 wsc_error **err);
WSC_API int wsc_connection_close_begin(wsc_connection *k, const wsc_context *c, int code, const char *reason,
                                       uint64_t token, wsc_op **op, wsc_error **err);

/* Between cork and its uncork, writes are collected and leave together. Nests. Earlier when 64 KiB have come together,
 * a write waits for room or the connection is closed.
 * owns: nothing · threads: any; corks the connection, not the thread · blocks: no
 * errors: cork: none; uncork: CLOSED, STATE (not corked, or not open yet), INVALID, FORKED */
WSC_API void wsc_connection_cork(wsc_connection *k);
WSC_API int wsc_connection_uncork(wsc_connection *k, wsc_error **err);

/* response: of the upgrade, NULL before · closed: true once it has ended, then out (may be NULL) is filled
 * last_rtt_ns: of the last pong, -1 before the first
 * owns: response and out's reason are borrowed until the connection dials again or its last unref
 * threads: any · blocks: no · errors: none (NULL, false, -1; out without its struct_size is not filled) */
WSC_API const wsc_response *wsc_connection_response(const wsc_connection *k);
WSC_API bool wsc_connection_closed(const wsc_connection *k, wsc_close *out);
WSC_API int64_t wsc_connection_last_rtt_ns(const wsc_connection *k);

/* What the underlying slot of a user's adapter gives (adapter.h).
 * owns: as that adapter says · threads: any · blocks: as its slot does · errors: NULL (none, the built-in connection) */
WSC_API void *wsc_connection_underlying(const wsc_connection *k);

#ifdef __cplusplus
}
#endif
#endif
