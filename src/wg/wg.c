// SPDX-License-Identifier: ISC
#include "wg/wg.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wg/wg_internal.h"

/* The device is read often while a peer is being connected to, else less often: one read is one
 * short child process (1 ms) and some microseconds a peer. */
enum {
    OBSERVE_BUSY_MS = 1000,
    OBSERVE_MS = 2000,    /* so long may packets go into a dead way before anybody knows of them */
    OBSERVE_PEER_MS = 10, /* more for each peer: a thousandth of a CPU, however many */
    OBSERVE_ALONE_MS = 10000,
    BUSY_S = 30, /* after that an unreachable peer is no reason to hurry */
    RETRY_MIN_MS = 500,
    RETRY_MAX_MS = 8000,
    /* A handshake over a proven way takes one round trip. Two machines that wake to one another's
     * old attempts may each drop the other's new one (one in 20 ms is heeded) and would wait 5 s.
     * Random, so that the two do not begin at once again; doubled each time, for slow lines. */
    ANEW_MS = 700,
    ANEW_JITTER_MS = 500,
    ANEW_TRIES = 3
};

static int index_compare(const void *a, const void *b)
{
    return memcmp(((const struct wg_index *)a)->bytes, ((const struct wg_index *)b)->bytes,
                  WG_KEY_SIZE);
}

static int peer_compare(const void *a, const void *b)
{
    return ppn_node_id_compare(&((const struct wg_peer *)a)->node,
                               &((const struct wg_peer *)b)->node);
}

static int entry_compare(const void *a, const void *b)
{
    return memcmp(((const struct wg_entry *)a)->seen.key.bytes,
                  ((const struct wg_entry *)b)->seen.key.bytes, WG_KEY_SIZE);
}

void wg_init(struct wg *wg, const struct wg_config *config, struct ppn_instant now, uint64_t seed)
{
    memset(wg, 0, sizeof(*wg));
    wg->config = *config;
    ppn_random_init(&wg->random, seed);
    wg->retry = ppn_ms(RETRY_MIN_MS);
    wg->observe_at = now;
}

void wg_free(struct wg *wg)
{
    free(wg->peers);
    free(wg->by_key);
    free(wg->entries);
    memset(wg, 0, sizeof(*wg));
}

static struct wg_peer *peer_find(const struct wg *wg, const struct ppn_node_id *node)
{
    struct wg_peer wanted = {.node = *node};
    if (wg->peer_count == 0)
        return NULL;
    return bsearch(&wanted, wg->peers, wg->peer_count, sizeof(*wg->peers), peer_compare);
}

struct wg_peer *wg_peer_by_key(const struct wg *wg, const struct wg_key *key)
{
    struct wg_index wanted = {.peer = 0};
    memcpy(wanted.bytes, key->bytes, WG_KEY_SIZE);
    if (wg->peer_count == 0)
        return NULL;
    const struct wg_index *found =
        bsearch(&wanted, wg->by_key, wg->peer_count, sizeof(*wg->by_key), index_compare);
    return found == NULL ? NULL : &wg->peers[found->peer];
}

struct wg_entry *wg_entry_find(const struct wg *wg, const struct wg_key *key)
{
    struct wg_entry wanted = {.seen.key = *key};
    if (wg->entry_count == 0)
        return NULL;
    return bsearch(&wanted, wg->entries, wg->entry_count, sizeof(*wg->entries), entry_compare);
}

/* Where a node's endpoints are kept: with the member, else in the table of those still unknown,
 * where the oldest gives way. */
static struct wg_endpoints *endpoints_of(struct wg *wg, const struct ppn_node_id *node)
{
    struct wg_peer *peer = peer_find(wg, node);
    if (peer != NULL)
        return &peer->endpoints;
    for (size_t i = 0; i < wg->kept_count; i++) {
        if (ppn_node_id_equal(&wg->kept[i].node, node))
            return &wg->kept[i].endpoints;
    }
    struct wg_kept *kept = &wg->kept[wg->kept_next];
    wg->kept_next = (wg->kept_next + 1) % WG_KEPT_MAX;
    if (wg->kept_count < WG_KEPT_MAX)
        wg->kept_count++;
    *kept = (struct wg_kept){.node = *node};
    return &kept->endpoints;
}

