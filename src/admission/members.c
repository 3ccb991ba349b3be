// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission/state.h"
#include "base/assert.h"

/* The table of members and the claims that keep addresses, WireGuard keys and names unique. */

static void mesh_address(const struct admission_crypto *crypto, const struct ppn_hash *network,
                         const struct ppn_node_id *node, uint8_t address[static 16])
{
    uint8_t both[PPN_HASH_SIZE + PPN_ID_SIZE];
    memcpy(both, network->bytes, PPN_HASH_SIZE);
    memcpy(both + PPN_HASH_SIZE, node->bytes, PPN_ID_SIZE);
    struct ppn_hash hash =
        crypto->hash(crypto->ctx, ppn_slice("ppn-address-1", 13), ppn_slice(both, sizeof both));
    memset(address, 0, 16);
    address[0] = 0xfd;
    memcpy(address + 1, network->bytes, 5);
    memcpy(address + 6, hash.bytes, 6);
    address[15] = 1;
}

void admission_mesh_address(const struct ppn_hash *network, const struct ppn_node_id *node,
                            uint8_t address[static 16])
{
    mesh_address(admission_crypto_sodium(), network, node, address);
}

void admission_address(const struct admission *log, const struct ppn_node_id *node,
                       uint8_t address[static 16])
{
    mesh_address(log->crypto, &log->network, node, address);
}

static const struct admission_facts *facts_of(const struct admission *log, uint32_t index)
{
    PPN_ASSERT(log->items[index].facts != 0);
    return &log->facts[log->items[index].facts - 1];
}

static uint64_t wg_hash(const struct admission *log, const uint8_t *wg_key)
{
    return admission_hash_bytes(log, wg_key, ADMISSION_WG_KEY_SIZE);
}

static uint64_t address_hash(const struct admission *log, const uint8_t *address)
{
    return admission_hash_bytes(log, address, ADMISSION_MESH_PREFIX_BITS / 8);
}

static uint64_t name_hash(const struct admission *log, const char *name)
{
    return admission_hash_bytes(log, name, strlen(name));
}

/* A claim is remembered as the entry that made it. */
static uint32_t owner(const struct admission *log, const struct admission_table *table,
                      uint64_t hash, size_t offset, const uint8_t *bytes, size_t size)
{
    uint32_t index;
    for (uint32_t cursor = 0; admission_table_next(table, hash, &cursor, &index);) {
        const uint8_t *claimed = (const uint8_t *)facts_of(log, index) + offset;
        if (memcmp(claimed, bytes, size) == 0)
            return log->items[index].subject;
    }
    return UINT32_MAX;
}

uint32_t admission_wg_owner(const struct admission *log, const uint8_t *wg_key)
{
    return owner(log, &log->wg_claims, wg_hash(log, wg_key),
                 offsetof(struct admission_facts, wg_key), wg_key, ADMISSION_WG_KEY_SIZE);
}

uint32_t admission_address_owner(const struct admission *log, const uint8_t *address)
{
    return owner(log, &log->address_claims, address_hash(log, address),
                 offsetof(struct admission_facts, address), address,
                 ADMISSION_MESH_PREFIX_BITS / 8);
}

void admission_claim(struct admission *log, uint32_t index)
{
    const struct admission_facts *facts = facts_of(log, index);
    if (admission_wg_owner(log, facts->wg_key) == UINT32_MAX)
        admission_table_add(&log->wg_claims, wg_hash(log, facts->wg_key), index);
    if (log->items[index].kind != ADMISSION_REKEY &&
        admission_address_owner(log, facts->address) == UINT32_MAX)
        admission_table_add(&log->address_claims, address_hash(log, facts->address), index);
}

void admission_claim_kept(struct admission *log, uint32_t index)
{
    const struct admission_facts *facts = facts_of(log, index);
    uint8_t flags = log->items[index].mark.flags;
    if ((flags & ADMISSION_KEPT_WG) != 0)
        admission_table_add(&log->wg_claims, wg_hash(log, facts->wg_key), index);
    if ((flags & ADMISSION_KEPT_ADDRESS) != 0)
        admission_table_add(&log->address_claims, address_hash(log, facts->address), index);
}

