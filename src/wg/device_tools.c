// SPDX-License-Identifier: ISC
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "os/os_address.h"
#include "os/os_child.h"
#include "wg/device_internal.h"

enum { DUMP_DEVICE_FIELDS = 4, DUMP_PEER_FIELDS = 8, FIELD_MAX = 63 };

static const char *const backend_names[] = {"none", "kernel", "userspace", "plain"};
static const char *const mode_names[] = {"auto", "kernel", "userspace", "plain"};

const char *wg_backend_name(enum wg_backend backend)
{
    PPN_ASSERT((size_t)backend < sizeof(backend_names) / sizeof(backend_names[0]));
    return backend_names[backend];
}

enum ppn_error wg_mode_parse(const char *text, enum wg_mode *mode)
{
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
        if (strcmp(text, mode_names[i]) == 0) {
            *mode = (enum wg_mode)i;
            return PPN_OK;
        }
    }
    return PPN_ERROR_INVALID;
}

bool wg_tool_mentions(const struct os_child_result *result, const char *words)
{
    return (result->err.data != NULL && strstr((const char *)result->err.data, words) != NULL) ||
           (result->out.data != NULL && strstr((const char *)result->out.data, words) != NULL);
}

const char *wg_tool_cause(const struct os_child_result *result)
{
    static char text[160];
    if (result->err.size == 0)
        return result->text;
    size_t size = strcspn((const char *)result->err.data, "\n");
    if (size >= sizeof(text))
        size = sizeof(text) - 1;
    memcpy(text, result->err.data, size);
    text[size] = '\0';
    return text;
}

void wg_cidr_text(const uint8_t address[static 16], uint8_t length, char text[static WG_CIDR_TEXT])
{
    PPN_ASSERT(length <= 128 && length % 8 == 0);
    uint8_t network[16] = {0};
    char plain[OS_ENDPOINT_TEXT];
    memcpy(network, address, length / 8);
    os_address_text(network, plain);
    snprintf(text, WG_CIDR_TEXT, "%s/%u", plain, (unsigned)length);
}

/* IFNAMSIZ less the NUL, of the characters that no tool takes for something else. */
bool wg_interface_name_valid(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t length = strlen(name);
    return length > 0 && length <= WG_INTERFACE_MAX && strspn(name, allowed) == length &&
           name[0] != '-' && name[0] != '.';
}

static void argument(struct wg_set_command *command, const char *text)
{
    PPN_ASSERT(command->count + 1 < WG_SET_ARGUMENTS_MAX);
    command->argv[command->count++] = text;
    command->argv[command->count] = NULL;
}

/* Room in the command's own text for one more word of at most `size` bytes. */
static char *word(struct wg_set_command *command, size_t size)
{
    PPN_ASSERT(command->used + size <= sizeof(command->text));
    char *at = command->text + command->used;
    command->used += size;
    return at;
}

