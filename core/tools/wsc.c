/* wsc: a WebSocket connection at the shell.
 *
 * One thread, one poll: the engine's loop (tier 2 of the ABI), standard input, standard output and a pipe that signals
 * write to.
 *   - A batch of messages is out until all of it is queued for standard output, and it is queued only while that is
 *     taken: a full pipe pauses reading, the protocol goes on, and Ctrl-C is heard.
 *   - A line is sent only while a session is open and only when the one before was accepted; until then it stays in
 *     the input buffer. One whose session ended before it was accepted is sent again in the next: the server cannot
 *     have seen a whole message of it.
 *   - The program ends in three steps: finish() asks the engine to stop, the run ends, and what is queued for standard
 *     output leaves. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "input.h"
#include "output.h"
#include "record.h"
#include "replay.h"
#include "report.h"

/* Bounds of one turn of the loop, so that no source starves another. */
enum { EVENTS_A_TURN = 64, LINES_A_TURN = 256 };
/* Lines are numbered from 1 on. */
#define RUN_OVER_TOKEN UINT64_MAX
/* After a signal, how long standard output may take what is queued. */
#define LAST_WORDS_NS INT64_C(1000000000)

struct wsc {
  struct settings settings;
  wsc_loop *loop;
  wsc_engine *engine;
  struct input in;
  struct output out;
  struct recorder recorder;
  uint64_t sessions, printed;

  wsc_session *session; /* open now, else NULL */
  bool fenced;          /* the session refused a line: no more for it */
  wsc_op *line_op;      /* the first unused line is being sent */
  uint64_t line_token;

  wsc_event events[2]; /* next fills the first one that is not held */
  wsc_event *held;     /* &events[0]: a batch that waits for standard output */
  uint32_t at;         /* its next record */

  bool finishing, stopped;
  int exit_code, close_code; /* once finishing */
  bool clean_close;          /* the last session was closed by the server with 1000 or 1001 */
  int64_t deadline_ns;       /* of --timeout, 0: none */
  int64_t silence_ns;        /* output is given up at this time, 0: never */
};

/* Signals: the handler writes to a pipe that poll watches. Without SA_RESTART, so that they also end a write to a
 * stopped terminal. */
static int signal_pipe[2] = {-1, -1};
static volatile sig_atomic_t signals_seen;

static void on_signal(int number) {
  int saved = errno;
  if (signals_seen++ > 0) _exit(128 + number); /* the second one does not wait for the server */
  char byte = (char)number;
  ssize_t ignored = write(signal_pipe[1], &byte, 1);
  (void)ignored;
  errno = saved;
}

