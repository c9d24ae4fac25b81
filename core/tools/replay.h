/* A server on loopback that plays a recording: each connection gets the next of its sessions, after the last the first again; one client at a
 * time. */
#ifndef WSC_TOOL_REPLAY_H
#define WSC_TOOL_REPLAY_H

#include "record.h"

struct replay {
  const char *path;
  int port;           /* 0: any free one */
  double speed;       /* 1: as it was; 10: ten times faster; 0: without a pause */
  int wake_fd;        /* readable: it is time to end */
  int64_t timeout_ms; /* 0: no end */
};

/* Prints the URL, plays until wake_fd or the time says so. An exit code: 0, or 1 after a complaint. */
int replay_run(const struct replay *options);

#endif
