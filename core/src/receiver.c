/* The receiver. One advance is one pass over what has come:
 *
 * - Frames that are whole are decoded by wslay. A whole message becomes a record where it lies; fragments are moved
 *   together where they lie (over headers that have been read); control frames go to the sink.
 * - At the end there may be the start of a frame (the tail). Its header is judged at once, a text's bytes too, and
 *   then it either stays where it is until `need` bytes are there (only counted, not decoded again), or, above
 *   WHOLE_FRAME, is taken over into a block into which the rest is received straight (assemble.c).
 * - A compressed message is gathered in the same ways and inflated when it is whole (unpack.c).
 * - What is known of an unfinished message between two passes is in the receiver; bytes of it that lie in the arena,
 *   but in front of the tail, are saved into the block at the end of the pass.
 *
 * Records never move: an arena others refer to (refs > 1) is only written behind `end`. */
#include "receiver.h"

#include "assemble.h"
#include "decode.h"
#include "deflate.h"
#include "inspect.h"
#include "mem.h"
#include "unpack.h"

#include <string.h>

enum {
  WHOLE_FRAME = ARENA_BYTES / 2, /* frames up to this wait for their end in the arena */
  ROOM = ARENA_BYTES / 4,        /* less than this is not worth a receive when there can be more */
  TURN_MOST = 1 << 20 /* of a large payload at once: others of the loop are waiting, under TLS the lock is held */
};

struct pass {
  struct receiver *r;
  const struct receiver_sink *sink;
  struct wsc_batch *batch;  /* messages found in the arena; NULL: none yet */
  uint8_t *base;            /* what its offsets count from */
  uint8_t *gathered;        /* the unfinished message lies here in the arena; NULL: in r->block, or there is none */
  struct unpacked unpacked; /* messages that were inflated. One of it and batch is empty: order is kept */
  uint64_t enough;          /* r->unpacked_bytes with which the pass ends */
};

void receiver_init(struct receiver *r, struct arena_pool *pool, uint64_t max_message) {
  *r = (struct receiver){.pool = pool, .max_message = max_message <= UINT32_MAX ? max_message : UINT32_MAX};
  r->simple_below = r->max_message + 1;
}

void receiver_trace(struct receiver *r, receiver_frame *frame, void *self) {
  r->frame = frame;
  r->frame_self = self;
  r->simple_below = 0; /* so that the simple path costs nobody a branch more */
}

void receiver_free(struct receiver *r) {
  if (r == NULL) return;
  mem_free(r->told);
  r->told = NULL;
  r->fault = NULL;
  arena_unref(r->arena);
  r->arena = NULL;
  assemble_drop(r);
  inflater_free(r->inflater);
  r->inflater = NULL;
}

int receiver_inflates(struct receiver *r, int bits, bool forgetful) {
  r->inflater = inflater_new(bits, forgetful);
  return r->inflater != NULL ? WSC_OK : WSC_ERR_NOMEM;
}

static int no_memory(struct receiver *r) {
  return receiver_fail(r, WSC_ERR_NOMEM, WSC_CLOSE_INTERNAL_ERROR, "out of memory", "out of memory while receiving");
}

/* ---- where to receive to ---- */

static bool our_own(struct arena *a) { return atomic_load_explicit(&a->refs, memory_order_acquire) == 1; }

/* Provides r->arena with room for the frame at start, and for more. */
static bool make_room(struct receiver *r) {
  size_t pending = r->end - r->start;
  if (r->arena != NULL) {
    bool own = our_own(r->arena);
    if (own && pending == 0) r->start = r->end = 0;
    bool fits = r->need <= ARENA_BYTES - r->start && ARENA_BYTES - r->end >= ROOM;
    if (fits || (own && r->start == 0)) return true;
    if (own) {
      memmove(r->arena->bytes, r->arena->bytes + r->start, pending);
      r->start = 0;
      r->end = pending;
      return true;
    }
  }
  struct arena *fresh = arena_get(r->pool);
  if (fresh == NULL) return false;
  if (r->arena != NULL) {
    memcpy(fresh->bytes, r->arena->bytes + r->start, pending);
    arena_unref(r->arena);
  } else {
    memcpy(fresh->bytes, r->tail, r->tail_length);
    pending = r->tail_length;
    r->tail_length = 0;
  }
  r->arena = fresh;
  r->start = 0;
  r->end = pending;
  return true;
}

