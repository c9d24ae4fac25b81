/* Errors as chains, statuses as a table, and responses, which errors carry. */
#include "check.h"
#include "error.h"
#include "mem.h"
#include "response.h"

#include <errno.h>

static int dropped;
static void drop(void *host) {
  CHECK(host == &dropped);
  dropped++;
}

static void statuses_have_names_and_texts(void) {
  CHECK_STR(wsc_status_name(WSC_OK), "OK");
  CHECK_STR(wsc_status_name(WSC_ERR_TIMEOUT), "ERR_TIMEOUT");
  CHECK_STR(wsc_status_text(WSC_ERR_TIMEOUT), "timed out");
  CHECK_STR(wsc_status_name(WSC_ERR_FORKED), "ERR_FORKED");
  CHECK_STR(wsc_status_name(-6), "UNKNOWN");
  CHECK_STR(wsc_status_text(12345), "unknown status");
}

static void nothing_is_an_error_too(void) {
  CHECK_EQ(wsc_error_status(NULL), WSC_OK);
  CHECK_STR(wsc_error_message(NULL), "");
  CHECK(wsc_error_cause(NULL) == NULL && wsc_error_host(NULL) == NULL && wsc_error_response(NULL) == NULL);
  CHECK_EQ(wsc_error_close_code(NULL), 0);
  CHECK_EQ(wsc_error_os_error(NULL), 0);
  CHECK_EQ(wsc_error_http_status(NULL), 0);
  CHECK_EQ(error_fatal(NULL), 0);
  CHECK_EQ(error_timer(NULL), 0);
  CHECK_EQ(error_retry_after_ms(NULL), -1);
  CHECK(wsc_error_ref(NULL) == NULL);
  wsc_error_unref(NULL);
}

static void the_outermost_message_tells_the_whole_story(void) {
  wsc_error *e =
      error_make(&(struct error_info){.status = WSC_ERR_IO, .os_error = ECONNREFUSED}, "connect to %s: refused", "h");
  e = error_make(&(struct error_info){.status = WSC_ERR_TIMEOUT, .cause = e, .timer = WSC_TIMER_CONNECT},
                 "dial of %d ms", 30);
  e = error_make(&(struct error_info){.status = WSC_ERR_STATE, .cause = e, .fatal = WSC_GIVE_UP_RESOLVE},
                 "start failed");
  CHECK_STR(wsc_error_message(e), "start failed: dial of 30 ms: connect to h: refused");
  CHECK_EQ(wsc_error_status(e), WSC_ERR_STATE);
  CHECK_STR(wsc_error_message(wsc_error_cause(e)), "dial of 30 ms: connect to h: refused");
  CHECK_EQ(wsc_error_status(wsc_error_cause(wsc_error_cause(e))), WSC_ERR_IO);
  CHECK(wsc_error_cause(wsc_error_cause(wsc_error_cause(e))) == NULL);
  CHECK_EQ(wsc_error_os_error(e), ECONNREFUSED); /* facts are found along the chain */
  CHECK_EQ(error_timer(e), WSC_TIMER_CONNECT);
  CHECK_EQ(error_fatal(e), WSC_GIVE_UP_RESOLVE);
  CHECK_EQ(error_fatal(wsc_error_cause(e)), 0);
  e = error_make(&(struct error_info){.status = WSC_ERR_HOST, .cause = e, .plain = true}, "alone");
  CHECK_STR(wsc_error_message(e), "alone");
  wsc_error_unref(e);
}

static void the_outermost_fact_wins(void) {
  wsc_error *e =
      error_make(&(struct error_info){.status = WSC_ERR_CLOSED, .close_code = 1006, .retry_after_ms = -1}, "inner");
  e = error_make(&(struct error_info){.status = WSC_ERR_CLOSED, .close_code = 1002, .cause = e, .retry_after_ms = 500},
                 "outer");
  e = error_make(&(struct error_info){.status = WSC_ERR_HOST, .cause = e}, "%s", "");
  CHECK_EQ(wsc_error_close_code(e), 1002);
  CHECK_EQ(error_retry_after_ms(e), 500);
  CHECK_EQ(error_retry_after_ms(wsc_error_cause(wsc_error_cause(e))), -1);
  CHECK_STR(wsc_error_message(e), "outer: inner"); /* no words of its own, so no colon */
  wsc_error_unref(e);
}

