// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/assert.h"
#include "wg/wg_internal.h"

/* WireGuard (Donenfeld, NDSS 2017): REJECT_AFTER_TIME 180 s, REKEY_TIMEOUT 5 s between two
 * handshake attempts, and KEEPALIVE_TIMEOUT 10 s within which received data is always answered. */
enum {
    FRESH_S = 180,
    DWELL_MS = 5500, /* at least one handshake attempt and its answer */
    DWELL_JITTER_MS = 1000,
    DWELL_MAX_MS = 60000,
    SILENCE_S = 20,
    /* Persistent keepalives are 32 bytes each and get no answer: two of them are no sign. */
    SILENCE_BYTES = 64
};

bool wg_endpoint_equal(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static bool is_ipv4(const uint8_t address[static 16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(address, mapped, sizeof(mapped)) == 0;
}

/* Addresses that another machine can never mean by themselves. */
static bool dialable(const struct ppn_endpoint *endpoint, const uint8_t mesh[static 6])
{
    const uint8_t *a = endpoint->address;
    static const uint8_t zero[15];
    if (endpoint->port == 0)
        return false;
    if (is_ipv4(a))
        return a[12] != 0 && a[12] != 127 && a[12] < 224 && !(a[12] == 169 && a[13] == 254);
    if (memcmp(a, zero, sizeof(zero)) == 0)
        return false;
    if (a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80))
        return false;
    return memcmp(a, mesh, 6) != 0;
}

bool wg_prefix_has(const struct wg_prefix *prefix, const uint8_t address[static 16])
{
    uint32_t bits = prefix->length;
    if (is_ipv4(prefix->address)) {
        if (!is_ipv4(address))
            return false;
        bits = bits > 32 ? 128 : bits + 96;
    }
    size_t whole = bits / 8;
    uint32_t rest = bits % 8;
    if (memcmp(prefix->address, address, whole) != 0)
        return false;
    return rest == 0 || ((prefix->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

/* Lower is tried earlier: a neighbour's own address, what worked for somebody, what is public,
 * what others saw, and last somebody else's LAN, which may hold an unrelated machine. */
static uint32_t rank(const struct wg *wg, const struct ppn_candidate *candidate)
{
    for (size_t i = 0; i < wg->prefix_count; i++) {
        if (wg->prefixes[i].length > 0 &&
            wg_prefix_has(&wg->prefixes[i], candidate->endpoint.address))
            return 0;
    }
    switch (candidate->kind) {
    case PPN_ENDPOINT_PUBLIC:
        return 2;
    case PPN_ENDPOINT_OBSERVED:
        return 3;
    case PPN_ENDPOINT_LAN:
        break;
    }
    return 4;
}

static size_t append(struct ppn_endpoint *order, size_t count, const struct ppn_endpoint *endpoint)
{
    for (size_t i = 0; i < count; i++) {
        if (wg_endpoint_equal(&order[i], endpoint))
            return count;
    }
    PPN_ASSERT(count < WG_CANDIDATES_MAX);
    order[count] = *endpoint;
    return count + 1;
}

/* The path core has the peer's answer from there, also where it is a bridge on the loopback. */
static bool proven(const struct wg_endpoints *known)
{
    return known->has_path && known->path.port != 0;
}

size_t wg_endpoint_order(const struct wg *wg, const struct wg_peer *peer,
                         const struct wg_entry *entry,
                         struct ppn_endpoint order[static WG_CANDIDATES_MAX])
{
    const struct wg_endpoints *known = &peer->endpoints;
    size_t count = 0;
    if (proven(known))
        count = append(order, count, &known->path);
    for (uint32_t wanted = 0; wanted <= 4; wanted++) {
        if (wanted == 1 && known->has_hint && dialable(&known->hint, peer->allowed))
            count = append(order, count, &known->hint);
        for (uint32_t i = 0; i < known->count; i++) {
            const struct ppn_candidate *candidate = &known->list[i];
            if (dialable(&candidate->endpoint, peer->allowed) && rank(wg, candidate) == wanted)
                count = append(order, count, &candidate->endpoint);
        }
    }
    if (entry != NULL && entry->has_good)
        count = append(order, count, &entry->good);
    return count;
}

bool wg_endpoint_likely(const struct wg *wg, const struct wg_peer *peer)
{
    const struct wg_endpoints *known = &peer->endpoints;
    bool likely = (proven(known)) || (known->has_hint && dialable(&known->hint, peer->allowed));
    for (uint32_t i = 0; i < known->count && !likely; i++)
        likely =
            dialable(&known->list[i].endpoint, peer->allowed) && rank(wg, &known->list[i]) <= 3;
    return likely;
}

static struct ppn_duration handshake_age(const struct wg_entry *entry, struct ppn_instant now)
{
    return ppn_ns(entry->seen.handshake_age.ns + ppn_between(entry->seen_at, now).ns);
}

bool wg_session_alive(const struct wg_entry *entry, struct ppn_instant now)
{
    return entry->seen.has_handshake && handshake_age(entry, now).ns < ppn_seconds(FRESH_S).ns;
}

bool wg_path_good(const struct wg_entry *entry, struct ppn_instant now)
{
    const struct wg_observed *seen = &entry->seen;
    if (!seen->has_endpoint || !wg_session_alive(entry, now))
        return false;
    bool sent = seen->tx_bytes > entry->tx_at_heard + SILENCE_BYTES;
    bool silent = ppn_between(entry->heard_at, now).ns >= ppn_seconds(SILENCE_S).ns;
    return !(sent && silent);
}

bool wg_path_tried(const struct wg_entry *entry)
{
    return entry->seen.tx_bytes > entry->tx_at_try;
}

bool wg_endpoint_choose(const struct wg *wg, const struct wg_peer *peer,
                        const struct wg_entry *entry, struct ppn_instant now,
                        struct ppn_endpoint *endpoint)
{
    struct ppn_endpoint order[WG_CANDIDATES_MAX];
    size_t count = wg_endpoint_order(wg, peer, entry, order);
    if (count == 0)
        return false;
    /* Somebody else's LAN alone is no reason to spoil what the peer itself may have begun since the
     * device was read. */
    if (!entry->seen.has_endpoint && !wg_endpoint_likely(wg, peer) && entry->seen_at.ns != now.ns)
        return false;
    if (!entry->seen.has_endpoint) {
        *endpoint = order[0];
        return true;
    }
    /* A way that was proven is no guess: it is taken at once, and nothing else is tried. */
    if (proven(&peer->endpoints)) {
        *endpoint = peer->endpoints.path;
        return !wg_endpoint_equal(endpoint, &entry->seen.endpoint);
    }
    /* Only on what was read just now: since an older reading the peer may have answered. */
    if (entry->seen_at.ns != now.ns || wg_path_good(entry, now) || !wg_path_tried(entry))
        return false;
    if (!ppn_due(ppn_after(entry->tried_at, entry->dwell), now))
        return false;
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (wg_endpoint_equal(&order[i], &entry->seen.endpoint))
            next = (i + 1) % count;
    }
    *endpoint = order[next];
    return !wg_endpoint_equal(endpoint, &entry->seen.endpoint);
}

void wg_entry_tried(struct wg *wg, struct wg_entry *entry, size_t choices, struct ppn_instant now)
{
    /* A machine that is switched off is dialled ever more slowly, round by round. */
    uint32_t rounds = choices == 0 ? 0 : entry->tries / (uint32_t)choices;
    int64_t dwell_ms = (int64_t)DWELL_MS << (rounds < 4 ? rounds : 4);
    if (dwell_ms > DWELL_MAX_MS)
        dwell_ms = DWELL_MAX_MS;
    entry->dwell = ppn_ms(dwell_ms + (int64_t)ppn_random_below(&wg->random, DWELL_JITTER_MS));
    entry->tried_at = now;
    entry->tx_at_try = entry->seen.tx_bytes;
    if (entry->tries < UINT32_MAX)
        entry->tries++;
}