int receiver_space(struct receiver *r, struct iovec iov[2]) {
  int count = 0;
  if (r->closed || r->failed != 0) { /* read and thrown away */
    assemble_drop(r);
    r->start = r->end;
    r->need = r->tail_length = 0;
  }
  if (r->rest > TURN_MOST) {
    iov[0] = (struct iovec){.iov_base = r->block + r->length, .iov_len = TURN_MOST};
    return 1;
  }
  if (r->rest > 0) iov[count++] = (struct iovec){.iov_base = r->block + r->length, .iov_len = (size_t)r->rest};
  if (make_room(r)) {
    iov[count++] = (struct iovec){.iov_base = r->arena->bytes + r->end, .iov_len = ARENA_BYTES - r->end};
  }
  return count > 0 ? count : WSC_ERR_NOMEM;
}

/* ---- messages ---- */

/* Gives out the messages found in the arena. */
static void flush(struct pass *p) {
  struct wsc_batch *b = p->batch;
  p->batch = NULL;
  if (b == NULL) return;
  if (b->count == 0) {
    batch_unref(b);
    return;
  }
  const wsc_record *last = &b->records[b->count - 1];
  b->base = p->base;
  b->length = last->offset + last->length;
  b->received_ns = p->unpacked.received_ns;
  b->arena = p->r->arena;
  arena_ref(b->arena);
  batch_queue_push(p->unpacked.out, b);
}

static int deliver_slowly(struct pass *p, const uint8_t *payload, size_t length, int type) {
  unpack_flush(&p->unpacked);
  if (p->batch == NULL && (p->batch = batch_new(p->r->pool)) == NULL) return no_memory(p->r);
  if (batch_push(p->batch, (uint64_t)(payload - p->base), (uint32_t)length, type) != WSC_OK) return no_memory(p->r);
  return WSC_OK;
}

static inline int deliver(struct pass *p, const uint8_t *payload, size_t length, int type) {
  struct wsc_batch *b = p->batch;
  if (b == NULL || b->count == b->capacity) return deliver_slowly(p, payload, length, type);
  b->records[b->count++] =
      (wsc_record){.offset = (uint64_t)(payload - p->base), .length = (uint32_t)length, .type = (uint16_t)type};
  b->payload += length;
  return WSC_OK;
}

/* n bytes of a text that begin at `at` in its message. */
static int check_text(struct receiver *r, const uint8_t *bytes, size_t n, uint64_t at) {
  struct utf8 before = r->utf8;
  return utf8_feed(&r->utf8, bytes, n) ? WSC_OK : inspect_text_fault(r, before, bytes, n, at);
}

static int check_text_end(struct receiver *r, uint64_t length) {
  return utf8_complete(&r->utf8) ? WSC_OK : inspect_text_fault(r, r->utf8, NULL, 0, length);
}

/* A whole data frame that is not simply a whole message of which nothing is known yet. */
static int data_frame(struct pass *p, const struct frame_head *head, uint8_t *payload) {
  struct receiver *r = p->r;
  size_t length = (size_t)head->length, checked = r->checked;
  r->checked = 0;
  int type = r->opcode != 0 ? r->opcode : head->opcode;
  if (r->opcode == 0) r->compressed = head->compressed;
  uint64_t whole = r->length + length;
  int status = WSC_OK;
  if (type == OPCODE_TEXT && !r->compressed) {
    status = check_text(r, payload + checked, length - checked, r->length + checked);
    if (status == WSC_OK && head->fin) status = check_text_end(r, whole);
    if (status != WSC_OK) return status;
  }

  if (r->opcode == 0) { /* first frame */
    if (!head->fin) r->opcode = type;
    p->gathered = payload;
  } else if (p->gathered != NULL) {
    memmove(p->gathered + r->length, payload, length);
  } else {
    status = assemble_add(r, payload, length);
    if (status != WSC_OK) return status;
  }
  r->length = whole;
  if (!head->fin) return WSC_OK;

  uint8_t *gathered = p->gathered;
  p->gathered = NULL;
  if (r->compressed) {
    flush(p);
    return unpack(&p->unpacked, gathered != NULL ? gathered : r->block, (size_t)whole, type);
  }
  /* A message in the block began before this pass, so no other one has been found in it yet: order is kept. */
  if (gathered == NULL) return assemble_finish(r, p->unpacked.received_ns, p->unpacked.out);
  status = deliver(p, gathered, (size_t)whole, type);
  r->length = 0;
  r->opcode = 0;
  r->utf8.state = 0;
  return status;
}

