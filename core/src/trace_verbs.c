#include "trace_verbs.h"

#include "error.h"

/* An error is needed for the span, whether the caller wants it or not. */
static int give(wsc_connection *k, void *span, int status, wsc_error *error, wsc_error **err) {
  trace_verb_end(k->traced, span, status, error);
  if (err) *err = error;
  else wsc_error_unref(error);
  return status;
}

int traced_read(wsc_connection *k, const wsc_context *c, wsc_message *out, wsc_error **err) {
  void *span = trace_verb(k->traced, c, WSC_TRACE_SPAN_READ, NULL, 0);
  wsc_error *error = NULL;
  wsc_op *op;
  int r = wsc_connection_read_begin(k, c, 0, &op, &error);
  if (!r) {
    r = wsc_op_wait(op, -1, &error);
    if (r == WSC_OK) r = wsc_op_take_message(op, out);
    wsc_op_unref(op);
  }
  if (!r) {
    wsc_attribute a[] = {trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_SIZE, (int64_t)out->length),
                         trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_OPCODE, (int64_t)out->type)};
    trace_verb_event(k->traced, span, WSC_TRACE_EVENT_MESSAGE_RECEIVED, a, 2);
  }
  return give(k, span, r, error, err);
}

void *traced_write_begin(wsc_engine *e, const wsc_context *c, int type, size_t n) {
  wsc_attribute a[] = {trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_SIZE, (int64_t)n),
                       trace_int(WSC_TRACE_ATTRIBUTE_WS_MESSAGE_OPCODE, type)};
  return trace_verb(e, c, WSC_TRACE_SPAN_WRITE, a, 2);
}

int traced_write(wsc_connection *k, const wsc_context *c, int type, const uint8_t *p, size_t n, wsc_error **err) {
  void *span = traced_write_begin(k->traced, c, type, n);
  wsc_error *error = NULL;
  wsc_op *op;
  int r = wsc_connection_write_begin(k, c, type, p, n, 0, &op, &error);
  if (!r) r = op_finish(op, &error);
  return give(k, span, r, error, err);
}

int traced_write_many(wsc_connection *k, const wsc_context *c, const wsc_outgoing *messages, size_t count,
                      wsc_error **err) {
  int r = WSC_OK;
  wsc_connection_cork(k);
  for (size_t i = 0; !r && i < count; i++)
    r = traced_write(k, c, (int)messages[i].type, messages[i].data, messages[i].length, err);
  int uncorked = wsc_connection_uncork(k, r ? NULL : err);
  return r ? r : uncorked;
}

int traced_ping(wsc_connection *k, const wsc_context *c, int64_t *rtt_ns, wsc_error **err) {
  void *span = trace_verb(k->traced, c, WSC_TRACE_SPAN_PING, NULL, 0);
  wsc_error *error = NULL;
  wsc_op *op;
  int r = wsc_connection_ping_begin(k, c, 0, &op, &error);
  if (!r) {
    r = wsc_op_wait(op, -1, &error);
    if (rtt_ns) *rtt_ns = wsc_op_rtt_ns(op);
    wsc_op_unref(op);
  }
  return give(k, span, r, error, err);
}

int traced_close(wsc_connection *k, const wsc_context *c, int code, const char *reason, wsc_error **err) {
  wsc_attribute a[] = {trace_int(WSC_TRACE_ATTRIBUTE_WS_CLOSE_CODE, code),
                       trace_str(WSC_TRACE_ATTRIBUTE_WS_CLOSE_REASON, reason)};
  void *span = trace_verb(k->traced, c, WSC_TRACE_SPAN_CLOSE, a, 2);
  wsc_error *error = NULL;
  wsc_op *op;
  int r = wsc_connection_close_begin(k, c, code, reason, 0, &op, &error);
  if (!r) r = op_finish(op, &error);
  return give(k, span, r, error, err);
}
