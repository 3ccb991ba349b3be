// SPDX-License-Identifier: ISC
#include "cli/cli_admin.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "admin/admin_key.h"
#include "admin/admin_last.h"
#include "base/assert.h"
#include "base/name.h"
#include "cli/cli_authority.h"
#include "cli/cli_print.h"
#include "cli/cli_tunnel.h"

struct collecting {
    uint8_t *bytes;
    size_t size, capacity;
    bool failed;
};

static bool on_bytes(void *context, struct ppn_slice bytes)
{
    struct collecting *log = context;
    if (bytes.size > ADMIN_EXPORT_MAX - log->size)
        return false;
    if (bytes.size > log->capacity - log->size) {
        size_t capacity = log->capacity * 2 + bytes.size + 4096;
        uint8_t *grown = realloc(log->bytes, capacity);
        log->failed = grown == NULL;
        if (grown == NULL)
            return false;
        log->bytes = grown;
        log->capacity = capacity;
    }
    memcpy(log->bytes + log->size, bytes.data, bytes.size);
    log->size += bytes.size;
    return true;
}

static struct ppn_wall wall_now(void)
{
    return (struct ppn_wall){cli_now_ms()};
}

int cli_admin_failed(struct cli *cli, enum ppn_error error, const struct ppn_failure *failure)
{
    struct api_client_failure shown = {.failure = *failure};
    shown.failure.code = error;
    return cli_failed(cli, &shown);
}

static bool parse_hex(const char *text, uint8_t bytes[static 32])
{
    size_t size = 0;
    return strlen(text) == 64 && sodium_hex2bin(bytes, 32, text, 64, NULL, &size, NULL) == 0 &&
           size == 32;
}

bool cli_parse_key(const char *text, struct admission_key *key)
{
    return parse_hex(text, key->bytes);
}

bool cli_signs_here(const struct cli *cli, const struct cli_keys *keys)
{
    return keys->count > 0 || cli->tunnel != NULL;
}

bool cli_keys_add(struct cli *cli, struct cli_keys *keys, const char *path)
{
    if (keys->count == CLI_KEYS_MAX) {
        (void)cli_usage(cli, "--key: at most %d keys sign one entry", CLI_KEYS_MAX);
        return false;
    }
    keys->paths[keys->count++] = path;
    return true;
}

/* The network's id as the node states it: a node that names another than its log has is caught. */
static int fetch_status(struct cli *cli, struct ppn_hash *network, char path[static CLI_PATH_MAX])
{
    json_t *status;
    bool json = cli->json;
    cli->json = false;
    int code = cli_simple(cli, API_GET, "/v1/status", NULL, &status);
    cli->json = json;
    if (status == NULL)
        return code;
    *network = (struct ppn_hash){0};
    (void)parse_hex(cli_text(status, "network_id"), network->bytes);
    if (!ppn_text_copy(path, CLI_PATH_MAX, cli_text(status, "admin_key_file")))
        path[0] = '\0';
    json_decref(status);
    return CLI_OK;
}

/* Who is asked from afar must be a member by the log that it shows, in the network that it named
 * when it proved its key. */
static int check_far(struct cli *cli, struct admission **log)
{
    struct ppn_failure why = {0};
    enum ppn_error error = cli->tunnel != NULL ? cli_tunnel_check(cli->tunnel, *log, &why) : PPN_OK;
    if (error == PPN_OK)
        return CLI_OK;
    admission_free(*log);
    *log = NULL;
    return cli_admin_failed(cli, error, &why);
}

static int fetch_log(struct cli *cli, const struct ppn_hash *network, struct admission **log)
{
    struct api_client_failure failure;
    struct ppn_failure why = {0};
    struct collecting collected = {0};
    struct api_client_call call = {
        .method = API_GET, .target = "/v1/log/export", .context = &collected, .on_bytes = on_bytes};
    enum ppn_error error = api_client_do(cli_api(cli), &call, NULL, &failure);
    if (error != PPN_OK) {
        free(collected.bytes);
        return cli_failed(cli, &failure);
    }
    error =
        admin_log_read(ppn_slice(collected.bytes, collected.size), network, wall_now(), log, &why);
    free(collected.bytes);
    return error == PPN_OK ? check_far(cli, log) : cli_admin_failed(cli, error, &why);
}

