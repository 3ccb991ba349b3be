// SPDX-License-Identifier: ISC
#include "api/api_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/assert.h"

enum { LINE_MAX_BYTES = 1024 * 1024, TIMEOUT_SECONDS = 30, HEAD_MAX = 8192, URL_MAX = 2048 };

struct api_client {
    char *socket_path;
    unsigned timeout_seconds;
    CURL *idle; /* of the last call, with its connection; NULL: none, or a call uses it */
};

/* One call under way. */
struct transfer {
    const struct api_client_call *call;
    CURL *curl;
    struct api_queue text; /* the answer, or an unfinished line of it */
    uint64_t sent;
    enum ppn_error error; /* that a callback found */
    bool is_error;        /* the status is over 299: gather the text */
};

struct api_client *api_client_open(const char *socket_path)
{
    struct api_client *client = calloc(1, sizeof(*client));
    char *path = strdup(socket_path);
    if (client == NULL || path == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(client);
        free(path);
        return NULL;
    }
    client->socket_path = path;
    client->timeout_seconds = TIMEOUT_SECONDS;
    return client;
}

void api_client_close(struct api_client *client)
{
    if (client == NULL)
        return;
    curl_easy_cleanup(client->idle);
    free(client->socket_path);
    free(client);
    curl_global_cleanup();
}

void api_client_timeout(struct api_client *client, unsigned seconds)
{
    client->timeout_seconds = seconds;
}

enum ppn_error api_error_parse(const char *name)
{
    for (unsigned i = 0; name != NULL && i < PPN_ERROR_COUNT; i++) {
        if (strcmp(name, ppn_error_name((enum ppn_error)i)) == 0)
            return (enum ppn_error)i;
    }
    return PPN_ERROR_IO;
}

static bool give_lines(struct transfer *transfer)
{
    for (;;) {
        const uint8_t *start = transfer->text.data + transfer->text.head;
        const uint8_t *end =
            transfer->text.size > 0 ? memchr(start, '\n', transfer->text.size) : NULL;
        if (end == NULL)
            return transfer->text.size <= LINE_MAX_BYTES;
        size_t size = (size_t)(end - start);
        json_error_t why;
        json_t *line = json_loadb((const char *)start, size, 0, &why);
        if (line == NULL) {
            transfer->error = PPN_ERROR_INVALID;
            return false;
        }
        bool more = transfer->call->on_line(transfer->call->context, line, ppn_slice(start, size));
        json_decref(line);
        transfer->text.head += size + 1;
        transfer->text.size -= size + 1;
        if (!more) {
            transfer->error = PPN_ERROR_CANCELLED;
            return false;
        }
    }
}

static size_t on_data(char *bytes, size_t one, size_t count, void *context)
{
    struct transfer *transfer = context;
    long status = 0;
    size_t size = one * count;
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    transfer->is_error = status > 299;
    if (!transfer->is_error && transfer->call->on_bytes != NULL) {
        bool more = transfer->call->on_bytes(transfer->call->context, ppn_slice(bytes, size));
        if (!more)
            transfer->error = PPN_ERROR_CANCELLED;
        return more ? size : 0;
    }
    if (size > API_REPLY_MAX - transfer->text.size ||
        !api_queue_add(&transfer->text, bytes, size)) {
        transfer->error = PPN_ERROR_TOO_BIG;
        return 0;
    }
    if (!transfer->is_error && transfer->call->on_line != NULL && !give_lines(transfer))
        return 0;
    return size;
}

static size_t on_upload(char *bytes, size_t one, size_t count, void *context)
{
    struct transfer *transfer = context;
    ssize_t got;
    do
        got = read(transfer->call->upload_fd, bytes, one * count);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return CURL_READFUNC_ABORT;
    transfer->sent += (uint64_t)got;
    if (transfer->call->on_upload != NULL)
        transfer->call->on_upload(transfer->call->context, transfer->sent);
    return (size_t)got;
}

static int on_tick(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                   curl_off_t up)
{
    const struct api_client_call *call = context;
    (void)total;
    (void)now;
    (void)up_total;
    (void)up;
    call->on_tick(call->context);
    return 0;
}

