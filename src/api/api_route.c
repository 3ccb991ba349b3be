// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>

#include "api/api_internal.h"
#include "base/assert.h"

/* Each backend function with its present-check and its call, in one of three shapes: without
 * arguments, or with arguments of a type. */
#define BARE(name)                                                                                 \
    static bool has_##name(const struct api_backend *backend)                                      \
    {                                                                                              \
        return backend->name != NULL;                                                              \
    }                                                                                              \
    static void call_##name(const struct api_backend *backend, struct api_request *request,        \
                            const void *arguments)                                                 \
    {                                                                                              \
        (void)arguments;                                                                           \
        backend->name(backend->context, request);                                                  \
    }
#define TYPED(name)                                                                                \
    static bool has_##name(const struct api_backend *backend)                                      \
    {                                                                                              \
        return backend->name != NULL;                                                              \
    }                                                                                              \
    static void call_##name(const struct api_backend *backend, struct api_request *request,        \
                            const void *arguments)                                                 \
    {                                                                                              \
        backend->name(backend->context, request, arguments);                                       \
    }

BARE(status)
BARE(nodes)
BARE(vms)
BARE(events)
BARE(joins)
BARE(leave)
BARE(rekey)
BARE(log_export)
BARE(images)
TYPED(run)
TYPED(placement)
TYPED(vm_stop)
TYPED(vm_kill)
TYPED(vm_start)
TYPED(vm_remove)
TYPED(vm_logs)
TYPED(vm_console)
TYPED(vm_channel)
TYPED(join_admit)
TYPED(join_deny)
TYPED(node_revoke)
TYPED(invite)
TYPED(node_cordon)
TYPED(node_uncordon)
TYPED(node_path)
TYPED(labels)
TYPED(log)
TYPED(log_submit)
TYPED(image_put)
TYPED(image_remove)
TYPED(image_fetch)

#define NOTHING        0, NULL, NULL
#define ARGS(type, fn) sizeof(struct type), fn, NULL
#define CALLS(name)    has_##name, call_##name
#define LOCAL          API_SCOPE_LOCAL
#define MEMBERS        API_SCOPE_MEMBERS
#define PLAIN          API_SHAPE_PLAIN, API_STREAM_QUEUE_MAX

