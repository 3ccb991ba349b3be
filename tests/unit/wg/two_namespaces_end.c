// SPDX-License-Identifier: ISC

/* One end of the test two-namespaces: a wg core and a real device, wired together as ppn-node wires
 * them. Commands on standard input: "key" prints the public key; "up MODE PORT ADDRESS", then
 * "members VERSION [KEY,ADDRESS,ENDPOINT ...]", "wait-peer", "quit". Replies are single lines. */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "os/os_address.h"
#include "os/os_clock.h"
#include "os/os_loop.h"
#include "wg/device.h"

enum { LINE_MAX_BYTES = 4096, MEMBERS_MAX = 8 };

struct end {
    struct os_loop *loop;
    struct os_io input;
    struct os_timer timer;
    struct wg wg;
    struct wg_device *device;
    struct wg_device_config config;
    struct wg_key own;
    char line[LINE_MAX_BYTES];
    size_t used;
    bool waiting;
    struct ppn_node_id peer; /* whom wait-peer awaits */
};

static void reply(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

static void look(struct end *end)
{
    struct wg_peer_status status;
    if (!end->waiting ||
        wg_peer_status(&end->wg, os_now(end->loop), &end->peer, &status) != PPN_OK ||
        status.state != WG_PEER_CONNECTED)
        return;
    end->waiting = false;
    reply("connected");
}

static void feed(struct end *end, const struct wg_event *event)
{
    struct wg_update update;
    if (wg_step(&end->wg, os_now(end->loop), event, &update) != PPN_OK)
        reply("refused");
    if (update.kind != WG_UPDATE_NONE)
        wg_device_run(end->device, &update);
    os_timer_at(&end->timer, wg_deadline(&end->wg));
    look(end);
}

static void on_timer(void *context)
{
    struct wg_event tick = {.kind = WG_EVENT_TICK};
    feed(context, &tick);
}

static void on_event(void *context, const struct wg_event *event)
{
    if (event->kind == WG_EVENT_RESET)
        reply("reset");
    feed(context, event);
}

static void on_ready(void *context, enum wg_backend backend, const struct ppn_failure *failure)
{
    (void)context;
    reply(failure != NULL ? failure->text : wg_backend_name(backend));
}

static bool parse_address(const char *text, uint8_t address[static 16])
{
    struct ppn_endpoint endpoint;
    if (os_endpoint_parse(text, 1, &endpoint) != PPN_OK)
        return false;
    memcpy(address, endpoint.address, 16);
    return true;
}

static void command_up(struct end *end, char *arguments)
{
    char mode[16], address[64];
    unsigned port;
    struct ppn_failure failure = {0};
    if (sscanf(arguments, "%15s %u %63s", mode, &port, address) != 3 ||
        wg_mode_parse(mode, &end->config.mode) != PPN_OK ||
        !parse_address(address, end->config.address)) {
        reply("bad up");
        return;
    }
    end->config.listen_port = (uint16_t)port;
    if (wg_device_open(end->loop, &end->config, &end->device, &failure) != PPN_OK)
        reply(failure.text);
}

/* KEY,ADDRESS,ENDPOINT: a member and the hint where it is. */
static bool parse_member(char *text, struct wg_member *member, struct ppn_endpoint *endpoint)
{
    char *address = strchr(text, ','), *where = address == NULL ? NULL : strchr(address + 1, ',');
    size_t size;
    if (where == NULL)
        return false;
    *address++ = '\0';
    *where++ = '\0';
    if (sodium_base642bin(member->key.bytes, WG_KEY_SIZE, text, strlen(text), NULL, &size, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    memcpy(member->node.bytes, member->key.bytes, WG_KEY_SIZE);
    return parse_address(address, member->address) &&
           os_endpoint_parse(where, 0, endpoint) == PPN_OK;
}

static void command_members(struct end *end, char *arguments)
{
    struct wg_member members[MEMBERS_MAX];
    struct wg_event event = {.kind = WG_EVENT_MEMBERS, .members = {.members = members}};
    char *state = NULL, *word = strtok_r(arguments, " ", &state);
    memset(members, 0, sizeof(members));
    event.members.log_version = word == NULL ? 0 : strtoull(word, NULL, 10);
    while ((word = strtok_r(NULL, " ", &state)) != NULL && event.members.count < MEMBERS_MAX) {
        struct wg_member *member = &members[event.members.count];
        struct wg_event hint = {.kind = WG_EVENT_HINT};
        if (!parse_member(word, member, &hint.hint.endpoint)) {
            reply("bad member");
            return;
        }
        event.members.count++;
        end->peer = hint.hint.node = member->node;
        feed(end, &hint);
    }
    feed(end, &event);
    reply("taken");
}

static void command(struct end *end, char *line)
{
    if (strcmp(line, "key") == 0) {
        char text[64];
        sodium_bin2base64(text, sizeof(text), end->own.bytes, WG_KEY_SIZE,
                          sodium_base64_VARIANT_ORIGINAL);
        reply(text);
    } else if (strncmp(line, "up ", 3) == 0) {
        command_up(end, line + 3);
    } else if (strncmp(line, "members ", 8) == 0) {
        command_members(end, line + 8);
    } else if (strcmp(line, "wait-peer") == 0) {
        end->waiting = true;
        look(end);
    } else if (strcmp(line, "quit") == 0) {
        os_loop_stop(end->loop);
    } else {
        reply("unknown command");
    }
}

static void on_input(void *context, unsigned ready)
{
    struct end *end = context;
    (void)ready;
    ssize_t got = read(STDIN_FILENO, end->line + end->used, sizeof(end->line) - end->used - 1);
    if (got <= 0) {
        os_loop_stop(end->loop);
        return;
    }
    end->used += (size_t)got;
    end->line[end->used] = '\0';
    char *newline;
    while ((newline = strchr(end->line, '\n')) != NULL) {
        *newline = '\0';
        command(end, end->line);
        size_t rest = end->used - (size_t)(newline + 1 - end->line);
        memmove(end->line, newline + 1, rest + 1);
        end->used = rest;
    }
}

int main(void)
{
    static struct end end;
    struct ppn_failure failure;
    if (sodium_init() < 0 || os_loop_open(&end.loop, &failure) != PPN_OK)
        return 1;
    end.config = (struct wg_device_config){
        .interface = "ppn0", .context = &end, .on_ready = on_ready, .on_event = on_event};
    wg_key_pair(end.config.private_key, &end.own);
    struct wg_config config = {.self = end.own};
    wg_init(&end.wg, &config, os_now(end.loop), 1);
    os_timer_init(&end.timer, end.loop, on_timer, &end);
    os_io_init(&end.input, end.loop, STDIN_FILENO, on_input, &end);
    os_io_want(&end.input, OS_READABLE);
    os_loop_run(end.loop);
    os_io_stop(&end.input);
    os_timer_stop(&end.timer);
    wg_device_close(end.device, true);
    wg_free(&end.wg);
    os_loop_close(end.loop);
    return 0;
}
