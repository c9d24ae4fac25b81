/* The library's threads as the kernel names them. */
#ifndef WSC_THREADS_H
#define WSC_THREADS_H

#include "check.h"

#include <dirent.h>
#include <time.h>
#include <unistd.h>

/* How many threads of this process have a name that begins so. */
static inline int threads_named(const char *name) {
  int n = 0;
  struct dirent *entry;
  DIR *d = opendir("/proc/self/task");
  while ((entry = readdir(d))) {
    char path[300], got[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    if (fgets(got, sizeof got, f)) n += strncmp(got, name, strlen(name)) == 0;
    fclose(f);
  }
  closedir(d);
  return n;
}

/* The last reference to an engine may be dropped by a thread of the crew, which then ends a little later than the user's free. */
static inline void threads_gone(void) {
  time_t late = time(NULL) + 20;
  while (threads_named("wsc-") > 0) {
    CHECK(time(NULL) < late);
    usleep(500);
  }
}

#endif
