/* The manual page and the completions of shells, from the same tables as --help. */
#ifndef WSC_TOOL_MANUAL_H
#define WSC_TOOL_MANUAL_H

#include <stdbool.h>

void manual_page(void);                    /* roff, to standard output */
bool manual_completion(const char *shell); /* false: no such shell is known */

#endif