/* Any whole frame but a simple message. p->r->closed after a close frame. */
static int other_frame(struct pass *p, uint8_t *at, size_t n) {
  struct receiver *r = p->r;
  struct frame_head head;
  int status = inspect_head(r, at, n, &head);
  if (status != WSC_OK) return status;
  uint8_t *payload = at + head.size;
  if (r->frame) r->frame(r->frame_self, *at, payload, (size_t)head.length);
  if (head.opcode < OPCODE_CLOSE) return data_frame(p, &head, payload);
  if (head.opcode == OPCODE_CLOSE) {
    status = inspect_close(r, payload, (size_t)head.length);
    if (status != WSC_OK) return status;
    r->closed = true;
  }
  p->sink->control(p->sink->self, head.opcode, payload, (size_t)head.length);
  return WSC_OK;
}

/* ---- the pass ---- */

/* What wslay reports as a whole message, and nothing more has to be known of it. */
static inline bool simple_message(const struct receiver *r, const struct wslay_frame_iocb *io) {
  return io->fin != 0 && (io->rsv | io->mask | r->opcode) == 0 && io->opcode - 1u < 2u && r->checked == 0 &&
         io->payload_length < r->simple_below;
}

/* What was inflated is enough for one pass, which ends between two messages. */
static bool satisfied(const struct pass *p) { return p->r->unpacked_bytes >= p->enough && p->r->opcode == 0; }

/* Decodes the whole frames in [start, end) and moves start behind the last of them. */
static int parse(struct pass *p) {
  struct receiver *r = p->r;
  struct arena *a = r->arena;
  if (a->decoder == NULL && (a->decoder = decoder_new()) == NULL) return no_memory(r);
  struct decoder *d = a->decoder;
  uint8_t *at = a->bytes + r->start, *whole = a->bytes + r->end, *end = whole;
  if (decoder_begin(d, at, end) != WSC_OK) return no_memory(r);

  int status = WSC_OK;
  while (at != end) {
    struct wslay_frame_iocb io;
    ssize_t got = wslay_frame_recv(d->context, &io);
    if (got < 0) break; /* no more, or refused: the tail's header is looked at in any case */
    size_t header = io.payload_length < 126 ? 2 : io.payload_length < 65536 ? 4 : 10; /* wslay refuses longer forms */
    uint8_t *payload = at + header;
    if (io.payload_length > (uint64_t)(end - payload)) break;
    size_t length = (size_t)io.payload_length;

    if (simple_message(r, &io)) {
      if (io.opcode == OPCODE_TEXT && !utf8_valid(payload, length)) {
        status = inspect_text_fault(r, (struct utf8){0}, payload, length, 0);
      } else {
        status = deliver(p, payload, length, io.opcode);
      }
    } else {
      status = other_frame(p, at, (size_t)(end - at));
      if (satisfied(p)) end = payload + length;
    }
    if (status != WSC_OK || r->closed) break;
    if ((size_t)got != length && decoder_pass_over(d, length - (size_t)got) != WSC_OK) break;
    at = payload + length;
  }
  if (at != whole) decoder_spoil(d);
  r->more = at == end && end != whole;
  r->start = (size_t)(at - a->bytes);
  return status;
}

/* Judges the start of a frame at the end of what has come: header, and text as far as it goes. */
static int look_at_tail(struct receiver *r, struct frame_head *head) {
  const uint8_t *tail = r->arena->bytes + r->start;
  size_t n = r->end - r->start;
  int status = inspect_head(r, tail, n, head);
  if (status != WSC_OK) return status;
  r->need = head->need;
  int type = head->opcode == OPCODE_CONTINUATION ? r->opcode : head->opcode;
  bool compressed = r->opcode != 0 ? r->compressed : head->compressed;
  if (head->size == 0 || type != OPCODE_TEXT || compressed) return WSC_OK;
  size_t here = n - head->size, fresh = here - r->checked;
  status = check_text(r, tail + head->size + r->checked, fresh, r->length + r->checked);
  r->checked = here;
  return status;
}

