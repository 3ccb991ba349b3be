// SPDX-License-Identifier: ISC
#include "node/identity.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "os/os_file.h"
#include "os/os_process.h"

_Static_assert(NODE_SECRET_SIZE == crypto_sign_SECRETKEYBYTES, "Ed25519 as libsodium keeps it");
_Static_assert(PPN_ID_SIZE == crypto_sign_PUBLICKEYBYTES, "a node id is a public key");
_Static_assert(NODE_WG_KEY_SIZE == crypto_scalarmult_SCALARBYTES, "X25519");

enum { SEED_SIZE = crypto_sign_SEEDBYTES };

static enum ppn_error key_path(const char *directory, const char *name, char *path, size_t capacity,
                               struct ppn_failure *failure)
{
    int size = snprintf(path, capacity, "%s/keys/%s", directory, name);
    if (size < 0 || (size_t)size >= capacity)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path %s is too long", directory);
    return PPN_OK;
}

/* Reads 32 secret bytes; NOT_FOUND when there is no such file. */
static enum ppn_error read_key(const char *path, uint8_t key[static SEED_SIZE],
                               struct ppn_failure *failure)
{
    struct stat status;
    uint8_t *bytes;
    size_t size;
    if (!os_file_exists(path))
        return PPN_ERROR_NOT_FOUND;
    if (stat(path, &status) != 0 || (status.st_mode & 077) != 0)
        return ppn_fail(failure, PPN_ERROR_PERMISSION,
                        "%s can be read by others; if nobody else saw it: chmod 600 it", path);
    enum ppn_error error = os_file_read(path, 4096, &bytes, &size, failure);
    if (error != PPN_OK)
        return error;
    if (size == SEED_SIZE)
        memcpy(key, bytes, SEED_SIZE);
    else
        error = ppn_fail(failure, PPN_ERROR_CORRUPT,
                         "%s is damaged (%zu bytes, not %d); restore it from a backup, or remove "
                         "the state directory to join anew as another node",
                         path, size, SEED_SIZE);
    sodium_memzero(bytes, size);
    free(bytes);
    return error;
}

static enum ppn_error read_or_make(const char *directory, const char *name,
                                   uint8_t key[static SEED_SIZE], struct ppn_failure *failure)
{
    char path[OS_PATH_MAX];
    enum ppn_error error = key_path(directory, name, path, sizeof(path), failure);
    if (error == PPN_OK)
        error = read_key(path, key, failure);
    if (error != PPN_ERROR_NOT_FOUND)
        return error;
    randombytes_buf(key, SEED_SIZE);
    return os_file_replace(path, ppn_slice(key, SEED_SIZE), 0600, failure);
}

static void expand(const uint8_t seed[static SEED_SIZE], struct ppn_node_id *id,
                   uint8_t secret[static NODE_SECRET_SIZE])
{
    int made = crypto_sign_seed_keypair(id->bytes, secret, seed);
    PPN_ASSERT(made == 0);
}

void node_identity_set_next(struct node_identity *identity,
                            const uint8_t key[static NODE_WG_KEY_SIZE])
{
    memcpy(identity->next_private, key, NODE_WG_KEY_SIZE);
    int made = crypto_scalarmult_base(identity->next_public, identity->next_private);
    PPN_ASSERT(made == 0);
    identity->has_next = true;
}

void node_identity_use_next(struct node_identity *identity)
{
    PPN_ASSERT(identity->has_next);
    memcpy(identity->wg_private, identity->next_private, NODE_WG_KEY_SIZE);
    memcpy(identity->wg_public, identity->next_public, NODE_WG_KEY_SIZE);
    sodium_memzero(identity->next_private, NODE_WG_KEY_SIZE);
    identity->has_next = false;
}

