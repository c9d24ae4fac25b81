/* Option sets: defaults, storing, snapshots, and what validate finds. */
#include "check.h"
#include "error.h"
#include "mem.h"
#include "options.h"

static const wsc_option_description *describe(int id) {
  static wsc_option_description d;
  for (int i = 0;; i++) {
    d.struct_size = sizeof d;
    CHECK_EQ(wsc_option_info(i, &d), WSC_OK);
    if (d.id == id) return &d;
  }
}

static void the_table_describes_every_option(void) {
  int rows = 0;
  wsc_option_description d = {.struct_size = sizeof d}, small = {.struct_size = 8};
  for (; wsc_option_info(rows, &d) == WSC_OK; rows++) {
    CHECK(d.id > 0 && d.type >= WSC_OPTION_BOOL && d.type <= WSC_OPTION_LIST && d.scope >= WSC_SCOPE_ENGINE &&
          d.scope <= WSC_SCOPE_LOOP);
    CHECK(d.name[0] != 0 && d.doc[0] != 0);
    CHECK(d.default_value >= d.min && d.default_value <= d.max);
    CHECK_EQ(d.struct_size, sizeof d);
  }
  CHECK(rows > 30);
  CHECK_EQ(wsc_option_info(-1, &d), WSC_ERR_INVALID);
  CHECK_EQ(wsc_option_info(0, NULL), WSC_ERR_INVALID);
  CHECK_EQ(wsc_option_info(0, &small), WSC_ERR_INVALID);
  CHECK_STR(describe(WSC_OPT_KEEPALIVE_INTERVAL_MS)->python_name, "ping_interval");
  CHECK_STR(describe(WSC_OPT_KEEPALIVE_INTERVAL_MS)->flag, "--ping-interval");
  CHECK_STR(describe(WSC_OPT_KEEPALIVE_INTERVAL_MS)->name, "KEEPALIVE_INTERVAL_MS");
}

static void unset_options_have_their_defaults(void) {
  wsc_options *o = wsc_options_new();
  int64_t value;
  CHECK_EQ(wsc_options_get_int(o, WSC_OPT_KEEPALIVE_INTERVAL_MS, &value), WSC_OK);
  CHECK_EQ(value, 20000);
  CHECK_EQ(options_int(NULL, WSC_OPT_AUTO_RECONNECT), 1);
  CHECK(!options_is_set(o, WSC_OPT_AUTO_RECONNECT) && !options_is_set(NULL, WSC_OPT_ORIGIN));
  CHECK_STR(options_str(o, WSC_OPT_ORIGIN), NULL);
  CHECK_STR(options_item(o, WSC_OPT_HEADER, 0), NULL);
  CHECK_STR(options_str(NULL, WSC_OPT_ORIGIN), NULL);
  CHECK(options_log(o, NULL) == NULL && options_log(NULL, NULL) == NULL);
  CHECK_EQ(wsc_options_validate(o, NULL), WSC_OK);
  CHECK_EQ(wsc_options_validate(NULL, NULL), WSC_OK);
  wsc_options_free(o);
  wsc_options_free(NULL);
}

