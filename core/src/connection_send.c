/* Writing: whole messages from any thread, in order, never interleaved. A message is written at once when nothing waits before it; what the socket does
 * not take is kept in chunks of whole frames, between which control frames pass. The connection's lock is held throughout. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "frame.h"
#include "mask.h"
#include "mem.h"
#include "os.h"
#include "random.h"
#include "wire_log.h"

#include <errno.h>
#include <string.h>

enum { SMALL_FRAME = 512, CHUNK_BYTES = 65536, CONTROL_MOST = 4096 };

int send_check(int type, const uint8_t *p, size_t n, wsc_error **err) {
  if (type != WSC_TEXT && type != WSC_BINARY)
    return error_set(err, WSC_ERR_INVALID, "message type is %d, not 1 (text) or 2 (binary)", type);
  if (!p && n) return error_set(err, WSC_ERR_INVALID, "message data is NULL, but its length is %zu", n);
  if (type == WSC_TEXT && !utf8_valid(p, n))
    return error_set(err, WSC_ERR_INVALID, "text message of %zu bytes is not UTF-8", n);
  return WSC_OK;
}

/* ---- chunks -------------------------------------------------------------------------------------------------------- */

static struct tx_chunk *add_chunk(wsc_connection *k, size_t capacity) {
  struct tx_chunk *c = capacity == CHUNK_BYTES ? k->tx_spare : NULL;
  if (c) k->tx_spare = NULL;
  else c = mem_alloc(sizeof *c + capacity);
  if (!c) return NULL;
  *c = (struct tx_chunk){.capacity = capacity};
  if (k->tx_tail) k->tx_tail->next = c;
  else k->tx_head = c;
  k->tx_tail = c;
  return c;
}

/* A large chunk is kept for the next while the connection is corked: the allocator would give its pages back each time. */
static void drop_head(wsc_connection *k) {
  struct tx_chunk *c = k->tx_head;
  k->tx_head = c->next;
  if (!k->tx_head) k->tx_tail = NULL;
  if (k->corks && c->capacity == CHUNK_BYTES && !k->tx_spare) k->tx_spare = c;
  else mem_free(c);
}

void send_uncorked(wsc_connection *k) {
  mem_free(k->tx_spare);
  k->tx_spare = NULL;
}

void send_drop(wsc_connection *k) {
  while (k->tx_head) drop_head(k);
  send_uncorked(k);
  k->tx_bytes = 0;
  buffer_free(&k->control);
  k->control_sent = 0;
  k->blocked = k->ping_queued = false;
  deflater_free(k->deflater);
  k->deflater = NULL;
}

/* One masked frame at out; its length. */
static size_t put_frame(wsc_connection *k, uint8_t *out, bool fin, int opcode, const uint8_t *p, size_t n,
                        const uint8_t key[4]) {
  size_t h = frame_header(out, fin, opcode, n, key);
  if (k->traces) wire_log_sent(k, out[0], p, n);
  mask_copy(out + h, p, n, key);
  return h + n;
}

static int queue_frame(wsc_connection *k, bool fin, int opcode, const uint8_t *p, size_t n) {
  uint8_t key[4];
  if (random_key(key)) return WSC_ERR_IO;
  size_t most = n + FRAME_HEADER_MAX;
  struct tx_chunk *c = k->tx_tail;
  /* A chunk that is being written only grows while it is corked: control frames pass between chunks. */
  if (!c || c->capacity - c->length < most)
    c = add_chunk(k, (k->corks || k->tx_head) && most < CHUNK_BYTES ? CHUNK_BYTES : most);
  if (!c) return WSC_ERR_NOMEM;
  size_t wrote = put_frame(k, c->bytes + c->length, fin, opcode, p, n, key);
  c->length += wrote;
  k->tx_bytes += wrote;
  return WSC_OK;
}

/* ---- the socket ---------------------------------------------------------------------------------------------------- */

/* The socket takes no more. No ping can leave now: connection_life.c watches what is acknowledged. */
static void block(wsc_connection *k) {
  if (k->blocked) return;
  k->blocked = true;
  actor_kick(k->actor, 0);
}

