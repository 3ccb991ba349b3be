// SPDX-License-Identifier: ISC
#include <ctype.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_fields.h"
#include "api/api_internal.h"
#include "base/assert.h"

enum { VCPUS_MAX = 256, NAME_SUFFIX = 5 };

static const uint64_t memory_bytes_min = 16ULL << 20, memory_bytes_max = 16ULL << 40;
static const uint64_t memory_bytes_default = 1ULL << 30;
static const uint64_t disk_bytes_min = 1ULL << 20, disk_bytes_max = 64ULL << 40;

void api_run_release(void *run)
{
    free(((struct api_run *)run)->spec.user_data);
}

/* One line of an authorized_keys file without options: "type base64 [comment]". Options would let a
 * pasted text change what the key may do. */
static bool ssh_key_valid(const char *key)
{
    static const char *const types[] = {"ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-", "sk-ssh-",
                                        "sk-ecdsa-"};
    for (const char *c = key; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c))
            return false;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const char *blank = strchr(key, ' ');
        if (strncmp(key, types[i], strlen(types[i])) == 0 && blank != NULL)
            return strlen(blank + 1) >= 16;
    }
    return false;
}

static void read_keys(struct api_fields *fields, struct ppn_machine_spec *spec)
{
    json_t *keys = api_field_take(fields, "ssh_keys");
    if (keys == NULL)
        return;
    if (!json_is_array(keys) || json_array_size(keys) > PPN_SSH_KEYS_MAX)
        api_fields_fail(fields, "field \"ssh_keys\" must be a list of at most %d keys",
                        PPN_SSH_KEYS_MAX);
    for (size_t i = 0; i < json_array_size(keys) && fields->error == PPN_OK; i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        char *to = spec->ssh_keys[spec->ssh_key_count];
        if (key != NULL && ssh_key_valid(key) && ppn_text_copy(to, PPN_SSH_KEY_TEXT_MAX + 1, key))
            spec->ssh_key_count++;
        else
            api_fields_fail(fields,
                            "field \"ssh_keys\": key %zu is not one line of a public key file "
                            "(\"ssh-ed25519 AAAA... comment\", up to %d bytes)",
                            i + 1, PPN_SSH_KEY_TEXT_MAX);
    }
    json_decref(keys);
}

