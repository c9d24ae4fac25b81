/* Tier 2 on one thread: what the loop's fd promises, what is out at a time, what done gives back. */
#define _GNU_SOURCE
#include "peer.h"
#include "wscengine.h"

#include <poll.h>
#include <pthread.h>

static const int64_t SECOND = INT64_C(1000000000);

struct bed {
  struct peer peer;
  wsc_loop *loop;
  wsc_engine *engine;
  wsc_options *options;
};

static wsc_event event(void) { return (wsc_event){.struct_size = sizeof(wsc_event)}; }

static int readable(const struct bed *b, int patience_ms) {
  struct pollfd p = {.fd = wsc_loop_fd(b->loop), .events = POLLIN};
  return poll(&p, 1, patience_ms);
}

/* The next event, which must be of this type. */
static wsc_event expect(struct bed *b, int type) {
  wsc_event ev = event();
  CHECK_EQ(wsc_loop_next(b->loop, 10 * SECOND, &ev), WSC_OK);
  CHECK_EQ(ev.type, type);
  return ev;
}

/* Does all there is to do; no event may come of it. */
static void settle(struct bed *b) {
  wsc_event ev = event();
  while (readable(b, 20) == 1) CHECK_EQ(wsc_loop_next(b->loop, 0, &ev), WSC_AGAIN);
}

static void set_up(struct bed *b) {
  *b = (struct bed){0};
  peer_listen(&b->peer);
  b->options = wsc_options_new();
  CHECK_EQ(wsc_options_set_int(b->options, WSC_OPT_AUTO_RECONNECT, 0), WSC_OK);
  CHECK_EQ(wsc_loop_new(NULL, &b->loop, NULL), WSC_OK);
}

static void begin(struct bed *b) {
  CHECK_EQ(wsc_engine_new(b->peer.url, NULL, b, b->options, &b->engine, NULL), WSC_OK);
  CHECK_EQ(wsc_loop_add(b->loop, b->engine), WSC_OK);
  CHECK_EQ(wsc_engine_start_begin(b->engine, NULL, 1, NULL, NULL), WSC_OK);
}

/* Dials while the test answers the upgrade: the request leaves at the first turns of the loop. */
static wsc_event open_it(struct bed *b) {
  begin(b);
  wsc_event ev = event();
  for (int i = 0; i < 50 && readable(b, 20) == 1; i++) CHECK_EQ(wsc_loop_next(b->loop, 0, &ev), WSC_AGAIN);
  peer_accept(&b->peer);
  return expect(b, WSC_EVENT_OPENED);
}

static void accept_open(struct bed *b, wsc_event *opened) {
  CHECK_EQ(wsc_event_done(opened, NULL), WSC_OK);
  wsc_event started = expect(b, WSC_EVENT_OP_DONE);
  CHECK_EQ(started.token, 1);
  CHECK_EQ(started.status, WSC_OK);
  wsc_event_done(&started, NULL);
  settle(b);
}

static void tear_down(struct bed *b) {
  wsc_engine_free(b->engine);
  wsc_loop_free(b->loop);
  wsc_options_free(b->options);
  peer_close(&b->peer);
}

static void fd_is_readable_when_there_is_work_and_only_then(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  CHECK_EQ(readable(&b, 50), 0);

  peer_send(&b.peer, 1, "hello", 5);
  CHECK_EQ(readable(&b, 10000), 1);
  wsc_event batch = expect(&b, WSC_EVENT_BATCH);
  CHECK_EQ(batch.count, 1);
  CHECK_BYTES(batch.arena + batch.records[0].offset, "hello", 5);
  CHECK(batch.received_ns > 0);
  settle(&b);
  CHECK_EQ(readable(&b, 50), 0);
  wsc_event_done(&batch, NULL);
  settle(&b);
  CHECK_EQ(readable(&b, 50), 0);
  tear_down(&b);
}

