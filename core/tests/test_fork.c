/* fork with a running engine: the child may touch nothing of the parent's, and the parent never notices.
 * valgrind: no leak check, since in a child nothing refers to what the parent's threads had on their stacks. */
#define _GNU_SOURCE
#include "echo_server.h"
#include "threads.h"
#include "os.h"
#include "wscengine.h"

#include <dirent.h>
#include <poll.h>

#ifdef __SANITIZE_THREAD__
enum { CHILD_HAS_THREADS = 0 }; /* ThreadSanitizer cannot follow threads that begin behind a fork */
#else
enum { CHILD_HAS_THREADS = 1 };
#endif

static const int64_t LONG = 20 * NS_PER_S;
static struct echo_server server;
static volatile sig_atomic_t pipe_signals;

static void on_sigpipe(int number) {
  (void)number;
  pipe_signals++;
}

struct counted {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  int messages;
};

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  struct counted *c = user;
  (void)s, (void)type, (void)data, (void)length;
  pthread_mutex_lock(&c->lock);
  c->messages++;
  pthread_cond_signal(&c->cond);
  pthread_mutex_unlock(&c->lock);
}

static const wsc_callbacks callbacks = {.struct_size = sizeof callbacks, .on_message = on_message};

static wsc_engine *make(struct counted *c) {
  wsc_engine *e;
  *c = (struct counted){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
  wsc_context in_time = {.struct_size = sizeof in_time, .deadline_ns = wsc_now_ns() + LONG};
  CHECK_EQ(wsc_engine_new(server.peer.url, &callbacks, c, NULL, &e, NULL), WSC_OK);
  CHECK_EQ(wsc_engine_start(e, &in_time, NULL), WSC_OK);
  return e;
}

/* Sends and waits for the echo. */
static void echo(wsc_engine *e, struct counted *c) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 20;
  pthread_mutex_lock(&c->lock);
  int want = c->messages + 1;
  pthread_mutex_unlock(&c->lock);
  CHECK_EQ(wsc_engine_write(e, NULL, WSC_TEXT, (const uint8_t *)"echo", 4, NULL), WSC_OK);
  pthread_mutex_lock(&c->lock);
  while (c->messages < want) CHECK_EQ(pthread_cond_timedwait(&c->cond, &c->lock, &until), 0);
  pthread_mutex_unlock(&c->lock);
}

static int open_fds(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  while (readdir(d)) n++;
  closedir(d);
  return n - 3;
}

struct owned { /* by the parent */
  wsc_engine *engine, *idle;
  wsc_session *session;
  wsc_connection *alone;
  wsc_loop *loop;
  wsc_op *op;
  wsc_cancel *cancel;
  int fds_before;
};

#define FORKED(call) CHECK_EQ(call, WSC_ERR_FORKED)

static void every_verb_is_refused(const struct owned *o) {
  wsc_error *err = NULL;
  wsc_message m = {.struct_size = sizeof m};
  wsc_event ev = {.struct_size = sizeof ev};
  wsc_stats stats = {.struct_size = sizeof stats};
  wsc_connection *k = wsc_session_connection(o->session);
  const uint8_t *x = (const uint8_t *)"x";
  FORKED(wsc_engine_start(o->engine, NULL, &err));
  CHECK_HAS(wsc_error_message(err), "parent");
  wsc_error_unref(err);
  FORKED(wsc_engine_start(o->idle, NULL, NULL));
  FORKED(wsc_engine_stop(o->engine, NULL, NULL));
  FORKED(wsc_engine_wait(o->engine, NULL, NULL));
  FORKED(wsc_engine_pause(o->engine, NULL, NULL));
  FORKED(wsc_engine_resume(o->engine));
  FORKED(wsc_engine_write(o->engine, NULL, WSC_TEXT, x, 1, NULL));
  FORKED(wsc_engine_stats(o->engine, &stats));
  wsc_engine_exit(o->engine);
  wsc_engine_restart(o->engine);
  wsc_session_restart(o->session);
  CHECK(wsc_engine_session(o->engine) == NULL);
  CHECK(!wsc_engine_is_started(o->engine));
  for (int i = 0; i < 2; i++, k = o->alone) {
    FORKED(wsc_connection_dial(k, NULL, NULL));
    FORKED(wsc_connection_read(k, NULL, &m, NULL));
    FORKED(wsc_connection_write(k, NULL, WSC_TEXT, x, 1, NULL));
    FORKED(wsc_connection_write_many(k, NULL, &(wsc_outgoing){x, 1, WSC_TEXT, 0}, 1, NULL));
    FORKED(wsc_connection_ping(k, NULL, NULL, NULL));
    FORKED(wsc_connection_close(k, NULL, 1000, "", NULL));
    FORKED(wsc_connection_uncork(k, NULL));
    wsc_connection_cork(k);
    CHECK(!wsc_connection_closed(k, NULL));
  }
  FORKED(wsc_loop_next(o->loop, 0, &ev));
  FORKED(wsc_loop_add(o->loop, o->idle));
  wsc_connection *none;
  FORKED(wsc_connection_new(o->loop, server.peer.url, NULL, &none, NULL));
  CHECK_EQ(wsc_loop_fd(o->loop), -1);
  wsc_loop_wake(o->loop);
  FORKED(wsc_op_wait(o->op, -1, NULL));
  wsc_op_cancel(o->op);
  wsc_cancel_fire(o->cancel); /* here only */
}

