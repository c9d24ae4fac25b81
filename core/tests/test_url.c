/* A long table of good and bad URLs, and that no password ever gets into an error. */
#include "check.h"
#include "error.h"
#include "mem.h"
#include "url.h"

#define BASIC(coded) "Basic " coded

static const struct good {
  const char *text;
  bool secure, literal;
  int port;
  const char *host, *authority, *target, *authorization, *shown;
} good[] = {
    {"ws://example.com", false, false, 80, "example.com", "example.com", "/", NULL, "ws://example.com"},
    {"wss://example.com", true, false, 443, "example.com", "example.com", "/", NULL, "wss://example.com"},
    {"WSS://Example.COM/Chat", true, false, 443, "example.com", "example.com", "/Chat", NULL, "wss://Example.COM/Chat"},
    {"wS://h/", false, false, 80, "h", "h", "/", NULL, "ws://h/"},
    {"ws://h:80/", false, false, 80, "h", "h", "/", NULL, "ws://h:80/"},
    {"ws://h:443/", false, false, 443, "h", "h:443", "/", NULL, "ws://h:443/"},
    {"wss://h:80/", true, false, 80, "h", "h:80", "/", NULL, "wss://h:80/"},
    {"wss://h:443/", true, false, 443, "h", "h", "/", NULL, "wss://h:443/"},
    {"ws://h:1", false, false, 1, "h", "h:1", "/", NULL, "ws://h:1"},
    {"ws://h:65535", false, false, 65535, "h", "h:65535", "/", NULL, "ws://h:65535"},
    {"ws://h:0008080", false, false, 8080, "h", "h:8080", "/", NULL, "ws://h:0008080"},
    {"ws://h:/x", false, false, 80, "h", "h", "/x", NULL, "ws://h:/x"},
    {"ws://h?a=b", false, false, 80, "h", "h", "/?a=b", NULL, "ws://h?a=b"},
    {"ws://h/?", false, false, 80, "h", "h", "/?", NULL, "ws://h/?"},
    {"ws://h/a%2Fb/%C3%BC?x=%20&y=1/2?3", false, false, 80, "h", "h", "/a%2Fb/%C3%BC?x=%20&y=1/2?3", NULL,
     "ws://h/a%2Fb/%C3%BC?x=%20&y=1/2?3"},
    {"ws://h//a/../b", false, false, 80, "h", "h", "//a/../b", NULL, "ws://h//a/../b"},
    {"ws://h/?p=100%", false, false, 80, "h", "h", "/?p=100%", NULL, "ws://h/?p=100%"},
    {"ws://h/?s=btc|eth&j={\"a\":1}", false, false, 80, "h", "h", "/?s=btc|eth&j={\"a\":1}", NULL,
     "ws://h/?s=btc|eth&j={\"a\":1}"},
    {"ws://h/a@b:c", false, false, 80, "h", "h", "/a@b:c", NULL, "ws://h/a@b:c"},
    {"ws://h/?mail=a@b", false, false, 80, "h", "h", "/?mail=a@b", NULL, "ws://h/?mail=a@b"},
    {"ws://h/ws://other", false, false, 80, "h", "h", "/ws://other", NULL, "ws://h/ws://other"},
    /* hosts */
    {"ws://127.0.0.1:9001/x", false, true, 9001, "127.0.0.1", "127.0.0.1:9001", "/x", NULL, "ws://127.0.0.1:9001/x"},
    {"ws://255.255.255.255", false, true, 80, "255.255.255.255", "255.255.255.255", "/", NULL, "ws://255.255.255.255"},
    {"ws://my_host-1.internal", false, false, 80, "my_host-1.internal", "my_host-1.internal", "/", NULL,
     "ws://my_host-1.internal"},
    {"ws://example.com./", false, false, 80, "example.com.", "example.com.", "/", NULL, "ws://example.com./"},
    {"ws://xn--bcher-kva.example", false, false, 80, "xn--bcher-kva.example", "xn--bcher-kva.example", "/", NULL,
     "ws://xn--bcher-kva.example"},
    {"ws://1.2.3.4.example", false, false, 80, "1.2.3.4.example", "1.2.3.4.example", "/", NULL, "ws://1.2.3.4.example"},
    {"ws://1e100.net", false, false, 80, "1e100.net", "1e100.net", "/", NULL, "ws://1e100.net"},
    {"ws://8x8", false, false, 80, "8x8", "8x8", "/", NULL, "ws://8x8"},
    {"ws://[::1]", false, true, 80, "::1", "[::1]", "/", NULL, "ws://[::1]"},
    {"wss://[2001:DB8::A]:8443/x", true, true, 8443, "2001:db8::a", "[2001:db8::a]:8443", "/x", NULL,
     "wss://[2001:DB8::A]:8443/x"},
    {"ws://[::ffff:1.2.3.4]:80", false, true, 80, "::ffff:1.2.3.4", "[::ffff:1.2.3.4]", "/", NULL,
     "ws://[::ffff:1.2.3.4]:80"},
    {"ws://[fe80::1%25eth0]:81/x", false, true, 81, "fe80::1%eth0", "[fe80::1]:81", "/x", NULL,
     "ws://[fe80::1%25eth0]:81/x"},
    {"ws://[fe80::1%eth0]", false, true, 80, "fe80::1%eth0", "[fe80::1]", "/", NULL, "ws://[fe80::1%eth0]"},
    {"ws://[FE80::1%25Br-Lan.2]", false, true, 80, "fe80::1%Br-Lan.2", "[fe80::1]", "/", NULL,
     "ws://[FE80::1%25Br-Lan.2]"},
    {"ws://[fe80::1%2525]", false, true, 80, "fe80::1%25", "[fe80::1]", "/", NULL, "ws://[fe80::1%2525]"},
    {"ws://[fe80::1%25]", false, true, 80, "fe80::1%25", "[fe80::1]", "/", NULL,
     "ws://[fe80::1%25]"}, /* interface 25 */
    /* users */
    {"ws://Aladdin:open%20sesame@h/", false, false, 80, "h", "h", "/", BASIC("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
     "ws://Aladdin:***@h/"},
    {"wss://u:p@h:9/x?y", true, false, 9, "h", "h:9", "/x?y", BASIC("dTpw"), "wss://u:***@h:9/x?y"},
    {"ws://u:@h", false, false, 80, "h", "h", "/", BASIC("dTo="), "ws://***@h"},
    {"ws://token@h", false, false, 80, "h", "h", "/", BASIC("dG9rZW46"), "ws://***@h"},
    {"ws://:p@h", false, false, 80, "h", "h", "/", BASIC("OnA="), "ws://***@h"},
    {"ws://@h", false, false, 80, "h", "h", "/", NULL, "ws://h"},
    {"ws://u:a:b@h", false, false, 80, "h", "h", "/", BASIC("dTphOmI="), "ws://u:***@h"},
    {"ws://u:p@ss@h", false, false, 80, "h", "h", "/", BASIC("dTpwQHNz"), "ws://u:***@h"},
    {"ws://u%40d:%2F%3f%23%25@h", false, false, 80, "h", "h", "/", BASIC("dUBkOi8/IyU="), "ws://u%40d:***@h"},
    {"ws://u:%C3%BC@h", false, false, 80, "h", "h", "/", BASIC("dTrDvA=="), "ws://u:***@h"},
    {"ws://u:p@[::1]:8/", false, true, 8, "::1", "[::1]:8", "/", BASIC("dTpw"), "ws://u:***@[::1]:8/"},
    {"ws://u:p@h/a@b", false, false, 80, "h", "h", "/a@b", BASIC("dTpw"), "ws://u:***@h/a@b"},
};

/* What is wrong, and the part of the message that says so. "s3cret" stands for every password. */
static const struct {
  const char *text, *says;
} bad[] = {
    {"", "URL is empty"},
    {"example.com", "\"example.com\": it has no scheme: it must begin with ws:// or wss://"},
    {"example.com:80/x", "no scheme"},
    {"//example.com", "no scheme"},
    {"/path", "no scheme"},
    {"ws:/h", "no scheme"},
    {"ws:h", "no scheme"},
    {"://h", "no scheme"},
    {"h/?next=ws://x", "no scheme"},
    {"http://h/x", "scheme http: write ws:// instead of http://"},
    {"HTTPS://h/x", "scheme https: write wss:// instead of https://"},
    {"ftp://h", "scheme \"ftp\" is none of ws:// or wss://"},
    {"w://h", "scheme \"w\""},
    {"wsss://h", "scheme \"wsss\""},
    {"xs://h", "scheme \"xs\""},
    {"wss+unix://h", "scheme \"wss+unix\""},
    {"ws://", "no host"},
    {"ws:///x", "no host"},
    {"ws://?x", "no host"},
    {"ws://:80/x", "no host"},
    {"ws://u:s3cret@", "no host"},
    {"ws://u:s3cret@/x", "no host"},
    {"ws://u:s3cret@:80", "no host"},
    /* bytes */
    {"ws://h/a b", "a space at position 8: write it as %20"},
    {" ws://h", "a space at position 0"},
    {"ws://h\n", "the control character 0x0a at position 6"},
    {"ws://h/\t", "the control character 0x09 at position 7"},
    {"ws://h/\x7f", "0x7f at position 7"},
    {"ws://h\r\nX: y", "0x0d at position 6"},
    {"ws://b\xc3\xbc"
     "cher.example",
     "the byte 0xc3 at position 6 is not ASCII: a host goes in its xn-- form"},
    {"ws://h/\xc3\xbc", "0xc3 at position 7"},
    {"ws://u:s3cret\xff@h", "0xff at position 13"},
    {"ws://u:s3cret here@h", "a space at position 13"},
    /* fragments */
    {"ws://h#", "the '#' at position 6"},
    {"ws://h/x#y", "the '#' at position 8"},
    {"ws://h/?a#b", "write it as %23"},
    {"ws://u:s3cret#s3cret@h/", "the '#' at position 13"},
    {"ws://u:#s3cret@h/", "the '#'"},
    /* ports */
    {"ws://h:0", "port \"0\" is not 1 to 65535"},
    {"ws://h:00", "port \"00\""},
    {"ws://h:65536", "port \"65536\" is not 1 to 65535"},
    {"ws://h:99999999999999999999", "port \"99999999999999999999\""},
    {"ws://h:4294967376", "is not 1 to 65535"},
    {"ws://h:-1", "port \"-1\" is no number"},
    {"ws://h:+80", "port \"+80\""},
    {"ws://h:80a", "port \"80a\" is no number"},
    {"ws://h:0x50", "no number"},
    {"ws://h:80:90", "two colons"},
    {"ws://[::1]:x", "port \"x\""},
    {"ws://[::1]:0", "port \"0\""},
    {"ws://u:s3cret/x@h/", "(not shown; write '/', '?', '#' in a password as %2F, %3F, %23)"},
    {"ws://u:s3cret?x@h/", "not shown"},
    {"ws://s3cret!:80/x@h", "not shown"},
    {"ws://u:12/s3cret@h:99999", NULL},
    {"ws://u:s3cret:s3cret/@h", "not shown"},
    /* hosts */
    {"ws://a..b", "host \"a..b\" has an empty label"},
    {"ws://.a", "empty label"},
    {"ws://.", "empty label"},
    {"ws://a.b..", "empty label"},
    {"ws://a%41b", "the character '%' at position 6"},
    {"ws://a\\b", "the character '\\' at position 6"},
    {"ws://a,b", "','"},
    {"ws://a*b", "'*'"},
    {"ws://a]b", "']'"},
    {"ws://a[b", "'['"},
    {"ws://u:s3cret@a!b/", "'!'"},
    {"ws://256.1.1.1", "host \"256.1.1.1\" looks like an IPv4 address but is none"},
    {"ws://1.2.3", "looks like an IPv4 address"},
    {"ws://1.2.3.4.5", "looks like an IPv4 address"},
    {"ws://1.2.3.4.", "looks like an IPv4 address"},
    {"ws://127.1", "looks like an IPv4 address"},
    {"ws://2130706433", "looks like an IPv4 address"},
    {"ws://010.0.0.1", "looks like an IPv4 address"},
    {"ws://0x7f.1", "looks like an IPv4 address"},
    {"ws://0x7f000001", "looks like an IPv4 address"},
    {"ws://1.0x7f", "looks like an IPv4 address"},
    {"ws://example.123", "looks like an IPv4 address"},
    {"ws://::1/", "an IPv6 address goes in brackets"},
    {"ws://2001:db8::1", "in brackets"},
    {"ws://fe80::1%25eth0", "in brackets"},
    {"ws://[::1", "host \"[::1\" has no closing bracket"},
    {"ws://[", "no closing bracket"},
    {"ws://[]", "host \"\" is no IPv6 address"},
    {"ws://[::1]x", "only a port may follow the ]"},
    {"ws://[::1]80", "only a port"},
    {"ws://[::1]]", "only a port"},
    {"ws://[[::1]]", "only a port"},
    {"ws://[1.2.3.4]", "host \"1.2.3.4\" is no IPv6 address"},
    {"ws://[::g]", "no IPv6 address"},
    {"ws://[1:2:3:4:5:6:7:8:9]", "no IPv6 address"},
    {"ws://[v1.a]", "no IPv6 address"},
    {"ws://[example.com]", "no IPv6 address"},
    {"ws://[fe80::1%]", "an empty zone"},
    {"ws://[fe80::1%25a/b]", "no closing bracket"},
    {"ws://[fe80::1%25a:b]", "no interface name or number"},
    {"ws://[fe80::1%25abcdefghijklmnop]", "longer than 15"},
    {"ws://[%25eth0]", "host \"\" is no IPv6 address"},
    /* percent signs */
    {"ws://h/100%", "the '%' at position 10 is not followed by two hexadecimal digits"},
    {"ws://h/%zz", "the '%' at position 7"},
    {"ws://h/%2", "the '%' at position 7"},
    {"ws://h/%2?41", "the '%' at position 7"},
    {"ws://h/a%g1b?x", "at position 8"},
    /* users */
    {"ws://u:s3cret%@h", "the password has a '%' that is not followed by two hexadecimal digits"},
    {"ws://u:s3cret%4@h", "the password has a '%'"},
    {"ws://s3cret%zz@h", "the user name has a '%'"},
    {"ws://u:s3cret%0d%0a@h", "the password has a control character"},
    {"ws://s3cret%00:p@h", "the user name has a control character"},
    {"ws://s3cret%3Ax:p@h", "the user name has a ':'"},
    {"http://u:s3cret@h/x", "\"http://***@h/x\": scheme http"},
    {"u:s3cret@h", "\"***@h\": it has no scheme"},
    {"u:s3cret@h/?x=ws://h", "no scheme"},
    {"ws://u:s3cret@h:x", "\"ws://***@h:x\": port \"x\""},
    {"averylongschemename://u:s3cret@h", "\"***@h\": scheme \"averylongschemename\""},
};

static void good_urls_are_taken_apart(void) {
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    const struct good *g = &good[i];
    struct url u;
    wsc_error *e = NULL;
    int status = url_parse(g->text, &u, &e);
    CHECK_STR(wsc_error_message(e), "");
    CHECK_EQ(status, WSC_OK);
    CHECK_STR(u.host, g->host);
    CHECK_STR(u.authority, g->authority);
    CHECK_STR(u.target, g->target);
    CHECK_STR(u.authorization, g->authorization);
    CHECK_STR(u.shown, g->shown);
    CHECK_EQ(u.port, g->port);
    CHECK_EQ(u.secure, g->secure);
    CHECK_EQ(u.literal, g->literal);
    url_free(&u);
    CHECK(u.host == NULL && u.authorization == NULL && u.port == 0);
  }
}