static void values_are_stored_by_type(void) {
  wsc_options *o = wsc_options_new();
  int64_t value;
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_READER_COUNT, 4), WSC_OK);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_INSECURE, 1), WSC_OK);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_ORIGIN, "https://a"), WSC_OK);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_ORIGIN, "https://b"), WSC_OK); /* replaces */
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_ORIGIN, options_str(o, WSC_OPT_ORIGIN)), WSC_OK);
  char name[] = "h0: v";
  for (int i = 0; i < 9; i++, name[1]++) CHECK_EQ(wsc_options_set_str(o, WSC_OPT_HEADER, name), WSC_OK); /* appends */
  CHECK_EQ(options_int(o, WSC_OPT_READER_COUNT), 4);
  CHECK_EQ(options_int(o, WSC_OPT_INSECURE), 1);
  CHECK_STR(options_str(o, WSC_OPT_ORIGIN), "https://b");
  CHECK_STR(options_item(o, WSC_OPT_HEADER, 0), "h0: v");
  CHECK_STR(options_item(o, WSC_OPT_HEADER, 8), "h8: v");
  CHECK_STR(options_item(o, WSC_OPT_HEADER, 9), NULL);
  CHECK(options_is_set(o, WSC_OPT_HEADER) && options_is_set(o, WSC_OPT_READER_COUNT));

  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_ORIGIN, 1), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_READER_COUNT, "1"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_get_int(o, WSC_OPT_HEADER, &value), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_get_int(o, WSC_OPT_READER_COUNT, NULL), WSC_ERR_INVALID);
  const int unknown[] = {0, -1, 19, 29, 61, 1000000, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
    CHECK_EQ(wsc_options_set_int(o, unknown[i], 1), WSC_ERR_INVALID);
    CHECK_EQ(wsc_options_set_str(o, unknown[i], "x"), WSC_ERR_INVALID);
    CHECK_EQ(wsc_options_get_int(o, unknown[i], &value), WSC_ERR_INVALID);
    CHECK_EQ(options_int(o, unknown[i]), 0);
  }
  CHECK_EQ(wsc_options_set_int(NULL, WSC_OPT_READER_COUNT, 1), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_set_str(NULL, WSC_OPT_ORIGIN, "x"), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_get_int(NULL, WSC_OPT_READER_COUNT, &value), WSC_ERR_INVALID);

  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_ORIGIN, NULL), WSC_OK);
  CHECK(!options_is_set(o, WSC_OPT_ORIGIN) && options_str(o, WSC_OPT_ORIGIN) == NULL);
  options_clear(o, WSC_OPT_HEADER);
  options_clear(o, WSC_OPT_READER_COUNT);
  CHECK(options_item(o, WSC_OPT_HEADER, 0) == NULL && !options_is_set(o, WSC_OPT_HEADER));
  CHECK_EQ(options_int(o, WSC_OPT_READER_COUNT), 1);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_HEADER, "again: 1"), WSC_OK);
  CHECK_STR(options_item(o, WSC_OPT_HEADER, 0), "again: 1");
  wsc_options_free(o);
}

static void log_line(void *self, int level, const char *subsystem, const char *session_id, const char *text) {
  (void)self, (void)level, (void)subsystem, (void)session_id, (void)text;
}

static void *span_start(void *self, void *parent, const char *name, int kind, int64_t time_ns, const wsc_attribute *a,
                        size_t n) {
  (void)parent, (void)name, (void)kind, (void)time_ns, (void)a, (void)n;
  return self;
}
static void span_event(void *self, void *span, const char *name, int64_t time_ns, const wsc_attribute *a, size_t n) {
  (void)self, (void)span, (void)name, (void)time_ns, (void)a, (void)n;
}
static void span_end(void *self, void *span, int64_t time_ns, int status, const wsc_error *error) {
  (void)self, (void)span, (void)time_ns, (void)status, (void)error;
}

static void a_tracer_is_copied(void) {
  wsc_options *o = wsc_options_new(), *s;
  const wsc_tracer whole = {
      .struct_size = sizeof whole, .span_start = span_start, .span_event = span_event, .span_end = span_end};
  wsc_tracer t = whole;
  void *self = NULL;
  int context;
  CHECK_EQ(wsc_options_set_tracer(o, &t, &context), WSC_OK);
  t.span_start = NULL;
  CHECK_EQ(wsc_options_set_tracer(o, &t, &context), WSC_ERR_INVALID);
  t = whole;
  t.span_event = NULL;
  CHECK_EQ(wsc_options_set_tracer(o, &t, &context), WSC_ERR_INVALID);
  t = whole;
  t.span_end = NULL;
  CHECK_EQ(wsc_options_set_tracer(o, &t, &context), WSC_ERR_INVALID);
  t = whole;
  t.flags = 1;
  CHECK_EQ(wsc_options_set_tracer(o, &t, &context), WSC_ERR_INVALID);
  t = whole;
  t.struct_size = 4;
  CHECK_EQ(wsc_options_set_tracer(o, &t, &context), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_set_tracer(NULL, &whole, NULL), WSC_ERR_INVALID);
  CHECK((s = options_snapshot(o)) != NULL);
  wsc_options_free(o);
  CHECK(options_tracer(s, &self)->span_start == span_start && self == &context);
  CHECK_EQ(wsc_options_set_tracer(s, NULL, NULL), WSC_ERR_STATE);
  wsc_options_free(s);
  CHECK(options_tracer(NULL, &self) == NULL);
  CHECK_STR(wsc_trace_name(WSC_TRACE_SPAN_ON_MESSAGE), "wscengine.callback.on_message");
  CHECK(wsc_trace_name(0) == NULL && wsc_trace_name(-1) == NULL && wsc_trace_name(1000) == NULL);
}

