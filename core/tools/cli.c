/* The command line. What the option table knows comes from the option table: flag, type, range, default and words;
 * seconds with decimals where the table counts milliseconds. Only the tool's own options are written here. */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manual.h"
#include "text.h"

enum { USAGE = 2, GO_ON = -1 };

enum own {
  OWN_NONE,
  OWN_BINARY,
  OWN_COUNT,
  OWN_EXIT_ON_EOF,
  OWN_COMPLETION,
  OWN_HELP,
  OWN_JSON,
  OWN_MANUAL,
  OWN_PORT,
  OWN_RECORD,
  OWN_REPLAY,
  OWN_SPEED,
  OWN_STATS,
  OWN_TIMEOUT,
  OWN_VERBOSE,
  OWN_VERSION
};
static const struct {
  enum own id;
  const char *flag, *brief, *value, *doc;
} own_options[] = {
    {OWN_BINARY, "--binary", "", "", "send lines as binary messages; print binary messages raw, not as base64 lines"},
    {OWN_EXIT_ON_EOF, "--exit-on-eof", "", "", "end of input: send the last line, close with 1000 and end"},
    {OWN_COUNT, "--count", "", "N", "end after N messages"},
    {OWN_TIMEOUT, "--timeout", "", "S", "end after S seconds"},
    {OWN_JSON, "--json", "", "", "print every event as one JSON object a line"},
    {OWN_STATS, "--stats", "", "", "at the end: messages, bytes, sessions, reconnects and round trip on stderr"},
    {OWN_VERBOSE, "--verbose", "-v", "", "log lines on stderr; twice: more of them; three times: every frame too"},
    {OWN_RECORD, "--record", "", "FILE", "write what is received and sent, with its time, to FILE, for --replay"},
    {OWN_REPLAY, "--replay", "", "FILE",
     "instead of connecting: serve the sessions of FILE on loopback, one after the other, and print the URL"},
    {OWN_SPEED, "--speed", "", "X", "of --replay: X times as fast as it was; 0: without a pause (default 1)"},
    {OWN_PORT, "--port", "", "N", "of --replay: listen on port N (default: any free one)"},
    {OWN_COMPLETION, "--completion", "", "SHELL", "print the completion for bash, zsh or fish"},
    {OWN_MANUAL, "--manual", "", "", "print the manual page (roff: wsc --manual | man -l -)"},
    {OWN_HELP, "--help", "-h", "", "this text"},
    {OWN_VERSION, "--version", "", "", "versions of wsc and of the libraries inside"},
};
enum { OWN_COUNT_OF = sizeof own_options / sizeof own_options[0] };

/* One option on the command line, from whichever table. */
struct option {
  enum own own; /* OWN_NONE: an engine's */
  wsc_option_description engine;
  const char *flag;
  bool takes_value;
};

static bool is_flag(const wsc_option_description *d) { return strncmp(d->flag, "--", 2) == 0; }
static bool in_ms(const wsc_option_description *d) { return strcmp(d->unit, "ms") == 0; }
static bool is_path(int id) {
  return id == WSC_OPT_CA_FILE || id == WSC_OPT_CA_DIR || id == WSC_OPT_CERT_FILE || id == WSC_OPT_KEY_FILE;
}

static bool describe(int index, wsc_option_description *d) {
  *d = (wsc_option_description){.struct_size = sizeof *d};
  return wsc_option_info(index, d) == WSC_OK;
}

static bool find(const char *name, size_t n, struct option *out) {
  for (size_t i = 0; i < OWN_COUNT_OF; i++) {
    bool brief = strlen(own_options[i].brief) == n && memcmp(own_options[i].brief, name, n) == 0;
    if (!brief && (strlen(own_options[i].flag) != n || memcmp(own_options[i].flag, name, n) != 0)) continue;
    *out = (struct option){
        .own = own_options[i].id, .flag = own_options[i].flag, .takes_value = own_options[i].value[0] != '\0'};
    return true;
  }
  *out = (struct option){.own = OWN_NONE};
  for (int i = 0; describe(i, &out->engine); i++) {
    if (!is_flag(&out->engine) || strlen(out->engine.flag) != n || memcmp(out->engine.flag, name, n) != 0) continue;
    out->flag = out->engine.flag;
    out->takes_value = out->engine.type != WSC_OPTION_BOOL;
    return true;
  }
  return false;
}

