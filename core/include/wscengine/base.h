/* Handles, version, memory, contexts: what every other part of the ABI refers to. */
#ifndef WSCENGINE_BASE_H
#define WSCENGINE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define WSC_API __attribute__((visibility("default")))
#else
#define WSC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define WSC_VERSION_MAJOR 0
#define WSC_VERSION_MINOR 1
#define WSC_VERSION_PATCH 0
#define WSC_VERSION_STRING "0.1.0"

typedef struct wsc_error wsc_error;
typedef struct wsc_cancel wsc_cancel;
typedef struct wsc_op wsc_op;
typedef struct wsc_options wsc_options;
typedef struct wsc_engine wsc_engine;
typedef struct wsc_session wsc_session;
typedef struct wsc_connection wsc_connection;
typedef struct wsc_response wsc_response;
typedef struct wsc_attempt wsc_attempt;
typedef struct wsc_loop wsc_loop;
typedef struct wsc_batch wsc_batch;

/* Version of the library that is running, "0.1.0"; and of the libraries inside, one line, "OpenSSL 3.0.22, wslay
 * 1.1.1".
 * owns: static · threads: any · blocks: no · errors: none */
WSC_API const char *wsc_version(void);
WSC_API const char *wsc_version_libraries(void);
/* What this build can do, one word each, separated by spaces: "tls deflate http-proxy socks5 redirects unix-sockets
 * kernel-stamps". Words are only added. */
WSC_API const char *wsc_version_features(void);

/* Replaces malloc, realloc and free for the whole library (OpenSSL and wslay keep their own).
 * what: legal only before any other call of the library; NULL restores libc's
 * owns: the struct is copied, self is borrowed for ever · threads: one, before there are others · blocks: no
 * errors: WSC_ERR_STATE when something has been allocated already, WSC_ERR_INVALID for a missing slot or unknown
 *         flags */
typedef struct wsc_allocator {
  uint32_t struct_size, flags; /* flags: 0 */
  void *(*allocate)(void *self, size_t n);
  void *(*reallocate)(void *self, void *p, size_t n);
  void (*release)(void *self, void *p);
  void *self;
} wsc_allocator;
WSC_API int wsc_set_allocator(const wsc_allocator *a);

/* What a call that can wait obeys: C's stand-in for Go's context.Context. NULL means no limit. */
typedef struct wsc_context {
  uint32_t struct_size, flags; /* flags: 0 */
  int64_t deadline_ns;         /* wsc_now_ns() clock; 0: none */
  wsc_cancel *cancel;          /* borrowed until the operation has completed; may be NULL */
  void *parent_span;           /* the tracer's; may be NULL */
} wsc_context;

/* The monotonic clock of every *_ns here, except received_ns.
 * owns: nothing · threads: any · blocks: no · errors: none */
WSC_API int64_t wsc_now_ns(void);

/* A cancellation that any number of operations may obey. Firing is for ever and may be done from any thread, also a
 * signal-handling one (but not inside a signal handler); operations begun afterwards complete at once with
 * ERR_CANCELED.
 * fd: readable from the firing on, to poll beside a socket in code that blocks; never to be read
 * owns: the caller frees; free only when no operation that was given it is still under way; the fd is the cancellation's
 * threads: any · blocks: no
 * errors: new: WSC_ERR_NOMEM, WSC_ERR_INVALID; fd: -1 (no descriptor to be had, NULL, or after a fork) */
WSC_API int wsc_cancel_new(wsc_cancel **out);
WSC_API void wsc_cancel_fire(wsc_cancel *c);
WSC_API bool wsc_cancel_fired(const wsc_cancel *c);
WSC_API int wsc_cancel_fd(wsc_cancel *c);
WSC_API void wsc_cancel_free(wsc_cancel *c);

/* Operations: each verb that can wait is a non-blocking *_begin plus a completion, exactly one. The completion is a
 * WSC_EVENT_OP_DONE on the loop when the token is not 0 (0: nobody wants an event), and it ends wsc_op_wait either way.
 * Giving up a wait does not cancel; wsc_op_cancel does.
 *
 * wait   what: until the completion, or timeout_ns (< 0: for ever; 0: only look). The thread is lent to the loop
 *        meanwhile · blocks: yes, never past the timeout · errors: the operation's own; WSC_ERR_TIMEOUT with
 *        wsc_op_pending still true; WSC_ERR_FORKED, WSC_ERR_INVALID
 * cancel what: asks it to end with WSC_ERR_CANCELED; it may still end otherwise · errors: none
 * status what: the operation's outcome, WSC_AGAIN while it is pending · errors: WSC_ERR_INVALID for NULL
 * rtt    what: of a ping that ended well, ns; else -1 · errors: none
 * owns: the *op of a _begin and what wsc_op_ref gives must be unref'd (an operation goes on without); err of wait and
 *       status receives a reference · threads: any · blocks: no, but for wait */
WSC_API int wsc_op_wait(wsc_op *op, int64_t timeout_ns, wsc_error **err);
WSC_API void wsc_op_cancel(wsc_op *op);
WSC_API bool wsc_op_pending(const wsc_op *op);
WSC_API int wsc_op_status(const wsc_op *op, wsc_error **err);
WSC_API int64_t wsc_op_rtt_ns(const wsc_op *op);
WSC_API wsc_op *wsc_op_ref(wsc_op *op);
WSC_API void wsc_op_unref(wsc_op *op);

#ifdef __cplusplus
}
#endif
#endif
