// SPDX-License-Identifier: ISC
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission/request.h"
#include "base/assert.h"
#include "base/hash.h"
#include "model_authority.h"

/* Keys by number: roots, admins, recovery keys, nodes, invites. */
enum { ROOTS = 0, ADMINS = 2, RECOVERIES = 8, NODES = 10, INVITES = 20, STRANGER = 26, KEYS = 27 };
_Static_assert((int)KEYS <= (int)MODEL_KEYS, "keys of the model");

static struct ppn_hash stub_hash(void *ctx, struct ppn_slice domain, struct ppn_slice bytes)
{
    (void)ctx;
    struct ppn_hash hash;
    uint64_t tag = ppn_hash64((struct ppn_hash_key){11, 12}, domain);
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t half = ppn_hash64((struct ppn_hash_key){tag, i}, bytes);
        for (uint32_t k = 0; k < 2; k++, half = half * 0x9e3779b97f4a7c15u + 1)
            memcpy(hash.bytes + 16 * i + 8 * k, &half, sizeof half);
    }
    /* Addresses of 5 bits, not 48: now and then two nodes get the same. */
    if (ppn_slice_equal(domain, ppn_slice("ppn-address-1", 13))) {
        memset(hash.bytes, 0, 5);
        hash.bytes[5] &= 31;
    }
    return hash;
}

static struct admission_signature stub_sign(const struct admission_key *key,
                                            struct ppn_slice message)
{
    struct admission_signature signature = {{0}};
    struct ppn_hash hash = stub_hash(NULL, ppn_slice(key->bytes, sizeof key->bytes), message);
    memcpy(signature.bytes, hash.bytes, sizeof hash.bytes);
    return signature;
}

static bool stub_verify(void *ctx, const struct admission_key *key, struct ppn_slice message,
                        const struct admission_signature *signature)
{
    (void)ctx;
    struct admission_signature expected = stub_sign(key, message);
    return memcmp(&expected, signature, sizeof expected) == 0;
}

const struct admission_crypto *world_crypto(void)
{
    static const struct admission_crypto crypto = {NULL, stub_verify, stub_hash};
    return &crypto;
}

static bool signer_sign(void *ctx, struct ppn_slice message, struct admission_signature *signature)
{
    *signature = stub_sign(ctx, message);
    return true;
}

struct admission_signer world_signer(struct admission_key *key)
{
    return (struct admission_signer){*key, key, signer_sign};
}

static uint32_t below(struct world *w, uint32_t bound)
{
    return (uint32_t)ppn_random_below(&w->random, bound);
}

static bool chance(struct world *w, uint32_t percent)
{
    return below(w, 100) < percent;
}

static int pick_key(struct world *w, int first, int count)
{
    return first + (int)below(w, (uint32_t)count);
}

static void make_keys(struct world *w)
{
    w->model.key_count = KEYS;
    for (uint32_t i = 0; i < KEYS; i++) {
        memset(w->model.keys[i].bytes, 0, ADMISSION_KEY_SIZE);
        uint64_t spread = (i + 1) * 0x9e3779b97f4a7c15u;
        memcpy(w->model.keys[i].bytes, &spread, sizeof spread);
        w->model.keys[i].bytes[31] = (uint8_t)(i + 1);
    }
}

static void wg_key(uint32_t number, uint8_t key[static ADMISSION_WG_KEY_SIZE])
{
    memset(key, 0, ADMISSION_WG_KEY_SIZE);
    key[0] = (uint8_t)(number + 1);
}

static const struct model_entry *entry_at(const struct world *w, uint32_t index)
{
    return &w->model.entries[index];
}

/* ---- where an entry stands ---- */

/* The author's last entry within the view, or -1. */
static int chain_end(const struct world *w, uint64_t view, int author)
{
    int best = -1;
    for (uint32_t i = 0; i < w->model.count; i++) {
        if ((view >> i & 1) != 0 && entry_at(w, i)->author == author &&
            (best < 0 || entry_at(w, i)->entry.seq > entry_at(w, (uint32_t)best)->entry.seq))
            best = (int)i;
    }
    return best;
}

