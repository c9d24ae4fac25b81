/* Host names to addresses on a few helper threads.
 *
 * One mutex guards everything here. A look-up is QUEUED, RUNNING (a thread is inside getaddrinfo, without the mutex)
 * or DONE; queued and running ones stand in `lookups`, where a second interest in the same name joins them. A
 * look-up nobody waits for any more is thrown away when it is queued. When it runs it cannot be stopped: it may hang
 * for as long as the system's resolver likes, so its thread counts as `replaced` and another may be started in its
 * stead, up to MOST_THREADS in all. Once replaced it stays so, even when somebody joins it again: a name that hangs
 * shall not hold up the others a second time. Threads leave when they were idle for a while or when there are more
 * than allowed, so the number of threads goes back to zero.
 *
 * AI_ADDRCONFIG is not used. It would save an AAAA question on machines without IPv6, but it counts loopback
 * interfaces as no interface and so may hide "localhost" from a machine that is offline. Addresses that cannot be
 * reached cost nothing: getaddrinfo sorts them to the end, and dial.c goes on to the next as soon as the kernel says
 * "unreachable". */
#define _GNU_SOURCE
#include "resolve.h"

#include "error.h"
#include "mem.h"
#include "os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { USUAL_THREADS = 2, MOST_THREADS = 8 };

enum lookup_state { LOOKUP_QUEUED, LOOKUP_RUNNING, LOOKUP_DONE };

struct lookup {
  struct lookup *next; /* in lookups, oldest first; a DONE one is in no list */
  struct resolve *waiters;
  enum lookup_state state;
  bool replaced;
  unsigned generation;
  int status; /* of a DONE one: 0, or getaddrinfo's */
  int os_error;
  struct addresses found;
  char host[];
};

struct resolve {
  struct resolve *next; /* of the same look-up's waiters */
  struct lookup *lookup;
  void (*wake)(void *);
  void *self;
  uint16_t port;
  bool literal;
  struct address address; /* of a literal */
};

int (*resolve_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = getaddrinfo;
int64_t resolve_idle_ns = NS_PER_S;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work; /* on the monotonic clock */
static pthread_cond_t left; /* a thread has left */
static struct lookup *lookups;
static int threads, idle, running, queued, replaced; /* running: inside getaddrinfo */
static unsigned generation;                          /* counts forks */
static bool going_home;

/* Literals */

bool address_parse(const char *host, uint16_t port, struct address *out, const char **unknown_zone) {
  memset(out, 0, sizeof *out);
  struct sockaddr_in *v4 = (struct sockaddr_in *)&out->storage;
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out->length = sizeof *v4;
    return true;
  }
  char text[INET6_ADDRSTRLEN];
  const char *zone = strchr(host, '%');
  size_t length = zone ? (size_t)(zone - host) : strlen(host);
  if (length >= sizeof text) return false;
  memcpy(text, host, length);
  text[length] = 0;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->storage;
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) return false;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  out->length = sizeof *v6;
  if (zone) {
    zone++;
    char *end;
    unsigned long number = *zone >= '0' && *zone <= '9' ? strtoul(zone, &end, 10) : 0;
    if (number > 0 && number <= UINT32_MAX && *end == 0) v6->sin6_scope_id = (uint32_t)number;
    else v6->sin6_scope_id = if_nametoindex(zone);
    if (v6->sin6_scope_id == 0) *unknown_zone = zone;
  }
  return true;
}