/* The flag of the option whose name begins text; *n: the name's length. NULL: there is none. */
static const char *flag_of_name(const char *text, size_t *n) {
  wsc_option_description d;
  *n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  for (int i = 0; *n > 0 && describe(i, &d); i++)
    if (is_flag(&d) && strlen(d.name) == *n && memcmp(d.name, text, *n) == 0) return d.flag;
  return NULL;
}

void complain_of(const char *text, const char *tail) {
  struct bytes line = {0};
  while (*text != '\0') {
    size_t n;
    const char *flag = flag_of_name(text, &n);
    if (n == 0) n = 1;
    if (flag != NULL) bytes_print(&line, "%s", flag);
    else bytes_add(&line, text, n);
    text += n;
  }
  bytes_add(&line, "", 1);
  complain("%s%s", (const char *)line.p, tail);
  bytes_free(&line);
}

static const char *placeholder(const wsc_option_description *d) {
  if (d->type == WSC_OPTION_BOOL) return "";
  if (d->type == WSC_OPTION_INT) return in_ms(d) ? "S" : "N";
  return d->id == WSC_OPT_CA_DIR ? "DIR" : is_path(d->id) || d->id == WSC_OPT_TLS_KEYLOG_FILE ? "FILE" : "TEXT";
}

/* "  --flag VALUE           words, broken between two of them where a line would be longer than a terminal" */
static void help_row(const struct cli_row *row) {
  enum { INDENT = 30, WIDTH = 110 };
  char left[64];
  struct bytes words = {0};
  snprintf(left, sizeof left, "%s%s%s%s%s", row->brief, row->brief[0] != '\0' ? ", " : "", row->flag,
           row->value[0] != '\0' ? " " : "", row->value);
  bytes_print(&words, "%s%s%s", row->before, row->doc, row->tail);
  bytes_add(&words, "", 1);
  int column = printf("  %-*s", INDENT - 3, left);
  for (const char *word = (const char *)words.p; *word != '\0';) {
    int n = (int)strcspn(word, " ");
    if (column + 1 + n > WIDTH) column = printf("\n%*s", INDENT - 1, "") - 1;
    column += printf(" %.*s", n, word);
    word += n + (word[n] == ' ');
  }
  printf("\n");
  bytes_free(&words);
}

bool cli_row(int index, struct cli_row *row) {
  if (index < OWN_COUNT_OF) {
    *row = (struct cli_row){
        own_options[index].brief, own_options[index].flag, own_options[index].value, "", own_options[index].doc, ""};
    return true;
  }
  wsc_option_description d;
  for (int i = 0, at = OWN_COUNT_OF; describe(i, &d); i++) {
    if (!is_flag(&d) || at++ != index) continue;
    bool turns_off = d.type == WSC_OPTION_BOOL && d.default_value != 0;
    *row = (struct cli_row){"", d.flag, placeholder(&d), turns_off ? "switch off: " : "", d.doc, ""};
    if (d.type == WSC_OPTION_INT)
      snprintf(row->tail, sizeof row->tail, " (default %.15g)",
               in_ms(&d) ? (double)d.default_value / 1000 : (double)d.default_value);
    if (d.type == WSC_OPTION_LIST) snprintf(row->tail, sizeof row->tail, " (may be repeated)");
    return true;
  }
  return false;
}

int cli_own_rows(void) { return OWN_COUNT_OF; }

const char cli_purpose[] =
    "Holds a WebSocket connection to URL (ws:// or wss://), and makes a new one whenever it is lost, or not there "
    "yet.\n"
    "Received messages go to standard output: text and a newline (newlines inside a text are printed as they are: "
    "--json\n"
    "tells messages apart); binary as a line of base64. Each line of standard input is sent as a text message, an "
    "empty line\n"
    "as an empty one; lines wait while there is no connection, and the end of the input ends nothing.\n";
const char cli_exit_codes[] = "0 done; 1 the connection failed or was lost for good (with --no-reconnect a server's "
                              "close with 1000 or 1001 is 0),\n"
                              "or --timeout came before --count, before the end of input with --exit-on-eof, or before "
                              "any connection; 2 usage; 130 after\n"
                              "Ctrl-C and 143 after SIGTERM, both closing with 1001 (a second one does not wait for "
                              "the server). When nobody reads standard\n"
                              "output any more, wsc ends with 0.\n";

