// SPDX-License-Identifier: ISC
#include <arpa/inet.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admission/token.h"
#include "admission/words.h"
#include "base/name.h"
#include "cli/cli_admin.h"
#include "cli/cli_print.h"

/* A request that waits, as a node tells it: nothing in it is taken on trust, for the words that two
 * people compare are made here from the key and the id that get signed. */
struct asked {
    struct ppn_node_id id;
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE];
    char name[PPN_NAME_MAX + 1];
};

static bool read_request(const json_t *join, struct asked *asked)
{
    struct admission_key id, wg_key;
    if (!cli_parse_key(cli_text(join, "id"), &id) ||
        !cli_parse_key(cli_text(join, "wg_key"), &wg_key) ||
        !ppn_text_copy(asked->name, sizeof(asked->name), cli_text(join, "name")))
        return false;
    asked->id = admission_key_node(&id);
    memcpy(asked->wg_key, wg_key.bytes, sizeof(asked->wg_key));
    return true;
}

static int find_request(struct cli *cli, const char *who, struct asked *asked)
{
    json_t *answer, *join;
    size_t index;
    uint32_t found = 0;
    bool json = cli->json;
    cli->json = false;
    int code = cli_simple(cli, API_GET, "/v1/joins", NULL, &answer);
    cli->json = json;
    if (answer == NULL)
        return code;
    json_array_foreach(json_object_get(answer, "joins"), index, join)
    {
        bool meant = strcmp(cli_text(join, "name"), who) == 0 ||
                     strcmp(cli_text(join, "fingerprint"), who) == 0 ||
                     strcmp(cli_text(join, "id"), who) == 0;
        if (meant && read_request(join, asked))
            found++;
    }
    json_decref(answer);
    if (found == 1)
        return CLI_OK;
    (void)fprintf(stderr,
                  found == 0 ? "ppn %s: nobody asks to join as %s; see ppn joins\n"
                             : "ppn %s: several machines ask as %s; name one by its fingerprint: "
                               "ppn joins\n",
                  cli->command->name, who);
    return found == 0 ? CLI_NOT_FOUND : CLI_FAILED;
}

static int told(struct cli *cli, int code, const char *name, const struct ppn_node_id *id,
                const char *what)
{
    char print[PPN_FINGERPRINT_TEXT];
    ppn_fingerprint(id, print);
    if (code == CLI_OK && cli->json)
        (void)printf("{\"schema\":1,\"node\":{\"name\":\"%s\",\"fingerprint\":\"%s\"}}\n", name,
                     print);
    else if (code == CLI_OK)
        (void)printf("%s %s (%s)\n", name, what, print);
    return code;
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct ppn_label *)a)->key, ((const struct ppn_label *)b)->key);
}

static bool take_labels(const json_t *labels, struct admission_labels *to)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)labels, key, value)
    {
        if (to->count == PPN_LABELS_MAX ||
            !ppn_text_copy(to->items[to->count].key, sizeof(to->items[0].key), key) ||
            !ppn_text_copy(to->items[to->count].value, sizeof(to->items[0].value),
                           json_string_value(value)))
            return false;
        to->count++;
    }
    qsort(to->items, to->count, sizeof(to->items[0]), compare_labels);
    return true;
}

int cli_sign_admit(struct cli *cli, const struct cli_keys *keys, const char *who, json_t *body)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIT};
    struct admission_admit *admit = &entry.as.admit;
    struct cli_admin admin = {0};
    struct asked asked;
    char words[ADMISSION_WORDS_TEXT];
    const char *role = cli_text(body, "role");
    bool labels = take_labels(json_object_get(body, "labels"), &admit->labels);
    bool known = role[0] == '\0' || strcmp(role, "relay") == 0 || strcmp(role, "node") == 0;
    admit->lease_ms = (uint64_t)cli_number(body, "lease_seconds", 0) * 1000;
    if (strcmp(role, "relay") == 0)
        admit->roles = ADMISSION_ROLE_RELAY;
    json_decref(body);
    if (!known || !labels)
        return cli_usage(cli, "--role is relay, --label KEY=VALUE, at most %d of them",
                         PPN_LABELS_MAX);
    int code = find_request(cli, who, &asked);
    if (code == CLI_OK)
        code = cli_admin_open(cli, keys, &admin);
    if (code == CLI_OK) {
        struct ppn_hash network = admission_network(admin.log);
        admit->node = asked.id;
        memcpy(admit->wg_key, asked.wg_key, sizeof(admit->wg_key));
        memcpy(admit->name, asked.name, sizeof(admit->name));
        admission_words(admission_crypto_sodium(), &network, &asked.id, asked.wg_key, words);
        (void)fprintf(stderr, "%s shows: %s\n", asked.name, words);
        code = told(cli, cli_admin_sign(cli, &admin, &entry), asked.name, &asked.id, "is admitted");
    }
    cli_admin_close(&admin);
    return code;
}