const char *address_text(const struct address *a, char out[static ADDRESS_TEXT_MAX]) {
  char host[INET6_ADDRSTRLEN];
  if (a->storage.ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->storage;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(out, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(v4->sin_port));
  } else if (a->storage.ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->storage;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    char zone[IF_NAMESIZE + 1] = "";
    if (v6->sin6_scope_id != 0) {
      zone[0] = '%';
      if (!if_indextoname(v6->sin6_scope_id, zone + 1)) snprintf(zone + 1, sizeof zone - 1, "%u", v6->sin6_scope_id);
    }
    snprintf(out, ADDRESS_TEXT_MAX, "[%s%s]:%u", host, zone, ntohs(v6->sin6_port));
  } else if (a->storage.ss_family == AF_UNIX) {
    const struct sockaddr_un *un = (const struct sockaddr_un *)&a->storage;
    size_t n = a->length - offsetof(struct sockaddr_un, sun_path);
    bool abstract = n > 0 && un->sun_path[0] == 0;
    snprintf(out, ADDRESS_TEXT_MAX, "%s%.*s", abstract ? "@" : "", (int)(n - abstract), un->sun_path + abstract);
  } else {
    snprintf(out, ADDRESS_TEXT_MAX, "address of unknown family %d", (int)a->storage.ss_family);
  }
  return out;
}

/* The list of look-ups. Everything from here to the public functions is called with the mutex held, unless it says
 * otherwise. */

static void lookup_free(struct lookup *l) {
  if (!l) return;
  mem_free(l->found.items);
  mem_free(l);
}

static void unlist(struct lookup *l) {
  struct lookup **at = &lookups;
  while (*at && *at != l) at = &(*at)->next;
  if (*at) *at = l->next;
  l->next = NULL;
}

static int allowed(void) {
  int most = USUAL_THREADS + replaced;
  return most < MOST_THREADS ? most : MOST_THREADS;
}

static bool same_address(const struct address *a, const struct address *b) {
  return a->length == b->length && memcmp(&a->storage, &b->storage, a->length) == 0;
}

/* Without the mutex. Copies what getaddrinfo found; false: out of memory. */
static bool collect(const struct addrinfo *list, struct addresses *out) {
  size_t most = 0;
  for (const struct addrinfo *i = list; i; i = i->ai_next) most++;
  out->count = 0;
  out->items = mem_alloc(most ? most * sizeof *out->items : 1);
  if (!out->items) return false;
  for (const struct addrinfo *i = list; i; i = i->ai_next) {
    if (i->ai_family != AF_INET && i->ai_family != AF_INET6) continue;
    struct address *a = &out->items[out->count];
    memset(a, 0, sizeof *a);
    a->length = i->ai_addrlen;
    memcpy(&a->storage, i->ai_addr, i->ai_addrlen);
    size_t k = 0;
    while (k < out->count && !same_address(&out->items[k], a)) k++;
    if (k == out->count) out->count++;
  }
  return true;
}

/* Without a file descriptor to open its files and sockets with, the system says that the name does not exist. 0: it had one. */
static int out_of_descriptors(void) {
  int fd = os_socket(AF_INET, SOCK_DGRAM, 0);
  if (fd >= 0) close(fd);
  return fd == -EMFILE || fd == -ENFILE ? -fd : 0;
}

/* Gives the mutex up while the system looks. */
static void run(struct lookup *l) {
  l->state = LOOKUP_RUNNING;
  queued--;
  running++;
  pthread_mutex_unlock(&lock);
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  errno = 0;
  int status = resolve_getaddrinfo(l->host, NULL, &hints, &list);
  int os_error = errno;
  struct addresses found = {0};
  if (status == 0 && !collect(list, &found)) status = EAI_MEMORY;
  if (status == 0 && found.count == 0) status = EAI_NONAME;
  if (list) freeaddrinfo(list);
  int scarce = status == EAI_NONAME ? out_of_descriptors() : 0;
  if (scarce) {
    status = EAI_SYSTEM;
    os_error = scarce;
  }
  pthread_mutex_lock(&lock);

  running--;
  if (l->replaced) replaced--;
  unlist(l);
  l->state = LOOKUP_DONE;
  l->status = status;
  l->os_error = os_error;
  l->found = found;
  if (!l->waiters) {
    lookup_free(l);
    return;
  }
  for (struct resolve *r = l->waiters; r; r = r->next) r->wake(r->self);
}

static struct lookup *first_queued(void) {
  struct lookup *l = lookups;
  while (l && l->state != LOOKUP_QUEUED) l = l->next;
  return l;
}