static void inherit_endpoints(const struct wg *wg, struct wg_peer *peer)
{
    const struct wg_peer *before = peer_find(wg, &peer->node);
    if (before != NULL) {
        peer->endpoints = before->endpoints;
        peer->route_mtu = before->route_mtu;
        peer->anew = before->anew;
        peer->anew_at = before->anew_at;
        peer->anew_tries = before->anew_tries;
        return;
    }
    peer->anew_at = PPN_NEVER;
    for (size_t i = 0; i < wg->kept_count; i++) {
        if (ppn_node_id_equal(&wg->kept[i].node, &peer->node))
            peer->endpoints = wg->kept[i].endpoints;
    }
}

/* Sorts an index of keys or of addresses and says whether any two are equal. */
static bool index_fill(struct wg_index *index, const struct wg_peer *peers, size_t count, bool keys)
{
    for (size_t i = 0; i < count; i++) {
        memset(&index[i], 0, sizeof(index[i]));
        if (keys)
            memcpy(index[i].bytes, peers[i].key.bytes, WG_KEY_SIZE);
        else
            memcpy(index[i].bytes, peers[i].allowed, sizeof(peers[i].allowed));
        index[i].peer = (uint32_t)i;
    }
    qsort(index, count, sizeof(*index), index_compare);
    for (size_t i = 1; i < count; i++) {
        if (index_compare(&index[i - 1], &index[i]) == 0)
            return false;
    }
    return true;
}

static enum ppn_error take_members(struct wg *wg, const struct wg_event *event)
{
    size_t count = event->members.count;
    if (wg->has_members && event->members.log_version < wg->log_version)
        return PPN_ERROR_STALE;
    if (count > WG_PEERS_MAX)
        return PPN_ERROR_INVALID;
    struct wg_peer *peers = calloc(count + 1, sizeof(*peers));
    struct wg_index *by_key = calloc(count + 1, sizeof(*by_key));
    enum ppn_error error = peers == NULL || by_key == NULL ? PPN_ERROR_NO_MEMORY : PPN_OK;
    size_t taken = 0;
    for (size_t i = 0; error == PPN_OK && i < count; i++) {
        const struct wg_member *member = &event->members.members[i];
        if (memcmp(member->key.bytes, wg->config.self.bytes, WG_KEY_SIZE) == 0)
            continue;
        struct wg_peer *peer = &peers[taken++];
        peer->node = member->node;
        peer->key = member->key;
        memcpy(peer->allowed, member->address, WG_ALLOWED_BYTES);
        inherit_endpoints(wg, peer);
    }
    if (error == PPN_OK) {
        qsort(peers, taken, sizeof(*peers), peer_compare);
        for (size_t i = 1; i < taken; i++) {
            if (peer_compare(&peers[i - 1], &peers[i]) == 0)
                error = PPN_ERROR_INVALID;
        }
        if (!index_fill(by_key, peers, taken, false) || !index_fill(by_key, peers, taken, true))
            error = PPN_ERROR_INVALID;
    }
    if (error != PPN_OK) {
        free(peers);
        free(by_key);
        return error;
    }
    free(wg->peers);
    free(wg->by_key);
    wg->peers = peers;
    wg->by_key = by_key;
    wg->peer_count = taken;
    wg->log_version = event->members.log_version;
    wg->has_members = true;
    return PPN_OK;
}

static enum ppn_error take_local(struct wg *wg, const struct wg_event *event)
{
    if (event->local.count > WG_PREFIX_MAX)
        return PPN_ERROR_INVALID;
    for (size_t i = 0; i < event->local.count; i++) {
        if (event->local.prefixes[i].length > 128)
            return PPN_ERROR_INVALID;
    }
    wg->behind_nat = event->local.behind_nat;
    wg->prefix_count = event->local.count;
    if (event->local.count > 0)
        memcpy(wg->prefixes, event->local.prefixes, event->local.count * sizeof(*wg->prefixes));
    return PPN_OK;
}