static void a_peers_words_break_no_line_and_no_decoder(void) {
  wsc_error *e = NULL;
  error_set(&e, WSC_ERR_CLOSED, "reason \"%s\"", "a\r\nERROR fake\x1b[2J");
  CHECK_STR(wsc_error_message(e), "reason \"a??ERROR fake?[2J\"");
  wsc_error_unref(e);
  error_set(&e, WSC_ERR_CLOSED, "%s", "gr\xc3\xbc\xc3\x9f");
  CHECK_STR(wsc_error_message(e), "gr\xc3\xbc\xc3\x9f");
  wsc_error_unref(e);
  error_set(&e, WSC_ERR_CLOSED, "%s", "gr\xfc\xdf");
  CHECK_STR(wsc_error_message(e), "gr??");
  wsc_error_unref(e);
}

static void references_are_counted_along_the_chain(void) {
  wsc_error *cause = error_make(&(struct error_info){.status = WSC_ERR_IO}, "cause");
  wsc_error *a = error_make(&(struct error_info){.status = WSC_ERR_IO, .cause = wsc_error_ref(cause)}, "a");
  wsc_error *b = error_make(&(struct error_info){.status = WSC_ERR_IO, .cause = cause}, "b");
  wsc_error_unref(a);
  CHECK_STR(wsc_error_message(wsc_error_cause(b)), "cause");
  CHECK(wsc_error_ref(b) == b);
  wsc_error_unref(b);
  CHECK_STR(wsc_error_message(b), "b: cause");
  wsc_error_unref(b);
}

static void a_very_long_chain_is_freed_without_recursion(void) {
  wsc_error *e = NULL;
  for (int i = 0; i < 300000; i++)
    e = error_make(&(struct error_info){.status = WSC_ERR_IO, .cause = e, .plain = true}, "link");
  wsc_error_unref(e);
}

static void setting_without_a_taker_releases_what_was_taken_over(void) {
  long before = mem_live();
  struct error_info info = {.status = WSC_ERR_HANDSHAKE, .response = wsc_response_new()};
  info.cause = error_make(&(struct error_info){.status = WSC_ERR_IO}, "cause");
  CHECK_EQ(error_set_info(NULL, &info, "nobody listens"), WSC_ERR_HANDSHAKE);
  CHECK_EQ(error_set(NULL, WSC_ERR_IO, "nobody listens"), WSC_ERR_IO);
  CHECK_EQ(error_give(NULL, error_make(&(struct error_info){.status = WSC_ERR_TLS}, "t")), WSC_ERR_TLS);
  CHECK_EQ(mem_live(), before);
  wsc_error *e = NULL;
  CHECK_EQ(error_give(&e, error_make(&(struct error_info){.status = WSC_ERR_TLS}, "t")), WSC_ERR_TLS);
  CHECK_STR(wsc_error_message(e), "t");
  wsc_error_unref(e);
}

static void without_memory_the_status_survives(void) {
  long before = mem_live();
  struct error_info info = {.status = WSC_ERR_TLS, .response = wsc_response_new()};
  info.cause = error_make(&(struct error_info){.status = WSC_ERR_IO}, "cause");
  mem_fail_after(1);
  wsc_error *e = error_make(&info, "text");
  CHECK(mem_failed());
  CHECK_EQ(mem_live(), before); /* what it took over is released */
  CHECK_EQ(wsc_error_status(e), WSC_ERR_TLS);
  CHECK_HAS(wsc_error_message(e), "TLS failed");
  CHECK_HAS(wsc_error_message(e), "memory");
  for (int i = 0; i < 3; i++) wsc_error_unref(e); /* static: counts nothing */
  CHECK(wsc_error_ref(e) == e);
  mem_fail_after(-1);
  e = error_make(&(struct error_info){.status = WSC_ERR_IO, .cause = e}, "later"); /* and may be a cause */
  CHECK_HAS(wsc_error_message(e), "later: TLS failed");
  wsc_error_unref(e);
  CHECK_EQ(mem_live(), before);
}

