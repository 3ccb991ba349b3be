// SPDX-License-Identifier: ISC
#include "node/alarms.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/log.h"
#include "node/node.h"

static void add(struct node_alarms *alarms, const char *code, const char *fix, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

static void add(struct node_alarms *alarms, const char *code, const char *fix, const char *format,
                ...)
{
    uint32_t at = alarms->count;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(alarms->text[at], NODE_ALARM_TEXT, format, arguments);
    va_end(arguments);
    (void)snprintf(alarms->fix[at], NODE_ALARM_TEXT, "%s", fix);
    alarms->list[at] = (struct api_alarm_view){code, alarms->text[at], alarms->fix[at]};
    alarms->count++;
}

static void add_contradicted(const struct node *node, const struct admission_contradicted *key,
                             struct node_alarms *alarms)
{
    const struct admission *log = node_log_core(node->log);
    const struct admission_admin *admin = admission_admin_by_key(log, &key->author);
    struct ppn_node_id id = admission_key_node(&key->author);
    struct node_member member;
    char print[PPN_FINGERPRINT_TEXT], fix[NODE_ALARM_TEXT], who[128];
    ppn_fingerprint(&id, print);
    if (admin != NULL)
        (void)snprintf(who, sizeof(who), "admin key %s%s%s", admin->name,
                       admin->name[0] != '\0' ? " " : "", print);
    else
        (void)snprintf(who, sizeof(who), "node %s (%s)",
                       node_member_by_id(node, &id, &member) ? member.name : "?", print);
    if (admin != NULL && (admin->powers & ADMISSION_POWER_ROOT) != 0)
        (void)snprintf(fix, sizeof(fix),
                       "it is out already; with a recovery key: ppn recover --recovery FILE --root "
                       "NEW-KEY");
    else if (admin != NULL)
        (void)snprintf(fix, sizeof(fix),
                       "it is out already; look at what it signed (ppn log), then ppn admin remove "
                       "%s --cut ENTRY with another admin's key",
                       print);
    else
        (void)snprintf(fix, sizeof(fix), "ppn revoke %s; the machine joins anew with a new key",
                       print);
    add(alarms, "contradiction", fix,
        "%s signed two different entries with the number %llu: the key was copied or stolen, or "
        "somebody lies",
        who, (unsigned long long)key->seq);
}

static void add_cloned(const struct node *node, const struct ppn_node_id *id,
                       struct node_alarms *alarms)
{
    struct node_member member;
    char print[PPN_FINGERPRINT_TEXT], fix[NODE_ALARM_TEXT];
    if (!node_member_by_id(node, id, &member))
        return;
    ppn_fingerprint(id, print);
    (void)snprintf(fix, sizeof(fix), "ppn revoke %s; the right machine joins anew with a new key",
                   print);
    add(alarms, "clone", fix,
        "two machines speak with the key of node %s (%s): a disk or a state directory was copied",
        member.name, print);
}

void node_alarms_read(const struct node *node, struct node_alarms *alarms)
{
    struct admission_alarms found;
    admission_alarms(node_log_core(node->log), &found);
    alarms->count = 0;
    if (found.frozen_version != 0)
        add(alarms, "frozen", "update ppn-node on this machine",
            "the network's log moved to version %u and this program knows %u: it hears of no "
            "admission and no revocation any more",
            found.frozen_version, (unsigned)ADMISSION_VERSION);
    if (found.seal_conflict != 0)
        add(alarms, "seal-conflict",
            "stop one of them, then ppn recover --recovery FILE --root NEW-KEY; until then no seal "
            "counts",
            "two seals carry the number %llu: an authority runs twice",
            (unsigned long long)found.seal_conflict);
    for (uint32_t i = 0; i < found.contradicted_count; i++)
        add_contradicted(node, &found.contradicted[i], alarms);
    struct ppn_node_id clones[NODE_CLONES_MAX];
    uint32_t count = node->gossip == NULL ? 0 : node_gossip_clones(node->gossip, clones);
    for (uint32_t i = 0; i < count; i++)
        add_cloned(node, &clones[i], alarms);
}

bool node_alarms_has(const struct node_alarms *alarms, const struct api_alarm_view *alarm)
{
    for (uint32_t i = 0; i < alarms->count; i++) {
        if (strcmp(alarms->list[i].code, alarm->code) == 0 &&
            strcmp(alarms->list[i].text, alarm->text) == 0)
            return true;
    }
    return false;
}
