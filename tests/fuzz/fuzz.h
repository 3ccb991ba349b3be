// SPDX-License-Identifier: ISC
#pragma once

/* What the fuzz targets share. The property of every codec: what decodes also encodes, and what was
 * encoded decodes to the same bytes again. */

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the first byte as the choice of a decoder; the rest is its input. */
static inline uint8_t fuzz_choice(struct ppn_slice *input)
{
    uint8_t choice = input->size > 0 ? input->data[0] : 0;
    if (input->size > 0) {
        input->data++;
        input->size--;
    }
    return choice;
}

/* Decodes bytes into VALUE; when that works, encodes, decodes and encodes again. */
#define FUZZ_ROUND_TRIP(TYPE, DECODE, ENCODE, CAPACITY, INPUT)                                     \
    do {                                                                                           \
        static TYPE value;                                                                         \
        static uint8_t once[CAPACITY], twice[CAPACITY];                                            \
        struct ppn_writer first = ppn_writer(once, sizeof(once));                                  \
        struct ppn_writer second = ppn_writer(twice, sizeof(twice));                               \
        if (DECODE(INPUT, &value) != PPN_OK)                                                       \
            break;                                                                                 \
        PPN_ASSERT(ENCODE(&value, &first) == PPN_OK);                                              \
        PPN_ASSERT(DECODE(ppn_written(&first), &value) == PPN_OK);                                 \
        PPN_ASSERT(ENCODE(&value, &second) == PPN_OK);                                             \
        PPN_ASSERT(ppn_slice_equal(ppn_written(&first), ppn_written(&second)));                    \
    } while (0)
