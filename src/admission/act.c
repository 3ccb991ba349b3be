// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/author.h"
#include "admission/state.h"
#include "base/assert.h"

/* The acts of one key, each with the reasons for which it would come to nothing. */

static uint32_t powers_of(const struct admission *log, const struct admission_key *key)
{
    const struct admission_admin *admin = admission_admin_by_key(log, key);
    return admin != NULL && admin->live ? admin->powers : 0;
}

static enum ppn_error may(const struct admission *log, const struct admission_signer *admin,
                          enum admission_kind kind, struct ppn_failure *why)
{
    if (!admission_founded(log))
        return ppn_fail(why, PPN_ERROR_NOT_FOUND, "the log is empty: it has no genesis yet");
    uint32_t powers = powers_of(log, &admin->key);
    if (powers == 0)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                        "this key is no admin of %s; ppn admins lists those that are",
                        admission_network_name(log));
    if ((powers & admission_power_needed(kind)) == 0)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "this key has not the power to %s",
                        admission_kind_name(kind));
    struct admission_policy policy = admission_policy_now(log);
    uint32_t quorum = admission_quorum(&policy, kind);
    if (quorum > 1)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                        "%u keys must sign a %s entry; this is one of them", quorum,
                        admission_kind_name(kind));
    return PPN_OK;
}

static enum ppn_error make(const struct admission *log, const struct admission_signer *signer,
                           struct ppn_wall now, struct admission_entry *entry,
                           struct admission_made *made, struct ppn_failure *why)
{
    return admission_make(log, (struct admission_authors){signer, 1}, now, entry, made, why);
}

static bool text_fits(const char *from, char to[static ADMISSION_REASON_MAX + 1],
                      struct ppn_failure *why)
{
    if (ppn_text_copy(to, ADMISSION_REASON_MAX + 1, from != NULL ? from : ""))
        return true;
    ppn_fail(why, PPN_ERROR_TOO_BIG, "the reason is longer than %d characters",
             ADMISSION_REASON_MAX);
    return false;
}

static enum ppn_error claims_free(const struct admission *log, const struct ppn_node_id *node,
                                  const uint8_t *wg_key, struct ppn_failure *why)
{
    struct admission_key key = admission_node_key(node);
    uint8_t address[16];
    admission_address(log, node, address);
    uint32_t person, owner = admission_wg_owner(log, wg_key);
    bool known = admission_person_find(log, &key, &person);
    if (owner != UINT32_MAX && (!known || owner != person))
        return ppn_fail(why, PPN_ERROR_CONFLICT, "its WireGuard key belongs to another node");
    owner = admission_address_owner(log, address);
    if (owner != UINT32_MAX && (!known || owner != person))
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "its mesh address belongs to another node: let it make a new key");
    return PPN_OK;
}

enum ppn_error admission_make_admit(const struct admission *log,
                                    const struct admission_signer *admin, struct ppn_wall now,
                                    const struct admission_admit *admit,
                                    struct admission_made *made, struct ppn_failure *why)
{
    enum ppn_error error = may(log, admin, ADMISSION_ADMIT, why);
    if (error != PPN_OK)
        return error;
    if (admission_standing(log, &admit->node) == ADMISSION_REVOKED)
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "%s was revoked and never comes back under this key: remove its state "
                        "directory so that it makes a new one",
                        admit->name);
    error = claims_free(log, &admit->node, admit->wg_key, why);
    if (error != PPN_OK)
        return error;
    struct admission_entry entry = {.kind = ADMISSION_ADMIT, .as.admit = *admit};
    return make(log, admin, now, &entry, made, why);
}

