/* An engine on a loop that the test drives, connected to a server of the test's own. */
#ifndef WSC_DRIVEN_BED_H
#define WSC_DRIVEN_BED_H

#include "loop_bed.h"
#include "peer.h"

struct bed {
  struct peer peer;
  wsc_loop *loop;
  wsc_engine *engine;
};

static inline wsc_event expect(struct bed *b, int type) { return loop_expect(b->loop, type); }
static inline void settle(struct bed *b) { loop_settle(b->loop); }

static inline void open_it(struct bed *b, const wsc_options *options) {
  *b = (struct bed){0};
  peer_listen(&b->peer);
  CHECK_EQ(wsc_loop_new(NULL, &b->loop, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_new(b->peer.url, NULL, b, options, &b->engine, NULL), WSC_OK);
  CHECK_EQ(wsc_loop_add(b->loop, b->engine), WSC_OK);
  CHECK_EQ(wsc_engine_start_begin(b->engine, NULL, 1, NULL, NULL), WSC_OK);
  settle(b);
  peer_accept(&b->peer);
  wsc_event opened = expect(b, WSC_EVENT_OPENED);
  wsc_event_done(&opened, NULL);
  wsc_event started = expect(b, WSC_EVENT_OP_DONE);
  CHECK_EQ(started.status, WSC_OK);
  wsc_event_done(&started, NULL);
  settle(b);
}

static inline void tear_down(struct bed *b) {
  wsc_engine_free(b->engine);
  wsc_loop_free(b->loop);
  peer_close(&b->peer);
}

#endif
