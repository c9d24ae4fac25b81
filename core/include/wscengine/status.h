/* Statuses and errors. */
#ifndef WSCENGINE_STATUS_H
#define WSCENGINE_STATUS_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One table: the enum, the names, the texts, Python's exception classes, Go's errors. Append only.
 * XX(NAME, number, Python class, text) */
#define WSC_STATUS_MAP(XX) \
  XX(OK, 0, "", "success") \
  XX(AGAIN, 1, "", "nothing now") \
  XX(STOPPED, 2, "", "engine stopped") \
  XX(ERR_NOMEM, -1, "MemoryError", "out of memory") \
  XX(ERR_INVALID, -2, "InvalidError", "invalid argument") \
  XX(ERR_STATE, -3, "StateError", "not possible in this state") \
  XX(ERR_IN_CALLBACK, -4, "InCallbackError", "not possible inside a callback") \
  XX(ERR_UNSUPPORTED, -5, "UnsupportedError", "not supported") \
  XX(ERR_TIMEOUT, -10, "TimeoutError", "timed out") \
  XX(ERR_CANCELED, -11, "CanceledError", "canceled") \
  XX(ERR_CLOSED, -12, "ClosedError", "connection closed") \
  XX(ERR_IO, -13, "NetworkError", "input/output error") \
  XX(ERR_RESOLVE, -14, "ResolveError", "host name not resolved") \
  XX(ERR_TLS, -15, "TlsError", "TLS failed") \
  XX(ERR_HANDSHAKE, -16, "HandshakeError", "upgrade refused") \
  XX(ERR_PROTOCOL, -17, "ProtocolError", "protocol violated") \
  XX(ERR_TOO_BIG, -18, "TooBigError", "too big") \
  XX(ERR_QUEUE_FULL, -19, "QueueFullError", "queue full") \
  XX(ERR_HOST, -20, "HostError", "failed in the host's code") \
  XX(ERR_FORKED, -21, "ForkedError", "handle belongs to the parent process") \
  XX(ERR_PROXY, -22, "ProxyError", "the proxy refused or failed") \
  XX(ERR_PROXY_AUTH, -23, "ProxyAuthError", "the proxy wants to know who asks")

typedef enum wsc_status {
#define XX(name, number, python, text) WSC_##name = number,
  WSC_STATUS_MAP(XX)
#undef XX
} wsc_status;

/* "ERR_TIMEOUT" and "timed out"; "UNKNOWN" and "unknown status" for a number not in the table.
 * owns: static · threads: any · blocks: no · errors: none */
WSC_API const char *wsc_status_name(int status);
WSC_API const char *wsc_status_text(int status);

/* Close codes (RFC 6455 section 7.4.1). 1005, 1006 and 1015 are only ever reported, never sent. */
#define WSC_CLOSE_CODE_MAP(XX) \
  XX(NORMAL, 1000) \
  XX(GOING_AWAY, 1001) \
  XX(PROTOCOL_ERROR, 1002) \
  XX(UNSUPPORTED_DATA, 1003) \
  XX(NO_STATUS, 1005) \
  XX(ABNORMAL, 1006) \
  XX(INVALID_PAYLOAD, 1007) \
  XX(POLICY_VIOLATION, 1008) \
  XX(TOO_BIG, 1009) \
  XX(MANDATORY_EXTENSION, 1010) \
  XX(INTERNAL_ERROR, 1011) \
  XX(SERVICE_RESTART, 1012) \
  XX(TRY_AGAIN_LATER, 1013) \
  XX(BAD_GATEWAY, 1014) \
  XX(TLS_HANDSHAKE, 1015)
typedef enum wsc_close_code {
#define XX(name, number) WSC_CLOSE_##name = number,
  WSC_CLOSE_CODE_MAP(XX)
#undef XX
} wsc_close_code;

/* Errors are immutable and refcounted; a chain: message() of the outermost tells the whole story, cause() the next
 * link. Getters accept NULL (status OK, message "", 0, NULL).
 * close_code: of the close the error stands for, else 0 · os_error: an errno, else 0 · http_status: of a refused
 * upgrade, else 0
 * host: the host language's own exception object, found along the chain; NULL when there is none
 * new: takes over one reference to cause (also on failure) and the host object (host_drop is called when the error
 *      dies)
 * owns: what new and ref give must be unref'd · threads: any · blocks: no
 * errors: new: WSC_ERR_NOMEM, WSC_ERR_INVALID (out NULL, a status that is no error's) */
WSC_API int wsc_error_status(const wsc_error *e);
WSC_API const char *wsc_error_message(const wsc_error *e);
WSC_API const wsc_error *wsc_error_cause(const wsc_error *e);
WSC_API int wsc_error_close_code(const wsc_error *e);
WSC_API int wsc_error_os_error(const wsc_error *e);
WSC_API int wsc_error_http_status(const wsc_error *e);
WSC_API void *wsc_error_host(const wsc_error *e);
WSC_API wsc_error *wsc_error_ref(wsc_error *e);
WSC_API void wsc_error_unref(wsc_error *e);
WSC_API int wsc_error_new(int status, int close_code, const char *message, wsc_error *cause, void *host,
                          void (*host_drop)(void *), wsc_error **out);

#ifdef __cplusplus
}
#endif
#endif
