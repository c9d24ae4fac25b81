/* Sending on a connection: whole messages in order whatever the socket takes, room and no room, corks, fragments, many threads. */
#define _GNU_SOURCE
#include "connection_bed.h"

#include "connection.h"
#include "loop_bed.h"

#include <errno.h>

static atomic_int sends; /* calls of send(2) */
static ssize_t (*real_sendv)(int fd, const struct iovec *iov, int count);

static ssize_t counted_sendv(int fd, const struct iovec *iov, int count) {
  sends++;
  return real_sendv(fd, iov, count);
}

static int write_text(struct bed *b, const char *text) {
  return wsc_connection_write(b->k, NULL, WSC_TEXT, (const uint8_t *)text, strlen(text), NULL);
}

static void what_is_no_message_is_refused(bool host) {
  struct bed b;
  wsc_error *e = NULL;
  bed_up(&b, host);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_TEXT, (const uint8_t *)"\xc3\x28", 2, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "UTF-8");
  wsc_error_unref(e);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_TEXT, (const uint8_t *)"\xe2\x82", 2, NULL), WSC_ERR_INVALID);
  CHECK_EQ(wsc_connection_write(b.k, NULL, 3, (const uint8_t *)"x", 1, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "3");
  wsc_error_unref(e);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_BINARY, NULL, 1, NULL), WSC_ERR_INVALID);
  CHECK_EQ(wsc_connection_write(NULL, NULL, WSC_BINARY, NULL, 0, NULL), WSC_ERR_INVALID);
  wsc_outgoing some[] = {{(const uint8_t *)"good", 4, WSC_TEXT, 0}, {(const uint8_t *)"\xff", 1, WSC_TEXT, 0}};
  CHECK_EQ(wsc_connection_write_many(b.k, NULL, some, 2, NULL), WSC_ERR_INVALID); /* and none of them leaves */
  CHECK_EQ(wsc_connection_write_many(b.k, NULL, NULL, 0, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_BINARY, NULL, 0, NULL), WSC_OK); /* an empty message is one */
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_BINARY, (const uint8_t *)"\xff", 1, NULL), WSC_OK);
  peer_expects(&b.peer, 0x82, "", 0);
  peer_expects(&b.peer, 0x82, "\xff", 1);
  bed_down(&b);
}

/* Whether there is room or not: an error must mean that nothing has left, and a forgotten struct_size must not wait for a full queue to show. */
static void a_write_under_a_bad_context_never_begins(bool host) {
  struct bed b;
  wsc_cancel *cancel;
  bed_up(&b, host);
  CHECK_EQ(wsc_cancel_new(&cancel), WSC_OK);
  wsc_cancel_fire(cancel);
  wsc_context canceled = {.struct_size = sizeof canceled, .cancel = cancel}, unsized = {.cancel = NULL};
  wsc_outgoing some[] = {{(const uint8_t *)"a", 1, WSC_TEXT, 0}, {(const uint8_t *)"b", 1, WSC_TEXT, 0}};
  CHECK_EQ(wsc_connection_write(b.k, &canceled, WSC_TEXT, (const uint8_t *)"c", 1, NULL), WSC_ERR_CANCELED);
  CHECK_EQ(wsc_connection_write_many(b.k, &canceled, some, 2, NULL), WSC_ERR_CANCELED);
  CHECK_EQ(wsc_connection_write(b.k, &unsized, WSC_TEXT, (const uint8_t *)"c", 1, NULL), WSC_ERR_INVALID);
  CHECK_EQ(wsc_connection_write_many(b.k, &unsized, some, 2, NULL), WSC_ERR_INVALID);
  CHECK_EQ(write_text(&b, "first"), WSC_OK);
  peer_expects(&b.peer, 0x81, "first", 5);
  bed_down(&b);
  wsc_cancel_free(cancel);
}

/* ---- together ------------------------------------------------------------------------------------------------------ */

