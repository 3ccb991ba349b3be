// SPDX-License-Identifier: ISC
#include "admission/explain.h"

#include <stdio.h>
#include <string.h>

#include "admission/state.h"
#include "base/assert.h"

static void short_key(const uint8_t bytes[static 32], char text[static PPN_FINGERPRINT_TEXT])
{
    struct ppn_node_id id;
    memcpy(id.bytes, bytes, sizeof id.bytes);
    ppn_fingerprint(&id, text);
}

/* "founder (1f2e-...)" for a key whose name the log knows, else "key 1f2e-...". */
static void key_words(const struct admission *log, const struct admission_key *key,
                      char text[static 128])
{
    char print[PPN_FINGERPRINT_TEXT];
    struct ppn_node_id node = admission_key_node(key);
    const struct admission_admin *admin = admission_admin_by_key(log, key);
    const struct admission_member *member = admission_member_by_id(log, &node);
    short_key(key->bytes, print);
    if (admin != NULL && admin->name[0] != '\0')
        snprintf(text, 128, "admin %s (%s)", admin->name, print);
    else if (admin != NULL)
        snprintf(text, 128, "admin key %s", print);
    else if (member != NULL)
        snprintf(text, 128, "node %s (%s)", member->name, print);
    else
        snprintf(text, 128, "key %s", print);
}

static void describe_revoke(const struct admission *log, const struct admission_revoke *revoke,
                            char text[static 320])
{
    char who[128];
    struct admission_invite_state invite;
    bool closes = admission_invite_by_key(log, &revoke->subject, &invite);
    if (closes)
        short_key(revoke->subject.bytes, who);
    else
        key_words(log, &revoke->subject, who);
    snprintf(text, 320, "%s %s%s%s", closes ? "closes invite" : "revokes", who,
             revoke->reason[0] ? ": " : "", revoke->reason);
}

static void describe_act(const struct admission *log, const struct admission_entry *entry,
                         char text[static 320])
{
    char print[PPN_FINGERPRINT_TEXT], who[128];
    switch (entry->kind) {
    case ADMISSION_GENESIS:
        snprintf(text, 320, "founds the network %s with %u root key%s", entry->as.genesis.network,
                 entry->as.genesis.root_count, entry->as.genesis.root_count == 1 ? "" : "s");
        return;
    case ADMISSION_ADMIT:
        short_key(entry->as.admit.node.bytes, print);
        snprintf(text, 320, "admits node %s (%s)%s", entry->as.admit.name, print,
                 (entry->as.admit.roles & ADMISSION_ROLE_RELAY) != 0 ? " as a relay" : "");
        return;
    case ADMISSION_DENY:
        short_key(entry->as.deny.node.bytes, print);
        snprintf(text, 320, "denies node %s%s%s", print, entry->as.deny.reason[0] ? ": " : "",
                 entry->as.deny.reason);
        return;
    case ADMISSION_REVOKE:
        describe_revoke(log, &entry->as.revoke, text);
        return;
    case ADMISSION_INVITE:
        short_key(entry->as.invite.key.bytes, print);
        snprintf(text, 320, "allows %u admission%s by invite %s", entry->as.invite.uses,
                 entry->as.invite.uses == 1 ? "" : "s", print);
        return;
    case ADMISSION_REDEEM:
        short_key(entry->as.redeem.node.bytes, print);
        snprintf(text, 320, "admits node %s (%s) by an invite", entry->as.redeem.name, print);
        return;
    case ADMISSION_ADMIN_ADD:
        short_key(entry->as.admin_add.key.bytes, print);
        snprintf(text, 320, "makes %s (%s) an admin%s", entry->as.admin_add.name, print,
                 (entry->as.admin_add.powers & ADMISSION_POWER_ROOT) != 0 ? " and a root key" : "");
        return;
    case ADMISSION_ADMIN_REMOVE:
        key_words(log, &entry->as.admin_remove.key, who);
        if (entry->as.admin_remove.has_cut)
            snprintf(text, 320, "removes %s and voids what it did after its entry %llu", who,
                     (unsigned long long)entry->as.admin_remove.cut);
        else
            snprintf(text, 320, "removes %s", who);
        return;
    case ADMISSION_REKEY:
        snprintf(text, 320, "changes its own WireGuard key");
        return;
    case ADMISSION_POLICY:
        snprintf(text, 320,
                 "sets the quorums: admit %u, revoke %u, admins %u, root %u; %u seals until such a "
                 "change rules; version %u",
                 entry->as.policy.admit, entry->as.policy.revoke, entry->as.policy.admin,
                 entry->as.policy.root, entry->as.policy.delay, entry->as.policy.version);
        return;
    case ADMISSION_SEAL:
        snprintf(text, 320, "seals the log, number %llu",
                 (unsigned long long)entry->as.seal_of.number);
        return;
    case ADMISSION_RECOVER:
        snprintf(text, 320, "replaces the root keys with %u new one%s",
                 entry->as.recover.root_count, entry->as.recover.root_count == 1 ? "" : "s");
        return;
    case ADMISSION_CHECKPOINT:
        snprintf(text, 320, "closes the log, number %llu: what is still needed of it is %u records",
                 (unsigned long long)entry->as.checkpoint.number, entry->as.checkpoint.records);
        return;
    }
    PPN_UNREACHABLE();
}

