// SPDX-License-Identifier: ISC
#pragma once

/* Instants and durations as distinct types, so that the two never mix. An instant counts
 * nanoseconds of a monotonic clock since an origin that only its process knows; it is never stored
 * or sent. Cores are told the time; only os/clock reads it. */

#include <stdbool.h>
#include <stdint.h>

struct ppn_instant {
    int64_t ns;
};

struct ppn_duration {
    int64_t ns;
};

/* Wall clock, milliseconds since 1970; for people, leases and invites only. */
struct ppn_wall {
    int64_t unix_ms;
};

#define PPN_NEVER ((struct ppn_instant){INT64_MAX})

static inline struct ppn_duration ppn_ns(int64_t ns)
{
    return (struct ppn_duration){ns};
}

static inline struct ppn_duration ppn_ms(int64_t ms)
{
    return (struct ppn_duration){ms * 1000000};
}

static inline struct ppn_duration ppn_seconds(int64_t s)
{
    return (struct ppn_duration){s * 1000000000};
}

static inline int64_t ppn_to_ms(struct ppn_duration d)
{
    return d.ns / 1000000;
}

/* PPN_NEVER stays PPN_NEVER. */
static inline struct ppn_instant ppn_after(struct ppn_instant t, struct ppn_duration d)
{
    int64_t sum;
    if (t.ns == INT64_MAX || __builtin_add_overflow(t.ns, d.ns, &sum))
        return PPN_NEVER;
    return (struct ppn_instant){sum};
}

static inline struct ppn_duration ppn_between(struct ppn_instant from, struct ppn_instant to)
{
    return (struct ppn_duration){to.ns - from.ns};
}

static inline bool ppn_before(struct ppn_instant a, struct ppn_instant b)
{
    return a.ns < b.ns;
}

/* Whether a deadline has come at `now`. */
static inline bool ppn_due(struct ppn_instant deadline, struct ppn_instant now)
{
    return deadline.ns <= now.ns;
}

static inline struct ppn_instant ppn_earlier(struct ppn_instant a, struct ppn_instant b)
{
    return a.ns < b.ns ? a : b;
}
