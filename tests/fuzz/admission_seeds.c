// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>

#include "admission/admission.h"
#include "admission/author.h"
#include "admission/token.h"
#include "base/assert.h"

/* Real entries, a request and a token as seeds for the entry target. */

static const char *directory;
static int failed;

static void save(const char *name, struct ppn_slice bytes)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/admission_entry/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes.data, 1, bytes.size, file) != bytes.size)
        failed = 1;
    if (file)
        fclose(file);
}

static void keep(struct admission *log, const char *name, enum ppn_error error,
                 const struct admission_made *made)
{
    struct admission_update update = {0};
    struct admission_envelope envelope;
    char body_name[64];
    PPN_ASSERT(error == PPN_OK);
    struct ppn_slice bytes = admission_made_slice(made);
    PPN_ASSERT(admission_offer(log, (struct ppn_wall){1700000000000}, 0, bytes, &update, NULL) ==
               ADMISSION_ACCEPTED);
    admission_update_free(&update);
    PPN_ASSERT(admission_envelope_decode(bytes, &envelope) == PPN_OK);
    snprintf(body_name, sizeof(body_name), "%s-body", name);
    save(name, bytes);
    save(body_name, envelope.body);
}

static struct admission_keypair pair(uint8_t number)
{
    uint8_t seed[ADMISSION_SEED_SIZE] = {number};
    struct admission_keypair made;
    admission_keypair_from_seed(seed, &made);
    return made;
}

static void make_request(struct admission *log, struct admission_keypair *node)
{
    static uint8_t bytes[ADMISSION_REQUEST_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct admission_signer signer = admission_keypair_signer(node);
    struct admission_request request = {.network = admission_network(log),
                                        .node = admission_key_node(&node->key),
                                        .name = "laptop",
                                        .offers = {.arch = "x86_64", .os = "Debian", .cpus = 2}};
    memset(request.wg_key, 3, sizeof(request.wg_key));
    PPN_ASSERT(admission_request_make(&request, &signer, NULL, &writer) == PPN_OK);
    save("request", ppn_written(&writer));
}

static void make_token(struct admission *log)
{
    char text[ADMISSION_TOKEN_TEXT_MAX];
    struct admission_token token = {.network = admission_network(log), .endpoint_count = 1};
    token.endpoints[0].address[15] = 1;
    token.endpoints[0].port = 51820;
    PPN_ASSERT(admission_token_text(&token, text) == PPN_OK);
    save("token", ppn_slice(text, strlen(text)));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: admission_seeds CORPUS_DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    struct admission_config config = {.seed = 1};
    struct admission *log = admission_new(&config);
    struct admission_keypair founder = pair(1), other = pair(2), node = pair(3), spare = pair(4);
    struct admission_signer root = admission_keypair_signer(&founder);
    struct admission_signer member = admission_keypair_signer(&node);
    struct ppn_wall now = {1700000000000};
    struct admission_made made;
    struct admission_genesis genesis = {
        .network = "office", .root_count = 1, .recovery_needed = 1, .recovery_count = 1};
    genesis.roots[0] = founder.key;
    genesis.recovery[0] = admission_recovery_hash(admission_crypto_sodium(), &spare.key);
    struct admission_admit admit = {.node = admission_key_node(&node.key), .name = "n1"};
    memset(admit.wg_key, 7, sizeof(admit.wg_key));
    struct ppn_node_id stranger = admission_key_node(&spare.key);
    struct admission_invite invite = {.key = other.key, .uses = 3};
    struct admission_admin_add add = {
        .key = other.key, .powers = ADMISSION_POWERS_ADMIN, .name = "bob"};
    struct admission_admin_remove drop = {.key = other.key, .has_cut = true};

    keep(log, "genesis",
         admission_make_genesis(NULL, (struct admission_authors){&root, 1}, now, &genesis, &made,
                                NULL),
         &made);
    keep(log, "admit", admission_make_admit(log, &root, now, &admit, &made, NULL), &made);
    keep(log, "deny", admission_make_deny(log, &root, now, &stranger, "no", &made, NULL), &made);
    keep(log, "invite", admission_make_invite(log, &root, now, &invite, &made, NULL), &made);
    keep(log, "admin-add", admission_make_admin_add(log, &root, now, &add, &made, NULL), &made);
    keep(log, "admin-remove", admission_make_admin_remove(log, &root, now, &drop, &made, NULL),
         &made);
    memset(admit.wg_key, 8, sizeof(admit.wg_key));
    keep(log, "rekey", admission_make_rekey(log, &member, now, admit.wg_key, &made, NULL), &made);
    keep(log, "seal", admission_make_seal(log, &root, now, 0, &made, NULL), &made);
    keep(log, "revoke", admission_make_revoke(log, &root, now, &node.key, "", &made, NULL), &made);
    make_request(log, &node);
    make_token(log);
    admission_free(log);
    return failed;
}
