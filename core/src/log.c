/* Log records on their way to the host: in order, one of an engine out at a time, so that a hook that blocks holds one thread and no more;
 * and bounded, so that a host that never looks costs a little memory. */
#define _GNU_SOURCE
#include "ascii.h"
#include "engine.h"
#include "mem.h"
#include "os.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { RECORDS_MOST = 256 };

struct log_entry {
  struct log_entry *next;
  int level;
  uint32_t lost;
  int64_t time_ns;
  const char *subsystem;
  char session_id[37];
  char text[];
};

static wsc_engine *engine_of(struct event_node *n) {
  return (wsc_engine *)(void *)((char *)n - offsetof(wsc_engine, log.node));
}

/* The one that is out stays at the head until done. */
static bool fill(struct event_node *n, wsc_event *ev) {
  wsc_engine *e = engine_of(n);
  struct log_queue *q = &e->log;
  pthread_mutex_lock(&q->lock);
  struct log_entry *entry = q->out ? NULL : q->head;
  q->out |= entry != NULL;
  pthread_mutex_unlock(&q->lock);
  if (!entry) return false;
  *ev = (wsc_event){.struct_size = sizeof *ev,
                    .type = WSC_EVENT_LOG,
                    .engine = e,
                    .user = e->user,
                    .level = entry->level,
                    .count = entry->lost,
                    .received_ns = entry->time_ns,
                    .subsystem = entry->subsystem,
                    .session_id = entry->session_id,
                    .text = entry->text,
                    .core = n};
  actor_ref(&e->actor);
  return true;
}

static void drop_head(struct log_queue *q) {
  struct log_entry *entry = q->head;
  q->head = entry->next;
  if (!q->head) q->tail = NULL;
  q->count--;
  mem_free(entry);
}

static int done(struct event_node *n, wsc_event *ev, const wsc_reply *r) {
  (void)ev, (void)r;
  wsc_engine *e = engine_of(n);
  struct log_queue *q = &e->log;
  pthread_mutex_lock(&q->lock);
  q->out = false;
  drop_head(q);
  bool more = q->head != NULL;
  pthread_mutex_unlock(&q->lock);
  if (more) loop_post(e->actor.loop, n);
  actor_unref(&e->actor);
  return WSC_OK;
}

void log_init(wsc_engine *e) {
  struct log_queue *q = &e->log;
  pthread_mutex_init(&q->lock, NULL);
  pthread_cond_init(&q->quiet, NULL);
  q->node = (struct event_node){.owner = &e->actor, .fill = fill, .done = done};
}

void log_free(wsc_engine *e) {
  struct log_queue *q = &e->log;
  while (q->head) drop_head(q);
  pthread_mutex_destroy(&q->lock);
  pthread_cond_destroy(&q->quiet);
}

static void enqueue(wsc_engine *e, struct log_entry *entry) {
  struct log_queue *q = &e->log;
  pthread_mutex_lock(&q->lock);
  bool room = q->count < RECORDS_MOST;
  if (room) {
    entry->lost = q->lost;
    q->lost = 0;
    q->count++;
    if (q->tail) q->tail->next = entry;
    else q->head = entry;
    q->tail = entry;
  } else {
    q->lost++;
  }
  pthread_mutex_unlock(&q->lock);
  if (room) loop_post(e->actor.loop, &q->node);
  else mem_free(entry);
}

void engine_log(wsc_engine *e, int level, const char *subsystem, const char *session_id, const char *format, ...) {
  if (e->owner.log_level < level || !e->joined) return;
  char text[LOG_TEXT_MAX];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  size_t n = strlen(text) + 1;
  struct log_entry *entry = mem_zalloc(sizeof *entry + n);
  if (!entry) return;
  entry->level = level;
  entry->time_ns = os_unix_ns();
  entry->subsystem = subsystem;
  snprintf(entry->session_id, sizeof entry->session_id, "%s", session_id);
  memcpy(entry->text, text, n);
  enqueue(e, entry);
}

void log_deliver(wsc_engine *e, const wsc_event *ev) {
  struct log_queue *q = &e->log;
  pthread_mutex_lock(&q->lock);
  bool give = q->hook && !q->closed;
  q->giving = give;
  pthread_mutex_unlock(&q->lock);
  if (!give) return;
  wsc_log_record record = {.struct_size = sizeof record,
                           .level = ev->level,
                           .engine_id = e->id,
                           .session_id = ev->session_id,
                           .subsystem = ev->subsystem,
                           .text = ev->text,
                           .time_ns = ev->received_ns,
                           .lost = ev->count};
  if (q->hook->record) q->hook->record(q->hook_self, &record);
  else q->hook->line(q->hook_self, ev->level, ev->subsystem, ev->session_id, ev->text);
  pthread_mutex_lock(&q->lock);
  q->giving = false;
  pthread_cond_broadcast(&q->quiet);
  pthread_mutex_unlock(&q->lock);
}

void log_close(wsc_engine *e) {
  struct log_queue *q = &e->log;
  pthread_mutex_lock(&q->lock);
  q->closed = true;
  while (q->giving) pthread_cond_wait(&q->quiet, &q->lock);
  pthread_mutex_unlock(&q->lock);
}

static void log_option(wsc_engine *e, const wsc_option_description *d) {
  char shown[256];
  const char *item;
  if (d->flags & WSC_OPTION_SECRET) {
    engine_log(e, WSC_LOG_DEBUG, "engine", "", "option %s is set (not shown)", d->name);
  } else if (d->type == WSC_OPTION_LIST) {
    for (size_t i = 0; (item = options_item(e->options, d->id, i)); i++)
      engine_log(e, WSC_LOG_DEBUG, "engine", "", "option %s: \"%s\"", d->name,
                 ascii_shown(shown, sizeof shown, (const uint8_t *)item, strlen(item)));
  } else if (d->type == WSC_OPTION_STR) {
    item = options_str(e->options, d->id);
    engine_log(e, WSC_LOG_DEBUG, "engine", "", "option %s: \"%s\"", d->name,
               ascii_shown(shown, sizeof shown, (const uint8_t *)item, strlen(item)));
  } else {
    engine_log(e, WSC_LOG_DEBUG, "engine", "", "option %s: %lld", d->name, (long long)options_int(e->options, d->id));
  }
}

void log_options(wsc_engine *e) {
  wsc_option_description d = {.struct_size = sizeof d};
  for (int row = 0; wsc_option_info(row, &d) == WSC_OK; row++)
    if (options_is_set(e->options, d.id)) log_option(e, &d);
}