enum ppn_error node_identity_write_next(const char *directory,
                                        const uint8_t key[static NODE_WG_KEY_SIZE],
                                        struct ppn_failure *failure)
{
    char path[OS_PATH_MAX];
    enum ppn_error error = key_path(directory, "wireguard.next.key", path, sizeof(path), failure);
    return error == PPN_OK ? os_file_replace(path, ppn_slice(key, NODE_WG_KEY_SIZE), 0600, failure)
                           : error;
}

enum ppn_error node_identity_settle_next(const char *directory,
                                         const uint8_t key[static NODE_WG_KEY_SIZE],
                                         struct ppn_failure *failure)
{
    char path[OS_PATH_MAX];
    enum ppn_error error = key_path(directory, "wireguard.key", path, sizeof(path), failure);
    if (error == PPN_OK)
        error = os_file_replace(path, ppn_slice(key, NODE_WG_KEY_SIZE), 0600, failure);
    if (error == PPN_OK)
        error = key_path(directory, "wireguard.next.key", path, sizeof(path), failure);
    return error == PPN_OK ? os_file_remove(path, failure) : error;
}

/* A key that replaced the present one already, and was cut off before its own file went, is none.
 */
static enum ppn_error read_next(const char *directory, struct node_identity *identity,
                                struct ppn_failure *failure)
{
    char path[OS_PATH_MAX];
    uint8_t key[SEED_SIZE];
    enum ppn_error error = key_path(directory, "wireguard.next.key", path, sizeof(path), failure);
    if (error == PPN_OK)
        error = read_key(path, key, failure);
    if (error == PPN_OK && sodium_memcmp(key, identity->wg_private, NODE_WG_KEY_SIZE) != 0)
        node_identity_set_next(identity, key);
    sodium_memzero(key, sizeof(key));
    return error == PPN_ERROR_NOT_FOUND ? PPN_OK : error;
}

enum ppn_error node_identity_open(const char *directory, struct node_identity *identity,
                                  struct ppn_failure *failure)
{
    char path[OS_PATH_MAX];
    uint8_t seed[SEED_SIZE];
    *identity = (struct node_identity){0};
    (void)os_process_lock_memory(identity, sizeof(*identity));
    enum ppn_error error = os_path_join(path, sizeof(path), directory, "keys");
    if (error != PPN_OK)
        return ppn_fail(failure, error, "the path %s is too long", directory);
    error = os_directory_make(path, 0700, failure);
    if (error == PPN_OK)
        error = read_or_make(directory, "node.key", seed, failure);
    if (error != PPN_OK)
        return error;
    expand(seed, &identity->id, identity->secret_key);
    error = read_or_make(directory, "wireguard.key", identity->wg_private, failure);
    if (error != PPN_OK)
        return error;
    int made = crypto_scalarmult_base(identity->wg_public, identity->wg_private);
    PPN_ASSERT(made == 0);
    error = read_next(directory, identity, failure);
    if (error != PPN_OK)
        return error;
    error = key_path(directory, "admin.key", path, sizeof(path), failure);
    if (error == PPN_OK)
        error = read_key(path, seed, failure);
    if (error == PPN_OK) {
        expand(seed, &identity->admin_id, identity->admin_secret);
        identity->has_admin = true;
    }
    sodium_memzero(seed, sizeof(seed));
    return error == PPN_ERROR_NOT_FOUND ? PPN_OK : error;
}

enum ppn_error node_identity_found(const char *directory, struct node_identity *identity,
                                   struct ppn_failure *failure)
{
    uint8_t seed[SEED_SIZE];
    if (identity->has_admin)
        return ppn_fail(failure, PPN_ERROR_EXISTS, "this node has an admin key already");
    enum ppn_error error = read_or_make(directory, "admin.key", seed, failure);
    if (error == PPN_OK) {
        expand(seed, &identity->admin_id, identity->admin_secret);
        identity->has_admin = true;
    }
    sodium_memzero(seed, sizeof(seed));
    return error;
}

void node_identity_wipe(struct node_identity *identity)
{
    sodium_memzero(identity, sizeof(*identity));
}
