/* The C driver's rooms: driver_c.c (lines in and out, lanes, latches), driver_callbacks.c (callbacks become events
 * and play their scripts), driver_commands.c and driver_connection.c (the verbs), driver_arguments.c (what they carry). The protocol is README.md's. */
#ifndef DRIVER_H
#define DRIVER_H

#include "driver_json.h"
#include "wscengine.h"

#include <stdatomic.h>

enum callback_kind {
  ON_OPEN,
  ON_MESSAGE,
  ON_READ_ERROR,
  ON_CLOSE,
  ON_CLOSE_ERROR,
  ON_RESTART_ERROR,
  BEFORE_ATTEMPT,
  ON_STOPPED,
  CALLBACK_KINDS
};
extern const char *const callback_names[CALLBACK_KINDS];

/* What the callbacks of one engine do. Kept until the driver ends: a freed engine may still make its last callbacks. */
struct script {
  struct json *command; /* the `engine` command; owns the rules */
  atomic_uint calls[CALLBACK_KINDS];
  struct script *next;
};

/* Where a command runs: in a lane (of NULL), or as one step of a callback's script. */
struct scope {
  const char *of;
  unsigned call;
  wsc_engine *engine;
  wsc_session *session; /* of session callbacks */
  wsc_attempt *attempt; /* of before_attempt */
  wsc_close *reply;     /* of on_close */
  char *reply_reason;   /* what reply->reason points to; 124 bytes */
  int type;             /* of on_message, with data and length */
  const uint8_t *data;
  size_t length;
  bool refuse; /* on_open refuses, before_attempt gives up */
};

/* driver_c.c */
void emit(struct line *l);                            /* numbers the line, writes it and empties it */
int latch_wait(const char *name, int64_t timeout_ms); /* WSC_OK or WSC_ERR_TIMEOUT */
void latch_release(const char *name);
wsc_cancel *cancel_named(const char *name); /* made when first asked for */
int own_threads(void);                      /* the reader and the lanes */

/* driver_callbacks.c */
const wsc_callbacks *script_callbacks(const struct json *rules, wsc_callbacks *room);
void line_error(struct line *l, const char *key, const wsc_error *e);
void line_response(struct line *l, const char *key, const wsc_response *r);
void line_message(struct line *l, int type, const uint8_t *p, size_t n);

/* driver_trace.c */
const wsc_tracer *driver_tracer(void);
int64_t driver_spans_open(void); /* that have not ended */

/* driver_arguments.c */
void commands_by_adapter(void); /* from here on engines and connections are driven by an adapter */

/* driver_commands.c */
void run_command(struct scope *s, const struct json *command, struct line *out); /* appends status and results */
void commands_end(void);                                                         /* frees what is left */

/* driver_probes.c: the whole of a command each */
void probe_leaks(struct line *out);
void probe_close_codes(struct line *out);
void probe_null_handles(struct line *out);
void probe_fork(wsc_engine *engine, struct line *out);

#endif