/* Its own engine first: what is the parent's must not be taken for it. */
static void child(const struct owned *o) {
  struct counted mine;
  every_verb_is_refused(o);
  wsc_engine *own = CHILD_HAS_THREADS ? make(&mine) : NULL;
  if (own) echo(own, &mine);
  wsc_op_unref(o->op);
  wsc_session_unref(o->session);
  wsc_connection_unref(o->alone);
  wsc_engine_free(o->engine);
  wsc_engine_free(o->idle);
  wsc_loop_free(o->loop);
  wsc_cancel_free(o->cancel);
  if (own) echo(own, &mine);
  if (own) CHECK_EQ(wsc_engine_stop(own, NULL, NULL), WSC_OK);
  wsc_engine_free(own);
  int64_t until = wsc_now_ns() + LONG;
  while (CHILD_HAS_THREADS && open_fds() > o->fds_before && wsc_now_ns() < until) usleep(200);
  int standby = CHILD_HAS_THREADS ? 0 : 2;      /* of which only a child with loops of its own gets rid */
  CHECK(open_fds() <= o->fds_before + standby); /* neither the parent's sockets nor its loops are kept open here */
  CHECK_EQ(pipe_signals, 0);
}

/* How the child of `during` ended. */
static void in_a_child(void (*during)(const struct owned *), const struct owned *o) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    during(o);
    _exit(0);
  }
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}

static void a_child_disturbs_nothing(void) {
  struct counted c;
  struct owned o = {.fds_before = open_fds()};
  o.engine = make(&c);
  CHECK_EQ(wsc_engine_new(server.peer.url, &callbacks, &c, NULL, &o.idle, NULL), WSC_OK);
  CHECK_EQ(wsc_loop_new(NULL, &o.loop, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_new(o.loop, server.peer.url, NULL, &o.alone, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_dial(o.alone, NULL, NULL), WSC_OK);
  CHECK_EQ(wsc_cancel_new(&o.cancel), WSC_OK);
  wsc_context c1 = {.struct_size = sizeof c1, .cancel = o.cancel};
  CHECK_EQ(wsc_connection_read_begin(o.alone, &c1, 0, &o.op, NULL), WSC_OK);
  o.session = wsc_engine_session(o.engine);
  for (int i = 0; i < 3; i++) {
    echo(o.engine, &c);
    in_a_child(child, &o);
    echo(o.engine, &c);
    CHECK_EQ(wsc_session_epoch(o.session), 1);
    CHECK(!wsc_connection_closed(wsc_session_connection(o.session), NULL));
  }
  CHECK(!wsc_cancel_fired(o.cancel));
  CHECK_EQ(wsc_connection_write(o.alone, NULL, WSC_TEXT, (const uint8_t *)"mine", 4, NULL), WSC_OK);
  CHECK_EQ(wsc_op_wait(o.op, LONG, NULL), WSC_OK);
  wsc_op_unref(o.op);
  wsc_session_unref(o.session);
  wsc_connection_unref(o.alone);
  wsc_loop_free(o.loop);
  CHECK_EQ(wsc_engine_stop(o.engine, NULL, NULL), WSC_OK);
  wsc_engine_free(o.engine);
  wsc_engine_free(o.idle);
  wsc_cancel_free(o.cancel);
}

/* Writing to a peer that is gone. */
static void no_write_raises_sigpipe(void) {
  struct peer p;
  wsc_connection *k;
  wsc_op *op;
  wsc_loop *loop;
  peer_listen(&p);
  CHECK_EQ(wsc_loop_new(NULL, &loop, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_new(loop, p.url, NULL, &k, NULL), WSC_OK);
  CHECK_EQ(wsc_connection_dial_begin(k, NULL, 0, &op, NULL), WSC_OK);
  while (wsc_op_wait(op, NS_PER_MS, NULL) == WSC_ERR_TIMEOUT &&
         poll(&(struct pollfd){.fd = p.listener, .events = POLLIN}, 1, 0) == 0)
    continue;
  peer_accept(&p);
  CHECK_EQ(wsc_op_wait(op, LONG, NULL), WSC_OK);
  wsc_op_unref(op);
  peer_drop(&p);
  int r = WSC_OK;
  while (r == WSC_OK) r = wsc_connection_write(k, NULL, WSC_TEXT, (const uint8_t *)"x", 1, NULL);
  CHECK_EQ(r, WSC_ERR_CLOSED);
  wsc_connection_unref(k);
  wsc_loop_free(loop);
  peer_close(&p);
  CHECK_EQ(pipe_signals, 0);
}

int main(void) {
  struct sigaction counts = {.sa_handler = on_sigpipe};
  sigaction(SIGPIPE, &counts, NULL);
  echo_start(&server, NULL);
  a_child_disturbs_nothing();
  no_write_raises_sigpipe();
  CHECK_EQ(pipe_signals, 0);
  echo_stop(&server);
  threads_gone();
  return 0;
}
