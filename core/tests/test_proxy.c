/* Which proxy is taken: the option, the environment by curl's rules, the exceptions. */
#define _GNU_SOURCE
#include "proxy.h"

#include "check.h"
#include "wscengine.h"

static void urls_of_proxies(void) {
  static const struct {
    const char *text, *host;
    enum proxy_kind kind;
    uint16_t port;
    const char *authorization, *shown;
  } good[] = {
      {"http://proxy.example:3128", "proxy.example", PROXY_HTTP, 3128, NULL, "http://proxy.example:3128"},
      {"proxy.example", "proxy.example", PROXY_HTTP, 1080, NULL, "http://proxy.example"},
      {"proxy.example:8080/", "proxy.example", PROXY_HTTP, 8080, NULL, "http://proxy.example:8080/"},
      {"https://u:p@[::1]", "::1", PROXY_HTTPS, 443, "Basic dTpw", "https://u:***@[::1]"},
      {"socks5://10.0.0.1", "10.0.0.1", PROXY_SOCKS5, 1080, NULL, "socks5://10.0.0.1"},
      {"SOCKS5H://me:%40@proxy", "proxy", PROXY_SOCKS5H, 1080, "Basic bWU6QA==", "socks5h://me:***@proxy"},
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    struct proxy p;
    CHECK_EQ(proxy_parse(good[i].text, &p, NULL), WSC_OK);
    CHECK_EQ(p.kind, good[i].kind);
    CHECK_STR(p.url.host, good[i].host);
    CHECK_EQ(p.url.port, good[i].port);
    CHECK_STR(p.url.authorization, good[i].authorization);
    CHECK_STR(p.url.shown, good[i].shown);
    proxy_free(&p);
  }
  static const char *const bad[][2] = {
      {"socks4://h", "none of http://, https://, socks5:// or socks5h://"},
      {"", "no host"},
      {"http://h:0", "not 1 to 65535"},
      {"http://a b", "space"},
      {"http://u:secret@h:x", "no number"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct proxy p;
    wsc_error *e = NULL;
    CHECK_EQ(proxy_parse(bad[i][0], &p, &e), WSC_ERR_INVALID);
    CHECK_HAS(wsc_error_message(e), bad[i][1]);
    CHECK(strstr(wsc_error_message(e), "secret") == NULL);
    wsc_error_unref(e);
  }
}

/* curl's own examples and their neighbours. */
static void exceptions(void) {
  static const struct {
    const char *no_proxy, *host;
    bool excepted;
  } rows[] = {
      {"*", "anything.example", true},
      {"*, other", "anything.example", false},
      {"example.org", "example.org", true},
      {"example.org", "www.example.org", true},
      {"example.org", "nexample.org", false},
      {"example.org", "example.org.uk", false},
      {".example.org", "example.org", true},
      {".example.org", "a.b.example.org", true},
      {"EXAMPLE.org.", "www.example.ORG.", true},
      {"a, b\tc  ,example.org", "example.org", true},
      {"a,,b", "c", false},
      {"", "c", false},
      {"192.0.2.1", "192.0.2.1", true},
      {"192.0.2.1", "192.0.2.10", false},
      {"192.0.2.0/24", "192.0.2.77", true},
      {"192.0.2.0/25", "192.0.2.177", false},
      {"192.0.2.0/33", "192.0.2.0", false},
      {"192.0.2.0/", "192.0.2.0", false},
      {"192.0.2.0/2x", "192.0.2.0", false},
      {"0.0.0.0/0", "203.0.113.9", true},
      {"0.0.0.0/0", "2001:db8::1", false},
      {"2001:db8::/32", "2001:db8:1::2", true},
      {"2001:db8::/33", "2001:db8:8000::2", false},
      {"[::1]", "::1", true},
      {"::1", "0:0:0:0:0:0:0:1", true},
      {"2.1", "192.0.2.1", false},
      {"192.0.2.0/24", "name.192.0.2.example", false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (proxy_is_excepted(rows[i].no_proxy, rows[i].host) != rows[i].excepted)
      fprintf(stderr, "no_proxy \"%s\", host %s\n", rows[i].no_proxy, rows[i].host);
    CHECK_EQ(proxy_is_excepted(rows[i].no_proxy, rows[i].host), rows[i].excepted);
  }
}

/* The proxy's host for a target; NULL: direct. */
static const char *choice(const wsc_options *o, const char *target, char out[64]) {
  struct url u;
  struct proxy p;
  CHECK_EQ(url_parse(target, &u, NULL), WSC_OK);
  CHECK_EQ(proxy_choose(o, &u, &p, NULL), WSC_OK);
  snprintf(out, 64, "%s", p.kind != PROXY_NONE ? p.url.host : "");
  proxy_free(&p);
  url_free(&u);
  return *out ? out : NULL;
}

static void set(const char *name, const char *value) { CHECK_EQ(setenv(name, value, 1), 0); }

static void the_environment(void) {
  char out[64];
  clearenv();
  CHECK_STR(choice(NULL, "ws://a.example/", out), NULL);
  set("HTTP_PROXY", "http://danger"); /* a CGI program's client could set it */
  CHECK_STR(choice(NULL, "ws://a.example/", out), NULL);
  set("ALL_PROXY", "socks5h://all");
  CHECK_STR(choice(NULL, "ws://a.example/", out), "all");
  CHECK_STR(choice(NULL, "wss://a.example/", out), "all");
  set("http_proxy", "http://plain");
  set("HTTPS_PROXY", "http://secure");
  CHECK_STR(choice(NULL, "ws://a.example/", out), "plain");
  CHECK_STR(choice(NULL, "wss://a.example/", out), "secure");
  set("https_proxy", "http://secure-lower");
  CHECK_STR(choice(NULL, "wss://a.example/", out), "secure-lower");
  set("WSS_PROXY", "http://own");
  set("ws_proxy", ""); /* empty: as if it were not there */
  CHECK_STR(choice(NULL, "wss://a.example/", out), "own");
  CHECK_STR(choice(NULL, "ws://a.example/", out), "plain");

  static const char *const here[] = {"ws://localhost/", "ws://my.localhost/", "ws://127.0.0.1/",
                                     "ws://127.9.9.9/", "wss://[::1]/",       NULL};
  for (int i = 0; here[i] != NULL; i++) CHECK_STR(choice(NULL, here[i], out), NULL);
  set("NO_PROXY", "b.example");
  CHECK_STR(choice(NULL, "ws://b.example/", out), NULL);
  CHECK_STR(choice(NULL, "ws://a.example/", out), "plain");
  set("no_proxy", "a.example");
  CHECK_STR(choice(NULL, "ws://b.example/", out), "plain");
  CHECK_STR(choice(NULL, "ws://a.example/", out), NULL);
}

static void the_option_comes_first(void) {
  char out[64];
  wsc_options *o = wsc_options_new();
  clearenv();
  set("http_proxy", "http://plain");
  set("no_proxy", "*");
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_PROXY, "socks5://given"), WSC_OK);
  CHECK_STR(choice(o, "ws://a.example/", out), "given");
  CHECK_STR(choice(o, "ws://localhost/", out), "given"); /* asked for by name */
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_PROXY, "none"), WSC_OK);
  set("no_proxy", "");
  CHECK_STR(choice(o, "ws://a.example/", out), NULL);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_PROXY, NULL), WSC_OK);
  CHECK_STR(choice(o, "ws://a.example/", out), "plain");
  wsc_options_free(o);
}

static void an_error_names_where_it_comes_from(void) {
  struct url u;
  struct proxy p;
  wsc_error *e = NULL;
  clearenv();
  set("https_proxy", "gopher://x:secret@y");
  CHECK_EQ(url_parse("wss://a.example/", &u, NULL), WSC_OK);
  CHECK_EQ(proxy_choose(NULL, &u, &p, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "https_proxy: URL \"gopher://***@y\"");
  wsc_error_unref(e);
  url_free(&u);
}

int main(void) {
  urls_of_proxies();
  exceptions();
  the_environment();
  the_option_comes_first();
  an_error_names_where_it_comes_from();
  return 0;
}
