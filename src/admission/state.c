// SPDX-License-Identifier: ISC
#include "admission/state.h"
#include "admission/kept.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

uint64_t admission_hash_bytes(const struct admission *log, const void *bytes, size_t size)
{
    return ppn_hash64(log->table_key, ppn_slice(bytes, size));
}

struct admission *admission_new(const struct admission_config *config)
{
    struct admission *log = calloc(1, sizeof *log);
    if (log == NULL)
        return NULL;
    log->crypto = config->crypto != NULL ? config->crypto : admission_crypto_sodium();
    log->network = config->network;
    log->table_key = (struct ppn_hash_key){config->seed, ~config->seed};
    log->next_lease_unix_ms = INT64_MAX;
    return log;
}

void admission_free(struct admission *log)
{
    if (log == NULL)
        return;
    for (uint32_t i = 0; i < log->count; i++) {
        free(log->items[i].bytes);
        admission_past_free(&log->items[i].past);
    }
    for (uint32_t i = 0; i < log->waiting_count; i++)
        free(log->waiting[i].bytes);
    admission_staging_free(log);
    for (uint32_t i = 0; i < ADMISSION_MEMO; i++) {
        free(log->memo[i].bits);
        admission_authority_free(&log->memo[i].authority);
    }
    admission_authority_free(&log->now);
    struct admission_table *tables[] = {&log->by_id,        &log->by_seq,
                                        &log->by_key,       &log->by_name,
                                        &log->by_member_wg, &log->by_member_address,
                                        &log->wg_claims,    &log->address_claims};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        admission_table_free(tables[i]);
    void *arrays[] = {log->items,   log->persons,        log->waiting,      log->heads,
                      log->admins,  log->control,        log->special,      log->invites,
                      log->members, log->member_person,  log->member_order, log->admin_view,
                      log->facts,   log->contradictions, log->closed_ids};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    free(log);
}

bool admission_person_find(const struct admission *log, const struct admission_key *key,
                           uint32_t *person)
{
    uint64_t hash = admission_hash_bytes(log, key->bytes, sizeof key->bytes);
    for (uint32_t cursor = 0; admission_table_next(&log->by_key, hash, &cursor, person);) {
        if (admission_key_equal(&log->persons[*person].key, key))
            return true;
    }
    return false;
}

uint32_t admission_person(struct admission *log, const struct admission_key *key)
{
    uint32_t person;
    if (admission_person_find(log, key, &person))
        return person;
    void *persons = log->persons;
    admission_grow(&persons, &log->person_capacity, log->person_count + 1, sizeof *log->persons);
    log->persons = persons;
    person = log->person_count++;
    log->persons[person] = (struct admission_person){.key = *key};
    admission_table_add(&log->by_key, admission_hash_bytes(log, key->bytes, sizeof key->bytes),
                        person);
    return person;
}

bool admission_item_find(const struct admission *log, const struct ppn_hash *id, uint32_t *index)
{
    uint64_t hash = admission_hash_bytes(log, id->bytes, sizeof id->bytes);
    for (uint32_t cursor = 0; admission_table_next(&log->by_id, hash, &cursor, index);) {
        if (ppn_hash_equal(&log->items[*index].id, id))
            return true;
    }
    return false;
}

bool admission_by_seq(const struct admission *log, uint32_t author, uint64_t seq, uint32_t *index)
{
    uint64_t key[2] = {author, seq};
    uint64_t hash = admission_hash_bytes(log, key, sizeof key);
    for (uint32_t cursor = 0; admission_table_next(&log->by_seq, hash, &cursor, index);) {
        const struct admission_item *item = &log->items[*index];
        if (item->author == author && item->seq == seq)
            return true;
    }
    return false;
}

struct ppn_slice admission_body(const struct admission *log, uint32_t index)
{
    PPN_ASSERT(index < log->count);
    const struct admission_item *item = &log->items[index];
    return ppn_slice(item->bytes + item->body_at, item->body_size);
}

void admission_decode(const struct admission *log, uint32_t index, struct admission_entry *entry)
{
    enum ppn_error error = admission_body_decode(admission_body(log, index), entry);
    PPN_ASSERT(error == PPN_OK);
}

int admission_rank(const struct admission_item *a, const struct admission_item *b)
{
    if (a->mark.kept || b->mark.kept)
        return a->mark.kept && b->mark.kept ? (a > b) - (a < b) : a->mark.kept ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->height != b->height)
        return a->height < b->height ? -1 : 1;
    return ppn_hash_compare(&a->id, &b->id);
}

int admission_order(const struct admission_item *a, const struct admission_item *b)
{
    if (a->mark.kept || b->mark.kept)
        return a->mark.kept && b->mark.kept ? (a > b) - (a < b) : a->mark.kept ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    if (a->height != b->height)
        return a->height < b->height ? -1 : 1;
    return ppn_hash_compare(&a->id, &b->id);
}
