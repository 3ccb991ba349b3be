// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/assert.h"
#include "wg/wg_internal.h"

/* A way that was proven says for itself what it needs. */
static uint16_t keepalive(const struct wg *wg, const struct wg_peer *peer)
{
    if (peer->endpoints.has_path)
        return peer->endpoints.path_keepalive_s;
    return wg->behind_nat ? WG_KEEPALIVE_S : 0;
}

/* The next free change of the batch, or NULL when it is full. */
static struct wg_change *next_change(struct wg_update *update, enum wg_change_kind kind,
                                     const struct wg_key *key)
{
    if (update->count == WG_BATCH_MAX)
        return NULL;
    struct wg_change *change = &update->changes[update->count++];
    *change = (struct wg_change){.kind = kind, .key = *key};
    return change;
}

/* A peer that had no endpoint and gets its first one, or had a wrong one and no session. What was
 * sent to it before counted as a handshake attempt all the same, and WireGuard makes the next one
 * REKEY_TIMEOUT (5 s) later; a peer made anew makes it at once. No session is lost. */
static bool begins_anew(const struct wg *wg, const struct wg_entry *entry,
                        const struct wg_peer *peer)
{
    return peer->anew || (!entry->seen.has_endpoint && !entry->seen.has_handshake &&
                          wg_endpoint_likely(wg, peer));
}

/* False when not all of them fitted. */
static bool removals(const struct wg *wg, struct wg_update *update)
{
    for (size_t i = 0; i < wg->entry_count; i++) {
        const struct wg_entry *entry = &wg->entries[i];
        const struct wg_key *key = &entry->seen.key;
        const struct wg_peer *peer = wg_peer_by_key(wg, key);
        if ((peer == NULL || begins_anew(wg, entry, peer)) &&
            next_change(update, WG_REMOVE, key) == NULL)
            return false;
    }
    return true;
}

/* A peer with an endpoint starts with keepalives, whatever they are to be afterwards (the next
 * batch corrects it): they make WireGuard shake hands now, not when the first packet waits for it.
 * Of two members that add each other, the later one's handshake is always understood. */
static bool additions(const struct wg *wg, struct wg_update *update)
{
    for (size_t i = 0; i < wg->peer_count; i++) {
        const struct wg_peer *peer = &wg->peers[i];
        if (wg_entry_find(wg, &peer->key) != NULL)
            continue;
        struct wg_change *change = next_change(update, WG_ADD, &peer->key);
        if (change == NULL)
            return false;
        memcpy(change->allowed, peer->allowed, sizeof(change->allowed));
        struct ppn_endpoint order[WG_CANDIDATES_MAX];
        change->has_endpoint = wg_endpoint_order(wg, peer, NULL, order) > 0;
        if (change->has_endpoint)
            change->endpoint = order[0];
        change->keepalive_s = change->has_endpoint ? WG_KEEPALIVE_S : keepalive(wg, peer);
    }
    return true;
}

static bool allowed_matches(const struct wg_observed *seen, const struct wg_peer *peer)
{
    return seen->allowed_one && memcmp(seen->allowed, peer->allowed, sizeof(peer->allowed)) == 0;
}

static void corrections(const struct wg *wg, struct ppn_instant now, struct wg_update *update)
{
    for (size_t i = 0; i < wg->entry_count; i++) {
        const struct wg_entry *entry = &wg->entries[i];
        const struct wg_peer *peer = wg_peer_by_key(wg, &entry->seen.key);
        if (peer == NULL || begins_anew(wg, entry, peer) || allowed_matches(&entry->seen, peer))
            continue;
        struct wg_change *change = next_change(update, WG_ALLOWED, &peer->key);
        if (change == NULL)
            return;
        memcpy(change->allowed, peer->allowed, sizeof(change->allowed));
    }
    for (size_t i = 0; i < wg->entry_count; i++) {
        const struct wg_entry *entry = &wg->entries[i];
        const struct wg_peer *peer = wg_peer_by_key(wg, &entry->seen.key);
        /* A change of one that this batch removed would create it again. */
        if (peer == NULL || begins_anew(wg, entry, peer))
            continue;
        struct ppn_endpoint endpoint = {{0}, 0};
        bool moves = wg_endpoint_choose(wg, peer, entry, now, &endpoint);
        if (!moves && entry->seen.keepalive_s == keepalive(wg, peer))
            continue;
        struct wg_change *change = next_change(update, WG_ENDPOINT, &peer->key);
        if (change == NULL)
            return;
        change->has_endpoint = moves;
        change->endpoint = endpoint;
        change->keepalive_s = keepalive(wg, peer);
    }
}

