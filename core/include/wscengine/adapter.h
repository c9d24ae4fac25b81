/* Adapters: somebody else's connection under an engine. A C adapter is a vtable of blocking verbs (the seed's); a host
 * adapter answers events instead (loop.h). Both hand back what the upgrade was answered. */
#ifndef WSCENGINE_ADAPTER_H
#define WSCENGINE_ADAPTER_H

#include "connection.h"
#include "trace.h"

#ifdef __cplusplus
extern "C" {
#endif

/* what: an answer that is filled before wsc_engine_report, or in an adapter's dial; Sec-WebSocket-Protocol is the
 *       agreed subprotocol
 * owns: the caller frees what new gave (NULL is fine); wsc_engine_report copies, a dial's is the library's
 * threads: one at a time · blocks: no
 * errors: new: NULL: out of memory; WSC_ERR_NOMEM, WSC_ERR_INVALID (NULL, a status that is not 100-999, a header name
 *         that is no token, CR or LF in a value or reason) */
WSC_API wsc_response *wsc_response_new(void);
WSC_API void wsc_response_free(wsc_response *r);
WSC_API int wsc_response_set(wsc_response *r, int status, const char *reason);
WSC_API int wsc_response_add_header(wsc_response *r, const char *name, const char *value);

/* A user's blocking adapter: one object, dialed again for each session, one connection at a time.
 *
 * dial   until the handshake is done. url: with its password; a: the headers and subprotocols to offer
 *        (wsc_attempt_header, _subprotocol); out: may be filled. An error when a connection is open already
 * close  until the close message is sent, or the context has ended; the connection is gone then, whatever close
 *        returns: pending reads and writes have failed or do so now, and dial works again. A deadline that has passed:
 *        send it if that takes no waiting. CLOSED when there is none. Never called beside dial
 * ping   until the pong, the context's end or the close; nobody is promised to read meanwhile
 * read   adds at least one message to out (wsc_batch_add), all that are there if it likes. Control frames are its own.
 *        An error with a close code ends the session, and the connection is gone: status CLOSED is the peer's close (its
 *        message the reason) or a lost link (1006), any other one that the adapter closed itself. CLOSED without a code:
 *        1006. TOO_BIG and NOMEM, as wsc_batch_add gives them: closed with 1009 and 1011. Other errors are OnReadError's, the 16th in a row is
 *        a 1006. OK without a message is an error too
 * write  one whole message. An error ends the session with 1006, unless read says within a second how it ended: the
 *        write had been accepted already
 * underlying  what wsc_connection_underlying gives; may be NULL
 * drop   the last: no slot runs or will run, and nobody has the adapter any more; may be NULL
 *
 * threads: each of dial, read, write, ping, close comes one at a time, but read, write, ping and close may run at once,
 *          on threads that are theirs: one that dials and reads as long as the connection lives, others that come with
 *          something to write, ping or close and go after 10 s without. underlying, drop: any. No lock of the library is
 *          held in any slot, and each may call the library
 * blocks:  they may, and must obey the context: its deadline (wsc_now_ns) and its cancel, which fires when the engine
 *          gives the connection up (wsc_cancel_fd to poll beside a socket). One that does not holds back nobody but
 *          this adapter: stop and the deadlines of the engine are kept, its thread is left behind until it returns, the
 *          next dial waits for that (at most CONNECT_TIMEOUT_MS, then the attempt has failed), and so does drop
 * errors:  0, or an enum wsc_status below 0; *err (never NULL) may receive an error of that status (wsc_error_new) that
 *          tells more, the library drops it. Any other number is WSC_ERR_HOST
 * owns:    all pointers but self are borrowed for the call */
typedef struct wsc_adapter {
  uint32_t struct_size, flags; /* flags: 0 */
  int (*dial)(void *self, const wsc_context *c, const char *url, const wsc_attempt *a, wsc_response *out,
              wsc_error **err);
  int (*close)(void *self, const wsc_context *c, int code, const char *reason, wsc_error **err);
  int (*ping)(void *self, const wsc_context *c, wsc_error **err);
  int (*read)(void *self, const wsc_context *c, wsc_batch *out, wsc_error **err);
  int (*write)(void *self, const wsc_context *c, int type, const uint8_t *data, size_t length, wsc_error **err);
  void *(*underlying)(void *self);
  void (*drop)(void *self);
} wsc_adapter;

/* what: engines and connections with these options use this adapter instead of the built-in connection; vtable NULL:
 *       the built-in again. All else is as with the built-in: reconnects, keepalive (by the ping slot), back-pressure,
 *       deadlines, counters. The adapter's are: the way to the server and everything about it (TLS, proxies,
 *       compression, socket options), and bytes on the wire, which are not counted
 * owns: vtable is copied; self belongs to the options and to who copied them until drop. When this fails it is the
 *       caller's still: no drop
 * threads: one at a time a handle · blocks: no, but for the drop of one that was set before
 * errors: WSC_ERR_INVALID (o NULL; vtable's struct_size, flags, or a slot missing that may not be), WSC_ERR_NOMEM */
WSC_API int wsc_options_set_adapter(wsc_options *o, const wsc_adapter *vtable, void *self);

/* Inside an adapter's read: one message more. what: copies it. Its receive time is when read returns
 * owns: data is the caller's · threads: the slot's · blocks: no
 * errors: WSC_ERR_INVALID (no type, text that is not UTF-8, NULL), WSC_ERR_TOO_BIG (MAX_MESSAGE_BYTES), WSC_ERR_NOMEM,
 *         WSC_ERR_STATE (not a batch that a read is filling). A message that could not be added is not lost silently:
 *         a read that returns OK all the same has failed with the first of these */
WSC_API int wsc_batch_add(wsc_batch *b, int type, const uint8_t *data, size_t length);

/* The built-in connection as an adapter, for decorators to wrap. what: fills vtable (whose struct_size the caller sets)
 * and *self. o: as for wsc_connection_new, but headers and subprotocols are those of the attempt; keepalive, idle
 * timeout and queues are the engine's to watch, and a log or tracer in o is not used
 * owns: *self is the caller's, to give to wsc_options_set_adapter (or to its drop); o stays the caller's
 * threads: any · blocks: no
 * errors: WSC_ERR_INVALID (NULL, struct_size), what wsc_options_validate says, WSC_ERR_NOMEM */
WSC_API int wsc_adapter_builtin(const wsc_options *o, wsc_adapter *vtable, void **self, wsc_error **err);

/* An adapter that tells a tracer of each slot of another: client spans "websocket.dial", "close", "ping", "read" and
 * "write", with the attributes and events of trace.h; their parent is the context's parent_span. what: fills out (whose
 * struct_size the caller sets) and *out_self. An engine whose adapter is one leaves these spans to it; any other adapter
 * needs none under an engine with a tracer
 * owns: takes over self, whose drop its own calls, when it returned OK; both vtables are copied, t_self is borrowed until
 *       then
 * threads: any · blocks: no
 * errors: WSC_ERR_INVALID (as wsc_options_set_adapter and wsc_options_set_tracer), WSC_ERR_NOMEM */
WSC_API int wsc_adapter_traced(const wsc_adapter *vtable, void *self, const wsc_tracer *t, void *t_self,
                               wsc_adapter *out, void **out_self);

#ifdef __cplusplus
}
#endif
#endif
