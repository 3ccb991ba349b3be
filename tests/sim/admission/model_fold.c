// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>

#include "model_authority.h"

struct state {
    const struct model *m;
    struct model_authority a;
    struct model_fold *fold;
    uint64_t epoch[MODEL_ENTRIES];
    bool counted[MODEL_ENTRIES]; /* an admission that passed all but its node's revocation */
    int force[MODEL_KEYS], rekey[MODEL_KEYS];
};

static bool has(uint64_t mask, uint32_t index)
{
    return (mask >> index & 1) != 0;
}

static bool before(const struct state *s, uint32_t index, uint32_t of)
{
    return has(s->m->entries[of].past, index);
}

static const uint8_t *wg_of(const struct state *s, uint32_t index)
{
    const struct admission_entry *e = &s->m->entries[index].entry;
    return e->kind == ADMISSION_ADMIT    ? e->as.admit.wg_key
           : e->kind == ADMISSION_REDEEM ? e->as.redeem.wg_key
                                         : e->as.rekey.wg_key;
}

static int invite_of(const struct state *s, uint32_t index)
{
    for (uint32_t i = 0; i < s->m->count; i++) {
        if (ppn_hash_equal(&s->m->entries[i].id, &s->m->entries[index].entry.as.redeem.invite))
            return (int)i;
    }
    return -1;
}

static bool precedes(const struct state *s, uint32_t a, uint32_t b)
{
    const struct model_entry *x = &s->m->entries[a], *y = &s->m->entries[b];
    if (s->epoch[a] != s->epoch[b])
        return s->epoch[a] < s->epoch[b];
    if (x->entry.kind != y->entry.kind)
        return x->entry.kind < y->entry.kind;
    if (x->height != y->height)
        return x->height < y->height;
    return ppn_hash_compare(&x->id, &y->id) < 0;
}

/* A standing REVOKE of the key that did not know the entry. */
static bool revoked_unseen(const struct state *s, int key, uint32_t index)
{
    for (uint32_t i = 0; i < s->m->count; i++) {
        const struct model_entry *e = &s->m->entries[i];
        if (e->entry.kind == ADMISSION_REVOKE && e->subject == key && s->fold->live[i] &&
            !before(s, index, i) && !model_sealed_against(s->m, &s->a, index, i))
            return true;
    }
    return false;
}

static bool revoked(const struct state *s, int key)
{
    for (uint32_t i = 0; i < s->m->count; i++) {
        const struct model_entry *e = &s->m->entries[i];
        if (e->entry.kind == ADMISSION_REVOKE && e->subject == key && s->fold->live[i])
            return true;
    }
    return false;
}

static bool node_signed(const struct state *s, uint32_t index)
{
    const struct model_entry *e = &s->m->entries[index];
    uint64_t fork = s->a.fork[e->author];
    if (revoked_unseen(s, e->author, index) ||
        (e->entry.seq >= fork && !model_sealed_unforked(s->m, &s->a, e->author, index)))
        return false;
    for (uint32_t i = 0; i < s->m->count; i++) {
        if (s->counted[i] && s->m->entries[i].subject == e->author && before(s, i, index))
            return true;
    }
    return false;
}

static bool invite_stands(const struct state *s, uint32_t index)
{
    int invite = invite_of(s, index);
    return s->fold->live[invite] && !revoked_unseen(s, s->m->entries[invite].subject, index);
}

/* Distinct nodes that the invite let in so far; one of them may come again. */
static bool invite_has_room(const struct state *s, uint32_t index)
{
    int invite = invite_of(s, index);
    uint64_t nodes = 0;
    uint32_t used = 0;
    for (uint32_t k = 0; k < s->m->count; k++) {
        const struct model_entry *other = &s->m->entries[k];
        if (!s->counted[k] || other->entry.kind != ADMISSION_REDEEM || invite_of(s, k) != invite ||
            has(nodes, (uint32_t)other->subject))
            continue;
        nodes |= 1ull << other->subject;
        used++;
    }
    return has(nodes, (uint32_t)s->m->entries[index].subject) ||
           used < s->m->entries[invite].entry.as.invite.uses;
}

static bool denied(const struct state *s, uint32_t index)
{
    const struct model_entry *e = &s->m->entries[index];
    for (uint32_t i = 0; i < s->m->count; i++) {
        const struct model_entry *d = &s->m->entries[i];
        if (d->entry.kind != ADMISSION_DENY || d->subject != e->subject || !s->fold->live[i])
            continue;
        bool knew = before(s, i, index) && e->entry.kind == ADMISSION_ADMIT;
        if (!knew && !before(s, index, i))
            return true;
    }
    return false;
}

