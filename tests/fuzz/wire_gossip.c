// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "wire/gossip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FUZZ_ROUND_TRIP(struct gossip_packet, wire_gossip_decode, wire_gossip_encode, PPN_DATAGRAM_MAX,
                    ppn_slice(data, size));
    return 0;
}
