/* One connection: dial, upgrade, receive, send, keepalive, close, as one non-blocking state machine (the wslay adapter). It knows no engine; what an
 * engine wants to know of it goes through struct connection_owner.
 *
 * connection_run is called by the actor's thread alone; what it owns (receiver, dial, handshake) needs no lock. Everything that verbs of other threads
 * touch is under `lock`, which is let go while bytes are read from a plain socket and parsed. */
#ifndef WSC_CONNECTION_INTERNAL_H
#define WSC_CONNECTION_INTERNAL_H

#include "deflate.h"
#include "dial.h"
#include "handshake.h"
#include "keepalive.h"
#include "operation.h"
#include "receiver.h"
#include "slots.h"
#include "transport.h"
#include "tunnel.h"
#include "wscengine/connection.h"

enum connection_state {
  CONN_NEW,
  CONN_ADAPTING, /* a user's adapter dials */
  CONN_RESOLVING,
  CONN_CONNECTING,
  CONN_PROXY_TLS,
  CONN_TUNNELING,
  CONN_TLS,
  CONN_UPGRADING,
  CONN_OPEN,
  CONN_CLOSING, /* our close frame is out; waiting for the peer's */
  CONN_ECHOING, /* the peer's came; ours is being written */
  CONN_FAILING, /* we sent why; whatever comes is thrown away until the peer lets go */
  CONN_ENDED
};

/* What happened since the owner last asked. */
enum connection_news {
  NEWS_DIALED = 1,
  NEWS_DIAL_FAILED = 2,
  NEWS_ENDED = 8,
  NEWS_LOST = 16 /* peer, network or fault, not us */
};

enum { LOG_TEXT_MAX = 1280 }; /* a preview of 256 bytes, four characters each at most, and what stands before it */

struct connection_owner {
  /* A read verb asks: WSC_OK and *out filled from what is out already; WSC_AGAIN: it may wait for more; WSC_ERR_STATE: not now. No lock is held. */
  int (*read)(void *self, wsc_connection *k, wsc_message *out);
  void (*log)(void *self, int level, const char *subsystem, const char *session_id, const char *text);
  int log_level;
  wsc_engine *traced; /* whose tracer is told of verbs; NULL: none */
};

/* Counters, and nothing else: they are summed up as an array. */
struct traffic {
  uint64_t messages_received, bytes_received, messages_sent, bytes_sent, dropped;
  uint64_t wire_received, wire_sent; /* bytes of frames as they were read and written, inside TLS */
  /* of compressed messages: payload as it went over the wire, and as it was */
  uint64_t packed_received, unpacked_received, packed_sent, unpacked_sent;
};

static inline void traffic_add(struct traffic *sum, const struct traffic *one) {
  uint64_t *to = (uint64_t *)sum;
  const uint64_t *from = (const uint64_t *)one;
  for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) to[i] += from[i];
}

/* The way by a proxy, while dialing. */
struct detour {
  struct proxy proxy;
  struct tunnel tunnel;
  struct addresses target; /* of the server, for a proxy that looks nothing up */
};

/* Instead of dial, socket, receiver and frames: a user's adapter. */
struct adapted {
  struct slots *slots;
  bool dialing;           /* its dial was asked for */
  bool closed;            /* its close has returned */
  bool failing;           /* a write has failed, and the read has a moment to say why */
  wsc_error *read_error;  /* for the next read, or OnReadError */
  unsigned read_errors;   /* in a row */
  wsc_error *write_error; /* while failing */
};

struct home {
  struct url url;
  wsc_options *options;
  struct tls_context *trust; /* of these options: it may show a certificate of our own */
  unsigned redirects;
};

struct tx_chunk {
  struct tx_chunk *next;
  size_t length, sent, capacity;
  uint8_t bytes[];
};

struct wsc_connection {
  struct actor own; /* of a connection without an engine */
  struct actor *actor;
  atomic_uint refs;
  uint32_t generation;
  wsc_loop *loop;
  const struct connection_owner *owner;
  void *owner_self;
  wsc_options *options;
  struct url url;
  struct tls_context *trust;
  bool traces;        /* what goes over the wire is logged */
  wsc_engine *traced; /* whose tracer is told of verbs; NULL: nobody's */
  int64_t connect_timeout_ns, close_timeout_ns;
  uint64_t receive_bytes, send_bytes, fragment_bytes, compress_from;

  pthread_mutex_t lock;
  enum connection_state state;
  _Atomic unsigned news; /* changed under the lock; a look needs none */
  bool fenced;           /* reads and writes fail: the session is over */
  bool deaf;             /* reads that would have to wait fail: the engine is stopping */
  bool abandoned;        /* the last reference of its user is gone */
  char session_id[37];   /* for log lines; "" without an engine */
  int64_t deadline_ns;   /* of the dial, or of the close handshake */
  int64_t due_ns;        /* when connection_run wants to be called again; 0: only when something happens */
  bool again;            /* ... or at once */

