/* The client of ci/demo: follows a numbered feed through everything its server does, and keeps count.
 *
 *   demo_feed URL --count N --ca FILE --ping-interval S --ping-timeout S
 *
 * It subscribes in on_open with the number it wants next, so no message is missed and none comes twice, whatever
 * happens in between. Ends after N messages or on SIGINT; prints progress, and as its last line one JSON object
 * (tests/demo/README.md). Exit status 0: N messages, no gap, no duplicate. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wscengine.h>

#define SECOND INT64_C(1000000000)
enum { RECONNECTS_MAX = 1000 };

struct reconnect {
  char cause[256];
  int64_t began_ns; /* of the wait: the loss, or the attempt that failed */
  double delay_ms;  /* until the next attempt; < 0: there was none */
};

/* Callbacks run one at a time; the lock is for main, which prints progress meanwhile. */
struct feed {
  pthread_mutex_t lock;
  uint64_t count, last_seq, messages, sessions, gaps, duplicates;
  struct reconnect reconnects[RECONNECTS_MAX];
  size_t reconnect_count;
};

static volatile sig_atomic_t interrupted;
static void on_interrupt(int number) { interrupted = number; }

/* ---- callbacks ---- */

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)r, (void)restarting;
  struct feed *f = user;
  char text[48];
  pthread_mutex_lock(&f->lock);
  int n = snprintf(text, sizeof text, "{\"from\": %" PRIu64 "}", f->last_seq + 1);
  f->sessions++;
  printf("session %" PRIu64 ": subscribes from %" PRIu64 "\n", wsc_session_epoch(s), f->last_seq + 1);
  pthread_mutex_unlock(&f->lock);
  return wsc_connection_write(wsc_session_connection(s), NULL, WSC_TEXT, (const uint8_t *)text, (size_t)n, NULL);
}

/* The number behind "seq": in a JSON text; 0 when there is none. */
static uint64_t find_seq(const uint8_t *data, size_t length) {
  static const char key[] = "\"seq\":";
  const uint8_t *p = memmem(data, length, key, sizeof key - 1), *end = data + length;
  uint64_t seq = 0;
  if (p == NULL) return 0;
  for (p += sizeof key - 1; p < end && *p == ' '; p++) {}
  for (; p < end && *p >= '0' && *p <= '9'; p++) seq = seq * 10 + (uint64_t)(*p - '0');
  return seq;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  struct feed *f = user;
  uint64_t seq = type == WSC_TEXT ? find_seq(data, length) : 0;
  pthread_mutex_lock(&f->lock);
  if (seq > 0 && f->messages < f->count) {
    f->messages++;
    if (seq <= f->last_seq) f->duplicates++;
    else f->gaps += seq - f->last_seq - 1;
    if (seq > f->last_seq) f->last_seq = seq;
  }
  bool done = f->messages >= f->count;
  pthread_mutex_unlock(&f->lock);
  if (done) wsc_session_exit(s);
}

/* Why the next attempt is needed; the attempt itself fills in the delay. */
static void note_cause(struct feed *f, const char *what, int code, const char *text) {
  pthread_mutex_lock(&f->lock);
  if (f->reconnect_count < RECONNECTS_MAX) {
    struct reconnect *r = &f->reconnects[f->reconnect_count++];
    if (code != 0) snprintf(r->cause, sizeof r->cause, "%s %d%s%s", what, code, text[0] != '\0' ? " " : "", text);
    else snprintf(r->cause, sizeof r->cause, "%s%s", what, text);
    r->began_ns = wsc_now_ns();
    r->delay_ms = -1;
    printf("%s\n", r->cause);
  }
  pthread_mutex_unlock(&f->lock);
}

static void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  (void)s;
  if (peer != NULL) {
    note_cause(user, peer->initiator == WSC_BY_PEER ? "closed:" : "lost:", peer->code, peer->reason);
    return;
  }
  reply->code = WSC_CLOSE_NORMAL; /* it is us who end */
  reply->reason = "done";
}

static void on_restart_error(wsc_engine *e, const wsc_error *why, uint32_t retry, bool last, void *user) {
  (void)e, (void)retry, (void)last;
  note_cause(user, "", 0, wsc_error_message(why));
}

static bool before_attempt(wsc_engine *e, wsc_attempt *a, void *user) {
  (void)e, (void)a;
  struct feed *f = user;
  pthread_mutex_lock(&f->lock);
  struct reconnect *r = f->reconnect_count > 0 ? &f->reconnects[f->reconnect_count - 1] : NULL;
  if (r != NULL && r->delay_ms < 0) r->delay_ms = (double)(wsc_now_ns() - r->began_ns) / 1e6;
  pthread_mutex_unlock(&f->lock);
  return true;
}

/* ---- the end ---- */