int64_t admission_lease_end(const struct admission *log, uint32_t person)
{
    uint32_t index = log->persons[person].force - 1;
    const struct admission_facts *facts = facts_of(log, index);
    int64_t end;
    if (facts->lease_ms == 0 || !ADMISSION_RULE(log, LEASE))
        return 0;
    if (log->items[index].mark.kept)
        end = (int64_t)log->items[index].mark.value;
    else if (__builtin_add_overflow(log->items[index].time_unix_ms, (int64_t)facts->lease_ms, &end))
        end = 0;
    if (end == 0)
        return 0;
    for (uint32_t i = 0; i < log->now.seal_count; i++) {
        int64_t renewed = log->control[log->items[log->now.seals[i]].control].renew_unix_ms;
        bool counted = log->items[index].mark.kept && log->items[log->now.seals[i]].mark.kept;
        if (renewed > end && !counted && admission_before(log, index, log->now.seals[i]))
            end = renewed;
    }
    return end;
}

bool admission_name_taken(const struct admission *log, const char *name)
{
    return admission_member_by_name(log, name) != NULL;
}

void admission_member_name(const struct admission *log, uint32_t person,
                           char name[static PPN_NAME_MAX + 1])
{
    const char *asked = facts_of(log, log->persons[person].force - 1)->name;
    memcpy(name, asked, strlen(asked) + 1);
    if (!ADMISSION_RULE(log, UNIQUE_NAME))
        return;
    char hex[PPN_HEX_MAX];
    ppn_hex(log->persons[person].key.bytes, PPN_ID_SIZE, hex);
    for (int digits = 4; digits <= 32 && admission_name_taken(log, name); digits *= 2)
        snprintf(name, PPN_NAME_MAX + 1, "%.*s-%.*s", PPN_NAME_MAX - 1 - digits, asked, digits,
                 hex);
    for (unsigned number = 2; admission_name_taken(log, name); number++)
        snprintf(name, PPN_NAME_MAX + 1, "node-%u-%.32s", number, hex);
}

static void index_member(struct admission *log, uint32_t slot, bool add)
{
    const struct admission_member *member = &log->members[slot];
    uint64_t hashes[] = {name_hash(log, member->name), wg_hash(log, member->wg_key),
                         address_hash(log, member->address)};
    struct admission_table *tables[] = {&log->by_name, &log->by_member_wg, &log->by_member_address};
    for (size_t i = 0; i < 3; i++) {
        if (add)
            admission_table_add(tables[i], hashes[i], slot);
        else
            admission_table_remove(tables[i], hashes[i], slot);
    }
}

