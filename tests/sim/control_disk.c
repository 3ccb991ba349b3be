// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "control_internal.h"

/* What all parts of the scenario use, and the disk under fleet. */

void control_broken(struct control *c, const char *format, ...)
{
    va_list arguments;
    if (c->broken++ > 0)
        return;
    va_start(arguments, format);
    vsnprintf(c->first_broken, sizeof(c->first_broken), format, arguments);
    va_end(arguments);
}

struct ppn_instant control_later(struct control *c, int64_t least_ms, int64_t most_ms)
{
    int64_t ns = (most_ms - least_ms) * 1000000;
    ns = least_ms * 1000000 + (int64_t)ppn_random_below(&c->random, (uint64_t)ns + 1);
    return ppn_after(c->world->now, ppn_ns(ns));
}

struct control_call *control_call_new(enum call_kind kind, const struct fleet_action *action)
{
    struct control_call *call = calloc(1, sizeof(*call));
    PPN_ASSERT(call != NULL);
    call->kind = kind;
    if (action != NULL) {
        call->request = action->request;
        call->origin = action->origin;
        call->attempt = action->attempt;
    }
    return call;
}

static bool key_equal(const struct fleet_key *a, const struct fleet_key *b)
{
    return a->kind == b->kind && ppn_request_id_equal(&a->request, &b->request) &&
           ppn_node_id_equal(&a->origin, &b->origin);
}

void control_disk_apply(struct control_node *node, const struct control_write *write)
{
    uint32_t at = 0;
    while (at < node->row_count && !key_equal(&node->rows[at].row.key, &write->key))
        at++;
    if (!write->put) {
        if (at < node->row_count)
            node->rows[at] = node->rows[--node->row_count];
        return;
    }
    PPN_ASSERT(at < CONTROL_ROWS_MAX);
    node->row_count += at == node->row_count;
    node->rows[at] = write->row;
}

void control_disk_write(struct control *c, uint32_t index, const struct fleet_action *action)
{
    struct control_node *node = &c->nodes[index];
    PPN_ASSERT(node->write_count < CONTROL_WRITES_MAX);
    struct control_write *write = &node->writes[node->write_count++];
    *write = (struct control_write){.put = action->kind == FLEET_DO_PERSIST,
                                    .ticket = action->ticket,
                                    .key = action->kind == FLEET_DO_PERSIST ? action->row->key
                                                                            : action->key};
    if (write->put) {
        write->row.row = *action->row;
        if (action->row->spec.size > 0)
            memcpy(write->row.spec, action->row->spec.data, action->row->spec.size);
    }
    struct ppn_instant done = control_later(c, 1, 30);
    if (ppn_before(done, node->disk_free))
        done = node->disk_free;
    node->disk_free = done;
    struct control_call *call = control_call_new(CALL_WRITTEN, NULL);
    call->failed = ppn_random_chance(&c->random, c->fail_per_million / 4);
    world_call(c->world, index, done, call);
}

void control_disk_written(struct control *c, uint32_t index, bool failed)
{
    struct control_node *node = &c->nodes[index];
    PPN_ASSERT(node->write_count > 0);
    struct control_write write = node->writes[0];
    memmove(node->writes, node->writes + 1, --node->write_count * sizeof(*node->writes));
    if (!failed)
        control_disk_apply(node, &write);
    struct fleet_event event = {.kind = failed ? FLEET_EVENT_PERSIST_FAILED : FLEET_EVENT_PERSISTED,
                                .ticket = write.ticket,
                                .code = failed ? PPN_ERROR_NO_SPACE : PPN_OK};
    control_step(c, index, &event);
}
