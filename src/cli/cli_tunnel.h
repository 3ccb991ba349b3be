// SPDX-License-Identifier: ISC
#pragma once

/* --node HOST[:PORT] --key FILE before a command: the API of a node of which this machine is no
 * member, over its join port, proven by an admin's key. A process beside this one holds a private
 * socket; what the command asks there it carries through the encrypted channel (wire/channel.h),
 * one connection for each question. It ends with the command. */

#include "admission/admission.h"
#include "cli/cli.h"

struct cli_tunnel;

/* Does nothing without --node. Reads the key (and asks for its passphrase), sets cli->socket and
 * cli->tunnel; an exit code. */
int cli_tunnel_open(struct cli *cli);
void cli_tunnel_close(struct cli_tunnel *tunnel);

/* Of --key; borrowed. */
const struct admission_keypair *cli_tunnel_pair(const struct cli_tunnel *tunnel);

/* Whether who answered is a member of the network of this log. CONFLICT, UNAUTHORIZED. */
enum ppn_error cli_tunnel_check(const struct cli_tunnel *tunnel, const struct admission *log,
                                struct ppn_failure *failure) PPN_CHECK;

/* ---- cli_tunnel_pump.c: the process beside ---- */

struct cli_tunnel_target {
    const char *host, *port;
    const struct admission_keypair *pair;
    struct ppn_hash network; /* zero: whichever it is */
};

/* Who answered, for the other process. */
struct cli_tunnel_seen {
    struct ppn_node_id server;
    struct ppn_hash network;
};

/* Takes connections of `listener` until `alive` ends. */
void cli_tunnel_run(const struct cli_tunnel_target *target, int listener, int alive,
                    struct cli_tunnel_seen *seen);
