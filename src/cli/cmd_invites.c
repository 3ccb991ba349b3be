// SPDX-License-Identifier: ISC
#include <string.h>
#include <time.h>

#include "admission/explain.h"
#include "base/name.h"
#include "cli/cli_admin.h"
#include "cli/cli_print.h"

/* An invite is called by the fingerprint of its key, as the log calls it; the digits of its entry
 * do as well. */

enum { KEY_HEX_TEXT = 2 * ADMISSION_KEY_SIZE + 1, STATE_MAX = ADMISSION_TEXT_MAX };

struct shown {
    struct admission_invite_state state;
    struct admission_record record;
    struct admission_entry entry;
    char id[PPN_FINGERPRINT_TEXT], by[PPN_NAME_MAX + 1], text[STATE_MAX];
    bool open;
};

static void key_hex(const uint8_t bytes[static 32], char text[static KEY_HEX_TEXT])
{
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void author_name(const struct admission *log, const struct admission_key *key,
                        char name[static PPN_NAME_MAX + 1])
{
    const struct admission_admin *admin = admission_admin_by_key(log, key);
    struct ppn_node_id id = admission_key_node(key);
    if (admin == NULL)
        ppn_fingerprint(&id, name);
    else
        (void)snprintf(name, PPN_NAME_MAX + 1, "%s",
                       admin->name[0] != '\0' ? admin->name : "founder");
}

/* The standing entry that closes it. */
static bool closed_by(const struct admission *log, const struct admission_key *key,
                      struct admission_record *found, struct admission_entry *entry)
{
    for (uint32_t i = admission_entry_count(log); i-- > 0;) {
        *found = admission_record_at(log, i);
        if (found->kind != ADMISSION_REVOKE || !found->live)
            continue;
        admission_record_entry(log, i, entry);
        if (admission_key_equal(&entry->as.revoke.subject, key))
            return true;
    }
    return false;
}

static void say_state(const struct admission *log, struct shown *shown)
{
    struct admission_record closing;
    struct admission_entry entry;
    char name[PPN_NAME_MAX + 1];
    uint32_t index;
    const struct admission_invite_state *state = &shown->state;
    bool expired = state->expires_unix_ms != 0 && state->expires_unix_ms < cli_now_ms();
    shown->open = state->open && !expired;
    if (closed_by(log, &state->key, &closing, &entry)) {
        author_name(log, &closing.author, name);
        (void)snprintf(shown->text, STATE_MAX, "closed by %s%s%s", name,
                       entry.as.revoke.reason[0] != '\0' ? ": " : "", entry.as.revoke.reason);
    } else if (!shown->record.live && admission_record_find(log, &state->id, &index)) {
        admission_explain(log, index, shown->text);
    } else if (state->used >= state->uses) {
        (void)snprintf(shown->text, STATE_MAX, "used up");
    } else {
        (void)snprintf(shown->text, STATE_MAX, "%s", expired ? "expired" : "open");
    }
}

static bool show(const struct admission *log, uint32_t at, struct shown *shown)
{
    uint32_t index;
    if (!admission_invite_at(log, at, &shown->state) ||
        !admission_record_find(log, &shown->state.id, &index))
        return false;
    struct ppn_node_id id = admission_key_node(&shown->state.key);
    shown->record = admission_record_at(log, index);
    admission_record_entry(log, index, &shown->entry);
    ppn_fingerprint(&id, shown->id);
    author_name(log, &shown->record.author, shown->by);
    say_state(log, shown);
    return true;
}

static void print_table(struct cli *cli, const struct admission *log)
{
    static const char *const heads[] = {"INVITE", "USED", ">EXPIRES", ">MADE", "BY", "STATE"};
    static struct shown shown;
    struct cli_table table;
    cli_table_init(&table, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; show(log, i, &shown); i++) {
        char left[CLI_TEXT_MAX] = "never", age[CLI_TEXT_MAX];
        int64_t expires = shown.state.expires_unix_ms, now = cli_now_ms();
        if (expires != 0 && expires < now)
            (void)snprintf(left, sizeof(left), "over");
        else if (expires != 0)
            cli_age_text(expires - now, left);
        cli_age_text(now - shown.record.time_unix_ms, age);
        cli_cell(&table, CLI_CYAN, "%s", shown.id);
        cli_cell(&table, CLI_PLAIN, "%u/%u", shown.state.used, shown.state.uses);
        cli_cell(&table, CLI_PLAIN, "%s", left);
        cli_cell(&table, CLI_PLAIN, "%s", age);
        cli_cell(&table, CLI_PLAIN, "%s", shown.by);
        cli_cell(&table, shown.open ? CLI_GREEN : CLI_DIM, "%s", shown.text);
    }
    cli_table_print(cli, &table, stdout);
}

/* Names of the members that came in by it. */
static json_t *members_by(const struct admission *log, const struct ppn_hash *invite)
{
    static struct admission_entry entry;
    const struct admission_member *member;
    json_t *list = json_array();
    for (uint32_t i = 0; i < admission_entry_count(log); i++) {
        struct admission_record record = admission_record_at(log, i);
        if (record.kind != ADMISSION_REDEEM || !record.live)
            continue;
        admission_record_entry(log, i, &entry);
        member = admission_member_by_id(log, &entry.as.redeem.node);
        if (member != NULL && ppn_hash_equal(&entry.as.redeem.invite, invite))
            (void)json_array_append_new(list, json_string(member->name));
    }
    return list;
}

static json_t *invite_json(const struct admission *log, const struct shown *shown)
{
    const struct admission_invite *invite = &shown->entry.as.invite;
    char key[KEY_HEX_TEXT], entry[KEY_HEX_TEXT], author[KEY_HEX_TEXT];
    json_t *labels = json_object();
    key_hex(shown->state.key.bytes, key);
    key_hex(shown->state.id.bytes, entry);
    key_hex(shown->record.author.bytes, author);
    for (uint32_t i = 0; i < invite->labels.count; i++)
        (void)json_object_set_new(labels, invite->labels.items[i].key,
                                  json_string(invite->labels.items[i].value));
    json_t *made = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:s, s:s, s:b, s:s, s:b, s:o, s:o}", "id", shown->id,
        "key", key, "entry", entry, "uses", (int)shown->state.uses, "used", (int)shown->state.used,
        "made_unix_ms", (json_int_t)shown->record.time_unix_ms, "expires_unix_ms",
        (json_int_t)shown->state.expires_unix_ms, "by", shown->by, "author", author, "open",
        shown->open, "state", shown->text, "relay", (invite->roles & ADMISSION_ROLE_RELAY) != 0,
        "labels", labels, "members", members_by(log, &shown->state.id));
    if (made != NULL && invite->lease_ms != 0)
        (void)json_object_set_new(made, "lease_seconds",
                                  json_integer((json_int_t)(invite->lease_ms / 1000)));
    return made;
}

