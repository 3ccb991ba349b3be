// SPDX-License-Identifier: ISC
#pragma once

/* One typical and one maximal value of everything that wire encodes, as bytes together with the
 * function that decodes them: for the sweeps here and as the seed corpus of the fuzzers. */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/machine.h"
#include "base/slice.h"
#include "wire/stored.h"

enum { SAMPLES_MAX = 104 };

typedef enum ppn_error sample_decode_fn(struct ppn_slice bytes);

struct sample {
    const char *target; /* of the fuzzers: "facts", "peer", ... */
    char name[48];
    sample_decode_fn *decode;
    uint8_t *bytes; /* malloc'd with exactly this size, so that a sanitizer sees every overread */
    size_t size;
};

struct samples {
    uint32_t count;
    struct sample items[SAMPLES_MAX];
};

void samples_make(struct samples *samples);
void samples_free(struct samples *samples);

struct ppn_profile sample_profile(bool maximal);
struct ppn_load sample_load(bool maximal);
void sample_spec(struct ppn_machine_spec *spec, bool maximal);
struct ppn_vm_info sample_vm(bool maximal);
struct wire_settings sample_settings(bool maximal);
