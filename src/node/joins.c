// SPDX-License-Identifier: ISC
#include "node/joins.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/events.h"
#include "node/log.h"
#include "node/node.h"
#include "node/peers.h"
#include "os/os_clock.h"

struct node_joins {
    struct node *node;
    struct os_timer timer;
    uint32_t count;
    struct node_join rows[NODE_JOINS_MAX];
};

static void remove_row(struct node_joins *joins, uint32_t index)
{
    struct node_join gone = joins->rows[index];
    joins->count--;
    memmove(&joins->rows[index], &joins->rows[index + 1],
            (joins->count - index) * sizeof(joins->rows[0]));
    node_events_join(joins->node->events, &gone, true);
}

static bool decided(const struct node_joins *joins, const struct ppn_node_id *id)
{
    enum admission_standing standing = admission_standing(node_log_core(joins->node->log), id);
    return standing == ADMISSION_MEMBER || standing == ADMISSION_DENIED ||
           standing == ADMISSION_REVOKED;
}

static void sweep(struct node_joins *joins)
{
    struct ppn_instant now = os_now(joins->node->loop);
    for (uint32_t i = joins->count; i-- > 0;) {
        if (decided(joins, &joins->rows[i].request.node) || ppn_due(joins->rows[i].expires, now))
            remove_row(joins, i);
    }
}

static void on_timer(void *context)
{
    struct node_joins *joins = context;
    sweep(joins);
    if (joins->count > 0)
        os_timer_after(&joins->timer, ppn_seconds(5));
}

static void keep(struct node_joins *joins, const struct admission_request *request,
                 const struct ppn_endpoint *from, const struct ppn_node_id *by)
{
    struct ppn_instant expires =
        ppn_after(os_now(joins->node->loop), ppn_seconds(NODE_JOIN_EXPIRY_S));
    uint32_t same = 0;
    if (decided(joins, &request->node))
        return;
    for (uint32_t i = 0; i < joins->count; i++) {
        if (ppn_node_id_equal(&joins->rows[i].request.node, &request->node)) {
            joins->rows[i].request = *request;
            joins->rows[i].from = *from;
            joins->rows[i].expires = expires;
            return;
        }
        same += ppn_node_id_equal(&joins->rows[i].told_by, by);
    }
    if (joins->count == NODE_JOINS_MAX || same >= NODE_JOINS_PER_MEMBER_MAX) {
        ppn_log(PPN_LOG_WARN, "joins-full", "text=\"a join request was turned away\"");
        return;
    }
    struct node_join *row = &joins->rows[joins->count++];
    *row = (struct node_join){*request, *from, *by, os_clock_wall().unix_ms, expires};
    ppn_log(PPN_LOG_INFO, "join-requested", "name=%s", request->name);
    node_events_join(joins->node->events, row, false);
    if (!os_timer_armed(&joins->timer))
        os_timer_after(&joins->timer, ppn_seconds(5));
}

void node_joins_knock(struct node_joins *joins, const struct admission_request *request,
                      struct ppn_slice bytes, const struct ppn_endpoint *from)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_JOIN};
    struct node_member member;
    uint32_t cursor = 0;
    keep(joins, request, from, &joins->node->identity.id);
    frame.join.request = bytes;
    frame.join.from = *from;
    while (node_member_next(joins->node, &cursor, &member)) {
        if (!node_member_alive(joins->node, &member.id) ||
            ppn_node_id_equal(&member.id, &joins->node->identity.id))
            continue;
        if (node_peers_send(joins->node->peers, &member.id, &frame) != PPN_OK)
            ppn_log(PPN_LOG_DEBUG, "join-untold", "to=%s", member.name);
    }
}

void node_joins_told(struct node_joins *joins, const struct ppn_node_id *by,
                     const struct wire_peer_frame *frame)
{
    struct admission_request request;
    char scratch[PPN_FINGERPRINT_TEXT];
    enum ppn_error error =
        admission_request_decode(admission_crypto_sodium(), frame->join.request, &request);
    if (error != PPN_OK || !ppn_hash_equal(&request.network, &joins->node->network)) {
        ppn_log(PPN_LOG_WARN, "join-told-wrong", "by=%s cause=\"%s\"",
                node_member_name(joins->node, by, scratch), ppn_error_text(error));
        return;
    }
    keep(joins, &request, &frame->join.from, by);
}

uint32_t node_joins_count(struct node_joins *joins)
{
    sweep(joins);
    return joins->count;
}

const struct node_join *node_joins_at(struct node_joins *joins, uint32_t index)
{
    return index < joins->count ? &joins->rows[index] : NULL;
}

struct node_joins *node_joins_open(struct node *node)
{
    struct node_joins *joins = calloc(1, sizeof(*joins));
    if (joins != NULL) {
        joins->node = node;
        os_timer_init(&joins->timer, node->loop, on_timer, joins);
    }
    return joins;
}

void node_joins_close(struct node_joins *joins)
{
    if (joins != NULL)
        os_timer_stop(&joins->timer);
    free(joins);
}
