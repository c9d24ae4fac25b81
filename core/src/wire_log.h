/* What goes over the wire, as log records of level TRACE: the upgrade's headers without secrets, frames with as much of
 * their payload as was asked for. Called only while a connection traces. */
#ifndef WSC_WIRE_LOG_H
#define WSC_WIRE_LOG_H

#include "connection.h"

/* A line each. Of a header whose value is not known to be harmless only the name is shown. */
void wire_log_request(wsc_connection *k, const uint8_t *p, size_t n);
void wire_log_response(wsc_connection *k, const wsc_response *r); /* NULL: nothing */

/* first: the frame's first byte. */
void wire_log_received(void *connection, int first, const uint8_t *payload, size_t length);
void wire_log_sent(wsc_connection *k, int first, const uint8_t *payload, size_t length);

#endif
