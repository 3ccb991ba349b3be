// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/author.h"
#include "admission/sync.h"
#include "base/assert.h"
#include "invariants.h"

/* What takes further logs to see: parts of a history that meet (13), other clocks (14), what was
 * there when a seal was made (8); and the next thing that an admin does (5). */

static const int64_t EARLY_MS = WORLD_START_MS - 1000000, LATE_MS = WORLD_START_MS + 1000000000;

static struct admission *another(const struct admission *like, const struct world *w)
{
    struct admission_config config = {
        .crypto = world_crypto(), .network = w->model.network, .seed = like->count};
    struct admission *log = admission_new(&config);
    PPN_ASSERT(log != NULL);
    log->mutant = like->mutant;
    return log;
}

static void give(struct admission *to, const struct admission *from, uint32_t index, int64_t now_ms)
{
    struct admission_update update = {0};
    (void)admission_offer(to, (struct ppn_wall){now_ms}, 0,
                          admission_record_at(from, index).envelope, &update, NULL);
    admission_update_free(&update);
}

/* ---- 13 ---- */

/* Three groups, each of which saw some entries and what those build on. */
static bool was_seen(const struct admission *log, uint32_t index, uint32_t group)
{
    for (uint32_t i = index; i < admission_entry_count(log); i++) {
        if (log->items[i].id.bytes[0] % WORLD_GROUPS == group &&
            (i == index || admission_before(log, index, i)))
            return true;
    }
    return false;
}

static void catch_up(struct admission *to, const struct admission *from, int64_t now_ms)
{
    static struct admission_sync_have have;
    static struct admission_sync_batch batch;
    admission_sync_have(to, &have);
    if (admission_sync_answer(from, &have, &batch) != PPN_OK)
        return;
    for (uint32_t i = 0; i < batch.count; i++)
        give(to, from, batch.indexes[i], now_ms);
}

/* In a row: the ends are two apart, so two rounds must do. */
static void check_heal(const struct admission *log, const struct world *w, struct invariants *out)
{
    struct admission *groups[WORLD_GROUPS];
    struct ppn_hash want = admission_digest(log), members = admission_members_digest(log);
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        groups[g] = another(log, w);
        for (uint32_t i = 0; i < admission_entry_count(log); i++) {
            if (was_seen(log, i, g))
                give(groups[g], log, i, w->now_unix_ms);
        }
    }
    for (uint32_t round = 0; round < WORLD_GROUPS - 1; round++) {
        for (uint32_t g = 0; g + 1 < WORLD_GROUPS; g++) {
            catch_up(groups[g], groups[g + 1], w->now_unix_ms);
            catch_up(groups[g + 1], groups[g], w->now_unix_ms);
        }
    }
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        struct ppn_hash digest = admission_digest(groups[g]);
        struct ppn_hash fold = admission_members_digest(groups[g]);
        if (!ppn_hash_equal(&digest, &want))
            invariants_break(out, 13, "logs differ after the partition healed");
        else if (!ppn_hash_equal(&fold, &members))
            invariants_break(out, 1, "folds differ after the partition healed");
        admission_free(groups[g]);
    }
}

/* ---- 14 ---- */

static bool same_authority(const struct admission *a, const struct admission *b)
{
    if (admission_entry_count(a) != admission_entry_count(b) ||
        admission_admin_count(a) != admission_admin_count(b))
        return false;
    for (uint32_t i = 0; i < admission_entry_count(a); i++) {
        if (admission_record_at(a, i).live != admission_record_at(b, i).live)
            return false;
    }
    for (uint32_t i = 0; i < admission_admin_count(a); i++) {
        const struct admission_admin *x = admission_admin_at(a, i), *y = admission_admin_at(b, i);
        if (x->live != y->live || x->powers != y->powers)
            return false;
    }
    return true;
}

