// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "image/image_format.h"

/* The input is the whole file, or, with an odd first byte, its beginning. What is taken has sizes
 * in range. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_facts facts;
    struct ppn_failure failure = {0};
    static uint8_t header[IMAGE_HEADER_MAX];
    uint64_t file_bytes = size;
    struct ppn_slice input = ppn_slice(data, size);
    if (size > 0 && size <= sizeof(header) && data[0] % 2) {
        for (size_t i = 1; i < size; i++)
            header[i - 1] = data[i];
        for (size_t i = size - 1; i < sizeof(header); i++)
            header[i] = 0;
        input = ppn_slice(header, sizeof(header));
        file_bytes = (uint64_t)1 << 30;
    } else if (size > sizeof(header)) {
        return 0;
    }
    if (image_inspect(input, file_bytes, &facts, &failure) == PPN_OK) {
        PPN_ASSERT(facts.virtual_bytes > 0 && facts.virtual_bytes <= IMAGE_VIRTUAL_MAX);
        PPN_ASSERT(facts.file_bytes == file_bytes);
    } else {
        PPN_ASSERT(failure.text[0]);
    }
    return 0;
}