/* Where a joiner may try the node that this command asks. */
static int fetch_endpoints(struct cli *cli, struct admission_token *token)
{
    json_t *status, *item;
    size_t index;
    bool json = cli->json;
    cli->json = false;
    int code = cli_simple(cli, API_GET, "/v1/status", NULL, &status);
    cli->json = json;
    if (status == NULL)
        return code;
    json_array_foreach(json_object_get(status, "endpoints"), index, item)
    {
        static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        struct ppn_endpoint *to = &token->endpoints[token->endpoint_count];
        const char *address = cli_text(item, "address");
        if (token->endpoint_count == ADMISSION_TOKEN_ENDPOINTS_MAX)
            break;
        memcpy(to->address, mapped, sizeof(mapped));
        to->port = (uint16_t)cli_number(item, "port", 0);
        token->endpoint_count += inet_pton(AF_INET, address, to->address + sizeof(mapped)) == 1 ||
                                 inet_pton(AF_INET6, address, to->address) == 1;
    }
    json_decref(status);
    if (token->endpoint_count > 0)
        return CLI_OK;
    (void)fprintf(stderr, "ppn invite: this node has no address that a joiner could try; start it "
                          "with --advertise, or ask another node\n");
    return CLI_FAILED;
}

/* The one-time key is made here, and is nowhere but in the token. */
int cli_sign_invite(struct cli *cli, const struct cli_keys *keys, json_t *body, json_t **answer)
{
    struct admission_entry entry = {.kind = ADMISSION_INVITE};
    struct admission_invite *invite = &entry.as.invite;
    struct admission_token token = {.endpoint_count = 0};
    struct admission_keypair once;
    struct cli_admin admin = {0};
    char text[ADMISSION_TOKEN_TEXT_MAX] = "", print[PPN_FINGERPRINT_TEXT];
    bool labels = take_labels(json_object_get(body, "labels"), &invite->labels);
    const char *role = cli_text(body, "role");
    bool relay = strcmp(role, "relay") == 0,
         known = relay || role[0] == '\0' || strcmp(role, "node") == 0;
    invite->uses = (uint32_t)cli_number(body, "uses", 1);
    invite->expires_unix_ms = cli_now_ms() + 1000 * cli_number(body, "ttl_seconds", 3600);
    invite->lease_ms = (uint64_t)cli_number(body, "lease_seconds", 0) * 1000;
    invite->roles = relay ? ADMISSION_ROLE_RELAY : 0;
    json_decref(body);
    if (!known || !labels)
        return cli_usage(cli, "--role is relay, --label KEY=VALUE, at most %d of them",
                         PPN_LABELS_MAX);
    int code = cli_admin_open(cli, keys, &admin);
    if (code == CLI_OK)
        code = fetch_endpoints(cli, &token);
    if (code == CLI_OK) {
        randombytes_buf(token.seed, sizeof(token.seed));
        token.network = admission_network(admin.log);
        admission_keypair_from_seed(token.seed, &once);
        invite->key = once.key;
        admission_keypair_wipe(&once);
        code = cli_admin_sign(cli, &admin, &entry);
    }
    struct ppn_node_id id = admission_key_node(&invite->key);
    ppn_fingerprint(&id, print);
    if (code == CLI_OK && admission_token_text(&token, text) == PPN_OK)
        *answer = json_pack("{s:i,s:s,s:s,s:I,s:I}", "schema", 1, "id", print, "token", text,
                            "uses", (json_int_t)invite->uses, "expires_unix_ms",
                            (json_int_t)invite->expires_unix_ms);
    if (*answer != NULL && cli->json)
        (void)json_dumpf(*answer, stdout, JSON_COMPACT), (void)putchar('\n');
    sodium_memzero(&token, sizeof(token));
    sodium_memzero(text, sizeof(text));
    cli_admin_close(&admin);
    return code;
}

int cli_sign_deny(struct cli *cli, const struct cli_keys *keys, const char *who)
{
    struct admission_entry entry = {.kind = ADMISSION_DENY};
    struct cli_admin admin = {0};
    struct asked asked;
    int code = find_request(cli, who, &asked);
    if (code == CLI_OK)
        code = cli_admin_open(cli, keys, &admin);
    if (code == CLI_OK) {
        entry.as.deny.node = asked.id;
        code = told(cli, cli_admin_sign(cli, &admin, &entry), asked.name, &asked.id, "is denied");
    }
    cli_admin_close(&admin);
    return code;
}