/* An entry for what was read, with what was known of the path before. */
static struct wg_entry observe_entry(const struct wg *wg, struct ppn_instant now,
                                     const struct wg_observed *seen)
{
    const struct wg_entry *before = wg_entry_find(wg, &seen->key);
    /* Counters that went back belong to a peer that somebody made anew. */
    if (before != NULL && seen->tx_bytes < before->seen.tx_bytes)
        before = NULL;
    struct wg_entry entry = {.tried_at = now, .heard_at = now, .unwell_at = now};
    if (before != NULL)
        entry = *before;
    else
        entry.tx_at_try = entry.tx_at_heard = seen->tx_bytes;
    bool was_good = before != NULL && wg_path_good(before, now);
    if (before == NULL || seen->rx_bytes != before->seen.rx_bytes) {
        entry.heard_at = now;
        entry.tx_at_heard = seen->tx_bytes;
    }
    entry.seen = *seen;
    entry.seen_at = now;
    if (wg_path_good(&entry, now)) {
        entry.has_good = true;
        entry.good = seen->endpoint;
        entry.tries = 0;
        entry.dwell = ppn_ms(0);
    } else if (was_good) {
        entry.unwell_at = now;
    }
    return entry;
}

static void look_again(struct wg *wg, struct wg_peer *peer, struct ppn_instant now)
{
    int64_t wait_ms = ANEW_MS + (int64_t)ppn_random_below(&wg->random, ANEW_JITTER_MS);
    PPN_ASSERT(peer->anew_tries <= ANEW_TRIES);
    peer->anew_at = ppn_after(now, ppn_ms(wait_ms << peer->anew_tries));
}

/* The device was read just now: whose handshake over a proven way has not come about? */
static void begin_again(struct wg *wg, struct ppn_instant now)
{
    for (size_t i = 0; i < wg->peer_count; i++) {
        struct wg_peer *peer = &wg->peers[i];
        if (!ppn_due(peer->anew_at, now))
            continue;
        const struct wg_entry *entry = wg_entry_find(wg, &peer->key);
        peer->anew_at = PPN_NEVER;
        if (entry == NULL || wg_session_alive(entry, now) || !wg_path_tried(entry) ||
            peer->endpoints.path.port == 0 || peer->anew_tries == ANEW_TRIES)
            continue;
        peer->anew = true;
        peer->anew_tries++;
        look_again(wg, peer, now);
    }
}

static enum ppn_error take_observed(struct wg *wg, struct ppn_instant now,
                                    const struct wg_event *event)
{
    size_t count = event->observed.count;
    if (count > WG_DEVICE_PEERS_MAX)
        return PPN_ERROR_INVALID;
    struct wg_entry *entries = calloc(count + 1, sizeof(*entries));
    if (entries == NULL)
        return PPN_ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        entries[i] = observe_entry(wg, now, &event->observed.peers[i]);
    qsort(entries, count, sizeof(*entries), entry_compare);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || entry_compare(&entries[kept - 1], &entries[i]) != 0)
            entries[kept++] = entries[i];
    }
    free(wg->entries);
    wg->entries = entries;
    wg->entry_count = kept;
    wg->entry_capacity = count + 1;
    begin_again(wg, now);
    return PPN_OK;
}

static bool hurry(const struct wg *wg, struct ppn_instant now)
{
    for (size_t i = 0; i < wg->entry_count; i++) {
        const struct wg_entry *entry = &wg->entries[i];
        if (entry->seen.has_endpoint && !wg_path_good(entry, now) && wg_path_tried(entry) &&
            !ppn_due(ppn_after(entry->unwell_at, ppn_seconds(BUSY_S)), now))
            return true;
        /* Just added: soon to be tried. */
        if (entry->seen.has_endpoint && !entry->seen.has_handshake && entry->tries <= 1 &&
            !ppn_due(ppn_after(entry->unwell_at, ppn_seconds(BUSY_S)), now))
            return true;
    }
    return false;
}

/* The device cannot be trusted to be as we believe: read it again, after a growing pause. */
static void doubt(struct wg *wg, struct ppn_instant now)
{
    wg->device_known = false;
    wg->observe_at = ppn_after(now, wg->retry);
    wg->retry = ppn_ms(2 * ppn_to_ms(wg->retry));
    if (ppn_to_ms(wg->retry) > RETRY_MAX_MS)
        wg->retry = ppn_ms(RETRY_MAX_MS);
}

