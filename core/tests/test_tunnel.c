/* What is said to proxies: every answer once whole and once byte by byte, and every one cut short. */
#define _GNU_SOURCE
#include "tunnel.h"

#include "check.h"
#include "error.h"
#include "wscengine.h"

struct row {
  const char *name, *proxy, *target;
  const char *says; /* what the proxy answers, in hexadecimal or as text (with a space in it) */
  const char *sent; /* what must have been sent to it, likewise; NULL: not looked at */
  int status;
  const char *error;
};

#define SOCKS_OK "05000001c00002010050"

static const struct row rows[] = {
    {"CONNECT", "http://p", "wss://h.example/x", "HTTP/1.1 200 Connection established\r\n\r\n",
     "CONNECT h.example:443 HTTP/1.1\r\nHost: h.example:443\r\nUser-Agent: wscengine/" WSC_VERSION_STRING "\r\n\r\n",
     WSC_OK, NULL},
    {"CONNECT to an address, with a login", "http://u:p@p", "ws://[2001:db8::1]:99/",
     "HTTP/1.0 299 Fine\r\nX: y\r\n\r\n",
     "CONNECT [2001:db8::1]:99 HTTP/1.1\r\nHost: [2001:db8::1]:99\r\nUser-Agent: wscengine/" WSC_VERSION_STRING
     "\r\nProxy-Authorization: Basic dTpw\r\n\r\n",
     WSC_OK, NULL},
    {"407", "http://p", "ws://h/", "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Negotiate\r\n\r\n", NULL,
     WSC_ERR_PROXY_AUTH, "407 Who are you; it offers Negotiate, we speak Basic"},
    {"403", "http://p", "ws://h/", "HTTP/1.1 403 No way\r\n\r\n", NULL, WSC_ERR_PROXY,
     "refused CONNECT to h:80: 403 No way"},
    {"redirect", "http://p", "ws://h/", "HTTP/1.1 302 Login\r\nLocation: x\r\n\r\n", NULL, WSC_ERR_PROXY, "302 Login"},
    {"surplus", "http://p", "ws://h/", "HTTP/1.1 200 OK\r\n\r\nx y", NULL, WSC_ERR_PROXY, "bytes behind its answer"},
    {"not HTTP", "http://p", "ws://h/", "SSH-2.0-OpenSSH_9.2 Debian\r\n", NULL, WSC_ERR_PROXY, "does not speak HTTP"},
    {"bad status", "http://p", "ws://h/", "HTTP/1.1 2 0\r\n\r\n", NULL, WSC_ERR_PROXY, "no HTTP/1.1 status"},
    {"half an answer", "http://p", "ws://h/", "HTTP/1.1 200 OK\r\nVia", NULL, WSC_ERR_PROXY,
     "in the middle of its answer"},
    {"none at all", "http://p", "ws://h/", "", NULL, WSC_ERR_PROXY,
     "closed the connection without an answer to CONNECT"},

    {"SOCKS by name", "socks5h://p", "wss://h.example/", "0500" SOCKS_OK,
     "050100"
     "05010003"
     "09682e6578616d706c65"
     "01bb",
     WSC_OK, NULL},
    {"SOCKS by IPv4", "socks5://p", "ws://192.0.2.1/", "0500" SOCKS_OK,
     "050100"
     "05010001c00002010050",
     WSC_OK, NULL},
    {"SOCKS by IPv6", "socks5h://p", "ws://[2001:db8::1]/",
     "0500"
     "0500000420010db8000000000000000000000001"
     "0050",
     "050100"
     "0501000420010db8000000000000000000000001"
     "0050",
     WSC_OK, NULL},
    {"an answer with a name", "socks5h://p", "ws://h/",
     "0500"
     "0500000301680050",
     NULL, WSC_OK, NULL},
    {"SOCKS with a login", "socks5h://me:pw@p", "ws://h/",
     "0502"
     "0100" SOCKS_OK,
     "05020002"
     "01026d65027077"
     "050100030168"
     "0050",
     WSC_OK, NULL},
    {"a login nobody asks for", "socks5h://me:pw@p", "ws://h/", "0500" SOCKS_OK, NULL, WSC_OK, NULL},
    {"login refused", "socks5h://me:pw@p", "ws://h/", "05020101", NULL, WSC_ERR_PROXY_AUTH,
     "refused the user name or password"},
    {"login malformed", "socks5h://me:pw@p", "ws://h/", "05020500", NULL, WSC_ERR_PROXY,
     "answer to the login is malformed"},
    {"a login is wanted", "socks5h://p", "ws://h/", "05ff", NULL, WSC_ERR_PROXY_AUTH, "no user:password@"},
    {"a method that was not offered", "socks5h://p", "ws://h/", "0502", NULL, WSC_ERR_PROXY,
     "method 0x02, which was not offered"},
    {"GSSAPI", "socks5h://me:pw@p", "ws://h/", "0501", NULL, WSC_ERR_PROXY, "method 0x01"},
    {"SOCKS4", "socks5h://p", "ws://h/", "0400", NULL, WSC_ERR_PROXY, "begins with 0x04"},
    {"HTTP instead", "socks5h://p", "ws://h/", "HTTP/1.1 400 Bad\r\n\r\n", NULL, WSC_ERR_PROXY,
     "should the proxy's URL begin with http://"},
    {"refused", "socks5h://p", "ws://h/",
     "0500"
     "0505",
     NULL, WSC_ERR_PROXY, "did not connect to h:80: connection refused (5)"},
    {"refused, and why", "socks5h://p", "ws://h/",
     "0500"
     "05010001000000000000",
     NULL, WSC_ERR_PROXY, "general failure"},
    {"unknown refusal", "socks5h://p", "ws://h/",
     "0500"
     "0563",
     NULL, WSC_ERR_PROXY, "unknown reason (99)"},
    {"address type", "socks5h://p", "ws://h/",
     "0500"
     "0500000700",
     NULL, WSC_ERR_PROXY, "address type 7"},
    {"version of the answer", "socks5h://p", "ws://h/",
     "0500"
     "0000",
     NULL, WSC_ERR_PROXY, "begins with 0x00"},
    {"surplus of SOCKS", "socks5h://p", "ws://h/", "0500" SOCKS_OK "ffff", NULL, WSC_ERR_PROXY,
     "bytes behind its answer"},
    {"SOCKS cut short", "socks5h://p", "ws://h/",
     "0500"
     "050000",
     NULL, WSC_ERR_PROXY, "closed the connection while we were waiting for the SOCKS proxy's answer to the request"},
    {"SOCKS silent", "socks5h://p", "ws://h/", "", NULL, WSC_ERR_PROXY, "answer to the greeting"},
};

