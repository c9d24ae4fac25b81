/* URLs, of servers and of proxies: every text is refused or read; what was read is read the same when it is copied, and no
 * password is in what is shown. */
#include "fuzz.h"
#include "proxy.h"
#include "url.h"
#include "wscengine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  char *text = take_text(&in, size);
  struct url u, copy;
  wsc_error *e = NULL;
  if (url_parse(text, &u, &e) == WSC_OK) {
    PROMISE(e == NULL && u.host && *u.host && u.port > 0 && u.target && *u.target == '/');
    PROMISE(strchr(u.target, '#') == NULL && strpbrk(u.authority, "\r\n @") == NULL);
    PROMISE(url_copy(&u, &copy) == WSC_OK && strcmp(copy.shown, u.shown) == 0);
    url_free(&copy);
  } else {
    PROMISE(e != NULL && *wsc_error_message(e) != 0);
  }
  wsc_error_unref(e);
  url_free(&u);
  struct proxy p;
  e = NULL;
  PROMISE((proxy_parse(text, &p, &e) == WSC_OK) == (e == NULL));
  wsc_error_unref(e);
  proxy_free(&p);
  (void)proxy_is_excepted(text, "feed.example.org");
  (void)proxy_is_excepted(text, "192.0.2.1");
  (void)proxy_is_excepted("example.org 192.0.2.0/24 2001:db8::/32", text);
  free(text);
  return 0;
}
