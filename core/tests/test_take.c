/* A host that takes at the core's cursor: what it has not taken is the engine's again the moment a pause, or a read inside the callback, wants it, although
 * the callback of the record before still runs. */
#define _GNU_SOURCE
#include "driven_bed.h"

static const char FOUR[] = "\x81\x01"
                           "a\x81\x01"
                           "b\x81\x01"
                           "c\x81\x01"
                           "d";

static wsc_event batch_of_four(struct bed *b) {
  peer_bytes(b->peer.fd, FOUR, sizeof FOUR - 1);
  wsc_event ev = expect(b, WSC_EVENT_BATCH);
  CHECK_EQ(ev.count, 4);
  CHECK(wsc_event_enter(&ev));
  return ev;
}

static void take(wsc_event *ev, char want) {
  wsc_record r;
  CHECK_EQ(wsc_event_take(ev, &r), 1);
  CHECK_EQ(r.length, 1);
  CHECK_EQ(ev->arena[r.offset], want);
}

static void reads(struct bed *b, char want) {
  wsc_session *s = wsc_engine_session(b->engine);
  wsc_message m = {.struct_size = sizeof m};
  wsc_context soon = {.struct_size = sizeof soon, .deadline_ns = wsc_now_ns() + PATIENCE};
  CHECK_EQ(wsc_connection_read(wsc_session_connection(s), &soon, &m, NULL), WSC_OK);
  CHECK_EQ(m.length, 1);
  CHECK_EQ(m.data[0], want);
  wsc_message_free(&m);
  wsc_session_unref(s);
}

static void leave(wsc_event *ev, uint32_t consumed) {
  wsc_reply reply = {.struct_size = sizeof reply, .consumed = consumed};
  CHECK_EQ(wsc_event_done(ev, &reply), WSC_OK);
  wsc_event_leave(ev);
}

static void a_read_in_the_callback_goes_on_from_the_cursor(void) {
  struct bed b;
  wsc_record r;
  open_it(&b, NULL);
  wsc_event ev = batch_of_four(&b);
  take(&ev, 'a');
  reads(&b, 'b');
  take(&ev, 'c');
  reads(&b, 'd');
  CHECK_EQ(wsc_event_take(&ev, &r), 0);
  leave(&ev, 2);
  settle(&b);
  tear_down(&b);
}

static void a_pause_is_granted_beside_the_callback(void) {
  struct bed b;
  wsc_record r;
  wsc_op *op;
  open_it(&b, NULL);
  wsc_event ev = batch_of_four(&b);
  take(&ev, 'a');
  CHECK_EQ(wsc_engine_pause_begin(b.engine, NULL, 0, &op, NULL), WSC_OK);
  CHECK_EQ(wsc_op_wait(op, PATIENCE, NULL), WSC_OK);
  wsc_op_unref(op);
  CHECK_EQ(wsc_event_take(&ev, &r), 0);
  reads(&b, 'b');
  leave(&ev, 1);
  settle(&b); /* nothing comes while it is paused */
  CHECK_EQ(wsc_engine_resume(b.engine), WSC_OK);
  wsc_event rest = expect(&b, WSC_EVENT_BATCH);
  CHECK_EQ(rest.count, 2);
  CHECK(wsc_event_enter(&rest));
  take(&rest, 'c');
  take(&rest, 'd');
  leave(&rest, 2);
  tear_down(&b);
}

int main(void) {
  a_read_in_the_callback_goes_on_from_the_cursor();
  a_pause_is_granted_beside_the_callback();
  return 0;
}
