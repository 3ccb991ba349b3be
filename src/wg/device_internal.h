// SPDX-License-Identifier: ISC
#pragma once

/* What the device's files share: the tools' arguments and output as pure functions. */

#include "base/slice.h"
#include "base/time.h"
#include "wg/device.h"

enum {
    WG_KEY_TEXT = 45,      /* base64 and NUL */
    WG_CIDR_TEXT = 56 + 4, /* "address/length" and NUL */
    WG_SET_ARGUMENTS_MAX = 3 + WG_BATCH_MAX * 8 + 1,
    WG_ROUTE_PROTOCOL = 201, /* of our routes for single peers: unassigned in rt_protos */
    WG_ROUTES_TEXT_MAX = WG_BATCH_MAX * (WG_CIDR_TEXT + WG_INTERFACE_MAX + 48),
    WG_SET_TEXT_MAX = WG_BATCH_MAX * (WG_KEY_TEXT + WG_CIDR_TEXT + 56 + 8)
};

/* An argument vector for `wg set`; argv points into text and to the interface's name. */
struct wg_set_command {
    const char *argv[WG_SET_ARGUMENTS_MAX];
    char text[WG_SET_TEXT_MAX];
    size_t count, used;
};

void wg_set_command(struct wg_set_command *command, const char *interface,
                    const struct wg_update *update);

/* Lines for `ip -6 -batch -`: the routes of an update that holds nothing else. */
size_t wg_routes_script(char text[static WG_ROUTES_TEXT_MAX], const char *interface,
                        const struct wg_update *update);

/* The output of `wg show NAME dump`: the interface's line, then one line a peer. Strict: a field
 * too many, a malformed number or an unfinished line is CORRUPT, more than WG_DEVICE_PEERS_MAX
 * peers TOO_BIG. *peers is malloc'ed (free it), also when there are none. */
enum ppn_error wg_dump_parse(struct ppn_slice text, struct ppn_wall now, struct wg_observed **peers,
                             size_t *count) PPN_CHECK;

/* "ADDRESS/length" with the address's host bits cleared. */
void wg_cidr_text(const uint8_t address[static 16], uint8_t length, char text[static WG_CIDR_TEXT]);

/* Whether a tool said these words, and what it said went wrong: its own first words, or why it
 * could not run. The text lives until the next call. */
struct os_child_result;
bool wg_tool_mentions(const struct os_child_result *result, const char *words);
const char *wg_tool_cause(const struct os_child_result *result);

bool wg_interface_name_valid(const char *name);
