// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "wire/peer.h"

struct images {
    uint32_t count;
    struct wire_image_item items[PPN_IMAGES_MAX];
};

static enum ppn_error decode_images(struct ppn_slice bytes, struct images *images)
{
    return wire_image_list_decode(bytes, images->items, PPN_IMAGES_MAX, &images->count);
}

static enum ppn_error encode_images(const struct images *images, struct ppn_writer *writer)
{
    return wire_image_list_encode(images->items, images->count, writer);
}

/* Encoding writes the length first; decoding gets a frame that was cut out by it. */
static enum ppn_error decode_frame(struct ppn_slice bytes, struct wire_peer_frame *frame)
{
    if (bytes.size < WIRE_FRAME_PREFIX)
        return PPN_ERROR_INVALID;
    enum ppn_error error = wire_peer_decode(
        ppn_slice(bytes.data + WIRE_FRAME_PREFIX, bytes.size - WIRE_FRAME_PREFIX), frame);
    for (int side = 0; error == PPN_OK && side < 4; side++)
        (void)!wire_peer_check(frame, side & 1, side & 2);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ppn_slice input = ppn_slice(data, size);
    FUZZ_ROUND_TRIP(struct wire_peer_frame, decode_frame, wire_peer_encode,
                    PPN_FRAME_MAX + WIRE_FRAME_PREFIX, input);
    FUZZ_ROUND_TRIP(struct images, decode_images, encode_images, WIRE_IMAGE_LIST_MAX, input);
    return 0;
}
