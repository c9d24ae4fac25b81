/* Want of memory at every place of a life whose connection is a user's adapter: the built-in connection behind its vtable. */
#define _GNU_SOURCE
#include "echo_server.h"
#include "failure_lives.h"
#include "threads.h"

int main(void) {
  static struct echo_server server;
  echo_start(&server, NULL);
  lives.url = server.peer.url;
  lives.adapter = true;
  CHECK(failures_in_library(connection_life) > 30);
  CHECK(failures_in_library(engine_life) > 30);
  echo_stop(&server);
  threads_gone();
  return 0;
}
