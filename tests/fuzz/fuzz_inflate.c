/* Several messages of one DEFLATE stream, through rooms of any size: it ends, it stays in its room, and two rooms give the
 * same. */
#include "deflate.h"
#include "fuzz.h"
#include "wscengine.h"

enum { MOST = 200000 };

static int inflate_some(struct inflater *f, const uint8_t *p, size_t n, size_t room, size_t *length, uint64_t *hash) {
  uint8_t *out = malloc(room);
  const char *why = NULL;
  int status = WSC_AGAIN;
  *length = 0;
  *hash = 1;
  inflater_begin(f, p, n);
  while (status == WSC_AGAIN && *length < MOST) {
    size_t wrote = 0;
    status = inflater_run(f, out, room, &wrote, &why);
    PROMISE(wrote <= room && (status != WSC_AGAIN || wrote == room));
    PROMISE(status != WSC_ERR_INVALID || (why && *why));
    for (size_t i = 0; i < wrote && *length + i < MOST; i++) *hash = (*hash ^ out[i]) * UINT64_C(1099511628211);
    *length += wrote;
  }
  free(out);
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  uint8_t head = take_byte(&in);
  int bits = 8 + head % 8;
  bool forgetful = (head & 8) != 0;
  size_t room = 1 + (size_t)take_byte(&in) * 4;
  struct inflater *one = inflater_new(bits, forgetful), *other = inflater_new(bits, forgetful);
  PROMISE(one && other);
  int status = WSC_OK, same = WSC_OK;
  while (in.n > 0 && status == WSC_OK && same == WSC_OK) {
    size_t n, length[2];
    uint64_t hash[2];
    uint8_t *message = take_copy(&in, (size_t)take_byte(&in) * 4, &n);
    status = inflate_some(one, message, n, room, &length[0], &hash[0]);
    same = inflate_some(other, message, n, 4096, &length[1], &hash[1]);
    /* zlib refuses a distance beyond the window only where what it refers to is no longer in the room: a peer that
     * exceeds the window it agreed on is caught or not, by the size of the room. Of 32 KiB no distance is beyond. */
    if (bits == 15 && length[0] < MOST && length[1] < MOST) PROMISE(status == same);
    if (status == WSC_OK && same == WSC_OK) PROMISE(length[0] == length[1] && hash[0] == hash[1]);
    free(message);
  }
  inflater_free(one);
  inflater_free(other);
  return 0;
}
