// SPDX-License-Identifier: ISC
#pragma once

/* Shared by control_log.c (what machines do) and control_log_people.c (what people do). */

#include "admission/admission.h"
#include "control_internal.h"
#include "control_log.h"

enum { ENTRIES_MAX = 512, ROOT_HOME = 0, ADMIN_HOME = 1 };

struct entry {
    uint32_t size;
    uint8_t bytes[ADMISSION_ENVELOPE_MAX];
};

_Static_assert(CONTROL_NODES_MAX <= 32, "a bit each");

struct log_node {
    struct admission *log;
    struct entry *disk[ENTRIES_MAX];
    uint32_t disk_count;
    uint32_t written, scheduled; /* records of the running log: on disk; on their way */
    struct ppn_node_id members[CONTROL_NODES_MAX];
    uint32_t member_count;
    uint32_t rekeys;
};

struct control_log {
    struct ppn_random random;
    struct ppn_hash network;
    struct admission_key root, admin, invite;
    struct log_node nodes[CONTROL_NODES_MAX];
    struct promise {
        struct ppn_hash id;
        uint32_t nodes;      /* where it was on disk, a bit each */
    } promised[ENTRIES_MAX]; /* entries that somebody was told are done */
    uint32_t promised_count;
    uint32_t thrown_out; /* by anybody's log, a bit each */
    uint32_t revoked, revoke_most;
    struct admission_update update;
};

extern const struct admission_crypto control_log_crypto;

void control_log_disk_add(struct log_node *node, struct ppn_slice envelope);
void control_log_offer(struct control *control, uint32_t node, uint32_t from,
                       struct ppn_slice envelope);
/* New entries are on disk a little later; nothing is shown or obeyed before. */
void control_log_schedule(struct control *control, uint32_t node);
/* Genesis, a second admin, an invite, the first nodes. */
void control_log_found(struct control *control, uint32_t founders);