static void corked_messages_leave_in_one_write(bool host) {
  struct bed b;
  char one;
  bed_up(&b, host);
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_uncork(b.k, &e), WSC_ERR_STATE);
  wsc_error_unref(e);
  wsc_connection_cork(b.k);
  wsc_connection_cork(b.k);
  for (int i = 0; i < 50; i++) CHECK_EQ(write_text(&b, "small"), WSC_OK);
  peer_text(&b.peer, "traffic"); /* what is read meanwhile lets nothing slip, but pings are answered */
  peer_send(&b.peer, 9, "p", 1);
  bed_reads(&b, "traffic");
  peer_expects(&b.peer, 0x8a, "p", 1);
  CHECK_EQ(wsc_connection_uncork(b.k, NULL), WSC_OK);
  CHECK_EQ(recv(b.peer.fd, &one, 1, MSG_DONTWAIT), -1);
  CHECK_EQ(errno, EAGAIN);
  sends = 0;
  CHECK_EQ(wsc_connection_uncork(b.k, NULL), WSC_OK);
  CHECK_EQ(sends, 1);
  for (int i = 0; i < 50; i++) peer_expects(&b.peer, 0x81, "small", 5);
  bed_down(&b);
}

/* A flood of pings costs no write each. */
static void pings_of_one_receive_are_answered_together(bool host) {
  enum { PINGS = 2000 };
  struct bed b;
  uint8_t frames[PINGS][4];
  bed_up(&b, host);
  for (int i = 0; i < PINGS; i++) {
    const uint8_t ping[4] = {0x89, 2, (uint8_t)(i >> 8), (uint8_t)i};
    memcpy(frames[i], ping, sizeof ping);
  }
  int before = sends;
  peer_bytes(b.peer.fd, frames, sizeof frames);
  for (int i = 0; i < PINGS; i++) peer_expects(&b.peer, 0x8a, (const char *)frames[i] + 2, 2);
  CHECK(sends - before < PINGS / 10);
  bed_down(&b);
}

static void a_cork_holds_back_no_more_than_64_kib(bool host) {
  struct bed b;
  static uint8_t data[20000], got[20000];
  size_t n;
  bed_up(&b, host);
  wsc_connection_cork(b.k);
  for (int i = 0; i < 4; i++) CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_BINARY, data, sizeof data, NULL), WSC_OK);
  CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x82);
  CHECK_EQ(wsc_connection_uncork(b.k, NULL), WSC_OK);
  for (int i = 0; i < 3; i++) CHECK_EQ(peer_frame(&b.peer, got, sizeof got, &n), 0x82);
  bed_down(&b);
}

/* What was written comes before the close frame, corked or not. */
static void a_close_pulls_the_cork(bool host) {
  struct bed b;
  wsc_op *op;
  bed_up(&b, host);
  wsc_connection_cork(b.k);
  CHECK_EQ(write_text(&b, "last"), WSC_OK);
  CHECK_EQ(wsc_connection_close_begin(b.k, NULL, 1000, "", 0, &op, NULL), WSC_OK);
  peer_expects(&b.peer, 0x81, "last", 4);
  peer_expects(&b.peer, 0x88, "\x03\xe8", 2);
  peer_send(&b.peer, 8, "\x03\xe8", 2);
  bed_ends(op, WSC_OK);
  CHECK_EQ(wsc_connection_uncork(b.k, NULL), WSC_ERR_CLOSED);
  bed_down(&b);
}

