/* Many engines in one process, against a server in a process of its own that dies and comes back:
 *
 *   soak [--engines N] [--tls] [--longest-delay S] [--spread MS] [--idle S] [--out FILE]
 *
 * Written against the public headers. What must hold is checked, and the status says whether it did; every line of the
 * table is measured in this run: memory by counting allocators (the library's own, and OpenSSL's), usable sizes with
 * malloc's 8 bytes a block. */
#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <getopt.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <wscengine.h>

enum { BARE = 64, WINDOW = 256, TENTHS = 10, ALLOWED_BYTES = 8192, ALLOWED_THREADS = 4 };

static struct {
  int engines, longest_delay_s, spread_ms, idle_s;
  bool tls;
  const char *out;
} asked = {.engines = 10000, .longest_delay_s = 120, .spread_ms = 30000, .idle_s = -1};

struct one {
  wsc_engine *engine;
  _Atomic int64_t attempt_ns; /* the first attempt after the server died */
};

static _Atomic long opens, closes, echoes, failures, library_bytes, tls_bytes;
static FILE *table;
static bool all_good = true;

/* ---- memory ---- */

static long size_of(void *p) {
  return p ? (long)malloc_usable_size(p) + 8 : 0;
}

static void *counted_realloc(_Atomic long *sum, void *p, size_t n) {
  long before = size_of(p);
  void *q = realloc(p, n);
  if (q) *sum += size_of(q) - before;
  return q;
}

static void counted_free(_Atomic long *sum, void *p) {
  *sum -= size_of(p);
  free(p);
}

static void *library_allocate(void *self, size_t n) { return counted_realloc(self, NULL, n); }
static void *library_reallocate(void *self, void *p, size_t n) { return counted_realloc(self, p, n); }
static void library_release(void *self, void *p) { counted_free(self, p); }

static void *tls_allocate(size_t n, const char *file, int line) {
  (void)file, (void)line;
  return n ? counted_realloc(&tls_bytes, NULL, n) : NULL;
}
static void *tls_reallocate(void *p, size_t n, const char *file, int line) {
  (void)file, (void)line;
  if (n) return counted_realloc(&tls_bytes, p, n);
  counted_free(&tls_bytes, p);
  return NULL;
}
static void tls_release(void *p, const char *file, int line) {
  (void)file, (void)line;
  counted_free(&tls_bytes, p);
}

/* ---- measuring ---- */

