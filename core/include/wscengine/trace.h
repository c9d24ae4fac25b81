/* Log hook. Records are taken by the crew (tier 1), or come as WSC_EVENT_LOG (tier 2). Off costs one branch. */
#ifndef WSCENGINE_TRACE_H
#define WSCENGINE_TRACE_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

enum wsc_log_level { WSC_LOG_ERROR = 1, WSC_LOG_WARNING = 2, WSC_LOG_INFO = 3, WSC_LOG_DEBUG = 4 };

/* line: one record; may block, no lock is held; never called after wsc_engine_free returned (outside a callback).
 * Secrets are not in it. subsystem: "engine", "connection", "dial", "tls", "keepalive"
 * session_id: "" of a line that belongs to none */
typedef struct wsc_log {
  uint32_t struct_size, flags; /* flags: 0 */
  void (*line)(void *self, int level, const char *subsystem, const char *session_id, const char *text);
} wsc_log;

/* what: where an engine's lines go, up to option LOG_LEVEL (0, its default: none); vtable NULL: nowhere. At most 256
 * wait, more are dropped. A connection without an engine logs nothing
 * owns: vtable is copied, self is borrowed as long as an engine with it lives · threads: one at a time a handle
 * blocks: no
 * errors: WSC_ERR_INVALID (o NULL; vtable's struct_size, flags or missing line) */
WSC_API int wsc_options_set_log(wsc_options *o, const wsc_log *vtable, void *self);

#ifdef __cplusplus
}
#endif
#endif
