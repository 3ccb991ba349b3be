// SPDX-License-Identifier: ISC
#pragma once

/* Identities as distinct types, and their text. A node id is its Ed25519 public key; a hash is
 * BLAKE2b-256 of something; a request id is chosen by the client (a UUIDv7, so that it carries the
 * time of its making). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    PPN_ID_SIZE = 32,
    PPN_HASH_SIZE = 32,
    PPN_REQUEST_ID_SIZE = 16,
    PPN_HEX_MAX = 2 * PPN_ID_SIZE + 1,
    PPN_FINGERPRINT_TEXT = 20, /* "xxxx-xxxx-xxxx-xxxx" and NUL */
    PPN_UUID_TEXT = 37
};

struct ppn_node_id {
    uint8_t bytes[PPN_ID_SIZE];
};

struct ppn_hash {
    uint8_t bytes[PPN_HASH_SIZE];
};

struct ppn_request_id {
    uint8_t bytes[PPN_REQUEST_ID_SIZE];
};

int ppn_node_id_compare(const struct ppn_node_id *a, const struct ppn_node_id *b);
bool ppn_node_id_equal(const struct ppn_node_id *a, const struct ppn_node_id *b);
bool ppn_node_id_is_zero(const struct ppn_node_id *id);
int ppn_hash_compare(const struct ppn_hash *a, const struct ppn_hash *b);
bool ppn_hash_equal(const struct ppn_hash *a, const struct ppn_hash *b);
bool ppn_hash_is_zero(const struct ppn_hash *hash);
bool ppn_request_id_equal(const struct ppn_request_id *a, const struct ppn_request_id *b);

/* Lower-case hexadecimal and NUL; text holds 2 * size + 1 bytes. */
void ppn_hex(const uint8_t *bytes, size_t size, char *text);

/* Exactly 2 * size hexadecimal digits, either case, then NUL; else PPN_ERROR_INVALID. */
enum ppn_error ppn_unhex(const char *text, uint8_t *bytes, size_t size) PPN_CHECK;

/* The short form people compare at a glance: the first 8 bytes in four groups. Not a proof. */
void ppn_fingerprint(const struct ppn_node_id *id, char text[static PPN_FINGERPRINT_TEXT]);

/* RFC 9562 text. Parsing takes any version; a wrong shape is PPN_ERROR_INVALID. */
void ppn_request_id_text(const struct ppn_request_id *id, char text[static PPN_UUID_TEXT]);
enum ppn_error ppn_request_id_parse(const char *text, struct ppn_request_id *id) PPN_CHECK;

/* A UUIDv7 from the wall clock and 10 random bytes (RFC 9562, 5.7). */
struct ppn_request_id ppn_request_id_make(int64_t unix_ms, const uint8_t random[static 10]);

/* The time inside a version 7 id; false for any other version. */
bool ppn_request_id_time(const struct ppn_request_id *id, int64_t *unix_ms);
