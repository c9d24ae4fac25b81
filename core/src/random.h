/* Unpredictable bytes in small pieces: masking keys, nonces, ids, jitter. */
#ifndef WSC_RANDOM_H
#define WSC_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* n bytes that nobody was given before, in this process or the one it was forked from. 0, or WSC_ERR_IO. */
int random_bytes(void *out, size_t n);
/* The same for a frame's masking key: on the way of every message. */
int random_key(uint8_t key[4]);
/* A UUID v4 as text. 0, or WSC_ERR_IO. */
int random_uuid(char out[37]);

#endif
