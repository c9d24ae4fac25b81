/* Look-ups, with getaddrinfo in the test's hand: names hang until they are let go. No test waits for time to pass,
 * only for something to happen. */
#define _GNU_SOURCE
#include "resolve.h"

#include "check.h"
#include "error.h"
#include "mem.h"
#include "os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

/* The stand-in for getaddrinfo: "hang..." waits for let_go, "none" and its like fail, everything else is 192.0.2.1
 * and 2001:db8::1. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int calls, hanging, to_let_go;

static struct addrinfo *literal(const char *text, struct addrinfo *rest) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *out = NULL;
  CHECK_EQ(getaddrinfo(text, NULL, &hints, &out), 0);
  out->ai_next = rest;
  return out;
}

static int fake(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
  CHECK(service == NULL);
  CHECK_EQ(hints->ai_socktype, SOCK_STREAM);
  CHECK_EQ(hints->ai_flags & AI_ADDRCONFIG, 0);
  pthread_mutex_lock(&mutex);
  calls++;
  if (strncmp(node, "hang", 4) == 0) {
    hanging++;
    pthread_cond_broadcast(&changed);
    while (to_let_go == 0) pthread_cond_wait(&changed, &mutex);
    to_let_go--;
    hanging--;
  }
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
  if (strcmp(node, "none") == 0) return EAI_NONAME;
  if (strcmp(node, "later") == 0) return EAI_AGAIN;
  if (strcmp(node, "system") == 0) {
    errno = EMFILE;
    return EAI_SYSTEM;
  }
  *out = literal("192.0.2.1", literal("2001:db8::1", literal("192.0.2.1", NULL)));
  return 0;
}

static void wait_hanging(int n) {
  pthread_mutex_lock(&mutex);
  while (hanging != n) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

static void let_go(int n) {
  pthread_mutex_lock(&mutex);
  to_let_go += n;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static int calls_so_far(void) {
  pthread_mutex_lock(&mutex);
  int n = calls;
  pthread_mutex_unlock(&mutex);
  return n;
}

static void wake(void *self) {
  pthread_mutex_lock(&mutex);
  ++*(int *)self;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static void wait_woken(const int *count, int n) {
  pthread_mutex_lock(&mutex);
  while (*count < n) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

static struct resolve *begin(const char *host, int *woken) {
  struct resolve *r;
  CHECK_EQ(resolve_begin(host, 443, wake, woken, &r, NULL), WSC_OK);
  return r;
}

static void wait_threads(int n) {
  while (resolve_thread_count() != n) usleep(1000);
}

/* Also those that have just come back from a look-up. */
static void all_home(void) {
  do resolve_shutdown();
  while (resolve_thread_count() > 0);
}

static void check_text(const struct address *a, const char *want) {
  char text[ADDRESS_TEXT_MAX];
  CHECK_STR(address_text(a, text), want);
}

/* The answer of a look-up that has been woken: both addresses once, in the order they came. */
static void check_answer(struct resolve *r) {
  struct addresses found;
  CHECK_EQ(resolve_poll(r, &found, NULL), WSC_OK);
  CHECK_EQ(found.count, 2);
  check_text(&found.items[0], "192.0.2.1:443");
  check_text(&found.items[1], "[2001:db8::1]:443");
  mem_free(found.items);
}

static void a_literal_needs_no_thread(void) {
  static const char *const rows[][2] = {{"127.0.0.1", "127.0.0.1:80"},
                                        {"::1", "[::1]:80"},
                                        {"2001:db8::10:0", "[2001:db8::10:0]:80"},
                                        {"::ffff:192.0.2.7", "[::ffff:192.0.2.7]:80"}};
  int before = calls_so_far(), woken = 0;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct resolve *r;
    struct addresses found;
    CHECK_EQ(resolve_begin(rows[i][0], 80, wake, &woken, &r, NULL), WSC_OK);
    CHECK_EQ(resolve_poll(r, &found, NULL), WSC_OK);
    CHECK_EQ(found.count, 1);
    check_text(&found.items[0], rows[i][1]);
    mem_free(found.items);
    resolve_end(r);
  }
  CHECK_EQ(calls_so_far(), before);
  CHECK_EQ(resolve_thread_count(), 0);
  CHECK_EQ(woken, 0);
}

