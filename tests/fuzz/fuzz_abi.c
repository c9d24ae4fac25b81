/* Call sequences of the ABI: an engine with a host adapter on a loop that nobody else drives, and a clock of the target's own. Every
 * call may come at any time; nothing crashes, every operation completes once, and all memory comes back. */
#define _GNU_SOURCE
#include "fuzz.h"
#include "loop.h"
#include "mem.h"
#include "os.h"
#include "random.h"
#include "wscengine.h"

#include <unistd.h>

enum { OPS = 8, EVENTS = 4, STEPS_MOST = 400 };

static _Atomic int64_t clock_ns = NS_PER_S; /* the standby thread reads it too */
static int64_t now(void) { return clock_ns; }

struct bed {
  wsc_loop *loop;
  wsc_engine *engine;
  wsc_op *ops[OPS];
  wsc_event events[EVENTS];
  bool out[EVENTS];
  uint64_t tokens[4], epoch; /* of questions, the latest first */
  uint64_t begun, completed;
};

static void finish(struct bed *b, int i, struct input *in) {
  if (!b->out[i]) return;
  b->out[i] = false;
  uint8_t how = in ? take_byte(in) : 0;
  wsc_reply r = {.struct_size = sizeof r, .status = (how & 1) && in ? WSC_ERR_HOST : WSC_OK, .consumed = how >> 4};
  if (how & 2) r.close_code = 4000 + how;
  wsc_event_done(&b->events[i], in ? &r : NULL);
}

static void take_event(struct bed *b) {
  for (int i = 0; i < EVENTS; i++) {
    if (b->out[i]) continue;
    wsc_event *ev = &b->events[i];
    *ev = (wsc_event){.struct_size = sizeof *ev};
    if (wsc_loop_next(b->loop, 0, ev) != WSC_OK) return;
    b->out[i] = true;
    if (ev->type == WSC_EVENT_OP_DONE) b->completed++;
    if (ev->type == WSC_EVENT_OPENED) b->epoch = ev->epoch;
    if (ev->type == WSC_EVENT_OP_DONE) finish(b, i, NULL);
    else if (ev->type >= WSC_EVENT_DO_DIAL && ev->type <= WSC_EVENT_DO_STOP_READING) {
      memmove(b->tokens + 1, b->tokens, sizeof b->tokens - sizeof *b->tokens);
      b->tokens[0] = ev->token;
    }
    return;
  }
}

static void begin(struct bed *b, uint8_t what) {
  int i = 0;
  while (i < OPS && b->ops[i]) i++;
  wsc_op **op = i < OPS ? &b->ops[i] : NULL, *none = NULL;
  int r = WSC_ERR_INVALID;
  switch (what % 5) {
  case 0: r = wsc_engine_start_begin(b->engine, NULL, 1, op ? op : &none, NULL); break;
  case 1: r = wsc_engine_stop_begin(b->engine, NULL, 1, op ? op : &none, NULL); break;
  case 2: r = wsc_engine_wait_begin(b->engine, NULL, 1, op ? op : &none, NULL); break;
  case 3: r = wsc_engine_pause_begin(b->engine, NULL, 1, op ? op : &none, NULL); break;
  default: {
    wsc_context c = {.struct_size = sizeof c, .deadline_ns = now() + NS_PER_S};
    r = wsc_engine_start_begin(b->engine, &c, 1, op ? op : &none, NULL);
  }
  }
  if (r >= 0) b->begun++;
  wsc_op_unref(none);
}

static void report_read(struct bed *b, uint8_t how) {
  wsc_error *e = NULL;
  int status = how & 1 ? WSC_ERR_CLOSED : WSC_ERR_IO;
  PROMISE(wsc_error_new(status, how & 2 ? 1000 + how : 0, "reading", NULL, NULL, NULL, &e) == WSC_OK);
  wsc_engine_report_read(b->engine, b->epoch - (how & 4 ? 1 : 0), e);
  wsc_error_unref(e);
}

