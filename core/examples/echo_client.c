/* The echo client: connects, sends one message when the connection is open, prints the echo, closes, ends.
 *
 *   echo_client ws://localhost:8080/ "hello"
 *
 * It is the first program of the engine this one descends from. */
#include <stdio.h>
#include <string.h>
#include <wscengine.h>

/* Runs once for each connection, before anything else of it. Not 0 would refuse the connection. */
static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)r, (void)restarting;
  const char *text = user;
  return wsc_connection_write(wsc_session_connection(s), NULL, WSC_TEXT, (const uint8_t *)text, strlen(text), NULL);
}

/* exit is a request: the engine closes the connection and ends the run once this callback has returned. */
static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)type, (void)user;
  printf("%.*s\n", (int)length, (const char *)data);
  wsc_session_exit(s);
}

/* peer is NULL because it is us who end: what we leave in reply is sent as the close frame. */
static void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  (void)s, (void)user;
  if (peer != NULL) {
    fprintf(stderr, "closed by the server: %d %s\n", peer->code, peer->reason);
    return;
  }
  reply->code = WSC_CLOSE_NORMAL;
  reply->reason = "bye";
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: echo_client URL TEXT\n");
    return 2;
  }
  wsc_callbacks callbacks = {
      .struct_size = sizeof callbacks, .on_open = on_open, .on_message = on_message, .on_close = on_close};
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  int status = wsc_engine_new(argv[1], &callbacks, argv[2], NULL, &engine, &error);
  if (status == WSC_OK) status = wsc_engine_start(engine, NULL, &error);
  if (status == WSC_OK) status = wsc_engine_wait(engine, NULL, &error); /* WSC_STOPPED: the run has ended */
  if (error != NULL) fprintf(stderr, "%s\n", wsc_error_message(error));
  wsc_error_unref(error);
  wsc_engine_free(engine);
  return status == WSC_STOPPED ? 0 : 1;
}
