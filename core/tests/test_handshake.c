/* The upgrade: the request byte for byte, and every answer that upgrades or should have. */
#define _GNU_SOURCE
#include "handshake_feed.h"
#include "random.h"

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

static void a_header_has_a_limit(void) {
  char *text = repeat("HTTP/1.1 101 S\r\nX: ", 'x', ANSWER_HEADER_MAX);
  for (size_t step = 1; step <= 4096; step *= 64) {
    struct ended e = feed(text, strlen(text), 0, step);
    CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
    CHECK_HAS(wsc_error_message(e.error), "header is longer than 65536 bytes");
    CHECK_EQ(e.used, ANSWER_HEADER_MAX);
    forget(&e);
  }
  free(text);
  /* Interim answers do not renew it. */
  struct buffer many = {0};
  while (many.length <= ANSWER_HEADER_MAX) CHECK_EQ(buffer_printf(&many, "HTTP/1.1 100 Continue\r\n\r\n"), WSC_OK);
  struct ended e = feed((char *)many.data, many.length, 0, 1000);
  CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
  CHECK_HAS(wsc_error_message(e.error), "header is longer than 65536 bytes");
  forget(&e);
  buffer_free(&many);
}

static void a_header_just_within_the_limit(void) {
  static const char start[] = GOOD "X: ";
  size_t fill = ANSWER_HEADER_MAX - (sizeof start - 1 + 22) - 4;
  char *text = repeat(start, 'x', fill + 4);
  memcpy(text + strlen(text) - 4, "\r\n\r\n", 4);
  struct ended e = feed(text, strlen(text), 0, 4096);
  CHECK_EQ(e.status, WSC_OK);
  CHECK_EQ(e.used, ANSWER_HEADER_MAX);
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
    CHECK_EQ(h.answer.in.length, i + 1);
    CHECK_EQ(h.answer.scanned, i + 1);
    CHECK_EQ(h.answer.line_at, lines[i] == '\n' ? i + 1 : h.answer.line_at);
  }
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
  uint8_t key[4];
  CHECK_EQ(random_key(key), WSC_OK); /* this thread's pool is its own until it ends */
  CHECK(mem_live() >= 0);            /* counts from here on */
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
  lack_of_memory_is_survived();
  wsc_options_free(options);
  CHECK_EQ(mem_live(), 0);
  return 0;
}
