/* Standard output: what is queued for it leaves only as fast as it is taken. */
#ifndef WSC_TOOL_OUTPUT_H
#define WSC_TOOL_OUTPUT_H

#include "text.h"

struct output {
  int fd;
  int failed;           /* errno that ended it: EPIPE when nobody reads any more; else 0 */
  bool whole;           /* a file: never makes anyone wait */
  struct bytes pending; /* bytes from `at` on are still to be written */
  size_t at;
};

void output_open(struct output *o, int fd);
/* Writes what can be written now. Never waits, but on a terminal that was stopped (Ctrl-S), and there a signal ends
 * the wait. */
void output_flush(struct output *o);
/* So much is queued that no further message should be taken. */
bool output_full(const struct output *o);
bool output_empty(const struct output *o);
void output_close(struct output *o); /* frees; does not close the fd */

#endif