static enum ppn_error no_daemon(const struct api_client *client, long number,
                                struct api_client_failure *failure)
{
    const char *path = client->socket_path;
    failure->no_daemon = true;
    if (number == EACCES || number == EPERM)
        return ppn_fail(&failure->failure, PPN_ERROR_PERMISSION,
                        "not allowed to open %s: run this with sudo, or join the group once with "
                        "\"sudo usermod -aG ppn $USER\" and log in again",
                        path);
    if (number == ENOENT)
        return ppn_fail(&failure->failure, PPN_ERROR_UNREACHABLE,
                        "ppn-node is not running (no socket %s): start it with \"sudo systemctl "
                        "start ppn-node\", or say --socket PATH",
                        path);
    return ppn_fail(&failure->failure, PPN_ERROR_UNREACHABLE,
                    "ppn-node does not answer on %s: look at \"systemctl status ppn-node\" and "
                    "start it with \"sudo systemctl start ppn-node\"",
                    path);
}

/* The error that the daemon told, or what is known without one. */
static enum ppn_error told(struct ppn_slice text, long status, struct api_client_failure *failure)
{
    json_error_t why;
    json_t *json = json_loadb((const char *)text.data, text.size, 0, &why);
    json_t *error = json_object_get(json, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    enum ppn_error code = api_error_parse(json_string_value(json_object_get(error, "code")));
    failure->status = (unsigned)status;
    if (code == PPN_OK)
        code = PPN_ERROR_IO;
    (void)ppn_fail(&failure->failure, code, "%s",
                   message != NULL ? message : "ppn-node answered with an error and no reason");
    json_decref(json);
    return code;
}

static enum ppn_error conclude(const struct api_client *client, struct transfer *transfer,
                               CURLcode result, struct api_client_failure *failure)
{
    long status = 0, number = 0;
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_OS_ERRNO, &number);
    if (status > 299)
        return told(ppn_slice(transfer->text.data + transfer->text.head, transfer->text.size),
                    status, failure);
    if (result == CURLE_OK)
        return PPN_OK;
    failure->status = (unsigned)status;
    if (transfer->error == PPN_ERROR_CANCELLED)
        return ppn_fail(&failure->failure, PPN_ERROR_CANCELLED, "cancelled");
    if (transfer->error != PPN_OK)
        return ppn_fail(&failure->failure, transfer->error,
                        "ppn-node's answer is not understood: do ppn and ppn-node have the same "
                        "version?");
    if (result == CURLE_COULDNT_CONNECT)
        return no_daemon(client, number, failure);
    if (result == CURLE_OPERATION_TIMEDOUT)
        return ppn_fail(&failure->failure, PPN_ERROR_TIMEOUT,
                        "no answer from ppn-node in %u seconds; look at \"ppn status\"",
                        client->timeout_seconds);
    return ppn_fail(&failure->failure, PPN_ERROR_CLOSED,
                    "the connection to ppn-node ended early: %s; is it being restarted?",
                    curl_easy_strerror(result));
}

static CURL *prepare(struct api_client *client, const char *target)
{
    char url[URL_MAX];
    CURL *curl = client->idle != NULL ? client->idle : curl_easy_init();
    int size = snprintf(url, sizeof(url), "http://localhost%s", target);
    if (curl == NULL || size < 0 || (size_t)size >= sizeof(url)) {
        if (curl != client->idle)
            curl_easy_cleanup(curl);
        return NULL;
    }
    client->idle = NULL;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)client->timeout_seconds);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "ppn/" PPN_VERSION);
    return curl;
}

static enum ppn_error out_of_memory(struct api_client_failure *failure)
{
    return ppn_fail(&failure->failure, PPN_ERROR_NO_MEMORY, "out of memory");
}

