/* Want of memory and of fds at every place, one after the other, through a whole life: no crash, no hang, nothing lost, and a status that
 * says what happened; afterwards everything works. */
#define _GNU_SOURCE
#include "echo_server.h"
#include "failure_lives.h"
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

static int open_fds(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  while (readdir(d)) n++;
  closedir(d);
  return n - 3; /* ., .. and the directory's own */
}

/* A start that finds no fd says for what; the same engine starts when there are some. */
static void a_start_without_fds_names_its_step(const struct rlimit *few, const struct rlimit *usual) {
  static const wsc_callbacks none = {.struct_size = sizeof none};
  wsc_options *o = make_options();
  wsc_error *error = NULL;
  wsc_engine *e;
  CHECK_EQ(wsc_engine_new(lives.url, &none, NULL, o, &e, NULL), WSC_OK);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, few), 0);
  int status = wsc_engine_start(e, NULL, &error);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, usual), 0);
  if (status) {
    const char *text = wsc_error_message(error);
    CHECK_EQ(status, WSC_ERR_IO);
    CHECK_EQ(wsc_error_os_error(error), EMFILE);
    CHECK(strstr(text, "loop: ") || strstr(text, "cannot connect to 127.0.0.1"));
    CHECK_HAS(text, "Too many open files");
    wsc_error_unref(error);
    CHECK_EQ(wsc_engine_start(e, NULL, NULL), WSC_OK);
  }
  CHECK_EQ(wsc_engine_stop(e, NULL, NULL), WSC_OK);
  wsc_engine_free(e);
  wsc_options_free(o);
}

/* With room for 0, 1, 2 ... more fds until a life succeeds. */
static void with_few_fds(void) {
  struct rlimit usual, few;
  wsc_loop *loop = NULL;
  wsc_error *error = NULL;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  int most = 0, filler = 0;
  for (int fd = 0; fd < 1024; fd++)
    if (fcntl(fd, F_GETFD) >= 0) most = fd + 1;
  while ((filler = open("/dev/null", O_RDONLY | O_CLOEXEC)) < most) continue; /* no gaps below */
  close(filler);
  int before = open_fds();
  few = usual;
  few.rlim_cur = (rlim_t)most;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  int r = wsc_loop_new(NULL, &loop, &error);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  CHECK_EQ(r, WSC_ERR_IO);
  CHECK_EQ(wsc_error_os_error(error), EMFILE);
  wsc_error_unref(error);
  for (failures_life = 0; failures_life < 12; failures_life++) {
    few.rlim_cur = (rlim_t)(most + failures_life);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    engine_life();
    connection_life();
    a_start_without_fds_names_its_step(&few, &usual);
    int64_t until = wsc_now_ns() + LONG;
    while (open_fds() != before && wsc_now_ns() < until) usleep(200);
    CHECK_EQ(open_fds(), before);
  }
}

/* A running engine that finds no fd for its next socket tells so and gets on when there is one. */
static void reconnecting_survives_the_want_of_fds(void) {
  static const wsc_callbacks callbacks = {.struct_size = sizeof callbacks,
                                          .on_open = on_open,
                                          .on_message = on_message,
                                          .on_close = on_close,
                                          .on_restart_error = on_restart_error};
  struct seen seen = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0, 0};
  struct rlimit usual, few;
  wsc_engine *e;
  wsc_options *o = make_options();
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  few = usual;
  few.rlim_cur = 0;
  CHECK_EQ(wsc_engine_new(lives.url, &callbacks, &seen, o, &e, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_start(e, NULL, NULL), WSC_OK);
  wait_for(&seen, &seen.messages, 1);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  wsc_engine_restart(e);
  pthread_mutex_lock(&seen.lock);
  while (!seen.failures) pthread_cond_wait(&seen.cond, &seen.lock);
  pthread_mutex_unlock(&seen.lock);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  pthread_mutex_lock(&seen.lock);
  while (seen.opens < 2) pthread_cond_wait(&seen.cond, &seen.lock);
  pthread_mutex_unlock(&seen.lock);
  CHECK_EQ(wsc_engine_stop(e, NULL, NULL), WSC_OK);
  wsc_engine_free(e);
  wsc_options_free(o);
}

int main(void) {
  static struct echo_server server;
  echo_start(&server, NULL);
  lives.url = server.peer.url;
  CHECK(failures_in_library(connection_life) > 30);
  CHECK(failures_in_library(engine_life) > 30);
  lives.compression = true;
  CHECK(failures_in_library(connection_life) > 30);
  with_few_fds();
  reconnecting_survives_the_want_of_fds();
  echo_stop(&server);
  threads_gone();
  return 0;
}
