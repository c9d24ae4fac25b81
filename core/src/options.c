/* Option sets: a byte a row of WSC_OPTION_MAP and a few words for each that was set, so that a snapshot is small enough to keep one for each
 * connection.
 * Setters only store; options_check.c judges. A snapshot never changes again, which is what makes sharing it safe. */
#include "options.h"

#include "adapter.h"
#include "mem.h"
#include "sized.h"
#include "wscengine/status.h"

#include <stdatomic.h>
#include <string.h>

struct list {
  size_t count, capacity;
  char *items[];
};

union value {
  int64_t number;
  char *text;
  struct list *list; /* NULL: empty */
};

struct setting {
  int row;
  union value value;
};

#define XX(name, id, type, scope, def, min, max, unit, py, flag, go, doc) ROW_##name,
enum { WSC_OPTION_MAP(XX) ROWS };
#undef XX

struct wsc_options {
  atomic_uint refs;
  bool frozen;
  const wsc_log *log; /* &log_copy or NULL */
  wsc_log log_copy;
  void *log_self;
  const wsc_tracer *tracer; /* &tracer_copy or NULL */
  wsc_tracer tracer_copy;
  void *tracer_self;
  struct adapter *adapter; /* NULL: the built-in connection */
  uint8_t at[ROWS];        /* 1 + where the row's value is; 0: it was not set */
  uint8_t count, capacity;
  struct setting *settings;
};

