/* Shared by the rooms of the commands. */
#ifndef DRIVER_COMMANDS_H
#define DRIVER_COMMANDS_H

#include "driver.h"

/* driver_arguments.c */
void end_with(struct line *out, int status, wsc_error *error); /* takes the error over */
/* timeout_ms and cancel of a command; NULL when it has neither. */
const wsc_context *context_of(const struct json *c, wsc_context *room);
int options_of(const struct json *c, wsc_options **out);
/* The bytes a write sends, to be freed: "text", "hex", or "size" bytes of the suite's pattern. */
uint8_t *payload_of(const struct json *c, size_t *n);
int type_of(const struct json *c);

/* driver_commands.c */
wsc_engine *engine_of(const struct scope *s);
wsc_session *session_of(const struct scope *s,
                        const struct json *c); /* whom a command means, with a reference; NULL: none */

/* driver_connection.c */
void run_write(struct scope *s, const struct json *c, struct line *out);
void run_write_many(struct scope *s, const struct json *c, struct line *out);
void run_echo(struct scope *s, const struct json *c, struct line *out);
void run_read(struct scope *s, const struct json *c, struct line *out);
void run_ping(struct scope *s, const struct json *c, struct line *out);
void run_close(struct scope *s, const struct json *c, struct line *out);
void run_cork(struct scope *s, const struct json *c, struct line *out);
void run_uncork(struct scope *s, const struct json *c, struct line *out);
void run_connect(struct scope *s, const struct json *c, struct line *out);
void run_disconnect(struct scope *s, const struct json *c, struct line *out);
void connection_end_own(void);

#endif
