// SPDX-License-Identifier: ISC
#pragma once

/* Shared by world.c and world_net.c. */

#include "world.h"

/* One packet on its way; whether and when it arrives is the network's affair. */
void world_transmit(struct world *world, uint32_t from, uint32_t to,
                    const struct gossip_packet *packet);