static void a_log_hook_is_copied(void) {
  wsc_options *o = wsc_options_new();
  wsc_log log = {.struct_size = sizeof log, .line = log_line};
  int context;
  void *self;
  CHECK_EQ(wsc_options_set_log(o, &log, &context), WSC_OK);
  log.line = NULL;
  CHECK_EQ(wsc_options_set_log(o, &log, &context), WSC_ERR_INVALID);
  log = (wsc_log){.struct_size = 4, .line = log_line};
  CHECK_EQ(wsc_options_set_log(o, &log, &context), WSC_ERR_INVALID);
  log = (wsc_log){.struct_size = sizeof log, .flags = 1, .line = log_line};
  CHECK_EQ(wsc_options_set_log(o, &log, &context), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_set_log(NULL, NULL, NULL), WSC_ERR_INVALID);
  wsc_options *s = options_snapshot(o);
  CHECK_EQ(wsc_options_set_log(o, NULL, NULL), WSC_OK);
  CHECK(options_log(o, NULL) == NULL);
  CHECK(options_log(s, &self)->line == log_line && self == &context);
  wsc_options_free(o);
  CHECK(options_log(s, &self)->line == log_line);
  wsc_options_free(s);
}

static wsc_options *some(void) {
  wsc_options *o = wsc_options_new();
  wsc_options_set_int(o, WSC_OPT_READER_COUNT, 4);
  wsc_options_set_str(o, WSC_OPT_ORIGIN, "https://a");
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "one");
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "two");
  return o;
}

static void a_snapshot_never_changes(void) {
  wsc_options *o = some(), *s = options_snapshot(o);
  wsc_options_set_int(o, WSC_OPT_READER_COUNT, 9);
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "three");
  wsc_options_set_str(o, WSC_OPT_ORIGIN, "https://b");
  CHECK_EQ(wsc_options_set_int(s, WSC_OPT_READER_COUNT, 5), WSC_ERR_STATE);
  CHECK_EQ(wsc_options_set_str(s, WSC_OPT_ORIGIN, NULL), WSC_ERR_STATE);
  CHECK_EQ(wsc_options_set_log(s, NULL, NULL), WSC_ERR_STATE);
  options_clear(s, WSC_OPT_SUBPROTOCOL);
  wsc_options_free(o);
  CHECK(options_snapshot(s) == s && options_ref(s) == s);
  wsc_options_free(s);
  wsc_options_free(s);
  CHECK_EQ(options_int(s, WSC_OPT_READER_COUNT), 4);
  CHECK_STR(options_str(s, WSC_OPT_ORIGIN), "https://a");
  CHECK_STR(options_item(s, WSC_OPT_SUBPROTOCOL, 1), "two");
  CHECK_STR(options_item(s, WSC_OPT_SUBPROTOCOL, 2), NULL);
  wsc_options *copy = options_copy(s); /* which may change */
  CHECK_EQ(wsc_options_set_str(copy, WSC_OPT_SUBPROTOCOL, "three"), WSC_OK);
  CHECK_STR(options_item(copy, WSC_OPT_SUBPROTOCOL, 2), "three");
  wsc_options_free(copy);
  wsc_options_free(s);
  s = options_snapshot(NULL);
  CHECK_EQ(options_int(s, WSC_OPT_READER_COUNT), 1);
  wsc_options_free(s);
}

