// SPDX-License-Identifier: ISC
#include "picture.h"

static int number_of(struct picture *p, const struct admission_key *key)
{
    for (uint32_t i = 0; i < p->key_count; i++) {
        if (admission_key_equal(&p->keys[i], key))
            return (int)i;
    }
    PPN_ASSERT(p->key_count < PICTURE_KEYS);
    p->keys[p->key_count] = *key;
    return (int)p->key_count++;
}

static bool subject_of(const struct admission_entry *e, struct admission_key *key)
{
    switch ((unsigned)e->kind) {
    case ADMISSION_ADMIT:
        *key = admission_node_key(&e->as.admit.node);
        return true;
    case ADMISSION_DENY:
        *key = admission_node_key(&e->as.deny.node);
        return true;
    case ADMISSION_REDEEM:
        *key = admission_node_key(&e->as.redeem.node);
        return true;
    case ADMISSION_REVOKE:
        *key = e->as.revoke.subject;
        return true;
    case ADMISSION_INVITE:
        *key = e->as.invite.key;
        return true;
    case ADMISSION_ADMIN_ADD:
        *key = e->as.admin_add.key;
        return true;
    case ADMISSION_ADMIN_REMOVE:
        *key = e->as.admin_remove.key;
        return true;
    case ADMISSION_REKEY:
        *key = e->author;
        return true;
    default:
        return false;
    }
}

int picture_fact(const struct picture *p, const struct ppn_hash *id)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (ppn_hash_equal(&p->facts[i].id, id))
            return (int)i;
    }
    return -1;
}

static void note_grace(struct picture *p, const struct admission_policy *policy)
{
    p->grace_min = policy->grace < p->grace_min ? policy->grace : p->grace_min;
    p->grace_max = policy->grace > p->grace_max ? policy->grace : p->grace_max;
}

static void take_fact(struct picture *p, const struct admission *log, uint32_t i)
{
    struct fact *f = &p->facts[i];
    struct admission_record record = admission_record_at(log, i);
    struct admission_key key;
    admission_record_entry(log, i, &f->entry);
    f->id = record.id;
    f->live = record.live;
    f->past = 0;
    for (uint32_t k = 0; k < f->entry.parent_count; k++) {
        int parent = picture_fact(p, &f->entry.parents[k]);
        PPN_ASSERT(parent >= 0);
        f->past |= p->facts[parent].past | 1ull << parent;
    }
    f->author = number_of(p, &f->entry.author);
    f->subject = subject_of(&f->entry, &key) ? number_of(p, &key) : -1;
    f->signers[0] = f->author;
    f->signer_count = 1 + f->entry.cosigner_count;
    for (uint32_t k = 0; k < f->entry.cosigner_count; k++)
        f->signers[k + 1] = number_of(p, &f->entry.cosigners[k]);
    if (f->entry.kind == ADMISSION_GENESIS)
        note_grace(p, &f->entry.as.genesis.policy);
    if (f->entry.kind == ADMISSION_POLICY)
        note_grace(p, &f->entry.as.policy);
    p->count++;
}

/* ---- what entries say of keys ---- */

static bool among(const struct admission_key *keys, uint32_t count, const struct admission_key *key)
{
    for (uint32_t i = 0; i < count; i++) {
        if (admission_key_equal(&keys[i], key))
            return true;
    }
    return false;
}

bool picture_gives(const struct picture *p, uint32_t i, int key, uint32_t power)
{
    const struct admission_entry *e = &p->facts[i].entry;
    if (e->kind == ADMISSION_GENESIS)
        return among(e->as.genesis.roots, e->as.genesis.root_count, &p->keys[key]);
    if (e->kind == ADMISSION_RECOVER)
        return among(e->as.recover.roots, e->as.recover.root_count, &p->keys[key]);
    uint32_t wanted = power != 0 ? power | ADMISSION_POWER_ROOT : ADMISSION_POWERS_ALL;
    return e->kind == ADMISSION_ADMIN_ADD && p->facts[i].subject == key &&
           (e->as.admin_add.powers & wanted) != 0;
}

bool picture_given(const struct picture *p, uint64_t view, int key, uint32_t power)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (picture_has(view, i) && picture_gives(p, i, key, power))
            return true;
    }
    return false;
}

