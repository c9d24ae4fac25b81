/* What wsc prints about an event: messages or JSON objects on standard output, and for people, on standard error,
 * what went wrong. */
#ifndef WSC_TOOL_REPORT_H
#define WSC_TOOL_REPORT_H

#include <wscengine.h>

#include "cli.h"
#include "text.h"

void report_open(const struct settings *s, struct bytes *out, const wsc_event *ev);
void report_message(const struct settings *s, struct bytes *out, const wsc_event *ev, const wsc_record *r);
/* reply: what we are about to send when the connection is still open (ev says so), else NULL. quiet: people need not
 * be told. */
void report_close(const struct settings *s, struct bytes *out, const wsc_event *ev, const wsc_reply *reply, bool quiet);
void report_close_error(const struct settings *s, struct bytes *out, const wsc_event *ev);
void report_restart_error(const struct settings *s, struct bytes *out, const wsc_event *ev);
/* Any other error; session may be NULL. */
void report_error(const struct settings *s, struct bytes *out, const wsc_session *session, const char *text);
void report_log(const wsc_event *ev);
void report_stats(wsc_engine *e);

#endif
