// SPDX-License-Identifier: ISC
#include "base/random.h"

#include "base/assert.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void ppn_random_init(struct ppn_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix(&seed);
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

uint64_t ppn_random_u64(struct ppn_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t ppn_random_below(struct ppn_random *random, uint64_t bound)
{
    PPN_ASSERT(bound > 0);
    uint64_t reject_under = -bound % bound;
    uint64_t value;
    do {
        value = ppn_random_u64(random);
    } while (value < reject_under);
    return value % bound;
}

bool ppn_random_chance(struct ppn_random *random, uint32_t per_million)
{
    return ppn_random_below(random, 1000000) < per_million;
}
