// SPDX-License-Identifier: ISC
#include "cli/cli_authority.h"

#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authority/authority.h"
#include "base/name.h"
#include "cli/cli_print.h"

enum { PATIENCE_MS = 5000, TRIES = 4, WORDS = 8 };

struct cli_authority {
    int fd;
    struct admission_key key, operator_key;
    struct ppn_hash network;
    uint64_t seq;
    bool sealed;
    uint32_t last_size;
    uint8_t last[ADMISSION_ENVELOPE_MAX];
    char vm[PPN_NAME_MAX + 1];
    char tag[AUTHORITY_TAG_MAX + 1];
    size_t held; /* bytes after the newest line */
    char input[AUTHORITY_LINE_MAX];
    char line[AUTHORITY_LINE_MAX];
};

static struct ppn_wall wall_now(void)
{
    return (struct ppn_wall){cli_now_ms()};
}

static int tell(struct cli *cli, const struct cli_authority *authority, const char *what)
{
    (void)fprintf(stderr, "ppn %s: the authority in %s %s\n", cli->command->name, authority->vm,
                  what);
    return CLI_REFUSED;
}

static bool send_all(int fd, const char *text)
{
    size_t size = strlen(text);
    while (size > 0) {
        ssize_t sent = write(fd, text, size);
        if (sent <= 0)
            return false;
        text += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* The next whole line into authority->line. */
static bool next_line(struct cli_authority *authority)
{
    for (;;) {
        char *end = memchr(authority->input, '\n', authority->held);
        if (end != NULL) {
            size_t size = (size_t)(end - authority->input);
            memcpy(authority->line, authority->input, size);
            authority->line[size] = '\0';
            authority->held -= size + 1;
            memmove(authority->input, end + 1, authority->held);
            return true;
        }
        if (authority->held == sizeof(authority->input))
            authority->held = 0;
        struct pollfd port = {authority->fd, POLLIN, 0};
        if (poll(&port, 1, PATIENCE_MS) <= 0)
            return false;
        ssize_t got = read(authority->fd, authority->input + authority->held,
                           sizeof(authority->input) - authority->held);
        if (got <= 0)
            return false;
        authority->held += (size_t)got;
    }
}

/* Asks, again when no answer comes (each request may be repeated), and cuts the answer to this very
 * request into words; an exit code. */
static int ask(struct cli *cli, struct cli_authority *authority, const char *request,
               char *words[WORDS])
{
    char text[AUTHORITY_LINE_MAX + 64], *rest = authority->line;
    (void)snprintf(authority->tag, sizeof(authority->tag), "%08x", randombytes_random());
    (void)snprintf(text, sizeof(text), "\n%s %s\n", authority->tag, request);
    bool heard = false;
    for (int i = 0; i < TRIES && !heard; i++) {
        if (!send_all(authority->fd, text))
            return tell(cli, authority, "cannot be reached");
        while (!heard && next_line(authority))
            heard = strncmp(authority->line, authority->tag, strlen(authority->tag)) == 0;
    }
    if (!heard)
        return tell(cli, authority, "does not answer; is it the authority image, and up?");
    (void)strtok_r(rest, " ", &rest);
    words[0] = strtok_r(rest, " ", &rest);
    if (words[0] != NULL && strcmp(words[0], "refused") == 0) {
        (void)fprintf(stderr, "ppn %s: the authority in %s refuses: %s\n", cli->command->name,
                      authority->vm, rest);
        return CLI_REFUSED;
    }
    for (size_t i = 1; i < WORDS; i++)
        words[i] = words[i - 1] != NULL ? strtok_r(rest, " ", &rest) : NULL;
    return words[0] != NULL ? CLI_OK : tell(cli, authority, "gives no answer");
}

static bool envelope_of(const char *text, uint8_t bytes[static ADMISSION_ENVELOPE_MAX],
                        uint32_t *size)
{
    size_t got = 0;
    bool whole = text != NULL && sodium_hex2bin(bytes, ADMISSION_ENVELOPE_MAX, text, strlen(text),
                                                NULL, &got, NULL) == 0;
    *size = (uint32_t)got;
    return whole;
}

static int introduced(struct cli *cli, struct cli_authority *authority, char *const words[WORDS])
{
    struct admission_key network;
    if (strcmp(words[0], "is") != 0 || words[6] == NULL ||
        !cli_parse_key(words[1], &authority->key) || !cli_parse_key(words[2], &network) ||
        !cli_parse_key(words[3], &authority->operator_key))
        return tell(cli, authority, "gives an answer that this version does not know");
    memcpy(authority->network.bytes, network.bytes, sizeof(authority->network.bytes));
    authority->seq = strtoull(words[4], NULL, 10);
    authority->sealed = strcmp(words[5], "1") == 0;
    authority->last_size = 0;
    if (strcmp(words[6], "-") != 0 &&
        !envelope_of(words[6], authority->last, &authority->last_size))
        return tell(cli, authority, "gives an answer that this version does not know");
    return CLI_OK;
}

int cli_authority_open(struct cli *cli, const char *vm, struct cli_authority **out)
{
    struct api_client_failure failure;
    char target[512], *words[WORDS];
    struct cli_authority *authority = calloc(1, sizeof(*authority));
    *out = authority;
    if (authority == NULL)
        return CLI_FAILED;
    authority->fd = -1;
    if (!ppn_text_copy(authority->vm, sizeof(authority->vm), vm) ||
        !cli_target(target, sizeof(target), "vms", vm, "/channel"))
        return cli_usage(cli, "the name of the VM is too long");
    if (api_client_upgrade(cli_api(cli), target, &authority->fd, &failure) != PPN_OK)
        return cli_failed(cli, &failure);
    int code = ask(cli, authority, "hello", words);
    return code == CLI_OK ? introduced(cli, authority, words) : code;
}

void cli_authority_close(struct cli_authority *authority)
{
    if (authority != NULL && authority->fd >= 0)
        (void)close(authority->fd);
    free(authority);
}

const struct admission_key *cli_authority_key(const struct cli_authority *authority)
{
    return &authority->key;
}

const struct admission_key *cli_authority_operator(const struct cli_authority *authority)
{
    return &authority->operator_key;
}

int cli_authority_own(struct cli *cli, struct cli_authority *authority,
                      const struct ppn_hash *network, const struct admission_key *key)
{
    char first[65], second[65], text[160], *words[WORDS];
    sodium_bin2hex(first, sizeof(first), network->bytes, 32);
    sodium_bin2hex(second, sizeof(second), key->bytes, 32);
    (void)snprintf(text, sizeof(text), "own %s %s", first, second);
    int code = ask(cli, authority, text, words);
    return code == CLI_OK ? introduced(cli, authority, words) : code;
}

static uint64_t log_seq(const struct admission *log, const struct admission_key *key)
{
    uint64_t seq = 0;
    for (uint32_t i = 0; i < admission_entry_count(log); i++) {
        struct admission_record record = admission_record_at(log, i);
        if (admission_key_equal(&record.author, key) && record.seq > seq)
            seq = record.seq;
    }
    return seq;
}

/* What it signed last, when a command was cut off before it handed that in. */
static int catch_up(struct cli *cli, struct cli_admin *admin)
{
    struct cli_authority *authority = admin->authority;
    struct ppn_failure why = {0};
    struct ppn_slice last = ppn_slice(authority->last, authority->last_size);
    uint64_t seq = log_seq(admin->log, &authority->key);
    if (seq > authority->seq)
        return tell(cli, authority,
                    "knows less than it has signed: it is an old copy, or runs twice. End it, and "
                    "take its key out with another admin key");
    if (seq == authority->seq)
        return CLI_OK;
    enum ppn_error error = admin_log_add(admin->log, wall_now(), last, &why);
    return error == PPN_OK ? cli_admin_submit(cli, last) : cli_admin_failed(cli, error, &why);
}

int cli_authority_sign(struct cli *cli, struct cli_admin *admin, struct admission_entry *entry)
{
    struct cli_authority *authority = admin->authority;
    uint8_t bytes[ADMISSION_BODY_MAX], envelope[ADMISSION_ENVELOPE_MAX];
    uint8_t buffer[AUTHORITY_TRANSCRIPT];
    char hex[2 * ADMISSION_BODY_MAX + 1], asked[129], text[AUTHORITY_LINE_MAX], *words[WORDS];
    struct ppn_writer body = ppn_writer(bytes, sizeof(bytes));
    struct admission_signature signature;
    struct ppn_failure why = {0};
    uint32_t size;
    enum ppn_error error =
        admission_make_body(admin->log, &authority->key, NULL, 0, wall_now(), entry, &body, &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    struct ppn_hash id = admission_body_id(admission_crypto_sodium(), ppn_written(&body));
    struct admission_signer signer = admission_keypair_signer(&admin->pairs[0]);
    if (!signer.sign(signer.ctx, authority_transcript(&authority->key, &id, buffer), &signature))
        return CLI_FAILED;
    sodium_bin2hex(hex, sizeof(hex), body.data, body.size);
    sodium_bin2hex(asked, sizeof(asked), signature.bytes, sizeof(signature.bytes));
    (void)snprintf(text, sizeof(text), "sign %s %s", hex, asked);
    int code = ask(cli, authority, text, words);
    if (code != CLI_OK)
        return code;
    if (strcmp(words[0], "signed") != 0 || !envelope_of(words[1], envelope, &size))
        return tell(cli, authority, "gives an answer that this version does not know");
    error = admin_log_add(admin->log, wall_now(), ppn_slice(envelope, size), &why);
    return error == PPN_OK ? cli_admin_submit(cli, ppn_slice(envelope, size))
                           : cli_admin_failed(cli, error, &why);
}

int cli_authority_begin(struct cli *cli, struct cli_admin *admin)
{
    struct admission_entry seal = {.kind = ADMISSION_SEAL};
    const struct admission_admin *known =
        admission_admin_by_key(admin->log, &admin->authority->key);
    if (known == NULL || !known->live)
        return tell(cli, admin->authority, "is no admin of this network; see ppn admins");
    int code = catch_up(cli, admin);
    if (code != CLI_OK || admin->authority->sealed)
        return code;
    code = cli_authority_sign(cli, admin, &seal);
    admin->authority->sealed = code == CLI_OK;
    return code;
}

int cli_authority_use(struct cli *cli, struct cli_admin *admin, const char *name)
{
    char vm[PPN_NAME_MAX + 1];
    struct ppn_failure why = {0};
    const char *colon = strchr(name, ':');
    if (admin->count > 0 || admin->authority != NULL)
        return cli_usage(cli, "--key: an authority in a VM signs alone");
    if (colon == NULL || (size_t)(colon - name) >= sizeof(vm))
        return cli_usage(cli, "--key: vm:NAME:FILE is what an authority in a VM needs");
    memcpy(vm, name, (size_t)(colon - name));
    vm[colon - name] = '\0';
    enum ppn_error error =
        admin_key_read(colon + 1, cli_ask_passphrase, NULL, &admin->pairs[0], &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    int code = cli_authority_open(cli, vm, &admin->authority);
    return code == CLI_OK ? cli_authority_begin(cli, admin) : code;
}