bool cli_log_node(const struct admission *log, const char *who, struct ppn_node_id *id)
{
    const struct admission_member *member;
    struct admission_entry entry;
    struct admission_key key;
    bool found = cli_parse_key(who, &key);
    if (found)
        *id = admission_key_node(&key);
    if (!found && admission_member_find(log, who, &member) == PPN_OK) {
        *id = member->id;
        return true;
    }
    /* The last admission under that name: of a machine that is out by now. */
    for (uint32_t i = admission_entry_count(log); i-- > 0 && !found;) {
        enum admission_kind kind = admission_record_at(log, i).kind;
        if (kind != ADMISSION_ADMIT && kind != ADMISSION_REDEEM)
            continue;
        admission_record_entry(log, i, &entry);
        bool admit = kind == ADMISSION_ADMIT;
        found = strcmp(admit ? entry.as.admit.name : entry.as.redeem.name, who) == 0;
        if (found)
            *id = admit ? entry.as.admit.node : entry.as.redeem.node;
    }
    return found;
}

int cli_sign_revoke(struct cli *cli, const struct cli_keys *keys, const char *who,
                    const char *reason)
{
    struct admission_entry entry = {.kind = ADMISSION_REVOKE};
    struct cli_admin admin;
    struct ppn_node_id id;
    if (!ppn_text_copy(entry.as.revoke.reason, sizeof(entry.as.revoke.reason), reason))
        return cli_usage(cli, "--reason: at most %d bytes", ADMISSION_REASON_MAX);
    int code = cli_admin_open(cli, keys, &admin);
    if (code == CLI_OK && !cli_log_node(admin.log, who, &id)) {
        (void)fprintf(stderr, "ppn revoke: no member is called %s; see ppn nodes\n", who);
        code = CLI_NOT_FOUND;
    } else if (code == CLI_OK) {
        entry.as.revoke.subject = admission_node_key(&id);
        code = told(cli, cli_admin_sign(cli, &admin, &entry), who, &id,
                    "is revoked; its identity never comes back");
    }
    cli_admin_close(&admin);
    return code;
}

/* ---- what becomes of the VMs ---- */

static bool runs_there(const json_t *vm, const char *node)
{
    const char *state = cli_text(vm, "state");
    return strcmp(cli_text(vm, "node"), node) == 0 && strcmp(state, "stopped") != 0 &&
           strcmp(state, "failed") != 0 && strcmp(state, "lost") != 0;
}

static int end_all(struct cli *cli, const json_t *vms, const char *node, const char *how)
{
    char rest[16], target[512];
    size_t index;
    json_t *vm, *answer;
    int code = CLI_OK;
    (void)snprintf(rest, sizeof(rest), "/%s", how);
    json_array_foreach(vms, index, vm)
    {
        if (code != CLI_OK || !runs_there(vm, node))
            continue;
        if (!cli_target(target, sizeof(target), "vms", cli_text(vm, "id"), rest))
            return CLI_FAILED;
        (void)fprintf(stderr, "%s: %s ...\n", cli_text(vm, "name"), how);
        code = cli_simple(cli, API_POST, target, NULL, &answer);
        json_decref(answer);
    }
    if (code != CLI_OK)
        (void)fprintf(stderr, "%s was not revoked; --vms keep does it all the same\n", node);
    return code;
}

/* NULL: the person wants no revocation now. */
static const char *ask_how(const json_t *vms, const char *node)
{
    char answer[16] = "";
    size_t index;
    json_t *vm;
    (void)fprintf(stderr, "These run on %s, where nobody here will reach them any more:", node);
    json_array_foreach(vms, index, vm)
    {
        if (runs_there(vm, node))
            (void)fprintf(stderr, " %s", cli_text(vm, "name"));
    }
    if (isatty(STDIN_FILENO) != 1) {
        (void)fprintf(stderr, "\nSay what becomes of them: --vms keep, stop or kill\n");
        return NULL;
    }
    (void)fprintf(stderr, "\n[k]eep them running there, [s]top or [e]nd them first, or leave it? ");
    if (fgets(answer, sizeof(answer), stdin) == NULL)
        return NULL;
    return answer[0] == 'k' ? "keep" : answer[0] == 's' ? "stop" : answer[0] == 'e' ? "kill" : NULL;
}

int cli_settle_vms(struct cli *cli, const char *node, const char *how)
{
    json_t *answer, *vm;
    size_t index;
    bool any = false, json = cli->json;
    if (how != NULL && strcmp(how, "keep") == 0)
        return CLI_OK;
    cli->json = false;
    int code = cli_simple(cli, API_GET, "/v1/vms", NULL, &answer);
    const json_t *vms = json_object_get(answer, "vms");
    json_array_foreach(vms, index, vm) any = any || runs_there(vm, node);
    if (code == CLI_OK && any && how == NULL)
        how = ask_how(vms, node);
    if (code == CLI_OK && any && how == NULL)
        code = CLI_REFUSED;
    else if (code == CLI_OK && any && strcmp(how, "keep") != 0)
        code = end_all(cli, vms, node, how);
    json_decref(answer);
    cli->json = json;
    return code;
}
