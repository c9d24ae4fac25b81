/* Thousands of connections in one process: each an engine that reconnects by itself, all of them on a handful of threads.
 *
 *   many 10000 ws://127.0.0.1:8080/        (each is one descriptor: see ulimit -n)
 *
 * Once a second it prints how many are open and what the process weighs; at the end of its input it stops them all. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wscengine.h>

static atomic_int open_now;
static atomic_llong messages;

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)s, (void)r, (void)restarting, (void)user;
  open_now++;
  return 0;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)data, (void)length, (void)user;
  messages++;
}

static void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  (void)s, (void)peer, (void)reply, (void)user;
  open_now--;
}

static long resident_kib(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f != NULL && fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
  if (f != NULL) fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv) {
  int count = argc == 3 ? atoi(argv[1]) : 0, made = 0, status = WSC_OK;
  if (count < 1) {
    fprintf(stderr, "usage: many COUNT URL\n");
    return 2;
  }
  wsc_callbacks callbacks = {
      .struct_size = sizeof callbacks, .on_open = on_open, .on_message = on_message, .on_close = on_close};
  wsc_engine **engines = calloc((size_t)count, sizeof *engines);
  wsc_options *options = wsc_options_new();
  wsc_error *error = NULL;
  wsc_options_set_int(options, WSC_OPT_RETRY_FIRST_START, 1);
  wsc_options_set_int(options, WSC_OPT_ON_OPEN_TIMEOUT_MS, 0);
  wsc_options_set_int(options, WSC_OPT_FIRST_DELAY_SPREAD_MS, 2000); /* a server that comes back is not trampled down */
  for (; engines != NULL && made < count && status == WSC_OK; made++) {
    status = wsc_engine_new(argv[2], &callbacks, NULL, options, &engines[made], &error);
    if (status == WSC_OK) status = wsc_engine_start_begin(engines[made], NULL, 0, NULL, &error);
  }
  if (error != NULL) fprintf(stderr, "%s\n", wsc_error_message(error));
  wsc_error_unref(error);
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  char waste[256];
  while (status == WSC_OK && (poll(&input, 1, 1000) == 0 || read(STDIN_FILENO, waste, sizeof waste) > 0)) {
    printf("%d open, %lld messages, %ld KiB\n", open_now, (long long)messages, resident_kib());
    fflush(stdout);
  }
  for (int i = 0; i < made; i++) wsc_engine_stop_begin(engines[i], NULL, 0, NULL, NULL); /* all at once ... */
  for (int i = 0; i < made; i++) wsc_engine_free(engines[i]); /* ... then each is waited for */
  printf("%d open\n", open_now);
  wsc_options_free(options);
  free(engines);
  return status == WSC_OK ? 0 : 1;
}