static void copying_survives_every_failure(void) {
  wsc_options *o = some();
  long before = mem_live();
  for (long n = 1;; n++) {
    mem_fail_after(n);
    wsc_options *s = options_snapshot(o);
    bool failed = mem_failed();
    CHECK_EQ(s == NULL, failed);
    wsc_options_free(s);
    CHECK_EQ(mem_live(), before);
    if (!failed) break;
  }
  mem_fail_after(1);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_ORIGIN, "https://lost"), WSC_ERR_NOMEM);
  CHECK_STR(options_str(o, WSC_OPT_ORIGIN), "https://a");
  mem_fail_after(1);
  CHECK_EQ(wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "lost"), WSC_ERR_NOMEM);
  CHECK_STR(options_item(o, WSC_OPT_SUBPROTOCOL, 2), NULL);
  mem_fail_after(-1);
  wsc_options_free(o);
}

static int links(const wsc_error *e) {
  int n = 0;
  for (e = wsc_error_cause(e); e != NULL; e = wsc_error_cause(e)) n++;
  return n;
}

/* Sets one option and expects exactly one violation whose text has `part`, or none when part is NULL. */
static void judge_int(int id, int64_t value, const char *part) {
  wsc_options *o = wsc_options_new();
  wsc_error *e = NULL;
  CHECK_EQ(wsc_options_set_int(o, id, value), WSC_OK);
  CHECK_EQ(wsc_options_validate(o, &e), part != NULL ? WSC_ERR_INVALID : WSC_OK);
  CHECK_EQ(links(e), part != NULL ? 1 : 0);
  if (part != NULL) CHECK_HAS(wsc_error_message(e), part);
  wsc_error_unref(e);
  wsc_options_free(o);
}

static void judge_str(int id, const char *value, const char *part) {
  wsc_options *o = wsc_options_new();
  wsc_error *e = NULL;
  CHECK_EQ(wsc_options_set_str(o, id, value), WSC_OK);
  int status = wsc_options_validate(o, &e);
  if (part == NULL) CHECK_STR(wsc_error_message(e), "");
  CHECK_EQ(status, part != NULL ? WSC_ERR_INVALID : WSC_OK);
  CHECK_EQ(links(e), part != NULL ? 1 : 0);
  if (part != NULL) CHECK_HAS(wsc_error_message(e), part);
  CHECK(strstr(wsc_error_message(e), "s3cret") == NULL);
  wsc_error_unref(e);
  wsc_options_free(o);
}

static void numbers_keep_to_their_limits(void) {
  wsc_option_description d = {.struct_size = sizeof d};
  for (int i = 0; wsc_option_info(i, &d) == WSC_OK; i++) {
    if (d.type != WSC_OPTION_INT && d.type != WSC_OPTION_BOOL) continue;
    judge_int(d.id, d.min, NULL);
    judge_int(d.id, d.max, NULL);
    judge_int(d.id, d.min - 1, d.name);
    judge_int(d.id, d.max + 1, d.name);
    judge_int(d.id, INT64_MIN, "-9223372036854775808");
    judge_int(d.id, INT64_MAX, "9223372036854775807");
  }
  judge_int(WSC_OPT_KEEPALIVE_INTERVAL_MS, -5, "KEEPALIVE_INTERVAL_MS is -5 ms: it must be 0 to 86400000 ms");
  judge_int(WSC_OPT_JITTER_PERCENT, 101, "JITTER_PERCENT is 101%: it must be 0 to 100%");
  judge_int(WSC_OPT_READER_COUNT, 0, "READER_COUNT is 0: it must be 1 to 1024");
}

