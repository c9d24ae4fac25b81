/* What is running: this library, the libraries under it, and its clock. */
#include "os.h"
#include "wscengine/base.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <wslay/wslay.h>
#include <zlib.h>

/* wslay cannot be asked at run time, and Debian's header of 1.1.1 still says 1.0.1-DEV: a build that knows better
 * says so. */
#ifndef WSC_WSLAY_VERSION
#define WSC_WSLAY_VERSION WSLAY_VERSION
#endif

static char libraries[128];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void ask_libraries(void) {
  const char *openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
  snprintf(libraries, sizeof libraries, "OpenSSL %s, wslay %s, zlib %s", openssl, WSC_WSLAY_VERSION, zlibVersion());
}

const char *wsc_version(void) { return WSC_VERSION_STRING; }

const char *wsc_version_libraries(void) {
  pthread_once(&once, ask_libraries);
  return libraries;
}

const char *wsc_version_features(void) { return "tls deflate http-proxy socks5 redirects unix-sockets kernel-stamps"; }

int64_t wsc_now_ns(void) { return os_now_ns(); }