static void another_thread_s_request_makes_the_fd_readable(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  wsc_engine_exit(b.engine);
  CHECK_EQ(readable(&b, 0), 1);
  wsc_event closed = expect(&b, WSC_EVENT_CLOSED);
  CHECK_EQ(closed.flags & WSC_EVENT_BY_PEER, 0);
  wsc_event_done(&closed, NULL);
  tear_down(&b);
}

static void one_session_event_is_out_at_a_time(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  peer_send(&b.peer, 1, "one", 3);
  wsc_event first = expect(&b, WSC_EVENT_BATCH);
  peer_send(&b.peer, 1, "two", 3);
  wsc_event none = event();
  CHECK_EQ(readable(&b, 10000), 1);
  CHECK_EQ(wsc_loop_next(b.loop, SECOND / 10, &none), WSC_AGAIN);
  wsc_event_done(&first, NULL);
  wsc_event second = expect(&b, WSC_EVENT_BATCH);
  CHECK_BYTES(second.arena + second.records[0].offset, "two", 3);
  wsc_event_done(&second, NULL);
  tear_down(&b);
}

static void what_was_not_consumed_comes_again_first(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  peer_bytes(b.peer.fd,
             "\x81\x01"
             "a\x81\x01"
             "b\x81\x01"
             "c",
             9);
  wsc_event ev = expect(&b, WSC_EVENT_BATCH);
  CHECK_EQ(ev.count, 3);
  wsc_reply took_one = {.struct_size = sizeof took_one, .consumed = 1};
  wsc_event_done(&ev, &took_one);
  ev = expect(&b, WSC_EVENT_BATCH);
  CHECK_EQ(ev.count, 2);
  CHECK_BYTES(ev.arena + ev.records[0].offset, "b", 1);
  wsc_event_done(&ev, NULL);
  tear_down(&b);
}

static void a_batch_goes_into_the_host_s_buffer_when_it_fits(void) {
  struct bed b;
  uint8_t mine[16];
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  peer_bytes(b.peer.fd, "\x81\x02hi\x82\x03you", 9);
  wsc_event ev = event();
  ev.host_buffer = mine;
  ev.host_capacity = sizeof mine;
  CHECK_EQ(wsc_loop_next(b.loop, 10 * SECOND, &ev), WSC_OK);
  CHECK(ev.flags & WSC_EVENT_IN_HOST);
  CHECK(ev.arena == mine);
  CHECK_EQ(ev.count, 2);
  CHECK_BYTES(mine, "hiyou", 5);
  CHECK_EQ(ev.records[1].offset, 2);
  CHECK_EQ(ev.records[1].type, WSC_BINARY);
  wsc_batch *held = wsc_event_hold(&ev);
  wsc_event_done(&ev, NULL);
  uint32_t count = 0;
  const wsc_record *records = wsc_batch_records(held, &count);
  CHECK_EQ(count, 2);
  CHECK_BYTES(wsc_batch_arena(held, NULL) + records[1].offset, "you", 3);
  wsc_batch_unref(held);
  tear_down(&b);
}

/* A message of n bytes arrives; the batch that keeps it. */
static wsc_batch *receive_and_hold(struct bed *b, const uint8_t *payload, size_t n, const uint8_t **lay) {
  peer_send(&b->peer, 2, payload, n);
  wsc_event ev = expect(b, WSC_EVENT_BATCH);
  CHECK_EQ(ev.count, 1);
  wsc_batch *held = wsc_event_hold(&ev);
  CHECK(held != NULL);
  *lay = ev.arena + ev.records[0].offset;
  CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
  return held;
}

static const uint8_t *first_message(const wsc_batch *held, size_t n) {
  uint32_t count = 0;
  const wsc_record *r = wsc_batch_records(held, &count);
  uint64_t length = 0;
  const uint8_t *arena = wsc_batch_arena(held, &length);
  CHECK_EQ(count, 1);
  CHECK_EQ(r->length, n);
  CHECK(r->offset + r->length <= length);
  return arena + r->offset;
}