enum ppn_error admission_make_deny(const struct admission *log,
                                   const struct admission_signer *admin, struct ppn_wall now,
                                   const struct ppn_node_id *node, const char *reason,
                                   struct admission_made *made, struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_DENY, .as.deny.node = *node};
    enum ppn_error error = may(log, admin, ADMISSION_DENY, why);
    if (error != PPN_OK)
        return error;
    if (admission_standing(log, node) == ADMISSION_MEMBER)
        return ppn_fail(why, PPN_ERROR_CONFLICT, "it is a member already: revoke it instead");
    if (!text_fits(reason, entry.as.deny.reason, why))
        return PPN_ERROR_TOO_BIG;
    return make(log, admin, now, &entry, made, why);
}

enum ppn_error admission_make_revoke(const struct admission *log,
                                     const struct admission_signer *admin, struct ppn_wall now,
                                     const struct admission_key *subject, const char *reason,
                                     struct admission_made *made, struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_REVOKE, .as.revoke.subject = *subject};
    struct ppn_node_id node = admission_key_node(subject);
    enum ppn_error error = may(log, admin, ADMISSION_REVOKE, why);
    if (error != PPN_OK)
        return error;
    if (admission_standing(log, &node) == ADMISSION_REVOKED)
        return ppn_fail(why, PPN_ERROR_EXISTS, "it was revoked before");
    if (!text_fits(reason, entry.as.revoke.reason, why))
        return PPN_ERROR_TOO_BIG;
    return make(log, admin, now, &entry, made, why);
}

enum ppn_error admission_make_invite(const struct admission *log,
                                     const struct admission_signer *admin, struct ppn_wall now,
                                     const struct admission_invite *invite,
                                     struct admission_made *made, struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_INVITE, .as.invite = *invite};
    struct admission_invite_state state;
    enum ppn_error error = may(log, admin, ADMISSION_INVITE, why);
    if (error != PPN_OK)
        return error;
    if (admission_invite_by_key(log, &invite->key, &state))
        return ppn_fail(why, PPN_ERROR_EXISTS, "an invite with this key exists: draw a new one");
    if (invite->expires_unix_ms != 0 && invite->expires_unix_ms <= now.unix_ms)
        return ppn_fail(why, PPN_ERROR_INVALID, "the invite would have expired already");
    if (invite->uses < 1 || invite->uses > ADMISSION_USES_MAX)
        return ppn_fail(why, PPN_ERROR_INVALID, "an invite has 1 to %d uses", ADMISSION_USES_MAX);
    return make(log, admin, now, &entry, made, why);
}

static enum ppn_error check_invite(const struct admission *log, struct ppn_wall now,
                                   const struct admission_request *request,
                                   struct admission_invite_state *state, struct ppn_failure *why)
{
    if (!request->has_invite || !admission_invite_by_key(log, &request->invite, state))
        return ppn_fail(why, PPN_ERROR_NOT_FOUND, "the log knows no such invite");
    if (state->expires_unix_ms != 0 && now.unix_ms > state->expires_unix_ms)
        return ppn_fail(why, PPN_ERROR_REFUSED, "the invite has expired: ask for a new token");
    if (state->used >= state->uses)
        return ppn_fail(why, PPN_ERROR_REFUSED,
                        "the invite is used up (%u of %u): ask for a new token", state->used,
                        state->uses);
    if (!state->open)
        return ppn_fail(
            why, PPN_ERROR_REFUSED,
            "the invite was withdrawn, or who made it is no admin: ask for a new token");
    return PPN_OK;
}

