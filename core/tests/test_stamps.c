/* When a message came: when it was read, or when the kernel got it. */
#define _GNU_SOURCE
#include "driven_bed.h"

#include <time.h>

static int64_t received(bool kernel_stamps, int64_t *arrived, int64_t *read) {
  struct bed b;
  wsc_options *o = wsc_options_new();
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_KERNEL_STAMPS, kernel_stamps), WSC_OK);
  open_it(&b, o);
  wsc_options_free(o);
  peer_send(&b.peer, 1, "now", 3);
  struct pollfd p = {.fd = wsc_loop_fd(b.loop), .events = POLLIN};
  CHECK_EQ(poll(&p, 1, 10000), 1);
  *arrived = os_unix_ns();
  while (os_unix_ns() < *arrived + 20 * NS_PER_MS) nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
  *read = os_unix_ns();
  wsc_event ev = expect(&b, WSC_EVENT_BATCH);
  int64_t at = ev.received_ns;
  CHECK_EQ(wsc_event_done(&ev, NULL), WSC_OK);
  tear_down(&b);
  return at;
}

int main(void) {
  int64_t arrived, read;
  CHECK(received(false, &arrived, &read) >= read);
  int64_t at = received(true, &arrived, &read);
  CHECK(at <= arrived && at > arrived - 10 * NS_PER_S);
  return 0;
}
