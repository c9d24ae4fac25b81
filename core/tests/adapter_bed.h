/* A scripted adapter under an engine, for tests: what read gives and how each slot behaves is told by the test, and what the core does with it is
 * checked as it happens: no slot beside itself, no dial of an open connection, nothing after drop. */
#ifndef WSC_ADAPTER_BED_H
#define WSC_ADAPTER_BED_H

#include "check.h"
#include "os.h"
#include "threads.h"
#include "wscengine.h"

#include <pthread.h>
#include <stdatomic.h>

static const int64_t LONG = 20 * NS_PER_S; /* nothing here takes so long unless it hangs */

enum toy_slot { TOY_DIAL, TOY_CLOSE, TOY_PING, TOY_READ, TOY_WRITE, TOY_SLOTS };
enum toy_manner {
  OBEYS,  /* as the header says */
  HANGS,  /* until the context ends */
  DEAF,   /* until it is let go: the context means nothing to it */
  FAILS,  /* with the slot's status and text */
  IN_VAIN /* ping: as HANGS, a peer that does not answer */
};

/* What read gives, one after the other. */
struct toy_item {
  struct toy_item *next;
  int status, code; /* of an error; OK: a message, or nothing at all */
  bool nothing;
  char text[64];
};

struct toy {
  pthread_mutex_t lock;
  enum toy_manner manner[TOY_SLOTS];
  int status[TOY_SLOTS];
  int called[TOY_SLOTS], inside[TOY_SLOTS], most[TOY_SLOTS];
  bool let_go, open, flood, dialed_open;
  struct toy_item *head, *tail;
  int wrote, close_code, drops, flooded;
  char written[256], close_reason[124], url[128], header[64];
};

static inline wsc_error *toy_error(int status, int code, const char *text) {
  wsc_error *e = NULL;
  CHECK_EQ(wsc_error_new(status, code, text, NULL, NULL, NULL, &e), WSC_OK);
  return e;
}

static inline void toy_enter(struct toy *t, enum toy_slot s) {
  pthread_mutex_lock(&t->lock);
  CHECK_EQ(t->drops, 0);
  t->called[s]++;
  if (++t->inside[s] > t->most[s]) t->most[s] = t->inside[s];
  CHECK_EQ(t->most[s], 1);
  CHECK(!t->inside[TOY_DIAL] || !t->inside[TOY_CLOSE]);
}

static inline int toy_leave(struct toy *t, enum toy_slot s, int status, const char *text, int code, wsc_error **err) {
  t->inside[s]--;
  pthread_mutex_unlock(&t->lock);
  if (status < 0) *err = toy_error(status, code, text);
  return status;
}

/* One turn of waiting; WSC_OK: look again. */
static inline int toy_wait(struct toy *t, enum toy_slot s, const wsc_context *c) {
  enum toy_manner was = t->manner[s];
  pthread_mutex_unlock(&t->lock);
  usleep(500);
  pthread_mutex_lock(&t->lock);
  if (t->manner[s] != was) return WSC_OK;
  if (was == DEAF) return t->let_go ? WSC_ERR_IO : WSC_OK;
  if (wsc_cancel_fired(c->cancel)) return WSC_ERR_CANCELED;
  return c->deadline_ns && wsc_now_ns() >= c->deadline_ns ? WSC_ERR_TIMEOUT : WSC_OK;
}

static inline int toy_behave(struct toy *t, enum toy_slot s, const wsc_context *c) {
  CHECK(c->struct_size == sizeof *c && c->cancel);
  while (t->manner[s] == HANGS || t->manner[s] == DEAF || t->manner[s] == IN_VAIN) {
    int r = toy_wait(t, s, c);
    if (r) return r;
  }
  return t->manner[s] == FAILS ? t->status[s] : WSC_OK;
}

static inline int toy_dial(void *self, const wsc_context *c, const char *url, const wsc_attempt *a, wsc_response *out,
                           wsc_error **err) {
  struct toy *t = self;
  toy_enter(t, TOY_DIAL);
  t->dialed_open |= t->open;
  int r = toy_behave(t, TOY_DIAL, c);
  snprintf(t->url, sizeof t->url, "%s", url);
  snprintf(t->header, sizeof t->header, "%s", wsc_attempt_header(a, 0) ? wsc_attempt_header(a, 0) : "");
  if (!r) t->open = true;
  if (!r) r = wsc_response_set(out, 101, "Switching Protocols");
  return toy_leave(t, TOY_DIAL, r, "toy: dial", 0, err);
}