static void trust(struct wg *wg, struct ppn_instant now)
{
    wg->device_known = true;
    wg->retry = ppn_ms(RETRY_MIN_MS);
    struct ppn_duration wait = ppn_ms(OBSERVE_ALONE_MS);
    if (hurry(wg, now))
        wait = ppn_ms(OBSERVE_BUSY_MS);
    else if (wg->entry_count > 0)
        wait = ppn_ms(OBSERVE_MS + (int64_t)wg->entry_count * OBSERVE_PEER_MS);
    wg->observe_at = ppn_after(now, wait);
    for (size_t i = 0; i < wg->peer_count; i++)
        wg->observe_at = ppn_earlier(wg->observe_at, wg->peers[i].anew_at);
}

static enum ppn_error take_answer(struct wg *wg, struct ppn_instant now,
                                  const struct wg_event *event)
{
    if (event->kind == WG_EVENT_APPLIED) {
        if (wg->outstanding != WG_UPDATE_APPLY || event->applied.batch != wg->in_flight.batch)
            return PPN_OK;
        wg->outstanding = WG_UPDATE_NONE;
        if (event->applied.error != PPN_OK) {
            doubt(wg, now);
            return PPN_OK;
        }
        wg_diff_applied(wg, now, &wg->in_flight);
        trust(wg, now);
        return PPN_OK;
    }
    if (wg->outstanding != WG_UPDATE_OBSERVE)
        return PPN_OK;
    enum ppn_error error = event->observed.error;
    if (error == PPN_OK)
        error = take_observed(wg, now, event);
    wg->outstanding = WG_UPDATE_NONE;
    if (error == PPN_OK)
        trust(wg, now);
    else
        doubt(wg, now);
    return PPN_OK;
}

static enum ppn_error take_path(struct wg *wg, struct ppn_instant now, const struct wg_event *event)
{
    bool proven = event->path.endpoint.port != 0;
    if (proven && (event->path.mtu < WG_MTU_MIN || event->path.mtu > WG_MTU))
        return PPN_ERROR_INVALID;
    struct wg_endpoints *endpoints = endpoints_of(wg, &event->path.node);
    endpoints->has_path = proven;
    endpoints->path = event->path.endpoint;
    if (!proven)
        return PPN_OK;
    endpoints->path_keepalive_s = event->path.keepalive_s;
    endpoints->mtu = event->path.mtu;
    struct wg_peer *peer = peer_find(wg, &event->path.node);
    const struct wg_entry *entry = peer != NULL ? wg_entry_find(wg, &peer->key) : NULL;
    if (entry == NULL)
        return PPN_OK;
    /* What it sent since it chose its endpoint went nowhere. */
    if (entry->seen.has_endpoint && !wg_session_alive(entry, now) &&
        !wg_endpoint_equal(&entry->seen.endpoint, &endpoints->path))
        peer->anew = true;
    /* Also of a session that seems alive: the clock here stands still while the machine sleeps. */
    peer->anew_tries = 0;
    look_again(wg, peer, now);
    wg->observe_at = ppn_earlier(wg->observe_at, peer->anew_at);
    return PPN_OK;
}

static void forget_routes(struct wg *wg)
{
    for (size_t i = 0; i < wg->peer_count; i++)
        wg->peers[i].route_mtu = 0;
}

