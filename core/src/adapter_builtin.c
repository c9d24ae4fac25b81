/* The built-in connection behind the blocking verbs of an adapter. Each dial makes a connection of its own on the library's loop; whoever is inside a
 * verb holds a reference, so that close can take the connection away under it. */
#define _GNU_SOURCE
#include "connection.h"
#include "error.h"
#include "mem.h"
#include "os.h"
#include "response.h"
#include "sized.h"

struct builtin {
  wsc_options *options;
  struct tls_context *trust; /* made by the first dial that needs it: sessions are resumed by the next */
  pthread_mutex_t lock;
  wsc_connection *k; /* NULL: none is open */
};

/* A reference to the open connection; NULL, with the error: there is none. */
static wsc_connection *open_one(struct builtin *b, const char *verb, wsc_error **err) {
  pthread_mutex_lock(&b->lock);
  wsc_connection *k = wsc_connection_ref(b->k);
  pthread_mutex_unlock(&b->lock);
  if (!k) error_set(err, WSC_ERR_CLOSED, "%s: no connection is open", verb);
  return k;
}

/* Takes it away, if it is still there. */
static void forget(struct builtin *b, wsc_connection *k) {
  pthread_mutex_lock(&b->lock);
  bool there = b->k == k;
  if (there) b->k = NULL;
  pthread_mutex_unlock(&b->lock);
  if (!there) return;
  connection_give_up(k);
  wsc_connection_unref(k);
}

/* The options of one dial: what the attempt offers stands in place of their own. */
static wsc_options *options_for(const struct builtin *b, const wsc_attempt *a) {
  wsc_options *o = options_copy(b->options);
  int r = o ? WSC_OK : WSC_ERR_NOMEM;
  if (!r && a) {
    const char *text;
    options_clear(o, WSC_OPT_HEADER);
    options_clear(o, WSC_OPT_SUBPROTOCOL);
    for (size_t i = 0; !r && (text = wsc_attempt_header(a, i)); i++) r = wsc_options_set_str(o, WSC_OPT_HEADER, text);
    for (size_t i = 0; !r && (text = wsc_attempt_subprotocol(a, i)); i++)
      r = wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, text);
  }
  wsc_options *frozen = r ? NULL : options_snapshot(o);
  wsc_options_free(o);
  return frozen;
}

static int make(struct builtin *b, const char *url, const wsc_attempt *a, wsc_connection **out, wsc_error **err) {
  struct url parsed = {0};
  wsc_loop *loop = NULL;
  int r = url_parse(url, &parsed, err);
  if (r) return r;
  wsc_options *o = options_for(b, a);
  if (!o) r = error_set(err, WSC_ERR_NOMEM, "out of memory for a connection");
  if (!r && parsed.secure && !b->trust) r = tls_context_new(o, &b->trust, err);
  if (!r) r = loop_default(options_int(o, WSC_OPT_CREW_MAX_THREADS), &loop, err);
  if (!r) r = connection_new(loop, NULL, &parsed, o, parsed.secure ? b->trust : NULL, NULL, NULL, out, err);
  loop_unref(loop);
  wsc_options_free(o);
  url_free(&parsed);
  return r;
}

/* The context's deadline becomes the connection's own limit, whose error names the step that took too long. */
static int dial_within(wsc_connection *k, const wsc_context *c, wsc_error **err) {
  wsc_context mine = {.struct_size = sizeof mine};
  if (c) sized_read(&mine, sizeof mine, c);
  int64_t left = mine.deadline_ns ? mine.deadline_ns - os_now_ns() : 0;
  if (left > 0) {
    mine.deadline_ns = 0;
    if (!k->connect_timeout_ns || left < k->connect_timeout_ns) k->connect_timeout_ns = left;
  }
  return wsc_connection_dial(k, &mine, err);
}

static int dial(void *self, const wsc_context *c, const char *url, const wsc_attempt *a, wsc_response *out,
                wsc_error **err) {
  struct builtin *b = self;
  pthread_mutex_lock(&b->lock);
  wsc_connection *before = b->k, *k = NULL;
  pthread_mutex_unlock(&b->lock);
  if (before && !wsc_connection_closed(before, NULL))
    return error_set(err, WSC_ERR_STATE, "dial: a connection is open already");
  if (before) forget(b, before);
  int r = make(b, url, a, &k, err);
  if (!r) r = dial_within(k, c, err);
  if (!r && out && response_fill(out, wsc_connection_response(k)))
    r = error_set(err, WSC_ERR_NOMEM, "dial: out of memory for the answer");
  if (r) {
    wsc_connection_unref(k);
    return r;
  }
  pthread_mutex_lock(&b->lock);
  b->k = k;
  pthread_mutex_unlock(&b->lock);
  return WSC_OK;
}

static int close_it(void *self, const wsc_context *c, int code, const char *reason, wsc_error **err) {
  struct builtin *b = self;
  wsc_connection *k = open_one(b, "close", err);
  if (!k) return WSC_ERR_CLOSED;
  int r = wsc_connection_close(k, c, code, reason, err);
  forget(b, k);
  wsc_connection_unref(k);
  return r;
}

static int ping(void *self, const wsc_context *c, wsc_error **err) {
  wsc_connection *k = open_one(self, "ping", err);
  if (!k) return WSC_ERR_CLOSED;
  int r = wsc_connection_ping(k, c, NULL, err);
  wsc_connection_unref(k);
  return r;
}

