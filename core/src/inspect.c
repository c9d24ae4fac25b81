/* Judging frame headers and the payload of close frames. wslay would refuse some of this too, but only says "protocol
 * error". */
#include "inspect.h"

#include "frame.h"
#include "mem.h"

#include "wscengine/status.h"

#include <stdarg.h>
#include <stdio.h>

/* What is said where there is no memory to say more. */
static const struct receiver_fault *plain_fault(int close_code) {
  static const struct receiver_fault plain[] = {
      {WSC_CLOSE_PROTOCOL_ERROR, "protocol error", "protocol error (no memory to say which)"},
      {WSC_CLOSE_INVALID_PAYLOAD, "not UTF-8", "not UTF-8 (no memory to say where)"},
      {WSC_CLOSE_TOO_BIG, "message too big", "message too big (no memory to say how)"},
      {WSC_CLOSE_INTERNAL_ERROR, "out of memory", "out of memory while receiving"},
  };
  size_t i = 0;
  while (plain[i].close_code != close_code && i + 1 < sizeof plain / sizeof *plain) i++;
  return &plain[i];
}

int receiver_fail(struct receiver *r, int status, int close_code, const char *reason, const char *detail, ...) {
  mem_free(r->told);
  struct receiver_fault *f = r->told = mem_alloc(sizeof *f);
  r->failed = status;
  r->fault = f != NULL ? f : plain_fault(close_code);
  if (f == NULL) return status;
  f->close_code = close_code;
  snprintf(f->reason, sizeof f->reason, "%s", reason);
  va_list args;
  va_start(args, detail);
  vsnprintf(f->detail, sizeof f->detail, detail, args);
  va_end(args);
  return status;
}

#define VIOLATION(r, reason, ...) receiver_fail((r), WSC_ERR_PROTOCOL, WSC_CLOSE_PROTOCOL_ERROR, (reason), __VA_ARGS__)

static bool is_control(int opcode) { return (opcode & 8) != 0; }

const char *opcode_name(int opcode) {
  switch (opcode) {
  case OPCODE_CONTINUATION: return "continuation";
  case OPCODE_TEXT: return "text";
  case OPCODE_BINARY: return "binary";
  case OPCODE_CLOSE: return "close";
  case OPCODE_PING: return "ping";
  case OPCODE_PONG: return "pong";
  default: return NULL;
  }
}

/* The one place that knows which reserved bits an extension has given a meaning: permessage-deflate sets RSV1 in the
 * first frame of a compressed message (RFC 7692 section 6). */
static unsigned allowed_bits(const struct receiver *r, int opcode) {
  return r->inflater != NULL && (opcode == OPCODE_TEXT || opcode == OPCODE_BINARY) ? 0x40 : 0;
}

static int reserved_bits(struct receiver *r, uint8_t byte, unsigned bits) {
  const char *agreed = r->inflater == NULL ? "no extension was agreed on"
                                           : "permessage-deflate only sets RSV1 of a message's first frame";
  return VIOLATION(r, "reserved bits set", "frame with reserved bits%s%s%s set (first byte 0x%02x): %s",
                   (bits & 0x40) != 0 ? " RSV1" : "", (bits & 0x20) != 0 ? " RSV2" : "",
                   (bits & 0x10) != 0 ? " RSV3" : "", byte, agreed);
}

static int first_byte(struct receiver *r, uint8_t byte, struct frame_head *head) {
  head->fin = (byte & 0x80) != 0;
  head->opcode = byte & 0x0f;
  unsigned reserved = byte & 0x70u & ~allowed_bits(r, head->opcode);
  if (reserved != 0) return reserved_bits(r, byte, reserved);
  head->compressed = (byte & 0x40) != 0;
  const char *name = opcode_name(head->opcode);
  if (name == NULL) return VIOLATION(r, "reserved opcode", "frame with the reserved opcode 0x%x", head->opcode);
  if (is_control(head->opcode)) {
    return head->fin ? WSC_OK
                     : VIOLATION(r, "fragmented control frame",
                                 "%s frame without FIN: control frames may not be fragmented", name);
  }
  if (head->opcode == OPCODE_CONTINUATION && r->opcode == 0) {
    return VIOLATION(r, "continuation without a message", "continuation frame, but no fragmented message has begun");
  }
  if (head->opcode != OPCODE_CONTINUATION && r->opcode != 0) {
    return VIOLATION(r, "message inside a message",
                     "%s frame inside a fragmented %s message of which %llu bytes have come", name,
                     opcode_name(r->opcode), (unsigned long long)r->length);
  }
  return WSC_OK;
}