static void a_zone_becomes_a_scope(void) {
  struct resolve *r;
  struct addresses found;
  wsc_error *e = NULL;
  CHECK_EQ(resolve_begin("fe80::1%lo", 80, wake, NULL, &r, NULL), WSC_OK);
  CHECK_EQ(resolve_poll(r, &found, NULL), WSC_OK);
  CHECK_EQ(((struct sockaddr_in6 *)&found.items[0].storage)->sin6_scope_id, if_nametoindex("lo"));
  check_text(&found.items[0], "[fe80::1%lo]:80");
  mem_free(found.items);
  resolve_end(r);
  CHECK_EQ(resolve_begin("fe80::1%nosuch0", 80, wake, NULL, &r, &e), WSC_ERR_RESOLVE);
  CHECK(r == NULL);
  CHECK_HAS(wsc_error_message(e), "\"nosuch0\"");
  wsc_error_unref(e);
}

static void localhost_is_found(void) {
  int woken = 0;
  struct addresses found;
  resolve_getaddrinfo = getaddrinfo;
  struct resolve *r = begin("localhost", &woken);
  wait_woken(&woken, 1);
  CHECK_EQ(resolve_poll(r, &found, NULL), WSC_OK);
  CHECK(found.count >= 1);
  mem_free(found.items);
  resolve_end(r);
  all_home();
  resolve_getaddrinfo = fake;
}

static void one_name_is_asked_once(void) {
  int woken[3] = {0}, before = calls_so_far();
  struct resolve *r[3];
  for (int i = 0; i < 3; i++) r[i] = begin("hang.example", &woken[i]);
  wait_hanging(1);
  CHECK_EQ(resolve_poll(r[0], &(struct addresses){0}, NULL), WSC_AGAIN);
  resolve_end(r[1]); /* one of them goes: the others stay */
  let_go(1);
  wait_woken(&woken[0], 1);
  wait_woken(&woken[2], 1);
  check_answer(r[0]);
  check_answer(r[2]);
  CHECK_EQ(woken[1], 0);
  CHECK_EQ(calls_so_far(), before + 1);
  resolve_end(r[0]);
  resolve_end(r[2]);
}

static void a_finished_look_up_is_not_given_to_the_next(void) {
  int woken = 0, before = calls_so_far();
  struct resolve *first = begin("a.example", &woken);
  wait_woken(&woken, 1);
  struct resolve *second = begin("a.example", &woken);
  wait_woken(&woken, 2);
  CHECK_EQ(calls_so_far(), before + 2);
  resolve_end(first);
  check_answer(second);
  resolve_end(second);
}

static void two_run_at_once_and_the_third_waits(void) {
  int woken = 0;
  struct resolve *a = begin("hang.a", &woken), *b = begin("hang.b", &woken), *c = begin("c", &woken);
  wait_hanging(2);
  CHECK_EQ(resolve_thread_count(), 2);
  CHECK_EQ(resolve_poll(c, &(struct addresses){0}, NULL), WSC_AGAIN);
  let_go(1);
  wait_woken(&woken, 2); /* whichever was let go, and c on its thread */
  check_answer(c);
  let_go(1);
  wait_woken(&woken, 3);
  CHECK_EQ(resolve_thread_count(), 2);
  resolve_end(a);
  resolve_end(b);
  resolve_end(c);
}

static void what_nobody_waits_for_is_not_asked(void) {
  int woken = 0, never = 0;
  struct resolve *a = begin("hang.a", &woken), *b = begin("hang.b", &woken), *c = begin("c", &never);
  wait_hanging(2);
  int before = calls_so_far();
  resolve_end(c);
  let_go(2);
  wait_woken(&woken, 2);
  resolve_end(a);
  resolve_end(b);
  all_home();
  CHECK_EQ(calls_so_far(), before);
  CHECK_EQ(never, 0);
}

