// SPDX-License-Identifier: ISC
#include "node/calls.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "node/node.h"
#include "os/os_udp.h"
#include "wire/path.h"

struct node_calls {
    struct node *node;
    struct node_calls_config config;
    struct os_udp *udp;
};

/* A VM's address is in its node's /96, but it is not the node. */
static void on_receive(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    struct node_calls *calls = context;
    struct ppn_node_id by;
    uint8_t address[16];
    bool moved;
    if (node_member_by_address(calls->node, from->address, &by) &&
        node_member_address(calls->node, &by, address) &&
        memcmp(address, from->address, sizeof(address)) == 0 &&
        wire_path_call_decode(datagram, &moved) == PPN_OK)
        calls->config.called(calls->config.context, &by, moved);
}

void node_calls_send(struct node_calls *calls, const struct ppn_node_id *to, bool moved)
{
    uint8_t bytes[WIRE_PATH_CALL_SIZE];
    struct ppn_endpoint endpoint = {.port = PPN_PORT_CALL};
    if (calls == NULL || !node_member_address(calls->node, to, endpoint.address))
        return;
    wire_path_call_encode(moved, bytes);
    (void)os_udp_send(calls->udp, &endpoint, ppn_slice(bytes, sizeof(bytes)));
}

enum ppn_error node_calls_open(struct node *node, const struct node_calls_config *config,
                               struct node_calls **out, struct ppn_failure *failure)
{
    PPN_ASSERT(config->called != NULL);
    struct node_calls *calls = calloc(1, sizeof(*calls));
    if (calls == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct os_udp_config udp = {.bind.port = PPN_PORT_CALL,
                                .interface = node->options.interface,
                                .freebind = true,
                                .on_receive = on_receive,
                                .context = calls};
    memcpy(udp.bind.address, node->mesh_address, sizeof(udp.bind.address));
    calls->node = node;
    calls->config = *config;
    enum ppn_error error = os_udp_open(node->loop, &udp, &calls->udp, failure);
    if (error != PPN_OK) {
        free(calls);
        return error;
    }
    *out = calls;
    return PPN_OK;
}

void node_calls_close(struct node_calls *calls)
{
    if (calls == NULL)
        return;
    os_udp_close(calls->udp);
    free(calls);
}
