/* The command line of wsc. */
#ifndef WSC_TOOL_CLI_H
#define WSC_TOOL_CLI_H

#include <wscengine.h>

struct settings {
  const char *url;
  wsc_options *options;
  bool binary, exit_on_eof, json, stats;
  uint64_t count;              /* 0: no end */
  int64_t timeout_ms;          /* 0: no end */
  const char *record, *replay; /* files; NULL: neither */
  double speed;                /* of the replay */
  int port;
};

/* -1: go on. Otherwise the exit code: help or version was printed (0), or a complaint (2). settings_free in either
 * case. */
int cli_parse(int argc, char **argv, struct settings *s);
void settings_free(struct settings *s);

/* One option as people are told of it: "-v", "--verbose", "N" (what it takes, "" for nothing), and before, doc and tail: what
 * it does. Those of wsc alone come first. false: past the last. */
struct cli_row {
  const char *brief, *flag, *value, *before, *doc;
  char tail[64];
};
bool cli_row(int index, struct cli_row *row);
int cli_own_rows(void);
extern const char cli_purpose[], cli_exit_codes[];

/* complain() with a text of the library's and what follows it: options are called by their flags ("--ca", not
 * "CA_FILE"), since nobody at a shell knows them by another name. */
void complain_of(const char *text, const char *tail);

#endif
