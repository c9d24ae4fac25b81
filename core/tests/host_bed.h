/* Host adapters on a host's loop, for their tests: an engine that asks and a test that answers. Time is a clock of the
 * test's own: it goes like the real one, and leaps when told. */
#ifndef WSC_HOST_BED_H
#define WSC_HOST_BED_H

#include "loop.h"
#include "loop_bed.h"

#include <stdatomic.h>

static const char URL[] = "ws://host.example/feed";

/* ---- the clock ----------------------------------------------------------------------------------------------------- */

static struct os_clocks real;
static _Atomic int64_t leapt;
static inline int64_t now(void) { return real.now() + leapt; }
static inline int64_t boottime(void) { return real.boottime() + leapt; }

/* ---- the bed ------------------------------------------------------------------------------------------------------- */

struct bed {
  wsc_loop *loop;
  wsc_engine *engine;
  wsc_options *options;
};

static inline wsc_event next_event(struct bed *b, int type) { return loop_expect(b->loop, type); }

/* The next event, which must be of this type; it is done with at once. What it points to is gone. */
static inline wsc_event expect(struct bed *b, int type) {
  wsc_event ev = next_event(b, type);
  CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
  return ev;
}

static inline void settle(struct bed *b) { loop_settle(b->loop); }

/* The time is later by so much, and timers that are due by then ring. */
static inline void leap(struct bed *b, int64_t ns) {
  leapt += ns;
  poller_alarm(&b->loop->poller, 0);
}

static inline int report(struct bed *b, uint64_t token, int status) {
  return wsc_engine_report(b->engine, token, status, NULL, NULL);
}

static inline void report_read(struct bed *b, uint64_t epoch, int status, int code, const char *text, int want) {
  wsc_error *error = NULL;
  CHECK_EQ(wsc_error_new(status, code, text, NULL, NULL, NULL, &error), WSC_OK);
  CHECK_EQ(wsc_engine_report_read(b->engine, epoch, error), want);
  wsc_error_unref(error);
}

static inline void set(struct bed *b, int option, int64_t value) {
  CHECK_EQ(wsc_options_set_int(b->options, option, value), WSC_OK);
}

/* Keepalive: 20 s, and 20 s for the answer. */
static inline void set_up(struct bed *b) {
  *b = (struct bed){0};
  b->options = wsc_options_new();
  set(b, WSC_OPT_HOST_ADAPTER, 1);
  set(b, WSC_OPT_AUTO_RECONNECT, 0);
  CHECK_EQ(wsc_loop_new(NULL, &b->loop, NULL), WSC_OK);
}

static inline void make(struct bed *b) {
  CHECK_EQ(wsc_engine_new(URL, NULL, b, b->options, &b->engine, NULL), WSC_OK);
  CHECK_EQ(wsc_loop_add(b->loop, b->engine), WSC_OK);
}

static inline void tear_down(struct bed *b) {
  wsc_engine_free(b->engine);
  wsc_loop_free(b->loop);
  wsc_options_free(b->options);
}

/* From DO_DIAL to OPENED; the epoch of the session. */
static inline uint64_t dialed(struct bed *b) {
  wsc_event dial = expect(b, WSC_EVENT_DO_DIAL);
  CHECK_EQ(report(b, dial.token, WSC_OK), WSC_OK);
  return expect(b, WSC_EVENT_OPENED).epoch;
}

static inline uint64_t start(struct bed *b) {
  CHECK_EQ(wsc_engine_start_begin(b->engine, NULL, 1, NULL, NULL), WSC_OK);
  uint64_t epoch = dialed(b);
  CHECK_EQ(expect(b, WSC_EVENT_OP_DONE).status, WSC_OK);
  settle(b);
  return epoch;
}

static inline uint64_t open_it(struct bed *b) {
  make(b);
  return start(b);
}

static inline void readers_out(struct bed *b) {
  wsc_event quiet = expect(b, WSC_EVENT_DO_STOP_READING);
  CHECK_EQ(report(b, quiet.token, WSC_OK), WSC_OK);
}

/* The session's own restart: DO_STOP_READING, CLOSED, DO_CLOSE, and the next one is dialed. */
static inline uint64_t restart(struct bed *b) {
  wsc_engine_restart(b->engine);
  readers_out(b);
  expect(b, WSC_EVENT_CLOSED);
  wsc_event closing = expect(b, WSC_EVENT_DO_CLOSE);
  CHECK_EQ(report(b, closing.token, WSC_OK), WSC_OK);
  return dialed(b);
}

/* The session is over by itself: how CLOSED tells it. */
static inline void expect_lost(struct bed *b, int initiator, int code, int timer, const char *said) {
  wsc_event ev = next_event(b, WSC_EVENT_CLOSED);
  CHECK(ev.flags & WSC_EVENT_BY_PEER);
  CHECK(ev.close != NULL);
  CHECK_EQ(ev.close->initiator, initiator);
  CHECK_EQ(ev.close->code, code);
  CHECK_EQ(ev.close_code, code);
  CHECK_EQ(ev.close->timer, timer);
  CHECK_HAS(wsc_error_message(ev.error), said);
  wsc_event_done(&ev, NULL);
}

#endif
