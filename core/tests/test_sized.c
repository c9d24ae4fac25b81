/* Structs that grow: older and newer callers than the library. */
#include "check.h"
#include "sized.h"

struct first {
  uint32_t struct_size, a;
};
struct grown {
  uint32_t struct_size, a;
  uint64_t b;
};

static void an_older_caller_lacks_the_rest(void) {
  struct first theirs = {.struct_size = sizeof theirs, .a = 7};
  struct grown ours;
  memset(&ours, 0xff, sizeof ours);
  sized_read(&ours, sizeof ours, &theirs);
  CHECK(ours.struct_size == sizeof ours && ours.a == 7 && ours.b == 0);
}

static void an_older_caller_is_not_written_past(void) {
  struct {
    struct first s;
    uint64_t guard;
  } theirs = {.s.struct_size = sizeof theirs.s, .guard = 42};
  struct grown ours = {.struct_size = sizeof ours, .a = 9, .b = 1};
  sized_write(&theirs.s, &ours, sizeof ours);
  CHECK(theirs.s.struct_size == sizeof theirs.s && theirs.s.a == 9 && theirs.guard == 42);
}

static void a_newer_caller_keeps_what_is_unknown(void) {
  struct grown theirs = {.struct_size = sizeof theirs, .a = 1, .b = 2};
  struct first ours = {.struct_size = sizeof ours, .a = 3};
  sized_write(&theirs, &ours, sizeof ours);
  CHECK(theirs.struct_size == sizeof theirs && theirs.a == 3 && theirs.b == 2);
  sized_read(&ours, sizeof ours, &theirs);
  CHECK(ours.struct_size == sizeof ours && ours.a == 3);
}

/* What each public call does with a struct of the first version, of a newer one, and of one that was never published. */
static void public_structs_of_every_size(void) {
  wsc_engine *e = NULL;
  wsc_callbacks cb = {.struct_size = FIRST_CALLBACKS};
  CHECK(wsc_engine_new("ws://127.0.0.1/", &cb, NULL, NULL, &e, NULL) == WSC_OK);
  struct {
    wsc_stats known;
    uint64_t newer;
  } stats;
  const uint32_t sizes[] = {FIRST_STATS, sizeof(wsc_stats), sizeof stats};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    memset(&stats, 0x55, sizeof stats);
    stats.known.struct_size = sizes[i];
    CHECK(wsc_engine_stats(e, &stats.known) == WSC_OK);
    CHECK(stats.known.struct_size == sizes[i] && stats.known.last_byte_age_ns == -1);
    CHECK(stats.newer == UINT64_C(0x5555555555555555));
  }
  stats.known.struct_size = FIRST_STATS - 1;
  CHECK(wsc_engine_stats(e, &stats.known) == WSC_ERR_INVALID);
  wsc_engine_free(e);
  cb.struct_size = FIRST_CALLBACKS - 1;
  CHECK(wsc_engine_new("ws://127.0.0.1/", &cb, NULL, NULL, &e, NULL) == WSC_ERR_INVALID);
}

/* An event shorter than the library's goes round the loop, and nothing behind it is touched. */
static void a_short_event_goes_round(void) {
  wsc_loop *l = NULL;
  wsc_connection *k = NULL;
  CHECK(wsc_loop_new(NULL, &l, NULL) == WSC_OK);
  CHECK(wsc_connection_new(l, "ws://127.0.0.1:1/", NULL, &k, NULL) == WSC_OK);
  CHECK(wsc_connection_dial_begin(k, NULL, 77, NULL, NULL) == WSC_OK);
  struct {
    wsc_event event;
    uint64_t guard;
  } e = {.event.struct_size = FIRST_EVENT};
  memset((char *)&e + FIRST_EVENT, 0x55, sizeof e - FIRST_EVENT);
  CHECK(wsc_loop_next(l, INT64_C(10000000000), &e.event) == WSC_OK);
  CHECK(e.event.struct_size == FIRST_EVENT && e.event.type == WSC_EVENT_OP_DONE && e.event.token == 77);
  const unsigned char *behind = (const unsigned char *)&e + FIRST_EVENT;
  for (size_t i = 0; i < sizeof e - FIRST_EVENT; i++) CHECK(behind[i] == 0x55);
  CHECK(wsc_event_done(&e.event, NULL) == WSC_OK);
  wsc_connection_unref(k);
  wsc_loop_free(l);
}

int main(void) {
  an_older_caller_lacks_the_rest();
  an_older_caller_is_not_written_past();
  a_newer_caller_keeps_what_is_unknown();
  public_structs_of_every_size();
  a_short_event_goes_round();
  return 0;
}