static uint64_t closure(const struct world *w, uint32_t index)
{
    return entry_at(w, index)->past | 1ull << index;
}

static uint64_t past_of(const struct world *w, const struct admission_entry *e)
{
    uint64_t past = 0;
    for (uint32_t i = 0; i < w->model.count; i++) {
        for (uint32_t k = 0; k < e->parent_count; k++) {
            if (ppn_hash_equal(&entry_at(w, i)->id, &e->parents[k]))
                past |= closure(w, i);
        }
    }
    return past;
}

static int compare_hashes(const void *a, const void *b)
{
    return ppn_hash_compare(a, b);
}

static void place(struct world *w, uint64_t view, int author, struct admission_entry *e)
{
    uint64_t heads = view;
    e->version = ADMISSION_VERSION;
    e->network = w->model.network;
    e->author = w->model.keys[author];
    e->time_unix_ms = WORLD_START_MS + below(w, 4000);
    for (uint32_t i = 0; i < w->model.count; i++) {
        if ((view >> i & 1) != 0)
            heads &= ~entry_at(w, i)->past;
    }
    for (uint32_t i = 0; i < w->model.count && e->parent_count < ADMISSION_PARENTS_MAX; i++) {
        if ((heads >> i & 1) == 0)
            continue;
        e->parents[e->parent_count++] = entry_at(w, i)->id;
    }
    qsort(e->parents, e->parent_count, sizeof e->parents[0], compare_hashes);
    for (uint32_t i = 0; i < w->model.count; i++) {
        const struct admission_entry *old = &entry_at(w, i)->entry;
        if ((view >> i & 1) != 0 && old->kind == ADMISSION_SEAL && old->as.seal_of.number > e->seal)
            e->seal = old->as.seal_of.number;
    }
    int end = chain_end(w, view, author);
    e->seq = end >= 0 ? entry_at(w, (uint32_t)end)->entry.seq + 1 : 1;
    if (end >= 0)
        e->prev = entry_at(w, (uint32_t)end)->id;
}

/* What a Byzantine author pretends to see: only the past of one older entry, and of its own chain
 * up to some point, so that it backdates, or contradicts itself, or both. */
static uint64_t pretended_view(struct world *w, uint64_t view, int author)
{
    uint64_t pretended = 1;
    uint32_t index = below(w, w->model.count);
    if ((view >> index & 1) != 0)
        pretended |= closure(w, index);
    int end = chain_end(w, view, author);
    if (end >= 0 && chance(w, 60))
        pretended |= closure(w, (uint32_t)end);
    return pretended;
}

/* ---- what an entry says ---- */

static void fill_name(struct world *w, char name[static PPN_NAME_MAX + 1])
{
    snprintf(name, PPN_NAME_MAX + 1, "n%u", below(w, 6));
}

static void fill_admit(struct world *w, struct admission_entry *e)
{
    int node = pick_key(w, NODES, INVITES - NODES);
    e->kind = ADMISSION_ADMIT;
    e->as.admit.node = admission_key_node(&w->model.keys[node]);
    wg_key(chance(w, 85) ? (uint32_t)node : below(w, 16), e->as.admit.wg_key);
    fill_name(w, e->as.admit.name);
    e->as.admit.lease_ms = chance(w, 20) ? 1 + below(w, 6000) : 0;
}

static void fill_invite(struct world *w, struct admission_entry *e)
{
    e->kind = ADMISSION_INVITE;
    e->as.invite.key = w->model.keys[pick_key(w, INVITES, STRANGER - INVITES)];
    e->as.invite.uses = 1 + below(w, 3);
    e->as.invite.expires_unix_ms = chance(w, 30) ? WORLD_START_MS + below(w, 4000) : 0;
    e->as.invite.lease_ms = chance(w, 10) ? 1 + below(w, 6000) : 0;
}