static void print_json_text(const char *s) {
  putchar('"');
  for (; *s != '\0'; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') printf("\\%c", c);
    else if (c < 0x20) printf("\\u%04x", c);
    else putchar(c);
  }
  putchar('"');
}

static bool summarize(const struct feed *f, wsc_engine *e) {
  wsc_stats t = {.struct_size = sizeof t, .rtt_smoothed_ns = -1};
  wsc_engine_stats(e, &t);
  printf("{\"messages\": %" PRIu64 ", \"sessions\": %" PRIu64 ", \"gaps\": %" PRIu64 ", \"duplicates\": %" PRIu64,
         f->messages, f->sessions, f->gaps, f->duplicates);
  if (t.rtt_smoothed_ns >= 0) printf(", \"rtt_ms\": %.3f", (double)t.rtt_smoothed_ns / 1e6);
  else printf(", \"rtt_ms\": null");
  printf(", \"reconnects\": [");
  const char *comma = "";
  for (size_t i = 0; i < f->reconnect_count; i++) {
    if (f->reconnects[i].delay_ms < 0) continue; /* no attempt followed: we were ending */
    printf("%s{\"cause\": ", comma);
    print_json_text(f->reconnects[i].cause);
    printf(", \"delay_ms\": %.1f}", f->reconnects[i].delay_ms);
    comma = ", ";
  }
  printf("]}\n");
  return f->messages == f->count && f->gaps == 0 && f->duplicates == 0;
}

/* Waits for the end of the run, with a line of progress a second. */
static int follow(struct feed *f, wsc_engine *e, wsc_error **error) {
  for (int tenths = 1;; tenths++) {
    wsc_context slice = {.struct_size = sizeof slice, .deadline_ns = wsc_now_ns() + SECOND / 10};
    int status = wsc_engine_wait(e, &slice, error);
    if (status != WSC_ERR_TIMEOUT) return status;
    wsc_error_unref(*error);
    *error = NULL;
    if (interrupted) wsc_engine_exit(e);
    if (tenths % 10 != 0) continue;
    pthread_mutex_lock(&f->lock);
    printf("%" PRIu64 " messages, last number %" PRIu64 "\n", f->messages, f->last_seq);
    pthread_mutex_unlock(&f->lock);
  }
}

static int set_seconds(wsc_options *o, int option, const char *value) {
  return wsc_options_set_int(o, option, (int64_t)(strtod(value, NULL) * 1000));
}

static bool parse(int argc, char **argv, struct feed *f, wsc_options *o) {
  for (int i = 2; i + 1 < argc; i += 2) {
    int status = WSC_ERR_INVALID;
    if (strcmp(argv[i], "--count") == 0) {
      f->count = strtoull(argv[i + 1], NULL, 10);
      status = WSC_OK;
    } else if (strcmp(argv[i], "--ca") == 0) status = wsc_options_set_str(o, WSC_OPT_CA_FILE, argv[i + 1]);
    else if (strcmp(argv[i], "--ping-interval") == 0)
      status = set_seconds(o, WSC_OPT_KEEPALIVE_INTERVAL_MS, argv[i + 1]);
    else if (strcmp(argv[i], "--ping-timeout") == 0) status = set_seconds(o, WSC_OPT_KEEPALIVE_TIMEOUT_MS, argv[i + 1]);
    if (status != WSC_OK) return false;
  }
  return argc >= 2 && argc % 2 == 0 && f->count > 0;
}

int main(int argc, char **argv) {
  static struct feed f = {.lock = PTHREAD_MUTEX_INITIALIZER};
  wsc_options *options = wsc_options_new();
  if (options == NULL || !parse(argc, argv, &f, options)) {
    fprintf(stderr, "usage: demo_feed URL --count N [--ca FILE] [--ping-interval S] [--ping-timeout S]\n");
    wsc_options_free(options);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct sigaction action = {.sa_handler = on_interrupt};
  sigaction(SIGINT, &action, NULL);

  wsc_callbacks callbacks = {.struct_size = sizeof callbacks,
                             .on_open = on_open,
                             .on_message = on_message,
                             .on_close = on_close,
                             .on_restart_error = on_restart_error,
                             .before_attempt = before_attempt};
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  int status = wsc_engine_new(argv[1], &callbacks, &f, options, &engine, &error);
  if (status == WSC_OK) status = wsc_engine_start(engine, NULL, &error);
  if (status == WSC_OK) status = follow(&f, engine, &error);
  if (error != NULL) fprintf(stderr, "demo_feed: %s\n", wsc_error_message(error));
  bool good = engine != NULL && summarize(&f, engine) && status == WSC_STOPPED;
  wsc_error_unref(error);
  wsc_engine_free(engine);
  wsc_options_free(options);
  return good ? 0 : 1;
}