/* Several writes that wait behind a cork are let in one after the other: nothing but they themselves makes room. */
static void a_cork_keeps_no_write_waiting(void) {
  static const char letters[] = "abcd";
  struct bed b;
  wsc_op *ops[4], *dial;
  bed_options(&b);
  bed_set(&b, WSC_OPT_SEND_QUEUE_BYTES, 1); /* a message at a time */
  CHECK_EQ(wsc_loop_new(NULL, &b.loop, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_new(b.loop, b.peer.url, b.options, &b.k, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_dial_begin(b.k, NULL, 0, &dial, NULL), WSC_OK);
  loop_settle(b.loop);
  peer_accept(&b.peer);
  bed_ends(dial, WSC_OK);
  wsc_connection_cork(b.k);
  for (int i = 0; i < 4; i++) /* nobody drives the loop meanwhile */
    CHECK_EQ(wsc_connection_write_begin(b.k, NULL, WSC_TEXT, (const uint8_t *)&letters[i], 1, 0, &ops[i], NULL),
             WSC_OK);
  CHECK(wsc_op_pending(ops[1]) && wsc_op_pending(ops[3]));
  for (int i = 0; i < 4; i++) bed_ends(ops[i], WSC_OK);
  for (int i = 0; i < 3; i++) peer_expects(&b.peer, 0x81, &letters[i], 1);
  CHECK_EQ(wsc_connection_uncork(b.k, NULL), WSC_OK);
  peer_expects(&b.peer, 0x81, "d", 1);
  wsc_connection_unref(b.k);
  wsc_loop_free(b.loop);
  wsc_options_free(b.options);
  peer_close(&b.peer);
}

static void write_many_is_one_write(bool host) {
  struct bed b;
  wsc_outgoing many[100];
  bed_up(&b, host);
  for (size_t i = 0; i < 100; i++)
    many[i] = (wsc_outgoing){(const uint8_t *)"abcdefghij" + i % 10, 10 - i % 10, i % 2 ? WSC_TEXT : WSC_BINARY, 0};
  sends = 0;
  CHECK_EQ(wsc_connection_write_many(b.k, NULL, many, 100, NULL), WSC_OK);
  CHECK_EQ(sends, 1);
  for (size_t i = 0; i < 100; i++)
    peer_expects(&b.peer, 0x80 | (int)many[i].type, (const char *)many[i].data, many[i].length);
  bed_down(&b);
}

/* ---- fragments ----------------------------------------------------------------------------------------------------- */

/* A ping that comes while a big message is stuck in the socket is answered between two of its fragments. */
static void control_frames_pass_between_fragments(bool host) {
  enum { BIG = 12 << 20 };
  struct bed b;
  uint8_t *data = malloc(BIG), got[4096];
  bed_options(&b);
  bed_set(&b, WSC_OPT_FRAGMENT_BYTES, 4096);
  bed_make(&b, host);
  bed_dial(&b);
  for (size_t i = 0; i < BIG; i++) data[i] = (uint8_t)(i * 7 >> 3);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_BINARY, data, BIG, NULL), WSC_OK);
  CHECK_EQ(write_text(&b, "behind"), WSC_OK);
  peer_send(&b.peer, 9, "you there?", 10);
  peer_text(&b.peer, "seen"); /* read behind the ping */
  bed_reads(&b, "seen");
  size_t at = 0, n;
  bool ponged = false;
  for (int first = 0; !(first & 0x80) || first == 0x8a;) {
    first = peer_frame(&b.peer, got, sizeof got, &n);
    if (first == 0x8a) {
      ponged = true;
      CHECK_BYTES(got, "you there?", n);
      continue;
    }
    CHECK_EQ(first & 15, at == 0 ? 2 : 0);
    CHECK(at + n <= BIG);
    CHECK(memcmp(got, data + at, n) == 0);
    at += n;
  }
  CHECK_EQ(at, BIG);
  CHECK(ponged);
  peer_expects(&b.peer, 0x81, "behind", 6);
  free(data);
  bed_down(&b);
}

/* ---- room ---------------------------------------------------------------------------------------------------------- */

enum { PIECE = 16000 };

/* Numbered messages until there is no room; how many were accepted. */
static uint32_t fill(struct bed *b) {
  uint8_t data[PIECE] = {0};
  wsc_context at_once = {.struct_size = sizeof at_once, .deadline_ns = 1};
  for (uint32_t n = 0;; n++) {
    wsc_error *e = NULL;
    memcpy(data, &n, sizeof n);
    int r = wsc_connection_write_begin(b->k, &at_once, WSC_BINARY, data, sizeof data, 0, NULL, &e);
    if (r == WSC_OK) continue;
    CHECK_EQ(r, WSC_ERR_QUEUE_FULL);
    CHECK_HAS(wsc_error_message(e), "65536");
    wsc_error_unref(e);
    return n;
  }
}

static void expect_number(struct bed *b, uint32_t number) {
  static uint8_t got[PIECE];
  uint32_t n;
  size_t length;
  CHECK_EQ(peer_frame(&b->peer, got, sizeof got, &length), 0x82);
  memcpy(&n, got, sizeof n);
  CHECK_EQ(n, number);
  CHECK_EQ(length, sizeof got);
}

static void small_queue(struct bed *b, bool host) {
  bed_options(b);
  bed_set(b, WSC_OPT_SEND_QUEUE_BYTES, 65536);
  bed_make(b, host);
  bed_dial(b);
}

