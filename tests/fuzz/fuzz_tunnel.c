/* Answers of proxies: CONNECT and SOCKS5, with a login or without, in pieces. */
#include "error.h"
#include "fuzz.h"
#include "tunnel.h"
#include "wscengine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const proxies[] = {"http://p", "http://u:p@p", "socks5h://p", "socks5h://user:word@p",
                                        "https://p"};
  struct input in = {data, size};
  struct proxy p;
  struct url u;
  struct tunnel t;
  struct buffer out = {0};
  wsc_error *e = NULL;
  PROMISE(proxy_parse(proxies[take_byte(&in) % 5], &p, NULL) == WSC_OK);
  PROMISE(url_parse("wss://feed.example/", &u, NULL) == WSC_OK);
  size_t piece = (size_t)take_byte(&in) + 1;
  PROMISE(tunnel_begin(&t, &p, &u, NULL, &out, &e) == WSC_OK);
  int status = WSC_AGAIN;
  while (status == WSC_AGAIN) {
    size_t n;
    uint8_t *copy = take_copy(&in, piece, &n);
    status = tunnel_feed(&t, copy, n, &out, &e);
    free(copy);
    if (n == 0) PROMISE(status != WSC_AGAIN);
  }
  PROMISE((status == WSC_OK) == (e == NULL));
  if (status != WSC_OK) PROMISE(status == WSC_ERR_PROXY || status == WSC_ERR_PROXY_AUTH);
  wsc_error_unref(e);
  tunnel_free(&t);
  buffer_free(&out);
  proxy_free(&p);
  url_free(&u);
  return 0;
}