/* method, path, from whom, shape, queue, query, body, arguments, backend. The first match wins. */
static const struct api_route routes[] = {
    {API_GET, "status", MEMBERS, PLAIN, "", false, NOTHING, CALLS(status)},
    {API_GET, "nodes", MEMBERS, PLAIN, "", false, NOTHING, CALLS(nodes)},
    {API_GET, "events", MEMBERS, API_SHAPE_PLAIN, API_EVENT_QUEUE_MAX, "", false, NOTHING,
     CALLS(events)},
    {API_GET, "vms", MEMBERS, PLAIN, "", false, NOTHING, CALLS(vms)},
    {API_POST, "vms", MEMBERS, PLAIN, "", true, sizeof(struct api_run), api_parse_run,
     api_run_release, CALLS(run)},
    {API_POST, "placement", MEMBERS, PLAIN, "", true, sizeof(struct api_run), api_parse_placement,
     api_run_release, CALLS(placement)},
    {API_POST, "vms/*/stop", MEMBERS, PLAIN, "", true, ARGS(api_stop, api_parse_stop),
     CALLS(vm_stop)},
    {API_POST, "vms/*/kill", MEMBERS, PLAIN, "", true, ARGS(api_vm_ref, api_parse_vm),
     CALLS(vm_kill)},
    {API_POST, "vms/*/start", MEMBERS, PLAIN, "", true, ARGS(api_vm_ref, api_parse_vm),
     CALLS(vm_start)},
    {API_DELETE, "vms/*", MEMBERS, PLAIN, "", false, ARGS(api_vm_ref, api_parse_vm),
     CALLS(vm_remove)},
    {API_GET, "vms/*/logs", MEMBERS, PLAIN, "follow tail", false, ARGS(api_logs, api_parse_logs),
     CALLS(vm_logs)},
    {API_GET, "vms/*/console", MEMBERS, API_SHAPE_CONSOLE, API_STREAM_QUEUE_MAX, "", false,
     ARGS(api_vm_ref, api_parse_vm), CALLS(vm_console)},
    {API_GET, "vms/*/channel", MEMBERS, API_SHAPE_CONSOLE, API_STREAM_QUEUE_MAX, "", false,
     ARGS(api_vm_ref, api_parse_vm), CALLS(vm_channel)},
    {API_GET, "joins", MEMBERS, PLAIN, "", false, NOTHING, CALLS(joins)},
    {API_POST, "joins/*/admit", LOCAL, PLAIN, "", true, ARGS(api_admit, api_parse_admit),
     CALLS(join_admit)},
    {API_POST, "joins/*/deny", LOCAL, PLAIN, "", true, ARGS(api_who, api_parse_who),
     CALLS(join_deny)},
    {API_POST, "nodes/*/revoke", LOCAL, PLAIN, "", true, ARGS(api_revoke, api_parse_revoke),
     CALLS(node_revoke)},
    {API_POST, "nodes/*/cordon", MEMBERS, PLAIN, "", true, ARGS(api_who, api_parse_who),
     CALLS(node_cordon)},
    {API_POST, "nodes/*/uncordon", MEMBERS, PLAIN, "", true, ARGS(api_who, api_parse_who),
     CALLS(node_uncordon)},
    {API_GET, "nodes/*/path", MEMBERS, PLAIN, "", false, ARGS(api_who, api_parse_who),
     CALLS(node_path)},
    {API_POST, "invites", LOCAL, PLAIN, "", true, ARGS(api_invite, api_parse_invite),
     CALLS(invite)},
    {API_PATCH, "labels", LOCAL, PLAIN, "", true, ARGS(api_labels, api_parse_labels),
     CALLS(labels)},
    {API_POST, "rekey", LOCAL, PLAIN, "", false, NOTHING, CALLS(rekey)},
    {API_POST, "leave", LOCAL, PLAIN, "", false, NOTHING, CALLS(leave)},
    {API_GET, "log", MEMBERS, PLAIN, "verify", false, ARGS(api_log_query, api_parse_log),
     CALLS(log)},
    {API_GET, "log/export", MEMBERS, PLAIN, "", false, NOTHING, CALLS(log_export)},
    {API_POST, "log/entries", MEMBERS, PLAIN, "", true, ARGS(api_entries, api_parse_entries),
     CALLS(log_submit)},
    {API_GET, "images", MEMBERS, PLAIN, "", false, NOTHING, CALLS(images)},
    {API_PUT, "images/*", LOCAL, API_SHAPE_UPLOAD, API_STREAM_QUEUE_MAX, "sha256", true,
     ARGS(api_image_put, api_parse_image_put), CALLS(image_put)},
    {API_DELETE, "images/*", LOCAL, PLAIN, "", false, ARGS(api_image_ref, api_parse_image),
     CALLS(image_remove)},
    {API_POST, "images/*/fetch", LOCAL, PLAIN, "", true, ARGS(api_image_ref, api_parse_image),
     CALLS(image_fetch)},
};

