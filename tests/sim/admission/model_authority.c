// SPDX-License-Identifier: ISC
#include "model_authority.h"

#include <string.h>

static bool has(uint64_t mask, uint32_t index)
{
    return (mask >> index & 1) != 0;
}

static uint32_t kind_power(enum admission_kind kind)
{
    return kind == ADMISSION_ADMIT || kind == ADMISSION_DENY || kind == ADMISSION_INVITE
               ? ADMISSION_POWER_ADMIT
           : kind == ADMISSION_REVOKE                                      ? ADMISSION_POWER_REVOKE
           : kind == ADMISSION_ADMIN_ADD || kind == ADMISSION_ADMIN_REMOVE ? ADMISSION_POWER_ADMIN
           : kind == ADMISSION_SEAL                                        ? ADMISSION_POWER_SEAL
           : kind == ADMISSION_POLICY                                      ? ADMISSION_POWER_ROOT
                                                                           : 0;
}

static bool is_root_of(const struct model *m, uint32_t index, int key)
{
    const struct admission_entry *e = &m->entries[index].entry;
    uint32_t count = e->kind == ADMISSION_GENESIS   ? e->as.genesis.root_count
                     : e->kind == ADMISSION_RECOVER ? e->as.recover.root_count
                                                    : 0;
    const struct admission_key *roots =
        e->kind == ADMISSION_GENESIS ? e->as.genesis.roots : e->as.recover.roots;
    for (uint32_t i = 0; i < count; i++) {
        if (model_key(m, &roots[i]) == key)
            return true;
    }
    return false;
}

/* An entry of the signer numbered `seq` had it in its past, or it is the author's own by then. */
static bool within(const struct model *m, uint64_t view, int signer, uint64_t seq, uint32_t index)
{
    if (m->entries[index].author == signer)
        return m->entries[index].entry.seq <= seq;
    for (uint32_t i = 0; i < m->count && seq > 0; i++) {
        if (has(view, i) && m->entries[i].author == signer && m->entries[i].entry.seq == seq &&
            (i == index || has(m->entries[i].past, index)))
            return true;
    }
    return false;
}

uint64_t model_fork(const struct model *m, uint64_t view, int key)
{
    uint64_t lowest = MODEL_NEVER;
    for (uint32_t i = 0; i < m->count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (has(view, i) && has(view, k) && m->entries[i].author == key &&
                m->entries[k].author == key && m->entries[i].entry.seq == m->entries[k].entry.seq &&
                m->entries[i].entry.seq < lowest)
                lowest = m->entries[i].entry.seq;
        }
    }
    return lowest;
}

/* A recovery that rules beside the root grant and does not name whom it is about, or -1. */
static int late_root_grant(const struct model *m, const struct model_authority *a, uint32_t grant)
{
    const struct model_entry *e = &m->entries[grant];
    if (e->entry.kind != ADMISSION_ADMIN_ADD ||
        (e->entry.as.admin_add.powers & ADMISSION_POWER_ROOT) == 0)
        return -1;
    for (uint32_t r = 1; r < m->count; r++) {
        if (has(a->line, r) && !has(e->past, r) && !has(m->entries[r].past, grant) &&
            !is_root_of(m, r, e->subject))
            return (int)r;
    }
    return -1;
}

/* The signer wrote the entry beside a recovery, by a power that it has from such a grant alone. */
static bool late_power(const struct model *m, const struct model_authority *a, int signer,
                       uint32_t index, uint32_t power)
{
    bool late = false;
    for (uint32_t i = 1; i < m->count; i++) {
        const struct model_entry *e = &m->entries[i];
        if (!has(a->view, i) || e->entry.kind != ADMISSION_ADMIN_ADD || e->subject != signer)
            continue;
        int recovery = late_root_grant(m, a, i);
        if (recovery < 0 && has(m->entries[index].past, i) &&
            (e->entry.as.admin_add.powers & (power | ADMISSION_POWER_ROOT)) != 0)
            return false;
        late = late || (recovery >= 0 && !has(m->entries[index].past, (uint32_t)recovery) &&
                        !has(m->entries[recovery].past, index));
    }
    return late;
}

