// SPDX-License-Identifier: ISC
#include "admission/payload.h"

#include <string.h>

#include "base/assert.h"

void admission_pack_name(struct admission_pack *pack, char *name)
{
    admission_pack_text(pack, name, PPN_NAME_MAX);
    if (pack->error == PPN_OK && !ppn_name_valid(name))
        admission_pack_fail(pack, PPN_ERROR_INVALID);
}

void admission_pack_ascending(struct admission_pack *pack, const void *first, uint32_t count,
                              uint32_t stride, uint32_t size)
{
    const uint8_t *at = first;
    PPN_ASSERT(size <= stride);
    for (uint32_t i = 1; i < count && pack->error == PPN_OK; i++) {
        if (memcmp(at + (size_t)(i - 1) * stride, at + (size_t)i * stride, size) >= 0)
            admission_pack_fail(pack, PPN_ERROR_INVALID);
    }
}

/* A key or node id; the zero key is nobody's. */
static void pack_key(struct admission_pack *pack, uint8_t bytes[static 32])
{
    static const uint8_t zero[32];
    admission_pack_fixed(pack, bytes, 32);
    if (pack->error == PPN_OK && memcmp(bytes, zero, sizeof zero) == 0)
        admission_pack_fail(pack, PPN_ERROR_INVALID);
}

static void pack_policy(struct admission_pack *pack, struct admission_policy *policy)
{
    admission_pack_array(pack, 7);
    admission_pack_u32(pack, &policy->version, 1, UINT16_MAX);
    admission_pack_u32(pack, &policy->admit, 1, ADMISSION_SIGNATURES_MAX);
    admission_pack_u32(pack, &policy->revoke, 1, ADMISSION_SIGNATURES_MAX);
    admission_pack_u32(pack, &policy->admin, 1, ADMISSION_SIGNATURES_MAX);
    admission_pack_u32(pack, &policy->root, 1, ADMISSION_SIGNATURES_MAX);
    admission_pack_u32(pack, &policy->grace, 0, UINT16_MAX);
    admission_pack_u32(pack, &policy->delay, 0, UINT16_MAX);
}

static void pack_roots(struct admission_pack *pack, uint32_t *count, struct admission_key *roots)
{
    admission_pack_count(pack, count, 1, ADMISSION_ROOTS_MAX);
    for (uint32_t i = 0; i < *count && pack->error == PPN_OK; i++)
        pack_key(pack, roots[i].bytes);
    admission_pack_ascending(pack, roots, *count, sizeof roots[0], sizeof roots[0].bytes);
}

/* needed: 0 only where there is no recovery key at all. */
static void pack_recovery(struct admission_pack *pack, uint32_t *needed, uint32_t *count,
                          struct ppn_hash *hashes)
{
    admission_pack_u32(pack, needed, 0, ADMISSION_RECOVERY_MAX);
    admission_pack_count(pack, count, 0, ADMISSION_RECOVERY_MAX);
    for (uint32_t i = 0; i < *count && pack->error == PPN_OK; i++)
        admission_pack_fixed(pack, hashes[i].bytes, sizeof hashes[i].bytes);
    admission_pack_ascending(pack, hashes, *count, sizeof hashes[0], sizeof hashes[0].bytes);
    if (*needed > *count || (*needed == 0 && *count > 0))
        admission_pack_fail(pack, PPN_ERROR_INVALID);
}

static void pack_genesis(struct admission_pack *pack, struct admission_genesis *genesis)
{
    admission_pack_array(pack, 6);
    admission_pack_name(pack, genesis->network);
    admission_pack_fixed(pack, genesis->nonce, sizeof genesis->nonce);
    pack_roots(pack, &genesis->root_count, genesis->roots);
    pack_recovery(pack, &genesis->recovery_needed, &genesis->recovery_count, genesis->recovery);
    pack_policy(pack, &genesis->policy);
    if (genesis->policy.root > genesis->root_count)
        admission_pack_fail(pack, PPN_ERROR_INVALID);
}

static void pack_labels(struct admission_pack *pack, struct admission_labels *labels)
{
    admission_pack_count(pack, &labels->count, 0, PPN_LABELS_MAX);
    for (uint32_t i = 0; i < labels->count && pack->error == PPN_OK; i++) {
        struct ppn_label *label = &labels->items[i];
        admission_pack_array(pack, 2);
        admission_pack_name(pack, label->key);
        admission_pack_text(pack, label->value, PPN_LABEL_VALUE_MAX);
        bool sorted = i == 0 || strcmp(labels->items[i - 1].key, label->key) < 0;
        if (pack->error == PPN_OK && (!sorted || !ppn_label_value_valid(label->value)))
            admission_pack_fail(pack, PPN_ERROR_INVALID);
    }
}

static void pack_admit(struct admission_pack *pack, struct admission_admit *admit)
{
    admission_pack_array(pack, 6);
    pack_key(pack, admit->node.bytes);
    pack_key(pack, admit->wg_key);
    admission_pack_name(pack, admit->name);
    admission_pack_u32(pack, &admit->roles, 0, ADMISSION_ROLES_ALL);
    admission_pack_u64(pack, &admit->lease_ms, 0, INT64_MAX);
    pack_labels(pack, &admit->labels);
}

static void pack_invite(struct admission_pack *pack, struct admission_invite *invite)
{
    admission_pack_array(pack, 6);
    pack_key(pack, invite->key.bytes);
    admission_pack_u32(pack, &invite->uses, 1, ADMISSION_USES_MAX);
    admission_pack_time(pack, &invite->expires_unix_ms);
    admission_pack_u32(pack, &invite->roles, 0, ADMISSION_ROLES_ALL);
    admission_pack_u64(pack, &invite->lease_ms, 0, INT64_MAX);
    pack_labels(pack, &invite->labels);
}

