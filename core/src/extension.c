/* The offer and the answer of permessage-deflate. An answer is judged strictly: two ends that understand it
 * differently would fail later, in the middle of the data, without a word why. */
#include "extension.h"

#include "ascii.h"
#include "wscengine/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BITS_MAX = 15 };

int extension_offer(struct buffer *out, const wsc_options *o) {
  int client = (int)options_int(o, WSC_OPT_CLIENT_MAX_WINDOW_BITS),
      server = (int)options_int(o, WSC_OPT_SERVER_MAX_WINDOW_BITS);
  /* Without a value it says that the server may name any (section 7.1.2.2). */
  int status = buffer_printf(out, "permessage-deflate; client_max_window_bits");
  if (status == WSC_OK && client < BITS_MAX) status = buffer_printf(out, "=%d", client);
  if (status == WSC_OK && server < BITS_MAX) status = buffer_printf(out, "; server_max_window_bits=%d", server);
  if (status == WSC_OK && options_int(o, WSC_OPT_CLIENT_NO_CONTEXT_TAKEOVER))
    status = buffer_printf(out, "; client_no_context_takeover");
  if (status == WSC_OK && options_int(o, WSC_OPT_SERVER_NO_CONTEXT_TAKEOVER))
    status = buffer_printf(out, "; server_no_context_takeover");
  return status;
}

/* The answer's words. */

struct text {
  const char *p;
  size_t n;
};

static bool is(struct text t, const char *word) { return t.n == strlen(word) && ascii_equal_n(t.p, word, t.n); }

static void skip_blanks(const char **at) {
  while (**at == ' ' || **at == '\t') (*at)++;
}

/* A token; empty: there is none. */
static struct text token(const char **at) {
  skip_blanks(at);
  struct text t = {*at, 0};
  while (ascii_token(**at)) (*at)++;
  t.n = (size_t)(*at - t.p);
  skip_blanks(at);
  return t;
}

/* What stands behind '=': a token, or the same in quotes. */
static struct text value_of(const char **at) {
  skip_blanks(at);
  bool quoted = **at == '"';
  if (quoted) (*at)++;
  struct text t = {*at, 0};
  while (ascii_token(**at)) (*at)++;
  t.n = (size_t)(*at - t.p);
  if (quoted && **at != '"') t.n = 0; /* no parameter of ours has a value that is no token */
  else if (quoted) (*at)++;
  skip_blanks(at);
  return t;
}

/* 8 to 15, without a leading zero; 0: something else. */
static int window_bits(struct text t) {
  int bits = 0;
  if (t.n == 1) bits = t.p[0] - '0';
  else if (t.n == 2 && t.p[0] == '1' && ascii_digit(t.p[1])) bits = 10 + t.p[1] - '0';
  return bits >= 8 && bits <= BITS_MAX ? bits : 0;
}

/* The parameters of one answer; 0: not given. */
enum { CLIENT_FORGETS, SERVER_FORGETS, CLIENT_BITS, SERVER_BITS, PARAMETERS };
static const char *const names[PARAMETERS] = {"client_no_context_takeover", "server_no_context_takeover",
                                              "client_max_window_bits", "server_max_window_bits"};

__attribute__((format(printf, 2, 3))) static bool refuse(char why[static EXTENSION_WHY], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, EXTENSION_WHY, format, arguments);
  va_end(arguments);
  return false;
}

static bool parameter(int given[static PARAMETERS], struct text name, bool has_value, struct text value,
                      char why[static EXTENSION_WHY]) {
  int i = 0;
  while (i < PARAMETERS && !is(name, names[i])) i++;
  if (i == PARAMETERS) return refuse(why, "permessage-deflate has no parameter %.*s", (int)name.n, name.p);
  if (given[i] != 0) return refuse(why, "%s is given twice", names[i]);
  if (i < CLIENT_BITS && has_value) return refuse(why, "%s takes no value", names[i]);
  given[i] = i < CLIENT_BITS ? 1 : window_bits(value);
  return given[i] != 0 || refuse(why, "%s must be 8 to 15", names[i]);
}

static bool parameters(int given[static PARAMETERS], const char **at, char why[static EXTENSION_WHY]) {
  while (**at == ';') {
    (*at)++;
    struct text name = token(at), value = {"", 0};
    bool has_value = **at == '=';
    if (has_value) {
      (*at)++;
      value = value_of(at);
    }
    if (name.n == 0 || (has_value && value.n == 0)) return refuse(why, "it is malformed");
    if (!parameter(given, name, has_value, value, why)) return false;
  }
  return true;
}

/* Whether the offer allows it. */
static bool agree(struct deflate_terms *t, const int given[static PARAMETERS], const wsc_options *o,
                  char why[static EXTENSION_WHY]) {
  const int most[PARAMETERS] = {[CLIENT_BITS] = (int)options_int(o, WSC_OPT_CLIENT_MAX_WINDOW_BITS),
                                [SERVER_BITS] = (int)options_int(o, WSC_OPT_SERVER_MAX_WINDOW_BITS)};
  const bool asked[PARAMETERS] = {[SERVER_FORGETS] = options_int(o, WSC_OPT_SERVER_NO_CONTEXT_TAKEOVER) != 0,
                                  [SERVER_BITS] = most[SERVER_BITS] < BITS_MAX};
  for (int i = 0; i < PARAMETERS; i++) {
    if (i >= CLIENT_BITS && given[i] > most[i])
      return refuse(why, "%s is %d, not %d at most", names[i], given[i], most[i]);
    if (asked[i] && given[i] == 0) return refuse(why, "%s was asked for and is not granted", names[i]);
  }
  *t = (struct deflate_terms){
      .on = true,
      .client_forgets = given[CLIENT_FORGETS] != 0 || options_int(o, WSC_OPT_CLIENT_NO_CONTEXT_TAKEOVER) != 0,
      .server_forgets = given[SERVER_FORGETS] != 0,
      .client_bits = given[CLIENT_BITS] != 0 ? given[CLIENT_BITS] : most[CLIENT_BITS],
      .server_bits = given[SERVER_BITS] != 0 ? given[SERVER_BITS] : BITS_MAX,
  };
  return true;
}

bool extension_accept(struct deflate_terms *t, const wsc_options *o, const char *value,
                      char why[static EXTENSION_WHY]) {
  for (const char *at = value;;) {
    struct text name = token(&at);
    if (name.n > 0) { /* empty elements of a list mean nothing (RFC 9110 section 5.6.1) */
      int given[PARAMETERS] = {0};
      if (!options_int(o, WSC_OPT_COMPRESSION)) return refuse(why, "none was offered");
      if (!is(name, "permessage-deflate")) return refuse(why, "only permessage-deflate was offered");
      if (t->on) return refuse(why, "permessage-deflate is chosen twice");
      if (!parameters(given, &at, why) || !agree(t, given, o, why)) return false;
    }
    if (*at == 0) return true;
    if (*at != ',') return refuse(why, "it is malformed");
    at++;
  }
}