/* < 0: nothing more can be written now (blocked), or the link is lost. */
static ssize_t write_some(wsc_connection *k, const uint8_t *p, size_t n, int64_t now) {
  ssize_t sent = transport_send(&k->transport, p, n);
  if (sent > 0) k->traffic.wire_sent += (uint64_t)sent;
  if (sent == -EAGAIN) {
    block(k);
  } else if (sent < 0) { /* the actor's thread may be reading from the socket: only it may close it */
    k->broken = sent;
    actor_kick(k->actor, 0);
  } else if (k->blocked) { /* a full socket buffer moves on only when the peer acknowledges: a sign of life */
    k->blocked = false;
    if (k->state == CONN_CLOSING || k->state == CONN_ECHOING) /* a slow reader gets what was sent before the close */
      k->deadline_ns = os_now_ns() + k->close_timeout_ns;
    keepalive_life(&k->alive, now ? now : os_now_ns());
  }
  return sent;
}

static bool control_next(const wsc_connection *k) {
  return k->control.length > 0 && (k->control_sent > 0 || !k->tx_head || k->tx_head->sent == 0);
}

/* Corked messages wait, but for one that is half out: nothing could pass it. The close frame pulls the cork, and so does who waits for room. */
static bool corked(const wsc_connection *k) {
  return k->corks && k->tx_bytes < CHUNK_BYTES && k->tx_head->sent == 0 && !k->ended.code_sent && !k->writes.head;
}

void send_flush(wsc_connection *k, int64_t now) {
  while (k->state >= CONN_OPEN && k->state != CONN_ENDED && !k->broken) {
    ssize_t n;
    if (control_next(k)) {
      n = write_some(k, k->control.data + k->control_sent, k->control.length - k->control_sent, now);
      if (n < 0) return;
      k->control_sent += (size_t)n;
      if (k->control_sent < k->control.length) continue;
      buffer_free(&k->control);
      k->control_sent = 0;
      if (k->ping_queued) {
        k->ping_queued = false;
        life_ping_left(k, now ? now : os_now_ns());
      }
    } else if (k->tx_head && !corked(k)) {
      struct tx_chunk *c = k->tx_head;
      n = write_some(k, c->bytes + c->sent, c->length - c->sent, now);
      if (n < 0) return;
      c->sent += (size_t)n;
      k->tx_bytes -= (size_t)n;
      if (c->sent == c->length) drop_head(k);
    } else return;
  }
}

/* ---- messages ------------------------------------------------------------------------------------------------------ */

/* The usual case: a small message, nothing before it, straight from the stack. WSC_AGAIN: not that case. */
static int send_small(wsc_connection *k, int type, const uint8_t *p, size_t n) {
  if (k->tx_head || k->control.length || k->blocked || n > SMALL_FRAME) return WSC_AGAIN;
  uint8_t frame[SMALL_FRAME + FRAME_HEADER_MAX], key[4];
  if (random_key(key)) return WSC_ERR_IO;
  size_t length = put_frame(k, frame, true, type, p, n, key);
  ssize_t sent = write_some(k, frame, length, 0);
  if (sent == (ssize_t)length) return WSC_OK;
  if (k->broken) return WSC_ERR_CLOSED;
  if (sent < 0) sent = 0;
  struct tx_chunk *c = add_chunk(k, length);
  if (!c && sent == 0) return WSC_ERR_NOMEM;
  if (!c) { /* half a frame is out: nothing can follow it */
    k->broken = -ENOMEM;
    actor_kick(k->actor, 0);
    return WSC_ERR_CLOSED;
  }
  memcpy(c->bytes, frame, length);
  c->length = length;
  c->sent = (size_t)sent;
  k->tx_bytes += length - (size_t)sent;
  return WSC_OK;
}

/* One message in as many frames as it takes. opcode: with FRAME_RSV1 or without. */
static int send_frames(wsc_connection *k, int opcode, const uint8_t *p, size_t n) {
  int r = k->corks ? WSC_AGAIN : send_small(k, opcode, p, n);
  if (r != WSC_AGAIN) return r;
  size_t at = 0;
  do {
    size_t part = n - at < k->fragment_bytes ? n - at : k->fragment_bytes;
    r = queue_frame(k, at + part == n, opcode, p ? p + at : NULL, part);
    if (r && at)
      connection_fail(k, WSC_CLOSE_INTERNAL_ERROR, "out of memory", r, "out of memory in the middle of a message");
    if (r) return k->state == CONN_OPEN ? r : WSC_ERR_CLOSED;
    at += part;
    opcode = OPCODE_CONTINUATION;
    if (!k->blocked && (!k->corks || k->tx_bytes >= CHUNK_BYTES))
      send_flush(k, 0); /* corked: no call for each of many small ones */
    if (k->broken) return WSC_ERR_CLOSED;
  } while (at < n);
  return WSC_OK;
}

