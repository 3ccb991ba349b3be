// SPDX-License-Identifier: ISC
#pragma once

/* What flows know, as the API shows it. Views borrow from their buffer and from the flows: use them
 * before anything else happens. */

#include "admission/explain.h"
#include "admission/words.h"
#include "api/api_views.h"
#include "node/alarms.h"
#include "node/machines.h"
#include "node/node.h"
#include "os/os_file.h"

struct node_join;

struct node_view_buffer {
    struct ppn_profile profile;
    struct ppn_load load;
    struct admission_labels given;
    struct node_member member;
    char fingerprint[PPN_FINGERPRINT_TEXT];
    char address[64];
    struct ppn_profile offers;
    char words[ADMISSION_WORDS_TEXT], path[OS_PATH_MAX + 16];
    char author[PPN_FINGERPRINT_TEXT], subject[PPN_NAME_MAX + 1];
    char text[2 * ADMISSION_TEXT_MAX];
    struct api_relay_view relay;
    struct node_alarms alarms;
    struct ppn_hash parents[16];
};

/* False: no such member. */
bool node_view_node(const struct node *node, const struct ppn_node_id *id,
                    struct node_view_buffer *buffer, struct api_node_view *view);
void node_view_vm(const struct node *node, const struct node_vm *vm,
                  struct node_view_buffer *buffer, struct api_vm_view *view);
void node_view_join(const struct node *node, const struct node_join *join,
                    struct node_view_buffer *buffer, struct api_join_view *view);
void node_view_entry(const struct node *node, uint32_t index, struct node_view_buffer *buffer,
                     struct api_log_entry_view *view);
void node_view_status(const struct node *node, struct node_view_buffer *buffer,
                      struct api_status *view);
