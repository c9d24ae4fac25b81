/* The connection's blocking verbs with a span around each: the adapter's decorator. The begin forms are a host's, which makes its own. */
#ifndef WSC_TRACE_VERBS_H
#define WSC_TRACE_VERBS_H

#include "connection.h"
#include "trace.h"

int traced_read(wsc_connection *k, const wsc_context *c, wsc_message *out, wsc_error **err);
int traced_write(wsc_connection *k, const wsc_context *c, int type, const uint8_t *p, size_t n, wsc_error **err);
int traced_write_many(wsc_connection *k, const wsc_context *c, const wsc_outgoing *messages, size_t count,
                      wsc_error **err);
int traced_ping(wsc_connection *k, const wsc_context *c, int64_t *rtt_ns, wsc_error **err);
int traced_close(wsc_connection *k, const wsc_context *c, int code, const char *reason, wsc_error **err);

/* The span of one write, for trace_verb_end. */
void *traced_write_begin(wsc_engine *e, const wsc_context *c, int type, size_t n);

#endif
