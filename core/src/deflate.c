/* zlib, driven a message at a time. */
#include "deflate.h"

#include "wscengine/status.h"

#include <limits.h>
#include <stdint.h>
#define ZLIB_CONST
#include <zlib.h>

static const uint8_t tail[] = {0x00, 0x00, 0xff, 0xff}; /* an empty stored block, without its first three bits */

static void *allocate(void *self, unsigned count, unsigned size) {
  (void)self;
  return mem_alloc((size_t)count * size);
}

static void release(void *self, void *p) {
  (void)self;
  mem_free(p);
}

static unsigned at_most(size_t n) { return n < UINT_MAX ? (unsigned)n : UINT_MAX; }

/* ---- inflating ---- */

struct inflater {
  z_stream z;
  int bits;
  bool forgetful;
  bool live;   /* z has been made */
  bool begun;  /* z has been given the first of it */
  bool ending; /* the payload has been read, the tail is being read */
  const uint8_t *rest;
  size_t rest_length; /* of the payload, behind what z was given */
};

static int make(struct inflater *f) {
  if (f->live) return WSC_OK;
  f->z = (z_stream){.zalloc = allocate, .zfree = release};
  if (inflateInit2(&f->z, -f->bits) != Z_OK) return WSC_ERR_NOMEM;
  f->live = true;
  return WSC_OK;
}

struct inflater *inflater_new(int bits, bool forgetful) {
  struct inflater *f = mem_zalloc(sizeof *f);
  if (f == NULL) return NULL;
  f->bits = bits;
  f->forgetful = forgetful;
  if (make(f) == WSC_OK) return f;
  inflater_free(f);
  return NULL;
}

static void unmake(struct inflater *f) {
  if (f->live) inflateEnd(&f->z);
  f->live = false;
}

void inflater_free(struct inflater *f) {
  if (f == NULL) return;
  unmake(f);
  mem_free(f);
}

void inflater_rest(struct inflater *f) {
  if (f->forgetful) unmake(f);
}

void inflater_begin(struct inflater *f, const uint8_t *p, size_t n) {
  f->rest = p;
  f->rest_length = n;
  f->begun = f->ending = false;
  if (f->live) f->z.avail_in = 0;
  if (f->live && f->forgetful) inflateReset(&f->z);
}

/* Gives z more to read; false: all has been read. */
static bool feed(struct inflater *f) {
  if (f->rest_length > 0) {
    f->z.next_in = f->rest;
    f->z.avail_in = at_most(f->rest_length);
    f->rest += f->z.avail_in;
    f->rest_length -= f->z.avail_in;
    return true;
  }
  if (f->ending) return false;
  f->ending = true;
  f->z.next_in = tail;
  f->z.avail_in = sizeof tail;
  return true;
}

/* Whether a message may end here: no block is open, and the last one ended with its byte (zlib.h on data_type). */
static bool between_blocks(const z_stream *z) { return (z->data_type & 128) != 0 && (z->data_type & 63) == 0; }

int inflater_run(struct inflater *f, uint8_t *out, size_t room, size_t *wrote, const char **why) {
  z_stream *z = &f->z;
  *wrote = 0;
  if (make(f) != WSC_OK) return WSC_ERR_NOMEM;
  unsigned given = at_most(room);
  z->next_out = out;
  z->avail_out = given;
  if (!f->begun) (void)feed(f);
  f->begun = true;
  int status = WSC_AGAIN;
  while (status == WSC_AGAIN && z->avail_out > 0) {
    int result = inflate(z, Z_SYNC_FLUSH); /* also without input: it may hold the end of a block still */
    if (result == Z_STREAM_END) {
      /* A block said it was the last (RFC 7692 section 7.2.3.4). What may follow it knows the same history, which
       * inflateReset would drop. */
      inflateResetKeep(z);
      if (z->avail_in == 0 && f->rest_length == 0) status = WSC_OK;
    } else if (result == Z_MEM_ERROR) {
      status = WSC_ERR_NOMEM;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      status = WSC_ERR_INVALID;
      *why = z->msg != NULL ? z->msg : "not a DEFLATE stream";
    } else if (f->ending && z->avail_in == 0 && between_blocks(z)) {
      status = WSC_OK;
    } else if (z->avail_out > 0 && (z->avail_in > 0 || !feed(f))) {
      status = WSC_ERR_INVALID;
      *why = "it ends in the middle of a block";
    }
  }
  *wrote = given - z->avail_out;
  return status;
}

/* ---- deflating ---- */

struct deflater {
  z_stream z;
  bool forgetful;
};

struct deflater *deflater_new(int bits, int level, bool forgetful) {
  enum { MEMORY_LEVEL = 8 }; /* zlib's default: 128 KiB of hash chains beside four windows */
  struct deflater *d = mem_zalloc(sizeof *d);
  if (d == NULL) return NULL;
  d->z.zalloc = allocate;
  d->z.zfree = release;
  d->forgetful = forgetful;
  if (deflateInit2(&d->z, level, Z_DEFLATED, -bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK) return d;
  mem_free(d);
  return NULL;
}

void deflater_free(struct deflater *d) {
  if (d == NULL) return;
  deflateEnd(&d->z);
  mem_free(d);
}

void deflater_forget(struct deflater *d) { deflateReset(&d->z); }

/* Everything that z has to give for what it was given. */
static int flush_into(z_stream *z, int how, struct buffer *out) {
  do {
    if (buffer_reserve(out, (size_t)z->avail_in / 2 + 64) != WSC_OK) return WSC_ERR_NOMEM;
    unsigned room = at_most(out->capacity - out->length);
    z->next_out = out->data + out->length;
    z->avail_out = room;
    deflate(z, how);
    out->length += room - z->avail_out;
  } while (z->avail_out == 0 || z->avail_in > 0);
  return WSC_OK;
}

int deflater_run(struct deflater *d, const uint8_t *p, size_t n, struct buffer *out) {
  size_t before = out->length;
  int status;
  do {
    d->z.next_in = p;
    d->z.avail_in = at_most(n);
    p += d->z.avail_in;
    n -= d->z.avail_in;
    status = flush_into(&d->z, n > 0 ? Z_NO_FLUSH : Z_SYNC_FLUSH, out);
  } while (status == WSC_OK && n > 0);
  if (status != WSC_OK) {
    out->length = before;
    deflater_forget(d);
    return status;
  }
  out->length -= sizeof tail;
  if (d->forgetful) deflater_forget(d);
  return WSC_OK;
}
