// SPDX-License-Identifier: ISC
#include "relay/control.h"

#include <string.h>

void relay_control_header(struct ppn_writer *writer, enum relay_control_kind kind, uint32_t count)
{
    ppn_write_u32(writer, (uint32_t)kind);
    ppn_write_u32(writer, count);
}

void relay_control_member(struct ppn_writer *writer, const struct relay_member *member)
{
    ppn_write_u64(writer, member->tag);
    ppn_write(writer, ppn_slice(member->key, sizeof(member->key)));
}

void relay_control_stats(struct ppn_writer *writer, const struct relay_stats *stats)
{
    for (int i = 0; i < RELAY_VERDICTS; i++) {
        ppn_write_u64(writer, stats->count[i].packets);
        ppn_write_u64(writer, stats->count[i].bytes);
    }
    ppn_write_u32(writer, stats->members);
    ppn_write_u32(writer, stats->mailboxes);
    ppn_write_u32(writer, stats->binds);
}

void relay_control_use(struct ppn_writer *writer, const struct relay_use *use)
{
    ppn_write_u64(writer, use->tag);
    ppn_write_u64(writer, use->forwarded.packets);
    ppn_write_u64(writer, use->forwarded.bytes);
    ppn_write_u64(writer, use->over_rate.packets);
    ppn_write_u64(writer, use->over_rate.bytes);
}

size_t relay_control_frame(const uint8_t header[static RELAY_CONTROL_HEADER],
                           enum relay_control_kind *kind, uint32_t *count)
{
    size_t item = 0, most = 0;
    *kind = (enum relay_control_kind)ppn_read_u32(header);
    *count = ppn_read_u32(header + 4);
    if (*kind == RELAY_CONTROL_KIND_MEMBERS) {
        item = RELAY_CONTROL_MEMBER;
        most = PPN_MEMBERS_MAX;
    } else if (*kind == RELAY_CONTROL_KIND_STATS) {
        item = RELAY_CONTROL_STATS;
        most = 1;
    } else if (*kind == RELAY_CONTROL_KIND_USE) {
        item = RELAY_CONTROL_USE;
        most = PPN_MEMBERS_MAX;
    }
    return item == 0 || *count > most ? 0 : RELAY_CONTROL_HEADER + item * *count;
}

void relay_control_read_member(const uint8_t item[static RELAY_CONTROL_MEMBER],
                               struct relay_member *member)
{
    member->tag = ppn_read_u64(item);
    memcpy(member->key, item + 8, sizeof(member->key));
}

void relay_control_read_stats(const uint8_t item[static RELAY_CONTROL_STATS],
                              struct relay_stats *stats)
{
    for (int i = 0; i < RELAY_VERDICTS; i++) {
        stats->count[i].packets = ppn_read_u64(item + (ptrdiff_t)16 * i);
        stats->count[i].bytes = ppn_read_u64(item + (ptrdiff_t)16 * i + 8);
    }
    const uint8_t *now = item + (ptrdiff_t)16 * RELAY_VERDICTS;
    stats->members = ppn_read_u32(now);
    stats->mailboxes = ppn_read_u32(now + 4);
    stats->binds = ppn_read_u32(now + 8);
}

void relay_control_read_use(const uint8_t item[static RELAY_CONTROL_USE], struct relay_use *use)
{
    use->tag = ppn_read_u64(item);
    use->forwarded.packets = ppn_read_u64(item + 8);
    use->forwarded.bytes = ppn_read_u64(item + 16);
    use->over_rate.packets = ppn_read_u64(item + 24);
    use->over_rate.bytes = ppn_read_u64(item + 32);
}
