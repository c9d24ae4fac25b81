/* The upgrade. The request is one block of bytes; the answer (answer.c) is judged at once when its header is whole, and a
 * refusal's body is read for what it says. */
#define _GNU_SOURCE
#include "handshake.h"

#include "ascii.h"
#include "error.h"
#include "random.h"
#include "response.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* The request */

static bool has_name(const char *header, const char *name) {
  size_t n = strlen(name);
  return strlen(header) > n && ascii_equal_n(header, name, n) && header[n] == ':';
}

static bool user_gave(const wsc_options *o, const char *name) {
  const char *header;
  for (size_t i = 0; (header = options_item(o, WSC_OPT_HEADER, i)) != NULL; i++)
    if (has_name(header, name)) return true;
  return false;
}

/* Items of a LIST in one header. */
static int append_list(struct buffer *out, const wsc_options *o, int id, const char *name, const char *separator) {
  const char *item;
  for (size_t i = 0; (item = options_item(o, id, i)) != NULL; i++)
    if (buffer_printf(out, "%s%s%s", i == 0 ? name : separator, i == 0 ? ": " : "", item) != WSC_OK)
      return WSC_ERR_NOMEM;
  return options_item(o, id, 0) ? buffer_append(out, "\r\n", 2) : WSC_OK;
}

static int append_user_headers(struct buffer *out, const wsc_options *o) {
  const char *header;
  for (size_t i = 0; (header = options_item(o, WSC_OPT_HEADER, i)) != NULL; i++) {
    const char *value = strchr(header, ':') + 1;
    int name = (int)(value - header - 1);
    while (*value == ' ' || *value == '\t') value++;
    if (buffer_printf(out, "%.*s: %s\r\n", name, header, value) != WSC_OK) return WSC_ERR_NOMEM;
  }
  return WSC_OK;
}