enum ppn_error admission_make_redeem(const struct admission *log,
                                     const struct admission_signer *member, struct ppn_wall now,
                                     const struct admission_request *request,
                                     struct admission_made *made, struct ppn_failure *why)
{
    struct admission_invite_state state;
    struct ppn_node_id witness = admission_key_node(&member->key);
    if (admission_member_by_id(log, &witness) == NULL)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "only a member can let a machine in");
    if (!ppn_hash_equal(&request->network, &log->network))
        return ppn_fail(why, PPN_ERROR_CONFLICT, "the request is for another network");
    switch (admission_standing(log, &request->node)) {
    case ADMISSION_MEMBER:
        return ppn_fail(why, PPN_ERROR_EXISTS, "the machine is a member already");
    case ADMISSION_REVOKED:
        return ppn_fail(why, PPN_ERROR_REFUSED,
                        "the machine was revoked and never comes back under this key");
    case ADMISSION_DENIED:
        return ppn_fail(why, PPN_ERROR_REFUSED, "an admin has denied this machine");
    case ADMISSION_STRANGER:
    case ADMISSION_EXPIRED:
    case ADMISSION_VOID:
        break;
    }
    enum ppn_error error = check_invite(log, now, request, &state, why);
    if (error == PPN_OK)
        error = claims_free(log, &request->node, request->wg_key, why);
    if (error != PPN_OK)
        return error;
    struct admission_entry entry = {.kind = ADMISSION_REDEEM,
                                    .as.redeem = {.invite = state.id,
                                                  .node = request->node,
                                                  .signature = request->invite_signature}};
    memcpy(entry.as.redeem.wg_key, request->wg_key, sizeof request->wg_key);
    memcpy(entry.as.redeem.name, request->name, sizeof request->name);
    return make(log, member, now, &entry, made, why);
}

enum ppn_error admission_make_rekey(const struct admission *log,
                                    const struct admission_signer *node, struct ppn_wall now,
                                    const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE],
                                    struct admission_made *made, struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_REKEY};
    struct ppn_node_id id = admission_key_node(&node->key);
    if (admission_member_by_id(log, &id) == NULL)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "only a member can change its key");
    enum ppn_error error = claims_free(log, &id, wg_key, why);
    if (error != PPN_OK)
        return error;
    memcpy(entry.as.rekey.wg_key, wg_key, ADMISSION_WG_KEY_SIZE);
    return make(log, node, now, &entry, made, why);
}

enum ppn_error admission_make_admin_add(const struct admission *log,
                                        const struct admission_signer *admin, struct ppn_wall now,
                                        const struct admission_admin_add *add,
                                        struct admission_made *made, struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIN_ADD, .as.admin_add = *add};
    enum ppn_error error = may(log, admin, ADMISSION_ADMIN_ADD, why);
    if (error != PPN_OK)
        return error;
    const struct admission_admin *old = admission_admin_by_key(log, &add->key);
    if (old != NULL && !old->live)
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "the key was an admin before and lost it for good: make a new key");
    return make(log, admin, now, &entry, made, why);
}

enum ppn_error admission_make_admin_remove(const struct admission *log,
                                           const struct admission_signer *admin,
                                           struct ppn_wall now,
                                           const struct admission_admin_remove *remove,
                                           struct admission_made *made, struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIN_REMOVE, .as.admin_remove = *remove};
    bool itself = admission_key_equal(&admin->key, &remove->key);
    if (!itself || powers_of(log, &admin->key) == 0) {
        enum ppn_error error = may(log, admin, ADMISSION_ADMIN_REMOVE, why);
        if (error != PPN_OK)
            return error;
    }
    if (admission_admin_by_key(log, &remove->key) == NULL)
        return ppn_fail(why, PPN_ERROR_NOT_FOUND, "the key never was an admin");
    if (!itself && (powers_of(log, &remove->key) & ADMISSION_POWER_ROOT) != 0)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                        "a root key is removed by itself or by a recovery only");
    return make(log, admin, now, &entry, made, why);
}

enum ppn_error admission_make_seal(const struct admission *log,
                                   const struct admission_signer *sealer, struct ppn_wall now,
                                   int64_t renew_unix_ms, struct admission_made *made,
                                   struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_SEAL};
    enum ppn_error error = may(log, sealer, ADMISSION_SEAL, why);
    if (error != PPN_OK)
        return error;
    entry.as.seal_of.renew_unix_ms = renew_unix_ms;
    return make(log, sealer, now, &entry, made, why);
}
