/* A fork beside an adapter's threads. (valgrind: no leak check, a child frees only fds) */
#define _GNU_SOURCE
#include "adapter_bed.h"

#include <sys/wait.h>

/* In a child nothing of the parent's adapter is called. */
static void a_fork(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  int calls = 0;
  for (int s = 0; s < TOY_SLOTS; s++) calls += TOY(&b, called[s]);
  pid_t child = fork();
  if (!child) {
    if (bed_write(&b, "x", NULL) != WSC_ERR_FORKED) _exit(1);
    wsc_engine_free(b.engine);
    wsc_options_free(b.options);
    int now = 0;
    for (int s = 0; s < TOY_SLOTS; s++) now += b.toy.called[s];
    _exit(b.toy.drops || now != calls ? 2 : 0);
  }
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(bed_write(&b, "still", NULL), WSC_OK);
  WAIT(TOY(&b, wrote) == 1);
  bed_end(&b);
}

int main(void) {
  a_fork();
  return 0;
}
