/* A fork beside an adapter's threads. (valgrind: no leak check, a child frees only fds) */
#define _GNU_SOURCE
#include "adapter_bed.h"

#include <sys/wait.h>

/* Of a child, whose only thread it is: nobody else writes them, and nobody could unlock them. */
static int calls(const struct bed *b) {
  int n = 0;
  for (int s = 0; s < TOY_SLOTS; s++) n += b->toy.called[s];
  return n;
}

/* In a child nothing of the parent's adapter is called. */
static void a_fork(void) {
  struct bed b;
  bed_init(&b);
  bed_start(&b);
  pid_t child = fork();
  if (!child) {
    int before = calls(&b);
    if (bed_write(&b, "x", NULL) != WSC_ERR_FORKED) _exit(1);
    wsc_engine_free(b.engine);
    wsc_options_free(b.options);
    _exit(b.toy.drops || calls(&b) != before ? 2 : 0);
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
