/* The built-in connection behind an adapter's slots, called as a decorator calls them. */
#include "batch.h"
#include "connection_bed.h"

static atomic_bool may_read;
static ssize_t (*real_recvv)(int fd, struct iovec *iov, int count);

/* Nothing is read until all of it is there. */
static ssize_t late_recvv(int fd, struct iovec *iov, int count) {
  while (!may_read) usleep(1000);
  return real_recvv(fd, iov, count);
}

struct dialing {
  wsc_adapter slots;
  void *self;
  const char *url;
};

static void *dial(void *arg) {
  struct dialing *d = arg;
  wsc_error *e = NULL;
  CHECK_EQ(d->slots.dial(d->self, NULL, d->url, NULL, NULL, &e), WSC_OK);
  return NULL;
}

/* Empty messages have no bytes that could be counted: a peer that sends them without end must not keep a read from returning. */
static void a_read_brings_no_more_than_an_arena_s_worth_of_empty_messages(void) {
  enum { MESSAGES = 30000 };
  static uint8_t frames[MESSAGES][2];
  struct dialing d = {.slots = {.struct_size = sizeof d.slots}};
  struct peer peer;
  pthread_t dialer;
  peer_listen(&peer);
  d.url = peer.url;
  CHECK_EQ(wsc_adapter_builtin(NULL, &d.slots, &d.self, NULL), WSC_OK);
  may_read = true;
  CHECK_EQ(pthread_create(&dialer, NULL, dial, &d), 0);
  peer_accept(&peer);
  pthread_join(dialer, NULL);
  may_read = false;
  for (int i = 0; i < MESSAGES; i++) frames[i][0] = 0x82;
  peer_bytes(peer.fd, frames, sizeof frames);
  may_read = true;
  for (uint32_t total = 0; total < MESSAGES;) {
    struct batch_room room = {.limit = 100};
    struct wsc_batch *b = batch_new(NULL);
    b->room = &room;
    CHECK_EQ(d.slots.read(d.self, NULL, b, NULL), WSC_OK);
    CHECK(b->count > 0 && b->count <= 1 + ARENA_BYTES / sizeof(wsc_record));
    total += b->count;
    batch_unref(b);
  }
  d.slots.drop(d.self);
  peer_close(&peer);
}

int main(void) {
  real_recvv = os_io.recvv;
  os_io.recvv = late_recvv;
  a_read_brings_no_more_than_an_arena_s_worth_of_empty_messages();
  return 0;
}
