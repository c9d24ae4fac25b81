/* Public structs only grow: a program may have been built against an older or a newer header than the library.
 *
 * struct_size, always the first member, says how much of the struct the caller knows. Less than its first version is
 * refused; what the caller does not know is never read nor written, and reads as zero; what the library does not know
 * of a newer caller's struct is ignored and left as it is. */
#ifndef WSC_SIZED_H
#define WSC_SIZED_H

#include "wscengine.h"

#include <string.h>

#define SIZED_UP_TO(type, last) ((uint32_t)(offsetof(type, last) + sizeof(((type *)0)->last)))

/* Each struct as it was first published. Never change a line. */
enum sized_first {
  FIRST_ALLOCATOR = SIZED_UP_TO(wsc_allocator, self),
  FIRST_CONTEXT = SIZED_UP_TO(wsc_context, parent_span),
  FIRST_OPTION_DESCRIPTION = SIZED_UP_TO(wsc_option_description, doc),
  FIRST_ADAPTER = SIZED_UP_TO(wsc_adapter, drop),
  FIRST_TRACER = SIZED_UP_TO(wsc_tracer, span_end),
  FIRST_LOG = SIZED_UP_TO(wsc_log, line),
  FIRST_MESSAGE = SIZED_UP_TO(wsc_message, owner),
  FIRST_CLOSE = SIZED_UP_TO(wsc_close, reason),
  FIRST_CALLBACKS = SIZED_UP_TO(wsc_callbacks, on_stopped),
  FIRST_STATS = SIZED_UP_TO(wsc_stats, last_byte_age_ns),
  FIRST_EVENT = SIZED_UP_TO(wsc_event, core),
  FIRST_REPLY = SIZED_UP_TO(wsc_reply, close_reason)
};

static inline size_t sized_common(const void *theirs, size_t ours_size) {
  uint32_t n;
  memcpy(&n, theirs, sizeof n);
  return n < ours_size ? n : ours_size;
}

/* ours (of ours_size bytes) from the caller's: what theirs lacks is zero; struct_size becomes ours. */
static inline void sized_read(void *ours, size_t ours_size, const void *theirs) {
  size_t n = sized_common(theirs, ours_size);
  uint32_t size = (uint32_t)ours_size;
  memcpy(ours, theirs, n);
  if (n < ours_size) memset((char *)ours + n, 0, ours_size - n);
  memcpy(ours, &size, sizeof size);
}

/* The caller's from ours: only what theirs has; its struct_size stays. */
static inline void sized_write(void *theirs, const void *ours, size_t ours_size) {
  size_t head = sizeof(uint32_t);
  memcpy((char *)theirs + head, (const char *)ours + head, sized_common(theirs, ours_size) - head);
}

#endif
