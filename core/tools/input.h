/* Standard input as lines. */
#ifndef WSC_TOOL_INPUT_H
#define WSC_TOOL_INPUT_H

#include "text.h"

struct input {
  int fd;
  bool ended;        /* end of file, or an error that reading again would not mend */
  bool skipping;     /* inside a line that was too long */
  struct bytes held; /* bytes from `at` on are unused; up to `searched` there is no line end in them */
  size_t at, searched;
  uint64_t number; /* of the line that input_line shows, counted from 1 */
};

struct line {
  const uint8_t *p;
  size_t n;
  uint64_t number;
};

void input_open(struct input *in, int fd);
void input_read(struct input *in); /* one read(2): call it when poll says readable; complains about what goes wrong */
/* The first unused line without its "\n" (a last line needs none); false when there is no whole one yet. Borrowed
 * until input_pop. */
bool input_line(struct input *in, struct line *out);
void input_pop(struct input *in, const struct line *line);
void input_close(struct input *in); /* frees; does not close the fd */

#endif
