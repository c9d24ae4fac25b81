/* One answer to an upgrade, fed whole, byte by byte, and cut at every place: for the tests of the handshake. */
#ifndef WSC_HANDSHAKE_FEED_H
#define WSC_HANDSHAKE_FEED_H

#include "handshake.h"

#include "check.h"
#include "error.h"
#include "os.h"
#include "response.h"

#include <openssl/evp.h>
#include <stdarg.h>

static inline struct url parse(const char *text) {
  struct url u;
  CHECK_EQ(url_parse(text, &u, NULL), WSC_OK);
  return u;
}

static inline const char *accept_of(const char *key, char out[64]) {
  char text[100];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n;
  snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  CHECK_EQ(EVP_Digest(text, strlen(text), digest, &n, EVP_sha1(), NULL), 1);
  EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
  return out;
}

static wsc_options *options;

/* How one answer ended. */
struct ended {
  int status;
  size_t used;
  wsc_response *response; /* of WSC_OK */
  wsc_error *error;
};

static inline void forget(struct ended *e) {
  wsc_response_free(e->response);
  wsc_error_unref(e->error);
}

/* Puts the right Accept in for "ACCEPT". */
static inline size_t prepare(const char *answer, size_t n, const char *key, char *out) {
  char accept[64];
  const char *at = memmem(answer, n, "ACCEPT", 6);
  if (!at) {
    memcpy(out, answer, n);
    return n;
  }
  size_t before = (size_t)(at - answer);
  memcpy(out, answer, before);
  memcpy(out + before, accept_of(key, accept), 28);
  memcpy(out + before + 28, at + 6, n - before - 6);
  return n + 22;
}

/* Feeds the answer up to `cut`, then the rest, each in steps of at most `step`; then the end of the stream. */
static inline struct ended feed(const char *answer, size_t n, size_t cut, size_t step) {
  struct handshake h;
  struct buffer out = {0};
  struct url u = parse("ws://example.org/");
  struct ended e = {0};
  CHECK_EQ(handshake_begin(&h, &u, options, &out, NULL), WSC_OK);
  char *text = malloc(n + 64);
  n = prepare(answer, n, h.key, text);
  e.status = WSC_AGAIN;
  for (size_t at = 0; e.status == WSC_AGAIN && at <= n;) {
    size_t part = at < cut && cut < n ? cut - at : n - at, used = 0;
    if (part > step) part = step;
    uint8_t *exact = malloc(part ? part : 1); /* so that a sanitizer sees a read past the end */
    memcpy(exact, text + at, part);
    e.status = handshake_feed(&h, options, exact, part, &used, &e.error);
    free(exact);
    CHECK(used <= part);
    if (e.status == WSC_AGAIN) CHECK_EQ(used, part);
    e.used += used;
    at += part;
    if (part == 0) break;
  }
  if (e.status == WSC_OK) {
    e.response = h.answer.response;
    h.answer.response = NULL;
  }
  free(text);
  handshake_free(&h);
  buffer_free(&out);
  url_free(&u);
  return e;
}

static inline struct ended feed_whole(const char *answer) { return feed(answer, strlen(answer), 0, SIZE_MAX); }

static inline void accepted(const char *answer, size_t frames, const char *subprotocol) {
  size_t n = strlen(answer);
  for (size_t cut = 0; cut <= n + 22; cut++) {
    struct ended e = feed(answer, n, cut, cut == 0 ? 1 : SIZE_MAX); /* cut 0 stands for byte by byte */
    if (e.status != WSC_OK) fprintf(stderr, "%s\n", wsc_error_message(e.error));
    CHECK_EQ(e.status, WSC_OK);
    CHECK_EQ(e.used, n + 22 - frames);
    CHECK_EQ(wsc_response_status(e.response), 101);
    CHECK_STR(wsc_response_subprotocol(e.response), subprotocol);
    forget(&e);
  }
}

/* The same error however the answer is cut; what it says. */
static inline void refused(const char *answer, int fatal, int http_status, const char *part) {
  size_t n = strlen(answer);
  for (size_t cut = 0; cut <= n; cut++) {
    struct ended e = feed(answer, n, cut, cut == 0 ? 1 : SIZE_MAX);
    CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
    CHECK_HAS(wsc_error_message(e.error), part);
    CHECK_HAS(wsc_error_message(e.error), "ws://example.org/: ");
    CHECK_EQ(error_fatal(e.error), fatal);
    CHECK_EQ(wsc_error_http_status(e.error), http_status);
    CHECK_EQ(wsc_response_status(wsc_error_response(e.error)), http_status);
    forget(&e);
  }
}

static inline char *repeat(const char *start, char c, size_t n) {
  size_t length = strlen(start);
  char *text = malloc(length + n + 1);
  memcpy(text, start, length);
  memset(text + length, c, n);
  text[length + n] = 0;
  return text;
}

#define GOOD \
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"

#endif
