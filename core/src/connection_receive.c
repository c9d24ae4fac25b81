/* Reading: bytes to batches, batches to whoever waits, back-pressure to the peer. */
#define _GNU_SOURCE
#include "connection.h"
#include "mem.h"
#include "os.h"

#include <errno.h>
#include <string.h>

bool receive_full(const wsc_connection *k) { return k->queue.cost >= k->receive_bytes; }

bool receive_pending(const wsc_connection *k) { return k->readable || k->receiver.more; }

/* A socket that may not be read is disarmed, so that a host's loop fd stays quiet; only once it has announced itself, since most never do. */
void receive_hold(wsc_connection *k, bool hold) {
  if (k->held != hold) {
    k->held = hold;
    if (!hold && k->receiver.more) actor_kick(k->actor, 0); /* no edge of the socket will */
    keepalive_held(&k->alive, hold, os_now_ns());
    connection_log(k, WSC_LOG_DEBUG, "connection", hold ? "receive queue is full: not reading" : "reading again");
  }
  if (hold && k->readable && !k->disarmed && k->transport.fd >= 0) {
    poller_arm(&k->loop->poller, k->transport.fd, k->actor, false);
    k->disarmed = true;
  } else if (!hold && k->disarmed && k->transport.fd >= 0) {
    poller_arm(&k->loop->poller, k->transport.fd, k->actor, true);
    k->disarmed = false;
  }
}

/* ---- what comes in ------------------------------------------------------------------------------------------------- */

static void on_control(void *self, int opcode, const uint8_t *p, size_t n) {
  wsc_connection *k = self;
  pthread_mutex_lock(&k->lock);
  if (opcode == OPCODE_PING && k->state == CONN_OPEN) send_pong(k, p, n);
  else if (opcode == OPCODE_PONG) connection_pong(k, p, n, os_now_ns());
  else if (opcode == OPCODE_CLOSE) {
    k->peer_code = n >= 2 ? p[0] << 8 | p[1] : WSC_CLOSE_NO_STATUS;
    if (k->state == CONN_OPEN) connection_reason(k, (const char *)p + 2, n > 2 ? n - 2 : 0);
  }
  pthread_mutex_unlock(&k->lock);
}

static void peer_closed(wsc_connection *k) {
  k->ended.code_received = k->peer_code;
  if (k->state == CONN_OPEN) {
    send_close(k, k->peer_code, "");
    k->ended.initiator = WSC_BY_PEER;
    k->ended.code = k->peer_code;
    k->state = CONN_ECHOING;
    k->deadline_ns = os_now_ns() + k->close_timeout_ns;
  } else if (k->state == CONN_CLOSING || k->state == CONN_FAILING) {
    connection_end(k, NULL);
  }
}

static void enqueue(wsc_connection *k, struct batch_queue *fresh) {
  for (struct wsc_batch *b; (b = batch_queue_pop(fresh));) {
    uint64_t messages = b->count - b->taken;
    k->traffic.messages_received += messages;
    k->traffic.bytes_received += b->payload;
    if (k->state != CONN_OPEN) {
      k->traffic.dropped += messages;
      batch_unref(b);
      continue;
    }
    batch_queue_push(&k->queue, b);
  }
}

void receive_batches(wsc_connection *k, struct batch_queue *fresh) {
  enqueue(k, fresh);
  connection_serve_reads(k);
}

static void fault(wsc_connection *k, int status) {
  const struct receiver_fault *f = k->receiver.fault;
  connection_fail(k, f->close_code, f->reason, status, f->detail);
}

/* n bytes lie in the receiver's space; 0: what a former pass left there. The lock is not held, but taken when they are parsed. */
static void advance(wsc_connection *k, size_t n, int64_t now) {
  struct batch_queue fresh = {0};
  struct receiver_sink sink = {on_control, k};
  int64_t received_ns = k->transport.stamp_ns ? k->transport.stamp_ns : os_unix_ns();
  int r = receiver_advance(&k->receiver, n, received_ns, &fresh, &sink);
  pthread_mutex_lock(&k->lock);
  if (n) {
    keepalive_life(&k->alive, now);
    k->looked = false;
    k->last_byte_ns = now;
  }
  if (k->receiver.more) k->again = true;
  if (fresh.head) keepalive_data(&k->alive, now);
  k->traffic.wire_received += n;
  k->traffic.packed_received = k->receiver.packed_bytes;
  k->traffic.unpacked_received = k->receiver.unpacked_bytes;
  receive_batches(k, &fresh);
  if (k->control.length > 0 && !k->blocked) send_flush(k, now);
  if (r) fault(k, r);
  else if (k->receiver.closed) peer_closed(k);
}