static int second_byte(struct receiver *r, uint8_t byte, struct frame_head *head) {
  if ((byte & 0x80) != 0)
    return VIOLATION(r, "masked frame", "masked %s frame: servers may not mask", opcode_name(head->opcode));
  unsigned length = byte & 0x7fu;
  if (is_control(head->opcode) && length > 125) {
    return VIOLATION(r, "control frame too long", "%s frame of more than 125 bytes (length field %u)",
                     opcode_name(head->opcode), length);
  }
  if (head->opcode == OPCODE_CLOSE && length == 1) {
    return VIOLATION(r, "close frame of one byte", "close frame with a payload of 1 byte: a close code has 2");
  }
  return WSC_OK;
}

static int extended_length(struct receiver *r, const uint8_t *p, size_t size, struct frame_head *head) {
  head->length = 0;
  for (size_t i = 2; i < size; i++) head->length = head->length << 8 | p[i];
  if (size == 10 && head->length >> 63 != 0) {
    return VIOLATION(r, "length too large", "%s frame with the highest bit of its length set (0x%llx)",
                     opcode_name(head->opcode), (unsigned long long)head->length);
  }
  if (head->length < (size == 4 ? 126u : 65536u)) {
    return VIOLATION(r, "length not minimal",
                     "%s frame of %llu bytes with a length field of %zu bits: the shortest form must be used",
                     opcode_name(head->opcode), (unsigned long long)head->length, (size - 2) * 8);
  }
  return WSC_OK;
}

static int whole_length(struct receiver *r, const struct frame_head *head) {
  if (is_control(head->opcode)) return WSC_OK;
  bool compressed = r->opcode != 0 ? r->compressed : head->compressed;
  if (head->length <= wire_limit(r, compressed) - r->length) return WSC_OK;
  unsigned long long limit = r->max_message, before = r->length, now = head->length;
  char reason[sizeof r->fault->reason]; /* with both numbers: the peer's log is often where they are looked for */
  snprintf(reason, sizeof reason, "message of %llu bytes or more, the limit is %llu", before + now, limit);
  if (r->opcode == 0 && head->fin) {
    return receiver_fail(r, WSC_ERR_TOO_BIG, WSC_CLOSE_TOO_BIG, reason,
                         "message of %llu bytes, max_message_bytes is %llu", now, limit);
  }
  return receiver_fail(
      r, WSC_ERR_TOO_BIG, WSC_CLOSE_TOO_BIG, reason,
      "fragmented message of at least %llu bytes (%llu have come, the next frame has %llu), max_message_bytes is %llu",
      before + now, before, now, limit);
}

int inspect_head(struct receiver *r, const uint8_t *p, size_t n, struct frame_head *head) {
  *head = (struct frame_head){.need = 2};
  int status = first_byte(r, p[0], head);
  if (status != WSC_OK || n < 2) return status;

  status = second_byte(r, p[1], head);
  if (status != WSC_OK) return status;
  unsigned length = p[1] & 0x7fu;
  size_t size = length < 126 ? 2 : length == 126 ? 4 : 10;
  head->need = size;
  if (n < size) return WSC_OK;

  head->length = length;
  if (size > 2) status = extended_length(r, p, size, head);
  if (status == WSC_OK) status = whole_length(r, head);
  if (status != WSC_OK) return status;
  head->size = size;
  head->need = size + (size_t)head->length;
  return WSC_OK;
}

int inspect_close(struct receiver *r, const uint8_t *payload, size_t n) {
  if (n < 2) return WSC_OK; /* none; one byte was refused by its header */
  int code = payload[0] << 8 | payload[1];
  if (!frame_close_code_ok(code))
    return VIOLATION(r, "invalid close code", "close frame with code %d, which may not be sent", code);
  if (!utf8_valid(payload + 2, n - 2)) {
    return receiver_fail(r, WSC_ERR_PROTOCOL, WSC_CLOSE_INVALID_PAYLOAD, "close reason is not UTF-8",
                         "close frame with code %d and a reason of %zu bytes that is not UTF-8", code, n - 2);
  }
  return WSC_OK;
}

int inspect_text_fault(struct receiver *r, struct utf8 before, const uint8_t *p, size_t n, uint64_t at) {
  for (size_t i = 0; i < n; i++) {
    if (utf8_feed(&before, p + i, 1)) continue;
    return receiver_fail(r, WSC_ERR_PROTOCOL, WSC_CLOSE_INVALID_PAYLOAD, "text is not UTF-8",
                         "text message is not UTF-8: byte 0x%02x at position %llu", p[i], (unsigned long long)(at + i));
  }
  return receiver_fail(r, WSC_ERR_PROTOCOL, WSC_CLOSE_INVALID_PAYLOAD, "text is not UTF-8",
                       "text message of %llu bytes is not UTF-8: it ends in the middle of a character",
                       (unsigned long long)(at + n));
}
