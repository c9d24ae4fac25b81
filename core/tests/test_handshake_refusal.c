/* Refusals of the upgrade: statuses and what they mean, bodies, Retry-After. */
#define _GNU_SOURCE
#include "cpu_clock.h"
#include "handshake_feed.h"
#include "random.h"

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

/* CPU of one answer with so many lines, the least of several. */
static double cost_of(const char *status, const char *line, size_t lines) {
  struct buffer answer = {0};
  double least = 1e18;
  CHECK_EQ(buffer_printf(&answer, "HTTP/1.1 %s\r\n", status), WSC_OK);
  for (size_t i = 0; i < lines; i++) CHECK_EQ(buffer_printf(&answer, "%s\n", line), WSC_OK);
  CHECK_EQ(buffer_append(&answer, "\n", 2), WSC_OK); /* and a NUL */
  for (int i = 0; i < 7; i++) {
    double before = cpu_ns();
    struct ended e = feed_whole((const char *)answer.data);
    double took = cpu_ns() - before;
    CHECK_EQ(e.status, WSC_ERR_HANDSHAKE);
    if (took < least) least = took;
    forget(&e);
  }
  buffer_free(&answer);
  return least;
}

/* Eight times as many cost about eight times as much; a square would be 64. */
static void thousands_of_headers_cost_no_square(void) {
  static const char *const cases[][2] = {
      {"101 x", "Upgrade:x"}, {"500 x", "Content-Length:1"}, {"500 x", "Transfer-Encoding:x"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *status = cases[i][0], *line = cases[i][1];
    CHECK(cost_of(status, line, 3200) < 24 * cost_of(status, line, 400));
  }
}

int main(void) {
  uint8_t key[4];
  CHECK_EQ(random_key(key), WSC_OK); /* this thread's pool is its own until it ends */
  CHECK(mem_live() >= 0);            /* counts from here on */
  options = wsc_options_new();
  statuses_and_what_they_mean();
  bodies_are_kept();
  what_is_no_chunk_ends_the_body_at_once();
  a_body_has_a_limit();
  the_error_says_why();
  retry_after_is_read();
  http_dates();
  thousands_of_headers_cost_no_square();
  a_deadline_in_the_body_tells_the_refusal();
  wsc_options_free(options);
  CHECK_EQ(mem_live(), 0);
  return 0;
}
