/* Explores the lifecycle: every order of answers, losses, requests and timers that the world (lifecycle_world.h)
 * allows, breadth first, each state once, for a list of configurations; then a million random steps.
 *
 * After each step the world judges what the machine did. At each new state, besides:
 *   - inputs that have no meaning there, and inputs of other epochs, change nothing and have no effect;
 *   - nothing is stuck: from here, when stop or exit is asked and everything that is out is answered, kindly or
 *     unkindly, the run ends; when nothing is asked and everything succeeds, a session opens or the run ends.
 * Usage: test_lifecycle_explore [seed [depth]]. A failure prints the whole way to it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle_text.h"
#include "lifecycle_world.h"

enum { RANDOM_STEPS = 1000000, STATES_MAX = 1 << 19, SLOTS = 1 << 20, SETTLE_MAX = 300 };

/* Delays are 1000, 2000, 2000 ... ms and down to half of it; everything else is short, so that the clock's states are
 * few. */
static const struct lifecycle_config usual = {.auto_reconnect = true,
                                              .base_s = 2,
                                              .max_exponent = 1,
                                              .on_open_timeout_ms = 50,
                                              .stable_after_ms = 20,
                                              .jitter_percent = 50,
                                              .retry_after_max_ms = 1800,
                                              .callback_grace_ms = 7};

/* Keys: what the machine and the world hold, points in time relative to now. */

struct key {
  uint64_t hash;
};