static void print_json(const struct admission *log)
{
    static struct shown shown;
    json_t *list = json_array();
    for (uint32_t i = 0; show(log, i, &shown); i++)
        (void)json_array_append_new(list, invite_json(log, &shown));
    cli_print_json(json_pack("{s:i, s:o}", "schema", 1, "invites", list));
}

int cmd_invites(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct cli_admin admin;
    while (cli_getopt(cli, argc, argv, "h", options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_admin_open_log(cli, &admin);
    if (code == CLI_OK && cli->json)
        print_json(admin.log);
    else if (code == CLI_OK && admission_invite_count(admin.log) > 0)
        print_table(cli, admin.log);
    else if (code == CLI_OK)
        (void)fprintf(stderr, "There are no invites. \"ppn invite\" makes one.\n");
    cli_admin_close(&admin);
    return cli_finish(code);
}

/* ---- closing one ---- */

static bool meant(const struct shown *shown, const char *who)
{
    char entry[KEY_HEX_TEXT], key[KEY_HEX_TEXT];
    key_hex(shown->state.id.bytes, entry);
    key_hex(shown->state.key.bytes, key);
    return strcmp(shown->id, who) == 0 || strcmp(key, who) == 0 ||
           (strlen(who) >= 8 && strncmp(entry, who, strlen(who)) == 0);
}

static int find(const struct admission *log, const char *who, struct shown *found)
{
    static struct shown shown;
    uint32_t count = 0;
    for (uint32_t i = 0; show(log, i, &shown); i++) {
        if (!meant(&shown, who))
            continue;
        *found = shown;
        count++;
    }
    if (count == 1)
        return CLI_OK;
    (void)fprintf(stderr,
                  count == 0 ? "ppn revoke: there is no invite %s; see ppn invites\n"
                             : "ppn revoke: several invites begin like %s; see ppn invites\n",
                  who);
    return CLI_NOT_FOUND;
}

static void tell(const struct cli *cli, const struct admission *log, const struct shown *found)
{
    json_t *names = members_by(log, &found->state.id), *name;
    size_t index;
    if (cli->json) {
        (void)printf("{\"schema\":1,\"invite\":{\"id\":\"%s\",\"uses\":%u,\"used\":%u,"
                     "\"open\":false}}\n",
                     found->id, found->state.uses, found->state.used);
    } else {
        (void)printf("Invite %s is closed: nobody comes in by it any more\n", found->id);
        json_array_foreach(names, index, name)
        {
            (void)printf("%s came in by it and stays; ppn revoke %s takes it out\n",
                         json_string_value(name), json_string_value(name));
        }
    }
    json_decref(names);
}

int cli_close_invite(struct cli *cli, const struct cli_keys *keys, const char *who,
                     const char *reason)
{
    static struct shown found;
    struct admission_entry entry = {.kind = ADMISSION_REVOKE};
    struct cli_admin admin;
    if (!ppn_text_copy(entry.as.revoke.reason, sizeof(entry.as.revoke.reason), reason))
        return cli_usage(cli, "--reason: at most %d bytes", ADMISSION_REASON_MAX);
    int code = cli_admin_open(cli, keys, &admin);
    if (code == CLI_OK)
        code = find(admin.log, who, &found);
    if (code == CLI_OK && !found.state.open) {
        (void)fprintf(stderr, "ppn revoke: the invite %s lets nobody in: it is %s\n", found.id,
                      found.text);
        code = CLI_REFUSED;
    }
    if (code == CLI_OK) {
        entry.as.revoke.subject = found.state.key;
        code = cli_admin_sign(cli, &admin, &entry);
    }
    if (code == CLI_OK)
        tell(cli, admin.log, &found);
    cli_admin_close(&admin);
    return code;
}
