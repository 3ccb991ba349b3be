// SPDX-License-Identifier: ISC
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin_half.h"
#include "admin/admin_last.h"
#include "admission/explain.h"
#include "cli/cli_admin.h"
#include "cli/cli_print.h"

/* Entries that keys in several places sign: a file goes from one to the next. */

enum { OPTION_KEY = CLI_LONG };

static void name_of(const struct admission *log, const struct admission_key *key,
                    char text[static 128])
{
    const struct admission_admin *admin = admission_admin_by_key(log, key);
    char print[PPN_FINGERPRINT_TEXT];
    struct ppn_node_id id = admission_key_node(key);
    ppn_fingerprint(&id, print);
    (void)snprintf(text, 128, "%s%s(%s)", admin != NULL ? admin->name : "",
                   admin != NULL && admin->name[0] != '\0' ? " " : "", print);
}

/* Beside, renamed: the old file or the new one. */
static int write_file(const struct admin_half *half, const char *path)
{
    static char text[ADMIN_HALF_TEXT_MAX];
    char fresh[CLI_PATH_MAX];
    size_t size = admin_half_write(half, text);
    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool done = fd >= 0 && write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    if (done && rename(fresh, path) == 0)
        return CLI_OK;
    perror(fresh);
    return CLI_FAILED;
}

static int tell_next(const struct cli *cli, const struct admission *log,
                     const struct admin_half *half, const char *path)
{
    struct admission_key next;
    char who[128];
    (void)admin_half_next(half, &next);
    name_of(log, &next, who);
    if (cli->json)
        (void)printf("{\"schema\":1,\"file\":\"%s\",\"signed\":%u,\"needed\":%u}\n", path,
                     half->count, 1 + half->entry.cosigner_count);
    else
        (void)printf("%s: signed by %u of %u. Next is %s: ppn sign %s --key FILE\n", path,
                     half->count, 1 + half->entry.cosigner_count, who, path);
    return CLI_TIMEOUT;
}

int cli_cosign_begin(struct cli *cli, struct cli_admin *admin, struct admission_entry *entry)
{
    static struct admin_half half;
    uint8_t bytes[ADMISSION_BODY_MAX];
    char path[PPN_HEX_MAX + 16], hex[PPN_HEX_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof(bytes));
    struct admission_key cosigners[2 * CLI_KEYS_MAX];
    struct ppn_failure why = {0};
    uint32_t count = 0;
    for (uint32_t i = 1; i < admin->count; i++)
        cosigners[count++] = admin->pairs[i].key;
    for (uint32_t i = 0; i < admin->away_count; i++)
        cosigners[count++] = admin->away[i];
    enum ppn_error error = admission_make_body(admin->log, &admin->pairs[0].key, cosigners, count,
                                               (struct ppn_wall){cli_now_ms()}, entry, &body, &why);
    if (error == PPN_OK)
        error = admin_half_begin(&half, ppn_written(&body));
    for (uint32_t i = 1; error == PPN_OK && i < admin->count; i++)
        error = admin_half_sign(&half, &admin->pairs[i], &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    struct ppn_hash id = admission_body_id(admission_crypto_sodium(), ppn_written(&body));
    ppn_hex(id.bytes, 4, hex);
    (void)snprintf(path, sizeof(path), "ppn-%s.entry", hex);
    int code = write_file(&half, path);
    return code == CLI_OK ? tell_next(cli, admin->log, &half, path) : code;
}

static int read_half(const char *path, struct admin_half *half)
{
    char *text;
    size_t size;
    struct ppn_failure why = {0};
    if (!cli_read_file(path, ADMIN_HALF_TEXT_MAX, &text, &size))
        return CLI_FAILED;
    enum ppn_error error = admin_half_read(ppn_slice(text, size), half, &why);
    free(text);
    if (error == PPN_OK)
        return CLI_OK;
    (void)fprintf(stderr, "ppn sign: %s: %s\n", path, why.text);
    return CLI_FAILED;
}

/* The author's own signature completes it; from then on it may not sign another with that number.
 */
static int hand_in(struct cli *cli, struct cli_admin *admin, const struct admin_half *half,
                   const char *path)
{
    static struct admission_made made;
    struct ppn_failure why = {0};
    struct ppn_wall now = {cli_now_ms()};
    admin_half_made(half, &made);
    enum ppn_error error = admin_log_add(admin->log, now, admission_made_slice(&made), &why);
    if (error == PPN_OK && admin->author_path != NULL)
        error = admin_last_write(admin->author_path, admission_made_slice(&made), &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    int code = cli_admin_submit(cli, admission_made_slice(&made));
    if (code == CLI_OK)
        (void)unlink(path);
    if (code == CLI_OK && !cli->json)
        (void)printf("All have signed; it is in the log\n");
    return code;
}

static int sign(struct cli *cli, struct cli_admin *admin, struct admin_half *half, const char *path)
{
    char what[ADMISSION_TEXT_MAX], author[128];
    struct admission_key next;
    struct ppn_hash network = admission_network(admin->log);
    struct ppn_failure why = {0};
    if (!ppn_hash_equal(&half->entry.network, &network)) {
        (void)fprintf(stderr, "ppn sign: %s is of another network\n", path);
        return CLI_REFUSED;
    }
    if (admin_overtaken(admin->log, &half->entry)) {
        (void)fprintf(stderr,
                      "ppn sign: its author has signed something else since; it is of no use any "
                      "more: prepare it again\n");
        return CLI_REFUSED;
    }
    admission_describe_entry(admin->log, &half->entry, what);
    name_of(admin->log, &half->entry.author, author);
    (void)fprintf(stderr, "It %s, by %s and %u more\n", what, author, half->entry.cosigner_count);
    enum ppn_error error = admin_half_sign(half, &admin->pairs[0], &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    if (!admin_half_next(half, &next))
        return hand_in(cli, admin, half, path);
    int code = write_file(half, path);
    return code == CLI_OK ? tell_next(cli, admin->log, half, path) : code;
}

int cmd_sign(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, OPTION_KEY},
                                            CLI_COMMON_OPTIONS};
    static struct admin_half half;
    struct cli_keys keys = {0};
    struct cli_admin admin = {0};
    while (cli_getopt(cli, argc, argv, "h", options) == OPTION_KEY) {
        if (!cli_keys_add(cli, &keys, optarg))
            return CLI_USAGE;
    }
    if (!cli_arguments(cli, argc, 1, 1))
        return cli->exit;
    if (keys.count > 1)
        return cli_usage(cli, "--key: one at a time");
    int code = read_half(argv[optind], &half);
    if (code == CLI_OK)
        code = cli_admin_open(cli, &keys, &admin);
    if (code == CLI_OK && (admin.authority != NULL || admin.count == 0))
        code = cli_usage(cli, "--key: a key that is here");
    if (code == CLI_OK)
        code = sign(cli, &admin, &half, argv[optind]);
    cli_admin_close(&admin);
    return cli_finish(code);
}