int receive_bytes(wsc_connection *k, const uint8_t *p, size_t n, int64_t now) {
  while (n && k->state == CONN_OPEN) {
    struct iovec iov[2];
    int count = receiver_space(&k->receiver, iov);
    if (count < 0) {
      connection_fail(k, WSC_CLOSE_INTERNAL_ERROR, "out of memory", WSC_ERR_NOMEM, "out of memory for receiving");
      return WSC_ERR_NOMEM;
    }
    size_t part = iov[0].iov_len < n ? iov[0].iov_len : n;
    memcpy(iov[0].iov_base, p, part);
    p += part;
    n -= part;
    pthread_mutex_unlock(&k->lock);
    advance(k, part, now);
  }
  return WSC_OK;
}

/* ---- the socket ---------------------------------------------------------------------------------------------------- */

/* The lock is held, and let go: before a plain socket is read, after SSL_* was called. */
static ssize_t read_some(wsc_connection *k, struct iovec *iov, int count) {
  bool locked = k->transport.tls != NULL;
  if (!locked) pthread_mutex_unlock(&k->lock);
  ssize_t n = transport_recv(&k->transport, iov, count);
  if (locked) pthread_mutex_unlock(&k->lock);
  return n;
}

/* Whether the socket has surely nothing more until its next edge. A short read says so, but not beside a hang-up: its end shows only
 * to a further read; nor under TLS, which reads record by record until there is none. */
static bool drained(const wsc_connection *k, ssize_t n, size_t room) {
  return k->transport.tls ? k->transport.dry : !k->hangup && (size_t)n < room;
}

static void discard_some(wsc_connection *k) {
  uint8_t waste[4096];
  struct iovec iov = {waste, sizeof waste};
  for (int i = 0; i < 16; i++) {
    ssize_t n = transport_recv(&k->transport, &iov, 1);
    if (n == -EAGAIN) {
      k->readable = false;
      return;
    }
    if (n <= 0) {
      connection_end(k, NULL);
      return;
    }
  }
  k->again = true;
}

/* Receives what there is space for, and notes whether the socket may have more. */
static void receive_more(wsc_connection *k, int64_t now) {
  struct iovec iov[2];
  int count = receiver_space(&k->receiver, iov);
  if (count < 0) {
    connection_fail(k, WSC_CLOSE_INTERNAL_ERROR, "out of memory", WSC_ERR_NOMEM, "out of memory for receiving");
    return;
  }
  size_t room = iov[0].iov_len + (count > 1 ? iov[1].iov_len : 0);
  ssize_t n = read_some(k, iov, count);
  if (n > 0) {
    bool dry = drained(k, n, room);
    advance(k, (size_t)n, now);
    if (dry) k->readable = false; /* under the lock again: who takes a message looks at it */
    return;
  }
  pthread_mutex_lock(&k->lock);
  if (n == -EAGAIN) k->readable = false;
  else connection_lost(k, "reading", n);
}

void receive_run(wsc_connection *k, int64_t now) {
  if (k->state == CONN_FAILING) {
    if (k->readable) discard_some(k);
    return;
  }
  if (!receive_pending(k) || (k->state != CONN_OPEN && k->state != CONN_CLOSING)) return;
  if (k->state == CONN_OPEN && receive_full(k)) {
    receive_hold(k, true);
    return;
  }
  receive_hold(k, false);
  if (k->receiver.more) {
    pthread_mutex_unlock(&k->lock);
    advance(k, 0, now);
  } else {
    receive_more(k, now);
  }
  if (k->state == CONN_ENDED) return;
  if (!k->readable) transport_expect(&k->transport, k->state == CONN_OPEN ? k->receiver.rest : 0);
  if (receive_pending(k)) k->again = true; /* one arena a turn: others are waiting too */
  else receiver_rest(&k->receiver);
}