static bool fill_redeem(struct world *w, uint64_t view, struct admission_entry *e)
{
    uint8_t buffer[ADMISSION_INVITE_TRANSCRIPT_MAX];
    int node = pick_key(w, NODES, INVITES - NODES), invite = -1;
    for (uint32_t i = 0; i < w->model.count; i++) {
        if ((view >> i & 1) != 0 && entry_at(w, i)->entry.kind == ADMISSION_INVITE &&
            (invite < 0 || chance(w, 50)))
            invite = (int)i;
    }
    if (invite < 0)
        return false;
    struct admission_redeem *redeem = &e->as.redeem;
    e->kind = ADMISSION_REDEEM;
    redeem->invite = entry_at(w, (uint32_t)invite)->id;
    redeem->node = admission_key_node(&w->model.keys[node]);
    wg_key((uint32_t)node, redeem->wg_key);
    fill_name(w, redeem->name);
    const struct admission_key *key = &entry_at(w, (uint32_t)invite)->entry.as.invite.key;
    redeem->signature =
        stub_sign(chance(w, 97) ? key : &w->model.keys[STRANGER],
                  admission_invite_transcript(&w->model.network, key, &redeem->node, redeem->wg_key,
                                              redeem->name, buffer));
    return true;
}

static void fill_admin_add(struct world *w, struct admission_entry *e)
{
    static const uint32_t powers[] = {ADMISSION_POWERS_ADMIN, ADMISSION_POWERS_ADMIN,
                                      ADMISSION_POWER_ADMIT,  ADMISSION_POWER_SEAL,
                                      ADMISSION_POWER_REVOKE, ADMISSION_POWERS_ALL};
    e->kind = ADMISSION_ADMIN_ADD;
    e->as.admin_add.key = w->model.keys[pick_key(w, ADMINS, RECOVERIES - ADMINS)];
    e->as.admin_add.powers = powers[below(w, 6)];
    snprintf(e->as.admin_add.name, sizeof e->as.admin_add.name, "admin");
}

static void fill_admin_remove(struct world *w, int author, struct admission_entry *e)
{
    e->kind = ADMISSION_ADMIN_REMOVE;
    int key = chance(w, 10) ? author : pick_key(w, ROOTS, RECOVERIES);
    e->as.admin_remove.key = w->model.keys[key];
    e->as.admin_remove.has_cut = chance(w, 35);
    e->as.admin_remove.cut = e->as.admin_remove.has_cut ? below(w, 4) : 0;
}

static void fill_policy(struct world *w, struct admission_entry *e)
{
    e->kind = ADMISSION_POLICY;
    e->as.policy = (struct admission_policy){
        ADMISSION_VERSION,    1 + below(w, 10) / 9, 1 + below(w, 10) / 9, 1 + below(w, 2),
        1 + below(w, 10) / 9, below(w, 3),          below(w, 3)};
}

static void fill_recover(struct world *w, uint64_t view, struct admission_entry *e)
{
    struct admission_recover *r = &e->as.recover;
    e->kind = ADMISSION_RECOVER;
    r->base = w->model.network;
    for (uint32_t i = 0; i < w->model.count; i++) {
        if ((view >> i & 1) != 0 && entry_at(w, i)->entry.kind == ADMISSION_RECOVER &&
            chance(w, 70))
            r->base = entry_at(w, i)->id;
    }
    r->root_needed = r->root_count = 1;
    r->roots[0] = w->model.keys[pick_key(w, ROOTS, 4)];
    r->recovery_needed = r->recovery_count = 1;
    r->recovery[0] =
        admission_recovery_hash(world_crypto(), &w->model.keys[pick_key(w, RECOVERIES, 2)]);
    if (chance(w, 40)) {
        r->cut_count = 1;
        r->cuts[0].key = w->model.keys[pick_key(w, ROOTS, RECOVERIES)];
        r->cuts[0].cut = below(w, 5);
    }
}

static void add_cosigners(struct world *w, int author, struct admission_entry *e)
{
    if (!chance(w, 45))
        return;
    int other = pick_key(w, ROOTS, RECOVERIES);
    if (other == author)
        return;
    e->cosigners[0] = w->model.keys[other];
    e->cosigner_count = 1;
}