/* The options have been validated: no header stands in here twice but those that may. */
static int append_request(struct handshake *h, const struct url *u, const wsc_options *o, struct buffer *out) {
  const char *host = options_str(o, WSC_OPT_HOST_HEADER);
  if (buffer_printf(out, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", u->target,
                    host ? host : u->authority) != WSC_OK ||
      buffer_printf(out, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", h->key) != WSC_OK)
    return WSC_ERR_NOMEM;
  if (options_int(o, WSC_OPT_COMPRESSION) &&
      (buffer_printf(out, "Sec-WebSocket-Extensions: ") != WSC_OK || extension_offer(out, o) != WSC_OK ||
       buffer_append(out, "\r\n", 2) != WSC_OK))
    return WSC_ERR_NOMEM;
  if (append_list(out, o, WSC_OPT_SUBPROTOCOL, "Sec-WebSocket-Protocol", ", ") != WSC_OK) return WSC_ERR_NOMEM;
  const char *origin = options_str(o, WSC_OPT_ORIGIN);
  if (origin && buffer_printf(out, "Origin: %s\r\n", origin) != WSC_OK) return WSC_ERR_NOMEM;
  if (append_list(out, o, WSC_OPT_COOKIE, "Cookie", "; ") != WSC_OK) return WSC_ERR_NOMEM;
  if (u->authorization && !user_gave(o, "Authorization") &&
      buffer_printf(out, "Authorization: %s\r\n", u->authorization) != WSC_OK)
    return WSC_ERR_NOMEM;
  if (!user_gave(o, "User-Agent") && buffer_printf(out, "User-Agent: wscengine/%s\r\n", wsc_version()) != WSC_OK)
    return WSC_ERR_NOMEM;
  if (append_user_headers(out, o) != WSC_OK) return WSC_ERR_NOMEM;
  return buffer_append(out, "\r\n", 2);
}

int handshake_begin(struct handshake *h, const struct url *u, const wsc_options *o, struct buffer *out,
                    wsc_error **err) {
  *h = (struct handshake){0};
  uint8_t nonce[16];
  if (random_bytes(nonce, sizeof nonce) != WSC_OK)
    return error_set(err, WSC_ERR_IO, "no random bytes for the upgrade's key");
  EVP_EncodeBlock((unsigned char *)h->key, nonce, sizeof nonce);
  size_t before = out->length;
  h->shown = mem_strdup(u->shown);
  h->answer = (struct answer){.from = h->shown,
                              .who = "the server",
                              .to = "the upgrade request",
                              .status = WSC_ERR_HANDSHAKE,
                              .malformed = WSC_GIVE_UP_UPGRADE};
  if (h->shown && append_request(h, u, o, out) == WSC_OK) return WSC_OK;
  out->length = before;
  handshake_free(h);
  return error_set(err, WSC_ERR_NOMEM, "out of memory for the upgrade request");
}

static int no_memory(wsc_error **err) {
  return error_set(err, WSC_ERR_NOMEM, "out of memory for the answer to the upgrade request");
}

/* Judging a 101. Each returns WSC_OK or has failed. */

#define MALFORMED(h, err, ...) answer_fail(&h->answer, WSC_GIVE_UP_UPGRADE, err, "malformed upgrade: " __VA_ARGS__)

/* Whether a header, which may come several times and hold comma-separated lists, names the token. */
static bool lists_token(const wsc_response *r, const char *name, const char *token) {
  const char *value;
  size_t wanted = strlen(token);
  for (size_t at = 0; (value = response_next_header(r, name, &at)) != NULL;) {
    while (*value) {
      const char *item = value + strspn(value, " \t"), *end = value + strcspn(value, ",");
      size_t n = item < end ? (size_t)(end - item) : 0;
      while (n > 0 && (item[n - 1] == ' ' || item[n - 1] == '\t')) n--;
      if (n == wanted && ascii_equal_n(item, token, n)) return true;
      value = *end == ',' ? end + 1 : end;
    }
  }
  return false;
}

static int judge_token(struct handshake *h, const char *name, const char *token, wsc_error **err) {
  if (lists_token(h->answer.response, name, token)) return WSC_OK;
  const char *value = wsc_response_header(h->answer.response, name, 0);
  if (!value) return MALFORMED(h, err, "the answer 101 has no header \"%s: %s\"", name, token);
  return MALFORMED(h, err, "header %s is \"%.100s\", not \"%s\"", name, value, token);
}

static bool accept_of(const char *key, char out[static 29]) {
  char text[64];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  int n = snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  ERR_set_mark();
  int ok = EVP_Digest(text, (size_t)n, digest, &length, EVP_sha1(), NULL);
  ERR_pop_to_mark();
  if (ok != 1) return false;
  EVP_EncodeBlock((unsigned char *)out, digest, (int)length);
  return true;
}

static int judge_accept(struct handshake *h, wsc_error **err) {
  static const char name[] = "Sec-WebSocket-Accept";
  const char *value = wsc_response_header(h->answer.response, name, 0);
  char want[29];
  if (!value) return MALFORMED(h, err, "the answer 101 has no header %s", name);
  if (wsc_response_header(h->answer.response, name, 1))
    return MALFORMED(h, err, "header %s comes more than once", name);
  if (!accept_of(h->key, want)) return no_memory(err);
  if (strcmp(value, want) != 0)
    return MALFORMED(h, err,
                     "header %s is \"%.100s\", not \"%s\": not the answer to our key (a cache or a proxy in between?)",
                     name, value, want);
  return WSC_OK;
}

static int judge_subprotocol(struct handshake *h, const wsc_options *o, wsc_error **err) {
  static const char name[] = "Sec-WebSocket-Protocol";
  const char *value = wsc_response_header(h->answer.response, name, 0), *offered;
  if (!value) return WSC_OK;
  if (wsc_response_header(h->answer.response, name, 1))
    return MALFORMED(h, err, "header %s comes more than once", name);
  for (size_t i = 0; (offered = options_item(o, WSC_OPT_SUBPROTOCOL, i)) != NULL; i++) {
    if (strcmp(offered, value) != 0) continue;
    return response_set_subprotocol(h->answer.response, value, strlen(value)) == WSC_OK ? WSC_OK : no_memory(err);
  }
  if (!options_item(o, WSC_OPT_SUBPROTOCOL, 0))
    return MALFORMED(h, err, "the server chose subprotocol \"%.100s\", but none was offered", value);
  return MALFORMED(h, err, "the server chose subprotocol \"%.100s\", which was not offered", value);
}

static int judge_extensions(struct handshake *h, const wsc_options *o, wsc_error **err) {
  const char *value;
  char why[EXTENSION_WHY];
  for (size_t at = 0; (value = response_next_header(h->answer.response, "Sec-WebSocket-Extensions", &at)) != NULL;)
    if (!extension_accept(&h->terms, o, value, why))
      return MALFORMED(h, err, "the server chose extension \"%.100s\": %s", value, why);
  return WSC_OK;
}

static int judge(struct handshake *h, const wsc_options *o, wsc_error **err) {
  int status = judge_token(h, "Upgrade", "websocket", err);
  if (status == WSC_OK) status = judge_token(h, "Connection", "Upgrade", err);
  if (status == WSC_OK) status = judge_accept(h, err);
  if (status == WSC_OK) status = judge_subprotocol(h, o, err);
  if (status == WSC_OK) status = judge_extensions(h, o, err);
  return status;
}

/* Feeding */

static int refuse(struct handshake *h, wsc_error **err) {
  wsc_response *r = h->answer.response;
  h->answer.response = NULL;
  return refusal_error(r, h->shown, NULL, err);
}

static int feed_body(struct handshake *h, const uint8_t *p, size_t n, size_t *used, wsc_error **err) {
  *used += n; /* nothing of a refused connection is ever read as frames */
  int status = refusal_feed(&h->body, h->answer.response, p, n);
  if (status == WSC_AGAIN) return WSC_AGAIN;
  return status == WSC_OK ? refuse(h, err) : no_memory(err);
}

int handshake_feed(struct handshake *h, const wsc_options *o, const uint8_t *p, size_t n, size_t *used,
                   wsc_error **err) {
  *used = 0;
  if (h->refused && n == 0) return refuse(h, err);
  if (h->refused) return feed_body(h, p, n, used, err);
  int status = answer_feed(&h->answer, p, n, used, err);
  if (status != WSC_OK) return status;
  if (wsc_response_status(h->answer.response) == 101) return judge(h, o, err);
  h->refused = true;
  refusal_begin(&h->body, h->answer.response);
  if (h->body.kind == BODY_NONE) return refuse(h, err);
  return *used < n ? feed_body(h, p + *used, n - *used, used, err) : WSC_AGAIN;
}

void handshake_free(struct handshake *h) {
  answer_free(&h->answer);
  mem_free(h->shown);
  *h = (struct handshake){0};
}
