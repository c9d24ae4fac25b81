/* A server's answer to an upgrade, for the tests' own servers. */
#ifndef WSC_TEST_UPGRADE_H
#define WSC_TEST_UPGRADE_H

#include "check.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

enum { UPGRADE_REQUEST_MAX = 8192, UPGRADE_ANSWER_MAX = 512 };

/* To a CONNECT: it tunnels to itself, and the next request follows. To a request for /moved: the client is sent to /. */
enum upgrade_outcome { UPGRADED, TUNNELED, REDIRECTED };

/* Reads the request byte by byte with get and makes the answer to it; its length, 0 when the request did not come whole. */
static inline size_t upgrade_answer(bool (*get)(void *from, void *to, size_t n), void *from,
                                    char answer[UPGRADE_ANSWER_MAX], enum upgrade_outcome *outcome) {
  char request[UPGRADE_REQUEST_MAX], joined[128], accepted[32];
  uint8_t digest[20];
  size_t n = 0;
  do {
    if (n == sizeof request - 1 || !get(from, request + n, 1)) return 0;
    request[++n] = 0;
  } while (n < 4 || memcmp(request + n - 4, "\r\n\r\n", 4) != 0);
  *outcome = memcmp(request, "CONNECT ", 8) == 0        ? TUNNELED
             : strncmp(request, "GET /moved ", 11) == 0 ? REDIRECTED
                                                        : UPGRADED;
  if (*outcome == TUNNELED) return (size_t)snprintf(answer, UPGRADE_ANSWER_MAX, "HTTP/1.1 200 OK\r\n\r\n");
  if (*outcome == REDIRECTED)
    return (size_t)snprintf(answer, UPGRADE_ANSWER_MAX,
                            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
  char *key = strstr(request, "Sec-WebSocket-Key: ");
  if (key == NULL) return 0;
  bool packed =
      strstr(request, "permessage-deflate") != NULL; /* who echoes frames as they are can have them compressed */
  snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
  SHA1((unsigned char *)joined, strlen(joined), digest);
  EVP_EncodeBlock((unsigned char *)accepted, digest, 20);
  return (size_t)snprintf(answer, UPGRADE_ANSWER_MAX,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n%s\r\n",
                          accepted, packed ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
}

#endif
