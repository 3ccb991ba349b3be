// SPDX-License-Identifier: ISC
#pragma once

/* The payload of each entry kind, in both directions; private to the folder. */

#include "admission/entry.h"
#include "admission/pack.h"

/* A valid name of 1 .. PPN_NAME_MAX. */
void admission_pack_name(struct admission_pack *pack, char *name);

/* entry->kind chooses; an unknown kind is PPN_ERROR_VERSION. */
void admission_pack_payload(struct admission_pack *pack, struct admission_entry *entry);

/* Fails unless the items of `size` bytes at `first`, `stride` apart, strictly ascend. */
void admission_pack_ascending(struct admission_pack *pack, const void *first, uint32_t count,
                              uint32_t stride, uint32_t size);