static void headers_are_judged_and_never_quoted(void) {
  const int H = WSC_OPT_HEADER;
  judge_str(H, "X-Token: s3cret", NULL);
  judge_str(H, "X-Empty:", NULL);
  judge_str(H, "X-Tab: a\tb", NULL);
  judge_str(H, "X-Latin: \xfc", NULL);
  judge_str(H, "Authorization: Bearer s3cret", NULL);
  judge_str(H, "Origin: https://a", NULL);
  judge_str(H, "Cookie: a=b", NULL);
  judge_str(H, "s3cret", "HEADER[0]: header has no colon");
  judge_str(H, "", "no colon");
  judge_str(H, ": s3cret", "empty name");
  judge_str(H, "X Y: s3cret", "header name \"X Y\" has a space at position 1");
  judge_str(H, "X-A : s3cret", "a space at position 3");
  judge_str(H, " X: s3cret", "a space at position 0");
  judge_str(H, "X(: s3cret", "'(' at position 1");
  judge_str(H, "X\xc3\xbc: s3cret", "the byte 0xc3 at position 1");
  judge_str(H, "X-A: s3cret\r\nHost: evil", "value of header \"X-A\" has a carriage return at position 7");
  judge_str(H, "X-A: \ns3cret", "a line feed at position 1");
  judge_str(H, "X-A\n: s3cret", "a line feed at position 3");
  judge_str(H, "X-A: \x01s3cret", "the byte 0x01");
  judge_str(H, "X-A: s3cret\x7f", "the byte 0x7f");
  judge_str(H, "Host: s3cret", "\"Host\" may not be set");
  judge_str(H, "hOsT: s3cret", "\"Host\" may not be set");
  judge_str(H, "Upgrade: s3cret", "may not be set");
  judge_str(H, "connection: s3cret", "may not be set");
  judge_str(H, "Sec-WebSocket-Key: s3cret", "may not be set");
  judge_str(H, "Sec-WebSocket-Version: 8", "may not be set");
  judge_str(H, "Sec-WebSocket-Extensions: permessage-deflate", "may not be set");
  judge_str(H, "Sec-WebSocket-Protocol: chat", "use the option SUBPROTOCOL");
  judge_str(H, "Sec-WebSocket-Accept: s3cret", "may not be set");
  judge_str(H, "Content-Length: 5", "no body");
  judge_str(H, "Transfer-Encoding: chunked", "no body");
  judge_str(H, "Hosts: fine", NULL);
}

static void texts_are_judged(void) {
  judge_str(WSC_OPT_SUBPROTOCOL, "graphql-transport-ws", NULL);
  judge_str(WSC_OPT_SUBPROTOCOL, "a b", "SUBPROTOCOL[0]: subprotocol \"a b\" has a space at position 1");
  judge_str(WSC_OPT_SUBPROTOCOL, "a,b", "','");
  judge_str(WSC_OPT_SUBPROTOCOL, "", "empty");
  judge_str(WSC_OPT_COOKIE, "session=s3cret", NULL);
  judge_str(WSC_OPT_COOKIE, "session=\"s3cret\"", NULL);
  judge_str(WSC_OPT_COOKIE, "session=", NULL);
  judge_str(WSC_OPT_COOKIE, "session=a=b==", NULL);
  judge_str(WSC_OPT_COOKIE, "s3cret", "COOKIE[0] must read \"name=value\"");
  judge_str(WSC_OPT_COOKIE, "=s3cret", "name=value");
  judge_str(WSC_OPT_COOKIE, "a=b; c=s3cret", "\"a\" has ';' at position 1");
  judge_str(WSC_OPT_COOKIE, "a=s3cret\r\nX: y", "a carriage return");
  judge_str(WSC_OPT_COOKIE, "a=s3cret x", "a space");
  judge_str(WSC_OPT_COOKIE, "a b=s3cret", "its name has a space at position 1");
  judge_str(WSC_OPT_COOKIE, "a=\"", "'\"'");
  judge_str(WSC_OPT_ORIGIN, "https://a.example", NULL);
  judge_str(WSC_OPT_ORIGIN, "null", NULL);
  judge_str(WSC_OPT_ORIGIN, "a\r\nX: y", "ORIGIN has a carriage return at position 1");
  judge_str(WSC_OPT_ORIGIN, "", "ORIGIN is empty");
  judge_str(WSC_OPT_CA_FILE, "", "CA_FILE is empty");
  judge_str(WSC_OPT_CA_DIR, "", "CA_DIR is empty: it must name a directory");
  judge_str(WSC_OPT_CERT_FILE, "client.pem", NULL);
  judge_str(WSC_OPT_KEY_FILE, "key.pem", "KEY_FILE is set without CERT_FILE");
  judge_str(WSC_OPT_CA_PEM, "ca.pem", "CA_FILE");
  judge_str(WSC_OPT_CA_PEM, "-----BEGIN CERTIFICATE-----\n", NULL);
}