static inline int toy_close(void *self, const wsc_context *c, int code, const char *reason, wsc_error **err) {
  struct toy *t = self;
  toy_enter(t, TOY_CLOSE);
  int r = t->open ? toy_behave(t, TOY_CLOSE, c) : WSC_ERR_CLOSED;
  t->open = false;
  t->close_code = code;
  snprintf(t->close_reason, sizeof t->close_reason, "%s", reason);
  return toy_leave(t, TOY_CLOSE, r, "toy: close", 0, err);
}

static inline int toy_ping(void *self, const wsc_context *c, wsc_error **err) {
  struct toy *t = self;
  toy_enter(t, TOY_PING);
  CHECK(c->deadline_ns > 0);
  int r = t->open ? toy_behave(t, TOY_PING, c) : WSC_ERR_CLOSED;
  return toy_leave(t, TOY_PING, r, "toy: ping", 0, err);
}

static inline int toy_read(void *self, const wsc_context *c, wsc_batch *out, wsc_error **err) {
  struct toy *t = self;
  char text[64] = "toy: read";
  int r = WSC_OK, code = 0;
  toy_enter(t, TOY_READ);
  while (!r && t->open && !t->head && !t->flood) r = toy_wait(t, TOY_READ, c);
  struct toy_item *i = t->head;
  if (i) {
    t->head = i->next;
    r = i->status;
    code = i->code;
    snprintf(text, sizeof text, "%s", i->text);
    if (!r && !i->nothing) r = wsc_batch_add(out, WSC_TEXT, (const uint8_t *)i->text, strlen(i->text));
    if (r == WSC_ERR_CLOSED || code) t->open = false;
    free(i);
  } else if (!r && t->flood && t->open) {
    char big[1024];
    memset(big, 'x', sizeof big);
    int n = snprintf(big, sizeof big, "%d", ++t->flooded);
    big[n] = ' ';
    r = wsc_batch_add(out, WSC_TEXT, (const uint8_t *)big, sizeof big);
  } else if (!r) {
    r = WSC_ERR_CLOSED;
    code = 1006;
  }
  return toy_leave(t, TOY_READ, r, text, code, err);
}

static inline int toy_write(void *self, const wsc_context *c, int type, const uint8_t *p, size_t n, wsc_error **err) {
  struct toy *t = self;
  toy_enter(t, TOY_WRITE);
  CHECK(type == WSC_TEXT || type == WSC_BINARY);
  int r = t->open ? toy_behave(t, TOY_WRITE, c) : WSC_ERR_CLOSED;
  size_t had = strlen(t->written);
  if (!r && had + n + 2 < sizeof t->written)
    snprintf(t->written + had, sizeof t->written - had, "%.*s ", (int)n, (const char *)p);
  if (!r) t->wrote++;
  return toy_leave(t, TOY_WRITE, r, "toy: write", 0, err);
}

static inline void *toy_underlying(void *self) { return ((struct toy *)self)->url; }

static inline void toy_drop(void *self) {
  struct toy *t = self;
  pthread_mutex_lock(&t->lock);
  for (int s = 0; s < TOY_SLOTS; s++) CHECK_EQ(t->inside[s], 0);
  t->drops++;
  pthread_mutex_unlock(&t->lock);
}

static const wsc_adapter toy_vtable = {.struct_size = sizeof toy_vtable,
                                       .dial = toy_dial,
                                       .close = toy_close,
                                       .ping = toy_ping,
                                       .read = toy_read,
                                       .write = toy_write,
                                       .underlying = toy_underlying,
                                       .drop = toy_drop};

/* ---- an engine over it --------------------------------------------------------------------------------------------- */

struct bed {
  struct toy toy;
  wsc_options *options;
  wsc_engine *engine;
  pthread_mutex_t lock; /* what callbacks have seen */
  int opens, restarts, messages, read_errors, closes, close_errors, restart_errors, stops;
  char texts[512], read_error[128], reason[128], close_error[128], restart_error[256];
  int code, initiator, timer, read_status, close_status;
  bool has_close;
  wsc_error *failure; /* of the last restart error or close */
  _Atomic bool hold;  /* on_message stands still */
  _Atomic int act_in_read_error;
};