  struct resolve *resolve;
  struct detour *detour; /* NULL: no proxy, or not yet known */
  bool routed;           /* it is known */
  struct dial *dial;
  struct handshake *handshake; /* NULL unless the upgrade is asked for */
  struct buffer request;       /* for the server or the proxy */
  size_t request_sent;
  struct adapted *adapted; /* NULL: the built-in connection */
  struct home *home;       /* what it was before it was redirected; NULL: it was not */
  struct transport transport;
  wsc_response *response;
  wsc_error *error; /* why the dial failed, or how it ended */

  struct receiver receiver;
  bool receiver_made, readable, hangup, held, disarmed;
  struct batch_queue queue;
  _Atomic bool offers; /* a batch may be taken: queue is not empty and no read waits for it */
  struct op_list reads;

  struct tx_chunk *tx_head, *tx_tail, *tx_spare;
  uint64_t tx_bytes;
  struct buffer control; /* pings and pongs: between chunks */
  size_t control_sent;
  unsigned corks;
  struct deflate_terms terms; /* what was agreed on with the server */
  struct deflater *deflater;  /* NULL: nothing was compressed yet */
  bool blocked;               /* the socket took no more */
  ssize_t broken;             /* -errno of a write that failed; the actor's thread ends the connection ... */
  bool read_out;              /* ... when it has read what the peer sent before */
  bool ping_queued;           /* a keepalive ping is in control */
  struct op_list writes;

  struct keepalive alive;
  bool looked;                      /* the keepalive has found the link dead once and the socket was read again */
  uint64_t ping_target, ping_acked; /* bytes acknowledged: when the last ping has arrived; when it was looked at last */
  bool ping_behind;                 /* data stood before it */
  uint64_t acked;                   /* while blocked or held: bytes acknowledged at the last look */
  int64_t unanswered_ns;            /* since when nothing was; 0: nothing waits for an answer */
  int64_t still_ns;                 /* since when the peer has neither taken nor sent anything */
  uint64_t ping_serial;
  int64_t ping_at_ns, rtt_last_ns, rtt_smoothed_ns, last_byte_ns;
  struct op_list pings;

  struct op_list dials, closes;
  bool shut_by_owner; /* connection_shut: its end is no news */
  bool finished;      /* our half of the stream is closed */
  bool dial_aborted;  /* close while dialing */
  int peer_code;      /* close frame seen; 0: none */
  wsc_close ended;
  char *reason; /* its text, or NULL: set by connection_reason */
  struct traffic traffic;
};

/* actor NULL: it gets one of its own on loop. References to options, trust are taken; url is copied. */
int connection_new(wsc_loop *loop, struct actor *actor, const struct url *url, wsc_options *options,
                   struct tls_context *trust, const struct connection_owner *owner, void *owner_self,
                   wsc_connection **out, wsc_error **err);
void connection_run(wsc_connection *k, uint32_t why, int64_t now_ns);

/* For the owner's actor thread. */
void connection_dial(wsc_connection *k); /* begins; NEWS_DIALED or NEWS_DIAL_FAILED follows */
void connection_shut(wsc_connection *k, int code, const char *reason); /* close handshake; NEWS_ENDED follows */
void connection_abort(
    wsc_connection *k,
    int code); /* a close frame if that can be done without waiting (0: none), and the socket is closed */
unsigned connection_take_news(wsc_connection *k);
void connection_fence(wsc_connection *k);
void connection_drop(wsc_connection *k);      /* drops and counts what is queued */
void connection_end_reads(wsc_connection *k); /* reads that wait fail with ERR_CLOSED */
struct wsc_batch *connection_take(
    wsc_connection *k); /* the front of the receive queue; NULL: empty, or a read waits for it */
bool connection_has_read_error(wsc_connection *k);        /* everything before it was taken. A user's adapter's only */
wsc_error *connection_take_read_error(wsc_connection *k); /* NULL: a read verb has it */
void connection_read_on(wsc_connection *k);               /* after it */
void connection_give_up(wsc_connection *k);               /* any thread: its next run ends it */
void connection_give_back(wsc_connection *k, struct wsc_batch *b); /* untaken records, to the front */
bool connection_queue_empty(wsc_connection *k);
bool connection_has_batch(wsc_connection *k);   /* connection_take would give one */
wsc_error *connection_error(wsc_connection *k); /* a reference; how the dial or the connection ended */
/* The first of the writes that waited for a session goes on here. false: this one takes no more either, and it waits on. */
bool connection_write_op(wsc_connection *k, struct op_list *from);