void admission_describe_entry(const struct admission *log, const struct admission_entry *entry,
                              char text[static ADMISSION_TEXT_MAX])
{
    describe_act(log, entry, text);
}

void admission_describe(const struct admission *log, uint32_t index,
                        char text[static ADMISSION_TEXT_MAX])
{
    struct admission_entry entry;
    char act[320], who[128];
    admission_decode(log, index, &entry);
    describe_act(log, &entry, act);
    key_words(log, &entry.author, who);
    snprintf(text, ADMISSION_TEXT_MAX, "%s, by %s", act, who);
}

static const char *void_reason(enum admission_void why)
{
    switch (why) {
    case ADMISSION_VOID_NOT:
        return "in force";
    case ADMISSION_VOID_REMOVED:
        return "void: its author was removed by somebody who had not seen it";
    case ADMISSION_VOID_FORKED:
        return "void: its author signed two different entries with one number";
    case ADMISSION_VOID_CUT:
        return "void: it lies behind the cut of its author's removal";
    case ADMISSION_VOID_RECOVERED:
        return "void: a recovery replaced its author and had not seen it";
    case ADMISSION_VOID_BACKDATED:
        return "void: its author was removed, and a later seal does not hold it";
    case ADMISSION_VOID_CHAIN:
        return "void: who gave its author the power has lost it";
    case ADMISSION_VOID_DENIED:
        return "void: an admin denied the node at the same time or before";
    case ADMISSION_VOID_REVOKED:
        return "ended: the node was revoked";
    case ADMISSION_VOID_ADDRESS:
        return "void: its mesh address belongs to another node";
    case ADMISSION_VOID_WG_KEY:
        return "void: its WireGuard key belongs to another node";
    case ADMISSION_VOID_INVITE:
        return "void: the invite is closed or not in force";
    case ADMISSION_VOID_USED_UP:
        return "void: the invite was used up by others";
    case ADMISSION_VOID_WITNESS:
        return "void: the node that signed it was no member";
    case ADMISSION_VOID_CONFLICT:
        return "void: another entry has the same number or base";
    case ADMISSION_VOID_CLOSED:
        return "void: a checkpoint closed the log before it";
    }
    return "void";
}

void admission_explain(const struct admission *log, uint32_t index,
                       char text[static ADMISSION_TEXT_MAX])
{
    PPN_ASSERT(index < log->count);
    const struct admission_item *item = &log->items[index];
    const char *reason = void_reason((enum admission_void)item->why);
    if (item->by == 0) {
        snprintf(text, ADMISSION_TEXT_MAX, "%s", reason);
        return;
    }
    char print[PPN_FINGERPRINT_TEXT];
    short_key(log->items[item->by - 1].id.bytes, print);
    snprintf(text, ADMISSION_TEXT_MAX, "%s (entry %s)", reason, print);
}

static void add_line(const struct admission *log, struct admission_audit *audit, uint32_t index,
                     const char *prefix)
{
    char act[ADMISSION_TEXT_MAX], state[ADMISSION_TEXT_MAX];
    for (uint32_t i = 0; i < audit->count; i++) {
        if (audit->lines[i].index == index)
            return;
    }
    if (audit->count == ADMISSION_AUDIT_LINES_MAX) {
        audit->cut = true;
        return;
    }
    admission_describe(log, index, act);
    admission_explain(log, index, state);
    audit->lines[audit->count].index = index;
    audit->lines[audit->count].time_unix_ms = log->items[index].time_unix_ms;
    snprintf(audit->lines[audit->count].text, ADMISSION_TEXT_MAX, "%s%.340s; %.150s", prefix, act,
             state);
    audit->count++;
}

static bool names_root(const struct admission_control *control, uint32_t person)
{
    for (uint32_t i = 0; i < control->root_count; i++) {
        if (control->roots[i] == person)
            return true;
    }
    return false;
}

/* How the author came to its power, back to the genesis. */
static void add_authority(const struct admission *log, struct admission_audit *audit,
                          uint32_t index)
{
    for (uint32_t depth = 0; depth < ADMISSION_AUDIT_LINES_MAX; depth++) {
        uint32_t author = log->items[index].author, found = UINT32_MAX;
        for (uint32_t i = 0; i < log->control_count; i++) {
            const struct admission_control *control = &log->control[i];
            const struct admission_item *item = &log->items[control->index];
            bool gives = names_root(control, author) ||
                         (item->kind == ADMISSION_ADMIN_ADD && item->subject == author);
            if (gives && control->index != index && admission_before(log, control->index, index))
                found = control->index;
        }
        if (log->items[index].kind == ADMISSION_REDEEM && log->items[index].facts != 0)
            found = log->facts[log->items[index].facts - 1].invite;
        if (found == UINT32_MAX)
            return;
        add_line(log, audit, found, "  on the authority of: ");
        index = found;
    }
}

enum ppn_error admission_audit_node(const struct admission *log, const struct ppn_node_id *node,
                                    struct admission_audit *audit)
{
    struct admission_key key = admission_node_key(node);
    uint32_t person;
    audit->count = 0;
    audit->cut = false;
    if (!admission_person_find(log, &key, &person) || log->persons[person].first_about == 0)
        return PPN_ERROR_NOT_FOUND;
    for (uint32_t at = log->persons[person].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        add_line(log, audit, at - 1, "");
        add_authority(log, audit, at - 1);
    }
    return PPN_OK;
}