static inline int under(pthread_mutex_t *lock, const int *what) {
  pthread_mutex_lock(lock);
  int n = *what;
  pthread_mutex_unlock(lock);
  return n;
}
#define SEEN(b, what) under(&(b)->lock, &(b)->what)
#define TOY(b, what) under(&(b)->toy.lock, &(b)->toy.what)
#define WAIT(condition) \
  do { \
    int64_t until_ = wsc_now_ns() + LONG; \
    while (!(condition)) { \
      if (wsc_now_ns() > until_) fprintf(stderr, "%s:%d: in vain: %s\n", __FILE__, __LINE__, #condition); \
      CHECK(wsc_now_ns() <= until_); \
      usleep(300); \
    } \
  } while (0)

static inline int bed_on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  struct bed *b = user;
  (void)s;
  CHECK_EQ(wsc_response_status(r), 101);
  pthread_mutex_lock(&b->lock);
  b->opens++;
  b->restarts += restarting;
  pthread_mutex_unlock(&b->lock);
  return 0;
}

static inline void bed_on_message(wsc_session *s, int type, const uint8_t *p, size_t n, void *user) {
  struct bed *b = user;
  (void)s, (void)type;
  pthread_mutex_lock(&b->lock);
  b->messages++;
  size_t had = strlen(b->texts);
  if (n < 64 && had + n + 2 < sizeof b->texts)
    snprintf(b->texts + had, sizeof b->texts - had, "%.*s ", (int)n, (const char *)p);
  if (n >= 64) { /* a flood's: numbered */
    char number[16] = "";
    memcpy(number, p, sizeof number - 1);
    CHECK_EQ(atoi(number), b->messages);
  }
  pthread_mutex_unlock(&b->lock);
  while (b->hold) usleep(300);
}

static inline void bed_on_read_error(wsc_session *s, const wsc_error *e, void *user) {
  struct bed *b = user;
  pthread_mutex_lock(&b->lock);
  b->read_errors++;
  b->read_status = wsc_error_status(e);
  snprintf(b->read_error, sizeof b->read_error, "%s", wsc_error_message(e));
  pthread_mutex_unlock(&b->lock);
  if (b->act_in_read_error == 1) wsc_session_restart(s);
  if (b->act_in_read_error == 2) wsc_session_exit(s);
  if (b->act_in_read_error == 3) { /* the engine is paused for us: we may read */
    wsc_message m = {.struct_size = sizeof m};
    CHECK_EQ(wsc_connection_read(wsc_session_connection(s), NULL, &m, NULL), WSC_OK);
    CHECK_BYTES(m.data, "mine", 4);
    wsc_message_free(&m);
  }
}

static inline void bed_on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  struct bed *b = user;
  (void)s, (void)reply;
  pthread_mutex_lock(&b->lock);
  b->closes++;
  b->has_close = peer != NULL;
  b->code = peer ? peer->code : 0;
  b->initiator = peer ? peer->initiator : 0;
  b->timer = peer ? peer->timer : 0;
  snprintf(b->reason, sizeof b->reason, "%s", peer ? peer->reason : "");
  pthread_mutex_unlock(&b->lock);
}

static inline void bed_on_close_error(wsc_session *s, const wsc_error *e, void *user) {
  struct bed *b = user;
  (void)s;
  pthread_mutex_lock(&b->lock);
  b->close_errors++;
  b->close_status = wsc_error_status(e);
  snprintf(b->close_error, sizeof b->close_error, "%s", wsc_error_message(e));
  pthread_mutex_unlock(&b->lock);
}

static inline void bed_on_restart_error(wsc_engine *e, const wsc_error *why, uint32_t retry, bool last, void *user) {
  struct bed *b = user;
  (void)e, (void)retry, (void)last;
  pthread_mutex_lock(&b->lock);
  b->restart_errors++;
  snprintf(b->restart_error, sizeof b->restart_error, "%s", wsc_error_message(why));
  pthread_mutex_unlock(&b->lock);
}