static bool outranked(const struct model *m, const struct model_authority *a, int signer,
                      uint32_t index)
{
    const struct admission_entry *e = &m->entries[index].entry;
    bool adds_root =
        e->kind == ADMISSION_ADMIN_ADD && (e->as.admin_add.powers & ADMISSION_POWER_ROOT) != 0;
    if (a->dropped[signer] >= 0 && !has(m->entries[a->dropped[signer]].past, index))
        return true;
    if (late_power(m, a, signer, index, adds_root ? ADMISSION_POWER_ROOT : kind_power(e->kind)))
        return true;
    return a->cut_all[signer] != MODEL_NEVER &&
           !within(m, a->view, signer, a->cut_all[signer], index);
}

bool model_sealed_against(const struct model *m, const struct model_authority *a, uint32_t grant,
                          uint32_t removal)
{
    for (uint32_t s = 0; s < m->count; s++) {
        if (has(a->seals, s) && has(m->entries[s].past, grant) && !has(m->entries[s].past, removal))
            return true;
    }
    return false;
}

bool model_sealed_unforked(const struct model *m, const struct model_authority *a, int key,
                           uint32_t grant)
{
    const struct model_entry *e = &m->entries[grant];
    for (uint32_t s = 0; s < m->count; s++) {
        uint64_t fork = model_fork(m, m->entries[s].past, key);
        if (has(a->seals, s) && has(m->entries[s].past, grant) &&
            (fork == MODEL_NEVER || (e->author == key && e->entry.seq < fork)))
            return true;
    }
    return false;
}

static bool chained(const struct model *m, const struct model_authority *a, int signer,
                    uint32_t index)
{
    uint32_t power = kind_power(m->entries[index].entry.kind);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_entry *e = &m->entries[i];
        if (!has(a->standing, i) || !has(m->entries[index].past, i))
            continue;
        if (is_root_of(m, i, signer) ||
            (e->entry.kind == ADMISSION_ADMIN_ADD && e->subject == signer &&
             (e->entry.as.admin_add.powers & (power | ADMISSION_POWER_ROOT)) != 0))
            return true;
    }
    return false;
}

static bool grant_signed(const struct model *m, const struct model_authority *a, int signer,
                         uint32_t index)
{
    if (outranked(m, a, signer, index))
        return false;
    if (a->cut_grants[signer] != MODEL_NEVER &&
        !within(m, a->view, signer, a->cut_grants[signer], index))
        return false;
    uint64_t fork = a->fork[signer];
    if (fork != MODEL_NEVER && !within(m, a->view, signer, fork - 1, index) &&
        !model_sealed_unforked(m, a, signer, index))
        return false;
    for (uint32_t r = 0; r < m->count; r++) {
        const struct model_entry *removal = &m->entries[r];
        if (!has(a->removals, r) || removal->subject != signer || has(removal->past, index))
            continue;
        bool root_cut = removal->root_tier && removal->entry.as.admin_remove.has_cut;
        if (root_cut || !model_sealed_against(m, a, index, r))
            return false;
    }
    return chained(m, a, signer, index);
}

/* A seal that counts covers the entry and knew nothing against its author. */
static bool sealed_unsuspected(const struct model *m, const struct model_authority *a,
                               uint32_t index)
{
    int author = m->entries[index].author;
    for (uint32_t s = 0; s < m->count; s++) {
        uint64_t past = m->entries[s].past;
        bool known = model_fork(m, past, author) != MODEL_NEVER;
        for (uint32_t r = 0; r < m->count; r++)
            known = known || (has(past, r) && m->entries[r].subject == author &&
                              m->entries[r].entry.kind == ADMISSION_ADMIN_REMOVE);
        if (has(a->seals, s) && has(past, index) && !known)
            return true;
    }
    return false;
}

static bool backdated(const struct model *m, const struct model_authority *a, uint32_t index)
{
    const struct model_entry *e = &m->entries[index];
    for (uint32_t s = 0; s < m->count && a->suspect[e->author]; s++) {
        if (has(a->seals, s) && s != index &&
            m->entries[s].entry.as.seal_of.number > e->entry.seal + a->grace &&
            !has(m->entries[s].past, index))
            return !sealed_unsuspected(m, a, index);
    }
    return false;
}

bool model_stands(const struct model *m, const struct model_authority *a, uint32_t index)
{
    const struct model_entry *e = &m->entries[index];
    enum admission_kind kind = e->entry.kind;
    bool removal =
        kind == ADMISSION_ADMIN_REMOVE || kind == ADMISSION_REVOKE || kind == ADMISSION_DENY;
    uint32_t good = 0;
    for (uint32_t i = 0; i < e->signer_count; i++) {
        bool counts = removal ? !outranked(m, a, e->signers[i], index)
                              : grant_signed(m, a, e->signers[i], index);
        if (i == 0 && !counts)
            return false;
        good += counts;
    }
    return good >= e->quorum && !backdated(m, a, index);
}

