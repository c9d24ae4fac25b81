/* Reconnects with a fresh token each time, as servers want it whose tokens live shorter than a connection.
 *
 *   fresh_token ws://localhost:8080/ "pass show feed"
 *
 * Before every attempt the command is run, and its first line sent as "Authorization: Bearer ...". When it fails the
 * attempt is put off; what the server says is printed. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <wscengine.h>

static bool read_token(const char *command, char *token, size_t size) {
  FILE *pipe = popen(command, "r");
  if (pipe == NULL) return false;
  bool read = fgets(token, (int)size, pipe) != NULL;
  token[strcspn(token, "\r\n")] = '\0';
  return pclose(pipe) == 0 && read && *token != '\0';
}

/* May block: it runs on a thread of its own, and holds back nobody but this attempt. Changes last until the next one. */
static bool before_attempt(wsc_engine *e, wsc_attempt *a, void *user) {
  (void)e;
  char header[4096] = "Authorization: Bearer ";
  size_t prefix = strlen(header);
  if (!read_token(user, header + prefix, sizeof header - prefix)) {
    fprintf(stderr, "no token; asking again in a second\n");
    wsc_attempt_set_delay_ms(a, 1000);
    return true;
  }
  wsc_attempt_clear_headers(a); /* the token of the attempt before */
  return wsc_attempt_add_header(a, header, NULL) == WSC_OK;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)user;
  printf("%.*s\n", (int)length, (const char *)data);
  fflush(stdout);
}

static void on_restart_error(wsc_engine *e, const wsc_error *error, uint32_t retry, bool last, void *user) {
  (void)e, (void)retry, (void)last, (void)user;
  fprintf(stderr, "%s\n", wsc_error_message(error));
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: fresh_token URL COMMAND\n");
    return 2;
  }
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks,
                             .before_attempt = before_attempt,
                             .on_message = on_message,
                             .on_restart_error = on_restart_error};
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  int status = wsc_engine_new(argv[1], &callbacks, argv[2], NULL, &engine, &error);
  if (status == WSC_OK) status = wsc_engine_start(engine, NULL, &error);
  if (status == WSC_OK) status = wsc_engine_wait(engine, NULL, &error);
  if (error != NULL) fprintf(stderr, "%s\n", wsc_error_message(error));
  wsc_error_unref(error);
  wsc_engine_free(engine);
  return status == WSC_STOPPED ? 0 : 1;
}
