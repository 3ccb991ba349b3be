// SPDX-License-Identifier: ISC
#pragma once

/* What a person told ppn-node: command line over configuration file over what the state directory
 * remembers. Parsing only; nothing here opens a socket or touches the state directory. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/name.h"

enum { NODE_PATH_MAX = 255, NODE_HOST_MAX = 255, NODE_TOKEN_MAX = 2047, NODE_INTERFACE_MAX = 15 };
enum { NODE_RELAY_PORTS_MAX = 1024, NODE_RELAY_PORTS_DEFAULT = 256 }; /* mailboxes */

enum { NODE_RECOVERY_KEYS_MAX = 8, NODE_RECOVERY_KEY_SIZE = 32 };

enum node_mesh_mode { NODE_MESH_AUTO, NODE_MESH_KERNEL, NODE_MESH_USERSPACE, NODE_MESH_PLAIN };

/* HOST[:PORT] or [ADDR]:PORT; port 0 means the default. */
struct node_host {
    char host[NODE_HOST_MAX + 1];
    uint16_t port;
};

struct node_options {
    char found[PPN_NAME_MAX + 1]; /* name of the network to found, or "" */
    uint32_t seed_count;
    uint32_t recovery_count; /* with found: public keys that may name new roots one day */
    uint8_t recovery[NODE_RECOVERY_KEYS_MAX][NODE_RECOVERY_KEY_SIZE];
    struct node_host seeds[PPN_SEEDS_MAX];
    char token[NODE_TOKEN_MAX + 1];
    char name[PPN_NAME_MAX + 1]; /* "": the host name, made valid */
    char state_dir[NODE_PATH_MAX + 1];
    char socket[NODE_PATH_MAX + 1];
    struct node_host listen; /* host "": every address */
    uint32_t advertise_count;
    struct node_host advertise[PPN_ENDPOINTS_MAX];
    char interface[NODE_INTERFACE_MAX + 1];
    enum node_mesh_mode mesh;
    uint32_t label_count;
    struct ppn_label labels[PPN_LABELS_MAX];
    uint16_t relay_port;           /* of ppn-relay; its mailboxes are at the ports after it */
    uint16_t relay_port_last;      /* of its mailboxes */
    uint16_t relay_tcp_port;       /* of the bridge beside it; 0: none */
    uint64_t relay_rate_bytes;     /* a second, of what one node sends through; 0: no limit */
    uint64_t memory_reserve_bytes; /* kept for the machine itself; 0: the default rule of host */
    enum ppn_log_level log_level;
    bool check_config;
    bool help;
    bool version;
};

/* Fills *options from argv and, where --config names one (or the default file exists), from that
 * file. A wrong option, value or file: PPN_ERROR_INVALID or PPN_ERROR_NOT_FOUND with a sentence. */
enum ppn_error node_options_parse(int argc, char **argv, struct node_options *options,
                                  struct ppn_failure *failure) PPN_CHECK;

/* One KEY=VALUE of the configuration file, KEY being an option's long name. Exposed for tests. */
enum ppn_error node_options_set(struct node_options *options, const char *key, const char *value,
                                struct ppn_failure *failure) PPN_CHECK;

/* The text of --help. */
const char *node_options_usage(void);