/* The tail's payload moves into the block, and what is still to come of it will be received there. */
static int take_over_tail(struct receiver *r, const struct frame_head *head) {
  const uint8_t *start = r->arena->bytes + r->start, *payload = start + head->size;
  r->first = *start;
  r->frame_length = head->length;
  if (r->opcode == 0) r->compressed = head->compressed;
  int status = assemble_large(r, payload, r->end - r->start - head->size, head->length, head->fin);
  if (status != WSC_OK) return status;
  if (r->opcode == 0) r->opcode = head->opcode;
  r->start = r->end;
  r->need = r->checked = 0;
  return WSC_OK;
}

/* Parses what is whole and settles what is not. */
static int parse_and_keep(struct pass *p) {
  struct receiver *r = p->r;
  if (r->end - r->start >= r->need) {
    r->need = 0;
    int status = parse(p);
    if (status != WSC_OK || r->closed || r->more) return status;
  }
  if (p->gathered != NULL) {
    size_t n = (size_t)r->length;
    r->length = 0;
    int status = assemble_add(r, p->gathered, n);
    if (status != WSC_OK) return status;
  }
  if (r->start == r->end) return WSC_OK;

  struct frame_head head;
  int status = look_at_tail(r, &head);
  if (status != WSC_OK) return status;
  if (r->end - r->start >= head.need) {
    return receiver_fail(r, WSC_ERR_PROTOCOL, WSC_CLOSE_PROTOCOL_ERROR, "malformed frame",
                         "the frame decoder refused a frame");
  }
  return head.size != 0 && head.need > WHOLE_FRAME ? take_over_tail(r, &head) : WSC_OK;
}

/* m bytes have come straight into the block. */
static int assembled(struct pass *p, size_t m) {
  struct receiver *r = p->r;
  uint64_t before = r->length;
  r->length += m;
  r->rest -= m;
  if (r->opcode == OPCODE_TEXT && !r->compressed) {
    int status = check_text(r, r->block + before, m, before);
    if (status != WSC_OK) return status;
  }
  if (r->rest > 0) return WSC_OK;
  if (r->frame) r->frame(r->frame_self, r->first, r->block + r->length - r->frame_length, (size_t)r->frame_length);
  if (!r->last_frame) return WSC_OK;
  if (r->compressed) return unpack(&p->unpacked, r->block, (size_t)r->length, r->opcode);
  int status = r->opcode == OPCODE_TEXT ? check_text_end(r, r->length) : WSC_OK;
  return status == WSC_OK ? assemble_finish(r, p->unpacked.received_ns, p->unpacked.out) : status;
}

int receiver_advance(struct receiver *r, size_t n, int64_t received_ns, struct batch_queue *out,
                     const struct receiver_sink *sink) {
  bool more = r->more;
  r->more = false;
  if (r->failed != 0) return r->failed;
  if (r->closed) return WSC_OK;
  struct pass p = {.r = r,
                   .sink = sink,
                   .unpacked = {.r = r, .out = out, .received_ns = received_ns},
                   .enough = r->unpacked_bytes + ARENA_BYTES};
  int status = WSC_OK;
  if (r->rest > 0) {
    size_t m = n < r->rest ? n : (size_t)r->rest;
    status = assembled(&p, m);
    n -= m;
  }
  if (status == WSC_OK && (n > 0 || more)) {
    r->end += n;
    p.base = r->arena->bytes + r->start;
    r->more = satisfied(&p);
    if (!r->more) status = parse_and_keep(&p);
  }
  flush(&p);
  unpack_flush(&p.unpacked);
  return status;
}

/* ---- at rest ---- */

void receiver_rest(struct receiver *r) {
  if (r->more) return;
  if (r->inflater != NULL) inflater_rest(r->inflater);
  if (r->arena == NULL) return;
  size_t pending = r->end - r->start;
  if (pending > 0 && !r->closed && r->failed == 0) {
    struct frame_head head;
    if (inspect_head(r, r->arena->bytes + r->start, pending, &head) != WSC_OK) return;
    if (head.size != 0 && head.opcode < OPCODE_CLOSE) {
      if (take_over_tail(r, &head) != WSC_OK) {
        r->failed = 0; /* no fault: without memory for the block, the arena stays */
        return;
      }
    } else {
      /* less than a header, or than a control frame's 127 bytes */
      memcpy(r->tail, r->arena->bytes + r->start, pending);
      r->tail_length = pending;
    }
  }
  arena_unref(r->arena);
  r->arena = NULL;
  r->start = r->end = 0;
}
