// SPDX-License-Identifier: ISC
#include "model.h"

#include <stdio.h>
#include <string.h>

#include "admission/admission.h"
#include "admission/request.h"
#include "model_authority.h"

static bool has(uint64_t mask, uint32_t index)
{
    return (mask >> index & 1) != 0;
}

int model_key(const struct model *m, const struct admission_key *key)
{
    for (uint32_t i = 0; i < m->key_count; i++) {
        if (admission_key_equal(&m->keys[i], key))
            return (int)i;
    }
    return -1;
}

static int node_key(const struct model *m, const struct ppn_node_id *node)
{
    struct admission_key key = admission_node_key(node);
    return model_key(m, &key);
}

static int entry_of(const struct model *m, const struct ppn_hash *id)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (ppn_hash_equal(&m->entries[i].id, id))
            return (int)i;
    }
    return -1;
}

static int subject_of(const struct model *m, const struct admission_entry *e)
{
    if (e->kind == ADMISSION_ADMIT)
        return node_key(m, &e->as.admit.node);
    if (e->kind == ADMISSION_DENY)
        return node_key(m, &e->as.deny.node);
    if (e->kind == ADMISSION_REDEEM)
        return node_key(m, &e->as.redeem.node);
    if (e->kind == ADMISSION_REVOKE)
        return model_key(m, &e->as.revoke.subject);
    if (e->kind == ADMISSION_INVITE)
        return model_key(m, &e->as.invite.key);
    if (e->kind == ADMISSION_ADMIN_ADD)
        return model_key(m, &e->as.admin_add.key);
    if (e->kind == ADMISSION_ADMIN_REMOVE)
        return model_key(m, &e->as.admin_remove.key);
    return e->kind == ADMISSION_REKEY ? model_key(m, &e->author) : -1;
}

/* ---- acceptance ---- */

/* An entry of the kind about the key in the past, by an author that no root has cut there. */
static bool told(const struct model *m, const struct model_authority *a, int key,
                 enum admission_kind kind)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_entry *e = &m->entries[i];
        if (has(a->view, i) && e->subject == key && e->entry.kind == kind &&
            e->entry.seq <= a->cut_all[e->author])
            return true;
    }
    return false;
}

static bool ever_admin(const struct model *m, uint64_t view, int key)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct admission_entry *e = &m->entries[i].entry;
        bool names = e->kind == ADMISSION_ADMIN_ADD && m->entries[i].subject == key;
        for (uint32_t k = 0; e->kind == ADMISSION_GENESIS && k < e->as.genesis.root_count; k++)
            names = names || model_key(m, &e->as.genesis.roots[k]) == key;
        for (uint32_t k = 0; e->kind == ADMISSION_RECOVER && k < e->as.recover.root_count; k++)
            names = names || model_key(m, &e->as.recover.roots[k]) == key;
        if (has(view, i) && names)
            return true;
    }
    return false;
}

static bool accept_node_entry(const struct model *m, const struct model_authority *a,
                              const struct model_entry *e)
{
    if (e->signer_count != 1 || told(m, a, e->author, ADMISSION_REVOKE) ||
        (!told(m, a, e->author, ADMISSION_ADMIT) && !told(m, a, e->author, ADMISSION_REDEEM)))
        return false;
    if (e->entry.kind == ADMISSION_REKEY)
        return true;
    int invite = entry_of(m, &e->entry.as.redeem.invite);
    if (invite < 0 || !has(e->past, (uint32_t)invite) ||
        m->entries[invite].entry.kind != ADMISSION_INVITE)
        return false;
    const struct admission_invite *i = &m->entries[invite].entry.as.invite;
    uint8_t buffer[ADMISSION_INVITE_TRANSCRIPT_MAX];
    struct ppn_slice transcript =
        admission_invite_transcript(&m->network, &i->key, &e->entry.as.redeem.node,
                                    e->entry.as.redeem.wg_key, e->entry.as.redeem.name, buffer);
    return m->crypto->verify(m->crypto->ctx, &i->key, transcript, &e->entry.as.redeem.signature) &&
           (i->expires_unix_ms == 0 || e->entry.time_unix_ms <= i->expires_unix_ms);
}

static bool accept_recovery(const struct model *m, const struct model_authority *a,
                            struct model_entry *e)
{
    int base = entry_of(m, &e->entry.as.recover.base);
    if (base < 0 || (uint32_t)base != a->generation)
        return false;
    const struct admission_entry *old = &m->entries[base].entry;
    bool genesis = old->kind == ADMISSION_GENESIS;
    uint32_t count = genesis ? old->as.genesis.recovery_count : old->as.recover.recovery_count;
    const struct ppn_hash *hashes = genesis ? old->as.genesis.recovery : old->as.recover.recovery;
    e->quorum = genesis ? old->as.genesis.recovery_needed : old->as.recover.recovery_needed;
    for (uint32_t s = 0; s < e->signer_count; s++) {
        struct ppn_hash hash = admission_recovery_hash(m->crypto, &m->keys[e->signers[s]]);
        bool found = false;
        for (uint32_t i = 0; i < count; i++)
            found = found || ppn_hash_equal(&hash, &hashes[i]);
        if (!found)
            return false;
    }
    return e->quorum > 0 && e->signer_count >= e->quorum;
}