static void help(void) {
  struct cli_row row;
  printf("usage: wsc [option ...] URL\n\n%s\n", cli_purpose);
  for (int i = 0; cli_row(i, &row); i++) {
    if (i == OWN_COUNT_OF) printf("\nThe connection (times are seconds, decimals are welcome):\n");
    help_row(&row);
  }
  printf("\nExit code: %s", cli_exit_codes);
}

static int usage(const char *flag, const char *value, const char *problem) {
  complain("%s%s%s: %s\n\"wsc --help\" lists the options", flag, value != NULL ? " " : "", value != NULL ? value : "",
           problem);
  return USAGE;
}

/* A number that is written out in full; false for anything else ("1s", "", "nan"). */
static bool number(const char *text, double *out) {
  char *end;
  errno = 0;
  *out = strtod(text, &end);
  return end != text && *end == '\0' && errno == 0 && isfinite(*out);
}

static bool whole(const char *text, int64_t *out) {
  char *end;
  errno = 0;
  *out = strtoll(text, &end, 10);
  return end != text && *end == '\0' && errno == 0;
}

/* Milliseconds; only 0 becomes 0, which would mean "off". */
static bool seconds(const char *text, int64_t *ms) {
  double s;
  if (!number(text, &s) || s > 1e12 || s < -1e12) return false;
  *ms = (int64_t)(s * 1000 + (s < 0 ? -0.5 : 0.5));
  if (*ms == 0) *ms = (s > 0) - (s < 0);
  return true;
}

static int set_number(struct settings *s, const struct option *o, const char *value) {
  const wsc_option_description *d = &o->engine;
  int64_t n;
  char range[128];
  bool ok = in_ms(d) ? seconds(value, &n) : whole(value, &n);
  if (ok && n >= d->min && n <= d->max) return wsc_options_set_int(s->options, d->id, n) == WSC_OK ? GO_ON : USAGE;
  if (in_ms(d))
    snprintf(range, sizeof range, "must be a time of %.15g to %.15g seconds", (double)d->min / 1000,
             (double)d->max / 1000);
  else snprintf(range, sizeof range, "must be a whole number from %lld to %lld", (long long)d->min, (long long)d->max);
  return usage(o->flag, value, range);
}

static int set_engine_option(struct settings *s, const struct option *o, const char *value) {
  const wsc_option_description *d = &o->engine;
  if (d->type == WSC_OPTION_INT) return set_number(s, o, value);
  if (is_path(d->id) && access(value, R_OK) != 0)
    return usage(o->flag, value, strerror(errno)); /* now, not at each attempt */
  int status = d->type == WSC_OPTION_BOOL ? wsc_options_set_int(s->options, d->id, d->default_value == 0)
                                          : wsc_options_set_str(s->options, d->id, value);
  return status == WSC_OK ? GO_ON : usage(o->flag, NULL, wsc_status_text(status));
}

static int set_own_option(struct settings *s, const struct option *o, const char *value) {
  int64_t n;
  switch (o->own) {
  case OWN_BINARY: s->binary = true; break;
  case OWN_EXIT_ON_EOF: s->exit_on_eof = true; break;
  case OWN_JSON: s->json = true; break;
  case OWN_STATS: s->stats = true; break;
  case OWN_VERBOSE:
    if (wsc_options_get_int(s->options, WSC_OPT_LOG_LEVEL, &n) != WSC_OK || n < WSC_LOG_INFO) n = WSC_LOG_INFO - 1;
    if (n < WSC_LOG_TRACE) n++;
    wsc_options_set_int(s->options, WSC_OPT_LOG_LEVEL, n);
    break;
  case OWN_COUNT:
    if (!whole(value, &n) || n < 1) return usage(o->flag, value, "must be a whole number from 1 on");
    s->count = (uint64_t)n;
    break;
  case OWN_TIMEOUT:
    if (!seconds(value, &n) || n < 1 || n > INT64_C(4000000000000))
      return usage(o->flag, value, "must be a time above 0 seconds");
    s->timeout_ms = n;
    break;
  case OWN_RECORD: s->record = value; break;
  case OWN_REPLAY: s->replay = value; break;
  case OWN_SPEED:
    if (!number(value, &s->speed) || s->speed < 0) return usage(o->flag, value, "must be a number from 0 on");
    break;
  case OWN_PORT:
    if (!whole(value, &n) || n < 1 || n > 65535) return usage(o->flag, value, "must be a port, 1 to 65535");
    s->port = (int)n;
    break;
  case OWN_HELP: help(); return 0;
  case OWN_MANUAL: manual_page(); return 0;
  case OWN_COMPLETION: return manual_completion(value) ? 0 : usage(o->flag, value, "must be bash, zsh or fish");
  case OWN_VERSION: printf("wsc %s (%s)\n", wsc_version(), wsc_version_libraries()); return 0;
  case OWN_NONE: break;
  }
  return GO_ON;
}