static size_t bytes_of(const char *text, uint8_t out[512]) {
  size_t n = strlen(text);
  if (strchr(text, ' ') != NULL) {
    memcpy(out, text, n);
    return n;
  }
  for (size_t i = 0; i < n / 2; i++) {
    unsigned byte;
    CHECK_EQ(sscanf(text + 2 * i, "%2x", &byte), 1);
    out[i] = (uint8_t)byte;
  }
  return n / 2;
}

static void play(const struct row *row, size_t step) {
  struct proxy p;
  struct url u;
  struct tunnel t;
  struct buffer out = {0};
  struct address address;
  const char *zone;
  wsc_error *e = NULL;
  CHECK_EQ(proxy_parse(row->proxy, &p, NULL), WSC_OK);
  CHECK_EQ(url_parse(row->target, &u, NULL), WSC_OK);
  bool literal = address_parse(u.host, u.port, &address, &zone);
  CHECK_EQ(tunnel_begin(&t, &p, &u, literal ? &address : NULL, &out, &e), WSC_OK);
  uint8_t says[512], sent[512];
  size_t n = bytes_of(row->says, says);
  int status = WSC_AGAIN;
  for (size_t at = 0; status == WSC_AGAIN;) {
    size_t part = n - at < step ? n - at : step;
    uint8_t *exact = malloc(part ? part : 1); /* so that a sanitizer sees a read past the end */
    memcpy(exact, says + at, part);
    status = tunnel_feed(&t, exact, part, &out, &e);
    free(exact);
    at += part;
  }
  if (status != row->status) fprintf(stderr, "%s: %s\n", row->name, e ? wsc_error_message(e) : "");
  CHECK_EQ(status, row->status);
  if (row->sent != NULL) {
    size_t want = bytes_of(row->sent, sent);
    CHECK_EQ(out.length, want);
    CHECK_BYTES(out.data, sent, want);
  }
  if (status != WSC_OK) {
    CHECK_EQ(wsc_error_status(e), status);
    CHECK_HAS(wsc_error_message(e), p.url.shown);
    CHECK_HAS(wsc_error_message(e), row->error);
    CHECK_EQ(error_fatal(e), status == WSC_ERR_PROXY_AUTH ? WSC_GIVE_UP_REFUSED : 0);
  }
  wsc_error_unref(e);
  tunnel_free(&t);
  buffer_free(&out);
  proxy_free(&p);
  url_free(&u);
}

static void without_memory(void) {
  long before = mem_live();
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct proxy p;
    struct url u;
    CHECK_EQ(proxy_parse(rows[i].proxy, &p, NULL), WSC_OK);
    CHECK_EQ(url_parse(rows[i].target, &u, NULL), WSC_OK);
    uint8_t says[512];
    size_t length = bytes_of(rows[i].says, says);
    bool failed = true;
    for (long n = 1; failed; n++) {
      struct tunnel t = {0};
      struct buffer out = {0};
      wsc_error *e = NULL;
      mem_fail_after(n);
      int status = tunnel_begin(&t, &p, &u, NULL, &out, &e);
      if (status == WSC_OK) status = WSC_AGAIN;
      for (size_t at = 0; status == WSC_AGAIN && at <= length; at++)
        status = tunnel_feed(&t, says + at, at < length ? 1 : 0, &out, &e);
      failed = mem_failed();
      mem_fail_after(-1);
      if (failed) CHECK(status < 0);
      wsc_error_unref(e);
      tunnel_free(&t);
      buffer_free(&out);
    }
    proxy_free(&p);
    url_free(&u);
  }
  CHECK_EQ(mem_live(), before);
}

int main(void) {
  CHECK(mem_live() >= 0);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].error == NULL || strstr(rows[i].error, "behind") == NULL) play(&rows[i], 1);
    play(&rows[i], SIZE_MAX);
  }
  without_memory();
  return 0;
}
