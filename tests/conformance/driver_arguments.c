/* What the commands carry, read; and how they end. */
#define _GNU_SOURCE
#include "driver_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void end_with(struct line *out, int status, wsc_error *error) {
  line_text(out, "status", wsc_status_name(status));
  if (error) line_error(out, "error", error);
  wsc_error_unref(error);
}

const wsc_context *context_of(const struct json *c, wsc_context *room) {
  int64_t timeout = json_int(c, "timeout_ms", -1);
  const char *cancel = json_text(c, "cancel", NULL);
  if (timeout < 0 && !cancel) return NULL;
  *room = (wsc_context){.struct_size = sizeof *room};
  if (timeout >= 0) room->deadline_ns = wsc_now_ns() + timeout * 1000000;
  if (cancel) room->cancel = cancel_named(cancel);
  return room;
}

static int option_id(const char *name) {
  static const struct {
    const char *name;
    int id;
  } table[] = {
#define XX(name, id, type, scope, def, min, max, unit, py, flag, go, doc) {#name, id},
      WSC_OPTION_MAP(XX)
#undef XX
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (!strcmp(table[i].name, name)) return table[i].id;
  return 0;
}

static int set_option(wsc_options *o, int id, const struct json *value) {
  int status = WSC_OK;
  switch (value->type) {
  case JSON_ARRAY:
    for (const struct json *item = value->child; item && status == WSC_OK; item = item->next)
      status = set_option(o, id, item);
    return status;
  case JSON_STRING: return wsc_options_set_str(o, id, value->string);
  case JSON_NUMBER:
  case JSON_BOOL: return wsc_options_set_int(o, id, value->number);
  default: return WSC_ERR_INVALID;
  }
}

static bool by_adapter;

void commands_by_adapter(void) { by_adapter = true; }

/* The built-in connection again, but behind an adapter's verbs. Options that it refuses are refused once more by who takes them next. */
static int set_adapter(wsc_options *o) {
  wsc_adapter vtable = {.struct_size = sizeof vtable};
  void *self = NULL;
  int status = wsc_adapter_builtin(o, &vtable, &self, NULL);
  if (status == WSC_OK) status = wsc_options_set_adapter(o, &vtable, self);
  return status == WSC_ERR_INVALID ? WSC_OK : status;
}

int options_of(const struct json *c, wsc_options **out) {
  const struct json *set = json_get(c, "options");
  wsc_options *o = wsc_options_new();
  if (!o) return WSC_ERR_NOMEM;
  int status = WSC_OK;
  for (const struct json *option = set ? set->child : NULL; option && status == WSC_OK; option = option->next)
    status = set_option(o, option_id(option->key), option);
  if (status == WSC_OK && by_adapter) status = set_adapter(o);
  *out = o;
  return status;
}

uint8_t *payload_of(const struct json *c, size_t *n) {
  const struct json *text = json_get(c, "text");
  const char *hex = json_text(c, "hex", NULL);
  *n = text ? text->length : hex ? strlen(hex) / 2 : (size_t)json_int(c, "size", 0);
  uint8_t *p = malloc(*n + 1);
  if (!p) abort();
  for (size_t i = 0; i < *n; i++) {
    unsigned byte = 0;
    if (text) byte = (unsigned char)text->string[i];
    else if (hex) sscanf(hex + 2 * i, "%2x", &byte);
    else byte = 'a' + (unsigned)(i % 23);
    p[i] = (uint8_t)byte;
  }
  return p;
}

int type_of(const struct json *c) {
  const char *type = json_text(c, "type", "text");
  return !strcmp(type, "text") ? WSC_TEXT : !strcmp(type, "binary") ? WSC_BINARY : 77;
}
