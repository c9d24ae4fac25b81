/* A day of timers in a moment: time stands still and leaps from one due time to the next, while the time of day (CLOCK_REALTIME) is set forth and back
 * by ten years whenever somebody looks at it. Everything comes when it is due, for as long as it is due. */
#define _GNU_SOURCE
#include "check.h"
#include "loop.h"
#include "os.h"
#include "wscengine.h"

enum { FLEET = 25 };
static const int64_t DAY = 24 * 3600 * NS_PER_S;

/* ---- clocks ---- */

static _Atomic int64_t at; /* the standby thread looks too */
static int64_t now(void) { return at; }

static int64_t time_of_day(void) {
  static _Atomic int looks;
  return (looks++ % 2 ? 20 : 0) * 365 * DAY + 30 * 365 * DAY;
}

/* To the next due time. false: it is past `until`, and so is the clock. */
static bool leap(wsc_loop *l, int64_t until) {
  pthread_mutex_lock(&l->lock);
  const struct timer *first = timers_first(&l->timers);
  int64_t due = first ? first->due_ns : INT64_MAX;
  pthread_mutex_unlock(&l->lock);
  at = due < until ? due : until;
  poller_alarm(&l->poller, 0);
  return due <= until;
}

/* ---- a fleet on one loop, whose host answers at once ---- */

struct host {
  wsc_engine *engine;
  int64_t due_ns; /* of the next question */
  int64_t interval_ns;
  uint64_t asked, epoch;
  bool refuses;
};

/* After n failed attempts in a row. */
static int64_t retry_delay(uint64_t n) { return n == 0 ? 0 : (INT64_C(1) << (n < 7 ? n - 1 : 6)) * NS_PER_S; }

static void answer(struct host *h, const wsc_event *ev) {
  int status = WSC_OK;
  if (ev->type == WSC_EVENT_OPENED) {
    h->epoch = ev->epoch;
    h->due_ns = at + h->interval_ns;
    return;
  }
  if (ev->type == WSC_EVENT_DO_PING) {
    CHECK_EQ(at, h->due_ns);
    h->due_ns += h->interval_ns;
    h->asked++;
  } else if (ev->type == WSC_EVENT_DO_DIAL && h->refuses) {
    CHECK_EQ(at, h->due_ns);
    h->due_ns += retry_delay(++h->asked);
    status = WSC_ERR_IO;
  } else if (ev->type != WSC_EVENT_DO_DIAL && ev->type != WSC_EVENT_DO_STOP_READING && ev->type != WSC_EVENT_DO_CLOSE) {
    return;
  }
  CHECK_EQ(wsc_engine_report(ev->engine, ev->token, status, NULL, NULL), WSC_OK);
}

/* The standby, by whose clock a leap is a long absence of ours, may be at work on the loop. */
static bool at_rest(wsc_loop *l) {
  pthread_mutex_lock(&l->lock);
  bool yes = !l->polling && !l->event_head;
  for (const struct actor *a = l->all; a; a = a->all_next) yes = yes && a->state == ACTOR_IDLE;
  pthread_mutex_unlock(&l->lock);
  return yes;
}

/* Everything that is due now. */
static void settle(wsc_loop *l) {
  wsc_event ev = {.struct_size = sizeof ev};
  do {
    while (wsc_loop_next(l, 0, &ev) == WSC_OK) {
      answer(ev.user, &ev);
      CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
    }
  } while (!at_rest(l));
}

static void open_fleet(wsc_loop *l, struct host *hosts, int count) {
  for (int i = 0; i < count; i++) {
    wsc_options *o = wsc_options_new();
    hosts[i] = (struct host){.interval_ns = (20 + i) * NS_PER_S};
    CHECK_EQ(wsc_options_set_int(o, WSC_OPT_HOST_ADAPTER, 1), WSC_OK);
    CHECK_EQ(wsc_options_set_int(o, WSC_OPT_KEEPALIVE_INTERVAL_MS, 1000 * (20 + i)), WSC_OK);
    CHECK_EQ(wsc_options_set_int(o, WSC_OPT_STABLE_AFTER_MS, 0), WSC_OK);
    CHECK_EQ(wsc_options_set_int(o, WSC_OPT_JITTER_PERCENT, 0), WSC_OK);
    CHECK_EQ(wsc_options_set_int(o, WSC_OPT_RECONNECT_BASE_S, 2), WSC_OK);
    CHECK_EQ(wsc_options_set_int(o, WSC_OPT_RECONNECT_MAX_EXPONENT, 6), WSC_OK);
    CHECK_EQ(wsc_engine_new("ws://host.example/", NULL, &hosts[i], o, &hosts[i].engine, NULL), WSC_OK);
    CHECK_EQ(wsc_loop_add(l, hosts[i].engine), WSC_OK);
    CHECK_EQ(wsc_engine_start_begin(hosts[i].engine, NULL, 0, NULL, NULL), WSC_OK);
    wsc_options_free(o);
  }
  settle(l);
}

static void close_fleet(wsc_loop *l, struct host *hosts, int count) {
  for (int i = 0; i < count; i++) wsc_engine_free(hosts[i].engine);
  settle(l);
  wsc_loop_free(l);
}

/* ---- days ---- */

static void a_quiet_day_has_every_ping_when_it_is_due(void) {
  static struct host hosts[FLEET];
  wsc_loop *l;
  CHECK_EQ(wsc_loop_new(NULL, &l, NULL), WSC_OK);
  open_fleet(l, hosts, FLEET);
  int64_t began = at;
  while (leap(l, began + DAY)) settle(l);
  settle(l);
  for (int i = 0; i < FLEET; i++) {
    CHECK_EQ(hosts[i].asked, DAY / hosts[i].interval_ns);
    CHECK_EQ(hosts[i].epoch, 1);
    CHECK_EQ(wsc_engine_state(hosts[i].engine), WSC_STATE_OPEN);
  }
  close_fleet(l, hosts, FLEET);
}

static void a_day_of_refusals_has_every_attempt_when_it_is_due(void) {
  struct host host;
  wsc_loop *l;
  wsc_error *gone;
  CHECK_EQ(wsc_loop_new(NULL, &l, NULL), WSC_OK);
  open_fleet(l, &host, 1);
  int64_t began = at;
  host.refuses = true;
  host.due_ns = at;
  CHECK_EQ(wsc_error_new(WSC_ERR_CLOSED, 1006, "gone", NULL, NULL, NULL, &gone), WSC_OK);
  CHECK_EQ(wsc_engine_report_read(host.engine, host.epoch, gone), WSC_OK);
  wsc_error_unref(gone);
  settle(l);
  while (leap(l, began + DAY)) settle(l);
  settle(l);
  uint64_t attempts = 0;
  for (int64_t due = began; due <= began + DAY; due += retry_delay(attempts)) attempts++;
  CHECK_EQ(host.asked, attempts);
  host.refuses = false; /* and then the server is back */
  while (host.epoch == 1) {
    leap(l, INT64_MAX);
    settle(l);
  }
  CHECK_EQ(host.epoch, 2);
  CHECK_EQ(at, host.due_ns - host.interval_ns);
  close_fleet(l, &host, 1);
}

int main(void) {
  at = os_now_ns() / NS_PER_MS * NS_PER_MS; /* the lifecycle counts in whole milliseconds */
  os_clocks = (struct os_clocks){now, now, time_of_day};
  a_quiet_day_has_every_ping_when_it_is_due();
  a_day_of_refusals_has_every_attempt_when_it_is_due();
  return 0;
}
