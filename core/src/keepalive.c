/* Keepalive's clocks.
 *
 * - At most one ping is asked for or outstanding. The pong clock starts when it has left, not when it was asked for:
 *   a ping stuck behind a full send queue accuses nobody.
 * - While back-pressure holds reading, an answer could not be seen: the pong and the data clock stand still. Pings go
 *   out all the same, at most one of them unanswered: a ping in flight is what lets TCP notice a dead link meanwhile
 *   (connection_life.c). */
#include "keepalive.h"

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* The earlier of a due time and what is there already; 0 is "never". */
static void due_at(int64_t *next, int64_t due) {
  if (*next == 0 || due < *next) *next = due;
}

void keepalive_start(struct keepalive *k, int64_t now) {
  k->last_life = k->last_data = now;
  k->ping_left = k->stood_still = 0;
  k->ping_wanted = false;
}

void keepalive_life(struct keepalive *k, int64_t now) {
  k->last_life = now;
  k->ping_left = 0;
}

void keepalive_data(struct keepalive *k, int64_t now) { k->last_data = now; }

void keepalive_pinged(struct keepalive *k, int64_t now) {
  k->ping_wanted = false;
  k->ping_left = now;
}

void keepalive_held(struct keepalive *k, bool held, int64_t now) {
  if (held) {
    if (k->stood_still == 0) k->stood_still = now;
    return;
  }
  if (k->stood_still == 0) return;
  /* A clock that was started while reading was held has stood still from its very start. */
  if (k->ping_left != 0) k->ping_left += now - later(k->ping_left, k->stood_still);
  k->last_data += now - later(k->last_data, k->stood_still);
  k->stood_still = 0;
}

void keepalive_probe(struct keepalive *k, int64_t now) {
  k->ping_left = 0;
  k->ping_wanted = false;
  k->last_life = now - k->interval; /* the next check finds it due */
}

enum keepalive_verdict keepalive_check(struct keepalive *k, int64_t now, int64_t *next) {
  enum keepalive_verdict verdict = KEEPALIVE_WAIT;
  *next = 0;
  if (k->stood_still == 0 && k->ping_left != 0 && k->timeout > 0) {
    if (now - k->ping_left >= k->timeout) return KEEPALIVE_DEAD;
    due_at(next, k->ping_left + k->timeout);
  }
  if (k->stood_still == 0 && k->data_idle > 0) {
    if (now - k->last_data >= k->data_idle) return KEEPALIVE_DATA_IDLE;
    due_at(next, k->last_data + k->data_idle);
  }
  if (k->interval > 0 && k->ping_left == 0 && !k->ping_wanted) {
    if (now - k->last_life >= k->interval) {
      k->ping_wanted = true;
      /* when it has left, its pong clock has a due time of its own: ask again after keepalive_pinged */
      verdict = KEEPALIVE_PING;
    } else {
      due_at(next, k->last_life + k->interval);
    }
  }
  return verdict;
}
