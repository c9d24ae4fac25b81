/* Log hook. Records are taken by the crew (tier 1), or come as WSC_EVENT_LOG (tier 2). Off costs one branch. */
#ifndef WSCENGINE_TRACE_H
#define WSCENGINE_TRACE_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TRACE: each frame either way (opcode, flags, length; LOG_PREVIEW_BYTES of its payload, none by default) and the headers
 * of the upgrade */
enum wsc_log_level { WSC_LOG_ERROR = 1, WSC_LOG_WARNING = 2, WSC_LOG_INFO = 3, WSC_LOG_DEBUG = 4, WSC_LOG_TRACE = 5 };

/* One record. What it points to is borrowed until the hook returns. */
typedef struct wsc_log_record {
  uint32_t struct_size;
  int level;              /* enum wsc_log_level */
  uint64_t engine_id;     /* wsc_engine_id */
  const char *session_id; /* "" of a record that belongs to none */
  const char *subsystem;  /* "engine", "connection", "dial", "tls", "http", "frame", "keepalive" */
  const char *text;       /* one line without its end */
  int64_t time_ns;        /* Unix time at which it was made */
  uint32_t lost;          /* records of this engine dropped just before it, because 256 were waiting */
} wsc_log_record;

/* record  one record; may block, no lock is held; never called after wsc_engine_free returned (outside a callback)
 * line    the same, for who needs no more; not called when record is given
 * Secrets are in neither: no password or token of a URL, no value of an option marked WSC_OPTION_SECRET, and of the
 * upgrade's headers only values that are known to be harmless. A payload's preview is the user's to ask for. */
typedef struct wsc_log {
  uint32_t struct_size, flags; /* flags: 0 */
  void (*line)(void *self, int level, const char *subsystem, const char *session_id, const char *text);
  void (*record)(void *self, const wsc_log_record *record);
} wsc_log;

/* what: where an engine's records go, up to option LOG_LEVEL (0, its default: none); vtable NULL: nowhere. At most 256
 * wait, more are dropped and counted. A connection without an engine logs nothing
 * owns: vtable is copied, self is borrowed as long as an engine with it lives · threads: one at a time a handle
 * blocks: no
 * errors: WSC_ERR_INVALID (o NULL; vtable's struct_size, flags, or neither line nor record) */
WSC_API int wsc_options_set_log(wsc_options *o, const wsc_log *vtable, void *self);

#ifdef __cplusplus
}
#endif
#endif
