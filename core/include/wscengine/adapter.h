/* What a host adapter hands back about an upgrade it made itself. */
#ifndef WSCENGINE_ADAPTER_H
#define WSCENGINE_ADAPTER_H

#include "connection.h"

#ifdef __cplusplus
extern "C" {
#endif

/* owns: the caller frees; wsc_engine_report copies · threads: one at a time · blocks: no
 * errors: WSC_ERR_NOMEM, WSC_ERR_INVALID (a header name or value with CR, LF or NUL) */
WSC_API wsc_response *wsc_response_new(void);
WSC_API void wsc_response_free(wsc_response *r);
WSC_API int wsc_response_set(wsc_response *r, int status, const char *reason);
WSC_API int wsc_response_add_header(wsc_response *r, const char *name, const char *value);

#ifdef __cplusplus
}
#endif
#endif
