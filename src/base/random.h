// SPDX-License-Identifier: ISC
#pragma once

/* Repeatable pseudo-random numbers for the cores: the same seed gives the same numbers everywhere.
 * Never for keys or tokens: those come from libsodium. */

#include <stdbool.h>
#include <stdint.h>

/* xoshiro256** 1.0 (Blackman, Vigna 2018), seeded through splitmix64. */
struct ppn_random {
    uint64_t state[4];
};

void ppn_random_init(struct ppn_random *random, uint64_t seed);
uint64_t ppn_random_u64(struct ppn_random *random);

/* Uniform in 0 .. bound-1; bound > 0. */
uint64_t ppn_random_below(struct ppn_random *random, uint64_t bound);

/* True with probability per_million / 1,000,000. */
bool ppn_random_chance(struct ppn_random *random, uint32_t per_million);