/* Of those whom the earlier clock sees, the later one misses those whose lease ended, no other. */
static void check_leases(const struct admission *early, const struct admission *late,
                         int64_t late_ms, struct invariants *out)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < admission_member_count(early); i++) {
        const struct admission_member *a = admission_member_at(early, i);
        const struct admission_member *b = admission_member_by_id(late, &a->id);
        bool ended = a->lease_until_unix_ms != 0 && a->lease_until_unix_ms <= late_ms;
        kept += b != NULL;
        if ((b == NULL) != ended)
            invariants_break(out, 14, "a clock changed a membership without a lease that ends");
        if (b != NULL && (!ppn_hash_equal(&a->entry, &b->entry) ||
                          a->lease_until_unix_ms != b->lease_until_unix_ms ||
                          memcmp(a->wg_key, b->wg_key, sizeof a->wg_key) != 0))
            invariants_break(out, 14, "a clock changed what a member is");
    }
    if (kept != admission_member_count(late))
        invariants_break(out, 14, "a later clock let somebody in");
}

static void check_clocks(const struct admission *log, const struct world *w, struct invariants *out)
{
    struct admission *early = another(log, w), *late = another(log, w);
    for (uint32_t i = 0; i < admission_entry_count(log); i++) {
        give(early, log, i, EARLY_MS);
        give(late, log, i, LATE_MS);
    }
    if (!same_authority(log, early) || !same_authority(log, late))
        invariants_break(out, 14, "a clock changed what counts");
    check_leases(early, log, w->now_unix_ms, out);
    check_leases(log, late, LATE_MS, out);
    admission_free(early);
    admission_free(late);
}

/* ---- 8 ---- */

static struct admission *as_of(const struct admission *log, const struct world *w, uint32_t seal)
{
    struct admission *past = another(log, w);
    for (uint32_t i = 0; i < admission_entry_count(log); i++) {
        if (admission_before(log, i, seal))
            give(past, log, i, EARLY_MS);
    }
    return past;
}

/* Whether anything beyond the seal may end an admission all the same: the node's own revocation or
 * denial, the denial of whom it came in by, a cut, a recovery, a policy of another grace. */
static bool ended_since(const struct admission *log, uint32_t seal, uint32_t admission,
                        const struct ppn_node_id *node)
{
    struct admission_entry e;
    struct admission_key key = admission_node_key(node);
    bool redeemed = admission_record_at(log, admission).kind == ADMISSION_REDEEM;
    for (uint32_t i = 0; i < admission_entry_count(log); i++) {
        admission_record_entry(log, i, &e);
        bool revokes =
            e.kind == ADMISSION_REVOKE && admission_key_equal(&e.as.revoke.subject, &key);
        bool denies =
            e.kind == ADMISSION_DENY && (redeemed || ppn_node_id_equal(&e.as.deny.node, node));
        bool cuts = e.kind == ADMISSION_RECOVER ||
                    (e.kind == ADMISSION_ADMIN_REMOVE && e.as.admin_remove.has_cut);
        if (!admission_before(log, i, seal) &&
            (revokes || denies || cuts || e.kind == ADMISSION_POLICY))
            return true;
    }
    return false;
}

static bool names_members(const struct admission *past, const struct ppn_hash *said)
{
    enum { ROW = PPN_ID_SIZE + ADMISSION_WG_KEY_SIZE + PPN_HASH_SIZE };
    static uint8_t rows[MODEL_KEYS * ROW];
    uint32_t count = admission_member_count(past);
    PPN_ASSERT(count <= MODEL_KEYS);
    for (uint32_t i = 0; i < count; i++) {
        const struct admission_member *member = admission_member_at(past, i);
        memcpy(rows + i * ROW, member->id.bytes, PPN_ID_SIZE);
        memcpy(rows + i * ROW + PPN_ID_SIZE, member->wg_key, ADMISSION_WG_KEY_SIZE);
        memcpy(rows + i * ROW + PPN_ID_SIZE + ADMISSION_WG_KEY_SIZE, member->entry.bytes,
               PPN_HASH_SIZE);
    }
    struct ppn_hash hash = world_crypto()->hash(NULL, ppn_slice("ppn-seal-members-1", 18),
                                                ppn_slice(rows, (size_t)ROW * count));
    return ppn_hash_equal(&hash, said);
}

/* Whether the seals that a seal builds on still count. One that was spared for the sake of a later
 * one does not (which seals count is found before what they spare), and with it goes the order that
 * it gave. */