static enum ppn_error take(struct wg *wg, struct ppn_instant now, const struct wg_event *event)
{
    struct wg_endpoints *endpoints;
    switch (event->kind) {
    case WG_EVENT_TICK:
        return PPN_OK;
    case WG_EVENT_MEMBERS:
        return take_members(wg, event);
    case WG_EVENT_CANDIDATES:
        if (event->candidates.count > PPN_ENDPOINTS_MAX)
            return PPN_ERROR_INVALID;
        endpoints = endpoints_of(wg, &event->candidates.node);
        endpoints->count = (uint32_t)event->candidates.count;
        if (event->candidates.count > 0)
            memcpy(endpoints->list, event->candidates.list,
                   event->candidates.count * sizeof(endpoints->list[0]));
        return PPN_OK;
    case WG_EVENT_HINT:
        endpoints = endpoints_of(wg, &event->hint.node);
        endpoints->has_hint = true;
        endpoints->hint = event->hint.endpoint;
        return PPN_OK;
    case WG_EVENT_PATH:
        return take_path(wg, now, event);
    case WG_EVENT_LOCAL:
        return take_local(wg, event);
    case WG_EVENT_APPLIED:
    case WG_EVENT_OBSERVED:
        return take_answer(wg, now, event);
    case WG_EVENT_RESET:
        wg->entry_count = 0;
        forget_routes(wg);
        wg->outstanding = WG_UPDATE_NONE;
        trust(wg, now);
        return PPN_OK;
    }
    PPN_UNREACHABLE();
}

/* Room for every addition of one batch, so that its answer cannot fail. */
static bool reserve(struct wg *wg)
{
    size_t wanted = wg->entry_count + WG_BATCH_MAX;
    if (wg->entry_capacity >= wanted)
        return true;
    struct wg_entry *entries = realloc(wg->entries, wanted * sizeof(*entries));
    if (entries == NULL)
        return false;
    wg->entries = entries;
    wg->entry_capacity = wanted;
    return true;
}

static void emit(struct wg *wg, struct ppn_instant now, struct wg_update *update)
{
    if (wg->config.plain || !wg->has_members || wg->outstanding != WG_UPDATE_NONE)
        return;
    if (wg->device_known) {
        if (!reserve(wg)) {
            doubt(wg, now);
            return;
        }
        if (wg_diff(wg, now, update)) {
            update->batch = wg->in_flight.batch + 1;
            wg->in_flight = *update;
            wg->outstanding = WG_UPDATE_APPLY;
            return;
        }
        update->kind = WG_UPDATE_NONE;
    }
    if (ppn_due(wg->observe_at, now)) {
        update->kind = WG_UPDATE_OBSERVE;
        wg->outstanding = WG_UPDATE_OBSERVE;
    }
}

enum ppn_error wg_step(struct wg *wg, struct ppn_instant now, const struct wg_event *event,
                       struct wg_update *update)
{
    update->kind = WG_UPDATE_NONE;
    update->count = 0;
    enum ppn_error error = take(wg, now, event);
    if (error == PPN_OK)
        emit(wg, now, update);
    return error;
}

struct ppn_instant wg_deadline(const struct wg *wg)
{
    if (wg->config.plain || !wg->has_members || wg->outstanding != WG_UPDATE_NONE)
        return PPN_NEVER;
    return wg->observe_at;
}

enum ppn_error wg_peer_status(const struct wg *wg, struct ppn_instant now,
                              const struct ppn_node_id *node, struct wg_peer_status *status)
{
    const struct wg_peer *peer = peer_find(wg, node);
    memset(status, 0, sizeof(*status));
    if (peer == NULL)
        return PPN_ERROR_NOT_FOUND;
    const struct wg_entry *entry = wg_entry_find(wg, &peer->key);
    struct ppn_endpoint order[WG_CANDIDATES_MAX];
    status->candidate_count = (uint32_t)wg_endpoint_order(wg, peer, entry, order);
    status->state = status->candidate_count == 0 ? WG_PEER_NO_CANDIDATE : WG_PEER_IDLE;
    if (entry == NULL)
        return PPN_OK;
    const struct wg_observed *seen = &entry->seen;
    status->has_endpoint = seen->has_endpoint;
    status->endpoint = seen->endpoint;
    status->has_handshake = seen->has_handshake;
    status->handshake_age =
        ppn_ns(seen->handshake_age.ns + (seen->has_handshake ? now.ns - entry->seen_at.ns : 0));
    status->rx_bytes = seen->rx_bytes;
    status->tx_bytes = seen->tx_bytes;
    status->rotations = entry->tries;
    if (wg_path_good(entry, now))
        status->state = WG_PEER_CONNECTED;
    else if (seen->has_endpoint && wg_path_tried(entry))
        status->state = WG_PEER_CONNECTING;
    return PPN_OK;
}
