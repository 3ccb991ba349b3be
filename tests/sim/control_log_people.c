// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/author.h"
#include "base/assert.h"
#include "base/hash.h"
#include "control_log_internal.h"

/* ---- stubs ---- */

static struct ppn_hash stub_hash(void *context, struct ppn_slice domain, struct ppn_slice bytes)
{
    struct ppn_hash hash;
    uint64_t tag = ppn_hash64((struct ppn_hash_key){1, 2}, domain);
    (void)context;
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t part = ppn_hash64((struct ppn_hash_key){tag, i}, bytes);
        memcpy(hash.bytes + 8 * i, &part, sizeof(part));
    }
    return hash;
}

static bool stub_sign(void *context, struct ppn_slice message, struct admission_signature *out)
{
    const struct admission_key *key = context;
    struct ppn_hash hash = stub_hash(NULL, ppn_slice(key->bytes, sizeof(key->bytes)), message);
    memset(out->bytes, 0, sizeof(out->bytes));
    memcpy(out->bytes, hash.bytes, sizeof(hash.bytes));
    return true;
}

static bool stub_verify(void *context, const struct admission_key *key, struct ppn_slice message,
                        const struct admission_signature *signature)
{
    struct ppn_hash hash = stub_hash(NULL, ppn_slice(key->bytes, sizeof(key->bytes)), message);
    (void)context;
    return memcmp(hash.bytes, signature->bytes, sizeof(hash.bytes)) == 0;
}

const struct admission_crypto control_log_crypto = {NULL, stub_verify, stub_hash};

static struct admission_signer signer_of(struct admission_key *key)
{
    return (struct admission_signer){*key, key, stub_sign};
}

static struct ppn_node_id id_of(const struct control *c, uint32_t index)
{
    return c->world->nodes[index].id;
}

/* ---- people ---- */

static bool at_work(const struct control *c, uint32_t index)
{
    const struct world_node *node = &c->world->nodes[index];
    return node->running && ppn_due(node->paused_until, c->world->now) &&
           control_log_is_member(c, index, index);
}

static void made(struct control *c, uint32_t index, enum ppn_error error,
                 const struct admission_made *entry)
{
    if (error != PPN_OK)
        return;
    control_log_offer(c, index, 0, admission_made_slice(entry));
    control_log_schedule(c, index);
}

static void admit_fill(const struct control *c, uint32_t subject, struct admission_admit *admit)
{
    *admit = (struct admission_admit){.node = id_of(c, subject)};
    admit->wg_key[0] = (uint8_t)(subject + 1);
    memcpy(admit->name, c->world->nodes[subject].name, sizeof(c->world->nodes[subject].name));
}

static void redeem(struct control *c, uint32_t index, uint32_t subject)
{
    struct control_log *l = c->log;
    static uint8_t bytes[ADMISSION_REQUEST_MAX];
    static struct admission_made entry;
    struct ppn_failure why;
    struct ppn_node_id joiner = id_of(c, subject), seed = id_of(c, index);
    struct admission_key joiner_key = admission_node_key(&joiner);
    struct admission_key seed_key = admission_node_key(&seed);
    struct admission_signer node = signer_of(&joiner_key), invite = signer_of(&l->invite);
    struct admission_signer member = signer_of(&seed_key);
    struct admission_request request = {.network = l->network, .node = joiner};
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    request.wg_key[0] = (uint8_t)(subject + 1);
    request.time_unix_ms = control_wall(c, index).unix_ms;
    memcpy(request.name, c->world->nodes[subject].name, sizeof(c->world->nodes[subject].name));
    memcpy(request.offers.arch, "x86_64", 6);
    memcpy(request.offers.os, "Linux", 5);
    if (admission_request_make(&request, &node, &invite, &writer) != PPN_OK) {
        control_broken(c, "a join request cannot be made");
        return;
    }
    made(c, index,
         admission_make_redeem(l->nodes[index].log, &member, control_wall(c, index), &request,
                               &entry, &why),
         &entry);
}

static void join(struct control *c)
{
    struct control_log *l = c->log;
    static struct admission_made entry;
    struct ppn_failure why;
    uint32_t nodes = c->world->options.nodes, subject = 0;
    while (subject < nodes &&
           (!c->world->nodes[subject].outside || l->nodes[subject].disk_count > 0))
        subject++;
    uint32_t at = (uint32_t)ppn_random_below(&l->random, nodes);
    bool invited = ppn_random_chance(&l->random, 500000);
    if (!invited)
        at = at % 2 == 0 ? ROOT_HOME : ADMIN_HOME;
    if (subject == nodes || !at_work(c, at))
        return;
    if (invited) {
        redeem(c, at, subject);
        return;
    }
    struct admission_admit admit;
    struct admission_signer admin = signer_of(at == ROOT_HOME ? &l->root : &l->admin);
    admit_fill(c, subject, &admit);
    made(c, at,
         admission_make_admit(l->nodes[at].log, &admin, control_wall(c, at), &admit, &entry, &why),
         &entry);
}

