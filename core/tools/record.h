/* Recordings of sessions: what `wsc --record` writes and `wsc --replay` reads.
 *
 * A file is the line "wsc-record 1" and then one record after another, each written at once, so that a recorder that was
 * killed leaves a file that can be played up to there. A record is a line of words between single spaces, the second one
 * its Unix time in ns:
 *   open TIME [SUBPROTOCOL]         a session began
 *   text TIME LENGTH                a message came; its LENGTH bytes follow, and a line end
 *   binary TIME LENGTH
 *   sent-text TIME LENGTH           a message went out, likewise; not played
 *   sent-binary TIME LENGTH
 *   close TIME CODE [REASON]        the server closed (1005: without a code)
 *   lost TIME                       the connection was lost, or closed from our side */
#ifndef WSC_TOOL_RECORD_H
#define WSC_TOOL_RECORD_H

#include "text.h"

enum record_kind {
  RECORD_OPEN,
  RECORD_TEXT,
  RECORD_BINARY,
  RECORD_SENT_TEXT,
  RECORD_SENT_BINARY,
  RECORD_CLOSE,
  RECORD_LOST
};

/* ---- writing ---- */

struct recorder {
  const char *path; /* NULL: nothing is recorded */
  int fd;
  struct bytes record;
};

bool recorder_open(struct recorder *r, const char *path); /* false: it complained. A file that exists is replaced */
/* at_ns: Unix time, 0: now. p: payload, subprotocol or reason. When the file takes no more, it says so once and records no
 * further. */
void recorder_add(struct recorder *r, enum record_kind kind, int64_t at_ns, int code, const void *p, size_t n);
void recorder_close(struct recorder *r);

/* ---- reading ---- */

struct record {
  enum record_kind kind;
  int64_t at_ns;
  int code;
  const uint8_t *p; /* payload, subprotocol or reason */
  size_t n;
};

struct recording {
  struct bytes file;
  struct record *records;
  size_t count;
};

/* Reads all of it. A record that is cut off at the end is left out, with a complaint; anything else that is not as above is
 * an error, which names the byte. At least one session is in it. false: it complained. */
bool recording_read(struct recording *r, const char *path);
void recording_free(struct recording *r);

#endif