static int install_signals(void) {
  struct sigaction action = {.sa_handler = on_signal}, before;
  if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
  static const int handled[] = {SIGINT, SIGTERM};
  for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++) {
    if (sigaction(handled[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN)
      continue; /* nohup, "wsc &" in a script */
    if (sigaction(handled[i], &action, NULL) != 0) return errno;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its write, like a full disk */
  return 0;
}

/* A missing standard stream would be replaced by the next fd that is opened, and a socket must not become standard
 * output. */
static bool fill_standard_streams(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    /* Reading gives the end of file; writing fails, as to a pipe that nobody reads. */
    if (open("/dev/null", O_RDONLY) != fd) return false;
  }
  return true;
}

/* ---- ending ---- */

static void give_back(struct wsc *w) {
  wsc_reply reply = {.struct_size = sizeof reply, .consumed = w->at};
  wsc_event_done(w->held, &reply);
  w->held = NULL;
}

/* Decides the end, once. The engine closes the open session with close_code; the end of the run is what ends the loop. */
static void finish(struct wsc *w, int exit_code, int close_code) {
  if (w->finishing) return;
  w->finishing = true;
  if (w->exit_code == 0) w->exit_code = exit_code; /* lines that were lost stay lost */
  w->close_code = close_code;
  if (w->held != NULL) give_back(w);
  /* ERR_STATE: the run ended by itself, and its completion is on its way. */
  wsc_engine_stop_begin(w->engine, NULL, 0, NULL, NULL);
}

static void check_signal(struct wsc *w) {
  char number;
  if (read(signal_pipe[0], &number, 1) != 1) return;
  finish(w, 128 + number, WSC_CLOSE_GOING_AWAY);
  w->exit_code = 128 + number; /* also when something else was about to end us */
  w->silence_ns = wsc_now_ns() + LAST_WORDS_NS;
}

static void check_timeout(struct wsc *w) {
  const struct settings *s = &w->settings;
  if (w->deadline_ns == 0 || wsc_now_ns() < w->deadline_ns) return;
  w->deadline_ns = 0;
  if (w->finishing) return;
  double after = (double)s->timeout_ms / 1000;
  bool done = false;
  if (s->count > 0) complain("%" PRIu64 " of %" PRIu64 " messages came in %g s", w->printed, s->count, after);
  else if (s->exit_on_eof) complain("the end of standard input was not reached in %g s", after);
  else if (w->sessions == 0) complain("no connection in %g s", after);
  else done = true;
  finish(w, done ? 0 : 1, WSC_CLOSE_NORMAL);
}

static void check_output(struct wsc *w) {
  if (w->out.failed == 0) return;
  bool nobody_reads = w->out.failed == EPIPE || w->out.failed == EBADF;
  if (!nobody_reads && !w->finishing) complain("standard output: %s", strerror(w->out.failed));
  finish(w, nobody_reads ? 0 : 1, WSC_CLOSE_NORMAL);
}

/* ---- lines ---- */

static bool refuse_line(struct wsc *w, const struct line *line, const char *problem) {
  char text[512];
  snprintf(text, sizeof text, "line %" PRIu64 " of standard input: %s: not sent", line->number, problem);
  report_error(&w->settings, &w->out.pending, w->session, text);
  input_pop(&w->in, line);
  return true;
}

/* True: the line is settled, the next one may go. */
static bool line_sent(struct wsc *w, const struct line *line, int status, const wsc_error *e) {
  if (status == WSC_OK) {
    recorder_add(&w->recorder, w->settings.binary ? RECORD_SENT_BINARY : RECORD_SENT_TEXT, 0, 0, line->p, line->n);
    input_pop(&w->in, line);
  } else if (status == WSC_ERR_CLOSED) w->fenced = true; /* the next session gets it */
  else return refuse_line(w, line, wsc_error_message(e));
  return status == WSC_OK;
}

static bool refused_as_text(struct wsc *w, const struct line *line) {
  if (w->settings.binary) return false;
  size_t fault = utf8_fault(line->p, line->n);
  if (fault == line->n) return false;
  char problem[96];
  snprintf(problem, sizeof problem, "byte %zu (0x%02x) is not UTF-8", fault + 1, line->p[fault]);
  return refuse_line(w, line, problem);
}

/* Sends the first unused line; true when the next one may go at once. */
static bool send_line(struct wsc *w) {
  struct line line;
  wsc_error *e = NULL;
  if (!input_line(&w->in, &line)) return false;
  if (refused_as_text(w, &line)) return true;
  if (w->session == NULL || w->fenced) return false;
  int status =
      wsc_connection_write_begin(wsc_session_connection(w->session), NULL, w->settings.binary ? WSC_BINARY : WSC_TEXT,
                                 line.p, line.n, ++w->line_token, &w->line_op, &e);
  if (status == WSC_OK) status = wsc_op_status(w->line_op, &e);
  if (status == WSC_AGAIN) return false; /* goes on in line_op_done */
  wsc_op_unref(w->line_op);
  w->line_op = NULL;
  bool next = line_sent(w, &line, status, e);
  wsc_error_unref(e);
  return next;
}

/* True: there is more to do at once. */
static bool send_lines(struct wsc *w) {
  bool more = true;
  for (int i = 0; more && i < LINES_A_TURN; i++) more = !w->finishing && w->line_op == NULL && send_line(w);
  struct line unused;
  if (!more && w->settings.exit_on_eof && w->in.ended && w->sessions > 0 && !input_line(&w->in, &unused))
    finish(w, 0, WSC_CLOSE_NORMAL);
  return more;
}

static void line_op_done(struct wsc *w, const wsc_event *ev) {
  struct line line;
  wsc_op_unref(w->line_op);
  w->line_op = NULL;
  if (input_line(&w->in, &line)) line_sent(w, &line, ev->status, ev->error);
}

/* ---- events ---- */

static void on_opened(struct wsc *w, wsc_event *ev) {
  w->session = wsc_session_ref(ev->session);
  w->fenced = false;
  w->sessions++;
  w->clean_close = false;
  const char *subprotocol = wsc_response_subprotocol(ev->response);
  if (subprotocol == NULL) subprotocol = "";
  recorder_add(&w->recorder, RECORD_OPEN, 0, 0, subprotocol, strlen(subprotocol));
  report_open(&w->settings, &w->out.pending, ev);
  wsc_event_done(ev, NULL);
  if (w->settings.stats)
    wsc_connection_ping_begin(wsc_session_connection(w->session), NULL, 0, NULL, NULL); /* for the round trip */
}

/* Goes on with the batch that is held, as far as standard output takes it. */
static void print_batch(struct wsc *w) {
  wsc_event *ev = w->held;
  while (w->at < ev->count) {
    if (output_full(&w->out)) output_flush(&w->out);
    if (output_full(&w->out) || w->out.failed != 0) return;
    const wsc_record *r = &ev->records[w->at++];
    recorder_add(&w->recorder, r->type == WSC_TEXT ? RECORD_TEXT : RECORD_BINARY, ev->received_ns, 0,
                 ev->arena + r->offset, r->length);
    report_message(&w->settings, &w->out.pending, ev, r);
    if (++w->printed == w->settings.count) {
      finish(w, 0, WSC_CLOSE_NORMAL); /* gives the rest back */
      return;
    }
  }
  give_back(w);
}

static void on_batch(struct wsc *w, wsc_event *ev) {
  if (w->finishing) { /* raised before the stop took effect: nobody wants it; given back, it would only come again */
    wsc_event_done(ev, NULL);
    return;
  }
  w->held = ev;
  w->at = 0;
  print_batch(w);
}

static void on_closed(struct wsc *w, wsc_event *ev) {
  bool by_them = (ev->flags & WSC_EVENT_BY_PEER) != 0;
  wsc_reply reply = {.struct_size = sizeof reply, .close_code = w->finishing ? w->close_code : WSC_CLOSE_GOING_AWAY};
  reply.close_reason = reply.close_code == WSC_CLOSE_NORMAL ? "" : "Going Away";
  int64_t reconnects = 1;
  wsc_options_get_int(w->settings.options, WSC_OPT_AUTO_RECONNECT, &reconnects);
  w->clean_close = by_them && ev->close->initiator == WSC_BY_PEER &&
                   (ev->close->code == WSC_CLOSE_NORMAL || ev->close->code == WSC_CLOSE_GOING_AWAY);
  if (by_them && ev->close->initiator == WSC_BY_PEER)
    recorder_add(&w->recorder, RECORD_CLOSE, 0, ev->close->code, ev->close->reason, strlen(ev->close->reason));
  else recorder_add(&w->recorder, RECORD_LOST, 0, 0, NULL, 0);
  report_close(&w->settings, &w->out.pending, ev, by_them ? NULL : &reply,
               w->finishing || (w->clean_close && reconnects == 0));
  if (by_them && w->settings.exit_on_eof && ev->close->unsent_bytes > 0) w->exit_code = 1;
  wsc_session_unref(w->session);
  w->session = NULL;
  wsc_event_done(ev, &reply);
}

/* The server never confirmed the close: of what was sent last nobody knows whether it arrived. */
static void on_close_error(struct wsc *w, wsc_event *ev) {
  report_close_error(&w->settings, &w->out.pending, ev);
  if (w->finishing && w->exit_code == 0 && w->settings.exit_on_eof) w->exit_code = 1;
  wsc_event_done(ev, NULL);
}

/* The wait of start_and_run: the run has ended, also when it was a start that failed, of which there is no STOPPED. */
static void on_run_over(struct wsc *w, const wsc_event *ev) {
  int reason = wsc_engine_stop_reason(w->engine);
  w->stopped = true;
  if (w->finishing) return;
  w->finishing = true;
  if (reason != WSC_STOPPED_LOST || !w->clean_close) w->exit_code = 1;
  if (reason == WSC_STOPPED_START_FAILED)
    report_error(&w->settings, &w->out.pending, NULL, wsc_error_message(ev->error));
}

static void on_op_done(struct wsc *w, const wsc_event *ev) {
  if (ev->token == RUN_OVER_TOKEN) on_run_over(w, ev);
  else if (w->line_op != NULL && ev->token == w->line_token) line_op_done(w, ev);
  /* else: of a line that was accepted at once */
}

static void handle(struct wsc *w, wsc_event *ev) {
  switch (ev->type) {
  case WSC_EVENT_OPENED: on_opened(w, ev); return;
  case WSC_EVENT_BATCH: on_batch(w, ev); return;
  case WSC_EVENT_CLOSED: on_closed(w, ev); return;
  case WSC_EVENT_READ_ERROR:
    report_error(&w->settings, &w->out.pending, ev->session, wsc_error_message(ev->error));
    break;
  case WSC_EVENT_CLOSE_ERROR: on_close_error(w, ev); return;
  case WSC_EVENT_RESTART_ERROR: report_restart_error(&w->settings, &w->out.pending, ev); break;
  case WSC_EVENT_OP_DONE: on_op_done(w, ev); break;
  case WSC_EVENT_LOG: report_log(ev); break;
  default: break;
  }
  wsc_event_done(ev, NULL);
}

static void take_events(struct wsc *w) {
  for (int i = 0; i < EVENTS_A_TURN && !w->stopped; i++) {
    wsc_event *ev = &w->events[w->held != NULL ? 1 : 0]; /* while a batch is out, only completions and log lines come */
    memset(ev, 0, sizeof *ev);
    ev->struct_size = sizeof *ev;
    if (wsc_loop_next(w->loop, 0, ev) != WSC_OK) return;
    handle(w, ev);
  }
}

/* ---- the loop ---- */

static int poll_timeout_ms(const struct wsc *w) {
  int64_t until = w->stopped ? w->silence_ns : w->finishing ? 0 : w->deadline_ns;
  if (until == 0) return -1;
  int64_t ms = (until - wsc_now_ns() + 999999) / 1000000;
  return ms < 0 ? 0 : ms > 3600000 ? 3600000 : (int)ms;
}

static void wait_for_something(struct wsc *w, bool busy) {
  struct line unused;
  bool wants_input = !w->finishing && w->line_op == NULL && !w->in.ended && !input_line(&w->in, &unused);
  struct pollfd p[4] = {
      {.fd = w->stopped ? -1 : wsc_loop_fd(w->loop), .events = POLLIN},
      {.fd = signal_pipe[0], .events = POLLIN},
      {.fd = wants_input ? w->in.fd : -1, .events = POLLIN},
      {.fd = w->out.fd, .events = output_empty(&w->out) ? 0 : POLLOUT},
  };
  if (poll(p, 4, busy ? 0 : poll_timeout_ms(w)) < 0) return; /* EINTR: the pipe tells which signal */
  if (p[2].revents != 0) input_read(&w->in);
  if (output_empty(&w->out) && (p[3].revents & (POLLERR | POLLHUP)) != 0)
    w->out.failed = EPIPE; /* the reader has gone */
}

static bool over(const struct wsc *w) {
  if (!w->stopped) return false;
  return output_empty(&w->out) || w->out.failed != 0 || (w->silence_ns != 0 && wsc_now_ns() >= w->silence_ns);
}

static void run(struct wsc *w) {
  while (!over(w)) {
    if (w->held != NULL) print_batch(w);
    take_events(w);
    bool busy = send_lines(w);
    output_flush(&w->out);
    check_output(w);
    check_signal(w);
    check_timeout(w);
    bool room = w->held != NULL &&
                !output_full(&w->out); /* made by the flush: nothing else would call for the rest of the batch */
    if (!over(w)) wait_for_something(w, busy || room);
  }
}

static int failed(struct wsc *w, wsc_error *e, int exit_code) {
  report_error(&w->settings, &w->out.pending, NULL, wsc_error_message(e));
  output_flush(&w->out);
  wsc_error_unref(e);
  return exit_code;
}

static int start_and_run(struct wsc *w) {
  wsc_error *e = NULL;
  int status = wsc_engine_new(w->settings.url, NULL, NULL, w->settings.options, &w->engine, &e);
  if (status != WSC_OK) return failed(w, e, status == WSC_ERR_INVALID ? 2 : 1);
  if (wsc_loop_new(NULL, &w->loop, &e) != WSC_OK) return failed(w, e, 1);
  if (wsc_loop_add(w->loop, w->engine) != WSC_OK) return failed(w, NULL, 1);
  if (w->settings.timeout_ms > 0) w->deadline_ns = wsc_now_ns() + w->settings.timeout_ms * 1000000;
  if (wsc_engine_start_begin(w->engine, NULL, 0, NULL, &e) != WSC_OK) return failed(w, e, 1);
  if (wsc_engine_wait_begin(w->engine, NULL, RUN_OVER_TOKEN, NULL, &e) != WSC_OK) return failed(w, e, 1);
  run(w);
  if (w->settings.stats) report_stats(w->engine);
  return w->exit_code;
}

static int replay(const struct settings *s) {
  struct replay options = {
      .path = s->replay, .port = s->port, .speed = s->speed, .wake_fd = signal_pipe[0], .timeout_ms = s->timeout_ms};
  int code = replay_run(&options);
  char number;
  return read(signal_pipe[0], &number, 1) == 1 ? 128 + number : code;
}

int main(int argc, char **argv) {
  struct wsc w = {0};
  if (!fill_standard_streams()) return 1;
  int code = cli_parse(argc, argv, &w.settings);
  if (code == -1) {
    input_open(&w.in, STDIN_FILENO);
    output_open(&w.out, STDOUT_FILENO);
    int problem = install_signals();
    if (problem != 0) complain("signals: %s", strerror(problem));
    if (problem != 0) code = 1;
    else if (w.settings.replay != NULL) code = replay(&w.settings);
    else if (w.settings.record == NULL || recorder_open(&w.recorder, w.settings.record)) code = start_and_run(&w);
    else code = 1;
    recorder_close(&w.recorder);
    wsc_op_unref(w.line_op);
    wsc_session_unref(w.session);
    wsc_engine_free(w.engine);
    wsc_loop_free(w.loop);
    input_close(&w.in);
    output_close(&w.out);
  } else if (fflush(stdout) != 0) {
    code = 1;
  }
  settings_free(&w.settings);
  return code;
}