static inline void bed_on_stopped(wsc_engine *e, int reason, const wsc_error *why, void *user) {
  struct bed *b = user;
  (void)e, (void)reason, (void)why;
  pthread_mutex_lock(&b->lock);
  b->stops++;
  pthread_mutex_unlock(&b->lock);
}

static const wsc_callbacks bed_callbacks = {.struct_size = sizeof bed_callbacks,
                                            .on_open = bed_on_open,
                                            .on_message = bed_on_message,
                                            .on_read_error = bed_on_read_error,
                                            .on_close = bed_on_close,
                                            .on_close_error = bed_on_close_error,
                                            .on_restart_error = bed_on_restart_error,
                                            .on_stopped = bed_on_stopped};

static inline void bed_set(struct bed *b, int option, int64_t value) {
  CHECK_EQ(wsc_options_set_int(b->options, option, value), WSC_OK);
}

static inline void bed_init(struct bed *b) {
  *b = (struct bed){.lock = PTHREAD_MUTEX_INITIALIZER, .toy.lock = PTHREAD_MUTEX_INITIALIZER};
  b->options = wsc_options_new();
  bed_set(b, WSC_OPT_STABLE_AFTER_MS, 0);
  bed_set(b, WSC_OPT_KEEPALIVE_INTERVAL_MS, 0);
  CHECK_EQ(wsc_options_set_str(b->options, WSC_OPT_HEADER, "X-Token: 1"), WSC_OK);
  CHECK_EQ(wsc_options_set_adapter(b->options, &toy_vtable, &b->toy), WSC_OK);
}

static inline void bed_make(struct bed *b) {
  CHECK_EQ(wsc_engine_new("wss://user:secret@toy.example/feed", &bed_callbacks, b, b->options, &b->engine, NULL),
           WSC_OK);
}

static inline void bed_start(struct bed *b) {
  bed_make(b);
  CHECK_EQ(wsc_engine_start(b->engine, NULL, NULL), WSC_OK);
}

static inline void toy_give(struct bed *b, int status, int code, const char *text) {
  struct toy_item *i = calloc(1, sizeof *i);
  CHECK(i != NULL);
  i->status = status;
  i->code = code;
  i->nothing = text == NULL;
  snprintf(i->text, sizeof i->text, "%s", text ? text : "");
  pthread_mutex_lock(&b->toy.lock);
  if (b->toy.head) b->toy.tail->next = i;
  else b->toy.head = i;
  b->toy.tail = i;
  pthread_mutex_unlock(&b->toy.lock);
}

static inline void toy_be(struct bed *b, enum toy_slot s, enum toy_manner m, int status) {
  pthread_mutex_lock(&b->toy.lock);
  b->toy.manner[s] = m;
  b->toy.status[s] = status;
  pthread_mutex_unlock(&b->toy.lock);
}

static inline void toy_let_go(struct bed *b) {
  pthread_mutex_lock(&b->toy.lock);
  b->toy.let_go = true;
  pthread_mutex_unlock(&b->toy.lock);
}

static inline bool toy_idle(struct bed *b) {
  bool idle = true;
  pthread_mutex_lock(&b->toy.lock);
  for (int s = 0; s < TOY_SLOTS; s++) idle &= b->toy.inside[s] == 0;
  pthread_mutex_unlock(&b->toy.lock);
  return idle;
}

static inline int bed_write(struct bed *b, const char *text, wsc_error **err) {
  return wsc_engine_write(b->engine, NULL, WSC_TEXT, (const uint8_t *)text, strlen(text), err);
}

static inline wsc_stats bed_stats(struct bed *b) {
  wsc_stats s = {.struct_size = sizeof s};
  CHECK_EQ(wsc_engine_stats(b->engine, &s), WSC_OK);
  return s;
}

/* The adapter goes with the last who has it, once, and no thread is left. */
static inline void bed_end(struct bed *b) {
  wsc_engine_free(b->engine);
  wsc_options_free(b->options);
  WAIT(TOY(b, drops) == 1);
  CHECK(!b->toy.dialed_open);
  threads_gone();
  for (struct toy_item *i = b->toy.head, *next; i; i = next) {
    next = i->next;
    free(i);
  }
}

#endif
