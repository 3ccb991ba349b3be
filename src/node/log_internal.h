// SPDX-License-Identifier: ISC
#pragma once

/* What log.c (the core and its store) and log_sync.c (the core and other members) share. */

#include "admission/admission.h"
#include "admission/conduct.h"
#include "base/random.h"
#include "node/log.h"
#include "os/os_loop.h"

struct node_log {
    struct node *node;
    struct admission *core;
    struct admission_update update;
    struct os_timer timer; /* leases and the periodic comparison with somebody */
    struct ppn_random random;
    struct admission_conduct conduct; /* of members that send entries */
    struct ppn_instant sync_at;
    uint64_t first_key, next_key; /* of what is stored: from the one, below the other */
    uint32_t stored;              /* entries handed to the store so far */
    bool became_member;
};

/* Tells others of the entries first .. end - 1 (admission_record_at). source: whose news it is, as
 * node_log_batch says; 0: this node's own. */
void node_log_push(struct node_log *log, uint32_t first, uint32_t end, uint32_t source);

/* Compares heads with one member, drawn by chance. */
void node_log_sync(struct node_log *log);
