// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "base/random.h"
#include "wg/wg.h"

/* The core against a model of a WireGuard device, under events in any order: members come and go,
 * candidates and hints of members and strangers arrive, batches succeed, fail half-way or are lost
 * with the device. The device behaves as the real one does: a change of a missing peer creates it.
 */

enum { NODES = 40, STEPS = 400, SEEDS = 300, DEVICE_MAX = 256 };

struct model {
    struct wg wg;
    struct ppn_random random;
    struct ppn_instant now;
    uint64_t log_version;
    bool member[NODES];
    bool dismissed[NODES]; /* removed once: its key never comes back */
    bool proven[NODES];    /* a way to it was proven once */
    size_t device_count;
    struct wg_observed device[DEVICE_MAX];
    struct wg_update pending; /* being carried out by the device */
    struct ppn_node_id nodes[NODES];
};

static struct wg_key key_of(size_t n)
{
    struct wg_key key = {{(uint8_t)n, (uint8_t)(n * 7)}};
    return key;
}

static struct wg_observed *device_find(struct model *model, const struct wg_key *key)
{
    for (size_t i = 0; i < model->device_count; i++) {
        if (memcmp(&model->device[i].key, key, sizeof(*key)) == 0)
            return &model->device[i];
    }
    return NULL;
}

static size_t number_of(const struct wg_key *key)
{
    for (size_t n = 0; n < NODES; n++) {
        struct wg_key other = key_of(n);
        if (memcmp(&other, key, sizeof(*key)) == 0)
            return n;
    }
    return NODES;
}

/* What any batch must satisfy, at the moment when it is emitted. */
static void check_batch(struct model *model, const struct wg_update *update)
{
    int rank = 0;
    cr_assert(update->count > 0 && update->count <= WG_BATCH_MAX);
    cr_assert(update->log_version == model->log_version);
    for (size_t i = 0; i < update->count; i++) {
        const struct wg_change *change = &update->changes[i];
        size_t n = number_of(&change->key);
        int own = (int)change->kind;
        cr_assert(own >= rank, "removals, additions, AllowedIPs, endpoints, in this order");
        rank = own;
        if (change->kind == WG_REMOVE) {
            const struct wg_observed *peer = device_find(model, &change->key);
            bool anew = peer != NULL && !peer->has_endpoint && !peer->has_handshake;
            cr_assert(n == NODES || !model->member[n] || anew || model->proven[n],
                      "members are removed only to begin anew with another endpoint");
            continue;
        }
        cr_assert(n != 0 && n < NODES && model->member[n], "only members are configured");
        if (change->kind == WG_ROUTE) {
            cr_assert(update->changes[0].kind == WG_ROUTE, "routes are alone in their batch");
            cr_assert(change->mtu >= WG_MTU_MIN && change->mtu <= WG_MTU);
        }
        if (change->kind == WG_ENDPOINT)
            cr_assert(device_find(model, &change->key) != NULL, "no peer is made by an endpoint");
        if (change->kind == WG_ADD || change->kind == WG_ALLOWED)
            cr_assert(change->allowed[11] == (uint8_t)n);
    }
}

static void device_apply(struct model *model, const struct wg_change *change)
{
    struct wg_observed *peer = device_find(model, &change->key);
    if (change->kind == WG_REMOVE) {
        if (peer != NULL)
            *peer = model->device[--model->device_count];
        return;
    }
    if (change->kind == WG_ROUTE)
        return;
    if (peer == NULL) {
        cr_assert(model->device_count < DEVICE_MAX);
        peer = &model->device[model->device_count++];
        *peer = (struct wg_observed){.key = change->key};
    }
    if (change->kind == WG_ADD || change->kind == WG_ALLOWED) {
        peer->allowed_one = true;
        memcpy(peer->allowed, change->allowed, 16);
    }
    if (change->has_endpoint) {
        peer->has_endpoint = true;
        peer->endpoint = change->endpoint;
    }
}

static void step(struct model *model, const struct wg_event *event)
{
    struct wg_update update;
    enum ppn_error error = wg_step(&model->wg, model->now, event, &update);
    cr_assert(error == PPN_OK);
    if (update.kind == WG_UPDATE_NONE)
        return;
    cr_assert(model->pending.kind == WG_UPDATE_NONE, "one operation at a time");
    if (update.kind == WG_UPDATE_APPLY)
        check_batch(model, &update);
    model->pending = update;
}

static void step_members(struct model *model)
{
    struct wg_member list[NODES];
    struct wg_event event = {.kind = WG_EVENT_MEMBERS};
    size_t n = 1 + ppn_random_below(&model->random, NODES - 1);
    if (model->member[n])
        model->dismissed[n] = true;
    model->member[n] = !model->member[n] && !model->dismissed[n];
    for (size_t i = 0; i < NODES; i++) {
        if (!model->member[i])
            continue;
        struct wg_member *member = &list[event.members.count++];
        *member = (struct wg_member){.node = model->nodes[i], .key = key_of(i)};
        member->address[0] = 0xfd;
        member->address[11] = (uint8_t)i;
        member->address[15] = 1;
    }
    event.members.log_version = ++model->log_version;
    event.members.members = list;
    step(model, &event);
}