/* Whoever counted first with a WireGuard key owns it. */
static bool wg_free(const struct state *s, uint32_t index)
{
    for (uint32_t i = 0; i < s->m->count; i++) {
        if (s->counted[i] && s->m->entries[i].subject != s->m->entries[index].subject &&
            memcmp(wg_of(s, i), wg_of(s, index), ADMISSION_WG_KEY_SIZE) == 0)
            return false;
    }
    return true;
}

/* By the letter of the protocol: fd, 5 bytes of the network, 6 of the hash. Of that only the 6 tell
 * two nodes apart. */
static void address_of(const struct model *m, int node, uint8_t bytes[static 6])
{
    uint8_t both[2 * PPN_HASH_SIZE];
    memcpy(both, m->network.bytes, PPN_HASH_SIZE);
    memcpy(both + PPN_HASH_SIZE, m->keys[node].bytes, PPN_ID_SIZE);
    struct ppn_hash hash = m->crypto->hash(m->crypto->ctx, ppn_slice("ppn-address-1", 13),
                                           ppn_slice(both, sizeof both));
    memcpy(bytes, hash.bytes, 6);
}

/* Whoever counted first with a mesh address owns it. */
static bool address_free(const struct state *s, uint32_t index)
{
    uint8_t mine[6], other[6];
    address_of(s->m, s->m->entries[index].subject, mine);
    for (uint32_t i = 0; i < s->m->count; i++) {
        const struct model_entry *e = &s->m->entries[i];
        if (!s->counted[i] || e->entry.kind == ADMISSION_REKEY ||
            e->subject == s->m->entries[index].subject)
            continue;
        address_of(s->m, e->subject, other);
        if (memcmp(mine, other, sizeof mine) == 0)
            return false;
    }
    return true;
}

static void take(struct state *s, uint32_t index)
{
    const struct model_entry *e = &s->m->entries[index];
    enum admission_kind kind = e->entry.kind;
    if (kind == ADMISSION_ADMIT ? !model_stands(s->m, &s->a, index) : !node_signed(s, index))
        return;
    if (kind == ADMISSION_REKEY) {
        int force = s->force[e->subject];
        s->fold->live[index] = s->counted[index] = wg_free(s, index);
        if (s->fold->live[index] && force >= 0 && !before(s, index, (uint32_t)force))
            s->rekey[e->subject] = (int)index;
        return;
    }
    if ((kind == ADMISSION_REDEEM && !invite_stands(s, index)) || denied(s, index) ||
        !wg_free(s, index) || !address_free(s, index) ||
        (kind == ADMISSION_REDEEM && !invite_has_room(s, index)))
        return;
    s->counted[index] = true;
    s->fold->live[index] = !revoked(s, e->subject);
    int old = s->force[e->subject];
    if (!s->fold->live[index] ||
        (kind != ADMISSION_ADMIT && old >= 0 && s->m->entries[old].entry.kind != ADMISSION_REDEEM))
        return;
    s->force[e->subject] = (int)index;
    int rekey = s->rekey[e->subject];
    if (rekey >= 0 && before(s, (uint32_t)rekey, index))
        s->rekey[e->subject] = -1;
}

static void find_epochs(struct state *s)
{
    for (uint32_t i = 0; i < s->m->count; i++) {
        s->epoch[i] = MODEL_NEVER;
        for (uint32_t k = 0; k < s->m->count; k++) {
            if (has(s->a.seals, k) && before(s, i, k) &&
                s->m->entries[k].entry.as.seal_of.number < s->epoch[i])
                s->epoch[i] = s->m->entries[k].entry.as.seal_of.number;
        }
    }
}

static bool name_taken(const struct model_fold *fold, const char *name)
{
    for (uint32_t i = 0; i < fold->member_count; i++) {
        if (strcmp(fold->members[i].member.name, name) == 0)
            return true;
    }
    return false;
}