static double cpu_s(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int entries(const char *path) {
  int n = -2; /* . and .. */
  DIR *d = opendir(path);
  if (!d) return -1;
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

/* The library's: all but main's, and TSan's own. */
static int threads(void) {
#ifdef __SANITIZE_THREAD__
  return entries("/proc/self/task") - 2;
#else
  return entries("/proc/self/task") - 1;
#endif
}

static long resident(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
  if (f) fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}

static void row(const char *what, const char *must, bool good, double value, const char *unit) {
  all_good &= good;
  fprintf(table, "| %s | %.*f %s | %s | %s |\n", what, value < 100 ? 2 : 0, value, unit, must, good ? "yes" : "**NO**");
  fflush(table);
}

static void fact(const char *what, double value, const char *unit) {
  fprintf(table, "| %s | %.*f %s | | |\n", what, value < 100 ? 2 : 0, value, unit);
}

static void fail(const char *what, const wsc_error *e) {
  fprintf(stderr, "soak: %s: %s\n", what, e ? wsc_error_message(e) : "");
  exit(1);
}

/* Until *what has come to n; says how far it is. Ten minutes without any news are a failure. */
static void await(const char *what, _Atomic long *counter, long n) {
  long seen = -1;
  int64_t said = 0, news = wsc_now_ns();
  for (;;) {
    long now = *counter;
    int64_t t = wsc_now_ns();
    if (now != seen) news = t;
    seen = now;
    if (t - said > INT64_C(2000000000) || now >= n) {
      fprintf(stderr, "soak: %s: %ld of %ld\n", what, now, n);
      said = t;
    }
    if (now >= n) return;
    if (t - news > INT64_C(600000000000)) fail(what, NULL);
    usleep(2000);
  }
}

/* ---- the engines ---- */

static int on_open(wsc_session *s, const wsc_response *r, bool restarting, void *user) {
  (void)s, (void)r, (void)restarting, (void)user;
  opens++;
  return 0;
}

static void on_message(wsc_session *s, int type, const uint8_t *data, size_t length, void *user) {
  (void)s, (void)type, (void)data, (void)length, (void)user;
  echoes++;
}

static void on_close(wsc_session *s, const wsc_close *peer, wsc_close *reply, void *user) {
  (void)s, (void)peer, (void)reply, (void)user;
  closes++;
}

static void on_restart_error(wsc_engine *e, const wsc_error *why, uint32_t retry, bool last, void *user) {
  (void)e, (void)why, (void)retry, (void)last, (void)user;
  failures++;
}

static bool before_attempt(wsc_engine *e, wsc_attempt *a, void *user) {
  struct one *one = user;
  (void)e;
  if (wsc_attempt_number(a) == 0) one->attempt_ns = wsc_now_ns();
  return true;
}

static const wsc_callbacks callbacks = {.struct_size = sizeof callbacks,
                                        .on_open = on_open,
                                        .on_message = on_message,
                                        .on_close = on_close,
                                        .on_restart_error = on_restart_error,
                                        .before_attempt = before_attempt};

static void set(wsc_options *o, int id, int64_t value) {
  if (wsc_options_set_int(o, id, value) != WSC_OK) fail("option", NULL);
}

static void make(struct one *all, const struct keeper *k) {
  char url[64];
  wsc_error *e = NULL;
  wsc_options *o = wsc_options_new();
  snprintf(url, sizeof url, "%s://127.0.0.1:%u/", asked.tls ? "wss" : "ws", k->port);
  set(o, WSC_OPT_STABLE_AFTER_MS, 0);
  set(o, WSC_OPT_RECONNECT_BASE_S, asked.longest_delay_s);
  set(o, WSC_OPT_FIRST_DELAY_SPREAD_MS, asked.spread_ms);
  for (int i = 0; i < asked.engines; i++)
    if (wsc_engine_new(url, &callbacks, &all[i], o, &all[i].engine, &e) != WSC_OK) fail("engine", e);
  wsc_options_free(o);
}

static char trusted[] = "/tmp/wsc-soak-XXXXXX";
static void distrust(void) { unlink(trusted); }

/* The server's certificate becomes what this process trusts as the system's: engines that trust the system's share it, and
 * that is what most fleets do. */
static void trust(const struct keeper *k) {
  int fd = mkstemp(trusted);
  size_t n = strlen(k->certificate);
  if (fd < 0 || write(fd, k->certificate, n) != (ssize_t)n || close(fd) != 0) fail(trusted, NULL);
  atexit(distrust);
  setenv("SSL_CERT_FILE", trusted, 1);
}

/* Begins a verb on all engines, some hundreds at a time, and waits for all of them. */
static void all_do(struct one *all, const char *what,
                   int (*begin)(wsc_engine *, const wsc_context *, uint64_t, wsc_op **, wsc_error **)) {
  wsc_op *ops[WINDOW] = {0};
  wsc_error *e = NULL;
  int64_t said = 0;
  for (int i = 0; i < asked.engines + WINDOW; i++) {
    wsc_op **op = &ops[i % WINDOW];
    if (*op && wsc_op_wait(*op, INT64_C(300000000000), &e) != WSC_OK) fail(what, e);
    wsc_op_unref(*op);
    *op = NULL;
    if (i < asked.engines && begin(all[i].engine, NULL, 0, op, &e) != WSC_OK) fail(what, e);
    if (wsc_now_ns() - said < INT64_C(2000000000)) continue;
    said = wsc_now_ns();
    fprintf(stderr, "soak: %s: %d of %d\n", what, i < asked.engines ? i : asked.engines, asked.engines);
  }
}

/* What a connection of OpenSSL costs with nothing around it: the same settings, an upgrade, its answer. */
static double bare_openssl(const struct keeper *k) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(k->port)};
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  SSL *ssl[BARE];
  int fds[BARE];
  char answer[512];
  long before = 0;
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  for (int i = 0; i < BARE; i++) {
    if (i == 1) before = tls_bytes; /* the first one fills tables that all share */
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssl[i] = SSL_new(ctx);
    if (fds[i] < 0 || !ssl[i] || connect(fds[i], (struct sockaddr *)&a, sizeof a) != 0) fail("bare connection", NULL);
    if (SSL_set_fd(ssl[i], fds[i]) != 1 || SSL_connect(ssl[i]) != 1) fail("bare TLS", NULL);
    if (SSL_write(ssl[i], request, sizeof request - 1) <= 0 || SSL_read(ssl[i], answer, sizeof answer) <= 0)
      fail("bare TLS", NULL);
  }
  double each = (double)(tls_bytes - before) / (BARE - 1);
  for (int i = 0; i < BARE; i++) SSL_free(ssl[i]), close(fds[i]);
  SSL_CTX_free(ctx);
  return each;
}