static void the_way_to_the_server_is_judged(void) {
  char path[200] = "/";
  judge_str(WSC_OPT_BIND_ADDRESS, "192.0.2.1", NULL);
  judge_str(WSC_OPT_BIND_ADDRESS, "2001:db8::1", NULL);
  judge_str(WSC_OPT_BIND_ADDRESS, "fe80::1%eth0", NULL);
  judge_str(WSC_OPT_BIND_ADDRESS, "eth0", "BIND_ADDRESS \"eth0\" is not an IP address");
  judge_str(WSC_OPT_BIND_ADDRESS, "192.0.2.1:80", "\"192.0.2.1:80\"");
  judge_str(WSC_OPT_BIND_ADDRESS, "192.0.2.1%eth0", "is not an IP address");
  judge_str(WSC_OPT_BIND_ADDRESS, "fe80::1%", "is not an IP address");
  judge_str(WSC_OPT_BIND_ADDRESS, "", "BIND_ADDRESS \"\"");
  judge_str(WSC_OPT_BIND_INTERFACE, "eth0", NULL);
  judge_str(WSC_OPT_BIND_INTERFACE, "", "BIND_INTERFACE \"\" has 0 bytes");
  judge_str(WSC_OPT_BIND_INTERFACE, "sixteen-bytes-it", "has 16 bytes: a network interface's name has 1 to 15");
  memset(path + 1, 'x', 106);
  judge_str(WSC_OPT_UNIX_SOCKET, path, NULL);
  path[107] = 'x';
  judge_str(WSC_OPT_UNIX_SOCKET, path, "has 108 bytes: a path has 1 to 107");
  path[0] = '@';
  judge_str(WSC_OPT_UNIX_SOCKET, path, "has 108 bytes: an abstract socket's name has, with its @, 2 to 107");
  judge_str(WSC_OPT_UNIX_SOCKET, "@", "has 1 bytes");
  judge_str(WSC_OPT_UNIX_SOCKET, "", "UNIX_SOCKET \"\" has 0 bytes");
  judge_int(WSC_OPT_TCP_KEEPALIVE_COUNT, 128, "must be 0 to 127");
  wsc_options *o = wsc_options_new();
  wsc_error *e = NULL;
  wsc_options_set_str(o, WSC_OPT_UNIX_SOCKET, "/run/x");
  wsc_options_set_str(o, WSC_OPT_BIND_ADDRESS, "127.0.0.1");
  wsc_options_set_str(o, WSC_OPT_BIND_INTERFACE, "lo");
  CHECK_EQ(wsc_options_validate(o, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "BIND_ADDRESS is set beside UNIX_SOCKET");
  CHECK_HAS(wsc_error_message(e), "BIND_INTERFACE is set beside UNIX_SOCKET");
  wsc_error_unref(e);
  wsc_options_free(o);
}

static wsc_options *with_violations(void) {
  wsc_options *o = wsc_options_new();
  wsc_options_set_int(o, WSC_OPT_READER_COUNT, 0);
  wsc_options_set_int(o, WSC_OPT_GIVE_UP_ON, 16);
  wsc_options_set_str(o, WSC_OPT_HEADER, "Fine: yes");
  wsc_options_set_str(o, WSC_OPT_HEADER, "Upgrade: no");
  wsc_options_set_str(o, WSC_OPT_HEADER, "Origin: twice");
  wsc_options_set_str(o, WSC_OPT_HEADER, "Cookie: a=b");
  wsc_options_set_str(o, WSC_OPT_HEADER, "cookie: a=b");
  wsc_options_set_str(o, WSC_OPT_ORIGIN, "once");
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "chat");
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "mqtt");
  wsc_options_set_str(o, WSC_OPT_SUBPROTOCOL, "chat");
  wsc_options_set_str(o, WSC_OPT_KEY_FILE, "key.pem");
  return o;
}

