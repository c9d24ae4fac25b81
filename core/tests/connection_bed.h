/* A connection without an engine and its scripted peer, on the library's own loop or on a host's loop that one thread runs. */
#ifndef WSC_CONNECTION_BED_H
#define WSC_CONNECTION_BED_H

#include "os.h"
#include "peer.h"
#include "wscengine.h"

#include <pthread.h>
#include <stdatomic.h>

static const int64_t LONG = 10 * NS_PER_S; /* nothing here takes so long unless it hangs */

struct bed {
  struct peer peer;
  wsc_options *options;
  wsc_loop *loop; /* NULL: the library's own */
  pthread_t lender;
  atomic_bool over;
  wsc_connection *k;
};

static inline void *bed_lend(void *arg) {
  struct bed *b = arg;
  while (!b->over) {
    wsc_event ev = {.struct_size = sizeof ev};
    if (wsc_loop_next(b->loop, -1, &ev) == WSC_OK) wsc_event_done(&ev, NULL);
  }
  return NULL;
}

static inline void bed_options(struct bed *b) {
  *b = (struct bed){0};
  peer_listen(&b->peer);
  b->options = wsc_options_new();
  CHECK(b->options != NULL);
}

static inline void bed_set(struct bed *b, int option, int64_t value) {
  CHECK_EQ(wsc_options_set_int(b->options, option, value), WSC_OK);
}

static inline void bed_make(struct bed *b, bool host) {
  if (host) {
    CHECK_EQ(wsc_loop_new(NULL, &b->loop, NULL), WSC_OK);
    CHECK_EQ(pthread_create(&b->lender, NULL, bed_lend, b), 0);
  }
  CHECK_EQ(wsc_connection_new(b->loop, b->peer.url, b->options, &b->k, NULL), WSC_OK);
}

/* Waits for an operation, which must end so; drops it. */
static inline void bed_ends(wsc_op *op, int status) {
  wsc_error *e = NULL;
  CHECK_EQ(wsc_op_wait(op, LONG, &e), status);
  CHECK_EQ(wsc_error_status(e), status == WSC_OK ? 0 : status);
  wsc_error_unref(e);
  wsc_op_unref(op);
}

static inline void bed_dial(struct bed *b) {
  wsc_op *op;
  CHECK_EQ(wsc_connection_dial_begin(b->k, NULL, 0, &op, NULL), WSC_OK);
  peer_accept(&b->peer);
  bed_ends(op, WSC_OK);
}

static inline void bed_up(struct bed *b, bool host) {
  bed_options(b);
  bed_make(b, host);
  bed_dial(b);
}

static inline void bed_down(struct bed *b) {
  wsc_connection_unref(b->k);
  if (b->loop) {
    b->over = true;
    wsc_loop_wake(b->loop);
    pthread_join(b->lender, NULL);
    wsc_loop_free(b->loop);
  }
  wsc_options_free(b->options);
  peer_close(&b->peer);
}

/* The next message must be this text. */
static inline void bed_reads(struct bed *b, const char *text) {
  wsc_message m = {.struct_size = sizeof m};
  wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + LONG};
  CHECK_EQ(wsc_connection_read(b->k, &c, &m, NULL), WSC_OK);
  CHECK_EQ(m.length, strlen(text));
  CHECK_BYTES(m.data, text, m.length);
  wsc_message_free(&m);
}

/* A read must fail so; the close code in its error. */
static inline int bed_read_fails(struct bed *b, int status) {
  wsc_message m = {.struct_size = sizeof m};
  wsc_context c = {.struct_size = sizeof c, .deadline_ns = wsc_now_ns() + LONG};
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_read(b->k, &c, &m, &e), status);
  CHECK_EQ(wsc_error_status(e), status);
  int code = wsc_error_close_code(e);
  wsc_error_unref(e);
  return code;
}

static inline wsc_close bed_closed(struct bed *b) {
  wsc_close c = {.struct_size = sizeof c};
  CHECK(wsc_connection_closed(b->k, &c));
  return c;
}

#define PEER_LITERAL(peer, literal) peer_bytes((peer)->fd, literal, sizeof(literal) - 1)

static inline void peer_text(const struct peer *p, const char *text) { peer_send(p, 1, text, strlen(text)); }

/* The peer's next frame must be this one. */
static inline void peer_expects(const struct peer *p, int first, const char *payload, size_t n) {
  uint8_t got[65536];
  size_t length;
  CHECK_EQ(peer_frame(p, got, sizeof got, &length), first);
  CHECK_EQ(length, n);
  CHECK_BYTES(got, payload, n);
}

static inline void peer_expects_end(const struct peer *p) {
  uint8_t one;
  CHECK_EQ(recv(p->fd, &one, 1, 0), 0);
}

static inline size_t close_payload(uint8_t *out, int code, const char *reason) {
  size_t n = strlen(reason);
  out[0] = (uint8_t)(code >> 8);
  out[1] = (uint8_t)code;
  memcpy(out + 2, reason, n);
  return n + 2;
}

#endif
