// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "fleet/fleet_internal.h"

bool fleet_has_room(const struct fleet *fleet)
{
    return fleet->action_count + FLEET_ACTIONS_SPARE <= FLEET_ACTIONS_MAX;
}

static struct fleet_action *append(struct fleet *fleet, enum fleet_action_kind kind)
{
    PPN_ASSERT(fleet->action_count < FLEET_ACTIONS_MAX);
    struct fleet_action *action = &fleet->actions[fleet->action_count++];
    *action = (struct fleet_action){.kind = kind};
    return action;
}

static uint32_t last(const struct fleet *fleet)
{
    return fleet->action_count - 1;
}

void fleet_send(struct fleet *fleet, const struct ppn_node_id *to, const struct fleet_msg *message)
{
    PPN_ASSERT(!ppn_node_id_is_zero(to));
    struct fleet_action *action = append(fleet, FLEET_DO_SEND);
    struct fleet_msg *copy = &fleet->messages[last(fleet)];
    *copy = *message;
    action->node = *to;
    action->message = copy;
    action->request = message->request;
}

void fleet_persist(struct fleet *fleet, const struct fleet_row *row, struct disk *disk)
{
    struct fleet_action *action = append(fleet, FLEET_DO_PERSIST);
    struct fleet_row *copy = &fleet->rows[last(fleet)];
    *copy = *row;
    disk->ticket = ++fleet->ticket;
    disk->dirty = false;
    action->ticket = disk->ticket;
    action->row = copy;
    action->key = row->key;
    action->request = row->key.request;
}

void fleet_forget(struct fleet *fleet, const struct fleet_key *key)
{
    struct fleet_action *action = append(fleet, FLEET_DO_FORGET);
    action->ticket = ++fleet->ticket;
    action->key = *key;
    action->request = key->request;
}

void fleet_news(struct fleet *fleet, const struct request *request, enum fleet_news news,
                const struct ppn_node_id *node, enum ppn_error code, const char *reason)
{
    struct fleet_action *action = append(fleet, FLEET_DO_NEWS);
    char *text = fleet->texts[last(fleet)];
    text[0] = '\0';
    if (code != PPN_OK)
        fleet_reason(text, code, reason);
    action->request = request->id;
    action->attempt = request->attempt;
    action->news = news;
    if (node != NULL)
        action->node = *node;
    action->code = code;
    action->reason = text;
}

void fleet_news_step(struct fleet *fleet, const struct request *request, enum fleet_step step,
                     uint32_t percent)
{
    fleet_news(fleet, request, FLEET_NEWS_WORKING, &request->node, PPN_OK, "");
    fleet->actions[last(fleet)].step = step;
    fleet->actions[last(fleet)].percent = percent;
}

void fleet_ask_candidates(struct fleet *fleet, const struct request *request)
{
    struct fleet_action *action = append(fleet, FLEET_DO_NEED_CANDIDATES);
    action->request = request->id;
    action->spec = fleet_blob_slice(request->work->spec);
}

void fleet_ask_members(struct fleet *fleet, const struct request *request)
{
    append(fleet, FLEET_DO_NEED_MEMBERS)->request = request->id;
}

void fleet_ask_hold(struct fleet *fleet, enum fleet_action_kind kind, const struct hold *hold)
{
    struct fleet_action *action = append(fleet, kind);
    action->request = hold->id;
    action->origin = hold->origin;
    action->attempt = hold->attempt;
    action->spec = fleet_blob_slice(hold->spec);
}

struct blob *fleet_blob(struct ppn_slice bytes)
{
    PPN_ASSERT(bytes.size <= FLEET_SPEC_MAX);
    struct blob *blob = malloc(sizeof(*blob) + bytes.size);
    if (blob == NULL)
        return NULL;
    blob->next = NULL;
    blob->size = bytes.size;
    memcpy(blob->bytes, bytes.data, bytes.size);
    return blob;
}

void fleet_discard(struct fleet *fleet, struct blob **blob)
{
    if (*blob == NULL)
        return;
    (*blob)->next = fleet->garbage;
    fleet->garbage = *blob;
    *blob = NULL;
}

struct ppn_slice fleet_blob_slice(const struct blob *blob)
{
    return blob ? ppn_slice(blob->bytes, blob->size) : ppn_slice(NULL, 0);
}

struct ppn_instant fleet_retry(const struct fleet *fleet, struct ppn_duration *backoff,
                               struct ppn_duration limit)
{
    struct ppn_instant due = ppn_after(fleet->now, *backoff);
    backoff->ns = backoff->ns * 2 < limit.ns ? backoff->ns * 2 : limit.ns;
    return due;
}

void fleet_reason(char *to, enum ppn_error code, const char *reason)
{
    if (reason == NULL || reason[0] == '\0')
        reason = ppn_error_text(code);
    (void)ppn_text_copy(to, PPN_REASON_MAX + 1, reason);
}