static void what_is_held_is_not_copied_unless_it_would_pin_far_more(void) {
  enum { SMALL = 10, MIDDLE = 20000, LARGE = 60000 };
  static uint8_t payload[3][LARGE];
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  const size_t size[3] = {SMALL, MIDDLE, LARGE};
  const uint8_t *lay[3];
  wsc_batch *held[3];
  for (int i = 0; i < 3; i++) {
    memset(payload[i], 'a' + i, size[i]);
    held[i] = receive_and_hold(&b, payload[i], size[i], &lay[i]);
  }
  CHECK(first_message(held[0], SMALL) != lay[0]);
  CHECK(first_message(held[1], MIDDLE) == lay[1]); /* a third of its arena */
  CHECK(first_message(held[2], LARGE) == lay[2]);  /* a block of its own */
  for (int i = 0; i < 100; i++) wsc_batch_unref(receive_and_hold(&b, payload[2], LARGE, &lay[2]));
  tear_down(&b);
  for (int i = 0; i < 3; i++) {
    CHECK_BYTES(first_message(held[i], size[i]), payload[i], size[i]);
    wsc_batch_unref(held[i]);
  }
}

static void a_completion_comes_while_an_event_is_out(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  wsc_op *op = NULL;
  CHECK_EQ(wsc_connection_read_begin(wsc_session_connection(opened.session), NULL, 7, &op, NULL), WSC_OK);
  peer_send(&b.peer, 2, "answer", 6);
  wsc_event done = expect(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(done.token, 7);
  CHECK_EQ(done.status, WSC_OK);
  wsc_message m = {.struct_size = sizeof m};
  CHECK_EQ(wsc_op_take_message(op, &m), WSC_OK);
  CHECK_EQ(m.type, WSC_BINARY);
  CHECK_BYTES(m.data, "answer", 6);
  CHECK_EQ(wsc_op_take_message(op, &m), WSC_ERR_STATE);
  wsc_message_free(&m);
  wsc_event_done(&done, NULL);
  wsc_op_unref(op);
  accept_open(&b, &opened);
  tear_down(&b);
}

static void a_blocking_wait_lends_the_only_thread(void) {
  struct bed b;
  uint8_t got[64];
  size_t n;
  set_up(&b);
  wsc_event opened = open_it(&b);
  wsc_op *op = NULL;
  CHECK_EQ(wsc_connection_ping_begin(wsc_session_connection(opened.session), NULL, 0, &op, NULL), WSC_OK);
  CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x89);
  CHECK_EQ(wsc_op_wait(op, SECOND / 20, NULL), WSC_ERR_TIMEOUT);
  CHECK(wsc_op_pending(op));
  peer_send(&b.peer, 10, got, n);
  CHECK_EQ(wsc_op_wait(op, 10 * SECOND, NULL), WSC_OK);
  CHECK(wsc_op_rtt_ns(op) > 0);
  wsc_op_unref(op);
  accept_open(&b, &opened);
  tear_down(&b);
}

/* The queue's bound stops the reading, and the fd stays quiet although the socket has more. Nothing is lost. */
static void back_pressure_reaches_the_peer_and_ends(void) {
  static uint8_t payload[10000];
  struct bed b;
  set_up(&b);
  CHECK_EQ(wsc_options_set_int(b.options, WSC_OPT_RECEIVE_QUEUE_BYTES, 65536), WSC_OK);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);

  uint64_t sent = 0;
  uint8_t header[10];
  size_t h = peer_header(header, 0x82, sizeof payload), at = 0;
  wsc_event first = event();
  bool have_first = false;
  for (int full = 0; full < 3;) { /* full three times in a row, with turns of the loop between */
    uint8_t frame[sizeof payload + 10];
    memcpy(frame, header, h);
    memset(frame + h, (int)(sent & 0xff), sizeof payload);
    ssize_t r = send(b.peer.fd, frame + at, h + sizeof payload - at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (r > 0) {
      full = 0;
      at += (size_t)r;
      if (at == h + sizeof payload) {
        at = 0;
        sent++;
      }
      continue;
    }
    if (!have_first && readable(&b, 50) == 1) {
      have_first = wsc_loop_next(b.loop, 0, &first) == WSC_OK;
    } else {
      settle(&b);
      full++;
    }
  }
  CHECK(have_first);
  CHECK_EQ(readable(&b, 50), 0);
  wsc_stats stats = {.struct_size = sizeof stats};
  CHECK_EQ(wsc_engine_stats(b.engine, &stats), WSC_OK);
  CHECK(stats.queued_bytes < 65536 + 65536);

  uint64_t got = 0;
  while (got < sent) {
    wsc_event ev = have_first ? first : expect(&b, WSC_EVENT_BATCH);
    have_first = false;
    for (uint32_t i = 0; i < ev.count; i++, got++) {
      CHECK_EQ(ev.records[i].length, sizeof payload);
      CHECK_EQ(ev.arena[ev.records[i].offset], got & 0xff);
    }
    wsc_event_done(&ev, NULL);
  }
  tear_down(&b);
}

