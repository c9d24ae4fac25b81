/* The upgrade: the request byte for byte, and every answer once in one piece, once byte by byte and once cut at
 * every place. */
#define _GNU_SOURCE
#include "handshake.h"

#include "check.h"
#include "error.h"
#include "os.h"
#include "response.h"

#include <openssl/evp.h>
#include <stdarg.h>

static struct url parse(const char *text) {
  struct url u;
  CHECK_EQ(url_parse(text, &u, NULL), WSC_OK);
  return u;
}

static const char *accept_of(const char *key, char out[64]) {
  char text[100];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n;
  snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  CHECK_EQ(EVP_Digest(text, strlen(text), digest, &n, EVP_sha1(), NULL), 1);
  EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
  return out;
}

/* The request */

/* The request with its key replaced by "KEY". */
static char *request(const char *url, const wsc_options *o, char out[8192]) {
  struct handshake h;
  struct buffer b = {0};
  struct url u = parse(url);
  CHECK_EQ(handshake_begin(&h, &u, o, &b, NULL), WSC_OK);
  CHECK_EQ(strlen(h.key), 24);
  CHECK_EQ(buffer_append(&b, "", 1), WSC_OK);
  char *key = strstr((char *)b.data, h.key);
  CHECK(key != NULL);
  snprintf(out, 8192, "%.*sKEY%s", (int)(key - (char *)b.data), (char *)b.data, key + 24);
  buffer_free(&b);
  handshake_free(&h);
  url_free(&u);
  return out;
}

static void a_plain_request(void) {
  char got[8192];
  wsc_options *o = wsc_options_new();
  CHECK_STR(request("ws://example.org/chat?room=1", o, got),
            "GET /chat?room=1 HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nUser-Agent: wscengine/" WSC_VERSION_STRING
            "\r\n\r\n");
  wsc_options_free(o);
}

static void a_request_with_everything(void) {
  char got[8192];
  wsc_options *o = wsc_options_new();
  wsc_options_set_str(o, WSC_OPT_HEADER, "X-First:  1");
  wsc_options_set_str(o, WSC_OPT_HEADER, "X-Second:2");
  wsc_options_set_str(o, WSC_OPT_HEADER, "X-Empty:");
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "chat.v2");
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "chat.v1");
  wsc_options_set_str(o, WSC_OPT_ORIGIN, "https://example.org");
  wsc_options_set_str(o, WSC_OPT_COOKIE, "a=1");
  wsc_options_set_str(o, WSC_OPT_COOKIE, "b=2");
  CHECK_STR(request("wss://user:p%40ss@[2001:db8::1]:8443", o, got),
            "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat.v2, chat.v1\r\n"
            "Origin: https://example.org\r\nCookie: a=1; b=2\r\nAuthorization: Basic dXNlcjpwQHNz\r\n"
            "User-Agent: wscengine/" WSC_VERSION_STRING "\r\nX-First: 1\r\nX-Second: 2\r\nX-Empty: \r\n\r\n");
  wsc_options_free(o);
}

static void the_users_own_headers_win(void) {
  char got[8192];
  wsc_options *o = wsc_options_new();
  wsc_options_set_str(o, WSC_OPT_HEADER, "AUTHORIZATION: Bearer t");
  wsc_options_set_str(o, WSC_OPT_HEADER, "user-agent: mine");
  request("ws://user:pass@example.org/", o, got);
  CHECK_HAS(got, "\r\nAUTHORIZATION: Bearer t\r\nuser-agent: mine\r\n\r\n");
  CHECK(strstr(got, "Basic") == NULL);
  CHECK(strstr(got, "wscengine/") == NULL);
  wsc_options_free(o);
}

