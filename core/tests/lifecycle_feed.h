/* Feeds one input after the other to one lifecycle on a clock that the test sets, and compares all effects of each,
 * in order. For the scenario tests. */
#ifndef WSC_LIFECYCLE_FEED_H
#define WSC_LIFECYCLE_FEED_H

#include "check.h"
#include "lifecycle.h"
#include "lifecycle_text.h"
#include "wscengine/engine.h"
#include "wscengine/options.h"
#include "wscengine/status.h"

/* on_open_timeout 300 s, stable after 10 s, grace 10 s; delays 1, 2, 4, 4 ... s, no jitter. */
static const struct lifecycle_config usual = {.auto_reconnect = true,
                                              .base_s = 2,
                                              .max_exponent = 2,
                                              .on_open_timeout_ms = 300000,
                                              .stable_after_ms = 10000,
                                              .retry_after_max_ms = 300000,
                                              .callback_grace_ms = 10000};

static struct lifecycle l;
static int64_t now;
static uint32_t chance;

static const char *feed(struct lifecycle_input in) {
  static struct text text;
  struct lifecycle_effects effects;
  in.now_ms = now;
  in.chance = chance;
  if (in.epoch == 0) in.epoch = l.epoch;
  lifecycle_step(&l, &in, &effects);
  text.used = 0;
  text.chars[0] = 0;
  text_effects(&text, &effects);
  return text.chars;
}

#define IN(...) feed((struct lifecycle_input){.kind = __VA_ARGS__})
#define GIVES(input, effects) CHECK_STR(IN input, effects)

static void begin(const struct lifecycle_config *config) {
  lifecycle_init(&l, config);
  now = 0;
  chance = 0;
}

/* To OPEN, at time 0; the session has epoch 1. */
static void begin_open(const struct lifecycle_config *config) {
  begin(config);
  IN(IN_START);
  if (config->ask_before_attempt) IN(IN_ANSWERED, .ok = true, .retry_delay_ms = -1);
  IN(IN_DIALED);
  IN(IN_OPENED, .ok = true);
  CHECK_EQ(l.phase, PHASE_OPEN);
}

/* From OPEN or DRAINING through a loss to what follows it. */
static const char *lose_session(void) {
  IN(IN_LOST);
  IN(IN_TAKEN);
  IN(IN_READERS_OUT);
  return IN(IN_CLOSE_ANSWERED);
}

#endif