static void wake_ends_one_wait(void) {
  struct bed b;
  set_up(&b);
  wsc_event ev = event();
  wsc_loop_wake(b.loop);
  CHECK_EQ(readable(&b, 0), 1);
  CHECK_EQ(wsc_loop_next(b.loop, -1, &ev), WSC_AGAIN);
  CHECK_EQ(readable(&b, 0), 0);
  tear_down(&b);
}

static void a_cancelled_dial_ends_the_start(void) {
  struct bed b;
  set_up(&b);
  CHECK_EQ(wsc_engine_new(b.peer.url, NULL, NULL, b.options, &b.engine, NULL), WSC_OK);
  CHECK_EQ(wsc_loop_add(b.loop, b.engine), WSC_OK);
  wsc_cancel *cancel;
  CHECK_EQ(wsc_cancel_new(&cancel), WSC_OK);
  wsc_context c = {.struct_size = sizeof c, .cancel = cancel};
  CHECK_EQ(wsc_engine_start_begin(b.engine, &c, 9, NULL, NULL), WSC_OK);
  settle(&b); /* the peer has the connection in its backlog and says nothing */
  wsc_cancel_fire(cancel);
  wsc_event ev = expect(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(ev.token, 9);
  CHECK_EQ(ev.status, WSC_ERR_CANCELED);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_STOPPED);
  wsc_event_done(&ev, NULL);
  wsc_cancel_free(cancel);
  tear_down(&b);
}

static void freeing_a_running_engine_cuts_its_run(void) {
  struct bed b;
  uint8_t got[125];
  size_t n;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  wsc_engine_free(b.engine);
  b.engine = NULL;
  CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x88);
  CHECK_BYTES(got, "\x03\xe9", 2); /* 1001 */
  wsc_event ev = event();
  CHECK_EQ(wsc_loop_next(b.loop, 0, &ev), WSC_AGAIN);
  tear_down(&b);
}

/* Taken one by one, where the host reads them: in its own buffer. */
static void records_are_taken_from_the_host_s_buffer(void) {
  struct bed b;
  uint8_t mine[16];
  wsc_record record;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  peer_bytes(b.peer.fd, "\x81\x02hi\x82\x03you\x81\x05there", 16);
  wsc_event ev = event();
  ev.host_buffer = mine;
  ev.host_capacity = sizeof mine;
  CHECK_EQ(wsc_loop_next(b.loop, 10 * SECOND, &ev), WSC_OK);
  CHECK(ev.flags & WSC_EVENT_IN_HOST);
  CHECK_EQ(ev.count, 3);
  CHECK_EQ(wsc_event_take(&ev, &record), 1);
  CHECK_EQ(record.length, 2);
  CHECK_BYTES(ev.arena + record.offset, "hi", 2);
  wsc_reply rest = {.struct_size = sizeof rest};
  wsc_event_done(&ev, &rest);

  memset(mine, 0, sizeof mine);
  ev = event();
  ev.host_buffer = mine;
  ev.host_capacity = sizeof mine;
  CHECK_EQ(wsc_loop_next(b.loop, 10 * SECOND, &ev), WSC_OK);
  CHECK(ev.flags & WSC_EVENT_IN_HOST);
  CHECK_EQ(ev.count, 2);
  CHECK_EQ(ev.arena_length, 8);
  CHECK_EQ(wsc_event_take(&ev, &record), 1);
  CHECK_EQ(record.type, WSC_BINARY);
  CHECK_EQ(record.length, 3);
  CHECK_BYTES(ev.arena + record.offset, "you", 3);
  CHECK_EQ(wsc_event_take(&ev, &record), 1);
  CHECK_EQ(record.length, 5);
  CHECK_BYTES(ev.arena + record.offset, "there", 5);
  CHECK_EQ(wsc_event_take(&ev, &record), 0);
  wsc_event_done(&ev, &rest);
  settle(&b);
  tear_down(&b);
}