static void an_abandoned_one_is_replaced_up_to_eight(void) {
  int woken = 0, never = 0;
  char name[] = "hang.0";
  all_home();
  resolve_idle_ns = NS_PER_MS;
  for (int i = 0; i < 8; i++) { /* each hangs, is given up, and the next gets a thread all the same */
    name[5] = (char)('0' + i);
    struct resolve *r = begin(name, &never);
    wait_hanging(i + 1);
    resolve_end(r);
  }
  CHECK_EQ(resolve_thread_count(), 8);
  struct resolve *ninth = begin("ninth", &woken);
  CHECK_EQ(resolve_thread_count(), 8);
  CHECK_EQ(resolve_poll(ninth, &(struct addresses){0}, NULL), WSC_AGAIN);
  let_go(1);
  wait_woken(&woken, 1);
  check_answer(ninth);
  resolve_end(ninth);
  let_go(7);
  wait_threads(0); /* by their own clock */
  resolve_idle_ns = 3600 * NS_PER_S;
  CHECK_EQ(never, 0);
}

/* Two hanging names that are asked for again and again must not keep a third from being looked up. */
static void a_hanging_name_asked_again_stays_replaced(void) {
  int never = 0, woken = 0;
  struct resolve *a = begin("hang.a", &never), *b = begin("hang.b", &never);
  wait_hanging(2);
  resolve_end(a);
  resolve_end(b);
  int before = calls_so_far();
  a = begin("hang.a", &never);
  b = begin("hang.b", &never);
  struct resolve *c = begin("c", &woken);
  wait_woken(&woken, 1);
  check_answer(c);
  CHECK_EQ(calls_so_far(), before + 1); /* a and b joined what was under way */
  resolve_end(c);
  resolve_end(begin("hang.a", &never)); /* given up or not, it counts once: */
  resolve_end(a);
  a = begin("hang.a", &never);
  struct resolve *d[3] = {begin("hang.d", &woken), begin("hang.e", &woken), begin("hang.f", &woken)};
  wait_hanging(4);
  CHECK_EQ(resolve_thread_count(), 4);
  let_go(5);
  wait_woken(&woken, 4);
  for (int i = 0; i < 3; i++) resolve_end(d[i]);
  wait_woken(&never, 2);
  check_answer(a);
  check_answer(b);
  resolve_end(a);
  resolve_end(b);
}

static void giving_up_a_running_one_lets_the_queue_go_on(void) {
  int woken = 0, never = 0;
  struct resolve *a = begin("hang.a", &never), *b = begin("hang.b", &never), *c = begin("c", &woken);
  wait_hanging(2);
  resolve_end(a);
  wait_woken(&woken, 1);
  check_answer(c);
  resolve_end(b);
  resolve_end(c);
  let_go(2);
  wait_hanging(0);
}

/* Replacements are for as long as something hangs: then two are enough again, and the others leave without waiting
 * for their hour. */
static void replacements_leave_when_the_abandoned_come_back(void) {
  int woken = 0, never = 0;
  struct resolve *r[4];
  for (int i = 0; i < 4; i++) {
    static const char *const names[] = {"hang.a", "hang.b", "hang.c", "hang.d"};
    r[i] = begin(names[i], i < 2 ? &never : &woken);
    wait_hanging(i + 1);
    if (i < 2) resolve_end(r[i]);
  }
  CHECK_EQ(resolve_thread_count(), 4);
  let_go(4);
  wait_woken(&woken, 2);
  wait_threads(2);
  resolve_end(r[2]);
  resolve_end(r[3]);
  two_run_at_once_and_the_third_waits();
}