/* Waits for work; NULL: it is time to leave. */
static struct lookup *next_job(void) {
  int64_t deadline_ns = os_now_ns() + resolve_idle_ns;
  bool late = false;
  for (;;) {
    if (threads > allowed()) return NULL; /* the others are enough for what is queued */
    struct lookup *l = first_queued();
    if (l) return l;
    if (late || going_home) return NULL;
    idle++;
    late = !os_cond_wait(&work, &lock, deadline_ns);
    idle--;
  }
}

static void *thread_main(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  for (struct lookup *l; (l = next_job()) != NULL;) run(l);
  threads--;
  pthread_cond_broadcast(&left);
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* Sees to it that what is queued finds a thread. 0, or errno when there is none that could ever come to it. */
static int provide_thread(void) {
  if (idle >= queued) {
    pthread_cond_signal(&work);
    return 0;
  }
  if (threads >= allowed()) return 0;
  int e = os_thread(thread_main, NULL, "wsc-resolve", true, NULL);
  if (e == 0) threads++;
  return e != 0 && threads <= replaced ? e : 0;
}

/* fork: the child has no helper threads, and whatever they were doing never ends there. */

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void after_fork_parent(void) { pthread_mutex_unlock(&lock); }

static void init_conditions(void) {
  os_cond_init(&work);
  os_cond_init(&left);
}

static void after_fork_child(void) {
  lookups = NULL; /* each stays with the handles that came over from the parent: see abandon */
  generation++;
  threads = idle = running = queued = replaced = 0;
  going_home = false;
  init_conditions();
  pthread_mutex_unlock(&lock);
}

static void init(void) {
  init_conditions();
  pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* Public */

static int begin_literal(const char *host, struct resolve *r, const char *unknown_zone, struct resolve **out,
                         wsc_error **err) {
  if (unknown_zone) {
    int status =
        error_set_info(err, &(struct error_info){.status = WSC_ERR_RESOLVE, .retry_after_ms = -1, .os_error = ENODEV},
                       "address \"%s\": there is no network interface \"%s\" on this machine", host, unknown_zone);
    mem_free(r);
    return status;
  }
  r->literal = true;
  *out = r;
  return WSC_OK;
}

static struct lookup *find_or_queue(const char *host) {
  struct lookup **end = &lookups;
  for (; *end; end = &(*end)->next)
    if (strcmp((*end)->host, host) == 0) return *end;
  size_t size = strlen(host) + 1;
  struct lookup *l = mem_zalloc(sizeof *l + size);
  if (!l) return NULL;
  memcpy(l->host, host, size);
  l->generation = generation;
  *end = l;
  queued++;
  return l;
}

int resolve_begin(const char *host, uint16_t port, void (*wake)(void *self), void *self, struct resolve **out,
                  wsc_error **err) {
  *out = NULL;
  struct resolve *r = mem_zalloc(sizeof *r);
  if (!r) return error_set(err, WSC_ERR_NOMEM, "out of memory for the look-up of \"%s\"", host);
  r->wake = wake;
  r->self = self;
  r->port = port;
  const char *unknown_zone = NULL;
  if (address_parse(host, port, &r->address, &unknown_zone)) return begin_literal(host, r, unknown_zone, out, err);

  pthread_once(&once, init);
  pthread_mutex_lock(&lock);
  struct lookup *l = find_or_queue(host);
  int e = 0;
  if (l && l->state == LOOKUP_QUEUED) e = provide_thread();
  if (l && e == 0) {
    r->lookup = l;
    r->next = l->waiters;
    l->waiters = r;
  } else if (l && !l->waiters) {
    queued--;
    unlist(l);
    lookup_free(l);
  }
  pthread_mutex_unlock(&lock);
  if (l && e == 0) {
    *out = r;
    return WSC_OK;
  }
  mem_free(r);
  if (!l) return error_set(err, WSC_ERR_NOMEM, "out of memory for the look-up of \"%s\"", host);
  char text[128];
  return error_set_info(err, &(struct error_info){.status = WSC_ERR_RESOLVE, .retry_after_ms = -1, .os_error = e},
                        "look-up of \"%s\": no thread could be started for it: %s", host, error_errno_text(e, text));
}

static int failed(const struct lookup *l, wsc_error **err) {
  struct error_info info = {.status = WSC_ERR_RESOLVE, .retry_after_ms = -1};
  char text[128];
  switch (l->status) {
  case EAI_MEMORY: return error_set(err, WSC_ERR_NOMEM, "out of memory during the look-up of \"%s\"", l->host);
  case EAI_NONAME:
  case EAI_NODATA:
  case EAI_ADDRFAMILY:
    info.fatal = WSC_GIVE_UP_RESOLVE;
    return error_set_info(err, &info, "look-up of \"%s\": the name does not exist or has no address (%s)", l->host,
                          gai_strerror(l->status));
  case EAI_AGAIN:
    return error_set_info(err, &info, "look-up of \"%s\": no answer from the name servers (%s)", l->host,
                          gai_strerror(l->status));
  case EAI_SYSTEM:
    info.os_error = l->os_error;
    return error_set_info(err, &info, "look-up of \"%s\": %s", l->host, error_errno_text(l->os_error, text));
  default: return error_set_info(err, &info, "look-up of \"%s\": %s", l->host, gai_strerror(l->status));
  }
}

/* A DONE look-up never changes again, and its waiter keeps it alive: no mutex. */
static int give(const struct address *found, size_t count, uint16_t port, const char *host, struct addresses *out,
                wsc_error **err) {
  out->count = 0;
  out->items = mem_alloc(count * sizeof *found);
  if (!out->items) return error_set(err, WSC_ERR_NOMEM, "out of memory for the addresses of \"%s\"", host);
  memcpy(out->items, found, count * sizeof *found);
  out->count = count;
  for (size_t i = 0; i < count; i++) {
    struct sockaddr_storage *s = &out->items[i].storage;
    if (s->ss_family == AF_INET) ((struct sockaddr_in *)s)->sin_port = htons(port);
    else ((struct sockaddr_in6 *)s)->sin6_port = htons(port);
  }
  return WSC_OK;
}

int resolve_poll(struct resolve *r, struct addresses *out, wsc_error **err) {
  if (r->literal) return give(&r->address, 1, r->port, "an address", out, err);
  struct lookup *l = r->lookup;
  pthread_mutex_lock(&lock);
  bool done = l->state == LOOKUP_DONE;
  pthread_mutex_unlock(&lock);
  if (!done) return WSC_AGAIN;
  if (l->status != 0) return failed(l, err);
  return give(l->found.items, l->found.count, r->port, l->host, out, err);
}

static void abandon(struct lookup *l) {
  if (l->generation != generation) { /* the parent's: in no list here, and no thread will ever touch it */
    lookup_free(l);
    return;
  }
  switch (l->state) {
  case LOOKUP_QUEUED:
    queued--;
    unlist(l);
    lookup_free(l);
    break;
  case LOOKUP_RUNNING:
    if (l->replaced) break;
    l->replaced = true;
    replaced++;
    if (queued > 0) (void)provide_thread();
    break;
  case LOOKUP_DONE: lookup_free(l); break;
  }
}

void resolve_end(struct resolve *r) {
  if (!r) return;
  struct lookup *l = r->lookup;
  if (l) {
    pthread_mutex_lock(&lock);
    struct resolve **at = &l->waiters;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    if (!l->waiters) abandon(l);
    pthread_mutex_unlock(&lock);
  }
  mem_free(r);
}

void resolve_shutdown(void) {
  pthread_once(&once, init);
  pthread_mutex_lock(&lock);
  going_home = true;
  pthread_cond_broadcast(&work);
  while (threads > running) pthread_cond_wait(&left, &lock);
  going_home = false;
  pthread_mutex_unlock(&lock);
}

int resolve_thread_count(void) {
  pthread_mutex_lock(&lock);
  int n = threads;
  pthread_mutex_unlock(&lock);
  return n;
}