/* As text, or as base64 where it is no UTF-8 (compressed user data). */
static void read_user_data(struct api_fields *fields, struct ppn_machine_spec *spec)
{
    json_t *plain = api_field_take(fields, "user_data");
    json_t *coded = api_field_take(fields, "user_data_base64");
    json_t *json = plain != NULL ? plain : coded;
    if (plain != NULL && coded != NULL)
        api_fields_fail(fields, "give \"user_data\" or \"user_data_base64\", not both");
    else if (json != NULL && !json_is_string(json))
        api_fields_fail(fields, "field \"user_data\" must be a text");
    if (json == NULL || fields->error != PPN_OK)
        goto out;
    size_t size = json_string_length(json), made = size;
    spec->user_data = malloc(size + 1);
    if (spec->user_data == NULL)
        api_fields_fail(fields, "out of memory");
    else if (json == plain)
        memcpy(spec->user_data, json_string_value(json), size);
    else if (sodium_base642bin(spec->user_data, size + 1, json_string_value(json), size, NULL,
                               &made, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        api_fields_fail(fields, "field \"user_data_base64\" is no base64");
    if (made > PPN_USER_DATA_MAX)
        api_fields_fail(fields, "field \"user_data\" is over %d bytes", PPN_USER_DATA_MAX);
    else
        spec->user_data_size = (uint32_t)made;
out:
    json_decref(plain);
    json_decref(coded);
}

static void read_user(struct api_fields *fields, struct ppn_machine_spec *spec)
{
    (void)ppn_text_copy(spec->user, sizeof(spec->user), "ppn");
    api_field_text(fields, "user", spec->user, sizeof(spec->user));
    const char *c = spec->user;
    bool valid = islower((unsigned char)*c) || *c == '_';
    for (; *c != '\0'; c++)
        valid = valid && (islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_' ||
                          *c == '-');
    if (!valid)
        api_fields_fail(fields,
                        "field \"user\": 1 to %d of a-z, 0-9, '_' and '-', beginning with a "
                        "letter",
                        PPN_USER_MAX);
}

static void read_isolation(struct api_fields *fields, struct ppn_demand *demand)
{
    char word[16] = "";
    api_field_bool(fields, "allow_emulation", &demand->allow_emulation);
    demand->kvm_required = !demand->allow_emulation;
    demand->isolation_min = demand->allow_emulation ? PPN_ISOLATION_TCG : PPN_ISOLATION_KVM;
    bool there = api_fields_has(fields, "isolation_min");
    api_field_text(fields, "isolation_min", word, sizeof(word));
    if (!there || fields->error != PPN_OK)
        return;
    if (api_isolation_parse(word, &demand->isolation_min) != PPN_OK)
        api_fields_fail(fields,
                        "field \"isolation_min\" must be tcg, kvm, kvm+sandbox, sev-snp or tdx");
    else if (demand->allow_emulation && demand->isolation_min > PPN_ISOLATION_TCG)
        api_fields_fail(fields,
                        "\"allow_emulation\" and \"isolation_min\" %s contradict each other: "
                        "emulation isolates nothing",
                        word);
    else if (!demand->allow_emulation && demand->isolation_min == PPN_ISOLATION_TCG)
        api_fields_fail(fields, "\"isolation_min\" tcg needs \"allow_emulation\" true");
}

static void read_network(struct api_fields *fields, struct ppn_machine_spec *spec)
{
    bool network = true;
    api_field_bool(fields, "network", &network);
    spec->no_network = !network;
    if (!network && spec->ssh_key_count > 0)
        api_fields_fail(fields, "\"ssh_keys\" are of no use without a network: leave them out; the "
                                "VM's console is its way in");
}

static void read_id(struct api_fields *fields, struct ppn_request_id *id, bool needed)
{
    static const struct ppn_request_id zero;
    char text[PPN_UUID_TEXT] = "";
    bool there = api_fields_has(fields, "id");
    api_field_text(fields, "id", text, sizeof(text));
    if (fields->error != PPN_OK)
        return;
    if (!there && needed)
        api_fields_fail(fields, "field \"id\" is missing: choose a UUID (version 7) for this "
                                "request, so that sending it again is safe");
    else if (!there)
        randombytes_buf(id->bytes, sizeof(id->bytes));
    else if (ppn_request_id_parse(text, id) != PPN_OK || ppn_request_id_equal(id, &zero))
        api_fields_fail(fields, "field \"id\" must be a UUID");
}

/* "debian-12" becomes "debian-12-3f9ac": unique enough to try, and derived from the id, so that a
 * repeated request asks for the same name. */
static void default_name(struct ppn_machine_spec *spec)
{
    static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789";
    char stem[PPN_NAME_MAX - NAME_SUFFIX];
    (void)ppn_text_copy(stem, sizeof(stem), spec->demand.image);
    for (char *c = stem; *c != '\0'; c++)
        *c = *c == '.' ? '-' : *c;
    size_t size = strlen(stem);
    while (size > 0 && stem[size - 1] == '-')
        stem[--size] = '\0';
    char suffix[NAME_SUFFIX + 1] = "";
    for (size_t i = 0; i < NAME_SUFFIX; i++)
        suffix[i] = alphabet[spec->id.bytes[PPN_REQUEST_ID_SIZE - 1 - i] % 32];
    (void)snprintf(spec->name, sizeof(spec->name), "%s-%s", stem, suffix);
    PPN_ASSERT(ppn_name_valid(spec->name));
}

static enum ppn_error parse(const struct api_call *call, struct api_run *run, bool question,
                            struct ppn_failure *failure)
{
    struct ppn_machine_spec *spec = &run->spec;
    struct ppn_demand *demand = &spec->demand;
    struct api_fields fields = api_fields_open(call->body, failure);
    demand->memory_bytes = memory_bytes_default;
    demand->vcpus = 1;
    read_id(&fields, &spec->id, !question);
    if (!api_fields_has(&fields, "image"))
        api_fields_fail(&fields, "field \"image\" is missing: name one of GET /v1/images");
    api_field_name(&fields, "image", true, demand->image, sizeof(demand->image));
    api_field_name(&fields, "name", false, spec->name, sizeof(spec->name));
    api_field_u64(&fields, "memory_bytes", memory_bytes_min, memory_bytes_max,
                  &demand->memory_bytes);
    bool disk = api_fields_has(&fields, "disk_bytes");
    api_field_u64(&fields, "disk_bytes", 0, disk_bytes_max, &demand->disk_bytes);
    if (disk && demand->disk_bytes != 0 && demand->disk_bytes < disk_bytes_min)
        api_fields_fail(&fields, "field \"disk_bytes\" must be 0 (the image's own size) or at "
                                 "least 1 MiB");
    api_field_u32(&fields, "vcpus", 1, VCPUS_MAX, &demand->vcpus);
    api_field_name(&fields, "node", false, demand->node, sizeof(demand->node));
    api_field_labels(&fields, "labels", demand->labels, &demand->label_count);
    read_isolation(&fields, demand);
    read_user(&fields, spec);
    read_keys(&fields, spec);
    read_user_data(&fields, spec);
    read_network(&fields, spec);
    api_field_bool(&fields, "fresh", &run->fresh);
    api_field_bool(&fields, "wait_ready", &run->wait_ready);
    enum ppn_error error = api_fields_close(&fields);
    if (error == PPN_OK && spec->name[0] == '\0')
        default_name(spec);
    return error;
}

enum ppn_error api_parse_run(const struct api_call *call, void *run, struct ppn_failure *failure)
{
    return parse(call, run, false, failure);
}

enum ppn_error api_parse_placement(const struct api_call *call, void *run,
                                   struct ppn_failure *failure)
{
    return parse(call, run, true, failure);
}
