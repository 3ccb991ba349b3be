// SPDX-License-Identifier: ISC
#include "authority/authority.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static struct authority authority;
static struct admission_keypair operator_pair, thief;
static struct ppn_hash network;
static char answer[AUTHORITY_LINE_MAX];

static void pair_of(uint8_t number, struct admission_keypair *pair)
{
    uint8_t seed[ADMISSION_SEED_SIZE];
    memset(seed, number, sizeof(seed));
    admission_keypair_from_seed(seed, pair);
}

static void begin(void)
{
    uint8_t seed[ADMISSION_SEED_SIZE] = {1};
    char line[256], net[65], key[65];
    cr_assert_geq(sodium_init(), 0);
    authority_init(&authority, seed);
    pair_of(2, &operator_pair);
    pair_of(3, &thief);
    memset(network.bytes, 9, sizeof(network.bytes));
    sodium_bin2hex(net, sizeof(net), network.bytes, 32);
    sodium_bin2hex(key, sizeof(key), operator_pair.key.bytes, 32);
    (void)snprintf(line, sizeof(line), "t own %s %s", net, key);
    cr_assert(authority_answer(&authority, line, answer));
    cr_assert_eq(strncmp(answer, "t is ", 5), 0);
}

/* A seal or a denial as the chain's next entry. */
static struct admission_entry next_entry(const struct authority *of, uint64_t seal)
{
    struct admission_entry entry = {.version = ADMISSION_VERSION,
                                    .network = network,
                                    .kind = seal > 0 ? ADMISSION_SEAL : ADMISSION_DENY,
                                    .author = of->pair.key,
                                    .seq = of->seq + 1,
                                    .prev = of->last,
                                    .parent_count = 1,
                                    .time_unix_ms = 1000};
    memset(entry.parents[0].bytes, 7, 32);
    if (seal > 0)
        entry.as.seal_of.number = seal;
    else
        memset(entry.as.deny.node.bytes, 5, 32);
    return entry;
}

/* True: the state changed, which is to say that it signed. */
static bool ask(struct authority *of, const struct admission_entry *entry,
                struct admission_keypair *by)
{
    uint8_t bytes[ADMISSION_BODY_MAX], buffer[AUTHORITY_TRANSCRIPT];
    char hex[2 * ADMISSION_BODY_MAX + 1], sig[129], line[AUTHORITY_LINE_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof(bytes));
    struct admission_signature signature;
    struct admission_signer signer = admission_keypair_signer(by);
    cr_assert_eq(admission_body_encode(entry, &body), PPN_OK);
    struct ppn_hash id = admission_body_id(admission_crypto_sodium(), ppn_written(&body));
    cr_assert(
        signer.sign(signer.ctx, authority_transcript(&of->pair.key, &id, buffer), &signature));
    sodium_bin2hex(hex, sizeof(hex), body.data, body.size);
    sodium_bin2hex(sig, sizeof(sig), signature.bytes, 64);
    (void)snprintf(line, sizeof(line), "s sign %s %s", hex, sig);
    return authority_answer(of, line, answer);
}

static bool refused(const char *why)
{
    return strncmp(answer, "s refused ", 10) == 0 && strstr(answer, why) != NULL;
}

Test(authority, signs_what_its_operator_asks_for)
{
    begin();
    struct admission_entry seal = next_entry(&authority, 1);
    cr_expect_not(ask(&authority, &seal, &thief));
    cr_expect(refused("not asked"));
    cr_assert(ask(&authority, &seal, &operator_pair));
    cr_expect_eq(strncmp(answer, "s signed ", 9), 0);
    struct admission_entry deny = next_entry(&authority, 0);
    cr_assert(ask(&authority, &deny, &operator_pair));
    cr_expect_eq(authority.seq, 2);
}

Test(authority, asked_again_it_gives_the_same_and_no_second)
{
    begin();
    struct admission_entry seal = next_entry(&authority, 1);
    cr_assert(ask(&authority, &seal, &operator_pair));
    static char first[AUTHORITY_LINE_MAX];
    memcpy(first, answer, sizeof(first));
    cr_expect_not(ask(&authority, &seal, &operator_pair));
    cr_expect_str_eq(answer, first);
    seal.time_unix_ms++;
    cr_expect_not(ask(&authority, &seal, &operator_pair));
    cr_expect(refused("does not follow"));
}

