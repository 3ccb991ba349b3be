// SPDX-License-Identifier: ISC
#include "os/os_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool os_endpoint_equal(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof a->address) == 0;
}

bool os_endpoint_is_ipv4(const struct ppn_endpoint *endpoint)
{
    return memcmp(endpoint->address, mapped_prefix, sizeof mapped_prefix) == 0;
}

void os_address_text(const uint8_t address[static 16], char text[static OS_ENDPOINT_TEXT])
{
    bool ipv4 = memcmp(address, mapped_prefix, sizeof mapped_prefix) == 0;
    const char *result = ipv4 ? inet_ntop(AF_INET, address + 12, text, OS_ENDPOINT_TEXT)
                              : inet_ntop(AF_INET6, address, text, OS_ENDPOINT_TEXT);
    PPN_ASSERT(result != NULL);
}

void os_endpoint_text(const struct ppn_endpoint *endpoint, char text[static OS_ENDPOINT_TEXT])
{
    char address[OS_ENDPOINT_TEXT];
    os_address_text(endpoint->address, address);
    int size =
        snprintf(text, OS_ENDPOINT_TEXT, os_endpoint_is_ipv4(endpoint) ? "%.45s:%u" : "[%.45s]:%u",
                 address, endpoint->port);
    PPN_ASSERT(size > 0 && size < OS_ENDPOINT_TEXT);
}

static enum ppn_error parse_port(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    size_t length = strlen(text);
    if (length == 0 || length > 5)
        return PPN_ERROR_INVALID;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9')
            return PPN_ERROR_INVALID;
        value = value * 10 + (uint32_t)(*c - '0');
    }
    if (value > UINT16_MAX)
        return PPN_ERROR_INVALID;
    *port = (uint16_t)value;
    return PPN_OK;
}

enum ppn_error os_host_split(const char *text, uint16_t default_port, char *host, uint16_t *port)
{
    const char *start = text, *end, *colon;
    *port = default_port;
    host[0] = 0;
    if (text[0] == '[') {
        start++;
        end = strchr(text, ']');
        if (!end || (end[1] != 0 && end[1] != ':'))
            return PPN_ERROR_INVALID;
        colon = end[1] ? end + 1 : NULL;
    } else {
        colon = strchr(text, ':');
        if (colon && strchr(colon + 1, ':'))
            colon = NULL; /* a bare IPv6 address */
        end = colon ? colon : text + strlen(text);
    }
    size_t length = (size_t)(end - start);
    if (length > OS_HOST_MAX || (colon && parse_port(colon + 1, port) != PPN_OK))
        return PPN_ERROR_INVALID;
    memcpy(host, start, length);
    host[length] = 0;
    return PPN_OK;
}

static bool parse_address(const char *text, uint8_t address[static 16])
{
    struct in_addr ipv4;
    if (inet_pton(AF_INET6, text, address) == 1)
        return true;
    if (inet_pton(AF_INET, text, &ipv4) != 1)
        return false;
    memcpy(address, mapped_prefix, sizeof mapped_prefix);
    memcpy(address + 12, &ipv4, sizeof ipv4);
    return true;
}

enum ppn_error os_endpoint_parse(const char *text, uint16_t default_port,
                                 struct ppn_endpoint *endpoint)
{
    char host[OS_HOST_MAX + 1];
    *endpoint = (struct ppn_endpoint){0};
    if (parse_port(text, &endpoint->port) == PPN_OK)
        return PPN_OK;
    enum ppn_error error = os_host_split(text, default_port, host, &endpoint->port);
    if (error != PPN_OK)
        return error;
    if (host[0] == 0)
        return text[0] == ':' ? PPN_OK : PPN_ERROR_INVALID;
    return parse_address(host, endpoint->address) ? PPN_OK : PPN_ERROR_INVALID;
}

socklen_t os_endpoint_to_sockaddr(const struct ppn_endpoint *endpoint, int family,
                                  struct sockaddr_storage *address)
{
    PPN_ASSERT(family == AF_INET || family == AF_INET6);
    memset(address, 0, sizeof *address);
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)address;
        in->sin_family = AF_INET;
        in->sin_port = htons(endpoint->port);
        memcpy(&in->sin_addr, endpoint->address + 12, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(endpoint->port);
    memcpy(&in6->sin6_addr, endpoint->address, 16);
    return sizeof *in6;
}

bool os_endpoint_from_sockaddr(const struct sockaddr_storage *address,
                               struct ppn_endpoint *endpoint)
{
    *endpoint = (struct ppn_endpoint){0};
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        memcpy(endpoint->address, mapped_prefix, sizeof mapped_prefix);
        memcpy(endpoint->address + 12, &in->sin_addr, 4);
        endpoint->port = ntohs(in->sin_port);
        return true;
    }
    if (address->ss_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    memcpy(endpoint->address, &in6->sin6_addr, 16);
    endpoint->port = ntohs(in6->sin6_port);
    return true;
}

struct resolve {
    char host[OS_HOST_MAX + 1];
    uint16_t port;
    os_resolve_fn *done;
    void *context;
    enum ppn_error error;
    uint32_t count;
    struct ppn_endpoint endpoints[OS_RESOLVED_MAX];
};

static void resolve_work(void *context)
{
    struct resolve *resolve = context;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_family = AF_UNSPEC}, *list = NULL;
    int result = getaddrinfo(resolve->host, NULL, &hints, &list);
    if (result != 0) {
        resolve->error = result == EAI_AGAIN ? PPN_ERROR_TIMEOUT : PPN_ERROR_NOT_FOUND;
        return;
    }
    for (struct addrinfo *i = list; i && resolve->count < OS_RESOLVED_MAX; i = i->ai_next) {
        struct sockaddr_storage address = {0};
        struct ppn_endpoint *endpoint = &resolve->endpoints[resolve->count];
        if (i->ai_addrlen > sizeof address)
            continue;
        memcpy(&address, i->ai_addr, i->ai_addrlen);
        if (!os_endpoint_from_sockaddr(&address, endpoint))
            continue;
        endpoint->port = resolve->port;
        resolve->count++;
    }
    freeaddrinfo(list);
    resolve->error = resolve->count > 0 ? PPN_OK : PPN_ERROR_NOT_FOUND;
}

static void resolve_done(void *context, bool cancelled)
{
    struct resolve *resolve = context;
    enum ppn_error error = cancelled ? PPN_ERROR_CANCELLED : resolve->error;
    resolve->done(resolve->context, error, resolve->endpoints,
                  error == PPN_OK ? resolve->count : 0);
    free(resolve);
}

enum ppn_error os_resolve(struct os_worker *worker, const char *host, uint16_t port,
                          os_resolve_fn *done, void *context)
{
    PPN_ASSERT(done != NULL);
    if (strlen(host) > OS_HOST_MAX)
        return PPN_ERROR_TOO_BIG;
    struct resolve *resolve = calloc(1, sizeof *resolve);
    if (!resolve)
        return PPN_ERROR_NO_MEMORY;
    memcpy(resolve->host, host, strlen(host) + 1);
    resolve->port = port;
    resolve->done = done;
    resolve->context = context;
    enum ppn_error error = os_worker_submit(worker, resolve_work, resolve_done, resolve);
    if (error != PPN_OK)
        free(resolve);
    return error;
}