uint32_t picture_power_needed(const struct admission_entry *e)
{
    if (e->kind == ADMISSION_ADMIN_ADD && (e->as.admin_add.powers & ADMISSION_POWER_ROOT) != 0)
        return ADMISSION_POWER_ROOT;
    return e->kind == ADMISSION_ADMIT || e->kind == ADMISSION_DENY || e->kind == ADMISSION_INVITE
               ? ADMISSION_POWER_ADMIT
           : e->kind == ADMISSION_REVOKE ? ADMISSION_POWER_REVOKE
           : e->kind == ADMISSION_SEAL   ? ADMISSION_POWER_SEAL
           : e->kind == ADMISSION_POLICY ? ADMISSION_POWER_ROOT
                                         : ADMISSION_POWER_ADMIN;
}

bool picture_by_node(enum admission_kind kind)
{
    return kind == ADMISSION_REDEEM || kind == ADMISSION_REKEY;
}

bool picture_is_removal(enum admission_kind kind)
{
    return kind == ADMISSION_REVOKE || kind == ADMISSION_DENY || kind == ADMISSION_ADMIN_REMOVE;
}

bool picture_is_grant(enum admission_kind kind)
{
    return !picture_is_removal(kind) && kind != ADMISSION_GENESIS && kind != ADMISSION_RECOVER;
}

uint64_t picture_fork(const struct picture *p, uint64_t view, int key)
{
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < p->count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            const struct fact *a = &p->facts[i], *b = &p->facts[k];
            if (a->author == key && b->author == key && a->entry.seq == b->entry.seq &&
                picture_has(view, i) && picture_has(view, k) && a->entry.seq < lowest)
                lowest = a->entry.seq;
        }
    }
    return lowest;
}

bool picture_suspected(const struct picture *p, uint64_t view, int key)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (picture_has(view, i) && picture_kind(p, i) == ADMISSION_ADMIN_REMOVE &&
            p->facts[i].subject == key)
            return true;
    }
    return picture_fork(p, view, key) != UINT64_MAX;
}

bool picture_sealed_unsuspected(const struct picture *p, uint32_t i)
{
    for (uint32_t s = 0; s < p->count; s++) {
        if (picture_live(p, s, ADMISSION_SEAL) && picture_has(p->facts[s].past, i) &&
            !picture_suspected(p, p->facts[s].past, p->facts[i].author))
            return true;
    }
    return false;
}

bool picture_sealed_without(const struct picture *p, uint32_t grant, uint32_t removal)
{
    for (uint32_t s = 0; s < p->count; s++) {
        if (picture_live(p, s, ADMISSION_SEAL) && picture_has(p->facts[s].past, grant) &&
            !picture_has(p->facts[s].past, removal))
            return true;
    }
    return false;
}

bool picture_sealed_unforked(const struct picture *p, uint32_t grant, int key)
{
    for (uint32_t s = 0; s < p->count; s++) {
        if (picture_live(p, s, ADMISSION_SEAL) && picture_has(p->facts[s].past, grant) &&
            picture_fork(p, p->facts[s].past, key) > p->facts[grant].entry.seq)
            return true;
    }
    return false;
}

bool picture_omitted(const struct picture *p, uint32_t i, uint64_t grace, int except)
{
    const struct fact *f = &p->facts[i];
    for (uint32_t s = 0; s < p->count; s++) {
        if (picture_live(p, s, ADMISSION_SEAL) && s != i && !picture_has(p->facts[s].past, i) &&
            p->facts[s].author != except &&
            p->facts[s].entry.as.seal_of.number > f->entry.seal + grace)
            return true;
    }
    return false;
}

bool picture_cuts(const struct picture *p, uint32_t c, int signer, uint32_t i)
{
    const struct admission_entry *e = &p->facts[c].entry;
    const struct fact *f = &p->facts[i];
    bool author = f->author == signer;
    if (e->kind == ADMISSION_ADMIN_REMOVE)
        return p->facts[c].subject == signer && e->as.admin_remove.has_cut &&
               (!author || f->entry.seq > e->as.admin_remove.cut);
    for (uint32_t k = 0; e->kind == ADMISSION_RECOVER && k < e->as.recover.cut_count; k++) {
        if (admission_key_equal(&e->as.recover.cuts[k].key, &p->keys[signer]) &&
            (!author || f->entry.seq > e->as.recover.cuts[k].cut))
            return true;
    }
    return false;
}

bool picture_take(struct picture *p, const struct admission *log)
{
    p->count = p->key_count = 0;
    p->grace_min = UINT64_MAX;
    p->grace_max = 0;
    if (admission_entry_count(log) > PICTURE_FACTS)
        return false;
    for (uint32_t i = 0; i < admission_entry_count(log); i++)
        take_fact(p, log, i);
    return true;
}