/* What a reader has entered stays as it was, also when the rest of it comes again and is written to another buffer. */
static void records_in_a_host_s_buffer_stay_while_a_reader_is_in(void) {
  struct bed b;
  uint8_t first[16], second[16];
  set_up(&b);
  CHECK_EQ(wsc_options_set_int(b.options, WSC_OPT_READER_COUNT, 2), WSC_OK);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  peer_bytes(b.peer.fd, "\x81\x02hi\x82\x03you\x81\x05there", 16);
  wsc_event ev = event();
  ev.host_buffer = first;
  ev.host_capacity = sizeof first;
  CHECK_EQ(wsc_loop_next(b.loop, 10 * SECOND, &ev), WSC_OK);
  CHECK_EQ(ev.count, 3);
  wsc_event reader = ev;
  CHECK(wsc_event_enter(&reader));
  wsc_reply one = {.struct_size = sizeof one, .consumed = 1};
  wsc_event_done(&ev, &one);

  ev = event();
  ev.host_buffer = second;
  ev.host_capacity = sizeof second;
  CHECK_EQ(wsc_loop_next(b.loop, 10 * SECOND, &ev), WSC_OK);
  CHECK(ev.flags & WSC_EVENT_IN_HOST);
  CHECK_EQ(ev.count, 2);
  CHECK_BYTES(ev.arena + ev.records[0].offset, "you", ev.records[0].length);
  CHECK_EQ(reader.records[0].length, 2);
  CHECK_BYTES(reader.arena + reader.records[0].offset, "hi", 2);
  CHECK_EQ(reader.records[1].length, 3);
  wsc_event_done(&ev, NULL);
  wsc_event_leave(&reader);
  settle(&b);
  tear_down(&b);
}

static void answer_close(struct bed *b) {
  uint8_t got[125];
  size_t n;
  settle(b);
  CHECK_EQ(peer_frame(&b->peer, got, sizeof got, &n), 0x88);
  peer_send(&b->peer, 8, got, n);
}

