/* One face for what a session rests on: the built-in connection, or a host adapter. The engine's lock is held. */
#define _GNU_SOURCE
#include "engine.h"
#include "error.h"
#include "os.h"

#include <string.h>

static wsc_connection *connection_of(const wsc_engine *e) { return e->session ? e->session->connection : NULL; }

/* The hook's changes hold for the rest of the run. */
static int adopt_attempt(wsc_engine *e, wsc_error **err) {
  struct wsc_attempt *a = e->attempt;
  if (a && a->options && a->options != e->options) {
    wsc_options_free(e->options);
    e->options = options_ref(a->options);
  }
  if (a && a->url.shown) {
    struct url next = {0};
    if (url_copy(&a->url, &next)) return error_set(err, WSC_ERR_NOMEM, "out of memory for a URL");
    url_free(&e->url);
    e->url = next;
  }
  if (e->url.secure && !e->trust && !e->host && !options_adapter(e->options))
    return tls_context_new(e->options, &e->trust, err);
  return WSC_OK;
}

int link_dial(wsc_engine *e) {
  wsc_error *error = NULL;
  int r = adopt_attempt(e, &error);
  wsc_error_unref(e->read_error);
  e->read_error = NULL;
  if (!r && e->host) {
    wsc_response_free(e->host->response);
    wsc_error_unref(e->host->error);
    e->host->response = NULL;
    e->host->error = NULL;
    e->host->read_errors = 0;
    e->host->news = 0;
    e->host->open = false;
    e->host->readers_out = true;
    if ((r = host_dial(e))) error_set(&error, r, "out of memory for asking the host to dial");
  } else if (!r) {
    r = connection_new(e->actor.loop, &e->actor, &e->url, e->options, e->trust, &e->owner, e, &e->session->connection,
                       &error);
    if (!r) {
      memcpy(e->session->connection->session_id, e->session->id, sizeof e->session->id);
      connection_dial(e->session->connection);
    }
  }
  if (r) engine_set_failure(e, error);
  return r;
}

const char *link_step(wsc_engine *e) {
  wsc_connection *k = connection_of(e);
  if (e->life.phase == PHASE_OPENING) return "on_open was running";
  if (!k) return e->host ? "the host was dialing" : "waiting for the next attempt";
  pthread_mutex_lock(&k->lock);
  const char *step = dial_step_name(k->state);
  pthread_mutex_unlock(&k->lock);
  return step;
}

void link_shut(wsc_engine *e, int code, const char *reason) {
  if (connection_of(e)) connection_shut(connection_of(e), code, reason);
  else if (e->host)
    host_ask(e, HOST_CLOSE, code, reason, options_int(e->options, WSC_OPT_CLOSE_TIMEOUT_MS) * NS_PER_MS);
}

void link_abort(wsc_engine *e, int code) {
  if (connection_of(e)) connection_abort(connection_of(e), code);
  else if (e->host && e->session) {
    struct host_ask *dial = &e->host->asks[HOST_DIAL];
    dial->token = 0; /* its answer means nothing any more */
    host_end(e, WSC_BY_LOCAL, code, WSC_TIMER_NONE, "", NULL);
    bool told = !dial->dial; /* otherwise the host has nothing to close */
    if (told) host_ask(e, HOST_CLOSE, code ? code : WSC_CLOSE_GOING_AWAY, "", 0);
    e->host->news = 0;
  }
}

void link_fence(wsc_engine *e) {
  if (connection_of(e)) connection_fence(connection_of(e));
}

void link_drop(wsc_engine *e) {
  if (connection_of(e)) connection_drop(connection_of(e));
}

unsigned link_news(wsc_engine *e) {
  if (connection_of(e)) return connection_take_news(connection_of(e));
  if (!e->host) return 0;
  unsigned news = e->host->news;
  e->host->news = 0;
  return news;
}

bool link_ended(wsc_engine *e) {
  if (connection_of(e)) return wsc_connection_closed(connection_of(e), NULL);
  return !e->host || !e->host->open;
}

bool link_queue_empty(wsc_engine *e) { return !connection_of(e) || connection_queue_empty(connection_of(e)); }

bool link_readers_out(wsc_engine *e) { return !e->host || e->host->readers_out; }

void link_stop_reading(wsc_engine *e) {
  if (!e->host || !e->session) return;
  e->host->readers_out = false;
  host_ask(e, HOST_STOP_READING, 0, "", 0);
}

wsc_error *link_error(wsc_engine *e) {
  if (connection_of(e)) return connection_error(connection_of(e));
  return e->host ? wsc_error_ref(e->host->error) : NULL;
}

const wsc_close *link_close(wsc_engine *e) {
  if (e->host) return &e->host->ended;
  return connection_of(e) ? &connection_of(e)->ended
                          : NULL; /* asked only once it has ended, when nothing changes it any more */
}

const wsc_response *link_response(wsc_engine *e) {
  if (connection_of(e)) return connection_of(e)->response;
  return e->host ? e->host->response : NULL;
}

void link_forget(wsc_engine *e) {
  wsc_connection *k = connection_of(e);
  if (!k) return;
  pthread_mutex_lock(&k->lock);
  struct traffic *sum = &e->traffic, *one = &k->traffic;
  one->dropped += batch_queue_clear(&k->queue);
  traffic_add(sum, one);
  if (!e->trust && k->trust && !k->home)
    e->trust = tls_context_ref(k->trust); /* for an https:// proxy: not loaded again */
  if (k->rtt_last_ns >= 0) {
    e->rtt_last_ns = k->rtt_last_ns;
    e->rtt_smoothed_ns = k->rtt_smoothed_ns;
  }
  *one = (struct traffic){0};
  pthread_mutex_unlock(&k->lock);
}
