/* wscengine: a WebSocket client engine. Give it a URL and callbacks; it dials, reads, calls back, notices a lost
 * connection, reconnects and stops cleanly.
 *
 * This header is the whole ABI, in eight parts. A C program starts with wscengine/engine.h (tier 1, callbacks);
 * a binding or an event loop of its own starts with wscengine/loop.h (tier 2, events).
 *
 * Conventions, stated once:
 *   int results    are a wsc_status: 0 ok, > 0 not an error, < 0 an error.
 *   wsc_error **   may be NULL; when it is not and the call fails, it receives an error that the caller unrefs.
 *   handles        are opaque. Every free and unref accepts NULL.
 *   strings        are UTF-8 and NUL-terminated; borrowed for the call when passed in, borrowed from the object when
 *                  returned, unless the declaration says otherwise.
 *   times          end in _ns (monotonic clock; received_ns alone is Unix time) or in _ms.
 *   structs        that are public begin with struct_size, which the caller sets to sizeof, and only ever grow. A program
 *                  built against an older or a newer header may be used with this library: what one side does not know
 *                  of a struct is neither read nor written, and counts as zero.
 *   threads        any function may be called from any thread unless its comment says otherwise.
 *   fork           a handle made before fork answers WSC_ERR_FORKED in the child; freeing it there only closes fds. */
#ifndef WSCENGINE_H
#define WSCENGINE_H

#include "wscengine/base.h"
#include "wscengine/status.h"
#include "wscengine/options.h"
#include "wscengine/connection.h"
#include "wscengine/engine.h"
#include "wscengine/loop.h"
#include "wscengine/adapter.h"
#include "wscengine/trace.h"

#endif