static void a_full_queue_makes_writes_wait_and_keeps_their_order(bool host) {
  struct bed b;
  uint8_t data[PIECE] = {0};
  wsc_op *first, *second, *given_up, *late;
  small_queue(&b, host);
  uint32_t n = fill(&b);
  CHECK_EQ(wsc_connection_write_begin(b.k, NULL, WSC_BINARY, memcpy(data, &n, 4), sizeof data, 0, &first, NULL),
           WSC_OK);
  CHECK_EQ(wsc_connection_write_begin(b.k, NULL, WSC_TEXT, (const uint8_t *)"never", 5, 0, &given_up, NULL), WSC_OK);
  n++;
  CHECK_EQ(wsc_connection_write_begin(b.k, NULL, WSC_BINARY, memcpy(data, &n, 4), sizeof data, 0, &second, NULL),
           WSC_OK);
  memset(data, 0xff, sizeof data); /* the caller's buffer is its own again */
  wsc_context soon = {.struct_size = sizeof soon, .deadline_ns = wsc_now_ns() + 20 * NS_PER_MS};
  CHECK_EQ(wsc_connection_write_begin(b.k, &soon, WSC_TEXT, (const uint8_t *)"late", 4, 0, &late, NULL), WSC_OK);
  wsc_error *e = NULL;
  CHECK_EQ(wsc_connection_write(b.k, &soon, WSC_TEXT, (const uint8_t *)"late", 4, &e), WSC_ERR_TIMEOUT);
  CHECK_EQ(wsc_error_status(e), WSC_ERR_TIMEOUT);
  wsc_error_unref(e);
  bed_ends(late, WSC_ERR_TIMEOUT);
  wsc_op_cancel(given_up);
  bed_ends(given_up, WSC_ERR_CANCELED);
  CHECK(wsc_op_pending(first) && wsc_op_pending(second));
  for (uint32_t i = 0; i <= n; i++) expect_number(&b, i);
  bed_ends(first, WSC_OK);
  bed_ends(second, WSC_OK);
  CHECK_EQ(write_text(&b, "room again"), WSC_OK);
  peer_expects(&b.peer, 0x81, "room again", 10);
  bed_down(&b);
}

static void a_message_larger_than_the_queue_needs_an_empty_one(bool host) {
  enum { HUGE_ONE = 9 << 20 };
  struct bed b;
  wsc_op *op;
  uint8_t *data = calloc(1, HUGE_ONE), *got = malloc(65536);
  small_queue(&b, host);
  CHECK_EQ(wsc_connection_write(b.k, NULL, WSC_BINARY, data, HUGE_ONE, NULL), WSC_OK); /* queued in full */
  CHECK_EQ(wsc_connection_write_begin(b.k, NULL, WSC_BINARY, data, HUGE_ONE, 0, &op, NULL), WSC_OK);
  CHECK(wsc_op_pending(op));
  size_t at = 0, n;
  while (at < 2 * (size_t)HUGE_ONE) {
    peer_frame(&b.peer, got, 65536, &n);
    at += n;
  }
  bed_ends(op, WSC_OK);
  free(data);
  free(got);
  bed_down(&b);
}

static void *read_numbers(void *arg) {
  struct bed *b = arg;
  for (uint32_t i = 0; i < 3000; i++) expect_number(b, i);
  return NULL;
}

/* write_many waits like write does when there is no room for all. */
static void write_many_waits_for_room(bool host) {
  struct bed b;
  pthread_t reader;
  uint8_t *data = calloc(3000, PIECE);
  wsc_outgoing *many = calloc(3000, sizeof *many);
  small_queue(&b, host);
  for (uint32_t i = 0; i < 3000; i++) {
    memcpy(data + i * (size_t)PIECE, &i, sizeof i);
    many[i] = (wsc_outgoing){data + i * (size_t)PIECE, PIECE, WSC_BINARY, 0};
  }
  CHECK_EQ(pthread_create(&reader, NULL, read_numbers, &b), 0);
  CHECK_EQ(wsc_connection_write_many(b.k, NULL, many, 3000, NULL), WSC_OK);
  pthread_join(reader, NULL);
  free(data);
  free(many);
  bed_down(&b);
}

