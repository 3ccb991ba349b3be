// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/state.h"
#include "base/assert.h"

/* Ancestors are nearly always a prefix of all entries, because people extend the heads they see.
 * So a past is a full prefix plus bits for what a partition or a late entry left uneven. */
void admission_past_of(const struct admission *log, const uint32_t *parents, uint32_t count,
                       struct admission_past *past)
{
    *past = (struct admission_past){0};
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        PPN_ASSERT(parents[i] < log->count);
        uint32_t base = log->items[parents[i]].past.base;
        past->base = base > past->base ? base : past->base;
        end = parents[i] + 1 > end ? parents[i] + 1 : end;
    }
    if (end <= past->base)
        return;
    uint32_t words = (end - past->base + 63) / 64;
    uint64_t *bits = admission_take(words, sizeof *bits);
    for (uint32_t i = 0; i < count; i++) {
        const struct admission_past *from = &log->items[parents[i]].past;
        uint32_t skip = (past->base - from->base) / 64;
        for (uint32_t w = skip; w < from->words; w++)
            bits[w - skip] |= from->bits[w];
        if (parents[i] >= past->base) {
            uint32_t at = parents[i] - past->base;
            bits[at / 64] |= 1ull << (at % 64);
        }
    }
    uint32_t full = 0;
    while (full < words && bits[full] == UINT64_MAX)
        full++;
    memmove(bits, bits + full, (words - full) * sizeof *bits);
    past->base += 64 * full;
    past->words = words - full;
    past->bits = bits;
    if (past->words == 0) {
        free(bits);
        past->bits = NULL;
    }
}

void admission_past_prefix(uint32_t end, struct admission_past *past)
{
    *past = (struct admission_past){.base = end / 64 * 64};
    if (end == past->base)
        return;
    past->words = 1;
    past->bits = admission_take(1, sizeof *past->bits);
    past->bits[0] = (1ull << (end - past->base)) - 1;
}

void admission_past_free(struct admission_past *past)
{
    free(past->bits);
    *past = (struct admission_past){0};
}