/* False when the author has nothing to say. */
static bool fill(struct world *w, uint64_t view, int author, struct admission_entry *e)
{
    uint32_t dice = below(w, 100);
    if (author >= NODES) {
        if (dice >= 25)
            return fill_redeem(w, view, e);
        e->kind = ADMISSION_REKEY;
        wg_key(chance(w, 60) ? 40 + below(w, 8) : below(w, 16), e->as.rekey.wg_key);
        return true;
    }
    if (author >= RECOVERIES) {
        fill_recover(w, view, e);
        return true;
    }
    if (dice < 30 || (w->quarrel == 0 && dice < 50)) {
        fill_admit(w, e);
    } else if (dice < 37) {
        e->kind = ADMISSION_DENY;
        e->as.deny.node = admission_key_node(&w->model.keys[pick_key(w, NODES, 10)]);
    } else if (dice < 47) {
        e->kind = ADMISSION_REVOKE;
        e->as.revoke.subject = w->model.keys[pick_key(w, NODES, STRANGER - NODES)];
    } else if (dice < 57) {
        fill_invite(w, e);
    } else if (dice < 72) {
        fill_admin_add(w, e);
    } else if (dice < 80 + 2 * w->quarrel) {
        fill_admin_remove(w, author, e);
    } else if (dice < 88) {
        fill_policy(w, e);
    } else {
        e->kind = ADMISSION_SEAL;
        e->as.seal_of.number = e->seal + 1;
        e->as.seal_of.renew_unix_ms = chance(w, 30) ? WORLD_START_MS + below(w, 9000) : 0;
        if (!chance(w, w->byzantine))
            e->as.seal_of.members = model_seal_members(&w->model, past_of(w, e));
    }
    if (e->kind != ADMISSION_SEAL)
        add_cosigners(w, author, e);
    return true;
}

/* Of an author that contradicted itself: the entry before, but of the other branch. */
static void follow_twin(const struct world *w, struct admission_entry *e)
{
    for (uint32_t i = 0; i < w->model.count; i++) {
        const struct admission_entry *other = &entry_at(w, i)->entry;
        if (other->seq + 1 == e->seq && admission_key_equal(&other->author, &e->author) &&
            !ppn_hash_equal(&entry_at(w, i)->id, &e->prev)) {
            e->prev = entry_at(w, i)->id;
            return;
        }
    }
}

/* Rarely, a header that no rule allows. */
static void spoil(struct world *w, struct admission_entry *e)
{
    switch (below(w, 60)) {
    case 0:
        e->seal++;
        return;
    case 1:
        e->seq++;
        if (e->seq == 2)
            e->prev = e->parents[0];
        return;
    case 2:
        if (e->seq > 1)
            e->prev = entry_at(w, below(w, w->model.count))->id;
        return;
    case 3:
    case 4:
    case 5:
    case 6:
        follow_twin(w, e);
        return;
    default:
        return;
    }
}

static bool encode(struct world *w, const struct admission_entry *e, struct world_offer *offer)
{
    uint8_t bytes[ADMISSION_BODY_MAX], transcript[ADMISSION_SIGN_TRANSCRIPT];
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
    if (admission_body_encode(e, &body) != PPN_OK)
        return false;
    struct admission_envelope envelope = {.body = ppn_written(&body),
                                          .signature_count = 1 + e->cosigner_count};
    offer->id = admission_body_id(world_crypto(), envelope.body);
    struct ppn_slice message = admission_sign_transcript(&offer->id, transcript);
    for (uint32_t i = 0; i < envelope.signature_count; i++)
        envelope.signatures[i] = stub_sign(i == 0 ? &e->author : &e->cosigners[i - 1], message);
    struct ppn_writer writer = ppn_writer(offer->bytes, sizeof offer->bytes);
    enum ppn_error error = admission_envelope_encode(&envelope, &writer);
    PPN_ASSERT(error == PPN_OK);
    offer->size = (uint32_t)writer.size;
    for (uint32_t i = 0; i < w->offer_count; i++) {
        if (ppn_hash_equal(&w->offers[i].id, &offer->id))
            return false;
    }
    return true;
}

