/* The option set as the core reads it: values by id, defaults already in place. */
#ifndef WSC_OPTIONS_H
#define WSC_OPTIONS_H

#include "wscengine/options.h"
#include "wscengine/trace.h"

/* A copy that never changes again (its setters answer WSC_ERR_STATE) and may be shared: refcounted; of a snapshot, the
 * snapshot itself. o NULL: all defaults. NULL: out of memory. */
wsc_options *options_snapshot(const wsc_options *o);
wsc_options *options_copy(const wsc_options *o); /* one that may be changed; else the same */
wsc_options *options_ref(wsc_options *o);        /* unref is wsc_options_free */

int64_t options_int(const wsc_options *o, int id);
bool options_is_set(const wsc_options *o, int id);
const char *options_str(const wsc_options *o, int id);                /* NULL: not set */
const char *options_item(const wsc_options *o, int id, size_t index); /* of a LIST; NULL past the end */
const char *options_name(int id);                                     /* "CA_FILE" */
void options_clear(wsc_options *o, int id);                    /* forgets the value or the list; not of a snapshot */
const wsc_log *options_log(const wsc_options *o, void **self); /* NULL: none */

const wsc_tracer *options_tracer(const wsc_options *o, void **self); /* likewise */
bool tracer_usable(const wsc_tracer *vtable);                        /* has its size and all slots that it must have */

struct adapter;
struct adapter *options_adapter(const wsc_options *o); /* borrowed; NULL: the built-in connection */

/* Judges one "Name: value" header the user gave: token, no CR/LF/NUL, not one of the handshake's own. Values never
 * appear in the error. */
int options_check_header(const char *name_and_value, wsc_error **err);
int options_check_subprotocol(const char *name, wsc_error **err);

#endif
