/* Log lines on their way to the host: bounded, so that a host that never looks costs a little memory and no more. */
#define _GNU_SOURCE
#include "engine.h"
#include "mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES_MOST = 256 };

struct log_line {
  struct event_node node;
  wsc_engine *engine; /* a reference to its actor */
  int level;
  const char *subsystem;
  char session_id[37];
  char text[];
};

static bool fill(struct event_node *n, wsc_event *ev) {
  struct log_line *line = (struct log_line *)(void *)n;
  *ev = (wsc_event){.struct_size = sizeof *ev,
                    .type = WSC_EVENT_LOG,
                    .engine = line->engine,
                    .user = line->engine->user,
                    .level = line->level,
                    .subsystem = line->subsystem,
                    .session_id = line->session_id,
                    .text = line->text,
                    .core = n};
  return true;
}

static int done(struct event_node *n, wsc_event *ev, const wsc_reply *r) {
  (void)ev, (void)r;
  struct log_line *line = (struct log_line *)(void *)n;
  wsc_engine *e = line->engine;
  atomic_fetch_sub(&e->log_lines, 1);
  mem_free(line);
  actor_unref(&e->actor);
  return WSC_OK;
}

void engine_log(wsc_engine *e, int level, const char *subsystem, const char *session_id, const char *format, ...) {
  if (e->owner.log_level < level || !e->joined || atomic_load(&e->log_lines) >= LINES_MOST) return;
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  size_t n = strlen(text) + 1;
  struct log_line *line = mem_zalloc(sizeof *line + n);
  if (!line) return;
  line->node.fill = fill;
  line->node.done = done;
  line->engine = e;
  line->level = level;
  line->subsystem = subsystem;
  snprintf(line->session_id, sizeof line->session_id, "%s", session_id);
  memcpy(line->text, text, n);
  atomic_fetch_add(&e->log_lines, 1);
  actor_ref(&e->actor);
  loop_post(e->actor.loop, &line->node);
}

void log_deliver(wsc_engine *e, const wsc_event *ev) {
  pthread_mutex_lock(&e->lock);
  bool give = e->log && !e->log_closed;
  if (give) e->log_running++;
  pthread_mutex_unlock(&e->lock);
  if (!give) return;
  e->log->line(e->log_self, ev->level, ev->subsystem, ev->session_id, ev->text);
  pthread_mutex_lock(&e->lock);
  if (--e->log_running == 0) pthread_cond_broadcast(&e->log_quiet);
  pthread_mutex_unlock(&e->lock);
}

void log_close(wsc_engine *e) {
  pthread_mutex_lock(&e->lock);
  e->log_closed = true;
  while (e->log_running) pthread_cond_wait(&e->log_quiet, &e->lock);
  pthread_mutex_unlock(&e->lock);
}
