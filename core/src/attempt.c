/* One attempt to connect, as hooks and adapters see it. */
#include "attempt.h"

#include "error.h"
#include "mem.h"

struct wsc_attempt *attempt_new(const struct url *url, wsc_options *o) {
  struct wsc_attempt *a = mem_zalloc(sizeof *a);
  if (!a || url_copy(url, &a->url)) {
    mem_free(a);
    return NULL;
  }
  a->options = options_ref(o);
  return a;
}

void attempt_free(struct wsc_attempt *a) {
  if (!a) return;
  url_free(&a->url);
  wsc_options_free(a->options);
  wsc_error_unref(a->last_error);
  mem_free(a);
}

uint32_t wsc_attempt_number(const wsc_attempt *a) { return a ? a->number : 0; }
const wsc_error *wsc_attempt_last_error(const wsc_attempt *a) { return a ? a->last_error : NULL; }
const char *wsc_attempt_url(const wsc_attempt *a) { return a ? a->url.shown : ""; }

const char *wsc_attempt_header(const wsc_attempt *a, size_t index) {
  return a ? options_item(a->options, WSC_OPT_HEADER, index) : NULL;
}

const char *wsc_attempt_subprotocol(const wsc_attempt *a, size_t index) {
  return a ? options_item(a->options, WSC_OPT_SUBPROTOCOL, index) : NULL;
}

int wsc_attempt_set_url(wsc_attempt *a, const char *url, wsc_error **err) {
  if (!a) return error_set(err, WSC_ERR_INVALID, "attempt is NULL");
  struct url parsed = {0};
  int r = url_parse(url, &parsed, err);
  if (r) return r;
  url_free(&a->url);
  a->url = parsed;
  return WSC_OK;
}

/* The attempt's options are a shared snapshot: a change makes a snapshot of its own. */
static int change(wsc_attempt *a, int id, const char *value, wsc_error **err) {
  wsc_options *next = options_copy(a->options);
  if (!next) return error_set(err, WSC_ERR_NOMEM, "out of memory for an attempt");
  if (value) {
    int r = wsc_options_set_str(next, id, value);
    if (!r) r = wsc_options_validate(next, err);
    else error_set(err, r, "out of memory for an attempt");
    if (r) {
      wsc_options_free(next);
      return r;
    }
  } else {
    options_clear(next, id);
  }
  wsc_options *shared = options_snapshot(next);
  wsc_options_free(next);
  if (!shared) return error_set(err, WSC_ERR_NOMEM, "out of memory for an attempt");
  wsc_options_free(a->options);
  a->options = shared;
  return WSC_OK;
}

int wsc_attempt_add_header(wsc_attempt *a, const char *header, wsc_error **err) {
  if (!a || !header) return error_set(err, WSC_ERR_INVALID, "attempt or header is NULL");
  return change(a, WSC_OPT_HEADER, header, err);
}

int wsc_attempt_add_subprotocol(wsc_attempt *a, const char *name, wsc_error **err) {
  if (!a || !name) return error_set(err, WSC_ERR_INVALID, "attempt or subprotocol is NULL");
  return change(a, WSC_OPT_SUBPROTOCOL, name, err);
}

void wsc_attempt_clear_headers(wsc_attempt *a) {
  if (a) change(a, WSC_OPT_HEADER, NULL, NULL);
}

void wsc_attempt_clear_subprotocols(wsc_attempt *a) {
  if (a) change(a, WSC_OPT_SUBPROTOCOL, NULL, NULL);
}

void wsc_attempt_set_delay_ms(wsc_attempt *a, int64_t delay_ms) {
  if (a && delay_ms >= 0) a->delay_ms = delay_ms;
}

void wsc_attempt_set_retry_delay_ms(wsc_attempt *a, int64_t delay_ms) {
  if (a && delay_ms >= 0) a->retry_delay_ms = delay_ms;
}

void wsc_attempt_reset(wsc_attempt *a) {
  if (a) a->reset = true;
}