static void step_endpoints(struct model *model)
{
    struct ppn_candidate list[3];
    size_t n = ppn_random_below(&model->random, NODES);
    for (size_t i = 0; i < 3; i++) {
        list[i] =
            (struct ppn_candidate){.kind = (enum ppn_endpoint_kind)i,
                                   .endpoint = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 51820}};
        list[i].endpoint.address[12] = (uint8_t)ppn_random_below(&model->random, 256);
        list[i].endpoint.address[15] = (uint8_t)n;
    }
    struct wg_event event = {.kind = WG_EVENT_CANDIDATES,
                             .candidates = {.node = model->nodes[n], .count = 3, .list = list}};
    if (ppn_random_below(&model->random, 4) == 0) {
        event.kind = WG_EVENT_HINT;
        event.hint.node = model->nodes[n];
        event.hint.endpoint = list[0].endpoint;
    } else if (ppn_random_below(&model->random, 4) == 0) {
        event.kind = WG_EVENT_PATH;
        event.path.node = model->nodes[n];
        event.path.endpoint = list[1].endpoint;
        event.path.endpoint.port = ppn_random_below(&model->random, 3) == 0 ? 0 : 51822;
        event.path.keepalive_s = ppn_random_below(&model->random, 2) == 0 ? 0 : 25;
        event.path.mtu = (uint16_t)(WG_MTU_MIN + ppn_random_below(&model->random, 141));
        model->proven[n] = model->proven[n] || event.path.endpoint.port != 0;
    }
    step(model, &event);
}

static void traffic(struct model *model)
{
    for (size_t i = 0; i < model->device_count; i++) {
        struct wg_observed *peer = &model->device[i];
        peer->tx_bytes += 148 * ppn_random_below(&model->random, 3);
        if (peer->has_endpoint && ppn_random_below(&model->random, 3) == 0) {
            peer->rx_bytes += 92;
            peer->has_handshake = true;
            peer->handshake_age = ppn_seconds((int64_t)ppn_random_below(&model->random, 300));
        }
    }
}

static void step_answer(struct model *model)
{
    struct wg_update update = model->pending;
    struct wg_event event = {0};
    if (update.kind == WG_UPDATE_NONE)
        return;
    model->pending.kind = WG_UPDATE_NONE;
    bool fails = ppn_random_below(&model->random, 8) == 0;
    if (update.kind == WG_UPDATE_APPLY) {
        size_t carried = fails ? ppn_random_below(&model->random, update.count) : update.count;
        for (size_t i = 0; i < carried; i++)
            device_apply(model, &update.changes[i]);
        event.kind = WG_EVENT_APPLIED;
        event.applied.batch = update.batch;
        event.applied.error = fails ? PPN_ERROR_IO : PPN_OK;
    } else {
        traffic(model);
        event.kind = WG_EVENT_OBSERVED;
        event.observed.error = fails ? PPN_ERROR_TIMEOUT : PPN_OK;
        event.observed.count = fails ? 0 : model->device_count;
        event.observed.peers = model->device;
    }
    step(model, &event);
}

static void step_reset(struct model *model)
{
    struct wg_event event = {.kind = WG_EVENT_RESET};
    model->device_count = 0;
    model->pending.kind = WG_UPDATE_NONE;
    step(model, &event);
}

static void step_stranger(struct model *model)
{
    if (model->device_count >= DEVICE_MAX / 2)
        return;
    struct wg_key key = {{250, (uint8_t)ppn_random_below(&model->random, 256)}};
    if (device_find(model, &key) == NULL)
        model->device[model->device_count++] = (struct wg_observed){.key = key};
}

static void step_any(struct model *model)
{
    struct wg_event tick = {.kind = WG_EVENT_TICK};
    uint64_t choice = ppn_random_below(&model->random, 100);
    model->now = ppn_after(model->now, ppn_ms((int64_t)ppn_random_below(&model->random, 3000)));
    if (choice < 20)
        step_members(model);
    else if (choice < 45)
        step_endpoints(model);
    else if (choice < 75)
        step_answer(model);
    else if (choice < 95)
        step(model, &tick);
    else if (choice < 97)
        step_reset(model);
    else
        step_stranger(model);
}

/* With answers that come and no more changes, the device is the members and nothing else. */
static void check_settled(struct model *model)
{
    struct wg_event tick = {.kind = WG_EVENT_TICK};
    for (int i = 0; i < 300; i++) {
        model->now = ppn_after(model->now, ppn_ms(500));
        step(model, &tick);
        step_answer(model);
    }
    size_t wanted = 0;
    for (size_t n = 1; n < NODES; n++) {
        struct wg_key key = key_of(n);
        wanted += model->member[n] ? 1 : 0;
        cr_assert((device_find(model, &key) != NULL) == model->member[n]);
    }
    cr_assert(model->device_count == wanted);
}

static void run(struct model *model, uint64_t seed)
{
    struct wg_config config = {.self = key_of(0)};
    memset(model, 0, sizeof(*model));
    ppn_random_init(&model->random, seed);
    model->now = (struct ppn_instant){ppn_seconds(100).ns};
    for (size_t n = 0; n < NODES; n++) {
        for (size_t i = 0; i < PPN_ID_SIZE; i++)
            model->nodes[n].bytes[i] = (uint8_t)ppn_random_u64(&model->random);
    }
    model->member[0] = true;
    wg_init(&model->wg, &config, model->now, seed);
    for (int i = 0; i < STEPS; i++)
        step_any(model);
    check_settled(model);
    wg_free(&model->wg);
}

static struct model model;

Test(wg_random, only_members_are_ever_configured_whatever_the_order)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(&model, seed);
}