static void pack_redeem(struct admission_pack *pack, struct admission_redeem *redeem)
{
    admission_pack_array(pack, 5);
    admission_pack_fixed(pack, redeem->invite.bytes, sizeof redeem->invite.bytes);
    pack_key(pack, redeem->node.bytes);
    pack_key(pack, redeem->wg_key);
    admission_pack_name(pack, redeem->name);
    admission_pack_fixed(pack, redeem->signature.bytes, sizeof redeem->signature.bytes);
}

static void pack_admin_add(struct admission_pack *pack, struct admission_admin_add *add)
{
    admission_pack_array(pack, 3);
    pack_key(pack, add->key.bytes);
    admission_pack_u32(pack, &add->powers, 1, ADMISSION_POWERS_ALL);
    admission_pack_name(pack, add->name);
}

static void pack_admin_remove(struct admission_pack *pack, struct admission_admin_remove *remove)
{
    admission_pack_array(pack, 3);
    pack_key(pack, remove->key.bytes);
    uint32_t cuts = remove->has_cut;
    admission_pack_count(pack, &cuts, 0, 1);
    remove->has_cut = cuts == 1;
    if (remove->has_cut)
        admission_pack_u64(pack, &remove->cut, 0, INT64_MAX);
    else
        remove->cut = 0;
    admission_pack_text(pack, remove->reason, ADMISSION_REASON_MAX);
}

static void pack_seal(struct admission_pack *pack, struct admission_seal *seal)
{
    admission_pack_array(pack, 3);
    admission_pack_u64(pack, &seal->number, 1, INT64_MAX);
    admission_pack_fixed(pack, seal->members.bytes, sizeof seal->members.bytes);
    admission_pack_time(pack, &seal->renew_unix_ms);
}

static void pack_recover(struct admission_pack *pack, struct admission_recover *recover)
{
    admission_pack_array(pack, 6);
    admission_pack_fixed(pack, recover->base.bytes, sizeof recover->base.bytes);
    admission_pack_u32(pack, &recover->root_needed, 1, ADMISSION_ROOTS_MAX);
    pack_roots(pack, &recover->root_count, recover->roots);
    pack_recovery(pack, &recover->recovery_needed, &recover->recovery_count, recover->recovery);
    admission_pack_count(pack, &recover->cut_count, 0, ADMISSION_CUTS_MAX);
    for (uint32_t i = 0; i < recover->cut_count && pack->error == PPN_OK; i++) {
        admission_pack_array(pack, 2);
        pack_key(pack, recover->cuts[i].key.bytes);
        admission_pack_u64(pack, &recover->cuts[i].cut, 0, INT64_MAX);
    }
    admission_pack_ascending(pack, recover->cuts, recover->cut_count, sizeof recover->cuts[0],
                             sizeof recover->cuts[0].key);
    if (recover->root_needed > recover->root_count)
        admission_pack_fail(pack, PPN_ERROR_INVALID);
}

static void pack_checkpoint(struct admission_pack *pack, struct admission_checkpoint *checkpoint)
{
    admission_pack_array(pack, 4);
    admission_pack_u64(pack, &checkpoint->number, 1, INT64_MAX);
    admission_pack_fixed(pack, checkpoint->digest.bytes, sizeof checkpoint->digest.bytes);
    admission_pack_u32(pack, &checkpoint->records, 1, ADMISSION_BASE_RECORDS_MAX);
    admission_pack_u32(pack, &checkpoint->height, 1, UINT32_MAX - 1);
}

void admission_pack_payload(struct admission_pack *pack, struct admission_entry *entry)
{
    switch (entry->kind) {
    case ADMISSION_GENESIS:
        pack_genesis(pack, &entry->as.genesis);
        return;
    case ADMISSION_ADMIT:
        pack_admit(pack, &entry->as.admit);
        return;
    case ADMISSION_DENY:
        admission_pack_array(pack, 2);
        pack_key(pack, entry->as.deny.node.bytes);
        admission_pack_text(pack, entry->as.deny.reason, ADMISSION_REASON_MAX);
        return;
    case ADMISSION_REVOKE:
        admission_pack_array(pack, 2);
        pack_key(pack, entry->as.revoke.subject.bytes);
        admission_pack_text(pack, entry->as.revoke.reason, ADMISSION_REASON_MAX);
        return;
    case ADMISSION_INVITE:
        pack_invite(pack, &entry->as.invite);
        return;
    case ADMISSION_REDEEM:
        pack_redeem(pack, &entry->as.redeem);
        return;
    case ADMISSION_ADMIN_ADD:
        pack_admin_add(pack, &entry->as.admin_add);
        return;
    case ADMISSION_ADMIN_REMOVE:
        pack_admin_remove(pack, &entry->as.admin_remove);
        return;
    case ADMISSION_REKEY:
        admission_pack_array(pack, 1);
        pack_key(pack, entry->as.rekey.wg_key);
        return;
    case ADMISSION_POLICY:
        pack_policy(pack, &entry->as.policy);
        return;
    case ADMISSION_SEAL:
        pack_seal(pack, &entry->as.seal_of);
        return;
    case ADMISSION_RECOVER:
        pack_recover(pack, &entry->as.recover);
        return;
    case ADMISSION_CHECKPOINT:
        pack_checkpoint(pack, &entry->as.checkpoint);
        return;
    }
    admission_pack_fail(pack, PPN_ERROR_VERSION);
}