static void each_key_is_fresh(void) {
  struct handshake a, b;
  struct buffer out = {0};
  struct url u = parse("ws://h/");
  unsigned char nonce[24];
  CHECK_EQ(handshake_begin(&a, &u, NULL, &out, NULL), WSC_OK);
  CHECK_EQ(handshake_begin(&b, &u, NULL, &out, NULL), WSC_OK);
  CHECK(strcmp(a.key, b.key) != 0);
  CHECK_EQ(EVP_DecodeBlock(nonce, (unsigned char *)a.key, 24), 18); /* 16 and two of padding */
  CHECK_STR(a.key + 22, "==");
  handshake_free(&a);
  handshake_free(&b);
  buffer_free(&out);
  url_free(&u);
}

/* Answers */

static wsc_options *options;

/* How one answer ended. */
struct ended {
  int status;
  size_t used;
  wsc_response *response; /* of WSC_OK */
  wsc_error *error;
};

static void forget(struct ended *e) {
  wsc_response_free(e->response);
  wsc_error_unref(e->error);
}

/* Puts the right Accept in for "ACCEPT". */
static size_t prepare(const char *answer, size_t n, const char *key, char *out) {
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
static struct ended feed(const char *answer, size_t n, size_t cut, size_t step) {
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
    e.response = h.response;
    h.response = NULL;
  }
  free(text);
  handshake_free(&h);
  buffer_free(&out);
  url_free(&u);
  return e;
}

static struct ended feed_whole(const char *answer) { return feed(answer, strlen(answer), 0, SIZE_MAX); }

