/* Is the other end still there? keepalive.c says when to ask; here it is asked, and what TCP knows is added.
 *
 * A ping stands behind whatever was written before it, in our queue and in the kernel's. While that moves, the peer's system acknowledges and the link
 * lives: the pong's time counts from when the ping can have arrived. A kernel that acknowledges a ping proves nothing about the program
 * behind it, so acknowledgements count only as long as the ping is still on its way. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "os.h"

#include <string.h>

enum { PING_BYTES = 64 }; /* what a ping, framed and encrypted, has at most */
static const int64_t HANG_LEAST_NS = 60 * NS_PER_S;

static int ping(wsc_connection *k, int64_t now) {
  uint8_t payload[8];
  uint64_t serial = ++k->ping_serial;
  memcpy(payload, &serial, sizeof payload);
  k->ping_at_ns = now;
  return send_control(k, OPCODE_PING, payload, sizeof payload);
}

void connection_pong(wsc_connection *k, const uint8_t *payload, size_t n, int64_t now) {
  uint64_t serial;
  if (n != sizeof serial) return; /* an unsolicited pong is legal and means nothing */
  memcpy(&serial, payload, sizeof serial);
  if (serial == 0 || serial > k->ping_serial) return;
  if (serial == k->ping_serial) {
    int64_t rtt = now - k->ping_at_ns;
    k->rtt_smoothed_ns = k->rtt_last_ns < 0 ? rtt : k->rtt_smoothed_ns + (rtt - k->rtt_smoothed_ns) / 8;
    k->rtt_last_ns = rtt;
  }
  for (wsc_op *op; (op = k->pings.head) && op->serial <= serial;) { /* a pong may answer several pings at once */
    op_list_remove(&k->pings, op);
    op->rtt_ns = now - op->began_ns;
    op_complete(op, WSC_OK, NULL);
  }
}

void life_ping_left(wsc_connection *k, int64_t now) {
  struct progress p;
  keepalive_pinged(&k->alive, now);
  k->ping_target = 0;
  if (!transport_progress(&k->transport, &p)) return;
  k->ping_acked = p.acked;
  k->ping_target = p.acked + p.waiting;
  k->ping_behind = p.waiting > PING_BYTES;
}

/* The pong is late: but has the ping got there at all? */
static bool ping_is_under_way(wsc_connection *k) {
  struct progress p;
  if (!k->ping_behind || !k->ping_target || !transport_progress(&k->transport, &p)) return false;
  if (p.acked >= k->ping_target) { /* it has, some time ago: from here on the pong has its full time */
    k->ping_behind = false;
    return true;
  }
  bool moved = p.acked > k->ping_acked || !p.unanswered; /* or its window is shut, but it answers */
  k->ping_acked = p.acked;
  return moved;
}

static bool cut_off(wsc_connection *k, const char *what, int64_t limit) {
  struct error_info info = {.status = WSC_ERR_CLOSED, .close_code = WSC_CLOSE_ABNORMAL, .timer = WSC_TIMER_KEEPALIVE};
  connection_dead(
      k, WSC_TIMER_KEEPALIVE,
      error_make(&info, "%s: link is dead: %s for %lld ms", k->url.shown, what, (long long)(limit / NS_PER_MS)));
  return true;
}

/* While the socket is full no ping leaves, and while it is not read no pong is seen. A peer that is there acknowledges what is in flight, and answers
 * the kernel's probes of a shut window; so a slow reader is not taken for a dead link (two looks, so that a probe on its way just now
 * is not one). But one that shuts its window for long, although we read all it sends, and sends nothing, hangs. */
static bool is_cut_off(wsc_connection *k, int64_t now) {
  struct progress p;
  int64_t limit = k->alive.interval + k->alive.timeout, hang = limit > HANG_LEAST_NS ? limit : HANG_LEAST_NS;
  if ((!k->blocked && !k->held) || !k->alive.interval || !transport_progress(&k->transport, &p)) {
    k->unanswered_ns = k->still_ns = 0;
    return false;
  }
  bool moved = p.acked != k->acked;
  k->acked = p.acked;
  if (!p.unanswered) k->unanswered_ns = 0;
  else if (!k->unanswered_ns || moved) k->unanswered_ns = now;
  if (moved || k->held || !k->still_ns || k->alive.last_life > k->still_ns) k->still_ns = now;
  int64_t since = k->unanswered_ns ? k->unanswered_ns : now;
  if (now - since >= limit) return cut_off(k, "nothing of what was sent was acknowledged", limit);
  if (now - k->still_ns >= hang) return cut_off(k, "the peer has taken and sent nothing", hang);
  k->due_ns = earlier(k->due_ns, earlier(since + limit, k->still_ns + hang));
  return false;
}

void connection_keepalive(wsc_connection *k, int64_t now) {
  if (k->state != CONN_OPEN || is_cut_off(k, now)) return;
  int64_t next = 0;
  long long quiet_ms = (long long)((now - k->alive.last_life) / NS_PER_MS);
  struct error_info info = {.status = WSC_ERR_CLOSED, .close_code = WSC_CLOSE_ABNORMAL};
  switch (keepalive_check(&k->alive, now, &next)) {
  case KEEPALIVE_PING:
    k->ping_queued = true;
    connection_log(k, WSC_LOG_DEBUG, "keepalive", "ping: nothing received for %lld ms", quiet_ms);
    if (ping(k, now)) { /* it will never leave: an interval later another one is tried */
      k->ping_queued = false;
      keepalive_pinged(&k->alive, now);
      keepalive_life(&k->alive, now);
    }
    keepalive_check(&k->alive, now, &next);
    break;
  case KEEPALIVE_DEAD:
    if (!k->looked || k->receiver.more) { /* after a stall the timer may come before the news that bytes have come */
      k->looked = !k->receiver.more;      /* it is not the socket that is read next */
      k->readable = k->again = true;
      return;
    }
    if (ping_is_under_way(k)) {
      keepalive_pinged(&k->alive, now);
      keepalive_check(&k->alive, now, &next);
      break;
    }
    info.timer = WSC_TIMER_KEEPALIVE;
    connection_dead(
        k, WSC_TIMER_KEEPALIVE,
        error_make(&info,
                   "%s: link is dead: no sign of life within %lld ms of a keepalive ping; last received %lld ms ago",
                   k->url.shown, (long long)(k->alive.timeout / NS_PER_MS), quiet_ms));
    return;
  case KEEPALIVE_DATA_IDLE:
    info.timer = WSC_TIMER_DATA_IDLE;
    connection_dead(k, WSC_TIMER_DATA_IDLE,
                    error_make(&info, "%s: no data message for %lld ms (data_idle_timeout)", k->url.shown,
                               (long long)(k->alive.data_idle / NS_PER_MS)));
    return;
  case KEEPALIVE_WAIT: break;
  }
  k->due_ns = earlier(k->due_ns, next);
}