/* From the terminal itself, never from standard input: a script that pipes a passphrase has it in a
 * file or in its arguments. */
bool cli_ask_hidden(const char *prompt, char text[static ADMISSION_PASSPHRASE_MAX + 1])
{
    struct termios before, quiet;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    bool hidden = tcgetattr(fd, &before) == 0;
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    if (hidden)
        (void)tcsetattr(fd, TCSAFLUSH, &quiet);
    (void)dprintf(fd, "%s", prompt);
    ssize_t got = read(fd, text, ADMISSION_PASSPHRASE_MAX);
    if (hidden)
        (void)tcsetattr(fd, TCSAFLUSH, &before);
    (void)dprintf(fd, "\n");
    (void)close(fd);
    if (got <= 0)
        return false;
    text[text[got - 1] == '\n' ? got - 1 : got] = '\0';
    return true;
}

bool cli_ask_passphrase(void *context, const char *path,
                        char text[static ADMISSION_PASSPHRASE_MAX + 1])
{
    char prompt[CLI_PATH_MAX + 32];
    (void)context;
    (void)snprintf(prompt, sizeof(prompt), "Passphrase of %s: ", path);
    return cli_ask_hidden(prompt, text);
}

static int open_key(struct cli *cli, struct cli_admin *admin, const char *path)
{
    struct ppn_failure why = {0};
    struct admission_keypair *pair = &admin->pairs[admin->count];
    if (strncmp(path, "vm:", 3) == 0)
        return cli_authority_use(cli, admin, path + 3);
    if (strncmp(path, "at:", 3) == 0) {
        if (admin->count == 0 || !cli_parse_key(path + 3, &admin->away[admin->away_count]))
            return cli_usage(cli, "--key at:KEY: the 64 digits of a key that signs elsewhere, "
                                  "after the one that is here");
        admin->away_count++;
        return CLI_OK;
    }
    enum ppn_error error = PPN_OK;
    if (cli->tunnel != NULL && strcmp(path, cli->node_key) == 0)
        *pair = *cli_tunnel_pair(cli->tunnel); /* the passphrase was asked for already */
    else
        error = admin_key_read(path, cli_ask_passphrase, NULL, pair, &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    const struct admission_admin *known = admission_admin_by_key(admin->log, &pair->key);
    if (known == NULL || !known->live) {
        char print[PPN_FINGERPRINT_TEXT];
        struct ppn_node_id id = admission_key_node(&pair->key);
        ppn_fingerprint(&id, print);
        admission_keypair_wipe(pair);
        (void)fprintf(stderr, "ppn %s: the key in %s (%s) is %s of this network; see ppn admins\n",
                      cli->command->name, path, print,
                      known == NULL ? "no admin" : "no admin any more");
        return CLI_REFUSED;
    }
    admin->signers[admin->count++] = admission_keypair_signer(pair);
    return CLI_OK;
}

int cli_admin_open_log(struct cli *cli, struct cli_admin *admin)
{
    char path[CLI_PATH_MAX];
    struct ppn_hash network;
    *admin = (struct cli_admin){0};
    int code = fetch_status(cli, &network, path);
    return code == CLI_OK ? fetch_log(cli, &network, &admin->log) : code;
}

/* What the key signed last, where this node has not heard of it. The node's own key needs no note:
 * its log is where it signs. */
static int settle_last(struct cli *cli, struct cli_admin *admin)
{
    uint8_t bytes[ADMISSION_ENVELOPE_MAX];
    struct ppn_failure why = {0};
    size_t size;
    int lock;
    enum ppn_error error = admin_last_lock(admin->author_path, &lock, &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    admin->lock = lock + 1;
    error = admin_last_read(admin->author_path, bytes, &size, &why);
    if (error != PPN_OK)
        return error == PPN_ERROR_NOT_FOUND ? CLI_OK : cli_admin_failed(cli, error, &why);
    switch (admin_last_settle(admin->log, wall_now(), ppn_slice(bytes, size))) {
    case ADMIN_LAST_SETTLED:
        return CLI_OK;
    case ADMIN_LAST_MISSING:
        /* A revoked machine shows a log without its own revocation; this key may know better. */
        if (check_far(cli, &admin->log) != CLI_OK)
            return CLI_REFUSED;
        (void)fprintf(stderr, "ppn %s: handing in first what this key signed before\n",
                      cli->command->name);
        return cli_admin_submit(cli, ppn_slice(bytes, size));
    case ADMIN_LAST_BEHIND:
        (void)fprintf(stderr,
                      "ppn %s: this node has not heard yet of what the key in %s signed last; "
                      "signed from here, the key would contradict itself. Ask another node, or "
                      "wait until they agree\n",
                      cli->command->name, admin->author_path);
        return CLI_REFUSED;
    }
    PPN_UNREACHABLE();
}

int cli_admin_open(struct cli *cli, const struct cli_keys *keys, struct cli_admin *admin)
{
    char path[CLI_PATH_MAX];
    struct ppn_hash network;
    const struct cli_keys far = {.count = 1, .paths = {cli->node_key}};
    if (keys->count == 0 && cli->tunnel != NULL)
        keys = &far;
    *admin = (struct cli_admin){0};
    int code = fetch_status(cli, &network, path);
    if (code == CLI_OK)
        code = fetch_log(cli, &network, &admin->log);
    if (code != CLI_OK)
        return code;
    if (keys->count == 0 && path[0] == '\0') {
        (void)fprintf(stderr,
                      "ppn %s: this node holds no admin key; name one with --key FILE, or run it "
                      "on the node that founded the network\n",
                      cli->command->name);
        return CLI_REFUSED;
    }
    if (keys->count == 0)
        return open_key(cli, admin, path);
    for (uint32_t i = 0; code == CLI_OK && i < keys->count; i++)
        code = open_key(cli, admin, keys->paths[i]);
    if (code != CLI_OK || admin->authority != NULL)
        return code;
    admin->author_path = keys->paths[0];
    return settle_last(cli, admin);
}

void cli_admin_close(struct cli_admin *admin)
{
    admission_free(admin->log);
    cli_authority_close(admin->authority);
    if (admin->lock > 0)
        (void)close(admin->lock - 1);
    sodium_memzero(admin, sizeof(*admin));
}

int cli_admin_submit(struct cli *cli, struct ppn_slice envelope)
{
    uint8_t bytes[4 + ADMISSION_ENVELOPE_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct api_client_failure failure;
    char *answer = NULL;
    ppn_write_u32(&writer, (uint32_t)envelope.size);
    ppn_write(&writer, envelope);
    int fd = memfd_create("entry", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, writer.size) != (ssize_t)writer.size ||
        lseek(fd, 0, SEEK_SET) != 0) {
        (void)fprintf(stderr, "ppn %s: out of memory\n", cli->command->name);
        return CLI_FAILED;
    }
    struct api_client_call call = {.method = API_POST,
                                   .target = "/v1/log/entries",
                                   .upload_fd = fd,
                                   .upload = true,
                                   .upload_bytes = writer.size};
    enum ppn_error error = api_client_do(cli_api(cli), &call, &answer, &failure);
    (void)close(fd);
    free(answer);
    return error == PPN_OK ? CLI_OK : cli_failed(cli, &failure);
}

int cli_admin_sign(struct cli *cli, struct cli_admin *admin, struct admission_entry *entry)
{
    struct admission_made made;
    struct ppn_failure why = {0};
    struct admission_authors authors = {admin->signers, admin->count};
    if (admin->authority != NULL)
        return cli_authority_sign(cli, admin, entry);
    if (admin->away_count > 0)
        return cli_cosign_begin(cli, admin, entry);
    enum ppn_error error = admission_make(admin->log, authors, wall_now(), entry, &made, &why);
    if (error == PPN_OK)
        error = admin_log_add(admin->log, wall_now(), admission_made_slice(&made), &why);
    if (error == PPN_OK && admin->author_path != NULL)
        error = admin_last_write(admin->author_path, admission_made_slice(&made), &why);
    return error == PPN_OK ? cli_admin_submit(cli, admission_made_slice(&made))
                           : cli_admin_failed(cli, error, &why);
}
