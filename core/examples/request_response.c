/* Requests and responses that find each other by an id, whatever comes in between: all requests are under way at once.
 * What was not answered when the connection was lost is asked again in the next session.
 *
 *   request_response ws://localhost:8080/ COUNT      sends {"id": n}, expects messages that begin with {"id": n */
#include <stdio.h>
#include <stdlib.h>
#include <wscengine.h>

enum { MOST = 1000 };
struct requests {
  int count, answered;
  bool done[MOST]; /* no lock: callbacks of one engine run one at a time (reader_count is 1) */
};

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)r, (void)restarting;
  struct requests *q = user;
  wsc_connection *k = wsc_session_connection(s);
  int status = WSC_OK;
  wsc_connection_cork(k); /* they leave together */
  for (int id = 0; id < q->count && status == WSC_OK; id++) {
    char text[32];
    if (q->done[id]) continue;
    int n = snprintf(text, sizeof text, "{\"id\": %d}", id);
    status = wsc_connection_write(k, NULL, WSC_TEXT, (const uint8_t *)text, (size_t)n, NULL);
  }
  wsc_connection_uncork(k, NULL);
  return status;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  struct requests *q = user;
  char text[64];
  int id;
  snprintf(text, sizeof text, "%.*s", (int)length, (const char *)data);  /* sscanf wants an end */
  if (type != WSC_TEXT || sscanf(text, "{\"id\": %d", &id) != 1) return; /* something else the server had to say */
  if (id < 0 || id >= q->count || q->done[id]) return;
  q->done[id] = true;
  printf("%d: %.*s\n", id, (int)length, (const char *)data);
  if (++q->answered == q->count) wsc_session_exit(s);
}

int main(int argc, char **argv) {
  struct requests q = {.count = argc == 3 ? atoi(argv[2]) : 0};
  if (q.count < 1 || q.count > MOST) return 2;
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_open = on_open, .on_message = on_message};
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  int status = wsc_engine_new(argv[1], &callbacks, &q, NULL, &engine, &error);
  if (status == WSC_OK) status = wsc_engine_start(engine, NULL, &error);
  if (status == WSC_OK) status = wsc_engine_wait(engine, NULL, &error);
  if (error != NULL) fprintf(stderr, "%s\n", wsc_error_message(error));
  wsc_error_unref(error);
  wsc_engine_free(engine);
  return status == WSC_STOPPED && q.answered == q.count ? 0 : 1;
}