static void revoke(struct control *c)
{
    struct control_log *l = c->log;
    static struct admission_made entry;
    struct ppn_failure why;
    uint32_t at = ppn_random_chance(&l->random, 500000) ? ROOT_HOME : ADMIN_HOME;
    uint32_t subject = (uint32_t)ppn_random_below(&l->random, c->world->options.nodes);
    if (l->revoked == l->revoke_most || subject <= ADMIN_HOME || !at_work(c, at) ||
        !control_log_is_member(c, at, subject))
        return;
    struct ppn_node_id id = id_of(c, subject);
    struct admission_key key = admission_node_key(&id);
    struct admission_signer admin = signer_of(at == ROOT_HOME ? &l->root : &l->admin);
    l->revoked++;
    c->revokes++;
    made(c, at,
         admission_make_revoke(l->nodes[at].log, &admin, control_wall(c, at), &key, "sold", &entry,
                               &why),
         &entry);
}

static void rekey_or_seal(struct control *c)
{
    struct control_log *l = c->log;
    static struct admission_made entry;
    struct ppn_failure why;
    uint32_t at = (uint32_t)ppn_random_below(&l->random, c->world->options.nodes);
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE] = {(uint8_t)(at + 1)};
    struct ppn_node_id id = id_of(c, at);
    struct admission_key key = admission_node_key(&id);
    struct admission_signer self = signer_of(&key), root = signer_of(&l->root);
    if (!at_work(c, at))
        return;
    wg_key[1] = (uint8_t)++l->nodes[at].rekeys;
    if (at == ROOT_HOME)
        made(c, at,
             admission_make_seal(l->nodes[at].log, &root, control_wall(c, at), 0, &entry, &why),
             &entry);
    else
        made(c, at,
             admission_make_rekey(l->nodes[at].log, &self, control_wall(c, at), wg_key, &entry,
                                  &why),
             &entry);
}

void control_log_people(struct control *c)
{
    if (ppn_random_chance(&c->log->random, 100000))
        join(c);
    if (ppn_random_chance(&c->log->random, 20000))
        revoke(c);
    if (ppn_random_chance(&c->log->random, 100000))
        rekey_or_seal(c);
}

/* ---- founding ---- */

static void found_entry(struct control *c, struct admission *log, enum ppn_error error,
                        const struct admission_made *entry)
{
    struct ppn_failure why;
    PPN_ASSERT(error == PPN_OK);
    admission_update_reset(&c->log->update);
    enum admission_verdict verdict = admission_offer(
        log, control_wall(c, 0), 0, admission_made_slice(entry), &c->log->update, &why);
    PPN_ASSERT(verdict == ADMISSION_ACCEPTED);
}

void control_log_found(struct control *c, uint32_t founders)
{
    struct control_log *l = c->log;
    static struct admission_made entry;
    struct ppn_failure why;
    struct ppn_wall now = control_wall(c, 0);
    struct admission_signer root = signer_of(&l->root);
    struct admission_genesis genesis = {.network = "sim", .root_count = 1, .roots = {l->root}};
    struct admission *log =
        admission_new(&(struct admission_config){.crypto = &control_log_crypto});
    PPN_ASSERT(log != NULL);
    enum ppn_error error = admission_make_genesis(
        &control_log_crypto, (struct admission_authors){&root, 1}, now, &genesis, &entry, &why);
    found_entry(c, log, error, &entry);
    l->network = admission_network(log);
    struct admission_admin_add add = {
        .key = l->admin, .powers = ADMISSION_POWERS_ADMIN, .name = "second"};
    error = admission_make_admin_add(log, &root, now, &add, &entry, &why);
    found_entry(c, log, error, &entry);
    struct admission_invite invite = {.key = l->invite, .uses = CONTROL_NODES_MAX};
    error = admission_make_invite(log, &root, now, &invite, &entry, &why);
    found_entry(c, log, error, &entry);
    for (uint32_t i = 0; i < founders; i++) {
        struct admission_admit admit;
        admit_fill(c, i, &admit);
        error = admission_make_admit(log, &root, now, &admit, &entry, &why);
        found_entry(c, log, error, &entry);
    }
    for (uint32_t i = 0; i < founders; i++)
        for (uint32_t j = 0; j < admission_entry_count(log); j++)
            control_log_disk_add(&l->nodes[i], admission_record_at(log, j).envelope);
    admission_free(log);
}