const struct api_route *api_routes(size_t *count)
{
    *count = sizeof(routes) / sizeof(routes[0]);
    return routes;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes %XX; false for bad ones, for what decodes to a control character, and when too long. */
static bool decode(const char *from, size_t size, char to[static API_SEGMENT_MAX + 1])
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = from[i];
        if (c == '%') {
            bool whole = size - i > 2;
            int high = whole ? hex_digit(from[i + 1]) : -1;
            int low = whole ? hex_digit(from[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (used == API_SEGMENT_MAX || (unsigned char)c < ' ' || c == 0x7f)
            return false;
        to[used++] = c;
    }
    to[used] = '\0';
    return true;
}

static bool query_known(const struct api_route *route, const char *key)
{
    size_t size = strlen(key);
    for (const char *at = route->query; *at != '\0';) {
        size_t word = strcspn(at, " ");
        if (word == size && memcmp(at, key, size) == 0)
            return true;
        at += word + (at[word] == ' ');
    }
    return false;
}

static enum ppn_error parse_query(const struct api_route *route, const char *text,
                                  struct api_query *query, struct ppn_failure *failure)
{
    query->count = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, "&");
        size_t key = 0;
        while (key < size && text[key] != '=')
            key++;
        size_t value = key < size ? key + 1 : size;
        if (query->count == API_QUERY_MAX || !decode(text, key, query->keys[query->count]) ||
            !decode(text + value, size - value, query->values[query->count]))
            return ppn_fail(failure, PPN_ERROR_INVALID, "the query after '?' is malformed");
        if (!query_known(route, query->keys[query->count]))
            return ppn_fail(failure, PPN_ERROR_INVALID, "parameter \"%s\" is not known here",
                            query->keys[query->count]);
        query->count++;
        text += size + (text[size] == '&');
    }
    return PPN_OK;
}

struct path {
    size_t count;
    const char *segments[API_SEGMENTS_MAX];
    size_t sizes[API_SEGMENTS_MAX];
};

/* Splits "/v1/a/b"; false when it is no such path. */
static bool split(const char *target, size_t size, struct path *path)
{
    static const char prefix[] = "/v1/";
    size_t at = sizeof(prefix) - 1;
    path->count = 0;
    if (size <= at || strncmp(target, prefix, at) != 0)
        return false;
    while (at <= size) {
        size_t length = 0;
        while (at + length < size && target[at + length] != '/')
            length++;
        if (path->count == API_SEGMENTS_MAX || length == 0)
            return false;
        path->segments[path->count] = target + at;
        path->sizes[path->count++] = length;
        at += length + 1;
    }
    return true;
}

/* On a match *star is the index of the segment that stood for '*', or count. */
static bool matches(const char *pattern, const struct path *path, size_t *star)
{
    *star = path->count;
    for (size_t i = 0; i < path->count; i++) {
        size_t size = strcspn(pattern, "/");
        if (size == 1 && pattern[0] == '*')
            *star = i;
        else if (size != path->sizes[i] || memcmp(pattern, path->segments[i], size) != 0)
            return false;
        pattern += size;
        if ((*pattern == '/') != (i + 1 < path->count))
            return false;
        pattern += *pattern == '/';
    }
    return *pattern == '\0';
}

const struct api_route *api_route_find(const struct api_question *question,
                                       char argument[static API_SEGMENT_MAX + 1],
                                       struct api_query *query, struct ppn_failure *failure)
{
    struct path path;
    size_t star = 0;
    size_t size = strcspn(question->target, "?");
    const char *rest = question->target + size + (question->target[size] == '?');
    bool other_method = false;
    argument[0] = '\0';
    bool is_path = split(question->target, size, &path);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]) && is_path; i++) {
        const struct api_route *route = &routes[i];
        if (!matches(route->pattern, &path, &star))
            continue;
        if (route->method != question->method) {
            other_method = true;
            continue;
        }
        if (star < path.count && !decode(path.segments[star], path.sizes[star], argument)) {
            (void)ppn_fail(failure, PPN_ERROR_INVALID, "the name in the path is malformed");
            return NULL;
        }
        return parse_query(route, rest, query, failure) == PPN_OK ? route : NULL;
    }
    if (other_method)
        (void)ppn_fail(failure, PPN_ERROR_INVALID, "this path does not take %s",
                       api_method_name(question->method));
    else
        (void)ppn_fail(failure, PPN_ERROR_NOT_FOUND,
                       "no such path; docs/openapi.yaml lists them, all below /v1/");
    return NULL;
}
