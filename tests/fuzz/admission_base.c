// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/author.h"
#include "admission/kept.h"
#include "fuzz.h"

/* What a checkpoint keeps, edited and signed: records that nobody would make, under a digest that
 * fits them. A log that takes them must fold, seal, close again and pass them on; one that does not
 * says so and stays as it was. Signatures are not checked here; the hash is the real one.
 *
 * Four bytes an edit: what | record | another one, or where in the envelope | value. */

enum { RECORDS_MAX = 64, EDITS_MAX = 32, EDIT = 4, ENVELOPES = 1 << 16 };

enum { SWAP, DROP, REPEAT, FLAGS, WHY, HEIGHT, VALUE, BYTE, IDS, EDIT_KINDS };

struct play {
    struct admission_crypto crypto;
    struct admission *whole;
    struct admission_base base;
    struct admission_base_record records[RECORDS_MAX];
    uint32_t count;
    uint8_t envelopes[ENVELOPES];
    size_t used;
};

static bool any_verify(void *ctx, const struct admission_key *key, struct ppn_slice message,
                       const struct admission_signature *signature)
{
    (void)ctx, (void)key, (void)message, (void)signature;
    return true;
}

static bool any_sign(void *ctx, struct ppn_slice message, struct admission_signature *signature)
{
    (void)ctx, (void)message;
    memset(signature, 7, sizeof(*signature));
    return true;
}

static struct admission_signer signer(uint8_t number)
{
    struct admission_signer made = {.sign = any_sign};
    memset(made.key.bytes, 0x20 + number, sizeof(made.key.bytes));
    return made;
}

enum { ROOT, ADMIN, DRAWER, NODE };

static struct admission_key key_of(uint8_t number)
{
    return signer(number).key;
}

static struct ppn_node_id node_of(uint8_t number)
{
    struct admission_key key = key_of(number);
    return admission_key_node(&key);
}

static const struct ppn_wall now = {1000000};

static enum admission_verdict offer(struct admission *log, struct ppn_slice bytes)
{
    struct admission_update update = {0};
    enum admission_verdict verdict = admission_offer(log, now, 1, bytes, &update, NULL);
    admission_update_free(&update);
    return verdict;
}

static bool act(struct admission *log, uint8_t author, struct admission_entry entry)
{
    static struct admission_made made;
    struct ppn_failure why = {0};
    struct admission_signer by = signer(author);
    return admission_make(log, (struct admission_authors){&by, 1}, now, &entry, &made, &why) ==
               PPN_OK &&
           offer(log, admission_made_slice(&made)) == ADMISSION_ACCEPTED;
}

static struct admission_entry admit(uint8_t node, uint64_t lease_ms)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIT};
    entry.as.admit.node = node_of(node);
    memset(entry.as.admit.wg_key, 0x40 + node, sizeof(entry.as.admit.wg_key));
    memcpy(entry.as.admit.name, "ant", 4);
    entry.as.admit.lease_ms = lease_ms;
    return entry;
}