static int write_it(void *self, const wsc_context *c, int type, const uint8_t *p, size_t n, wsc_error **err) {
  wsc_connection *k = open_one(self, "write", err);
  if (!k) return WSC_ERR_CLOSED;
  int r = wsc_connection_write(k, c, type, p, n, err);
  wsc_connection_unref(k);
  return r;
}

/* How the connection ended, or is ending, as a read tells it: the peer's reason is the message, and what we found wrong has a status of its own. */
static wsc_error *how_it_ended(wsc_connection *k) {
  pthread_mutex_lock(&k->lock);
  const wsc_close *e = &k->ended;
  bool failed = e->initiator == WSC_BY_LOCAL && k->error && wsc_error_status(k->error) != WSC_ERR_CLOSED;
  struct error_info info = {.status = failed ? wsc_error_status(k->error) : WSC_ERR_CLOSED,
                            .close_code = e->initiator == WSC_BY_LOCAL && !failed ? e->code_received : e->code,
                            .os_error = e->os_error,
                            .timer = e->timer,
                            .plain = true,
                            .cause = wsc_error_ref(k->error)};
  wsc_error *error = error_make(&info, "%s", k->reason ? k->reason : "");
  pthread_mutex_unlock(&k->lock);
  return error;
}

static int add_all(wsc_connection *k, wsc_batch *out) {
  int r = WSC_OK;
  uint64_t added =
      0; /* what is taken makes room for more, which may come as fast as it is taken; also without payload */
  for (struct wsc_batch *b; !r && added < ARENA_BYTES && (b = connection_take(k));) {
    uint32_t at = b->taken;
    for (; !r && added < ARENA_BYTES && at < b->count; at++) {
      const wsc_record *m = &b->records[at];
      r = wsc_batch_add(out, m->type, b->base + m->offset, m->length);
      added += m->length + sizeof *m;
    }
    if (at < b->count) {
      b->taken = at;
      connection_give_back(k, b);
    } else {
      batch_unref(b);
    }
  }
  return r;
}

static int read_it(void *self, const wsc_context *c, wsc_batch *out, wsc_error **err) {
  wsc_connection *k = open_one(self, "read", err);
  if (!k) return WSC_ERR_CLOSED;
  wsc_message m = {.struct_size = sizeof m};
  wsc_error *error = NULL;
  int r = wsc_connection_read(k, c, &m, &error);
  if (!r) {
    r = wsc_batch_add(out, (int)m.type, m.data, m.length);
    wsc_message_free(&m);
    if (!r) r = add_all(k, out);
  } else if (r == WSC_ERR_CLOSED) {
    wsc_error_unref(error);
    r = error_give(err, how_it_ended(k));
    forget(self, k);
  } else if (err) {
    *err = error;
  }
  wsc_connection_unref(k);
  return r;
}

static void *underlying(void *self) {
  struct builtin *b = self;
  pthread_mutex_lock(&b->lock);
  wsc_connection *k = b->k;
  pthread_mutex_unlock(&b->lock);
  return k;
}

static void drop(void *self) {
  struct builtin *b = self;
  if (b->k) forget(b, b->k);
  tls_context_unref(b->trust);
  wsc_options_free(b->options);
  pthread_mutex_destroy(&b->lock);
  mem_free(b);
}

/* Queues and keepalive are those of who drives the adapter: here nothing is kept back, and nothing watched. */
static wsc_options *own_options(const wsc_options *given) {
  wsc_options *o = given ? options_copy(given) : wsc_options_new();
  int r = o ? wsc_options_set_adapter(o, NULL, NULL) : WSC_ERR_NOMEM;
  if (!r) r = wsc_options_set_int(o, WSC_OPT_KEEPALIVE_INTERVAL_MS, 0);
  if (!r) r = wsc_options_set_int(o, WSC_OPT_DATA_IDLE_TIMEOUT_MS, 0);
  if (!r) r = wsc_options_set_int(o, WSC_OPT_RECEIVE_QUEUE_BYTES, ARENA_BYTES);
  if (!r) r = wsc_options_set_int(o, WSC_OPT_SEND_QUEUE_BYTES, 1);
  if (!r) return o;
  wsc_options_free(o);
  return NULL;
}

int wsc_adapter_builtin(const wsc_options *o, wsc_adapter *vtable, void **self, wsc_error **err) {
  static const wsc_adapter slots = {.struct_size = sizeof slots,
                                    .dial = dial,
                                    .close = close_it,
                                    .ping = ping,
                                    .read = read_it,
                                    .write = write_it,
                                    .underlying = underlying,
                                    .drop = drop};
  if (!vtable || vtable->struct_size < FIRST_ADAPTER || !self)
    return error_set(err, WSC_ERR_INVALID, "adapter: vtable or self is NULL, or its struct_size is not set");
  int r = wsc_options_validate(o, err);
  if (r) return r;
  struct builtin *b = mem_zalloc(sizeof *b);
  if (!b || !(b->options = own_options(o))) {
    mem_free(b);
    return error_set(err, WSC_ERR_NOMEM, "out of memory for an adapter");
  }
  pthread_mutex_init(&b->lock, NULL);
  sized_write(vtable, &slots, sizeof slots);
  *self = b;
  return WSC_OK;
}
