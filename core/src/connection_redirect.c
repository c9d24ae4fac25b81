/* Redirects of the upgrade (RFC 9110 section 15.4). A connection remembers where it was made for: the next dial begins
 * there again. */
#define _GNU_SOURCE
#include "ascii.h"
#include "connection.h"
#include "error.h"
#include "mem.h"

#include <stdio.h>

static bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool begins(const char *text, const char *scheme) {
  size_t n = strlen(scheme);
  return strlen(text) >= n && ascii_equal_n(text, scheme, n);
}

static bool has_scheme(const char *text) {
  size_t n = 0;
  while (ascii_alnum(text[n]) || (text[n] != 0 && strchr("+-.", text[n]) != NULL)) n++;
  return n > 0 && text[n] == ':';
}

/* "ws://host:port" of base, with what the Host header leaves out: the zone of an address. */
static int origin(const struct url *base, struct buffer *out) {
  const char *scheme = base->secure ? "wss" : "ws", *zone = strchr(base->host, '%');
  if (!zone) return buffer_printf(out, "%s://%s", scheme, base->authority);
  return buffer_printf(out, "%s://[%.*s%%25%s]:%u", scheme, (int)(zone - base->host), base->host, zone + 1,
                       (unsigned)base->port);
}

/* Location relative to base (RFC 3986 section 5.2, without the removal of dots, which a server does itself), as a ws or wss
 * URL without its fragment. */
static int absolute(const struct url *base, const char *location, struct buffer *out) {
  int n = (int)strcspn(location, "#"), path = (int)strcspn(base->target, "?");
  int folder = path;
  while (folder > 0 && base->target[folder - 1] != '/') folder--;
  if (begins(location, "https://")) return buffer_printf(out, "wss%.*s", n - 5, location + 5);
  if (begins(location, "http://")) return buffer_printf(out, "ws%.*s", n - 4, location + 4);
  if (has_scheme(location)) return buffer_printf(out, "%.*s", n, location);
  if (begins(location, "//")) return buffer_printf(out, "%s:%.*s", base->secure ? "wss" : "ws", n, location);
  if (*location == '/') folder = 0;
  else if (*location == '?') folder = path;
  else if (n == 0) folder = (int)strlen(base->target); /* only a fragment: the same again */
  int status = origin(base, out);
  return status ? status : buffer_printf(out, "%.*s%.*s", folder, base->target, n, location);
}

/* The same server, or the same host's secure one: what was meant for the one may be told to the other. */
static bool same_server(const struct url *a, const struct url *b) {
  if (strcmp(a->host, b->host) != 0) return false;
  if (a->secure == b->secure) return a->port == b->port;
  return !a->secure && a->port == 80 && b->port == 443;
}

/* What the next request is made of: next, and options without what only the first server may see. */
static int leave_home(wsc_connection *k, struct url *next) {
  bool same = same_server(&k->url, next);
  wsc_options *stripped = NULL, *changed = NULL;
  if (same && k->url.authorization && !next->authorization && !(next->authorization = mem_strdup(k->url.authorization)))
    return WSC_ERR_NOMEM;
  if (!same) {
    if (!(changed = options_copy(k->options))) return WSC_ERR_NOMEM;
    options_clear(changed, WSC_OPT_HEADER);
    options_clear(changed, WSC_OPT_COOKIE);
    options_clear(changed, WSC_OPT_HOST_HEADER);
    options_clear(changed, WSC_OPT_TLS_SERVER_NAME);
    options_clear(changed, WSC_OPT_CERT_FILE);
    options_clear(changed, WSC_OPT_KEY_FILE);
    stripped = options_snapshot(changed);
    wsc_options_free(changed);
    if (!stripped) return WSC_ERR_NOMEM;
  }
  if (!k->home) {
    if (!(k->home = mem_zalloc(sizeof *k->home))) {
      wsc_options_free(stripped);
      return WSC_ERR_NOMEM;
    }
    k->home->url = k->url;
    k->home->options = options_ref(k->options);
    k->home->trust = k->trust ? tls_context_ref(k->trust) : NULL;
  } else {
    url_free(&k->url);
  }
  k->url = *next;
  *next = (struct url){0};
  if (stripped) {
    wsc_options_free(k->options);
    k->options = stripped;
    tls_context_unref(k->trust); /* made anew of these, if there is need of it */
    k->trust = NULL;
  }
  k->home->redirects++;
  return WSC_OK;
}

void redirect_return(wsc_connection *k) {
  if (!k->home) return;
  url_free(&k->url);
  wsc_options_free(k->options);
  tls_context_unref(k->trust);
  k->url = k->home->url;
  k->options = k->home->options;
  k->trust = k->home->trust;
  mem_free(k->home);
  k->home = NULL;
}

static void hang_up(wsc_connection *k) {
  dial_drop(k);
  poller_remove(&k->loop->poller, k->transport.fd);
  transport_finish(&k->transport);
  transport_close(&k->transport);
  k->readable = k->hangup = false;
}

/* The refusal stays the error's cause: its status, its headers. */
static int refuse(wsc_connection *k, wsc_error **err, const char *why, const char *location, int64_t most) {
  struct error_info info = {.status = WSC_ERR_HANDSHAKE, .cause = *err, .plain = true};
  char count[64] = "", to[URL_REDACTED_SIZE];
  if (most) snprintf(count, sizeof count, " (max_redirects is %d)", (int)most);
  *err = NULL;
  return error_set_info(err, &info, "%s: redirected to %s, %s%s", k->url.shown, url_redact(location, to), why, count);
}

int redirect_follow(wsc_connection *k, wsc_error **err) {
  const wsc_response *r = err ? wsc_error_response(*err) : NULL;
  int64_t most = options_int(k->options, WSC_OPT_MAX_REDIRECTS);
  const char *location = r ? wsc_response_header(r, "Location", 0) : NULL;
  if (!most || !location || !*location || !is_redirect(wsc_response_status(r))) return WSC_ERR_HANDSHAKE;
  if (k->home && k->home->redirects >= most) return refuse(k, err, "once too often", location, most);

  struct buffer text = {0};
  struct url next = {0};
  wsc_error *bad = NULL;
  int status = absolute(&k->url, location, &text);
  if (!status) status = url_parse((const char *)text.data, &next, &bad);
  buffer_free(&text);
  if (status == WSC_ERR_INVALID) status = refuse(k, err, wsc_error_message(bad), location, 0);
  else if (!status && k->url.secure && !next.secure)
    status = refuse(k, err, "from wss:// to ws://: that would send in the clear what was encrypted", location, 0);
  else if (!status) status = leave_home(k, &next);
  wsc_error_unref(bad);
  url_free(&next);
  if (status == WSC_ERR_NOMEM) {
    wsc_error_unref(*err);
    *err = NULL;
    return error_set(err, status, "%s: out of memory for a redirect", k->url.shown);
  }
  if (status) return status;
  connection_log(k, WSC_LOG_INFO, "dial", "redirected to %s", k->url.shown);
  wsc_error_unref(*err);
  *err = NULL;
  hang_up(k);
  k->state = CONN_RESOLVING;
  return WSC_OK;
}