static void change_arguments(struct wg_set_command *command, const struct wg_change *change)
{
    char *key = word(command, WG_KEY_TEXT);
    sodium_bin2base64(key, WG_KEY_TEXT, change->key.bytes, WG_KEY_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
    argument(command, "peer");
    argument(command, key);
    if (change->kind == WG_REMOVE) {
        argument(command, "remove");
        return;
    }
    if (change->kind == WG_ADD || change->kind == WG_ALLOWED) {
        char *allowed = word(command, WG_CIDR_TEXT);
        wg_cidr_text(change->allowed, 96, allowed);
        argument(command, "allowed-ips");
        argument(command, allowed);
    }
    if (change->kind == WG_ALLOWED)
        return;
    if (change->has_endpoint) {
        char *endpoint = word(command, OS_ENDPOINT_TEXT);
        os_endpoint_text(&change->endpoint, endpoint);
        argument(command, "endpoint");
        argument(command, endpoint);
    }
    char *seconds = word(command, 8);
    snprintf(seconds, 8, "%u", (unsigned)change->keepalive_s);
    argument(command, "persistent-keepalive");
    argument(command, seconds);
}

void wg_set_command(struct wg_set_command *command, const char *interface,
                    const struct wg_update *update)
{
    PPN_ASSERT(update->kind == WG_UPDATE_APPLY && update->count <= WG_BATCH_MAX);
    command->count = 0;
    command->used = 0;
    argument(command, "wg");
    argument(command, "set");
    argument(command, interface);
    for (size_t i = 0; i < update->count; i++)
        change_arguments(command, &update->changes[i]);
}

size_t wg_routes_script(char text[static WG_ROUTES_TEXT_MAX], const char *interface,
                        const struct wg_update *update)
{
    size_t used = 0;
    for (size_t i = 0; i < update->count; i++) {
        char allowed[WG_CIDR_TEXT];
        const struct wg_change *change = &update->changes[i];
        PPN_ASSERT(change->kind == WG_ROUTE);
        wg_cidr_text(change->allowed, 96, allowed);
        int size = snprintf(text + used, WG_ROUTES_TEXT_MAX - used,
                            "route replace %s dev %s proto %d mtu %u\n", allowed, interface,
                            WG_ROUTE_PROTOCOL, (unsigned)change->mtu);
        PPN_ASSERT(size > 0 && (size_t)size < WG_ROUTES_TEXT_MAX - used);
        used += (size_t)size;
    }
    return used;
}

static bool parse_number(const char *text, uint64_t *value)
{
    *value = 0;
    if (text[0] == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        if (__builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
            return false;
    }
    return true;
}

static bool parse_key(const char *text, struct wg_key *key)
{
    size_t size = 0;
    return strlen(text) == WG_KEY_TEXT - 1 &&
           sodium_base642bin(key->bytes, WG_KEY_SIZE, text, WG_KEY_TEXT - 1, NULL, &size, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           size == WG_KEY_SIZE;
}

/* One entry ADDRESS/96 sets the fields; anything else (none, several, IPv4) leaves allowed_one
 * false, so that the core replaces it. */
static bool parse_allowed(const char *text, struct wg_observed *peer)
{
    char address[FIELD_MAX + 1];
    struct ppn_endpoint endpoint;
    const char *slash = strchr(text, '/');
    if (strcmp(text, "(none)") == 0 || strchr(text, ',') != NULL)
        return true;
    if (slash == NULL || (size_t)(slash - text) > FIELD_MAX)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (os_endpoint_parse(address, 1, &endpoint) != PPN_OK)
        return false;
    peer->allowed_one = strcmp(slash, "/96") == 0;
    memcpy(peer->allowed, endpoint.address, sizeof(peer->allowed));
    return true;
}

static bool parse_handshake(const char *text, struct ppn_wall now, struct wg_observed *peer)
{
    uint64_t seconds;
    if (!parse_number(text, &seconds) || seconds > INT64_MAX / 2000)
        return false;
    peer->has_handshake = seconds > 0;
    int64_t age_ms = now.unix_ms - (int64_t)seconds * 1000;
    peer->handshake_age = ppn_ms(peer->has_handshake && age_ms > 0 ? age_ms : 0);
    return true;
}

static bool parse_peer(char *const fields[static DUMP_PEER_FIELDS], struct ppn_wall now,
                       struct wg_observed *peer)
{
    uint64_t keepalive = 0;
    memset(peer, 0, sizeof(*peer));
    if (!parse_key(fields[0], &peer->key))
        return false;
    if (strcmp(fields[2], "(none)") != 0) {
        if (os_endpoint_parse(fields[2], 0, &peer->endpoint) != PPN_OK)
            return false;
        peer->has_endpoint = peer->endpoint.port != 0;
    }
    if (strcmp(fields[7], "off") != 0 &&
        (!parse_number(fields[7], &keepalive) || keepalive > 65535))
        return false;
    peer->keepalive_s = (uint16_t)keepalive;
    return parse_allowed(fields[3], peer) && parse_handshake(fields[4], now, peer) &&
           parse_number(fields[5], &peer->rx_bytes) && parse_number(fields[6], &peer->tx_bytes);
}

/* Cuts a line at its tabs; the number of fields, of which at most `max` are stored. */
static size_t split(char *line, char **fields, size_t max)
{
    size_t count = 0;
    for (char *at = line; at != NULL;) {
        char *tab = strchr(at, '\t');
        if (tab != NULL)
            *tab++ = '\0';
        if (count < max)
            fields[count] = at;
        count++;
        at = tab;
    }
    return count;
}

static enum ppn_error parse_lines(char *text, struct ppn_wall now, struct wg_observed *peers,
                                  size_t *count)
{
    char *fields[DUMP_PEER_FIELDS];
    bool first = true;
    for (char *line = text; *line != '\0'; first = false) {
        char *end = strchr(line, '\n');
        if (end == NULL)
            return PPN_ERROR_CORRUPT;
        *end = '\0';
        size_t found = split(line, fields, DUMP_PEER_FIELDS);
        if (found != (first ? DUMP_DEVICE_FIELDS : DUMP_PEER_FIELDS))
            return PPN_ERROR_CORRUPT;
        if (!first && !parse_peer(fields, now, &peers[(*count)++]))
            return PPN_ERROR_CORRUPT;
        line = end + 1;
    }
    return first ? PPN_ERROR_CORRUPT : PPN_OK;
}

enum ppn_error wg_dump_parse(struct ppn_slice text, struct ppn_wall now, struct wg_observed **peers,
                             size_t *count)
{
    size_t lines = 0;
    *peers = NULL;
    *count = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\0')
            return PPN_ERROR_CORRUPT;
        lines += text.data[i] == '\n' ? 1 : 0;
    }
    if (lines > WG_DEVICE_PEERS_MAX + 1)
        return PPN_ERROR_TOO_BIG;
    char *copy = malloc(text.size + 1);
    struct wg_observed *found = calloc(lines + 1, sizeof(*found));
    enum ppn_error error = PPN_ERROR_NO_MEMORY;
    if (copy != NULL && found != NULL) {
        if (text.size > 0)
            memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        error = parse_lines(copy, now, found, count);
        /* The first line holds the private key. */
        sodium_memzero(copy, text.size);
    }
    free(copy);
    if (error != PPN_OK) {
        free(found);
        *count = 0;
        return error;
    }
    *peers = found;
    return PPN_OK;
}

void wg_key_public(const uint8_t private_key[static WG_KEY_SIZE], struct wg_key *public_key)
{
    int failed = crypto_scalarmult_base(public_key->bytes, private_key);
    PPN_ASSERT(failed == 0);
}

void wg_key_pair(uint8_t private_key[static WG_KEY_SIZE], struct wg_key *public_key)
{
    randombytes_buf(private_key, WG_KEY_SIZE);
    private_key[0] &= 248;
    private_key[31] = (uint8_t)((private_key[31] & 127) | 64);
    wg_key_public(private_key, public_key);
}