static void one_error_names_every_violation(void) {
  static const char *const parts[] = {"READER_COUNT is 0",
                                      "GIVE_UP_ON is 16: it must be 0 to 15",
                                      "HEADER[1]: header \"Upgrade\"",
                                      "HEADER[2]: Origin is given twice, also by",
                                      "HEADER[4]: Cookie is given twice: one",
                                      "SUBPROTOCOL[2]: \"chat\" is offered twice, first as SUBPROTOCOL[0]",
                                      "KEY_FILE"};
  enum { PARTS = sizeof parts / sizeof parts[0] };
  wsc_options *o = with_violations();
  wsc_error *e = NULL;
  CHECK_EQ(wsc_options_validate(o, NULL), WSC_ERR_INVALID);
  CHECK_EQ(wsc_options_validate(o, &e), WSC_ERR_INVALID);
  CHECK_EQ(wsc_error_status(e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "7 invalid options: ");
  CHECK_EQ(links(e), PARTS);
  const wsc_error *link = wsc_error_cause(e);
  for (int i = 0; i < PARTS; i++, link = wsc_error_cause(link)) {
    CHECK_HAS(wsc_error_message(e), parts[i]);
    CHECK(strstr(wsc_error_message(link), parts[i]) == wsc_error_message(link)); /* each in a link of its own */
    CHECK(strstr(wsc_error_message(link), "; ") == NULL);
    CHECK_EQ(wsc_error_status(link), WSC_ERR_INVALID);
  }
  wsc_error_unref(e);
  wsc_options_free(o);
}

static void judging_survives_every_failure(void) {
  wsc_options *o = with_violations();
  long before = mem_live();
  for (long n = 1;; n++) {
    wsc_error *e = NULL;
    mem_fail_after(n);
    int status = wsc_options_validate(o, &e);
    bool failed = mem_failed();
    CHECK(status == WSC_ERR_INVALID || (failed && status == WSC_ERR_NOMEM));
    CHECK(e != NULL);
    wsc_error_unref(e);
    CHECK_EQ(mem_live(), before);
    if (!failed) break;
  }
  mem_fail_after(-1);
  wsc_options_free(o);
}

static void single_values_can_be_judged(void) {
  wsc_error *e = NULL;
  CHECK_EQ(options_check_header("A: b", NULL), WSC_OK);
  CHECK_EQ(options_check_header(NULL, &e), WSC_ERR_INVALID);
  CHECK_HAS(wsc_error_message(e), "NULL");
  wsc_error_unref(e);
  CHECK_EQ(options_check_subprotocol("a", NULL), WSC_OK);
  CHECK_EQ(options_check_subprotocol(NULL, NULL), WSC_ERR_INVALID);
}

int main(void) {
  long before = mem_live();
  the_table_describes_every_option();
  unset_options_have_their_defaults();
  values_are_stored_by_type();
  a_log_hook_is_copied();
  a_tracer_is_copied();
  a_snapshot_never_changes();
  copying_survives_every_failure();
  numbers_keep_to_their_limits();
  headers_are_judged_and_never_quoted();
  texts_are_judged();
  the_way_to_the_server_is_judged();
  one_error_names_every_violation();
  judging_survives_every_failure();
  single_values_can_be_judged();
  CHECK_EQ(mem_live(), before);
  return 0;
}
