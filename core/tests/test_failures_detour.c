/* Want of memory at every place of lives by a proxy that asks for a login, and by a redirect behind it; compressed. */
#define _GNU_SOURCE
#include "echo_server.h"
#include "failure_lives.h"
#include "threads.h"

int main(void) {
  static struct echo_server server;
  char url[64], proxy[64];
  echo_start(&server, NULL);
  snprintf(url, sizeof url, "ws://127.0.0.1:%u/moved", server.peer.port);
  snprintf(proxy, sizeof proxy, "http://user:word@127.0.0.1:%u", server.peer.port);
  lives.url = url;
  lives.proxy = proxy;
  lives.compression = true;
  CHECK(failures_in_library(connection_life) > 60);
  CHECK(failures_in_library(engine_life) > 60);
  echo_stop(&server);
  threads_gone();
  return 0;
}
