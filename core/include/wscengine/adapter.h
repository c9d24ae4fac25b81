/* What a host adapter hands back about an upgrade it made itself. */
#ifndef WSCENGINE_ADAPTER_H
#define WSCENGINE_ADAPTER_H

#include "connection.h"

#ifdef __cplusplus
extern "C" {
#endif

/* what: an answer that is filled before wsc_engine_report; Sec-WebSocket-Protocol is the agreed subprotocol
 * owns: the caller frees (NULL is fine); wsc_engine_report copies · threads: one at a time · blocks: no
 * errors: new: NULL: out of memory; WSC_ERR_NOMEM, WSC_ERR_INVALID (NULL, a status that is not 100-999, a header name
 *         that is no token, CR or LF in a value or reason) */
WSC_API wsc_response *wsc_response_new(void);
WSC_API void wsc_response_free(wsc_response *r);
WSC_API int wsc_response_set(wsc_response *r, int status, const char *reason);
WSC_API int wsc_response_add_header(wsc_response *r, const char *name, const char *value);

#ifdef __cplusplus
}
#endif
#endif