static void bad_urls_are_refused_with_a_reason(void) {
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct url u, none = {0};
    wsc_error *e = NULL;
    int status = url_parse(bad[i].text, &u, &e);
    CHECK(strstr(wsc_error_message(e), "s3cret") == NULL);
    if (bad[i].says == NULL) { /* a password that turns a URL into another, legal one */
      CHECK_EQ(status, WSC_OK);
      url_free(&u);
      continue;
    }
    if (status == WSC_OK) fprintf(stderr, "accepted: %s\n", bad[i].text);
    CHECK_HAS(wsc_error_message(e), bad[i].says);
    CHECK_EQ(status, WSC_ERR_INVALID);
    CHECK(u.host == none.host && u.target == NULL && u.authority == NULL && u.authorization == NULL && u.shown == NULL);
    wsc_error_unref(e);
    CHECK_EQ(url_parse(bad[i].text, &u, NULL), WSC_ERR_INVALID);
  }
}

static void lengths_are_limited(void) {
  static char text[9000];
  struct url u;
  wsc_error *e = NULL;
  memset(text, 'a', sizeof text);
  memcpy(text, "ws://h/", 7);
  text[8192] = 0;
  CHECK_EQ(url_parse(text, &u, NULL), WSC_OK);
  CHECK_EQ(strlen(u.target), 8192 - 6);
  url_free(&u);
  text[8192] = 'a';
  text[8999] = 0;
  CHECK_EQ(url_parse(text, &u, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "...\": it is longer than 8192 bytes");
  CHECK(strlen(wsc_error_message(e)) < 400); /* a long URL makes no long error */
  wsc_error_unref(e);

  memset(text, 'a', sizeof text);
  memcpy(text, "ws://", 5);
  text[5 + 63] = 0;
  CHECK_EQ(url_parse(text, &u, NULL), WSC_OK);
  url_free(&u);
  text[5 + 63] = 'a';
  text[5 + 64] = 0;
  CHECK_EQ(url_parse(text, &u, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "a label longer than 63 bytes");
  wsc_error_unref(e);

  memset(text, 'a', sizeof text);
  memcpy(text, "ws://", 5);
  for (int i = 5 + 50; i < 5 + 253; i += 51) text[i] = '.';
  text[5 + 253] = 0;
  CHECK_EQ(url_parse(text, &u, NULL), WSC_OK);
  url_free(&u);
  text[5 + 253] = 'a';
  text[5 + 254] = 0;
  CHECK_EQ(url_parse(text, &u, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "longer than 253 bytes");
  wsc_error_unref(e);
  CHECK_EQ(url_parse(NULL, &u, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "URL is NULL");
  wsc_error_unref(e);
}

/* Whatever single byte is put in or taken out: an answer, and never the password. */
static void damaged_urls_never_show_the_password(void) {
  static const char text[] = "wss://user:s3cret@[fe80::1%25eth0]:8443/path?q=1";
  char damaged[sizeof text + 1];
  for (size_t at = 0; at < sizeof text - 1; at++) {
    for (int byte = 1; byte < 256; byte++) {
      for (int insert = 0; insert < 2; insert++) {
        if (at > 10 && at < 17) continue;                 /* within the password itself */
        if (at == 17 && !insert && byte != '@') continue; /* without its '@' it is no password */
        memcpy(damaged, text, at);
        damaged[at] = (char)byte;
        strcpy(damaged + at + 1, text + at + !insert);
        struct url u;
        wsc_error *e = NULL;
        if (url_parse(damaged, &u, &e) == WSC_OK)
          CHECK(strstr(u.shown, "s3cret") == NULL || strchr("/?", byte) != NULL);
        CHECK(strstr(wsc_error_message(e), "s3cret") == NULL);
        wsc_error_unref(e);
        url_free(&u);
      }
    }
  }
}

static void every_failure_of_memory_is_survived(void) {
  long before = mem_live();
  struct url u, copy;
  for (long n = 1;; n++) {
    wsc_error *e = NULL;
    mem_fail_after(n);
    int status = url_parse("ws://u:p@[fe80::1%25eth0]:81/x", &u, &e);
    bool failed = mem_failed();
    CHECK_EQ(status, failed ? WSC_ERR_NOMEM : WSC_OK);
    CHECK_EQ(wsc_error_status(e), status);
    wsc_error_unref(e);
    if (!failed) break;
    CHECK_EQ(mem_live(), before);
  }
  long parsed = mem_live();
  for (long n = 1;; n++) {
    mem_fail_after(n);
    int status = url_copy(&u, &copy);
    bool failed = mem_failed();
    CHECK_EQ(status, failed ? WSC_ERR_NOMEM : WSC_OK);
    if (!failed) break;
    CHECK_EQ(mem_live(), parsed);
  }
  mem_fail_after(-1);
  url_free(&u);
  CHECK_STR(copy.host, "fe80::1%eth0");
  CHECK_STR(copy.authority, "[fe80::1]:81");
  CHECK_STR(copy.target, "/x");
  CHECK_STR(copy.authorization, "Basic dTpw");
  CHECK_STR(copy.shown, "ws://u:***@[fe80::1%25eth0]:81/x");
  CHECK(copy.port == 81 && copy.literal && !copy.secure);
  url_free(&copy);
  CHECK_EQ(mem_live(), before);
  url_free(NULL);
}

static void redacted_texts_keep_only_what_is_no_secret(void) {
  static const struct {
    const char *text, *shown;
  } rows[] = {
      {"ftp://user:secret@example.org/", "ftp://***@example.org/"},
      {"//user:secret@example.org/", "//***@example.org/"},
      {"token//x@example.org", "***@example.org"},
      {"u:secret//x@example.org", "***@example.org"},
      {"ws://h/plain", "ws://h/plain"},
      {"", ""},
  };
  char shown[URL_REDACTED_SIZE];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) CHECK_STR(url_redact(rows[i].text, shown), rows[i].shown);
}

int main(void) {
  long before = mem_live();
  good_urls_are_taken_apart();
  bad_urls_are_refused_with_a_reason();
  lengths_are_limited();
  damaged_urls_never_show_the_password();
  redacted_texts_keep_only_what_is_no_secret();
  every_failure_of_memory_is_survived();
  CHECK_EQ(mem_live(), before);
  return 0;
}
