/* Log hook and tracer. Log records are taken by the crew (tier 1), or come as WSC_EVENT_LOG (tier 2). The tracer is
 * called by the crew around what it does; a host's own crew makes the same spans around its own callbacks, where its
 * language keeps the current one, and takes their names from here. Off costs one branch. */
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

/* XX(NAME, number, text): what spans, their events and their attributes are called, the same in every language. Append
 * only. */
#define WSC_TRACE_NAME_MAP(XX) \
  XX(SPAN_START, 1, "wscengine.start") \
  XX(SPAN_STOP, 2, "wscengine.stop") \
  XX(SPAN_BACKGROUND_START, 3, "wscengine.background.start") \
  XX(SPAN_BACKGROUND_RUN, 4, "wscengine.background.run") \
  XX(SPAN_BACKGROUND_SHUTDOWN, 5, "wscengine.background.shutdown") \
  XX(SPAN_BACKGROUND_RESTART, 6, "wscengine.background.restart") \
  XX(SPAN_ON_OPEN, 7, "wscengine.callback.on_open") \
  XX(SPAN_ON_MESSAGE, 8, "wscengine.callback.on_message") \
  XX(SPAN_ON_READ_ERROR, 9, "wscengine.callback.on_read_error") \
  XX(SPAN_ON_CLOSE, 10, "wscengine.callback.on_close") \
  XX(SPAN_ON_CLOSE_ERROR, 11, "wscengine.callback.on_close_error") \
  XX(SPAN_ON_RESTART_ERROR, 12, "wscengine.callback.on_restart_error") \
  XX(SPAN_DIAL, 20, "websocket.dial") \
  XX(SPAN_CLOSE, 21, "websocket.close") \
  XX(SPAN_PING, 22, "websocket.ping") \
  XX(SPAN_READ, 23, "websocket.read") \
  XX(SPAN_WRITE, 24, "websocket.write") \
  XX(EVENT_WORKER_EXIT, 40, "wscengine.worker_exit") \
  XX(EVENT_CONNECTION_CLOSED, 41, "wscengine.connection_closed") \
  XX(EVENT_EXIT, 42, "wscengine.exit") \
  XX(EVENT_MESSAGE_RECEIVED, 43, "websocket.message.received") \
  XX(ATTRIBUTE_CLOSE_CODE, 60, "wscengine.close_code") \
  XX(ATTRIBUTE_CLOSE_REASON, 61, "wscengine.close_reason") \
  XX(ATTRIBUTE_RESTART, 62, "wscengine.restart") \
  XX(ATTRIBUTE_SESSION_ID, 63, "wscengine.session_id") \
  XX(ATTRIBUTE_WORKER_ID, 64, "wscengine.worker_id") \
  XX(ATTRIBUTE_SKIP_CLOSE_CONNECTION, 65, "wscengine.skip_close_connection") \
  XX(ATTRIBUTE_HAS_CLOSE_MESSAGE, 66, "wscengine.has_close_message") \
  XX(ATTRIBUTE_MESSAGE_LENGTH, 67, "wscengine.message.length") \
  XX(ATTRIBUTE_MESSAGE_OPCODE, 68, "wscengine.message.opcode") \
  XX(ATTRIBUTE_AUTO_RECONNECT, 69, "wscengine.auto_reconnect") \
  XX(ATTRIBUTE_RETRY_COUNT, 70, "wscengine.retry_count") \
  XX(ATTRIBUTE_URL_FULL, 80, "url.full") \
  XX(ATTRIBUTE_WS_CLOSE_CODE, 81, "websocket.close.code") \
  XX(ATTRIBUTE_WS_CLOSE_REASON, 82, "websocket.close.reason") \
  XX(ATTRIBUTE_WS_MESSAGE_SIZE, 83, "websocket.message.size") \
  XX(ATTRIBUTE_WS_MESSAGE_OPCODE, 84, "websocket.message.opcode")

enum wsc_trace_name {
#define XX(name, number, text) WSC_TRACE_##name = number,
  WSC_TRACE_NAME_MAP(XX)
#undef XX
};

/* The instrumentation scope (OpenTelemetry's name of a tracer). */
#define WSC_TRACER_NAME "wscengine"

/* The text of an enum wsc_trace_name.
 * owns: static · threads: any · blocks: no · errors: NULL for a number that is none */
WSC_API const char *wsc_trace_name(int name);

/* OpenTelemetry's numbers: spans of engine and callbacks are internal, those of the connection's verbs client. */
enum wsc_span_kind { WSC_SPAN_INTERNAL = 1, WSC_SPAN_CLIENT = 3 };
enum wsc_attribute_type { WSC_ATTRIBUTE_INT = 1, WSC_ATTRIBUTE_BOOL = 2, WSC_ATTRIBUTE_STR = 3 };

/* Everything is borrowed for the call. */
typedef struct wsc_attribute {
  const char *name;
  const char *text; /* STR */
  int64_t number;   /* INT; BOOL: 0 or 1 */
  int32_t type;     /* enum wsc_attribute_type */
  uint32_t flags;   /* 0 */
} wsc_attribute;

/* A tracer. A span is whatever span_start made: the library hands it back, and gives it out as parent of others and
 * inside callbacks (wsc_engine_span). Times are Unix ns; a span may be told of after the fact, so they count, not the
 * moment of the call.
 *
 * span_start  parent NULL: a root; attributes: those known at its start. NULL: not recorded, nothing more is told of it
 * span_event  something that happened inside it
 * span_attributes  more of them; may be NULL
 * span_end    status: enum wsc_status; not OK: to be recorded on the span as its error, error says why (borrowed; may
 *             be NULL). Last of this span, and never before its children have been given it as parent
 *
 * Threads: the crew's and those that call verbs, several at once; all events of one span but its own verbs' come one
 * after another. They may block, no lock of the library is held; never called after wsc_engine_free returned (outside a
 * callback).
 *
 * What is told: start and stop (parent: the context's parent_span) as the blocking forms are called; the dial and
 * on_open of a start; each session from on_open's return to its end, with its messages and read errors; its shutdown;
 * each attempt to reconnect; every callback; and the connection's blocking verbs, whose parent is the context's
 * parent_span, else the callback they are called in. */
typedef struct wsc_tracer {
  uint32_t struct_size, flags; /* flags: 0 */
  void *(*span_start)(void *self, void *parent, const char *name, int kind, int64_t time_ns,
                      const wsc_attribute *attributes, size_t count);
  void (*span_event)(void *self, void *span, const char *name, int64_t time_ns, const wsc_attribute *attributes,
                     size_t count);
  void (*span_attributes)(void *self, void *span, const wsc_attribute *attributes, size_t count);
  void (*span_end)(void *self, void *span, int64_t time_ns, int status, const wsc_error *error);
} wsc_tracer;

/* what: the tracer of engines with these options; vtable NULL: none. On a host's loop (wsc_loop_add) the host says
 *       where its callbacks begin and end (wsc_trace_begin), and makes the spans of the verbs it calls itself
 * owns: vtable is copied, self is borrowed as long as an engine with it lives · threads: one at a time a handle
 * blocks: no · errors: WSC_ERR_INVALID (o NULL; vtable's struct_size, flags or a missing slot but span_attributes) */
WSC_API int wsc_options_set_tracer(wsc_options *o, const wsc_tracer *vtable, void *self);

#ifdef __cplusplus
}
#endif
#endif
