/* Answers to an upgrade, in pieces. First byte: the size of the pieces. "ACCEPT" in the input stands for the right
 * Sec-WebSocket-Accept, which no fuzzer guesses. */
#define _GNU_SOURCE
#include "error.h"
#include "fuzz.h"
#include "handshake.h"
#include "os.h"
#include "wscengine.h"

#include <openssl/evp.h>
#include <stdio.h>

static wsc_options *options;

static void accept_of(const char *key, char out[64]) {
  char text[100];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n;
  snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  EVP_Digest(text, strlen(text), digest, &n, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!options) {
    options = wsc_options_new();
    wsc_options_set_str(options, WSC_OPT_SUBPROTOCOL, "chat");
    wsc_options_set_int(options, WSC_OPT_COMPRESSION, 1);
  }
  struct input in = {data, size};
  size_t piece = (size_t)take_byte(&in) * 16 + 1;
  struct url u;
  struct handshake h;
  struct buffer out = {0}, answer = {0};
  wsc_error *e = NULL;
  PROMISE(url_parse("ws://example.org/", &u, NULL) == WSC_OK);
  PROMISE(handshake_begin(&h, &u, options, &out, NULL) == WSC_OK);
  const uint8_t *at = in.n ? memmem(in.p, in.n, "ACCEPT", 6) : NULL;
  if (at) {
    char accept[64];
    accept_of(h.key, accept);
    buffer_append(&answer, in.p, (size_t)(at - in.p));
    buffer_append(&answer, accept, strlen(accept));
    buffer_append(&answer, at + 6, in.n - (size_t)(at - in.p) - 6);
  } else {
    buffer_append(&answer, in.p, in.n);
  }
  struct input rest = {answer.data, answer.length};
  int status = WSC_AGAIN;
  while (status == WSC_AGAIN) {
    size_t n, used;
    uint8_t *copy = take_copy(&rest, piece, &n);
    status = handshake_feed(&h, options, copy, n, &used, &e);
    free(copy);
    PROMISE(used <= n);
    if (n == 0) PROMISE(status != WSC_AGAIN);
  }
  PROMISE((status == WSC_OK) == (e == NULL));
  if (status == WSC_OK) PROMISE(wsc_response_status(h.answer.response) == 101);
  wsc_error_unref(e);
  handshake_free(&h);
  buffer_free(&out);
  buffer_free(&answer);
  url_free(&u);
  return 0;
}
