// SPDX-License-Identifier: ISC
#pragma once

/* The authority in a VM, reached through any member: its key signs, the operator's key asks. */

#include "cli/cli_admin.h"

struct cli_authority;

/* Connects and greets. An exit code; cli_authority_close in every case, NULL is allowed. */
int cli_authority_open(struct cli *cli, const char *vm, struct cli_authority **authority);
void cli_authority_close(struct cli_authority *authority);

const struct admission_key *cli_authority_key(const struct cli_authority *authority);
/* Zero: it has none yet. */
const struct admission_key *cli_authority_operator(const struct cli_authority *authority);

/* Tells a new authority which network it is for and whom it obeys. An exit code. */
int cli_authority_own(struct cli *cli, struct cli_authority *authority,
                      const struct ppn_hash *network, const struct admission_key *key);

/* name: "VM:FILE". Opens both, brings to the log what the authority signed and nobody heard, and
 * has it seal first when it started anew. An exit code. */
int cli_authority_use(struct cli *cli, struct cli_admin *admin, const char *name);
/* The second half of that, once admin->authority and admin->pairs[0] are set. */
int cli_authority_begin(struct cli *cli, struct cli_admin *admin);

/* As cli_admin_sign. */
int cli_authority_sign(struct cli *cli, struct cli_admin *admin, struct admission_entry *entry);
