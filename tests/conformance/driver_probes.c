/* Commands that look at the whole: leak counters, tables, every function with NULL handles, what a forked child may
 * do. */
#define _GNU_SOURCE
#include "driver.h"

#include <dirent.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t entries(const char *path) {
  int64_t n = -2; /* "." and ".." */
  DIR *d = opendir(path);
  if (!d) return -1;
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

void probe_leaks(struct line *out) {
  line_int(out, "threads", entries("/proc/self/task") - own_threads());
  line_int(out, "fds", entries("/proc/self/fd") - 1); /* without the look-up's own */
  line_text(out, "status", "OK");
}

void probe_close_codes(struct line *out) {
#define XX(name, number) line_int(out, #name, WSC_CLOSE_##name);
  WSC_CLOSE_CODE_MAP(XX)
#undef XX
  line_text(out, "status", "OK");
}

/* Reports "wrong": each call that did not answer NULL with ERR_INVALID (or with nothing at all, where it returns no
 * status). */
void probe_null_handles(struct line *out) {
  wsc_error *error = NULL;
  wsc_op *op = NULL;
  wsc_message message = {.struct_size = sizeof message};
  wsc_stats stats = {.struct_size = sizeof stats};
  const uint8_t byte = 'x';
  int calls = 0;
  bool has_text = true;
  line_open(out, "wrong", '[');
#define STATUS(call) \
  do { \
    calls++; \
    if ((call) != WSC_ERR_INVALID) line_text(out, NULL, #call); \
  } while (0)
#define WITH_TEXT(call) \
  do { \
    STATUS(call); \
    if (!*wsc_error_message(error)) line_text(out, NULL, "no text: " #call); \
    has_text = has_text && *wsc_error_message(error); \
    wsc_error_unref(error); \
    error = NULL; \
  } while (0)
#define NOTHING(call) \
  do { \
    calls++; \
    if (call) line_text(out, NULL, #call); \
  } while (0)

  wsc_engine *engine = NULL;
  wsc_connection *connection = NULL;
  WITH_TEXT(wsc_engine_new(NULL, NULL, NULL, NULL, &engine, &error));
  WITH_TEXT(wsc_engine_new("ws://localhost/", &(wsc_callbacks){.struct_size = sizeof(wsc_callbacks)}, NULL, NULL, NULL,
                           &error));
  WITH_TEXT(wsc_engine_start(NULL, NULL, &error));
  WITH_TEXT(wsc_engine_start_begin(NULL, NULL, 0, &op, &error));
  WITH_TEXT(wsc_engine_stop(NULL, NULL, &error));
  WITH_TEXT(wsc_engine_stop_begin(NULL, NULL, 0, &op, &error));
  WITH_TEXT(wsc_engine_wait(NULL, NULL, &error));
  WITH_TEXT(wsc_engine_pause(NULL, NULL, &error));
  WITH_TEXT(wsc_engine_write(NULL, NULL, WSC_TEXT, &byte, 1, &error));
  STATUS(wsc_engine_resume(NULL));
  STATUS(wsc_engine_stats(NULL, &stats));
  NOTHING(wsc_engine_is_started(NULL));
  NOTHING(wsc_engine_session(NULL));
  wsc_engine_exit(NULL);
  wsc_engine_restart(NULL);
  wsc_engine_free(NULL);
  wsc_session_unref(NULL);

  WITH_TEXT(wsc_connection_new(NULL, NULL, NULL, &connection, &error));
  WITH_TEXT(wsc_connection_dial(NULL, NULL, &error));
  WITH_TEXT(wsc_connection_read(NULL, NULL, &message, &error));
  WITH_TEXT(wsc_connection_write(NULL, NULL, WSC_TEXT, &byte, 1, &error));
  WITH_TEXT(wsc_connection_write_many(NULL, NULL, NULL, 0, &error));
  WITH_TEXT(wsc_connection_ping(NULL, NULL, NULL, &error));
  WITH_TEXT(wsc_connection_close(NULL, NULL, 1000, "", &error));
  WITH_TEXT(wsc_connection_uncork(NULL, &error));
  NOTHING(wsc_connection_response(NULL));
  wsc_connection_cork(NULL);
  wsc_connection_unref(NULL);

  STATUS(wsc_options_set_int(NULL, WSC_OPT_READER_COUNT, 1));
  STATUS(wsc_options_set_str(NULL, WSC_OPT_HEADER, "A: b"));
  STATUS(wsc_cancel_new(NULL));
  STATUS(wsc_options_set_adapter(NULL, NULL, NULL));
  STATUS(wsc_batch_add(NULL, WSC_TEXT, NULL, 0));
  wsc_options_free(NULL);
  wsc_cancel_free(NULL);
  wsc_op_unref(NULL);
  wsc_error_unref(NULL);
  wsc_message_free(NULL);
#undef STATUS
#undef WITH_TEXT
#undef NOTHING
  line_close(out, ']');
  line_int(out, "calls", calls);
  line_bool(out, "texts", has_text);
  line_text(out, "status", "OK");
}

/* Each answer a byte: the negated status. */
static void child(wsc_engine *engine, int pipe_end) {
  uint8_t answers[8] = {0};
  const uint8_t byte = 'x';
  wsc_error *error = NULL;
  alarm(5);
  answers[0] = (uint8_t)-wsc_engine_write(engine, NULL, WSC_TEXT, &byte, 1, NULL);
  answers[1] = (uint8_t)-wsc_engine_start(engine, NULL, NULL);
  answers[2] = (uint8_t)-wsc_engine_stop(engine, NULL, &error);
  answers[3] = (uint8_t)-wsc_engine_wait(engine, NULL, NULL);
  answers[4] = (uint8_t)-wsc_engine_pause(engine, NULL, NULL);
  answers[5] = *wsc_error_message(error) != 0;
  wsc_error_unref(error);
  wsc_engine_free(engine);
  answers[6] = 1; /* it came back */
  ssize_t wrote = write(pipe_end, answers, sizeof answers);
  _exit(wrote == sizeof answers ? 0 : 1);
}

void probe_fork(wsc_engine *engine, struct line *out) {
  static const char *const names[] = {"write", "start", "stop", "wait", "pause"};
  uint8_t answers[8] = {0};
  int ends[2], state = -1;
  if (pipe(ends)) {
    line_text(out, "status", "ERR_IO");
    return;
  }
  pid_t pid = fork();
  if (pid == 0) child(engine, ends[1]);
  close(ends[1]);
  ssize_t got = read(ends[0], answers, sizeof answers);
  close(ends[0]);
  if (pid > 0) waitpid(pid, &state, 0);
  for (int i = 0; i < 5; i++) line_text(out, names[i], wsc_status_name(-(int)answers[i]));
  line_bool(out, "text", answers[5]);
  line_bool(out, "freed", got == sizeof answers && answers[6]);
  line_int(out, "exit", WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state));
  line_text(out, "status", "OK");
}
