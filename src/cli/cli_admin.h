// SPDX-License-Identifier: ISC
#pragma once

/* Commands that sign entries of the admission log here, on the machine of the person, and hand them
 * to the node: the log is fetched and checked from its genesis, the entry is made from that copy,
 * tried on it, and only then sent. */

#include <stdbool.h>

#include "admin/admin_key.h"
#include "admin/admin_log.h"
#include "admission/author.h"
#include "cli/cli.h"

enum { CLI_KEYS_MAX = ADMISSION_SIGNATURES_MAX, CLI_PATH_MAX = 4096 };

/* --key FILE, repeatable: the first signs as the author, the others as its cosigners.
 * --key at:KEY: one more signs, elsewhere; the entry goes there as a file (ppn sign).
 * --key vm:NAME:FILE: the authority in the VM of this name signs what the key in FILE asks for. */
struct cli_keys {
    uint32_t count;
    const char *paths[CLI_KEYS_MAX];
};

struct cli_authority;

/* authority: the key is in a VM, and pairs[0] is its operator's. */
struct cli_admin {
    struct admission *log;
    struct cli_authority *authority;
    const char *author_path; /* of the key that signs as the author; NULL: the node's own */
    int lock;                /* on that file, + 1; 0: none */
    uint32_t count;
    uint32_t away_count;
    struct admission_key away[CLI_KEYS_MAX]; /* of cosigners that are elsewhere */
    struct admission_keypair pairs[CLI_KEYS_MAX];
    struct admission_signer signers[CLI_KEYS_MAX];
};

/* Whether this command signs, and not the node: a key was named, here or before the command. */
bool cli_signs_here(const struct cli *cli, const struct cli_keys *keys);

/* False, having told the person, when there are too many. */
bool cli_keys_add(struct cli *cli, struct cli_keys *keys, const char *path);

/* Fetches and checks the log. An exit code; cli_admin_close in every case. */
int cli_admin_open_log(struct cli *cli, struct cli_admin *admin);

/* That, and opens the keys: those named, or else the one of --node, or else the one that the node
 * itself was founded with. */
int cli_admin_open(struct cli *cli, const struct cli_keys *keys, struct cli_admin *admin);
/* Opens recovery keys, behind cli_admin_open_log: they are no admins, and nobody knows them before
 * they are used. */
int cli_admin_open_drawer(struct cli *cli, const struct cli_keys *keys, struct cli_admin *admin);
void cli_admin_close(struct cli_admin *admin);

/* Hands an envelope to the node. An exit code. */
int cli_admin_submit(struct cli *cli, struct ppn_slice envelope);

/* The error of this failure, told. */
int cli_admin_failed(struct cli *cli, enum ppn_error error, const struct ppn_failure *failure);

/* Prepares the entry for keys that are elsewhere: a file in the present directory. CLI_TIMEOUT when
 * that is done: it is not in force yet. */
int cli_cosign_begin(struct cli *cli, struct cli_admin *admin, struct admission_entry *entry);

/* Fills, signs, tries and submits the entry whose kind and content are set. An exit code. */
int cli_admin_sign(struct cli *cli, struct cli_admin *admin, struct admission_entry *entry);

/* What ppn admit, deny and revoke do with --key. body: "role", "lease_seconds" and "labels", taken
 * over. */
int cli_sign_admit(struct cli *cli, const struct cli_keys *keys, const char *who, json_t *body);
/* What ppn invite does with --key. body: "uses", "ttl_seconds", "role", "lease_seconds" and
 * "labels", taken over. */
int cli_sign_invite(struct cli *cli, const struct cli_keys *keys, json_t *body, json_t **answer);
int cli_sign_deny(struct cli *cli, const struct cli_keys *keys, const char *who);
int cli_sign_revoke(struct cli *cli, const struct cli_keys *keys, const char *who,
                    const char *reason);

/* What ppn revoke --invite does, with any key or none named. who: as ppn invites shows it. */
int cli_close_invite(struct cli *cli, const struct cli_keys *keys, const char *who,
                     const char *reason);

/* Before a node is revoked: what becomes of its VMs. how: "keep", "stop", "kill", or NULL to ask
 * when VMs run there. CLI_OK: go on. */
int cli_settle_vms(struct cli *cli, const char *node, const char *how);

/* A node that the log ever named: by a member's name or fingerprint, a name that an admission gave,
 * or the whole id. */
bool cli_log_node(const struct admission *log, const char *who, struct ppn_node_id *id);

/* A line from the controlling terminal, unseen. False: there is none, or it ended. Wipe the text.
 */
bool cli_ask_hidden(const char *prompt, char text[static ADMISSION_PASSPHRASE_MAX + 1]);

/* An admin_ask_fn at the terminal. */
bool cli_ask_passphrase(void *context, const char *path,
                        char text[static ADMISSION_PASSPHRASE_MAX + 1]);

/* 64 hexadecimal digits. */
bool cli_parse_key(const char *text, struct admission_key *key);