static void accepted(const char *answer, size_t frames, const char *subprotocol) {
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
static void refused(const char *answer, int fatal, int http_status, const char *part) {
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

#define GOOD \
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"

static void good_answers(void) {
  accepted(GOOD "\r\n", 0, "");
  accepted(GOOD "\r\n\x81\x05hello", 7, "");
  accepted(
      "HTTP/1.1 101\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, UPGRADE\r\nsec-websocket-accept:ACCEPT\r\n\r\n", 0,
      "");
  accepted("HTTP/1.1 101 \r\nUpgrade: h2c , websocket\r\nConnection: keep-alive\r\nConnection:\tUpgrade "
           "\r\nSec-WebSocket-Accept: \t ACCEPT \r\n\r\n",
           0, "");
  accepted(GOOD "Sec-WebSocket-Protocol: chat.v1\r\n\r\n\x88", 1, "chat.v1");
  accepted(GOOD "Sec-WebSocket-Extensions: \r\nContent-Length: 5\r\nX: \x80\xff\r\n\r\n", 0, "");
}

static void forms_that_are_tolerated(void) {
  accepted("HTTP/1.1 101 Hi\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: ACCEPT\n\n\x82", 1, "");
  accepted("HTTP/1.1 101 Hi\r\nUpgrade:\r\n websocket\r\nConnection: keep-alive,\n\tUpgrade\r\nSec-WebSocket-Accept: "
           "ACCEPT\r\n\r\n",
           0, "");
}

static void interim_answers_are_skipped(void) {
  accepted("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" GOOD "\r\nframe", 5, "");
  refused("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", WSC_GIVE_UP_REFUSED,
          404, "404 Not Found");
}

static void a_good_answer_keeps_its_headers(void) {
  struct ended e = feed_whole(GOOD "Set-Cookie: a\r\nSet-Cookie:b \r\n\r\n");
  CHECK_EQ(e.status, WSC_OK);
  CHECK_STR(wsc_response_header(e.response, "set-cookie", 0), "a");
  CHECK_STR(wsc_response_header(e.response, "set-cookie", 1), "b");
  CHECK(wsc_response_header(e.response, "set-cookie", 2) == NULL);
  CHECK_STR(wsc_response_reason(e.response), "Switching Protocols");
  forget(&e);
}

static void malformed_upgrades(void) {
  static const char *const rows[][2] = {
      {"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
       "no header \"Upgrade: websocket\""},
      {"HTTP/1.1 101 S\r\nUpgrade: websockets\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
       "header Upgrade is \"websockets\""},
      {"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
       "no header \"Connection: Upgrade\""},
      {"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
       "header Connection is \"close\""},
      {"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "no header Sec-WebSocket-Accept"},
      {"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: c3RhbGU=\r\n\r\n",
       "Sec-WebSocket-Accept is \"c3RhbGU=\""},
      {GOOD "Sec-WebSocket-Accept: x\r\n\r\n", "Sec-WebSocket-Accept comes more than once"},
      {GOOD "Sec-WebSocket-Protocol: other\r\n\r\n", "subprotocol \"other\", which was not offered"},
      {GOOD "Sec-WebSocket-Protocol: CHAT.v1\r\n\r\n", "subprotocol \"CHAT.v1\", which was not offered"},
      {GOOD "Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n\r\n", "subprotocol \"chat.v1, chat.v2\""},
      {GOOD "Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: chat.v1\r\n\r\n",
       "Sec-WebSocket-Protocol comes more than once"},
      {GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
       "extension \"permessage-deflate\": none was offered"},
      {GOOD "no colon here\r\n\r\n", "a line that is no header: \"no colon here\""},
      {GOOD "Bad Name: x\r\n\r\n", "a line that is no header: \"Bad Name: x\""},
      {GOOD "Space : x\r\n\r\n", "a line that is no header: \"Space : x\""},
      {GOOD ": x\r\n\r\n", "a line that is no header: \": x\""},
      {GOOD "X: a\rb\r\n\r\n", "a line that is no header: \"X: a\\x0db\""},
      {"HTTP/1.1 101 S\r\n folded: first\r\nUpgrade: websocket\r\n\r\n", "a line that is no header"},
      {"HTTP/1.0 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
       "HTTP/1.0"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    refused(rows[i][0], WSC_GIVE_UP_UPGRADE, 101, rows[i][1]);
    refused(rows[i][0], WSC_GIVE_UP_UPGRADE, 101, "malformed upgrade: ");
  }
}

static void a_nul_in_a_header_is_malformed(void) {
  static const char answer[] = GOOD "X: a\0b\r\n\r\n";
  struct ended e = feed(answer, sizeof answer - 1, 0, 1);
  CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
  CHECK_HAS(wsc_error_message(e.error), "\"X: a\\x00b\"");
  forget(&e);
}

static void bad_first_lines(void) {
  static const char *const rows[] = {"HTTP/1.1 99 Low\r\n\r\n", "HTTP/1.1 1010 Long\r\n\r\n", "HTTP/1.1 abc\r\n\r\n",
                                     "HTTP/2 101 S\r\n\r\n",    "HTTP/1.1  101 two\r\n\r\n",  "HTTP/1.1 10\r\n\r\n",
                                     "HTTP/x\r\n\r\n",          "HTTP/1.1 099 zero\r\n\r\n"};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    refused(rows[i], WSC_GIVE_UP_UPGRADE, 0, "first line is no HTTP/1.1 status: \"HTTP/");
  }
}

static void what_is_not_http_is_shown(void) {
  struct ended e = feed_whole("SSH-2.0-OpenSSH_9.2\r\n");
  CHECK_EQ(e.status, WSC_ERR_HANDSHAKE); /* at once: such a server waits for us now */
  CHECK_HAS(wsc_error_message(e.error),
            "does not speak HTTP: its answer begins with \"SSH-2.0-OpenSSH_9.2\\x0d\\x0a\"");
  CHECK_EQ(error_fatal(e.error), WSC_GIVE_UP_UPGRADE);
  forget(&e);
  e = feed("\x15\x03\x01\x00\x02\x02\x46", 7, 0, SIZE_MAX);
  CHECK_HAS(wsc_error_message(e.error),
            "\"\\x15\\x03\\x01\\x00\\x02\\x02F\"; it looks like TLS: should the URL begin with wss:// ?");
  forget(&e);
  e = feed("HTTq", 4, 0, 1); /* the fourth byte decides */
  CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
  CHECK_EQ(e.used, 4);
  forget(&e);
}

static void an_end_in_the_middle_is_no_verdict(void) {
  struct ended e = feed_whole("");
  CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
  CHECK_HAS(wsc_error_message(e.error), "closed the connection without an answer");
  CHECK_EQ(error_fatal(e.error), 0);
  forget(&e);
  e = feed_whole("HTTP/1.1 101 Switching");
  CHECK_HAS(wsc_error_message(e.error), "in the middle of its answer, 22 bytes into it: \"HTTP/1.1 101 Switching\"");
  CHECK_EQ(error_fatal(e.error), 0);
  forget(&e);
}

/* Limits */

static char *repeat(const char *start, char c, size_t n) {
  size_t length = strlen(start);
  char *text = malloc(length + n + 1);
  memcpy(text, start, length);
  memset(text + length, c, n);
  text[length + n] = 0;
  return text;
}

static void a_header_has_a_limit(void) {
  char *text = repeat("HTTP/1.1 101 S\r\nX: ", 'x', HANDSHAKE_HEADER_MAX);
  for (size_t step = 1; step <= 4096; step *= 64) {
    struct ended e = feed(text, strlen(text), 0, step);
    CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
    CHECK_HAS(wsc_error_message(e.error), "header is longer than 65536 bytes");
    CHECK_EQ(e.used, HANDSHAKE_HEADER_MAX);
    forget(&e);
  }
  free(text);
  /* Interim answers do not renew it. */
  struct buffer many = {0};
  while (many.length <= HANDSHAKE_HEADER_MAX) CHECK_EQ(buffer_printf(&many, "HTTP/1.1 100 Continue\r\n\r\n"), WSC_OK);
  struct ended e = feed((char *)many.data, many.length, 0, 1000);
  CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
  CHECK_HAS(wsc_error_message(e.error), "header is longer than 65536 bytes");
  forget(&e);
  buffer_free(&many);
}

static void a_header_just_within_the_limit(void) {
  static const char start[] = GOOD "X: ";
  size_t fill = HANDSHAKE_HEADER_MAX - (sizeof start - 1 + 22) - 4;
  char *text = repeat(start, 'x', fill + 4);
  memcpy(text + strlen(text) - 4, "\r\n\r\n", 4);
  struct ended e = feed(text, strlen(text), 0, 4096);
  CHECK_EQ(e.status, WSC_OK);
  CHECK_EQ(e.used, HANDSHAKE_HEADER_MAX);
  forget(&e);
  free(text);
}

/* However small the pieces, no byte of the header is looked at twice. */
static void small_pieces_are_not_looked_at_again(void) {
  static const char lines[] = "HTTP/1.1 200 OK\r\nA: b\nC:\r\n d\r\n";
  struct handshake h;
  struct buffer out = {0};
  struct url u = parse("ws://example.org/");
  CHECK_EQ(handshake_begin(&h, &u, options, &out, NULL), WSC_OK);
  for (size_t i = 0; i < sizeof lines - 1; i++) {
    size_t used;
    CHECK_EQ(handshake_feed(&h, options, (const uint8_t *)lines + i, 1, &used, NULL), WSC_AGAIN);
    CHECK_EQ(h.in.length, i + 1);
    CHECK_EQ(h.scanned, i + 1);
    CHECK_EQ(h.line_at, lines[i] == '\n' ? i + 1 : h.line_at);
  }
  handshake_free(&h);
  buffer_free(&out);
  url_free(&u);
}

/* Refusals */

static void statuses_and_what_they_mean(void) {
  static const struct {
    int status, fatal;
  } rows[] = {{200, WSC_GIVE_UP_REFUSED},
              {204, WSC_GIVE_UP_REFUSED},
              {301, WSC_GIVE_UP_REFUSED},
              {401, WSC_GIVE_UP_REFUSED},
              {403, WSC_GIVE_UP_REFUSED},
              {404, WSC_GIVE_UP_REFUSED},
              {408, 0},
              {425, 0},
              {429, 0},
              {500, 0},
              {503, 0},
              {999, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char answer[100], want[100];
    snprintf(answer, sizeof answer, "HTTP/1.1 %d Why\r\nContent-Length: 0\r\n\r\n", rows[i].status);
    snprintf(want, sizeof want, "the server refused the upgrade: %d Why", rows[i].status);
    refused(answer, rows[i].fatal, rows[i].status, want);
  }
  refused("HTTP/1.0 200 OK\r\n\r\n", WSC_GIVE_UP_REFUSED, 200, "200 OK");
  refused("HTTP/1.1 503 Busy\r\nnot a header\r\nContent-Length: 0\r\n\r\n", 0, 503,
          "503 Busy"); /* its form matters less than what it says */
}

/* The body as it is kept, however the answer is cut. */
static void body_is(const char *answer, const char *body) {
  size_t n = strlen(answer);
  for (size_t cut = 0; cut <= n; cut++) {
    struct ended e = feed(answer, n, cut, cut == 0 ? 1 : SIZE_MAX);
    size_t length = 0;
    const uint8_t *p = wsc_response_body(wsc_error_response(e.error), &length);
    CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
    CHECK_EQ(length, strlen(body));
    CHECK_BYTES(p, body, length);
    forget(&e);
  }
}

static void bodies_are_kept(void) {
  body_is("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nhello and more", "hello");
  body_is("HTTP/1.1 403 No\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello");
  body_is("HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\ncut off", "cut off");
  body_is("HTTP/1.1 403 No\r\nContent-Length: nonsense\r\n\r\nall of it", "all of it");
  body_is("HTTP/1.1 403 No\r\n\r\nuntil the end", "until the end");
  body_is("HTTP/1.1 204 No\r\n\r\nnone", "");
  body_is("HTTP/1.1 403 No\r\nTransfer-Encoding: gzip, CHUNKED\r\nContent-Length: 1\r\n\r\n"
          "5\r\nhello\r\n00A;name=value\r\n, chunks! \r\n0\r\nTrailer: x\r\n\r\nmore",
          "hello, chunks! ");
  body_is("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", "hello");
  body_is("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX5\r\nworld",
          "hello"); /* broken: what came before stays */
  body_is("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "");
  body_is("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx", "");
  body_is("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ncut", "cut");
}

static void what_is_no_chunk_ends_the_body_at_once(void) {
  static const char answer[] = "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
  struct ended e = feed(answer, sizeof answer - 1, 0, 1);
  CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
  CHECK_EQ(e.used, sizeof answer - 1 - 3);
  forget(&e);
}

static void a_body_has_a_limit(void) {
  static const char *const starts[] = {"HTTP/1.1 403 No\r\n\r\n",
                                       "HTTP/1.1 403 No\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                                       "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n"};
  for (size_t i = 0; i < 3; i++) {
    char *text = repeat(starts[i], 'b', HANDSHAKE_BODY_MAX + 5000);
    struct ended e = feed(text, strlen(text), 0, 1000);
    size_t length;
    wsc_response_body(wsc_error_response(e.error), &length);
    CHECK_EQ(length, HANDSHAKE_BODY_MAX);
    CHECK(e.used < strlen(text)); /* the rest is not waited for */
    forget(&e);
    free(text);
  }
}

static void the_error_says_why(void) {
  static const char *const rows[][2] = {
      {"HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\n\r\n\r\n  maintenance until 5\nsecond line",
       "503 Busy: maintenance until 5"},
      {"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>\r\n<head><title>upstream "
       "down</title></head></html>",
       "502 Bad Gateway: upstream down"},
      {"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\n\r\n{\"error\":\"token \x01 expired\"}",
       "400 Bad: {\"error\":\"token ? expired\"}"},
      {"HTTP/1.1 302 Found\r\nLocation: https://example.org/login?token=secret\r\n\r\n",
       "it points to https://example.org/login;"},
      {"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n", "it asks for authentication: Basic realm=x"},
      {"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\n\r\n", "it speaks 8"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct ended e = feed_whole(rows[i][0]);
    CHECK_HAS(wsc_error_message(e.error), rows[i][1]);
    CHECK(strstr(wsc_error_message(e.error), "secret") == NULL);
    CHECK(strstr(wsc_error_message(e.error), "second line") == NULL);
    forget(&e);
  }
  struct ended e = feed_whole("HTTP/1.1 500 Oops\r\nContent-Type: image/png\r\n\r\nPNG");
  CHECK(strstr(wsc_error_message(e.error), "PNG") == NULL);
  forget(&e);
  /* A long line is cut, and not in the middle of a character. */
  char *text = repeat("HTTP/1.1 500 Oops\r\n\r\nab", 'x', 157);
  char *longer = malloc(strlen(text) + 20);
  sprintf(longer, "%s\xc3\xa4\xc3\xa4", text);
  e = feed_whole(longer);
  CHECK(strchr(wsc_error_message(e.error), '?') == NULL);
  forget(&e);
  free(longer);
  free(text);
}

static int64_t fixed_unix(void) { return INT64_C(784111770) * NS_PER_S; } /* 1994-11-06 08:49:30 */

static int64_t retry_after(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int64_t retry_after(const char *format, ...) {
  char answer[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(answer, sizeof answer, format, arguments);
  va_end(arguments);
  struct ended e = feed_whole(answer);
  int64_t ms = error_retry_after_ms(e.error);
  forget(&e);
  return ms;
}

static void retry_after_is_read(void) {
  os_clocks.unix_time = fixed_unix;
  CHECK_EQ(retry_after("HTTP/1.1 503 B\r\nRetry-After: 120\r\n\r\n"), 120000);
  CHECK_EQ(retry_after("HTTP/1.1 429 B\r\nRetry-After: 1\r\n\r\n"), 1000);
  CHECK_EQ(retry_after("HTTP/1.1 500 B\r\nRetry-After: 120\r\n\r\n"), -1);
  CHECK_EQ(retry_after("HTTP/1.1 503 B\r\nRetry-After: soon\r\n\r\n"), -1);
  CHECK_EQ(retry_after("HTTP/1.1 503 B\r\nRetry-After: -5\r\n\r\n"), -1);
  CHECK_EQ(retry_after("HTTP/1.1 503 B\r\n\r\n"), -1);
  CHECK(retry_after("HTTP/1.1 503 B\r\nRetry-After: 99999999999999999999999999\r\n\r\n") > INT64_C(86400000));
  CHECK_EQ(retry_after("HTTP/1.1 503 B\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"), 7000);
  /* The answer's own Date is the better clock. */
  CHECK_EQ(retry_after("HTTP/1.1 503 B\r\nDate: Sun, 06 Nov 1994 08:48:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 "
                       "08:49:37 GMT\r\n\r\n"),
           60000);
  CHECK_EQ(retry_after("HTTP/1.1 503 B\r\nRetry-After: Sun, 06 Nov 1994 08:49:00 GMT\r\n\r\n"),
           -1); /* in the past: no wait */
}

static void http_dates(void) {
  CHECK_EQ(refusal_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  CHECK_EQ(refusal_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
  CHECK_EQ(refusal_http_date("Sun Nov  6 08:49:37 1994"), 784111777);
  CHECK_EQ(refusal_http_date("Thu, 01 Jan 2026 00:00:00 GMT"), 1767225600);
  static const char *const bad[] = {"",
                                    "Sun",
                                    "Sun, 06 Nov 1994",
                                    "Sun, 06 Nov 1994 08:49:37 PST",
                                    "Sun, 06 Nov 1994 08:49:37 GMT x",
                                    "Sun, 06 Foo 1994 08:49:37 GMT",
                                    "Sun, 06 Nov 1994 25:49:37 GMT",
                                    "Sun, 40 Nov 1994 08:49:37 GMT",
                                    "Sun, 06 Nov 1894 08:49:37 GMT"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK_EQ(refusal_http_date(bad[i]), -1);
}

static void a_deadline_in_the_body_tells_the_refusal(void) {
  struct handshake h;
  struct buffer out = {0};
  struct url u = parse("ws://example.org/");
  static const char answer[] = "HTTP/1.1 503 Busy\r\n\r\nfirst words";
  size_t used;
  wsc_error *e = NULL;
  CHECK_EQ(handshake_begin(&h, &u, options, &out, NULL), WSC_OK);
  CHECK_EQ(handshake_feed(&h, options, (const uint8_t *)answer, sizeof answer - 1, &used, &e), WSC_AGAIN);
  CHECK(h.refused);
  CHECK_EQ(handshake_feed(&h, options, NULL, 0, &used, &e), WSC_ERR_HANDSHAKE);
  CHECK_HAS(wsc_error_message(e), "503 Busy: first words");
  wsc_error_unref(e);
  handshake_free(&h);
  buffer_free(&out);
  url_free(&u);
}

static void lack_of_memory_is_survived(void) {
  static const char *const answers[] = {
      GOOD "Sec-WebSocket-Protocol: chat.v1\r\nA: b\r\n\r\n", GOOD "Sec-WebSocket-Protocol: bad\r\n\r\n",
      "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: y\r\n\r\nbody"};
  struct url u = parse("ws://user:pass@example.org/path");
  for (size_t i = 0; i < 4; i++) {
    bool failed = true;
    long live = mem_live();
    for (long n = 1; failed; n++) {
      struct handshake h = {0};
      struct buffer out = {0};
      wsc_error *e = NULL;
      char text[512];
      mem_fail_after(n);
      int status = handshake_begin(&h, &u, options, &out, &e);
      if (status != WSC_OK) CHECK_EQ(out.length, 0);
      size_t length = status == WSC_OK ? prepare(answers[i], strlen(answers[i]), h.key, text) : 0, used = 0, at = 0;
      if (status == WSC_OK) status = WSC_AGAIN;
      for (; status == WSC_AGAIN && at < length; at += used)
        status = handshake_feed(&h, options, (uint8_t *)text + at, 1, &used, &e);
      if (status == WSC_AGAIN) status = handshake_feed(&h, options, NULL, 0, &used, &e);
      failed = mem_failed();
      mem_fail_after(-1);
      if (!failed) CHECK_EQ(status, i == 0 ? WSC_OK : WSC_ERR_HANDSHAKE);
      else
        CHECK(status == WSC_ERR_NOMEM ||
              status == WSC_ERR_HANDSHAKE); /* the latter when only its text could not be made */
      CHECK_EQ(wsc_error_status(e), status);
      wsc_error_unref(e);
      handshake_free(&h);
      buffer_free(&out);
      CHECK_EQ(mem_live(), live);
    }
  }
  url_free(&u);
}

int main(void) {
  CHECK(mem_live() >= 0); /* counts from here on */
  options = wsc_options_new();
  wsc_options_set_str(options, WSC_OPT_SUBPROTOCOL, "chat.v2");
  wsc_options_set_str(options, WSC_OPT_SUBPROTOCOL, "chat.v1");
  a_plain_request();
  a_request_with_everything();
  the_users_own_headers_win();
  each_key_is_fresh();
  good_answers();
  forms_that_are_tolerated();
  interim_answers_are_skipped();
  a_good_answer_keeps_its_headers();
  malformed_upgrades();
  a_nul_in_a_header_is_malformed();
  bad_first_lines();
  what_is_not_http_is_shown();
  an_end_in_the_middle_is_no_verdict();
  a_header_has_a_limit();
  a_header_just_within_the_limit();
  small_pieces_are_not_looked_at_again();
  statuses_and_what_they_mean();
  bodies_are_kept();
  what_is_no_chunk_ends_the_body_at_once();
  a_body_has_a_limit();
  the_error_says_why();
  retry_after_is_read();
  http_dates();
  a_deadline_in_the_body_tells_the_refusal();
  lack_of_memory_is_survived();
  wsc_options_free(options);
  CHECK_EQ(mem_live(), 0);
  return 0;
}
