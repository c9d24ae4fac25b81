/* Prints every message of a feed, and goes on after every loss: cc feed.c -lwscengine && ./a.out wss://example.com/ */
#include <stdio.h>
#include <string.h>
#include <wscengine.h>

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)r, (void)user;
  fprintf(stderr, "%s\n", restarting ? "connected again" : "connected");
  const char *hello = "{\"subscribe\": \"prices\"}"; /* subscriptions belong here: a new session knows nothing */
  return wsc_connection_write(wsc_session_connection(s), NULL, WSC_TEXT, (const uint8_t *)hello, strlen(hello), NULL);
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)user;
  printf("%.*s\n", (int)length, (const char *)data);
  fflush(stdout);
}

static void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  (void)s, (void)reply, (void)user;
  if (peer != NULL) fprintf(stderr, "lost: %d %s\n", peer->code, peer->reason);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  wsc_callbacks callbacks = {
      .struct_size = sizeof callbacks, .on_open = on_open, .on_message = on_message, .on_close = on_close};
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  if (wsc_engine_new(argv[1], &callbacks, NULL, NULL, &engine, &error) == WSC_OK &&
      wsc_engine_start(engine, NULL, &error) == WSC_OK)
    wsc_engine_wait(engine, NULL, &error); /* for ever: it reconnects until someone calls exit or stop */
  if (error != NULL) fprintf(stderr, "%s\n", wsc_error_message(error));
  wsc_error_unref(error);
  wsc_engine_free(engine);
  return 1;
}
