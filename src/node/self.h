// SPDX-License-Identifier: ISC
#pragma once

/* What this node says of itself: host facts, VMs, images, labels, collected now and then and given
 * to gossip when they changed enough to matter to others. */

#include "base/error.h"
#include "base/facts.h"

struct node;
struct node_self;

enum ppn_error node_self_open(struct node *node, struct node_self **self,
                              struct ppn_failure *failure) PPN_CHECK;
/* Gossip is there: publish both bodies now and whenever they change. */
void node_self_publish(struct node_self *self);
void node_self_close(struct node_self *self);

/* Sets, or removes where value is NULL, a label of this node; kept over restarts. TOO_BIG when the
 * labels together would not fit the record. */
enum ppn_error node_self_label(struct node_self *self, const char *key, const char *value,
                               struct ppn_failure *failure) PPN_CHECK;
void node_self_cordon(struct node_self *self, bool cordoned);

/* QEMU's -cpu string that the probe found to boot, or "". */
const char *node_self_cpu(const struct node_self *self);
