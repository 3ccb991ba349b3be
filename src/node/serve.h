// SPDX-License-Identifier: ISC
#pragma once

/* The API's backend: questions to flows, answers to typed views. */

#include "api/api_backend.h"
#include "base/error.h"

struct node;
struct node_serve;

enum ppn_error node_serve_open(struct node *node, struct node_serve **serve,
                               struct ppn_failure *failure) PPN_CHECK;
void node_serve_close(struct node_serve *serve);
const struct api_backend *node_serve_backend(const struct node_serve *serve);

/* The socket of the part of the API that is open to admins from afar. */
const char *node_serve_admin_socket(const struct node_serve *serve);
