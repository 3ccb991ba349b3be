// SPDX-License-Identifier: ISC
#pragma once

/* Limits that more than one folder relies on. A limit of one folder lives in that folder. */

enum {
    PPN_MEMBERS_MAX = 16384,      /* admitted nodes in one network */
    PPN_DATAGRAM_MAX = 1200,      /* IPv6 minimum MTU less WireGuard and UDP headers, with room */
    PPN_FRAME_MAX = 256 * 1024,   /* one frame on a peer connection */
    PPN_ENDPOINTS_MAX = 8,        /* addresses a node offers for its WireGuard port */
    PPN_LABELS_MAX = 16,          /* labels a node carries */
    PPN_VMS_MAX = 256,            /* VMs on one node */
    PPN_IMAGES_MAX = 256,         /* images on one node */
    PPN_SEEDS_MAX = 16,           /* --seed options */
    PPN_SSH_KEYS_MAX = 8,         /* keys in one request */
    PPN_SSH_KEY_TEXT_MAX = 1024,  /* one authorized_keys line */
    PPN_USER_DATA_MAX = 64 * 1024 /* a request's --user-data */
};

/* Ports: WireGuard (UDP) and joining (TCP) share the public one; those of gossip, peers and calls listen
 * on the mesh address only. */
enum {
    PPN_PORT_PUBLIC = 51820,
    PPN_PORT_RELAY = 51821,   /* UDP, on relays; mailboxes follow */
    PPN_PORT_RELAY_TCP = 443, /* on relays: what passes where only the web does */
    PPN_PORT_GOSSIP = 7441,   /* UDP */
    PPN_PORT_PEER = 7441,     /* TCP */
    PPN_PORT_CALL = 7442      /* UDP: "probe me now" */
};