/* ---- what is measured ---- */

static void open_and_measure(struct one *all, struct keeper *k) {
  double bare = asked.tls ? bare_openssl(k) : 0;
  long library = library_bytes, tls = tls_bytes, rss = resident();
  int64_t begun = wsc_now_ns();
  double cpu = cpu_s(), n = asked.engines;
  make(all, k);
  fact("made: memory an engine", (double)(library_bytes + tls_bytes - library - tls) / n, "bytes");
  all_do(all, "started", wsc_engine_start_begin);
  fact("started in", (double)(wsc_now_ns() - begun) / 1e9, "s");
  fact("CPU an engine, made and started", (cpu_s() - cpu) / n * 1e6, "µs");
  for (int i = 0; i < asked.engines; i++)
    if (wsc_engine_write(all[i].engine, NULL, WSC_TEXT, (const uint8_t *)"hello", 5, NULL)) fail("write", NULL);
  await("echoes", &echoes, asked.engines);
  row("threads of the library", "≤ 4", threads() <= ALLOWED_THREADS, threads(), "");
  double ours = (double)(library_bytes - library) / n, theirs = (double)(tls_bytes - tls) / n;
  if (!asked.tls) {
    row("memory of the library an engine", "≤ 8192 bytes", ours <= ALLOWED_BYTES, ours, "bytes");
  } else {
    fact("memory of the library an engine", ours, "bytes");
    fact("OpenSSL an engine", theirs, "bytes");
    fact("OpenSSL a bare connection", bare, "bytes");
    row("library and OpenSSL above a bare connection", "≤ 8192 bytes", ours + theirs - bare <= ALLOWED_BYTES,
        ours + theirs - bare, "bytes");
  }
  fact("resident an engine", (double)(resident() - rss) / n, "bytes");
}

/* Of few engines chance alone makes larger differences: up to five standard deviations they say nothing. */
static bool by_chance(double count, double mean) { return (count - mean) * (count - mean) <= 25 * mean; }

/* Attempts in each tenth of the spread; none before the death, none late. */
static void judge_spread(struct one *all, int64_t died) {
  int tenth[TENTHS] = {0}, most = 0, least = asked.engines, late = 0;
  int64_t spread = asked.spread_ms * INT64_C(1000000);
  for (int i = 0; i < asked.engines; i++) {
    int64_t after = all[i].attempt_ns - died, at = after * TENTHS / spread;
    if (after < 0 || at > TENTHS) late++;
    else tenth[at < TENTHS ? at : TENTHS - 1]++;
  }
  for (int i = 0; i < TENTHS; i++) {
    if (tenth[i] > most) most = tenth[i];
    if (tenth[i] < least) least = tenth[i];
  }
  double mean = asked.engines / (double)TENTHS;
  row("first attempts in the busiest tenth of the spread", "≤ 1.5 means, or chance",
      most <= mean * 1.5 || by_chance(most, mean), most / mean, "means");
  row("first attempts in the quietest tenth of the spread", "≥ 0.5 means, or chance",
      least >= mean * 0.5 || by_chance(least, mean), least / mean, "means");
  row("first attempts outside of the spread", "≤ 1 %", late * 100 <= asked.engines, late, "");
}

static void die_and_return(struct one *all, struct keeper *k) {
  long had = opens;
  int64_t died = wsc_now_ns();
  double cpu = cpu_s();
  keeper_down(k);
  keeper_up(k);
  await("connected again", &opens, had + asked.engines);
  fact("all connected again after a server's restart, after", (double)(wsc_now_ns() - died) / 1e9, "s");
  fact("CPU an engine of that", (cpu_s() - cpu) / asked.engines * 1e6, "µs");
  judge_spread(all, died);
}