static void a_hosts_exception_travels_along(void) {
  wsc_error *inner = NULL, *outer = NULL;
  dropped = 0;
  CHECK_EQ(wsc_error_new(WSC_ERR_HOST, 1011, "ValueError: a\n\tb", NULL, &dropped, drop, &inner), WSC_OK);
  CHECK_STR(wsc_error_message(inner), "ValueError: a\n\tb"); /* a traceback keeps its lines */
  CHECK_EQ(wsc_error_close_code(inner), 1011);
  CHECK_EQ(wsc_error_new(WSC_ERR_STATE, 0, NULL, inner, NULL, NULL, &outer), WSC_OK);
  CHECK_STR(wsc_error_message(outer), "not possible in this state: ValueError: a\n\tb");
  CHECK(wsc_error_host(outer) == &dropped);
  CHECK_EQ(dropped, 0);
  wsc_error_unref(outer);
  CHECK_EQ(dropped, 1);
}

static void a_failing_new_keeps_nothing(void) {
  long before = mem_live();
  wsc_error *out = NULL;
  wsc_error *cause = error_make(&(struct error_info){.status = WSC_ERR_IO}, "cause");
  dropped = 0;
  CHECK_EQ(wsc_error_new(WSC_OK, 0, "no error", wsc_error_ref(cause), &dropped, drop, &out), WSC_ERR_INVALID);
  CHECK_EQ(wsc_error_new(WSC_STOPPED, 0, "no error", NULL, &dropped, drop, &out), WSC_ERR_INVALID);
  CHECK_EQ(wsc_error_new(-999, 0, "no such status", NULL, &dropped, drop, &out), WSC_ERR_INVALID);
  CHECK_EQ(wsc_error_new(WSC_ERR_HOST, 0, "nowhere to", wsc_error_ref(cause), &dropped, drop, NULL), WSC_ERR_INVALID);
  mem_fail_after(1);
  CHECK_EQ(wsc_error_new(WSC_ERR_HOST, 0, "x", cause, &dropped, drop, &out), WSC_ERR_NOMEM);
  mem_fail_after(-1);
  CHECK(out == NULL);
  CHECK_EQ(dropped, 5);
  CHECK_EQ(mem_live(), before);
}

static void errno_has_a_text(void) {
  char buffer[128];
  CHECK_STR(error_errno_text(ECONNREFUSED, buffer), "Connection refused");
  CHECK_HAS(error_errno_text(987654, buffer), "987654");
}

static wsc_response *refusal(void) {
  wsc_response *r = wsc_response_new();
  CHECK(r != NULL);
  CHECK_EQ(wsc_response_set(r, 503, "Busy"), WSC_OK);
  CHECK_EQ(wsc_response_add_header(r, "Retry-After", "3"), WSC_OK);
  CHECK_EQ(response_add_header(r, "x-ab", 3, "vwxyz", 2), WSC_OK);
  CHECK_EQ(wsc_response_add_header(r, "retry-after", ""), WSC_OK);
  CHECK_EQ(response_add_body(r, "so", 2), WSC_OK);
  CHECK_EQ(response_add_body(r, "rry", 3), WSC_OK);
  CHECK_EQ(response_set_subprotocol(r, "chat", 4), WSC_OK);
  return r;
}

static void check_refusal(const wsc_response *r) {
  const char *name, *value;
  size_t n;
  CHECK_EQ(wsc_response_status(r), 503);
  CHECK_STR(wsc_response_reason(r), "Busy");
  CHECK_STR(wsc_response_header(r, "RETRY-after", 0), "3");
  CHECK_STR(wsc_response_header(r, "Retry-After", 1), "");
  CHECK_STR(wsc_response_header(r, "Retry-After", 2), NULL);
  CHECK_STR(wsc_response_header(r, "x-a", 0), "vw");
  CHECK_STR(wsc_response_header(r, "x-", 0), NULL);
  CHECK(wsc_response_header_at(r, 1, &name, &value));
  CHECK_STR(name, "x-a");
  CHECK_STR(value, "vw");
  CHECK(!wsc_response_header_at(r, 3, &name, &value));
  CHECK_BYTES(wsc_response_body(r, &n), "sorry", 5);
  CHECK_EQ(n, 5);
  CHECK_STR(wsc_response_subprotocol(r), "chat");
}

