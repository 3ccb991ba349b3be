// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "wire/facts.h"

/* Decoding may accept labels that one record of ours would not hold; encoding then says so. */
static enum ppn_error encode_profile(const struct ppn_profile *profile, struct ppn_writer *writer)
{
    if (!wire_labels_fit(profile->labels, profile->label_count))
        return PPN_OK;
    return wire_profile_encode(profile, writer);
}

static enum ppn_error decode_profile(struct ppn_slice bytes, struct ppn_profile *profile)
{
    return bytes.size == 0 ? PPN_OK : wire_profile_decode(bytes, profile);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ppn_slice input = ppn_slice(data, size);
    FUZZ_ROUND_TRIP(struct ppn_profile, decode_profile, encode_profile, WIRE_PROFILE_MAX, input);
    FUZZ_ROUND_TRIP(struct ppn_load, wire_load_decode, wire_load_encode, WIRE_LOAD_MAX, input);
    return 0;
}