static const wsc_option_description rows[] = {
#define XX(name, id, type, scope, def, min, max, unit, py, flag, go, doc) \
  {sizeof rows[0], id, WSC_OPTION_##type, WSC_SCOPE_##scope, def, min, max, #name, unit, py, flag, go, doc, 0},
    WSC_OPTION_MAP(XX)
#undef XX
};

static bool is_secret(int id) {
  switch (id) {
#define XX(name) case WSC_OPT_##name:
    WSC_SECRET_OPTION_MAP(XX)
#undef XX
    return true;
  default: return false;
  }
}

/* Row + 1 by id; 0: no such option. */
static const uint8_t row_by_id[] = {
#define XX(name, id, type, scope, def, min, max, unit, py, flag, go, doc) [id] = ROW_##name + 1,
    WSC_OPTION_MAP(XX)
#undef XX
};

static int row_of(int id) { return id >= 0 && (size_t)id < sizeof row_by_id ? row_by_id[id] - 1 : -1; }
static bool is_number(int row) { return rows[row].type == WSC_OPTION_INT || rows[row].type == WSC_OPTION_BOOL; }

/* The row of an option of one of these two types, or -1. */
static int row_of_type(const wsc_options *o, int id, int type, int or_type) {
  int row = o != NULL ? row_of(id) : -1;
  return row >= 0 && (rows[row].type == type || rows[row].type == or_type) ? row : -1;
}

int wsc_option_info(int index, wsc_option_description *out) {
  if (out == NULL || out->struct_size < FIRST_OPTION_DESCRIPTION || index < 0 || index >= ROWS) return WSC_ERR_INVALID;
  wsc_option_description row = rows[index];
  row.flags = is_secret(row.id) ? WSC_OPTION_SECRET : 0;
  sized_write(out, &row, sizeof row);
  return WSC_OK;
}

wsc_options *wsc_options_new(void) {
  wsc_options *o = mem_zalloc(sizeof *o);
  if (o != NULL) atomic_init(&o->refs, 1);
  return o;
}

/* NULL: it was not set. */
static union value *value_of(const wsc_options *o, int row) {
  return o != NULL && o->at[row] != 0 ? &o->settings[o->at[row] - 1].value : NULL;
}

/* The row's value, made if there is none yet ({0} then); NULL: out of memory. */
static union value *value_for(wsc_options *o, int row) {
  union value *v = value_of(o, row);
  if (v != NULL) return v;
  if (o->count == o->capacity) {
    size_t capacity = o->capacity + 4u;
    struct setting *more = mem_realloc(o->settings, capacity * sizeof *more);
    if (more == NULL) return NULL;
    o->settings = more;
    o->capacity = (uint8_t)capacity;
  }
  o->settings[o->count] = (struct setting){.row = row};
  o->at[row] = ++o->count;
  return &o->settings[o->count - 1].value;
}

static void free_value(int row, union value *v) {
  if (rows[row].type == WSC_OPTION_STR) mem_free(v->text);
  if (rows[row].type == WSC_OPTION_LIST) {
    for (size_t i = 0; v->list != NULL && i < v->list->count; i++) mem_free(v->list->items[i]);
    mem_free(v->list);
  }
}

static void clear_row(wsc_options *o, int row) {
  union value *v = value_of(o, row);
  if (v == NULL) return;
  free_value(row, v);
  struct setting last = o->settings[--o->count]; /* takes the place that is free now */
  o->settings[o->at[row] - 1] = last;
  o->at[last.row] = o->at[row];
  o->at[row] = 0;
}

void wsc_options_free(wsc_options *o) {
  if (o == NULL || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1) return;
  for (unsigned i = 0; i < o->count; i++) free_value(o->settings[i].row, &o->settings[i].value);
  adapter_unref(o->adapter);
  mem_free(o->settings);
  mem_free(o);
}

static int list_append(struct list **list, const char *text) {
  struct list *l = *list;
  if (l == NULL || l->count == l->capacity) {
    size_t count = l != NULL ? l->count : 0, capacity = count != 0 ? count * 2 : 4;
    l = mem_realloc(l, sizeof *l + capacity * sizeof l->items[0]);
    if (l == NULL) return WSC_ERR_NOMEM;
    l->count = count;
    l->capacity = capacity;
    *list = l;
  }
  if ((l->items[l->count] = mem_strdup(text)) == NULL) return WSC_ERR_NOMEM;
  l->count++;
  return WSC_OK;
}

int wsc_options_set_int(wsc_options *o, int id, int64_t value) {
  int row = row_of_type(o, id, WSC_OPTION_INT, WSC_OPTION_BOOL);
  if (row < 0) return WSC_ERR_INVALID;
  if (o->frozen) return WSC_ERR_STATE;
  union value *v = value_for(o, row);
  if (v == NULL) return WSC_ERR_NOMEM;
  v->number = value;
  return WSC_OK;
}

int wsc_options_set_str(wsc_options *o, int id, const char *value) {
  int row = row_of_type(o, id, WSC_OPTION_STR, WSC_OPTION_LIST);
  if (row < 0) return WSC_ERR_INVALID;
  if (o->frozen) return WSC_ERR_STATE;
  if (value == NULL) {
    clear_row(o, row);
    return WSC_OK;
  }
  bool list = rows[row].type == WSC_OPTION_LIST;
  char *copy = list ? NULL : mem_strdup(value); /* before the old one goes: value may be it */
  union value *v = list || copy != NULL ? value_for(o, row) : NULL;
  int status = v == NULL ? WSC_ERR_NOMEM : list ? list_append(&v->list, value) : WSC_OK;
  if (status != WSC_OK) {
    mem_free(copy);
    if (list && v != NULL && v->list == NULL) clear_row(o, row); /* it was not set, and is not */
    return status;
  }
  if (list) return WSC_OK;
  mem_free(v->text);
  v->text = copy;
  return WSC_OK;
}

int wsc_options_get_int(const wsc_options *o, int id, int64_t *value) {
  int row = row_of_type(o, id, WSC_OPTION_INT, WSC_OPTION_BOOL);
  if (row < 0 || value == NULL) return WSC_ERR_INVALID;
  *value = options_int(o, id);
  return WSC_OK;
}

int wsc_options_set_log(wsc_options *o, const wsc_log *vtable, void *self) {
  if (o == NULL) return WSC_ERR_INVALID;
  if (vtable != NULL && (vtable->struct_size < FIRST_LOG || vtable->flags != 0)) return WSC_ERR_INVALID;
  wsc_log log = {0};
  if (vtable != NULL) sized_read(&log, sizeof log, vtable);
  if (vtable != NULL && log.line == NULL && log.record == NULL) return WSC_ERR_INVALID;
  if (o->frozen) return WSC_ERR_STATE;
  o->log_copy = log;
  o->log = vtable != NULL ? &o->log_copy : NULL;
  o->log_self = self;
  return WSC_OK;
}

bool tracer_usable(const wsc_tracer *vtable) {
  if (vtable == NULL || vtable->struct_size < FIRST_TRACER || vtable->flags != 0) return false;
  return vtable->span_start != NULL && vtable->span_event != NULL && vtable->span_end != NULL;
}

int wsc_options_set_tracer(wsc_options *o, const wsc_tracer *vtable, void *self) {
  if (o == NULL || (vtable != NULL && !tracer_usable(vtable))) return WSC_ERR_INVALID;
  if (o->frozen) return WSC_ERR_STATE;
  if (vtable != NULL) sized_read(&o->tracer_copy, sizeof o->tracer_copy, vtable);
  o->tracer = vtable != NULL ? &o->tracer_copy : NULL;
  o->tracer_self = self;
  return WSC_OK;
}

int wsc_options_set_adapter(wsc_options *o, const wsc_adapter *vtable, void *self) {
  if (o == NULL) return WSC_ERR_INVALID;
  if (o->frozen) return WSC_ERR_STATE;
  struct adapter *a = NULL, *before = o->adapter;
  int status = vtable != NULL ? adapter_new(vtable, self, &a) : WSC_OK;
  if (status != WSC_OK) return status;
  o->adapter = a;
  adapter_unref(before);
  return WSC_OK;
}

static int copy_row(wsc_options *to, int row, const union value *v) {
  if (is_number(row)) return wsc_options_set_int(to, rows[row].id, v->number);
  if (rows[row].type == WSC_OPTION_STR) return wsc_options_set_str(to, rows[row].id, v->text);
  for (size_t i = 0; v->list != NULL && i < v->list->count; i++) {
    if (wsc_options_set_str(to, rows[row].id, v->list->items[i]) != WSC_OK) return WSC_ERR_NOMEM;
  }
  return WSC_OK;
}

wsc_options *options_copy(const wsc_options *o) {
  wsc_options *copy = wsc_options_new();
  if (copy == NULL || o == NULL) return copy;
  wsc_options_set_log(copy, o->log, o->log_self);
  wsc_options_set_tracer(copy, o->tracer, o->tracer_self);
  copy->adapter = adapter_ref(o->adapter);
  for (unsigned i = 0; i < o->count; i++) {
    if (copy_row(copy, o->settings[i].row, &o->settings[i].value) != WSC_OK) {
      wsc_options_free(copy);
      return NULL;
    }
  }
  return copy;
}

wsc_options *options_snapshot(const wsc_options *o) {
  if (o != NULL && o->frozen) return options_ref((wsc_options *)(uintptr_t)o); /* only its count changes */
  wsc_options *copy = options_copy(o);
  if (copy != NULL) copy->frozen = true;
  return copy;
}

wsc_options *options_ref(wsc_options *o) {
  if (o != NULL) atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
  return o;
}

int64_t options_int(const wsc_options *o, int id) {
  int row = row_of(id);
  if (row < 0 || !is_number(row)) return 0;
  const union value *v = value_of(o, row);
  return v != NULL ? v->number : rows[row].default_value;
}

bool options_is_set(const wsc_options *o, int id) {
  int row = row_of(id);
  return row >= 0 && value_of(o, row) != NULL;
}

const char *options_str(const wsc_options *o, int id) {
  int row = row_of_type(o, id, WSC_OPTION_STR, WSC_OPTION_STR);
  const union value *v = row >= 0 ? value_of(o, row) : NULL;
  return v != NULL ? v->text : NULL;
}

const char *options_item(const wsc_options *o, int id, size_t index) {
  int row = row_of_type(o, id, WSC_OPTION_LIST, WSC_OPTION_LIST);
  const union value *v = row >= 0 ? value_of(o, row) : NULL;
  return v != NULL && v->list != NULL && index < v->list->count ? v->list->items[index] : NULL;
}

const char *options_name(int id) { return rows[row_of(id)].name; }

void options_clear(wsc_options *o, int id) {
  int row = row_of(id);
  if (o != NULL && row >= 0 && !o->frozen) clear_row(o, row);
}

const wsc_log *options_log(const wsc_options *o, void **self) {
  if (self != NULL) *self = o != NULL ? o->log_self : NULL;
  return o != NULL ? o->log : NULL;
}

const wsc_tracer *options_tracer(const wsc_options *o, void **self) {
  *self = o != NULL ? o->tracer_self : NULL;
  return o != NULL ? o->tracer : NULL;
}

struct adapter *options_adapter(const wsc_options *o) {
  return o != NULL ? o->adapter : NULL;
}
