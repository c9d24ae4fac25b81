/* A question in the middle of a feed, by pause: while the engine is paused no callback takes messages, so the holder
 * reads the connection itself, finds the answer, and hands on what came in between. (A callback that took its message
 * before the pause may still be at work with it.) Good for a few questions; for many at once see request_response.c.
 *
 *   request_pause ws://localhost:8080/ "question"      the answer is the first message that begins with "answer" */
#include <stdio.h>
#include <string.h>
#include <wscengine.h>

static void news(const uint8_t *data, size_t length) { printf("news: %.*s\n", (int)length, (const char *)data); }

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)user;
  news(data, length);
}

/* Between pause and resume the connection is ours. A context keeps a server that never answers from holding us. */
static int ask(wsc_engine *e, const char *question, wsc_error **error) {
  wsc_context limit = {.struct_size = sizeof limit, .deadline_ns = wsc_now_ns() + INT64_C(10000000000)};
  wsc_message m = {.struct_size = sizeof m};
  bool answered = false;
  int status = wsc_engine_pause(e, &limit, error);
  if (status != WSC_OK) return status;
  wsc_session *s = wsc_engine_session(e);
  wsc_connection *k = s != NULL ? wsc_session_connection(s) : NULL;
  status = k == NULL ? WSC_ERR_CLOSED : WSC_OK; /* between two sessions */
  if (status == WSC_OK)
    status = wsc_connection_write(k, &limit, WSC_TEXT, (const uint8_t *)question, strlen(question), error);
  while (status == WSC_OK && !answered && (status = wsc_connection_read(k, &limit, &m, error)) == WSC_OK) {
    answered = m.length >= 6 && memcmp(m.data, "answer", 6) == 0;
    if (answered) printf("%.*s\n", (int)m.length, (const char *)m.data);
    else news(m.data, m.length);
    wsc_message_free(&m);
  }
  wsc_session_unref(s);
  wsc_engine_resume(e);
  return status;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  int status = wsc_engine_new(argv[1], &callbacks, NULL, NULL, &engine, &error);
  if (status == WSC_OK) status = wsc_engine_start(engine, NULL, &error);
  if (status == WSC_OK) status = ask(engine, argv[2], &error);
  if (status != WSC_OK) fprintf(stderr, "%s\n", error != NULL ? wsc_error_message(error) : wsc_status_text(status));
  wsc_error_unref(error);
  wsc_engine_free(engine); /* stops it: close handshake included */
  return status == WSC_OK ? 0 : 1;
}