static void found(struct world *w)
{
    struct admission_entry e = {.version = ADMISSION_VERSION,
                                .kind = ADMISSION_GENESIS,
                                .author = w->model.keys[ROOTS],
                                .seq = 1,
                                .time_unix_ms = WORLD_START_MS};
    struct admission_genesis *g = &e.as.genesis;
    snprintf(g->network, sizeof g->network, "sim");
    g->root_count = 1 + below(w, 2);
    g->roots[0] = w->model.keys[0];
    g->roots[1] = w->model.keys[1];
    if (admission_key_compare(&g->roots[0], &g->roots[1]) > 0) {
        g->roots[0] = w->model.keys[g->root_count == 2 ? 1 : 0];
        g->roots[1] = w->model.keys[0];
    }
    g->recovery_needed = g->recovery_count = 1;
    g->recovery[0] = admission_recovery_hash(world_crypto(), &w->model.keys[RECOVERIES]);
    g->policy = (struct admission_policy){ADMISSION_VERSION, 1,          1, 1 + below(w, 4) / 3, 1,
                                          below(w, 3),       below(w, 2)};
    struct world_offer *offer = &w->offers[0];
    bool good = encode(w, &e, offer);
    PPN_ASSERT(good);
    offer->accepted = model_offer(&w->model, &e, &offer->id);
    w->offer_count = 1;
    for (uint32_t i = 0; i < WORLD_GROUPS; i++)
        w->seen[i] = 1;
}

/* Mostly a key that may speak in this view, so that histories grow; else any. */
static int pick_author(struct world *w, uint64_t view)
{
    int able[MODEL_KEYS];
    uint32_t count = 0, dice = below(w, 100);
    struct model_authority a;
    if (dice < 60) {
        model_authority(&w->model, view, &a);
        for (int k = 0; k < NODES; k++) {
            if (a.powers[k] != 0)
                able[count++] = k;
        }
    } else if (dice < 82) {
        for (uint32_t i = 0; i < w->model.count; i++) {
            enum admission_kind kind = entry_at(w, i)->entry.kind;
            if ((view >> i & 1) != 0 && count < MODEL_KEYS &&
                (kind == ADMISSION_ADMIT || kind == ADMISSION_REDEEM))
                able[count++] = entry_at(w, i)->subject;
        }
    } else if (dice < 84) {
        return pick_key(w, RECOVERIES, 2);
    }
    return count > 0 ? able[below(w, count)] : pick_key(w, ROOTS, KEYS);
}

static void step(struct world *w)
{
    uint32_t group = below(w, WORLD_GROUPS);
    if (chance(w, 12))
        w->seen[group] |= w->seen[below(w, WORLD_GROUPS)];
    uint64_t view = w->seen[group];
    int author = pick_author(w, view);
    int own = chain_end(w, UINT64_MAX, author);
    if (own >= 0) /* whoever is honest knows what it said itself */
        view |= closure(w, (uint32_t)own);
    if (chance(w, w->byzantine))
        view = pretended_view(w, view, author);
    struct admission_entry e = {.version = ADMISSION_VERSION};
    struct world_offer *offer = &w->offers[w->offer_count];
    place(w, view, author, &e);
    if (!fill(w, view, author, &e))
        return;
    spoil(w, &e);
    if (!encode(w, &e, offer))
        return;
    uint32_t index = w->model.count;
    offer->accepted = model_offer(&w->model, &e, &offer->id);
    w->offer_count++;
    if (offer->accepted)
        w->seen[group] |= closure(w, index);
}

void world_make(struct world *w, uint64_t seed)
{
    w->offer_count = 0;
    w->model.count = 0;
    w->model.crypto = world_crypto();
    ppn_random_init(&w->random, seed);
    make_keys(w);
    w->byzantine = below(w, 4) * 4;
    w->quarrel = below(w, 3);
    w->now_unix_ms = WORLD_START_MS + below(w, 9000);
    found(w);
    uint32_t steps = 8 + below(w, 70);
    for (uint32_t i = 0;
         i < steps && w->offer_count < WORLD_OFFERS && w->model.count < MODEL_ENTRIES - 1; i++)
        step(w);
}
