/* wscengine as a user of tier 1 would write it: callbacks on the library's crew.
 * EXTRA: recv: number of readers (1) · send: "each" (one write a call) or "corked" (cork, 1,000 writes, uncork) */
#define _GNU_SOURCE
#include "bench.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <wscengine.h>

#define READERS_MAX 64
#define CORKED 1000
#define IDLE_S 3

/* Each crew thread counts in a slot of its own: a shared counter would be the benchmark. */
struct slot {
  _Alignas(64) uint64_t messages, bytes;
};
static struct slot slots[READERS_MAX];
static atomic_uint slots_used;
static _Thread_local struct slot *mine;

static struct bench b;
static sem_t finished;
static double sent_at;
static uint8_t *payload;

static void fail(const char *what, wsc_error *error) {
  fprintf(stderr, "bench: %s: %s\n", what, wsc_error_message(error));
  exit(1);
}

static void write_or_die(wsc_connection *k) {
  wsc_error *error = NULL;
  if (wsc_connection_write(k, NULL, WSC_BINARY, payload, b.size, &error)) fail("write", error);
}

static void count_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)data, (void)user;
  if (!mine) mine = &slots[atomic_fetch_add(&slots_used, 1) % READERS_MAX];
  mine->messages++;
  mine->bytes += length;
}

static void take_count(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)user;
  char text[64] = {0};
  memcpy(text, data, length < sizeof text ? length : sizeof text - 1);
  b.messages = strtoull(text, NULL, 10);
  b.bytes = b.messages * b.size;
  sem_post(&finished);
}

static void next_round(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)type, (void)data, (void)user;
  b.latency[b.messages++] = now_s() - sent_at;
  b.bytes += length;
  if ((long)b.messages == b.count) {
    sem_post(&finished);
    return;
  }
  sent_at = now_s();
  write_or_die(wsc_session_connection(s));
}

static wsc_engine *make_engine(const wsc_callbacks *callbacks, int readers) {
  char url[512];
  snprintf(url, sizeof url, "ws://%s:%d%s", b.host, b.port, b.path);
  wsc_options *o = wsc_options_new();
  wsc_options_set_int(o, WSC_OPT_READER_COUNT, readers);
  wsc_options_set_int(o, WSC_OPT_AUTO_RECONNECT, 0);
  wsc_options_set_int(o, WSC_OPT_KEEPALIVE_INTERVAL_MS, 0);
  wsc_engine *e = NULL;
  wsc_error *error = NULL;
  if (wsc_engine_new(url, callbacks, NULL, o, &e, &error)) fail("new", error);
  wsc_options_free(o);
  return e;
}

static wsc_engine *start_engine(const wsc_callbacks *callbacks, int readers) {
  wsc_engine *e = make_engine(callbacks, readers);
  wsc_error *error = NULL;
  if (wsc_engine_start(e, NULL, &error)) fail("start", error);
  return e;
}

static void receive(void) {
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = count_message};
  wsc_engine *e = start_engine(&callbacks, atoi(b.extra) > 0 ? atoi(b.extra) : 1);
  wsc_engine_wait(e, NULL, NULL); /* the server closes after the last message */
  for (int i = 0; i < READERS_MAX; i++) {
    b.messages += slots[i].messages;
    b.bytes += slots[i].bytes;
  }
  bench_report(&b);
  wsc_engine_free(e);
}

static void send_messages(void) {
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = take_count};
  wsc_engine *e = start_engine(&callbacks, 1);
  wsc_session *s = wsc_engine_session(e);
  wsc_connection *k = wsc_session_connection(s);
  wsc_error *error = NULL;
  long per = strcmp(b.extra, "corked") ? 0 : CORKED;
  for (long i = 0; i < b.count; i++) {
    if (per && i % per == 0) wsc_connection_cork(k);
    write_or_die(k);
    if (per && (i % per == per - 1 || i == b.count - 1) && wsc_connection_uncork(k, &error)) fail("uncork", error);
  }
  if (wsc_connection_write(k, NULL, WSC_TEXT, (const uint8_t *)"count", 5, &error)) fail("write", error);
  sem_wait(&finished);
  bench_report(&b);
  wsc_session_unref(s);
  wsc_engine_free(e);
}

static void round_trips(void) {
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = next_round};
  wsc_engine *e = start_engine(&callbacks, 1);
  wsc_session *s = wsc_engine_session(e);
  sent_at = now_s();
  write_or_die(wsc_session_connection(s));
  sem_wait(&finished);
  bench_report(&b);
  wsc_session_unref(s);
  wsc_engine_free(e);
}

static void idle(void) {
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks};
  for (long i = 0; i < b.count; i++) start_engine(&callbacks, 1);
  b.messages = (uint64_t)b.count;
  struct timespec settle = {1, 0}, still = {IDLE_S, 0};
  nanosleep(&settle, NULL);
  double before = cpu_s();
  nanosleep(&still, NULL);
  b.idle_cpu = cpu_s() - before;
  b.idle_s = IDLE_S;
  bench_report(&b);
  _exit(0);
}

int main(int argc, char **argv) {
  bench_args(&b, argc, argv);
  payload = malloc(b.size + 1);
  if (!payload || sem_init(&finished, 0, 0)) die("start");
  memset(payload, 'x', b.size);
  bench_start(&b);
  if (mode_is(&b, "recv")) receive();
  else if (mode_is(&b, "send")) send_messages();
  else if (mode_is(&b, "rtt")) round_trips();
  else idle();
  return 0;
}