static bool builds_on(const struct admission *log, const struct admission *past)
{
    for (uint32_t i = 0; i < admission_entry_count(past); i++) {
        struct admission_record record = admission_record_at(past, i);
        uint32_t index;
        bool known = admission_record_find(log, &record.id, &index);
        PPN_ASSERT(known);
        if (record.kind == ADMISSION_SEAL && record.live && !admission_record_at(log, index).live)
            return false;
    }
    return true;
}

static void check_sealed(const struct admission *log, const struct world *w, struct invariants *out)
{
    for (uint32_t s = 0; s < admission_entry_count(log); s++) {
        struct admission_entry seal;
        if (admission_record_at(log, s).kind != ADMISSION_SEAL)
            continue;
        struct admission *past = as_of(log, w, s);
        admission_record_entry(log, s, &seal);
        if (!names_members(past, &seal.as.seal_of.members))
            invariants_break(out, 8, "a seal names others than the members at its place");
        bool final = admission_record_at(log, s).live && builds_on(log, past);
        for (uint32_t i = 0; final && i < admission_member_count(past); i++) {
            const struct admission_member *member = admission_member_at(past, i);
            uint32_t index;
            bool known = admission_record_find(log, &member->entry, &index);
            PPN_ASSERT(known);
            if (!admission_record_at(log, index).live && !ended_since(log, s, index, &member->id))
                invariants_break(out, 8, "a member that a seal covers is none any more");
        }
        admission_free(past);
    }
}

/* ---- 5 ---- */

/* What is beyond a cut counts for nothing, whoever has power today. Cuts are found before seals:
 * one that seals left out (rule 8) removes nobody, and cuts all the same. */
static bool is_cut(const struct admission *log, const struct admission_key *key)
{
    struct admission_entry e;
    for (uint32_t i = 0; i < admission_entry_count(log); i++) {
        admission_record_entry(log, i, &e);
        if (e.kind == ADMISSION_ADMIN_REMOVE && e.as.admin_remove.has_cut &&
            admission_key_equal(&e.as.admin_remove.key, key))
            return true;
        for (uint32_t k = 0; e.kind == ADMISSION_RECOVER && k < e.as.recover.cut_count; k++) {
            if (admission_key_equal(&e.as.recover.cuts[k].key, key))
                return true;
        }
    }
    return false;
}

/* Admits a machine that nobody heard of, in the name of an admin that may. */
static void use_power(struct admission *log, struct admission_key admin, int64_t now_ms,
                      struct invariants *out)
{
    struct admission_signer signer = world_signer(&admin);
    struct admission_admit admit = {.name = "new"};
    struct admission_update update = {0};
    struct admission_made made;
    enum ppn_error error = PPN_ERROR_CONFLICT;
    for (uint32_t i = 0; i < 64 && error == PPN_ERROR_CONFLICT;
         i++) { /* till its address is free */
        memset(admit.node.bytes, 200 + (int)i % 50, sizeof admit.node.bytes);
        admit.node.bytes[0] = (uint8_t)(i + log->count);
        memcpy(admit.wg_key, admit.node.bytes, sizeof admit.wg_key);
        error = admission_make_admit(log, &signer, (struct ppn_wall){now_ms}, &admit, &made, NULL);
    }
    if (error != PPN_OK)
        return;
    enum admission_verdict verdict = admission_offer(log, (struct ppn_wall){now_ms}, 0,
                                                     admission_made_slice(&made), &update, NULL);
    if (verdict != ADMISSION_ACCEPTED)
        invariants_break(out, 5, "what an admin may do is refused");
    else if (admission_member_by_id(log, &admit.node) == NULL && !is_cut(log, &admin))
        invariants_break(out, 5, "whom an admin admits is no member");
    admission_update_free(&update);
}

void invariants_of_history(struct admission *log, const struct world *w, struct invariants *out)
{
    check_heal(log, w, out);
    check_clocks(log, w, out);
    check_sealed(log, w, out);
    struct ppn_hash heads[ADMISSION_PARENTS_MAX];
    for (uint32_t i = 0; i < admission_admin_count(log); i++) {
        struct admission_admin admin = *admission_admin_at(log, i);
        if (admin.live && admission_heads(log, heads, 1) <= ADMISSION_PARENTS_MAX)
            use_power(log, admin.key, w->now_unix_ms, out);
    }
}
