// SPDX-License-Identifier: ISC
#pragma once

/* A value as LMDB holds it: a format byte, an 8-byte checksum over table, key and value, the value.
 * LMDB has no checksums of its own, and a damaged value must be noticed, never believed. */

#include "store/store.h"

enum { STORE_FORMAT = 1, STORE_VALUE_HEADER = 9 };

/* Fills STORE_VALUE_HEADER + value.size bytes. */
void store_value_seal(enum store_table table, struct ppn_slice key, struct ppn_slice value,
                      uint8_t *sealed);
/* *value points into sealed. CORRUPT, or VERSION when a newer daemon wrote it. */
enum ppn_error store_value_open(enum store_table table, struct ppn_slice key,
                                struct ppn_slice sealed, struct ppn_slice *value) PPN_CHECK;

const char *store_table_name(enum store_table table);
bool store_table_durable(enum store_table table);
