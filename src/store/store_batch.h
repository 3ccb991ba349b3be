// SPDX-License-Identifier: ISC
#pragma once

/* A batch's bytes: operations one after the other, written by store_batch_put and read by whoever
 * applies them. Never stored, so the layout is free to change. */

#include "store/store.h"

struct store_operation {
    bool put; /* else delete */
    enum store_table table;
    struct ppn_slice key, value;
};

/* Starts with *offset = 0; false at the end. */
bool store_batch_next(const struct store_batch *batch, size_t *offset,
                      struct store_operation *operation);
