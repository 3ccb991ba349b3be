// SPDX-License-Identifier: ISC
#pragma once

/* Connections to the other members inside the mesh: TCP between mesh addresses, wire/peer.h frames.
 * A peer is known by its source address alone, which WireGuard vouches for. Each node dials what it
 * wants to talk to and answers on what it accepted; a connection without work is closed after a
 * while. What the frames mean is the business of the flow that owns their kind. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/time.h"
#include "os/os_frames.h"
#include "os/os_loop.h"
#include "wire/peer.h"

struct node;
struct node_peers;
struct node_link;

enum {
    NODE_LINKS_MAX = 1024,       /* connections, both directions together */
    NODE_LINKS_PER_PEER_MAX = 4, /* accepted from one member */
    NODE_EXCHANGES_MAX = 64,     /* open streams of one connection */
    NODE_LINK_IDLE_S = 90,
    NODE_DIAL_TIMEOUT_S = 7 /* WireGuard repeats a lost handshake after 5 s (REKEY_TIMEOUT) */
};

/* One stream, embedded in whatever owns it. Zero is "not open". It ends once: by on_end, or by
 * node_exchange_close, after which nothing is called any more. */
struct node_exchange {
    void *context;
    /* A frame of this stream. May close the exchange. */
    void (*on_frame)(void *context, const struct wire_peer_frame *frame);
    /* The peer closed the stream, the connection was lost, or the time was up. */
    void (*on_end)(void *context, enum ppn_error reason, const char *text);
    /* The connection's queue has room again; may be NULL. */
    void (*on_drain)(void *context);
    struct node_link *link;
    uint32_t stream;
    struct ppn_instant deadline;
    struct ppn_duration patience;
};

/* Listens on the mesh address (which may not be there yet). */
enum ppn_error node_peers_open(struct node *node, struct node_peers **peers,
                               struct ppn_failure *failure) PPN_CHECK;
void node_peers_close(struct node_peers *peers);

/* Sends a frame of the connection (stream 0) to a member, dialling if need be. UNREACHABLE for what
 * is no member, and while peers is NULL (there is no mesh yet, or no more); FULL when the queue to
 * it is full. Delivery is not promised: the flows retry. */
enum ppn_error node_peers_send(struct node_peers *peers, const struct ppn_node_id *to,
                               const struct wire_peer_frame *frame) PPN_CHECK;

/* The member is known to run in this epoch (gossip's count of its starts): connections that were
 * dialled to an earlier one lead nowhere, which TCP alone would find out only much later. */
void node_peers_epoch(struct node_peers *peers, const struct ppn_node_id *peer, uint32_t epoch);

/* Answers on the connection that a frame came over (stream as in the frame). */
enum ppn_error node_link_send(struct node_link *link,
                              const struct wire_peer_frame *frame) PPN_CHECK;
const struct ppn_node_id *node_link_peer(const struct node_link *link);

/* Opens a stream to a member with its first frame (the stream number is filled in). The exchange's
 * callbacks are set by the caller before. patience: longest silence before on_end(TIMEOUT); 0:
 * none. */
enum ppn_error node_exchange_open(struct node_peers *peers, const struct ppn_node_id *to,
                                  struct node_exchange *exchange, struct ppn_duration patience,
                                  struct wire_peer_frame *first) PPN_CHECK;

/* Takes over a stream that the peer opened on `link` with `frame`. */
enum ppn_error node_exchange_accept(struct node_link *link, const struct wire_peer_frame *frame,
                                    struct node_exchange *exchange,
                                    struct ppn_duration patience) PPN_CHECK;

bool node_exchange_is_open(const struct node_exchange *exchange);
enum ppn_error node_exchange_send(struct node_exchange *exchange,
                                  struct wire_peer_frame *frame) PPN_CHECK;
bool node_exchange_congested(const struct node_exchange *exchange);
/* Ends our side and forgets the stream. tell: send CLOSE with the reason (not for a stream whose
 * last answer was given). Does nothing when it is not open. */
void node_exchange_close(struct node_exchange *exchange, bool tell, enum ppn_error reason,
                         const char *text);

/* Ends every connection to a member, at once: it was revoked or left. */
void node_peers_drop(struct node_peers *peers, const struct ppn_node_id *peer);