/* Shared by the connection's own rooms. `lock` is held unless said. */
void connection_log(wsc_connection *k, int level, const char *subsystem, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void connection_end(wsc_connection *k, wsc_error *error);              /* to CONN_ENDED; takes over error */
void connection_reason(wsc_connection *k, const char *text, size_t n); /* copies; without memory there is none */
void connection_fail(wsc_connection *k, int code, const char *reason, int status,
                     const char *detail); /* we close: the peer broke a rule */
void connection_begin_close(wsc_connection *k, int code,
                            const char *reason); /* of an open one: our close frame goes out */
void connection_lost(wsc_connection *k, const char *what, ssize_t result); /* the socket failed or ended */
void connection_dead(wsc_connection *k, int timer, wsc_error *error); /* cut, not closed politely; takes over error */
void connection_keepalive(wsc_connection *k, int64_t now_ns);         /* connection_life.c */
void life_ping_left(wsc_connection *k, int64_t now_ns);
void connection_pong(wsc_connection *k, const uint8_t *payload, size_t n, int64_t now_ns);
void connection_serve_reads(wsc_connection *k);

void dial_opened(wsc_connection *k, int64_t now_ns);  /* k->response is there */
void dial_ended(wsc_connection *k, wsc_error *error); /* it will never be open; takes over error */
wsc_error *dial_timed_out(wsc_connection *k);
void dial_run(wsc_connection *k, int64_t now_ns); /* connection_dial.c: until CONN_OPEN, or ended */
void dial_start(wsc_connection *k);               /* the next run begins it, its time counts from now */
void dial_drop(wsc_connection *k);
int dial_trust(wsc_connection *k,
               wsc_error **err); /* k->trust is made if there is none yet; tls_context_new's errors */
int dial_send(wsc_connection *k, const char *what,
              wsc_error **err); /* k->request as far as it goes: OK, AGAIN, error */
int dial_failed(wsc_connection *k, ssize_t result, const char *what, wsc_error **err); /* the error of a socket call */
void detour_free(struct detour *d);                                                    /* connection_proxy.c */
int detour_find(wsc_connection *k, wsc_error **err);  /* k->detour, if a proxy is to be taken */
int detour_begin(wsc_connection *k, wsc_error **err); /* connected to the proxy */
int detour_tls(wsc_connection *k, wsc_error **err);
int detour_tunnel(wsc_connection *k, wsc_error **err);             /* OK: bytes go to the server from here on */
int detour_failed(wsc_connection *k, int status, wsc_error **err); /* names the proxy in a dial's error */
int redirect_follow(
    wsc_connection *k,
    wsc_error **
        err); /* connection_redirect.c: the upgrade ended with *err. OK: the dial begins anew elsewhere; else its status */
void redirect_return(wsc_connection *k);             /* back to where it was made for */
const char *dial_step_name(enum connection_state s); /* \"connecting by TCP\", for the error of a deadline */
void receive_run(wsc_connection *k, int64_t now_ns); /* connection_receive.c */
void receive_batches(wsc_connection *k, struct batch_queue *fresh); /* to the queue and to reads that wait */
int receive_bytes(wsc_connection *k, const uint8_t *p, size_t n,
                  int64_t now_ns); /* what came glued to the upgrade's answer */
void receive_hold(wsc_connection *k, bool hold);
bool receive_full(const wsc_connection *k);
bool receive_pending(const wsc_connection *k); /* the socket may have more, or the receiver has */
int adapted_new(wsc_connection *k,
                struct actor *actor); /* connection_adapter.c. Of options with an adapter: WSC_ERR_NOMEM */
void adapted_free(wsc_connection *k); /* accepts one without */
void adapted_end(wsc_connection *k);  /* the connection ends: what came last is kept, slots are let go */
void adapted_run(wsc_connection *k, int64_t now_ns);
int adapted_write(wsc_connection *k, int type, const uint8_t *p, size_t n); /* WSC_ERR_NOMEM */
int adapted_ping(wsc_connection *k);                                        /* up to k->ping_serial; WSC_ERR_NOMEM */
void adapted_close(wsc_connection *k, int code, const char *reason);
void adapted_serve_read(wsc_connection *k);         /* the read that waits first gets a read error, if there is one */
void send_flush(wsc_connection *k, int64_t now_ns); /* connection_send.c */
int send_control(wsc_connection *k, int opcode, const uint8_t *p,
                 size_t n); /* OK, or why it will never leave: QUEUE_FULL, NOMEM, IO */
void send_pong(wsc_connection *k, const uint8_t *p,
               size_t n); /* leaves when all that was received has been read, or with many */
int send_message(wsc_connection *k, int type, const uint8_t *p, size_t n); /* OK, AGAIN: no room, CLOSED, NOMEM, IO */
void send_close(wsc_connection *k, int code, const char *reason);
void send_drop(wsc_connection *k);
void send_uncorked(wsc_connection *k); /* the last cork was pulled */
void send_admit(wsc_connection *k);    /* writes that waited for room */
int send_check(int type, const uint8_t *p, size_t n, wsc_error **err);

#endif
