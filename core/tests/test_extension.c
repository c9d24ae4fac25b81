/* What is offered, and which answers are taken. */
#include "extension.h"

#include "check.h"
#include "wscengine.h"

struct with {
  int id;
  int64_t value;
};

static wsc_options *options_with(const struct with *w, size_t n) {
  wsc_options *o = wsc_options_new();
  CHECK(o != NULL);
  CHECK_EQ(wsc_options_set_int(o, WSC_OPT_COMPRESSION, 1), WSC_OK);
  for (size_t i = 0; i < n && w[i].id != 0; i++) CHECK_EQ(wsc_options_set_int(o, w[i].id, w[i].value), WSC_OK);
  return o;
}

static void the_offer_says_what_the_options_ask(void) {
  static const struct {
    struct with with[3];
    const char *offer;
  } cases[] = {
      {{{0}}, "permessage-deflate; client_max_window_bits"},
      {{{WSC_OPT_CLIENT_MAX_WINDOW_BITS, 10}}, "permessage-deflate; client_max_window_bits=10"},
      {{{WSC_OPT_SERVER_MAX_WINDOW_BITS, 9}}, "permessage-deflate; client_max_window_bits; server_max_window_bits=9"},
      {{{WSC_OPT_CLIENT_NO_CONTEXT_TAKEOVER, 1}, {WSC_OPT_SERVER_NO_CONTEXT_TAKEOVER, 1}},
       "permessage-deflate; client_max_window_bits; client_no_context_takeover; server_no_context_takeover"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    wsc_options *o = options_with(cases[i].with, 3);
    struct buffer out = {0};
    CHECK_EQ(extension_offer(&out, o), WSC_OK);
    CHECK_EQ(buffer_append(&out, "", 1), WSC_OK);
    CHECK_STR((const char *)out.data, cases[i].offer);
    buffer_free(&out);
    wsc_options_free(o);
  }
}

static void answers_that_keep_to_the_offer_are_taken(void) {
  static const struct {
    const char *answer;
    struct with with[3];
    struct deflate_terms terms;
  } cases[] = {
      {"", {{0}}, {0}},
      {" , ,", {{0}}, {0}},
      {"permessage-deflate", {{0}}, {true, false, false, 15, 15}},
      {"PerMessage-Deflate ;  Client_No_Context_Takeover", {{0}}, {true, true, false, 15, 15}},
      {"permessage-deflate;server_no_context_takeover;server_max_window_bits=8", {{0}}, {true, false, true, 15, 8}},
      {"permessage-deflate; client_max_window_bits=\"9\"", {{0}}, {true, false, false, 9, 15}},
      {",permessage-deflate; client_max_window_bits=8 ,", {{0}}, {true, false, false, 8, 15}},
      {"permessage-deflate", {{WSC_OPT_CLIENT_MAX_WINDOW_BITS, 11}}, {true, false, false, 11, 15}},
      {"permessage-deflate", {{WSC_OPT_CLIENT_NO_CONTEXT_TAKEOVER, 1}}, {true, true, false, 15, 15}},
      {"permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
       {{WSC_OPT_SERVER_MAX_WINDOW_BITS, 12}, {WSC_OPT_SERVER_NO_CONTEXT_TAKEOVER, 1}},
       {true, false, true, 15, 10}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    wsc_options *o = options_with(cases[i].with, 3);
    struct deflate_terms t = {0};
    const struct deflate_terms *want = &cases[i].terms;
    char why[EXTENSION_WHY] = "";
    extension_accept(&t, o, cases[i].answer, why);
    CHECK_STR(why, "");
    CHECK_EQ(t.on, want->on);
    CHECK_EQ(t.client_forgets, want->client_forgets);
    CHECK_EQ(t.server_forgets, want->server_forgets);
    CHECK_EQ(t.client_bits, want->client_bits);
    CHECK_EQ(t.server_bits, want->server_bits);
    wsc_options_free(o);
  }
}

static void other_answers_are_refused_with_the_reason(void) {
  static const struct {
    const char *answer, *why;
    struct with with[3];
  } cases[] = {
      {"permessage-bzip2", "only permessage-deflate was offered", {{0}}},
      {"permessage-deflate, x-other", "only permessage-deflate was offered", {{0}}},
      {"permessage-deflate, permessage-deflate", "chosen twice", {{0}}},
      {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "given twice", {{0}}},
      {"permessage-deflate; client_max_window_bits=9; client_max_window_bits=9", "given twice", {{0}}},
      {"permessage-deflate; client_no_context_takeover=1", "takes no value", {{0}}},
      {"permessage-deflate; client_max_window_bits", "client_max_window_bits must be 8 to 15", {{0}}},
      {"permessage-deflate; server_max_window_bits", "server_max_window_bits must be 8 to 15", {{0}}},
      {"permessage-deflate; server_max_window_bits=7", "must be 8 to 15", {{0}}},
      {"permessage-deflate; server_max_window_bits=16", "must be 8 to 15", {{0}}},
      {"permessage-deflate; server_max_window_bits=08", "must be 8 to 15", {{0}}},
      {"permessage-deflate; server_max_window_bits=1x", "must be 8 to 15", {{0}}},
      {"permessage-deflate; server_max_window_bits=", "malformed", {{0}}},
      {"permessage-deflate; server_max_window_bits=\"10", "malformed", {{0}}},
      {"permessage-deflate; mystery=1", "has no parameter mystery", {{0}}},
      {"permessage-deflate;", "malformed", {{0}}},
      {"permessage-deflate x", "malformed", {{0}}},
      {"=", "malformed", {{0}}},
      {"permessage-deflate; client_max_window_bits=12",
       "client_max_window_bits is 12, not 11 at most",
       {{WSC_OPT_CLIENT_MAX_WINDOW_BITS, 11}}},
      {"permessage-deflate; server_max_window_bits=12",
       "server_max_window_bits is 12, not 11 at most",
       {{WSC_OPT_SERVER_MAX_WINDOW_BITS, 11}}},
      {"permessage-deflate",
       "server_max_window_bits was asked for and is not granted",
       {{WSC_OPT_SERVER_MAX_WINDOW_BITS, 11}}},
      {"permessage-deflate",
       "server_no_context_takeover was asked for and is not granted",
       {{WSC_OPT_SERVER_NO_CONTEXT_TAKEOVER, 1}}},
      {"permessage-deflate", "none was offered", {{WSC_OPT_COMPRESSION, 0}}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    wsc_options *o = options_with(cases[i].with, 3);
    struct deflate_terms t = {0};
    char why[EXTENSION_WHY] = "";
    CHECK(!extension_accept(&t, o, cases[i].answer, why));
    CHECK_HAS(why, cases[i].why);
    wsc_options_free(o);
  }
}

/* Every cut of a legal answer: no read behind its end (the sanitizers see it), and a reason for every refusal. */
static void no_cut_of_an_answer_is_read_behind_its_end(void) {
  static const char whole[] = "permessage-deflate; client_max_window_bits=\"10\"; server_no_context_takeover , ,";
  wsc_options *o = options_with(NULL, 0);
  for (size_t n = 0; n < sizeof whole; n++) {
    char *cut = strndup(whole, n), why[EXTENSION_WHY] = "";
    CHECK(cut != NULL);
    struct deflate_terms t = {0};
    CHECK_EQ(extension_accept(&t, o, cut, why), *why == 0);
    free(cut);
  }
  wsc_options_free(o);
}

int main(void) {
  the_offer_says_what_the_options_ask();
  answers_that_keep_to_the_offer_are_taken();
  other_answers_are_refused_with_the_reason();
  no_cut_of_an_answer_is_read_behind_its_end();
  return 0;
}
