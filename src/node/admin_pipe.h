// SPDX-License-Identifier: ISC
#pragma once

/* The inner half of an admin's session: a connection to the part of this node's API that is for
 * admins (serve.c lists it). The outer half, the encrypted channel, is its owner's. */

#include "base/error.h"
#include "base/slice.h"

struct node;
struct node_admin_pipe;

/* Both may close the pipe. */
struct node_admin_pipe_handler {
    /* At most WIRE_JOIN_DATA_MAX bytes of the API. True: go on; false: pause, or it was closed. */
    bool (*on_data)(void *context, struct ppn_slice bytes);
    /* The API ended it; the pipe is gone. */
    void (*on_end)(void *context);
};

enum ppn_error node_admin_pipe_open(struct node *node,
                                    const struct node_admin_pipe_handler *handler, void *context,
                                    struct node_admin_pipe **pipe,
                                    struct ppn_failure *failure) PPN_CHECK;

/* FULL: the API does not take as much; CLOSED. */
enum ppn_error node_admin_pipe_write(struct node_admin_pipe *pipe,
                                     struct ppn_slice bytes) PPN_CHECK;

/* After on_data said false. */
void node_admin_pipe_resume(struct node_admin_pipe *pipe);

/* NULL is fine. */
void node_admin_pipe_close(struct node_admin_pipe *pipe);