/* The option at argv[*at], which may take the word behind it along. */
static int parse_option(int argc, char **argv, int *at, struct settings *s) {
  const char *word = argv[*at], *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
  size_t n = equals != NULL ? (size_t)(equals - word) : strlen(word);
  struct option o;
  if (!find(word, n, &o)) return usage(word, NULL, "no such option");
  const char *value = equals != NULL ? equals + 1 : NULL;
  if (!o.takes_value && value != NULL) return usage(o.flag, NULL, "takes no value");
  if (o.takes_value && value == NULL) {
    if (*at + 1 >= argc) return usage(o.flag, NULL, "needs a value");
    value = argv[++*at];
  }
  return o.own != OWN_NONE ? set_own_option(s, &o, value) : set_engine_option(s, &o, value);
}

/* "-vv" is "-v -v". */
static int parse_letters(const char *word, struct settings *s) {
  for (const char *letter = word + 1; *letter != '\0'; letter++) {
    char one[] = {'-', *letter, '\0'};
    struct option o;
    if (!find(one, 2, &o)) return usage(word, NULL, "no such option");
    int result = set_own_option(s, &o, NULL);
    if (result != GO_ON) return result;
  }
  return GO_ON;
}

static int parse_words(int argc, char **argv, struct settings *s) {
  bool options_over = false;
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    int result = GO_ON;
    if (!options_over && strcmp(word, "--") == 0) options_over = true;
    else if (!options_over && strncmp(word, "--", 2) == 0) result = parse_option(argc, argv, &i, s);
    else if (!options_over && word[0] == '-' && word[1] != '\0') result = parse_letters(word, s);
    else if (s->url == NULL) s->url = word;
    else return usage(word, NULL, "one URL is enough");
    if (result != GO_ON) return result;
  }
  if (s->url == NULL && s->replay == NULL) return usage("URL", NULL, "is missing");
  if (s->url != NULL && s->replay != NULL) return usage(s->url, NULL, "--replay serves, and connects to no URL");
  return GO_ON;
}

int cli_parse(int argc, char **argv, struct settings *s) {
  *s = (struct settings){.options = wsc_options_new(), .speed = 1};
  if (s->options == NULL) {
    complain("out of memory");
    return 1;
  }
  int result = parse_words(argc, argv, s);
  if (result != GO_ON) return result;

  /* What the engine would do by itself, wsc does only when asked: not give up because the server is not there yet. */
  int64_t reconnects = 0;
  wsc_options_get_int(s->options, WSC_OPT_AUTO_RECONNECT, &reconnects);
  wsc_options_set_int(s->options, WSC_OPT_RETRY_FIRST_START, reconnects);
  wsc_options_set_int(s->options, WSC_OPT_ON_OPEN_TIMEOUT_MS, 0); /* --connect-timeout is the limit of an attempt */

  /* Standard input is the queue; what is accepted of it should be on its way, above all when the input ends. */
  wsc_options_set_int(s->options, WSC_OPT_SEND_QUEUE_BYTES, 65536);

  wsc_error *all = NULL;
  if (wsc_options_validate(s->options, &all) != WSC_OK) {
    complain_of(wsc_error_message(all), "");
    result = USAGE;
  }
  wsc_error_unref(all);
  return result;
}

void settings_free(struct settings *s) {
  wsc_options_free(s->options);
  s->options = NULL;
}