/* The place of a node id in the order, or where it would go. */
static uint32_t order_place(const struct admission *log, const struct ppn_node_id *id)
{
    uint32_t low = 0, high = log->member_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ppn_node_id_compare(&log->members[log->member_order[middle]].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void make_room(struct admission *log)
{
    void *members = log->members, *persons = log->member_person, *order = log->member_order;
    admission_grow(&members, &log->member_capacity, log->member_count + 1, sizeof *log->members);
    admission_grow(&persons, &log->person_side_capacity, log->member_count + 1,
                   sizeof *log->member_person);
    admission_grow(&order, &log->order_capacity, log->member_count + 1, sizeof *log->member_order);
    log->members = members;
    log->member_person = persons;
    log->member_order = order;
}

void admission_member_put(struct admission *log, uint32_t person, const char *name)
{
    struct admission_person *who = &log->persons[person];
    PPN_ASSERT(who->force != 0 && who->member == 0);
    const struct admission_item *item = &log->items[who->force - 1];
    const struct admission_facts *facts = facts_of(log, who->force - 1);
    make_room(log);
    uint32_t slot = log->member_count;
    struct admission_member *member = &log->members[slot];
    memset(member, 0, sizeof *member);
    member->id = admission_key_node(&who->key);
    memcpy(member->wg_key, who->rekey != 0 ? facts_of(log, who->rekey - 1)->wg_key : facts->wg_key,
           sizeof member->wg_key);
    memcpy(member->address, facts->address, sizeof member->address);
    bool fits = ppn_text_copy(member->name, sizeof member->name, name);
    PPN_ASSERT(fits);
    member->roles = facts->roles;
    member->admitted_unix_ms = item->time_unix_ms;
    member->lease_until_unix_ms = admission_lease_end(log, person);
    member->entry = item->id;
    if (member->lease_until_unix_ms != 0 && member->lease_until_unix_ms < log->next_lease_unix_ms)
        log->next_lease_unix_ms = member->lease_until_unix_ms;
    uint32_t place = order_place(log, &member->id);
    memmove(&log->member_order[place + 1], &log->member_order[place],
            (log->member_count - place) * sizeof *log->member_order);
    log->member_order[place] = slot;
    log->member_person[slot] = person;
    log->member_count++;
    log->renamed += strcmp(name, facts->name) != 0;
    who->member = slot + 1;
    index_member(log, slot, true);
}

void admission_member_drop(struct admission *log, uint32_t person)
{
    struct admission_person *who = &log->persons[person];
    PPN_ASSERT(who->member != 0);
    uint32_t slot = who->member - 1, last = log->member_count - 1;
    uint32_t place = order_place(log, &log->members[slot].id);
    PPN_ASSERT(log->member_order[place] == slot);
    index_member(log, slot, false);
    memmove(&log->member_order[place], &log->member_order[place + 1],
            (last - place) * sizeof *log->member_order);
    log->member_count--;
    who->member = 0;
    if (slot == last)
        return;
    index_member(log, last, false);
    log->members[slot] = log->members[last];
    log->member_person[slot] = log->member_person[last];
    log->persons[log->member_person[slot]].member = slot + 1;
    log->member_order[order_place(log, &log->members[slot].id)] = slot;
    index_member(log, slot, true);
}

void admission_members_clear(struct admission *log)
{
    for (uint32_t i = 0; i < log->member_count; i++)
        log->persons[log->member_person[i]].member = 0;
    log->member_count = 0;
    log->renamed = 0;
    log->next_lease_unix_ms = INT64_MAX;
    admission_table_clear(&log->by_name);
    admission_table_clear(&log->by_member_wg);
    admission_table_clear(&log->by_member_address);
}

uint32_t admission_member_count(const struct admission *log)
{
    return log->member_count;
}

const struct admission_member *admission_member_at(const struct admission *log, uint32_t index)
{
    return index < log->member_count ? &log->members[log->member_order[index]] : NULL;
}

const struct admission_member *admission_member_by_id(const struct admission *log,
                                                      const struct ppn_node_id *id)
{
    uint32_t place = order_place(log, id);
    const struct admission_member *member = admission_member_at(log, place);
    return member != NULL && ppn_node_id_equal(&member->id, id) ? member : NULL;
}

const struct admission_member *admission_member_by_name(const struct admission *log,
                                                        const char *name)
{
    uint32_t slot;
    for (uint32_t cursor = 0;
         admission_table_next(&log->by_name, name_hash(log, name), &cursor, &slot);) {
        if (strcmp(log->members[slot].name, name) == 0)
            return &log->members[slot];
    }
    return NULL;
}

const struct admission_member *
admission_member_by_wg_key(const struct admission *log,
                           const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE])
{
    uint32_t slot;
    for (uint32_t cursor = 0;
         admission_table_next(&log->by_member_wg, wg_hash(log, wg_key), &cursor, &slot);) {
        if (memcmp(log->members[slot].wg_key, wg_key, ADMISSION_WG_KEY_SIZE) == 0)
            return &log->members[slot];
    }
    return NULL;
}

const struct admission_member *admission_member_by_address(const struct admission *log,
                                                           const uint8_t address[static 16])
{
    uint32_t slot;
    uint64_t hash = address_hash(log, address);
    for (uint32_t cursor = 0;
         admission_table_next(&log->by_member_address, hash, &cursor, &slot);) {
        if (memcmp(log->members[slot].address, address, ADMISSION_MESH_PREFIX_BITS / 8) == 0)
            return &log->members[slot];
    }
    return NULL;
}