/* A bit of everything that a checkpoint can keep. */
static struct admission *make_log(const struct admission_crypto *crypto)
{
    static struct admission_made made;
    struct admission_genesis genesis = {.network = "net",
                                        .root_count = 1,
                                        .recovery_needed = 1,
                                        .recovery_count = 1,
                                        .policy = {ADMISSION_VERSION, 1, 1, 1, 1, 1, 0}};
    struct ppn_failure why = {0};
    struct admission_signer root = signer(ROOT);
    struct admission_config config = {.crypto = crypto, .seed = 1};
    struct admission *log = admission_new(&config);
    genesis.roots[0] = root.key;
    struct admission_key drawer = key_of(DRAWER), one_time = key_of(40);
    genesis.recovery[0] = admission_recovery_hash(crypto, &drawer);
    PPN_ASSERT(admission_make_genesis(crypto, (struct admission_authors){&root, 1}, now, &genesis,
                                      &made, &why) == PPN_OK);
    PPN_ASSERT(offer(log, admission_made_slice(&made)) == ADMISSION_ACCEPTED);
    struct admission_entry add = {
        .kind = ADMISSION_ADMIN_ADD,
        .as.admin_add = {signer(ADMIN).key, ADMISSION_POWERS_ADMIN, "bo"}};
    struct admission_entry seal = {.kind = ADMISSION_SEAL};
    struct admission_entry policy = {.kind = ADMISSION_POLICY,
                                     .as.policy = {ADMISSION_VERSION, 1, 1, 1, 1, 2, 3}};
    struct admission_entry invite = {.kind = ADMISSION_INVITE,
                                     .as.invite = {.key = signer(40).key, .uses = 3}};
    struct admission_entry redeem = {.kind = ADMISSION_REDEEM};
    struct admission_entry rekey = {.kind = ADMISSION_REKEY};
    struct admission_entry revoke = {.kind = ADMISSION_REVOKE,
                                     .as.revoke.subject = signer(NODE + 1).key};
    struct admission_entry deny = {.kind = ADMISSION_DENY};
    struct admission_entry remove = {.kind = ADMISSION_ADMIN_REMOVE,
                                     .as.admin_remove = {.key = signer(ADMIN).key}};
    struct admission_invite_state state;
    deny.as.deny.node = node_of(50);
    memset(rekey.as.rekey.wg_key, 0x77, sizeof(rekey.as.rekey.wg_key));
    bool good = act(log, ROOT, add) && act(log, ADMIN, admit(NODE, 0)) && act(log, ROOT, seal) &&
                act(log, ROOT, policy) && act(log, ADMIN, admit(NODE + 1, 0)) &&
                act(log, ROOT, admit(NODE + 2, 5000000)) && act(log, ADMIN, invite);
    PPN_ASSERT(good && admission_invite_by_key(log, &one_time, &state));
    redeem.as.redeem.invite = state.id;
    redeem.as.redeem.node = node_of(NODE + 3);
    memset(redeem.as.redeem.wg_key, 0x66, sizeof(redeem.as.redeem.wg_key));
    memcpy(redeem.as.redeem.name, "bee", 4);
    good = act(log, NODE, redeem) && act(log, NODE, rekey) && act(log, ROOT, revoke) &&
           act(log, ROOT, deny) && act(log, ROOT, seal) && act(log, ROOT, policy) &&
           act(log, ROOT, seal) && act(log, ROOT, remove);
    PPN_ASSERT(good);
    return log;
}

static void start(struct play *play)
{
    struct admission_past past;
    struct ppn_failure why = {0};
    play->crypto = *admission_crypto_sodium();
    play->crypto.verify = any_verify;
    play->whole = make_log(&play->crypto);
    admission_past_prefix(play->whole->count, &past);
    PPN_ASSERT(admission_checkpoint_at(play->whole, &past, now.unix_ms, &play->base, &why) ==
               PPN_OK);
    admission_past_free(&past);
}

static void edit(struct play *play, const uint8_t *bytes)
{
    if (play->count == 0)
        return;
    struct admission_base_record *record = &play->records[bytes[1] % play->count];
    struct admission_base_record *other = &play->records[bytes[2] % play->count];
    struct admission_base_record swap = *record;
    switch (bytes[0] % EDIT_KINDS) {
    case SWAP:
        *record = *other;
        *other = swap;
        return;
    case DROP:
        *record = play->records[--play->count];
        return;
    case REPEAT:
        *other = swap;
        return;
    case FLAGS:
        record->mark.flags = bytes[3] & ADMISSION_KEPT_ALL;
        return;
    case WHY:
        record->mark.why = bytes[3] % (ADMISSION_VOID_CLOSED + 1);
        return;
    case HEIGHT:
        record->height = bytes[3] * (uint32_t)(1 + bytes[2] * 65536);
        return;
    case VALUE:
        record->mark.value = bytes[3] * (uint64_t)(1 + bytes[2] * 1000000007ull);
        return;
    case BYTE:
        if (record->envelope.size > 0)
            play->envelopes[(size_t)(record->envelope.data - play->envelopes) +
                            (bytes[2] * 3u) % record->envelope.size] = bytes[3];
        return;
    default:
        if (record->ids.size > 0)
            record->ids.size = bytes[3] % 2 == 0 ? ADMISSION_SHORT_ID : record->ids.size;
        return;
    }
}