static void what_was_lost_with_the_link_is_told(bool host) {
  struct bed b;
  static const uint8_t piece[PIECE];
  wsc_op *waiting;
  small_queue(&b, host);
  uint32_t n = fill(&b);
  CHECK(n > 0);
  CHECK_EQ(wsc_connection_write_begin(b.k, NULL, WSC_BINARY, piece, PIECE, 0, &waiting, NULL), WSC_OK);
  pthread_mutex_lock(&b.k->lock);
  uint64_t unsent = b.k->tx_bytes;
  pthread_mutex_unlock(&b.k->lock);
  CHECK(unsent > 65536 - PIECE - 20 && unsent <= 65536 + 5 * 14);
  struct linger hard = {.l_onoff = 1};
  setsockopt(b.peer.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  peer_drop(&b.peer);
  bed_ends(waiting, WSC_ERR_CLOSED);
  CHECK_EQ(bed_closed(&b).unsent_bytes, unsent);
  CHECK_EQ(write_text(&b, "x"), WSC_ERR_CLOSED);
  bed_down(&b);
}

/* ---- many threads -------------------------------------------------------------------------------------------------- */

enum { WRITERS = 4, MESSAGES = 400, LARGEST = 9000 };

struct writer {
  struct bed *bed;
  uint8_t id;
};

static size_t size_of(unsigned i) { return 5 + i * 7919u % (LARGEST - 5); }

/* A message says who wrote it and its number; the rest repeats who. */
static void *write_all(void *arg) {
  struct writer *w = arg;
  uint8_t data[LARGEST];
  memset(data, w->id, sizeof data);
  for (uint32_t i = 0; i < MESSAGES; i++) {
    memcpy(data + 1, &i, sizeof i);
    if (i % 16 == 3) {
      wsc_outgoing one = {data, size_of(i), WSC_BINARY, 0};
      CHECK_EQ(wsc_connection_write_many(w->bed->k, NULL, &one, 1, NULL), WSC_OK);
    } else {
      CHECK_EQ(wsc_connection_write(w->bed->k, NULL, WSC_BINARY, data, size_of(i), NULL), WSC_OK);
    }
  }
  return NULL;
}

static void messages_of_several_threads_never_mix(bool host) {
  struct bed b;
  pthread_t threads[WRITERS];
  struct writer writers[WRITERS];
  uint32_t next[WRITERS] = {0};
  static uint8_t message[LARGEST];
  bed_options(&b);
  bed_set(&b, WSC_OPT_FRAGMENT_BYTES, 1024);
  bed_set(&b, WSC_OPT_SEND_QUEUE_BYTES, 30000);
  bed_make(&b, host);
  bed_dial(&b);
  for (uint8_t i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){&b, i};
    CHECK_EQ(pthread_create(&threads[i], NULL, write_all, &writers[i]), 0);
  }
  for (int total = 0; total < WRITERS * MESSAGES; total++) {
    size_t at = 0, n;
    for (int first = 0; !(first & 0x80);) {
      first = peer_frame(&b.peer, message + at, sizeof message - at, &n);
      CHECK_EQ(first & 15, at == 0 ? 2 : 0);
      at += n;
    }
    uint8_t who = message[0];
    uint32_t number;
    memcpy(&number, message + 1, sizeof number);
    CHECK(who < WRITERS);
    CHECK_EQ(number, next[who]++);
    CHECK_EQ(at, size_of(number));
    for (size_t i = 5; i < at; i++) CHECK_EQ(message[i], who);
    if (total % 64 == 0) peer_text(&b.peer, "meanwhile"); /* and reads go on beside the writes */
  }
  for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
  for (int total = 0; total < WRITERS * MESSAGES; total += 64) bed_reads(&b, "meanwhile");
  bed_down(&b);
}

int main(void) {
  real_sendv = os_io.sendv;
  os_io.sendv = counted_sendv;
  for (int host = 0; host < 2; host++) {
    what_is_no_message_is_refused(host);
    a_write_under_a_bad_context_never_begins(host);
    corked_messages_leave_in_one_write(host);
    pings_of_one_receive_are_answered_together(host);
    a_cork_holds_back_no_more_than_64_kib(host);
    a_close_pulls_the_cork(host);
    write_many_is_one_write(host);
    control_frames_pass_between_fragments(host);
    a_full_queue_makes_writes_wait_and_keeps_their_order(host);
    a_message_larger_than_the_queue_needs_an_empty_one(host);
    write_many_waits_for_room(host);
    what_was_lost_with_the_link_is_told(host);
    messages_of_several_threads_never_mix(host);
  }
  a_cork_keeps_no_write_waiting();
  return 0;
}