static void errors_say_what_is_wrong(void) {
  static const struct {
    const char *host, *part;
    int fatal, os_error;
  } rows[] = {{"none", "\"none\": the name does not exist", WSC_GIVE_UP_RESOLVE, 0},
              {"later", "\"later\": no answer from the name servers", 0, 0},
              {"system", "\"system\": Too many open files", 0, EMFILE}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int woken = 0;
    wsc_error *e = NULL;
    struct resolve *r = begin(rows[i].host, &woken);
    wait_woken(&woken, 1);
    CHECK_EQ(resolve_poll(r, &(struct addresses){0}, &e), WSC_ERR_RESOLVE);
    CHECK_HAS(wsc_error_message(e), rows[i].part);
    CHECK_EQ(error_fatal(e), rows[i].fatal);
    CHECK_EQ(wsc_error_os_error(e), rows[i].os_error);
    wsc_error_unref(e);
    resolve_end(r);
  }
}

/* Every allocation fails once; at the end nothing is left and nobody waits for ever. */
static void lack_of_memory_is_survived(void) {
  long live = mem_live();
  bool failed = true;
  for (long n = 1; failed; n++) {
    int woken = 0;
    struct resolve *r = NULL;
    struct addresses found = {0};
    wsc_error *e = NULL;
    all_home(); /* so that starting the thread may fail, too */
    mem_fail_after(n);
    int status = resolve_begin("memory.example", 443, wake, &woken, &r, &e);
    if (status == WSC_OK) {
      wait_woken(&woken, 1);
      status = resolve_poll(r, &found, &e);
    }
    failed = mem_failed();
    mem_fail_after(-1);
    if (failed) CHECK(status == WSC_ERR_NOMEM || (status == WSC_ERR_RESOLVE && wsc_error_os_error(e) == ENOMEM));
    else CHECK_EQ(status, WSC_OK);
    wsc_error_unref(e);
    mem_free(found.items);
    resolve_end(r);
    CHECK_EQ(mem_live(), live);
  }
}

static void idle_threads_go_home_when_told(void) {
  int woken = 0;
  struct resolve *r = begin("a", &woken);
  wait_woken(&woken, 1);
  resolve_end(r);
  resolve_shutdown(); /* they would otherwise stay for an hour */
  wait_threads(0);
}

__attribute__((unused)) static void a_child_process_starts_afresh(void) {
  int woken = 0;
  struct resolve *a = begin("hang.a", &woken), *b = begin("hang.b", &woken);
  wait_hanging(2);
  struct resolve *queued = begin("c", &woken);
  pid_t child = fork();
  if (child == 0) {
    int here = 0;
    CHECK_EQ(pthread_cond_init(&changed, NULL), 0); /* the parent's hanging threads are counted in it as waiters */
    struct resolve *r = begin("d", &here);
    wait_woken(&here, 1);
    check_answer(r);
    resolve_end(r);
    resolve_end(a);
    resolve_end(b);
    resolve_end(queued);
    for (int i = 2; i < 6; i++) { /* the queue still works after that */
      r = begin("c", &here);
      wait_woken(&here, i);
      check_answer(r);
      resolve_end(r);
    }
    _exit(0);
  }
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  let_go(2);
  wait_woken(&woken, 3);
  check_answer(queued);
  resolve_end(a);
  resolve_end(b);
  resolve_end(queued);
}

int main(void) {
  resolve_getaddrinfo = fake;
  a_literal_needs_no_thread();
  a_zone_becomes_a_scope();
  localhost_is_found();
  resolve_idle_ns = 3600 * NS_PER_S; /* nobody leaves by the clock unless a test says so */
  one_name_is_asked_once();
  a_finished_look_up_is_not_given_to_the_next();
  two_run_at_once_and_the_third_waits();
  what_nobody_waits_for_is_not_asked();
  giving_up_a_running_one_lets_the_queue_go_on();
  an_abandoned_one_is_replaced_up_to_eight();
  a_hanging_name_asked_again_stays_replaced();
  all_home();
  replacements_leave_when_the_abandoned_come_back();
  errors_say_what_is_wrong();
  lack_of_memory_is_survived();
  idle_threads_go_home_when_told();
#ifndef __SANITIZE_THREAD__ /* it supports no threads after fork */
  a_child_process_starts_afresh();
#endif
  resolve_end(NULL);
  return 0;
}