static void mix(struct key *k, uint64_t value) {
  k->hash = (k->hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
  k->hash ^= k->hash >> 29;
}

static void mix_time(struct key *k, const struct world *w, bool matters, int64_t at) {
  mix(k, !matters || at < 0 ? 0 : at <= w->now ? 1 : (uint64_t)(at - w->now) + 1);
}

static void mix_bits(struct key *k, const bool *bits, size_t n) {
  uint64_t word = 0;
  for (size_t i = 0; i < n; i++) word = word << 1 | bits[i];
  mix(k, word);
}
#define MIX_BITS(k, ...) mix_bits(k, (const bool[]){__VA_ARGS__}, sizeof(bool[]){__VA_ARGS__})

static uint64_t session_length(const struct world *w) {
  int64_t until = w->over ? w->ended_at : w->now;
  return !w->had_session                                       ? 0
         : until - w->opened_at >= w->l.config.stable_after_ms ? UINT64_MAX
                                                               : (uint64_t)(until - w->opened_at);
}

/* Failures count as one above the end of the table, where nothing depends on their number any more. */
static uint64_t capped(const struct world *w, uint32_t failures) {
  uint32_t cap = w->l.config.max_exponent + 2 + w->l.config.max_attempts;
  return failures < cap ? failures : cap;
}

static uint64_t key_of(const struct world *w) {
  const struct lifecycle *l = &w->l;
  struct key k = {.hash = 1};
  bool between = l->phase == PHASE_WAITING || l->phase == PHASE_RESTART_ERROR,
       in_session = w->session || w->out == OUT_CLOSE;
  MIX_BITS(&k, l->starting, l->first, l->stop, l->exit, l->gave_up, l->overrun, l->lost, l->restart, l->failing, l->cut,
           l->socket_closing, l->taken, w->running, w->start_owed, w->had_session, w->stop, w->exit, w->told_last,
           w->start_failed, w->aborted, w->dialing, w->connected, w->closing, w->lost, w->restart, w->refused, w->cut);
  MIX_BITS(&k, w->session, w->reading, w->over, w->drop, w->taken, w->overrun, w->untaken, w->owe_taken, w->owe_out,
           w->owe_all);
  mix(&k, w->inside);
  mix(&k, (uint64_t)l->phase << 32 | (uint64_t)w->out << 16 | (uint64_t)(l->phase == PHASE_ENDING ? l->reason : 0));
  mix(&k, capped(w, l->failed) << 32 | capped(w, w->k));
  mix(&k, (uint64_t)(w->old_inside < 3 ? w->old_inside : 3) << 32 | (uint64_t)(w->aborted ? -w->abort_status : 0));
  mix(&k, (uint64_t)l->retry_delay_ms << 32 ^ (uint64_t)w->hook_delay);
  mix(&k, in_session || w->closing || w->out == OUT_CLOSE_ERROR ? session_length(w) : 0);
  mix_time(&k, w, true, l->timer_ms);
  mix_time(&k, w, true, l->open_deadline_ms);
  mix_time(&k, w, between, l->resume_ms);
  mix_time(&k, w, l->phase == PHASE_DRAINING, l->grace_ms);
  mix_time(&k, w, w->running, w->next_at);
  return k.hash;
}

/* Failures. */

static struct text trail;

static void describe(const struct world *w, const struct action *a, const struct lifecycle_effects *effects) {
  static const char *const acts[] = {[ACT_WAIT] = "time passes",
                                     [ACT_MESSAGE] = "a message comes",
                                     [ACT_ENTER] = "a callback begins",
                                     [ACT_LEAVE] = "a callback ends",
                                     [ACT_LEAVE_OLD] = "an old callback ends"};
  struct text t = {0};
  const struct lifecycle_input *in = &a->in;
  text_add(&t, "%8lld  ", (long long)in->now_ms);
  if (a->act != ACT_INPUT) text_add(&t, "%s", acts[a->act]);
  else text_add(&t, "%s%s", text_input(in->kind), in->ok ? " ok" : "");
  if (a->act == ACT_INPUT && in->epoch != w->l.epoch) text_add(&t, " epoch=%llu", (unsigned long long)in->epoch);
  if (in->kind == IN_DIAL_FAILED) text_add(&t, " fatal=%u retry_after=%lld", in->fatal, (long long)in->retry_after_ms);
  text_add(&t, "  ->  ");
  text_effects(&t, effects);
  fprintf(stderr, "%s\n", t.chars);
}

static void fail(const struct world *w, const char *rule) {
  fprintf(stderr, "%sbroken: %s (phase %d, time %lld)\n", trail.chars, rule, (int)w->l.phase, (long long)w->now);
  exit(1);
}

/* States that have been seen, and how each was reached. */

static struct state {
  uint32_t parent;
  uint8_t action;
} states[STATES_MAX];
static uint64_t slots[SLOTS];
static uint32_t state_count;
static uint64_t step_count;
static int most_effects;

static bool is_new(uint64_t key) {
  if (key == 0) key = 1;
  size_t slot = key % SLOTS;
  while (slots[slot] != 0 && slots[slot] != key) slot = (slot + 1) % SLOTS;
  if (slots[slot] == key) return false;
  slots[slot] = key;
  return true;
}

static void replay(const struct lifecycle_config *config, uint32_t state) {
  static uint32_t path[STATES_MAX];
  size_t n = 0;
  for (; state != 0; state = states[state].parent) path[n++] = state;
  struct world w;
  world_init(&w, config);
  while (n > 0) {
    struct action actions[ACTIONS_MAX];
    struct lifecycle_effects effects;
    world_actions(&w, actions);
    const struct action *a = &actions[states[path[--n]].action];
    (void)world_do(&w, a, &effects);
    describe(&w, a, &effects);
  }
}

static void must_do(struct world *w, const struct action *a, const struct lifecycle_config *config, uint32_t state) {
  struct lifecycle_effects effects;
  const char *broken = world_do(w, a, &effects);
  step_count++;
  if (effects.count > most_effects) most_effects = effects.count;
  if (!broken) return;
  if (config) replay(config, state);
  describe(w, a, &effects);
  fail(w, broken);
}

/* Inputs without meaning. */

static void must_be_ignored(const struct world *w, const struct lifecycle_input *in,
                            const struct lifecycle_config *config, uint32_t state) {
  struct lifecycle l;
  struct lifecycle_effects effects;
  memcpy(&l, &w->l, sizeof l);
  lifecycle_step(&l, in, &effects);
  step_count++;
  bool set_again = effects.count == 1 && effects.items[0].kind == EF_TIMER && effects.items[0].at_ms == w->timer;
  bool right = in->kind == IN_TIMER && w->timer >= 0 ? set_again : effects.count == 0;
  if (memcmp(&l, &w->l, sizeof l) == 0 && right) return;
  if (config) replay(config, state);
  describe(w, &(struct action){.in = *in}, &effects);
  fail(w, "an input that has no meaning changes nothing (a timer that came too early is set again)");
}

static void ignores_the_meaningless(const struct world *w, const struct lifecycle_config *config, uint32_t state) {
  static const enum lifecycle_input_kind fenced[] = {IN_RESTART, IN_DIALED,      IN_DIAL_FAILED,    IN_OPENED, IN_LOST,
                                                     IN_TAKEN,   IN_READERS_OUT, IN_CLOSE_ANSWERED, IN_CLOSED};
  for (int kind = IN_START; kind <= IN_ALL_OUT; kind++) {
    if (has_meaning(w, (enum lifecycle_input_kind)kind)) continue;
    for (int ok = 0; ok < 2; ok++) {
      must_be_ignored(w,
                      &(struct lifecycle_input){.kind = (enum lifecycle_input_kind)kind,
                                                .ok = ok,
                                                .epoch = w->l.epoch,
                                                .now_ms = w->now,
                                                .status = WSC_ERR_CANCELED},
                      config, state);
    }
  }
  for (size_t i = 0; i < sizeof fenced / sizeof *fenced; i++) {
    for (uint64_t away = 0; away < 2; away++) {
      uint64_t epoch = away ? w->l.epoch + 1 : w->l.epoch - 1;
      must_be_ignored(w, &(struct lifecycle_input){.kind = fenced[i], .ok = true, .epoch = epoch, .now_ms = w->now},
                      config, state);
    }
  }
}

/* Nothing is stuck. */

enum style { KINDLY, UNKINDLY, LATE, STYLES }; /* LATE: callbacks come back last of all, after stop's deadline */

/* How soon this comes to pass when nobody asks for anything any more; 0: never. */
static int rank(const struct action *a, enum style style) {
  const struct lifecycle_input *in = &a->in;
  if (a->act == ACT_ENTER) return style == LATE ? 0 : 8;
  if (a->act == ACT_LEAVE || a->act == ACT_LEAVE_OLD) return style == LATE ? 1 : 9;
  if (a->act != ACT_INPUT) return 0;
  switch (in->kind) {
  case IN_START:
  case IN_START_ABORTED:
  case IN_STOP:
  case IN_EXIT:
  case IN_RESTART:
  case IN_LOST: return 0;
  case IN_STOP_DEADLINE: return style == LATE ? 9 : 0;
  case IN_TIMER: return 2;
  case IN_DIALED: return style == UNKINDLY ? 4 : 7;
  case IN_DIAL_FAILED: return style == UNKINDLY ? 7 : 4;
  case IN_ANSWERED: return in->delay_ms > 0 ? 3 : in->ok == (style != UNKINDLY) ? 7 : 4;
  case IN_OPENED:
  case IN_CLOSED: return in->ok == (style != UNKINDLY) ? 7 : 4;
  default: return 6;
  }
}

static bool settles(struct world *w, enum style style, bool until_idle, const struct lifecycle_config *config,
                    uint32_t state) {
  for (int i = 0; i < SETTLE_MAX; i++) {
    if (!w->running || (!until_idle && w->session && !w->over)) return true;
    struct action actions[ACTIONS_MAX];
    int n = world_actions(w, actions), best = -1, best_rank = 0;
    for (int j = 0; j < n; j++) {
      if (rank(&actions[j], style) <= best_rank) continue;
      best = j;
      best_rank = rank(&actions[j], style);
    }
    if (best < 0) return false;
    must_do(w, &actions[best], config, state);
  }
  return false;
}

static void is_not_stuck(const struct world *from, const struct lifecycle_config *config, uint32_t state) {
  for (int style = KINDLY; style < STYLES; style++) {
    for (int asked = 0; asked < 3; asked++) {
      if (asked == 0 && style != KINDLY) continue; /* an unkind world may retry for ever */
      struct world w;
      memcpy(&w, from, sizeof w);
      enum lifecycle_input_kind kind = asked == 1 ? IN_STOP : IN_EXIT;
      if (asked && w.running) must_do(&w, &(struct action){.in = {.kind = kind, .now_ms = w.now}}, config, state);
      if (settles(&w, (enum style)style, asked != 0, config, state)) continue;
      if (config) replay(config, state);
      fail(&w, asked ? "when stop or exit was asked and everything is answered, the run ends"
                     : "when all goes well, a session opens");
    }
  }
}

/* Breadth first. */

struct place {
  struct world w;
  uint32_t state;
};

static int explore(const struct lifecycle_config *config, int depth_max, bool *complete) {
  struct place *here = malloc(sizeof *here), *next = NULL;
  size_t here_count = 1, next_count = 0, next_capacity = 0;
  int depth = 0;
  if (!here) exit(1);
  memset(slots, 0, sizeof slots);
  state_count = 1;
  world_init(&here->w, config);
  here->state = 0;
  is_new(key_of(&here->w));
  while (here_count > 0 && depth < depth_max) {
    for (size_t i = 0; i < here_count; i++) {
      struct action actions[ACTIONS_MAX];
      int n = world_actions(&here[i].w, actions);
      ignores_the_meaningless(&here[i].w, config, here[i].state);
      is_not_stuck(&here[i].w, config, here[i].state);
      for (int a = 0; a < n; a++) {
        struct place reached = here[i];
        must_do(&reached.w, &actions[a], config, here[i].state);
        if (!is_new(key_of(&reached.w))) continue;
        if (state_count == STATES_MAX) {
          fprintf(stderr, "more than %d states\n", STATES_MAX);
          exit(1);
        }
        states[state_count] = (struct state){.parent = here[i].state, .action = (uint8_t)a};
        reached.state = state_count++;
        if (next_count == next_capacity) {
          next_capacity = next_capacity ? next_capacity * 2 : 1024;
          next = realloc(next, next_capacity * sizeof *next);
          if (!next) exit(1);
        }
        next[next_count++] = reached;
      }
    }
    free(here);
    here = next;
    here_count = next_count;
    next = NULL;
    next_count = next_capacity = 0;
    depth++;
  }
  *complete = here_count == 0;
  free(here);
  return depth;
}

static void explores_every_order(int depth_max) {
  /* each row changes the usual configuration in a few places */
  static const struct {
    const char *name;
    bool no_reconnect, retry_first, asks, no_timeout;
    uint32_t max_attempts, give_up_on;
  } rows[] = {{.name = "usual"},
              {.name = "no auto_reconnect", .no_reconnect = true},
              {.name = "retry_first_start", .retry_first = true},
              {.name = "retry_first_start, no auto_reconnect", .retry_first = true, .no_reconnect = true},
              {.name = "ask_before_attempt", .asks = true},
              {.name = "ask, retry_first_start, 2 attempts", .asks = true, .retry_first = true, .max_attempts = 2},
              {.name = "2 attempts, give up on fatal", .max_attempts = 2, .give_up_on = 1},
              {.name = "no on_open_timeout", .no_timeout = true}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct lifecycle_config c = usual;
    bool complete;
    c.auto_reconnect = !rows[i].no_reconnect;
    c.retry_first_start = rows[i].retry_first;
    c.ask_before_attempt = rows[i].asks;
    c.max_attempts = rows[i].max_attempts;
    c.give_up_on = rows[i].give_up_on;
    if (rows[i].no_timeout) c.on_open_timeout_ms = 0;
    step_count = 0;
    int depth = explore(&c, depth_max, &complete);
    printf("%-40s %6u states to depth %d%s, %llu steps\n", rows[i].name, state_count, depth,
           complete ? " (all there are)" : "", (unsigned long long)step_count);
  }
}

/* At random. */

static uint64_t random_state;

static uint32_t draw(void) { /* splitmix64 */
  uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return (uint32_t)((z ^ (z >> 31)) >> 32);
}
static uint32_t below(uint32_t n) { return draw() % n; }

static struct lifecycle_config random_config(void) {
  return (struct lifecycle_config){.auto_reconnect = below(4) != 0,
                                   .retry_first_start = below(3) == 0,
                                   .ask_before_attempt = below(3) == 0,
                                   .base_s = 1 + below(5),
                                   .max_exponent = 1 + below(4),
                                   .jitter_percent = below(3) ? below(101) : 0,
                                   .first_spread_ms = below(3) ? 0 : below(5000),
                                   .max_attempts = below(3) ? 0 : 1 + below(5),
                                   .give_up_on = below(3) ? 0 : below(16),
                                   .on_open_timeout_ms = below(4) ? 1 + below(30000) : 0,
                                   .stable_after_ms = below(3) ? below(5000) : 0,
                                   .retry_after_max_ms = below(3) ? 1 + below(30000) : 0,
                                   .callback_grace_ms = below(2000)};
}

static void randomise(struct lifecycle_input *in, int64_t now) {
  in->chance = draw();
  if (in->now_ms == now && below(3) == 0) in->now_ms += below(below(2) ? 50 : 5000);
  if (in->kind == IN_START_ABORTED && below(2)) in->status = WSC_ERR_TIMEOUT;
  if (in->kind == IN_ANSWERED) {
    if (in->delay_ms > 0) in->delay_ms = 1 + below(3000);
    in->retry_delay_ms = below(3) ? -1 : (int64_t)below(9000);
  }
  if (in->kind == IN_DIAL_FAILED) {
    in->fatal = below(4) ? 0 : 1u << below(4);
    in->retry_after_ms = below(3) ? -1 : (int64_t)below(60000);
  }
}

static void walks_at_random(uint64_t seed) {
  struct world w;
  int walked = 0;
  random_state = seed;
  while (walked < RANDOM_STEPS) {
    const struct lifecycle_config config = random_config();
    world_init(&w, &config);
    w.now = below(1000);
    for (uint32_t left = 50 + below(500); left > 0; left--) {
      struct action actions[ACTIONS_MAX];
      int n = world_actions(&w, actions);
      struct action a = actions[below((uint32_t)n)];
      bool ends = a.act == ACT_INPUT && (a.in.kind == IN_STOP || a.in.kind == IN_EXIT || a.in.kind == IN_START_ABORTED);
      if (ends && below(8) != 0) continue; /* runs are to become old */
      randomise(&a.in, w.now);
      must_do(&w, &a, NULL, 0);
      walked++;
      if (below(8) == 0) ignores_the_meaningless(&w, NULL, 0);
      if (below(64) == 0) is_not_stuck(&w, NULL, 0);
    }
  }
  printf("%d random steps\n", walked);
}

int main(int argc, char **argv) {
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240105;
  int depth_max = argc > 2 ? atoi(argv[2]) : 1000;
  explores_every_order(depth_max);
  snprintf(trail.chars, sizeof trail.chars, "random walk, seed %llu\n", (unsigned long long)seed);
  printf("seed %llu\n", (unsigned long long)seed);
  walks_at_random(seed);
  printf("at most %d effects a step\n", most_effects);
  return 0;
}
