// SPDX-License-Identifier: ISC
#pragma once

/* ::ffff:0:0/96, under which IPv4 addresses are kept (RFC 4291, 2.5.5.2). */

#include <stdint.h>

enum { WIRE_MAPPED_PREFIX = 12 };

static const uint8_t wire_mapped_prefix[WIRE_MAPPED_PREFIX] = {0, 0, 0, 0, 0,    0,
                                                               0, 0, 0, 0, 0xff, 0xff};