static void stay_away(struct keeper *k) {
  long had = opens, failed = failures;
  keeper_down(k);
  await("refused twice", &failures, failed + 2L * asked.engines);
  int64_t begun = wsc_now_ns();
  double cpu = cpu_s();
  failed = failures;
  fprintf(stderr, "soak: waiting for %d s while the server is away\n", asked.idle_s);
  sleep((unsigned)asked.idle_s);
  double took = (double)(wsc_now_ns() - begun) / 1e9, used = (cpu_s() - cpu) / took * 100;
  fact("attempts a second while the server is away", (double)(failures - failed) / took, "");
  /* Delays of some seconds are for quick runs: their attempts are the work, and they are not judged. */
  if (asked.longest_delay_s >= 120) row("CPU while the server is away", "< 1 %", used < 1, used, "%");
  else fact("CPU while the server is away", used, "%");
  row("threads while the server is away", "≤ 4", threads() <= ALLOWED_THREADS, threads(), "");
  begun = wsc_now_ns();
  keeper_up(k);
  await("connected again", &opens, had + asked.engines);
  double back = (double)(wsc_now_ns() - begun) / 1e9;
  row("all connected again when it is back, after", "≤ longest delay + 30 s", back <= asked.longest_delay_s + 30, back,
      "s");
}

static void stop_and_count(struct one *all, int fds, long library) {
  int64_t begun = wsc_now_ns();
  all_do(all, "stopped", wsc_engine_stop_begin);
  fact("stopped in", (double)(wsc_now_ns() - begun) / 1e9, "s");
  for (int i = 0; i < asked.engines; i++) wsc_engine_free(all[i].engine);
  for (int i = 0; i < 10000 && threads() > 0; i++) usleep(2000);
  row("sessions without their on_close", "0", opens == closes, (double)(opens - closes), "");
  row("threads left", "0", threads() == 0, threads(), "");
  row("fds left", "0", entries("/proc/self/fd") == fds, entries("/proc/self/fd") - fds, "");
  row("memory of the library left", "≤ 64 KiB", library_bytes - library <= 65536, (double)(library_bytes - library),
      "bytes");
}

static void read_arguments(int argc, char **argv) {
  static const struct option known[] = {{"engines", 1, 0, 'n'}, {"tls", 0, 0, 't'},  {"longest-delay", 1, 0, 'd'},
                                        {"spread", 1, 0, 's'},  {"idle", 1, 0, 'i'}, {"out", 1, 0, 'o'},
                                        {0}};
  for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) switch (c) {
    case 'n': asked.engines = atoi(optarg); break;
    case 't': asked.tls = true; break;
    case 'd': asked.longest_delay_s = atoi(optarg); break;
    case 's': asked.spread_ms = atoi(optarg); break;
    case 'i': asked.idle_s = atoi(optarg); break;
    case 'o': asked.out = optarg; break;
    default: exit(2);
    }
  if (asked.idle_s < 0) asked.idle_s = asked.longest_delay_s;
  if (asked.engines > 0 && asked.longest_delay_s > 0 && asked.spread_ms > 0 && optind == argc) return;
  fprintf(stderr, "soak: engines, longest delay and spread are numbers above 0\n");
  exit(2);
}

/* Every connection is an fd here and one in the server's process. */
static void enough_fds(void) {
  struct rlimit l;
  getrlimit(RLIMIT_NOFILE, &l);
  l.rlim_cur = l.rlim_max;
  setrlimit(RLIMIT_NOFILE, &l);
  if (l.rlim_cur >= (rlim_t)asked.engines + BARE + 32) return;
  fprintf(stderr, "soak: %d engines need more fds than the %llu this process may have (ulimit -n)\n", asked.engines,
          (unsigned long long)l.rlim_cur);
  exit(2);
}

int main(int argc, char **argv) {
  static wsc_allocator counting = {.struct_size = sizeof counting,
                                   .allocate = library_allocate,
                                   .reallocate = library_reallocate,
                                   .release = library_release,
                                   .self = &library_bytes};
  struct keeper k;
  read_arguments(argc, argv);
  enough_fds();
  if (!CRYPTO_set_mem_functions(tls_allocate, tls_reallocate, tls_release) || wsc_set_allocator(&counting) != WSC_OK)
    fail("allocators", NULL);
  table = asked.out ? fopen(asked.out, "w") : stdout;
  if (!table) fail(asked.out, NULL);
  keeper_start(&k, asked.tls);
  keeper_up(&k);
  if (asked.tls) trust(&k);
  struct one *all = calloc((size_t)asked.engines, sizeof *all);
  if (!all) fail("memory", NULL);
  int fds = entries("/proc/self/fd");
  long library = library_bytes;
  fprintf(table, "| %d engines, %s | measured | must be | is |\n|---|---|---|---|\n", asked.engines,
          asked.tls ? "TLS" : "plain");
  open_and_measure(all, &k);
  die_and_return(all, &k);
  stay_away(&k);
  stop_and_count(all, fds, library);
  keeper_stop(&k);
  free(all);
  if (table != stdout) fclose(table);
  return all_good ? 0 : 1;
}
