/* The soak's server: one process that a keeper forks, kills and forks again on the same port. It echoes small messages, plain or by TLS. */
#ifndef WSC_SOAK_SERVER_H
#define WSC_SOAK_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct keeper {
  int line; /* commands go in, one byte of answer comes back */
  int pid;
  uint16_t port;
  char *certificate; /* PEM, its own issuer; NULL: plain */
};

/* Before the caller has threads. All of them end the program when the system refuses something. */
void keeper_start(struct keeper *k, bool tls);
void keeper_up(struct keeper *k);   /* returns when the server listens */
void keeper_down(struct keeper *k); /* returns when it is gone, and all its connections with it */
void keeper_stop(struct keeper *k);

#endif