static uint16_t route_mtu(uint16_t mtu)
{
    return mtu == 0 ? WG_MTU : mtu;
}

/* Once the peers are right: another tool carries these out. */
static void routes(const struct wg *wg, struct wg_update *update)
{
    for (size_t i = 0; i < wg->peer_count; i++) {
        const struct wg_peer *peer = &wg->peers[i];
        if (route_mtu(peer->endpoints.mtu) == route_mtu(peer->route_mtu))
            continue;
        struct wg_change *change = next_change(update, WG_ROUTE, &peer->key);
        if (change == NULL)
            return;
        memcpy(change->allowed, peer->allowed, sizeof(change->allowed));
        change->mtu = route_mtu(peer->endpoints.mtu);
    }
}

bool wg_diff(const struct wg *wg, struct ppn_instant now, struct wg_update *update)
{
    PPN_ASSERT(wg->device_known && wg->has_members);
    memset(update, 0, sizeof(*update));
    update->kind = WG_UPDATE_APPLY;
    update->log_version = wg->log_version;
    if (removals(wg, update) && additions(wg, update))
        corrections(wg, now, update);
    if (update->count == 0)
        routes(wg, update);
    return update->count > 0;
}

static void remove_entry(struct wg *wg, const struct wg_key *key)
{
    struct wg_entry *entry = wg_entry_find(wg, key);
    struct wg_peer *peer = wg_peer_by_key(wg, key);
    PPN_ASSERT(entry != NULL);
    if (peer != NULL)
        peer->anew = false;
    size_t index = (size_t)(entry - wg->entries);
    memmove(entry, entry + 1, (wg->entry_count - index - 1) * sizeof(*entry));
    wg->entry_count--;
}

static struct wg_entry *add_entry(struct wg *wg, struct ppn_instant now,
                                  const struct wg_change *change)
{
    PPN_ASSERT(wg->entry_count < wg->entry_capacity);
    size_t index = 0;
    while (index < wg->entry_count &&
           memcmp(wg->entries[index].seen.key.bytes, change->key.bytes, WG_KEY_SIZE) < 0)
        index++;
    struct wg_entry *entry = &wg->entries[index];
    memmove(entry + 1, entry, (wg->entry_count - index) * sizeof(*entry));
    wg->entry_count++;
    *entry = (struct wg_entry){.seen_at = now, .heard_at = now, .unwell_at = now};
    entry->seen.key = change->key;
    return entry;
}

static void change_entry(struct wg *wg, struct ppn_instant now, const struct wg_change *change)
{
    struct wg_entry *entry =
        change->kind == WG_ADD ? add_entry(wg, now, change) : wg_entry_find(wg, &change->key);
    PPN_ASSERT(entry != NULL);
    if (change->kind == WG_ADD || change->kind == WG_ALLOWED) {
        entry->seen.allowed_one = true;
        memcpy(entry->seen.allowed, change->allowed, sizeof(change->allowed));
    }
    if (change->kind == WG_ALLOWED)
        return;
    entry->seen.keepalive_s = change->keepalive_s;
    if (!change->has_endpoint)
        return;
    entry->seen.has_endpoint = true;
    entry->seen.endpoint = change->endpoint;
    const struct wg_peer *peer = wg_peer_by_key(wg, &change->key);
    struct ppn_endpoint order[WG_CANDIDATES_MAX];
    size_t choices = peer == NULL ? 1 : wg_endpoint_order(wg, peer, entry, order);
    wg_entry_tried(wg, entry, choices, now);
}

static void change_route(struct wg *wg, const struct wg_change *change)
{
    struct wg_peer *peer = wg_peer_by_key(wg, &change->key);
    if (peer != NULL)
        peer->route_mtu = change->mtu;
}

void wg_diff_applied(struct wg *wg, struct ppn_instant now, const struct wg_update *update)
{
    for (size_t i = 0; i < update->count; i++) {
        if (update->changes[i].kind == WG_REMOVE)
            remove_entry(wg, &update->changes[i].key);
        else if (update->changes[i].kind == WG_ROUTE)
            change_route(wg, &update->changes[i]);
        else
            change_entry(wg, now, &update->changes[i]);
    }
}