enum ppn_error api_client_do(struct api_client *client, const struct api_client_call *call,
                             char **text, struct api_client_failure *failure)
{
    enum ppn_error error;
    struct transfer transfer = {.call = call, .curl = prepare(client, call->target)};
    struct curl_slist *headers = NULL;
    char *body = NULL;
    *failure = (struct api_client_failure){0};
    if (transfer.curl == NULL)
        return out_of_memory(failure);
    curl_easy_setopt(transfer.curl, CURLOPT_CUSTOMREQUEST, api_method_name(call->method));
    curl_easy_setopt(transfer.curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(transfer.curl, CURLOPT_WRITEDATA, &transfer);
    if (call->on_tick != NULL) {
        curl_easy_setopt(transfer.curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(transfer.curl, CURLOPT_XFERINFOFUNCTION, on_tick);
        curl_easy_setopt(transfer.curl, CURLOPT_XFERINFODATA, call);
    }
    if (call->upload) {
        curl_easy_setopt(transfer.curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(transfer.curl, CURLOPT_READFUNCTION, on_upload);
        curl_easy_setopt(transfer.curl, CURLOPT_READDATA, &transfer);
        curl_easy_setopt(transfer.curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->upload_bytes);
        headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
    } else if (call->body != NULL) {
        body = json_dumps(call->body, JSON_COMPACT);
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(transfer.curl, CURLOPT_POSTFIELDS, body != NULL ? body : "");
    } else if (call->method == API_POST) {
        curl_easy_setopt(transfer.curl, CURLOPT_POSTFIELDS, "");
    }
    curl_easy_setopt(transfer.curl, CURLOPT_HTTPHEADER, headers);
    error = conclude(client, &transfer, curl_easy_perform(transfer.curl), failure);
    if (error == PPN_OK && text != NULL) {
        *text = api_queue_add(&transfer.text, "", 1)
                    ? strdup((const char *)transfer.text.data + transfer.text.head)
                    : NULL;
        if (*text == NULL)
            error = out_of_memory(failure);
    }
    curl_easy_setopt(transfer.curl, CURLOPT_HTTPHEADER, NULL);
    if (client->idle == NULL)
        client->idle = transfer.curl;
    else
        curl_easy_cleanup(transfer.curl);
    curl_slist_free_all(headers);
    free(body);
    api_queue_free(&transfer.text);
    return error;
}

/* ---- upgrade: curl connects, the few header lines are ours ---- */

static bool send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = write(fd, bytes, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Byte by byte up to the empty line, so that nothing of what follows is taken. */
static bool receive_head(int fd, char head[static HEAD_MAX])
{
    size_t size = 0;
    while (size < HEAD_MAX - 1) {
        ssize_t got = read(fd, head + size, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        size += (size_t)got;
        head[size] = '\0';
        if (size >= 4 && memcmp(head + size - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static enum ppn_error refused_upgrade(int fd, const char *head, struct api_client_failure *failure)
{
    char text[4096];
    size_t size = 0;
    const char *length = strcasestr(head, "\r\nContent-Length:");
    size_t wanted = length != NULL ? strtoul(length + 17, NULL, 10) : 0;
    while (size < wanted && size < sizeof(text)) {
        ssize_t got =
            read(fd, text + size,
                 wanted - size < sizeof(text) - size ? wanted - size : sizeof(text) - size);
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    return told(ppn_slice(text, size), strtol(head + 9, NULL, 10), failure);
}

enum ppn_error api_client_upgrade(struct api_client *client, const char *target, int *fd,
                                  struct api_client_failure *failure)
{
    char head[HEAD_MAX] = "";
    curl_socket_t active = CURL_SOCKET_BAD;
    long number = 0;
    enum ppn_error error = PPN_OK;
    *failure = (struct api_client_failure){0};
    CURL *curl = prepare(client, target);
    if (curl == NULL)
        return out_of_memory(failure);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    if (curl_easy_perform(curl) != CURLE_OK ||
        curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &active) != CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
        curl_easy_cleanup(curl);
        return no_daemon(client, number, failure);
    }
    *fd = fcntl(active, F_DUPFD_CLOEXEC, 3);
    curl_easy_cleanup(curl);
    if (*fd < 0)
        return out_of_memory(failure);
    (void)fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) & ~O_NONBLOCK);
    int size = snprintf(head, sizeof(head),
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                        "Upgrade: ppn-console\r\n\r\n",
                        target);
    if (size < 0 || (size_t)size >= sizeof(head) || !send_all(*fd, head, (size_t)size) ||
        !receive_head(*fd, head) || strncmp(head, "HTTP/1.1 ", 9) != 0)
        error = ppn_fail(&failure->failure, PPN_ERROR_CLOSED,
                         "the connection to ppn-node ended early; is it being restarted?");
    else if (strncmp(head + 9, "101", 3) != 0)
        error = refused_upgrade(*fd, head, failure);
    if (error != PPN_OK) {
        (void)close(*fd);
        *fd = -1;
    }
    return error;
}