static bool accept_removal(const struct model *m, const struct model_authority *a,
                           const struct model_entry *e)
{
    const struct admission_admin_remove *remove = &e->entry.as.admin_remove;
    if (!ever_admin(m, e->past, e->subject))
        return false;
    if ((a->powers[e->subject] & ADMISSION_POWER_ROOT) == 0)
        return true;
    uint32_t roots = 0;
    for (uint32_t k = 0; k < m->key_count; k++)
        roots += (a->powers[k] & ADMISSION_POWER_ROOT) != 0;
    return e->author == e->subject && !remove->has_cut && roots > a->policy.root;
}

static bool accept_admin_entry(const struct model *m, const struct model_authority *a,
                               struct model_entry *e)
{
    enum admission_kind kind = e->entry.kind;
    bool root_add =
        kind == ADMISSION_ADMIN_ADD && (e->entry.as.admin_add.powers & ADMISSION_POWER_ROOT) != 0;
    bool grants = kind == ADMISSION_ADMIT || kind == ADMISSION_DENY || kind == ADMISSION_INVITE;
    uint32_t need = grants                                 ? ADMISSION_POWER_ADMIT
                    : kind == ADMISSION_REVOKE             ? ADMISSION_POWER_REVOKE
                    : kind == ADMISSION_SEAL               ? ADMISSION_POWER_SEAL
                    : kind == ADMISSION_POLICY || root_add ? ADMISSION_POWER_ROOT
                                                           : ADMISSION_POWER_ADMIN;
    e->quorum = grants                         ? a->policy.admit
                : kind == ADMISSION_REVOKE     ? a->policy.revoke
                : kind == ADMISSION_SEAL       ? 1
                : need == ADMISSION_POWER_ROOT ? a->policy.root
                                               : a->policy.admin;
    if (kind == ADMISSION_ADMIN_REMOVE && e->author == e->subject) {
        need = 0;
        e->quorum = 1;
    }
    bool root = true;
    for (uint32_t i = 0; i < e->signer_count; i++) {
        uint32_t power = a->powers[e->signers[i]];
        root = root && (power & ADMISSION_POWER_ROOT) != 0;
        if ((power & need) != need || (i == 0 && power == 0))
            return false;
    }
    e->root_tier = root && e->signer_count >= a->policy.root;
    if (e->signer_count < e->quorum)
        return false;
    e->delay = a->policy.delay;
    if (kind == ADMISSION_SEAL) {
        struct ppn_hash members = model_seal_members(m, e->past);
        return ppn_hash_equal(&members, &e->entry.as.seal_of.members);
    }
    if (kind == ADMISSION_ADMIT)
        return !told(m, a, e->subject, ADMISSION_REVOKE);
    if (kind == ADMISSION_ADMIN_REMOVE)
        return accept_removal(m, a, e);
    for (uint32_t i = 0; kind == ADMISSION_ADMIN_ADD && i < m->count; i++) {
        if (has(a->removals, i) && m->entries[i].subject == e->subject)
            return false;
    }
    return true;
}

static bool accept_chain(const struct model *m, struct model_entry *e)
{
    const struct admission_entry *entry = &e->entry;
    uint64_t seal = 0;
    for (uint32_t i = 0; i < entry->parent_count; i++) {
        int parent = entry_of(m, &entry->parents[i]);
        if (parent < 0)
            return false;
        e->past |= m->entries[parent].past | 1ull << parent;
        if (m->entries[parent].height + 1 > e->height)
            e->height = m->entries[parent].height + 1;
    }
    for (uint32_t i = 0; i < m->count; i++) {
        if (has(e->past, i) && m->entries[i].entry.kind == ADMISSION_SEAL &&
            m->entries[i].entry.as.seal_of.number > seal)
            seal = m->entries[i].entry.as.seal_of.number;
    }
    if (entry->seq > 1) {
        int prev = entry_of(m, &entry->prev);
        if (prev < 0 || !has(e->past, (uint32_t)prev) || m->entries[prev].author != e->author ||
            m->entries[prev].entry.seq + 1 != entry->seq)
            return false;
    }
    return entry->seal == seal &&
           (entry->kind != ADMISSION_SEAL || entry->as.seal_of.number == seal + 1);
}

bool model_offer(struct model *m, const struct admission_entry *entry, const struct ppn_hash *id)
{
    struct model_authority a;
    struct model_entry *e = &m->entries[m->count];
    memset(e, 0, sizeof *e);
    e->entry = *entry;
    e->id = *id;
    e->author = model_key(m, &entry->author);
    e->subject = subject_of(m, entry);
    e->quorum = 1;
    e->signers[e->signer_count++] = e->author;
    for (uint32_t i = 0; i < entry->cosigner_count; i++)
        e->signers[e->signer_count++] = model_key(m, &entry->cosigners[i]);
    if (entry->kind == ADMISSION_GENESIS) {
        m->network = *id;
        e->root_tier = true;
        m->count = 1;
        return true;
    }
    if (!accept_chain(m, e))
        return false;
    model_authority(m, e->past, &a);
    bool good = entry->kind == ADMISSION_REDEEM || entry->kind == ADMISSION_REKEY
                    ? accept_node_entry(m, &a, e)
                : entry->kind == ADMISSION_RECOVER ? accept_recovery(m, &a, e)
                                                   : accept_admin_entry(m, &a, e);
    m->count += good;
    return good;
}