static void step(struct bed *b, struct input *in) {
  static const int statuses[] = {WSC_OK, WSC_OK, WSC_OK, WSC_ERR_IO, WSC_ERR_TIMEOUT};
  wsc_stats stats = {.struct_size = sizeof stats};
  uint8_t code = take_byte(in), detail = take_byte(in);
  switch (code % 12) {
  case 0: begin(b, detail); break;
  case 1: take_event(b); break;
  case 2: finish(b, detail % EVENTS, in); break;
  case 3: wsc_engine_report(b->engine, b->tokens[detail % 4], statuses[detail / 4 % 5], NULL, NULL); break;
  case 4: report_read(b, detail); break;
  case 5: wsc_engine_report_alive(b->engine, b->epoch, detail % 3, detail); break;
  case 6: wsc_op_cancel(b->ops[detail % OPS]); break;
  case 7:
    wsc_op_unref(b->ops[detail % OPS]);
    b->ops[detail % OPS] = NULL;
    break;
  case 8: (detail & 1 ? wsc_engine_exit : wsc_engine_restart)(b->engine); break;
  case 9: wsc_engine_resume(b->engine); break;
  case 10:
    clock_ns += (int64_t)detail * detail * NS_PER_MS * 20;
    poller_alarm(&b->loop->poller, 0);
    break;
  default:
    PROMISE(wsc_engine_stats(b->engine, &stats) == WSC_OK && wsc_engine_state(b->engine) >= 0);
    wsc_session_unref(wsc_engine_session(b->engine));
    wsc_engine_write(b->engine, NULL, WSC_TEXT, (const uint8_t *)"x", 1, NULL);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  os_clocks.now = os_clocks.boottime = now;
  uint8_t key[4];
  PROMISE(random_key(key) == WSC_OK); /* this thread's pool is its own until it ends */
  long before = mem_live();
  struct bed b = {0};
  uint8_t how = take_byte(&in);
  wsc_options *o = wsc_options_new();
  wsc_options_set_int(o, WSC_OPT_HOST_ADAPTER, 1);
  wsc_options_set_int(o, WSC_OPT_ASK_BEFORE_ATTEMPT, how & 1);
  wsc_options_set_int(o, WSC_OPT_RETRY_FIRST_START, how >> 1 & 1);
  wsc_options_set_int(o, WSC_OPT_AUTO_RECONNECT, how >> 2 & 1);
  wsc_options_set_int(o, WSC_OPT_MAX_ATTEMPTS, how >> 3 & 3);
  wsc_options_set_int(o, WSC_OPT_READER_COUNT, 1 + (how >> 5 & 1));
  PROMISE(wsc_loop_new(NULL, &b.loop, NULL) == WSC_OK);
  PROMISE(wsc_engine_new("ws://feed.example/", NULL, NULL, o, &b.engine, NULL) == WSC_OK);
  PROMISE(wsc_loop_add(b.loop, b.engine) == WSC_OK);
  wsc_options_free(o);
  for (int i = 0; in.n > 0 && i < STEPS_MOST; i++) step(&b, &in);

  for (int i = 0; i < EVENTS; i++) finish(&b, i, NULL);
  wsc_engine_free(b.engine);
  for (;;) {
    wsc_event ev = {.struct_size = sizeof ev};
    if (wsc_loop_next(b.loop, 0, &ev) != WSC_OK) break;
    if (ev.type == WSC_EVENT_OP_DONE) b.completed++;
    wsc_event_done(&ev, NULL);
  }
  for (int i = 0; i < OPS; i++) wsc_op_unref(b.ops[i]);
  wsc_loop_free(b.loop);
  PROMISE(b.completed <= b.begun);
  for (int i = 0; mem_live() != before && i < 20000; i++) usleep(1000); /* the standby may drop the last reference */
  PROMISE(mem_live() == before);
  return 0;
}