static void add_member(struct state *s, uint32_t index, int64_t now)
{
    const struct model_entry *e = &s->m->entries[index];
    const struct admission_entry *invite =
        e->entry.kind == ADMISSION_REDEEM ? &s->m->entries[invite_of(s, index)].entry : NULL;
    uint64_t lease = invite != NULL ? invite->as.invite.lease_ms : e->entry.as.admit.lease_ms;
    int64_t end = lease == 0 ? 0 : e->entry.time_unix_ms + (int64_t)lease;
    for (uint32_t k = 0; k < s->m->count && lease != 0; k++) {
        int64_t renewed = s->m->entries[k].entry.as.seal_of.renew_unix_ms;
        if (has(s->a.seals, k) && before(s, index, k) && renewed > end)
            end = renewed;
    }
    if (end != 0 && end <= now)
        return;
    struct model_member *made = &s->fold->members[s->fold->member_count];
    memset(made, 0, sizeof *made);
    made->node = e->subject;
    made->member.id = admission_key_node(&s->m->keys[e->subject]);
    made->member.lease_until_unix_ms = end;
    made->member.entry = e->id;
    int rekey = s->rekey[e->subject];
    memcpy(made->member.wg_key, wg_of(s, rekey >= 0 ? (uint32_t)rekey : index),
           ADMISSION_WG_KEY_SIZE);
    const char *asked = invite != NULL ? e->entry.as.redeem.name : e->entry.as.admit.name;
    char hex[PPN_HEX_MAX];
    ppn_hex(made->member.id.bytes, PPN_ID_SIZE, hex);
    snprintf(made->member.name, sizeof made->member.name, "%s", asked);
    for (int digits = 4; name_taken(s->fold, made->member.name) && digits <= 32; digits *= 2)
        snprintf(made->member.name, sizeof made->member.name, "%s-%.*s", asked, digits, hex);
    s->fold->member_count++;
}

static void fold_view(const struct model *m, uint64_t view, int64_t now_unix_ms,
                      struct model_fold *fold)
{
    struct state s = {.m = m, .fold = fold};
    uint32_t order[MODEL_ENTRIES], count = 0;
    memset(fold, 0, sizeof *fold);
    model_authority(m, view, &s.a);
    memcpy(fold->powers, s.a.powers, sizeof fold->powers);
    memset(s.force, -1, sizeof s.force);
    memset(s.rekey, -1, sizeof s.rekey);
    find_epochs(&s);
    for (uint32_t i = 0; i < m->count; i++) {
        enum admission_kind kind = m->entries[i].entry.kind;
        if (!has(view, i))
            continue;
        if (kind == ADMISSION_GENESIS || kind == ADMISSION_RECOVER)
            fold->live[i] = has(s.a.line, i);
        else if (kind == ADMISSION_SEAL)
            fold->live[i] = has(s.a.seals, i) && model_stands(m, &s.a, i);
        else if (kind == ADMISSION_DENY || kind == ADMISSION_REVOKE || kind == ADMISSION_INVITE ||
                 kind == ADMISSION_POLICY || kind == ADMISSION_ADMIN_ADD ||
                 kind == ADMISSION_ADMIN_REMOVE)
            fold->live[i] = model_stands(m, &s.a, i);
        else
            order[count++] = i;
    }
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t k = i; k > 0 && precedes(&s, order[k], order[k - 1]); k--) {
            uint32_t swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    }
    for (uint32_t i = 0; i < count; i++)
        take(&s, order[i]);
    for (uint32_t i = 0; i < count; i++) {
        const struct model_entry *e = &m->entries[order[i]];
        if (e->entry.kind != ADMISSION_REKEY && s.force[e->subject] == (int)order[i])
            add_member(&s, order[i], now_unix_ms);
    }
}

void model_fold(const struct model *m, int64_t now_unix_ms, struct model_fold *fold)
{
    fold_view(m, m->count == 64 ? UINT64_MAX : (1ull << m->count) - 1, now_unix_ms, fold);
}

struct ppn_hash model_seal_members(const struct model *m, uint64_t past)
{
    enum { ROW = 96 };
    static struct model_fold fold;
    uint8_t rows[MODEL_KEYS * ROW];
    fold_view(m, past, INT64_MIN, &fold); /* before the end of any lease */
    for (uint32_t i = 0; i < fold.member_count; i++) {
        uint32_t at = i;
        const struct admission_member *member = &fold.members[i].member;
        for (; at > 0 && memcmp(rows + ROW * (at - 1), member->id.bytes, 32) > 0; at--)
            memcpy(rows + ROW * at, rows + ROW * (at - 1), ROW);
        memcpy(rows + ROW * at, member->id.bytes, 32);
        memcpy(rows + ROW * at + 32, member->wg_key, 32);
        memcpy(rows + ROW * at + 64, member->entry.bytes, 32);
    }
    return m->crypto->hash(m->crypto->ctx, ppn_slice("ppn-seal-members-1", 18),
                           ppn_slice(rows, (size_t)ROW * fold.member_count));
}
