/* The C driver of the conformance suite: reads commands, one JSON line each, from stdin; writes events to stdout.
 *
 * Each command names a lane: one thread that carries out its commands one after another, so that a blocking one
 * never holds up the reader or another lane. Lines are numbered under one lock: the order of the numbers is an order
 * in which things happened. */
#define _GNU_SOURCE
#include "driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LANES = 16, NAMES = 32 };

struct task {
  struct json *command;
  struct task *next;
};
struct lane {
  char name[32];
  pthread_t thread;
  struct task *first, *last;
  bool busy;
};
struct latch {
  char name[32];
  bool open;
};
struct named_cancel {
  char name[32];
  wsc_cancel *cancel;
};

static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t sequence;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* everything below */
static pthread_cond_t changed;                           /* on CLOCK_MONOTONIC */
static struct lane lanes[LANES];
static int lane_count;
static struct latch latches[NAMES];
static int latch_count;
static struct named_cancel cancels[NAMES];
static int cancel_count;
static bool ending;

static void write_all(const char *p, size_t n) {
  while (n) {
    ssize_t wrote = write(STDOUT_FILENO, p, n);
    if (wrote <= 0) _exit(4); /* the runner is gone */
    p += wrote;
    n -= (size_t)wrote;
  }
}

void emit(struct line *l) {
  char head[64];
  pthread_mutex_lock(&output_lock);
  int n =
      snprintf(head, sizeof head, "{\"seq\":%llu,\"t\":%lld,", (unsigned long long)++sequence, (long long)wsc_now_ns());
  write_all(head, (size_t)n);
  write_all(l->p, l->n);
  write_all("}\n", 2);
  pthread_mutex_unlock(&output_lock);
  line_free(l);
}

static void copy_name(char out[static 32], const char *name) { snprintf(out, 32, "%s", name); }

static void fatal(const char *what, const char *which) {
  fprintf(stderr, "driver: %s: %s\n", what, which);
  exit(3);
}

/* ---- latches and cancels ---- */

static struct latch *latch_named(const char *name) {
  for (int i = 0; i < latch_count; i++)
    if (!strcmp(latches[i].name, name)) return &latches[i];
  if (latch_count == NAMES) fatal("too many latches", name);
  copy_name(latches[latch_count].name, name);
  return &latches[latch_count++];
}

int latch_wait(const char *name, int64_t timeout_ms) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += timeout_ms % 1000 * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&lock);
  struct latch *l = latch_named(name);
  int failed = 0;
  while (!l->open && !failed) failed = pthread_cond_timedwait(&changed, &lock, &until);
  bool open = l->open;
  pthread_mutex_unlock(&lock);
  return open ? WSC_OK : WSC_ERR_TIMEOUT;
}

void latch_release(const char *name) {
  pthread_mutex_lock(&lock);
  latch_named(name)->open = true;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

wsc_cancel *cancel_named(const char *name) {
  wsc_cancel *found = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < cancel_count && !found; i++)
    if (!strcmp(cancels[i].name, name)) found = cancels[i].cancel;
  if (!found && cancel_count < NAMES && wsc_cancel_new(&found) == WSC_OK) {
    copy_name(cancels[cancel_count].name, name);
    cancels[cancel_count++].cancel = found;
  }
  pthread_mutex_unlock(&lock);
  if (!found) fatal("no cancel of this name can be made", name);
  return found;
}

/* ---- lanes ---- */

static void carry_out(const struct json *command) {
  struct scope s = {0};
  struct line out = {0};
  line_text(&out, "event", "result");
  line_int(&out, "id", json_int(command, "id", 0));
  line_text(&out, "cmd", json_text(command, "cmd", ""));
  run_command(&s, command, &out);
  emit(&out);
}

static void *lane_main(void *self) {
  struct lane *l = self;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (!l->first && !ending) pthread_cond_wait(&changed, &lock);
    if (!l->first) break;
    struct task *t = l->first;
    if (!(l->first = t->next)) l->last = NULL;
    l->busy = true;
    pthread_mutex_unlock(&lock);
    carry_out(t->command);
    json_free(t->command);
    free(t);
    pthread_mutex_lock(&lock);
    l->busy = false;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* With the lock held. */
static struct lane *lane_named(const char *name) {
  for (int i = 0; i < lane_count; i++)
    if (!strcmp(lanes[i].name, name)) return &lanes[i];
  if (lane_count == LANES) fatal("too many lanes", name);
  struct lane *l = &lanes[lane_count];
  copy_name(l->name, name);
  if (pthread_create(&l->thread, NULL, lane_main, l)) fatal("no thread for lane", name);
  lane_count++;
  return l;
}

static void enqueue(struct json *command) {
  struct task *t = calloc(1, sizeof *t);
  if (!t) fatal("out of memory", "task");
  t->command = command;
  pthread_mutex_lock(&lock);
  struct lane *l = lane_named(json_text(command, "lane", "main"));
  if (l->last) l->last->next = t;
  else l->first = t;
  l->last = t;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

int own_threads(void) {
  pthread_mutex_lock(&lock);
  int n = 1 + lane_count;
  pthread_mutex_unlock(&lock);
  return n;
}

/* Lanes that are still busy a second after the end cannot be joined: that is a hang, and the exit code says so. */
static int end_lanes(void) {
  pthread_mutex_lock(&lock);
  ending = true;
  pthread_cond_broadcast(&changed);
  for (int i = 0; i < lane_count; i++) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    while (lanes[i].busy || lanes[i].first)
      if (pthread_cond_timedwait(&changed, &lock, &until)) {
        fprintf(stderr, "driver: lane %s is still busy at the end\n", lanes[i].name);
        _exit(3);
      }
  }
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < lane_count; i++) pthread_join(lanes[i].thread, NULL);
  return 0;
}

static void hello(bool by_adapter) {
  static const char *const features[] = {"threads",  "readers",      "pause", "pause_verb", "built_in",
                                         "url_text", "null_handles", "fork",  "attempt",    "connection",
                                         "latches",  "tracer",       "cancel"};
  struct line l = {0};
  line_text(&l, "event", "hello");
  line_text(&l, "driver", "c");
  line_text(&l, "version", wsc_version());
  line_text(&l, "libraries", wsc_version_libraries());
  line_open(&l, "features", '[');
  for (size_t i = 0; i < sizeof features / sizeof *features; i++) line_text(&l, NULL, features[i]);
  if (!by_adapter) line_text(&l, NULL, "wire");
  line_close(&l, ']');
  emit(&l);
}

int main(int argc, char **argv) {
  bool by_adapter = argc == 2 && !strcmp(argv[1], "--adapter");
  if (argc > 1 && !by_adapter) fatal("unknown argument", argv[1]);
  if (by_adapter) commands_by_adapter();

  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&changed, &monotonic);
  pthread_condattr_destroy(&monotonic);

  hello(by_adapter);
  char *text = NULL;
  size_t capacity = 0;
  while (getline(&text, &capacity, stdin) > 0) {
    struct json *command = json_parse(text);
    if (!command) fatal("malformed command", text);
    if (!strcmp(json_text(command, "cmd", ""), "quit")) {
      json_free(command);
      break;
    }
    enqueue(command);
  }
  free(text);
  int rc = end_lanes();
  commands_end();
  for (int i = 0; i < cancel_count; i++) wsc_cancel_free(cancels[i].cancel);
  return rc;
}