/* Every envelope in memory of its own, so that one can be changed. */
static void load(struct play *play, struct ppn_slice input)
{
    play->count = 0;
    play->used = 0;
    for (uint32_t i = 0; i < play->base.count && i < RECORDS_MAX; i++) {
        struct admission_base_record *record = &play->records[play->count++];
        PPN_ASSERT(admission_base_record_decode(admission_base_at(&play->base, i), record) ==
                   PPN_OK);
        struct ppn_slice *bytes = record->envelope.size > 0 ? &record->envelope : &record->ids;
        PPN_ASSERT(play->used + bytes->size <= sizeof(play->envelopes));
        memcpy(play->envelopes + play->used, bytes->data, bytes->size);
        bytes->data = play->envelopes + play->used;
        play->used += bytes->size;
    }
    for (uint32_t i = 0; i < EDITS_MAX && input.size >= EDIT; i++) {
        edit(play, input.data);
        input = ppn_slice(input.data + EDIT, input.size - EDIT);
    }
}

/* The records as edited, and a checkpoint that says so. */
static void sign(struct play *play, struct admission_base *base, struct admission_made *made)
{
    struct admission_entry entry = {.kind = ADMISSION_CHECKPOINT,
                                    .version = ADMISSION_VERSION,
                                    .author = signer(DRAWER).key,
                                    .network = admission_network(play->whole),
                                    .seq = 1,
                                    .parent_count = 1,
                                    .time_unix_ms = now.unix_ms,
                                    .seal = 3};
    uint8_t bytes[ADMISSION_RECORD_MAX];
    for (uint32_t i = 0; i < play->count; i++) {
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        play->records[i].index = i;
        admission_base_record_encode(&play->records[i], &writer);
        PPN_ASSERT(admission_base_add(base, &play->crypto, ppn_written(&writer)) == PPN_OK);
    }
    memset(entry.parents[0].bytes, 0xee, PPN_HASH_SIZE);
    entry.as.checkpoint.number = 1;
    entry.as.checkpoint.digest = base->digest;
    entry.as.checkpoint.records = base->count;
    entry.as.checkpoint.height = 100;
    struct ppn_writer body = ppn_writer(bytes, sizeof(bytes));
    PPN_ASSERT(admission_body_encode(&entry, &body) == PPN_OK);
    made->id = admission_body_id(&play->crypto, ppn_written(&body));
    struct admission_envelope envelope = {.body = ppn_written(&body), .signature_count = 1};
    struct ppn_writer out = ppn_writer(made->bytes, sizeof(made->bytes));
    PPN_ASSERT(admission_envelope_encode(&envelope, &out) == PPN_OK);
    made->size = (uint32_t)out.size;
    admission_base_name(base, &made->id);
}

static void go_on(struct admission *log)
{
    struct admission_entry seal = {.kind = ADMISSION_SEAL};
    struct admission_entry closing = {.kind = ADMISSION_CHECKPOINT};
    uint8_t buffer[ADMISSION_RECORD_MAX];
    struct ppn_hash members = admission_members_digest(log);
    struct admission_config config = {.crypto = log->crypto, .network = log->network, .seed = 2};
    struct admission *other = admission_new(&config);
    for (uint32_t i = 0; i < admission_transfer_count(log); i++)
        PPN_ASSERT(offer(other, admission_transfer_at(log, i, buffer)) != ADMISSION_REFUSED);
    struct ppn_hash same = admission_members_digest(other);
    PPN_ASSERT(ppn_hash_equal(&members, &same));
    admission_refold(log);
    same = admission_members_digest(log);
    PPN_ASSERT(ppn_hash_equal(&members, &same));
    admission_free(other);
    (void)act(log, ROOT, seal);
    (void)act(log, ROOT, admit(60, 0));
    (void)act(log, DRAWER, closing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct play play;
    static struct admission_made made;
    if (play.whole == NULL)
        start(&play);
    load(&play, ppn_slice(data, size));
    if (play.count == 0)
        return 0;
    struct admission_base base = {0};
    sign(&play, &base, &made);
    struct admission_config config = {
        .crypto = &play.crypto, .network = admission_network(play.whole), .seed = 3};
    struct admission *log = admission_new(&config);
    bool taken = offer(log, admission_made_slice(&made)) == ADMISSION_STAGED;
    for (uint32_t i = 0; taken && i < base.count; i++) {
        enum admission_verdict verdict = offer(log, admission_base_at(&base, i));
        PPN_ASSERT(verdict != ADMISSION_PENDING);
        taken = verdict == ADMISSION_STAGED || verdict == ADMISSION_ACCEPTED;
    }
    if (taken)
        go_on(log);
    else
        PPN_ASSERT(log->count == 0);
    admission_free(log);
    admission_base_free(&base);
    return 0;
}