static void a_response_is_found_along_the_chain(void) {
  struct error_info info = {.status = WSC_ERR_HANDSHAKE, .http_status = 503, .response = refusal()};
  wsc_error *e = error_make(&info, "refused");
  e = error_make(&(struct error_info){.status = WSC_ERR_STATE, .cause = e}, "start failed");
  CHECK_EQ(wsc_error_http_status(e), 503);
  check_refusal(wsc_error_response(e));
  wsc_response *copy = response_copy(wsc_error_response(e));
  wsc_error_unref(e);
  check_refusal(copy);
  wsc_response_free(copy);
}

static void a_copy_survives_every_failure(void) {
  wsc_response *r = refusal();
  long before = mem_live();
  for (long n = 1;; n++) {
    mem_fail_after(n);
    wsc_response *copy = response_copy(r);
    bool failed = mem_failed();
    CHECK_EQ(copy == NULL, failed);
    wsc_response_free(copy);
    CHECK_EQ(mem_live(), before);
    if (!failed) break;
  }
  mem_fail_after(-1);
  wsc_response_free(r);
}

static void a_body_is_kept_to_its_limit(void) {
  static char block[40000];
  wsc_response *r = wsc_response_new();
  size_t n;
  for (int i = 0; i < 3; i++) CHECK_EQ(response_add_body(r, block, sizeof block), WSC_OK);
  wsc_response_body(r, &n);
  CHECK_EQ(n, 65536);
  wsc_response_free(r);
}

static void headers_that_would_split_lines_are_refused(void) {
  wsc_response *r = wsc_response_new();
  CHECK_EQ(wsc_response_add_header(r, "A", "b\r\nC: d"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_add_header(r, "A\n", "b"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_add_header(r, "A b", "b"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_add_header(r, "", "b"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_add_header(r, NULL, "b"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_add_header(r, "A", NULL), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_add_header(NULL, "A", "b"), WSC_ERR_INVALID);
  CHECK_EQ(response_add_header(r, "A", 1, "b\0c", 3), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_set(r, 99, "x"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_set(r, 200, "x\ny"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_response_set(NULL, 200, "x"), WSC_ERR_INVALID);
  CHECK(!wsc_response_header_at(r, 0, NULL, NULL));
  CHECK_EQ(wsc_response_status(r), 0);
  wsc_response_free(r);
  wsc_response_free(NULL);
}

static void a_host_adapters_subprotocol_is_read_from_its_header(void) {
  wsc_response *r = wsc_response_new();
  CHECK_STR(wsc_response_subprotocol(r), "");
  CHECK_EQ(wsc_response_add_header(r, "sec-websocket-protocol", "mqtt"), WSC_OK);
  CHECK_STR(wsc_response_subprotocol(r), "mqtt");
  CHECK_STR(wsc_response_header(r, "Sec-WebSocket-Protocol", 0), "mqtt");
  wsc_response_free(r);
}

static void no_response_answers_too(void) {
  size_t n = 7;
  CHECK_EQ(wsc_response_status(NULL), 0);
  CHECK_STR(wsc_response_reason(NULL), "");
  CHECK_STR(wsc_response_subprotocol(NULL), "");
  CHECK_STR(wsc_response_header(NULL, "A", 0), NULL);
  CHECK(wsc_response_body(NULL, &n) == NULL);
  CHECK_EQ(n, 0);
  CHECK(response_copy(NULL) == NULL);
}

int main(void) {
  long before = mem_live();
  statuses_have_names_and_texts();
  nothing_is_an_error_too();
  the_outermost_message_tells_the_whole_story();
  the_outermost_fact_wins();
  a_peers_words_break_no_line_and_no_decoder();
  references_are_counted_along_the_chain();
  a_very_long_chain_is_freed_without_recursion();
  setting_without_a_taker_releases_what_was_taken_over();
  without_memory_the_status_survives();
  a_hosts_exception_travels_along();
  a_failing_new_keeps_nothing();
  errno_has_a_text();
  a_response_is_found_along_the_chain();
  a_copy_survives_every_failure();
  a_body_is_kept_to_its_limit();
  headers_that_would_split_lines_are_refused();
  a_host_adapters_subprotocol_is_read_from_its_header();
  no_response_answers_too();
  CHECK_EQ(mem_live(), before);
  return 0;
}
