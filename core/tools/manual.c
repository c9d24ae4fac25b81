#include "manual.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

/* ---- roff ---- */

/* Text for roff: a minus stays one, and no line begins a command. */
static void roff(const char *text) {
  bool start = true;
  for (; *text != '\0'; text++) {
    if (start && (*text == '.' || *text == '\'')) printf("\\&");
    if (*text == '-') printf("\\-");
    else if (*text == '\\') printf("\\e");
    else putchar(*text);
    start = *text == '\n';
  }
}

void manual_page(void) {
  struct cli_row row;
  printf(".TH WSC 1 \"\" \"wscengine %s\" \"User Commands\"\n.SH NAME\nwsc \\- WebSocket client that reconnects\n"
         ".SH SYNOPSIS\n.B wsc\n[\\fIoption\\fR ...] \\fIURL\\fR\n.SH DESCRIPTION\n",
         wsc_version());
  roff(cli_purpose);
  for (int i = 0; cli_row(i, &row); i++) {
    if (i == 0) printf(".SH OPTIONS\n");
    if (i == cli_own_rows()) printf(".SH THE CONNECTION\nTimes are seconds, decimals are welcome.\n");
    printf(".TP\n\\fB");
    if (row.brief[0] != '\0') {
      roff(row.brief);
      printf("\\fR, \\fB");
    }
    roff(row.flag);
    printf("\\fR%s%s%s\n", row.value[0] != '\0' ? " \\fI" : "", row.value, row.value[0] != '\0' ? "\\fR" : "");
    roff(row.before);
    roff(row.doc);
    roff(row.tail);
    printf("\n");
  }
  printf(".SH EXIT STATUS\n");
  roff(cli_exit_codes);
  printf(".SH ENVIRONMENT\n.TP\n.B ws_proxy, wss_proxy, http_proxy, https_proxy, all_proxy, no_proxy\n"
         "The proxy, by curl's rules, unless \\fB\\-\\-proxy\\fR names one. This machine itself is always reached "
         "directly.\n"
         ".TP\n.B SSL_CERT_FILE, SSL_CERT_DIR\nThe certificates that are trusted instead of the system's.\n");
}

/* ---- shells ---- */

static bool takes_file(const struct cli_row *row) {
  return strcmp(row->value, "FILE") == 0 || strcmp(row->value, "DIR") == 0;
}

static void bash(void) {
  struct cli_row row;
  printf(
      "# Completion of wsc for bash.\n_wsc() {\n  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD "
      "- 1]}\n"
      "  case $before in\n    --completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\")); return ;;\n    ");
  const char *bar = "";
  for (int i = 0; cli_row(i, &row); i++) {
    if (!takes_file(&row)) continue;
    printf("%s%s", bar, row.flag);
    bar = " | ";
  }
  printf(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n    ");
  bar = "";
  for (int i = 0; cli_row(i, &row); i++) {
    if (row.value[0] == '\0' || takes_file(&row) || strcmp(row.flag, "--completion") == 0) continue;
    printf("%s%s", bar, row.flag);
    bar = " | ";
  }
  printf(") return ;;\n  esac\n  COMPREPLY=($(compgen -W '");
  for (int i = 0; cli_row(i, &row); i++) printf("%s%s%s%s", row.brief, row.brief[0] != '\0' ? " " : "", row.flag, " ");
  printf("' -- \"$word\"))\n}\ncomplete -F _wsc wsc\n");
}

/* A doc for a shell word in single quotes, with what zsh and fish would read as their own left out. */
static void quoted(const struct cli_row *row) {
  const char *const parts[] = {row->before, row->doc};
  for (int i = 0; i < 2; i++)
    for (const char *c = parts[i]; *c != '\0'; c++)
      if (strchr("'[]:\\`\"", *c) == NULL) putchar(*c);
}

static void zsh(void) {
  struct cli_row row;
  printf("#compdef wsc\n# Completion of wsc for zsh.\n_arguments -s \\\n");
  for (int i = 0; cli_row(i, &row); i++) {
    printf("  '%s%s%s[", strstr(row.tail, "repeated") != NULL ? "*" : "", row.flag, row.value[0] != '\0' ? "=" : "");
    quoted(&row);
    printf("]");
    if (row.value[0] != '\0')
      printf(":%s:%s", row.value,
             takes_file(&row)                        ? "_files"
             : strcmp(row.flag, "--completion") == 0 ? "(bash zsh fish)"
                                                     : " ");
    printf("' \\\n");
    if (row.brief[0] != '\0') printf("  '*%s' \\\n", row.brief);
  }
  printf("  ':URL (ws\\:// or wss\\://): '\n");
}

static void fish(void) {
  struct cli_row row;
  printf("# Completion of wsc for fish.\ncomplete -c wsc -f\n");
  for (int i = 0; cli_row(i, &row); i++) {
    printf("complete -c wsc -l %s", row.flag + 2);
    if (row.brief[0] != '\0') printf(" -s %s", row.brief + 1);
    if (strcmp(row.flag, "--completion") == 0) printf(" -x -a 'bash zsh fish'");
    else if (row.value[0] != '\0') printf(takes_file(&row) ? " -r -F" : " -x");
    printf(" -d '");
    quoted(&row);
    printf("'\n");
  }
}

bool manual_completion(const char *shell) {
  static const struct {
    const char *name;
    void (*print)(void);
  } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
  for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
    if (strcmp(shells[i].name, shell) != 0) continue;
    shells[i].print();
    return true;
  }
  return false;
}