static void recover(const struct model *m, struct model_authority *a, uint32_t recovery)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_entry *old = &m->entries[i];
        if (!has(a->view, i) || i == recovery || has(old->past, recovery))
            continue;
        for (uint32_t k = 0; k < m->key_count; k++) {
            bool root = is_root_of(m, i, (int)k) ||
                        (old->entry.kind == ADMISSION_ADMIN_ADD && old->subject == (int)k &&
                         has(m->entries[recovery].past, i) &&
                         (old->entry.as.admin_add.powers & ADMISSION_POWER_ROOT) != 0);
            if (root && !is_root_of(m, recovery, (int)k) && a->dropped[k] < 0)
                a->dropped[k] = (int)recovery;
        }
    }
    const struct admission_recover *r = &m->entries[recovery].entry.as.recover;
    for (uint32_t i = 0; i < r->cut_count; i++) {
        int key = model_key(m, &r->cuts[i].key);
        bool admin = false;
        for (uint32_t e = 0; e < m->count && key >= 0; e++)
            admin =
                admin || is_root_of(m, e, key) ||
                (m->entries[e].entry.kind == ADMISSION_ADMIN_ADD && m->entries[e].subject == key);
        if (admin && r->cuts[i].cut < a->cut_all[key])
            a->cut_all[key] = r->cuts[i].cut;
    }
}

static void generations(const struct model *m, struct model_authority *a)
{
    a->line = 1;
    for (;;) {
        int best = -1;
        for (uint32_t i = 0; i < m->count; i++) {
            const struct model_entry *e = &m->entries[i];
            if (has(a->view, i) && e->entry.kind == ADMISSION_RECOVER &&
                ppn_hash_equal(&e->entry.as.recover.base, &m->entries[a->generation].id) &&
                (best < 0 || ppn_hash_compare(&e->id, &m->entries[best].id) < 0))
                best = (int)i;
        }
        if (best < 0)
            return;
        recover(m, a, (uint32_t)best);
        a->generation = (uint32_t)best;
        a->line |= 1ull << best;
    }
}

static void removals(const struct model *m, struct model_authority *a)
{
    a->removals = 0;
    for (uint32_t k = 0; k < m->key_count; k++)
        a->cut_grants[k] = MODEL_NEVER;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_entry *e = &m->entries[i];
        if (!has(a->view, i) || e->entry.kind != ADMISSION_ADMIN_REMOVE || !model_stands(m, a, i))
            continue;
        a->removals |= 1ull << i;
        a->suspect[e->subject] = true;
        if (e->entry.as.admin_remove.has_cut &&
            e->entry.as.admin_remove.cut < a->cut_grants[e->subject])
            a->cut_grants[e->subject] = e->entry.as.admin_remove.cut;
    }
}

static void grants(const struct model *m, struct model_authority *a)
{
    a->standing = a->line;
    for (uint32_t i = 1; i < m->count; i++) {
        enum admission_kind kind = m->entries[i].entry.kind;
        bool control =
            kind == ADMISSION_ADMIN_ADD || kind == ADMISSION_POLICY || kind == ADMISSION_SEAL;
        if (has(a->view, i) && control && model_stands(m, a, i))
            a->standing |= 1ull << i;
    }
}

static uint32_t seal_generation(const struct model *m, const struct model_authority *a, uint32_t s)
{
    uint32_t generation = 0;
    for (uint32_t i = 1; i < m->count; i++) {
        if (has(a->line, i) && has(m->entries[s].past, i) &&
            (generation == 0 || has(m->entries[i].past, generation)))
            generation = i;
    }
    return generation;
}

