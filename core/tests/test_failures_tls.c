/* Want of memory at every place of lives by TLS: the library's own allocations, and OpenSSL's.
 *
 * OpenSSL has thousands a handshake; of them one in STEP fails, with WSC_EVERY_FAILURE=1 in the environment each. ctest: slow */
#define _GNU_SOURCE
#include "echo_server.h"
#include "failure_lives.h"
#include "threads.h"
#include "tls_world.h"

enum { STEP = 23 };

int main(void) {
  static struct echo_server server;
  char url[64];
  failures_watch_openssl();
  make_world();
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  CHECK_EQ(SSL_CTX_use_certificate(ctx, good.certificate), 1);
  CHECK_EQ(SSL_CTX_use_PrivateKey(ctx, good.key), 1);
  echo_start(&server, ctx);
  SSL_CTX_free(ctx);
  snprintf(url, sizeof url, "wss://127.0.0.1:%u/", server.peer.port);
  lives.url = url;
  lives.ca_file = world_path("root.pem");
  long step = getenv("WSC_EVERY_FAILURE") ? 1 : STEP;
  CHECK(failures_in_library(connection_life) > 30);
  CHECK(failures_in_library(engine_life) > 30);
  CHECK(failures_in_openssl(connection_life, step) > 1000);
  CHECK(failures_in_openssl(engine_life, step) > 1000);
  echo_stop(&server);
  threads_gone();
  end_world();
  return 0;
}