Test(authority, after_a_start_a_seal_comes_first)
{
    static uint8_t bytes[AUTHORITY_STATE_MAX];
    static struct authority again;
    begin();
    struct admission_entry entry = next_entry(&authority, 0);
    cr_expect_not(ask(&authority, &entry, &operator_pair));
    cr_expect(refused("seal"));
    entry = next_entry(&authority, 4);
    cr_assert(ask(&authority, &entry, &operator_pair));
    struct ppn_writer state = ppn_writer(bytes, sizeof(bytes));
    authority_save(&authority, &state);
    cr_assert_eq(authority_load(&again, ppn_written(&state)), PPN_OK);
    entry = next_entry(&again, 0);
    cr_expect_not(ask(&again, &entry, &operator_pair));
    entry = next_entry(&again, 4);
    cr_expect_not(ask(&again, &entry, &operator_pair));
    cr_expect(refused("before"));
    entry = next_entry(&again, 5);
    cr_expect(ask(&again, &entry, &operator_pair));
}

/* The disk was copied: the second copy cannot follow the log that the first one has moved. */
Test(authority, a_copy_of_the_disk_is_left_behind)
{
    static struct authority copy;
    begin();
    copy = authority;
    struct admission_entry seal = next_entry(&authority, 1);
    cr_assert(ask(&authority, &seal, &operator_pair));
    struct admission_entry deny = next_entry(&authority, 0);
    cr_expect_not(ask(&copy, &deny, &operator_pair));
    cr_expect(refused("runs twice"));
}

Test(authority, it_has_one_operator_for_ever_and_one_network)
{
    char line[256], net[65], key[65];
    begin();
    sodium_bin2hex(net, sizeof(net), network.bytes, 32);
    sodium_bin2hex(key, sizeof(key), thief.key.bytes, 32);
    (void)snprintf(line, sizeof(line), "s own %s %s", net, key);
    cr_expect_not(authority_answer(&authority, line, answer));
    cr_expect(refused("keeps it"));
    struct admission_entry seal = next_entry(&authority, 1);
    seal.network.bytes[0] ^= 1;
    cr_expect_not(ask(&authority, &seal, &operator_pair));
    cr_expect(refused("another network"));
    seal = next_entry(&authority, 1);
    seal.author = operator_pair.key;
    cr_expect_not(ask(&authority, &seal, &operator_pair));
    cr_expect(refused("another author"));
}

Test(authority, beside_a_network_card_it_says_so_and_does_nothing)
{
    begin();
    authority.closed = true;
    struct admission_entry entry = next_entry(&authority, 1);
    cr_assert_not(ask(&authority, &entry, &operator_pair));
    cr_assert(strstr(answer, "refused") != NULL && strstr(answer, "--no-network") != NULL);
    cr_assert_not(authority_answer(&authority, "t hello", answer));
    cr_assert(strstr(answer, "--no-network") != NULL);
    authority.closed = false;
    cr_assert(ask(&authority, &entry, &operator_pair));
}

Test(authority, a_damaged_state_is_refused)
{
    static uint8_t bytes[AUTHORITY_STATE_MAX];
    static struct authority again;
    begin();
    struct admission_entry seal = next_entry(&authority, 1);
    cr_assert(ask(&authority, &seal, &operator_pair));
    struct ppn_writer state = ppn_writer(bytes, sizeof(bytes));
    authority_save(&authority, &state);
    for (size_t size = 0; size < state.size; size++)
        cr_assert_neq(authority_load(&again, ppn_slice(bytes, size)), PPN_OK);
    bytes[0] ^= 1;
    cr_expect_neq(authority_load(&again, ppn_written(&state)), PPN_OK);
}

Test(authority, noise_gets_no_answer_or_a_refusal)
{
    static const char *const lines[] = {"",
                                        " ",
                                        "x",
                                        "a sign",
                                        "a sign zz yy",
                                        "a own 12 34",
                                        "a hello there",
                                        "12345678901234567 hello",
                                        "a b c d e f g"};
    begin();
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        cr_expect_not(authority_answer(&authority, lines[i], answer));
        cr_expect(answer[0] == '\0' || strstr(answer, " refused ") != NULL, "%s", lines[i]);
    }
}