static void seals(const struct model *m, struct model_authority *a)
{
    uint64_t candidates = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (has(a->standing, i) && m->entries[i].entry.kind == ADMISSION_SEAL)
            candidates |= 1ull << i;
    }
    a->seals = candidates;
    for (uint32_t i = 0; i < m->count; i++) {
        for (uint32_t k = 0; k < m->count; k++) {
            uint32_t generation = seal_generation(m, a, i);
            uint64_t number = m->entries[i].entry.as.seal_of.number;
            if (i == k || !has(candidates, i) || !has(candidates, k) ||
                m->entries[k].entry.as.seal_of.number != number ||
                seal_generation(m, a, k) != generation)
                continue;
            for (uint32_t s = 0; s < m->count; s++) {
                if (has(candidates, s) && seal_generation(m, a, s) == generation &&
                    m->entries[s].entry.as.seal_of.number >= number)
                    a->seals &= ~(1ull << s);
            }
        }
    }
}

/* A seal that counts, made that many seals later, knew it. */
static bool waited(const struct model *m, const struct model_authority *a, uint32_t index)
{
    const struct model_entry *e = &m->entries[index];
    for (uint32_t s = 0; s < m->count && e->delay > 0; s++) {
        if (has(a->seals, s) && has(m->entries[s].past, index) &&
            m->entries[s].entry.as.seal_of.number >= e->entry.seal + e->delay)
            return true;
    }
    return e->delay == 0;
}

static void policy(const struct model *m, struct model_authority *a)
{
    uint32_t last = 0;
    a->policy = m->entries[0].entry.as.genesis.policy;
    for (uint32_t i = 1; i < m->count; i++) {
        const struct model_entry *e = &m->entries[i], *best = &m->entries[last];
        if (has(a->standing, i) && e->entry.kind == ADMISSION_POLICY && waited(m, a, i) &&
            (e->height > best->height ||
             (e->height == best->height && ppn_hash_compare(&e->id, &best->id) > 0)))
            last = i;
    }
    if (last != 0)
        a->policy = m->entries[last].entry.as.policy;
    if (a->generation != 0 && !has(m->entries[last].past, a->generation))
        a->policy.root = m->entries[a->generation].entry.as.recover.root_needed;
}

static void powers(const struct model *m, struct model_authority *a)
{
    for (uint32_t k = 0; k < m->key_count; k++) {
        uint32_t power = is_root_of(m, a->generation, (int)k) ? ADMISSION_POWERS_ALL : 0;
        bool gone = a->fork[k] != MODEL_NEVER || a->dropped[k] >= 0;
        for (uint32_t i = 1; i < m->count; i++) {
            const struct model_entry *e = &m->entries[i];
            gone = gone || (has(a->removals, i) && e->subject == (int)k);
            if (has(a->standing, i) && e->entry.kind == ADMISSION_ADMIN_ADD &&
                e->subject == (int)k && late_root_grant(m, a, i) < 0)
                power |= (e->entry.as.admin_add.powers & ADMISSION_POWER_ROOT) != 0
                             ? ADMISSION_POWERS_ALL
                             : e->entry.as.admin_add.powers;
        }
        a->powers[k] = gone ? 0 : power;
    }
}

void model_authority(const struct model *m, uint64_t view, struct model_authority *a)
{
    uint64_t recovered[MODEL_KEYS]; /* what the recoveries alone cut */
    memset(a, 0, sizeof *a);
    a->view = view;
    for (uint32_t k = 0; k < MODEL_KEYS; k++) {
        a->dropped[k] = -1;
        a->cut_all[k] = a->cut_grants[k] = MODEL_NEVER;
    }
    generations(m, a);
    memcpy(recovered, a->cut_all, sizeof recovered);
    for (uint32_t k = 0; k < m->key_count; k++) {
        a->fork[k] = model_fork(m, view, (int)k);
        a->suspect[k] = a->fork[k] != MODEL_NEVER;
    }
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_entry *e = &m->entries[i];
        int dropped = a->dropped[e->author];
        if (has(view, i) && e->entry.kind == ADMISSION_ADMIN_REMOVE && e->root_tier &&
            e->entry.as.admin_remove.has_cut && e->entry.seq <= recovered[e->author] &&
            (dropped < 0 || has(m->entries[dropped].past, i)) &&
            !late_power(m, a, e->author, i, ADMISSION_POWER_ROOT) &&
            e->entry.as.admin_remove.cut < a->cut_all[e->subject])
            a->cut_all[e->subject] = e->entry.as.admin_remove.cut;
    }
    a->grace = UINT32_MAX;
    removals(m, a);
    grants(m, a);
    policy(m, a);
    a->grace = a->policy.grace;
    seals(m, a);
    removals(m, a);
    grants(m, a);
    policy(m, a);
    powers(m, a);
}
