/* The client of the Autobahn suite: an engine that echoes.
 *
 *   autobahn_client ws://HOST:PORT AGENT
 *
 * Asks the fuzzing server how many cases it has, runs each on an engine of its own and has the report written. Exit status 0 whatever the server thinks of
 * us: run.py reads the report. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wscengine.h>

static const char *server, *agent;

static void fail(const char *what, const wsc_error *error) {
  fprintf(stderr, "autobahn_client: %s: %s\n", what, wsc_error_message(error));
  exit(1);
}

static void echo(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)user;
  wsc_connection_write(wsc_session_connection(s), NULL, type, data, length, NULL); /* it may be closed already */
}

static void keep_count(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type;
  char text[16];
  snprintf(text, sizeof text, "%.*s", (int)length, (const char *)data);
  *(int *)user = atoi(text);
}

/* One session from its opening to its end. */
static void visit(const char *path, void (*on_message)(wsc_session *, int, const uint8_t *, size_t, void *), void *user,
                  const wsc_options *options) {
  char url[256];
  snprintf(url, sizeof url, "%s%s", server, path);
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};
  wsc_engine *e = NULL;
  wsc_error *error = NULL;
  if (wsc_engine_new(url, &callbacks, user, options, &e, &error) != WSC_OK) fail(path, error);
  if (wsc_engine_start(e, NULL, &error) != WSC_OK) fail(path, error);
  int status = wsc_engine_wait(e, NULL, &error);
  if (status < 0 && status != WSC_ERR_CLOSED) wsc_error_unref(error);
  wsc_engine_free(e);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: autobahn_client ws://HOST:PORT AGENT\n");
    return 2;
  }
  server = argv[1];
  agent = argv[2];
  wsc_options *options = wsc_options_new();
  wsc_options_set_int(options, WSC_OPT_AUTO_RECONNECT, 0);
  wsc_options_set_int(options, WSC_OPT_COMPRESSION, 1);
  wsc_options_set_int(options, WSC_OPT_COMPRESSION_THRESHOLD_BYTES, 0);
  wsc_options_set_int(options, WSC_OPT_FRAGMENT_BYTES, 1 << 30); /* some cases look at the frames of the echo */

  int count = 0;
  char path[128];
  visit("/getCaseCount", keep_count, &count, options);
  for (int i = 1; i <= count; i++) {
    snprintf(path, sizeof path, "/runCase?case=%d&agent=%s", i, agent);
    visit(path, echo, NULL, options);
  }
  snprintf(path, sizeof path, "/updateReports?agent=%s", agent);
  visit(path, NULL, NULL, options);
  printf("%d cases\n", count);
  wsc_options_free(options);
  return 0;
}