static void a_stop_ends_a_pause_that_was_begun_for_an_event(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  CHECK_EQ(wsc_engine_pause_begin(b.engine, NULL, 5, NULL, NULL), WSC_OK);
  wsc_event ev = expect(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(ev.token, 5);
  CHECK_EQ(ev.status, WSC_OK);
  wsc_event_done(&ev, NULL);
  peer_send(&b.peer, 1, "unheard", 7);
  CHECK_EQ(readable(&b, 10000), 1);
  settle(&b); /* it holds */

  CHECK_EQ(wsc_engine_stop_begin(b.engine, NULL, 6, NULL, NULL), WSC_OK);
  ev = expect(&b, WSC_EVENT_CLOSED);
  wsc_event_done(&ev, NULL);
  answer_close(&b);
  ev = expect(&b, WSC_EVENT_STOPPED);
  CHECK_EQ(ev.status, WSC_STOPPED_BY_STOP);
  wsc_event_done(&ev, NULL);
  ev = expect(&b, WSC_EVENT_OP_DONE);
  CHECK_EQ(ev.token, 6);
  CHECK_EQ(ev.status, WSC_OK);
  wsc_event_done(&ev, NULL);
  CHECK_EQ(wsc_engine_resume(b.engine), WSC_ERR_STATE);
  tear_down(&b);
}

static void a_session_of_an_earlier_run_has_no_say_in_a_later_one(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  wsc_session *kept = wsc_session_ref(opened.session);
  accept_open(&b, &opened);
  wsc_session_exit(kept);
  wsc_event ev = expect(&b, WSC_EVENT_CLOSED);
  wsc_event_done(&ev, NULL);
  answer_close(&b);
  ev = expect(&b, WSC_EVENT_STOPPED);
  CHECK_EQ(ev.status, WSC_STOPPED_BY_EXIT);
  wsc_event_done(&ev, NULL);
  settle(&b);
  peer_drop(&b.peer);

  CHECK_EQ(wsc_engine_start_begin(b.engine, NULL, 1, NULL, NULL), WSC_OK);
  wsc_session_exit(kept); /* while it dials */
  settle(&b);
  peer_accept(&b.peer);
  opened = expect(&b, WSC_EVENT_OPENED);
  CHECK_EQ(opened.epoch, 2);
  accept_open(&b, &opened);
  wsc_session_exit(kept);
  wsc_session_restart(kept);
  settle(&b);
  CHECK_EQ(wsc_engine_state(b.engine), WSC_STATE_OPEN);
  peer_send(&b.peer, 1, "hello", 5);
  ev = expect(&b, WSC_EVENT_BATCH);
  wsc_event_done(&ev, NULL);
  wsc_session_unref(kept);
  tear_down(&b);
}

struct lent {
  struct bed *bed;
  uint64_t *next; /* the number that must come next */
  pthread_mutex_t *lock;
  uint64_t total;
};

static void *lend(void *arg) {
  struct lent *l = arg;
  for (;;) {
    wsc_event ev = event();
    if (wsc_loop_next(l->bed->loop, -1, &ev) != WSC_OK) return NULL;
    bool over = false;
    pthread_mutex_lock(l->lock);
    for (uint32_t i = 0; ev.type == WSC_EVENT_BATCH && i < ev.count; i++) {
      uint64_t number;
      memcpy(&number, ev.arena + ev.records[i].offset, sizeof number);
      CHECK_EQ(number, *l->next);
      ++*l->next;
    }
    over = *l->next == l->total;
    pthread_mutex_unlock(l->lock);
    wsc_event_done(&ev, NULL);
    if (over)
      for (int i = 0; i < 4; i++) wsc_loop_wake(l->bed->loop);
  }
}

static void many_threads_lent_to_one_loop_keep_the_order(void) {
  struct bed b;
  set_up(&b);
  wsc_event opened = open_it(&b);
  accept_open(&b, &opened);
  enum { TOTAL = 200000, THREADS = 4 };
  uint64_t next = 0;
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  struct lent l = {&b, &next, &lock, TOTAL};
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, lend, &l), 0);
  uint8_t frames[10 * 500];
  for (uint64_t n = 0; n < TOTAL;) {
    size_t at = 0;
    for (int i = 0; i < 500; i++, n++) {
      at += peer_header(frames + at, 0x82, 8);
      memcpy(frames + at, &n, 8);
      at += 8;
    }
    peer_bytes(b.peer.fd, frames, at);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(next, TOTAL);
  tear_down(&b);
}

int main(void) {
  fd_is_readable_when_there_is_work_and_only_then();
  another_thread_s_request_makes_the_fd_readable();
  one_session_event_is_out_at_a_time();
  what_was_not_consumed_comes_again_first();
  a_batch_goes_into_the_host_s_buffer_when_it_fits();
  records_are_taken_from_the_host_s_buffer();
  records_in_a_host_s_buffer_stay_while_a_reader_is_in();
  what_is_held_is_not_copied_unless_it_would_pin_far_more();
  a_completion_comes_while_an_event_is_out();
  a_blocking_wait_lends_the_only_thread();
  back_pressure_reaches_the_peer_and_ends();
  wake_ends_one_wait();
  a_cancelled_dial_ends_the_start();
  freeing_a_running_engine_cuts_its_run();
  a_stop_ends_a_pause_that_was_begun_for_an_event();
  a_session_of_an_earlier_run_has_no_say_in_a_later_one();
  many_threads_lent_to_one_loop_keep_the_order();
  return 0;
}