static bool worth_compressing(const wsc_connection *k, size_t n) {
  return k->terms.on && n > 0 && n >= k->compress_from && k->terms.client_bits >= DEFLATE_BITS_LEAST;
}

static int send_compressed(wsc_connection *k, int type, const uint8_t *p, size_t n) {
  struct buffer packed = {0};
  int r = WSC_ERR_NOMEM;
  if (!k->deflater)
    k->deflater = deflater_new(k->terms.client_bits, (int)options_int(k->options, WSC_OPT_COMPRESSION_LEVEL),
                               k->terms.client_forgets);
  if (k->deflater) r = deflater_run(k->deflater, p, n, &packed);
  if (r == WSC_OK) {
    r = send_frames(k, type | FRAME_RSV1, packed.data, packed.length);
    if (r) deflater_forget(k->deflater);
  }
  if (r == WSC_OK) {
    k->traffic.packed_sent += packed.length;
    k->traffic.unpacked_sent += n;
  }
  buffer_free(&packed);
  return r;
}

int send_message(wsc_connection *k, int type, const uint8_t *p, size_t n) {
  if (k->state != CONN_OPEN || k->fenced || k->broken) return WSC_ERR_CLOSED;
  if (k->tx_bytes && k->tx_bytes + n > k->send_bytes) return WSC_AGAIN;
  int r = k->adapted                ? adapted_write(k, type, p, n)
          : worth_compressing(k, n) ? send_compressed(k, type, p, n)
                                    : send_frames(k, type, p, n);
  if (r == WSC_OK) {
    k->traffic.messages_sent++;
    k->traffic.bytes_sent += n;
  }
  return r;
}

/* What cannot leave does not pile up: answering only some of many pings is legal (RFC 6455 section 5.5.3). */
static int queue_control(wsc_connection *k, int opcode, const uint8_t *p, size_t n) {
  uint8_t frame[FRAME_HEADER_MAX + 125], key[4];
  if (k->adapted) return adapted_ping(k);
  if (k->control.length > CONTROL_MOST) return WSC_ERR_QUEUE_FULL;
  if (random_key(key)) return WSC_ERR_IO;
  size_t length = put_frame(k, frame, true, opcode, p, n, key);
  return buffer_append(&k->control, frame, length);
}

int send_control(wsc_connection *k, int opcode, const uint8_t *p, size_t n) {
  int r = queue_control(k, opcode, p, n);
  if (r == WSC_OK && !k->blocked) send_flush(k, 0);
  return r;
}

void send_pong(wsc_connection *k, const uint8_t *p, size_t n) {
  queue_control(k, OPCODE_PONG, p, n);
  if (k->control.length > CONTROL_MOST && !k->blocked) send_flush(k, 0);
}

void send_close(wsc_connection *k, int code, const char *reason) {
  uint8_t payload[125];
  if (k->adapted) {
    adapted_close(k, code, reason);
    return;
  }
  size_t n = code == WSC_CLOSE_NO_STATUS ? 0 : frame_close_payload(payload, code, reason);
  if (queue_frame(k, true, OPCODE_CLOSE, payload, n)) { /* without memory the socket is simply closed */
    k->broken = -ENOMEM;
    actor_kick(k->actor, 0);
    return;
  }
  k->ended.code_sent = code;
  send_flush(k, 0);
}

void send_admit(wsc_connection *k) {
  for (wsc_op *op; (op = k->writes.head);) {
    int r = send_message(k, op->type, op->data, op->length);
    if (r == WSC_AGAIN && k->corks && !k->blocked) { /* who was let in before it lies behind the cork */
      send_flush(k, 0);
      r = send_message(k, op->type, op->data, op->length);
    }
    if (r == WSC_AGAIN) return;
    op_list_remove(&k->writes, op);
    wsc_error *e = NULL;
    if (r)
      e = error_make(&(struct error_info){.status = r, .cause = wsc_error_ref(k->error)}, "write: %s",
                     wsc_status_text(r));
    op_complete(op, r, e);
  }
}
