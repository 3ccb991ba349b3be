// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api_client.h"
#include "api/api_server.h"
#include "fake_daemon.h"

static struct fake_daemon daemon_;
static struct api_client *client;
static struct api_client_failure failure;

static void setup(void)
{
    fake_daemon_start(&daemon_);
    client = api_client_open(daemon_.socket);
}

static void teardown(void)
{
    api_client_close(client);
    cr_assert_eq(fake_daemon_stop(&daemon_), 0);
    cr_assert_neq(access(daemon_.socket, F_OK), 0, "the socket was left behind");
}

TestSuite(server, .init = setup, .fini = teardown, .timeout = 60);

static json_t *ask(enum api_method method, const char *target, json_t *body)
{
    struct api_client_call call = {.method = method, .target = target, .body = body};
    char *text = NULL;
    enum ppn_error error = api_client_do(client, &call, &text, &failure);
    json_decref(body);
    json_t *json = error == PPN_OK ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return json;
}

static long gone_count(void)
{
    json_t *json = ask(API_GET, "/v1/status", NULL);
    long count = (long)json_integer_value(json_object_get(json, "vms_here"));
    json_decref(json);
    return count;
}

Test(server, answers_lists)
{
    json_t *json = ask(API_GET, "/v1/nodes", NULL);
    cr_assert_eq(json_array_size(json_object_get(json, "nodes")), 2);
    json_decref(json);
    struct stat about;
    cr_assert_eq(stat(daemon_.socket, &about), 0);
    cr_assert_eq(about.st_mode & 07777, 0660);
}

Test(server, says_what_is_wrong)
{
    cr_assert_null(ask(API_GET, "/v1/nothing", NULL));
    cr_assert_eq(failure.status, 404);
    cr_assert_null(ask(API_DELETE, "/v1/nodes", NULL));
    cr_assert_eq(failure.status, 400);
    cr_assert_null(ask(API_PATCH, "/v1/labels", json_pack("{s:s}", "a", "b")));
    cr_assert_eq(failure.failure.code, PPN_ERROR_UNSUPPORTED);
    cr_assert_null(ask(API_POST, "/v1/vms", json_pack("{s:s}", "image", "debian-12")));
    cr_assert_not_null(strstr(failure.failure.text, "\"id\""));
    cr_assert_not(failure.no_daemon);
}

struct lines {
    unsigned progress, vms, others;
    unsigned stop_after;
};

static bool on_line(void *context, json_t *line, struct ppn_slice text)
{
    struct lines *lines = context;
    (void)text;
    if (json_object_get(line, "progress") != NULL)
        lines->progress++;
    else if (json_object_get(line, "vm") != NULL)
        lines->vms++;
    else
        lines->others++;
    return lines->progress + lines->vms + lines->others != lines->stop_after;
}

Test(server, streams_a_run)
{
    struct lines lines = {0};
    json_t *body =
        json_pack("{s:s,s:s}", "image", "debian-12", "id", "01900000-0000-7000-8000-000000000009");
    struct api_client_call call = {.method = API_POST,
                                   .target = "/v1/vms",
                                   .body = body,
                                   .context = &lines,
                                   .on_line = on_line};
    cr_assert_eq(api_client_do(client, &call, NULL, &failure), PPN_OK, "%s", failure.failure.text);
    cr_assert_eq(lines.progress, 2);
    cr_assert_eq(lines.vms, 1);
    json_decref(body);
}

Test(server, notices_that_a_listener_left)
{
    struct lines lines = {.stop_after = 2};
    struct api_client_call call = {
        .method = API_GET, .target = "/v1/events", .context = &lines, .on_line = on_line};
    cr_assert_eq(api_client_do(client, &call, NULL, &failure), PPN_ERROR_CANCELLED);
    cr_assert_eq(lines.vms, 1);
    cr_assert_eq(lines.others, 1, "synced");
    for (int i = 0; i < 1000 && gone_count() == 0; i++)
        ;
    cr_assert_eq(gone_count(), 1);
}

static bool on_bytes(void *context, struct ppn_slice bytes)
{
    *(size_t *)context += bytes.size;
    return true;
}

Test(server, long_logs_come_whole)
{
    size_t size = 0;
    struct api_client_call call = {
        .method = API_GET, .target = "/v1/vms/web/logs", .context = &size, .on_bytes = on_bytes};
    cr_assert_eq(api_client_do(client, &call, NULL, &failure), PPN_OK);
    cr_assert_eq(size, FAKE_LOG_BYTES);
}

static enum ppn_error upload(const char *target, size_t size, struct lines *lines)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/upload", daemon_.directory);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    (void)unlink(path);
    cr_assert_eq(ftruncate(fd, (off_t)size), 0);
    struct api_client_call call = {.method = API_PUT,
                                   .target = target,
                                   .upload = true,
                                   .upload_fd = fd,
                                   .upload_bytes = size,
                                   .context = lines,
                                   .on_line = on_line};
    enum ppn_error error = api_client_do(client, &call, NULL, &failure);
    (void)close(fd);
    return error;
}

Test(server, an_upload_that_pauses_arrives_whole)
{
    struct lines lines = {0};
    cr_assert_eq(upload("/v1/images/tiny", 2000000, &lines), PPN_OK, "%s", failure.failure.text);
    cr_assert_eq(lines.others, 1, "the image's line");
}

Test(server, a_refused_upload_hears_why)
{
    struct lines lines = {0};
    cr_assert_eq(upload("/v1/images/taken", 2000000, &lines), PPN_ERROR_EXISTS);
    cr_assert_eq(upload("/v1/images/taken", 1000, &lines), PPN_ERROR_EXISTS);
    cr_assert_eq(upload("/v1/images/tiny", 3, &lines), PPN_ERROR_INVALID);
    cr_assert_eq(upload("/v1/images/UPPER", 10, &lines), PPN_ERROR_INVALID);
}

Test(server, a_console_carries_both_ways)
{
    int fd = -1;
    char got[16] = "";
    cr_assert_eq(api_client_upgrade(client, "/v1/vms/web/console", &fd, &failure), PPN_OK, "%s",
                 failure.failure.text);
    cr_assert_eq(write(fd, "abcq", 4), 4);
    size_t size = 0;
    ssize_t n;
    while ((n = read(fd, got + size, sizeof(got) - 1 - size)) > 0)
        size += (size_t)n;
    cr_assert_str_eq(got, "ABCQ");
    (void)close(fd);
    cr_assert_eq(api_client_upgrade(client, "/v1/vms/none/console", &fd, &failure),
                 PPN_ERROR_NOT_FOUND);
    cr_assert_eq(api_client_upgrade(client, "/v1/vms/web/console", &fd, &failure), PPN_OK);
    (void)close(fd);
    for (int i = 0; i < 1000 && gone_count() == 0; i++)
        ;
    cr_assert_eq(gone_count(), 1, "a console left behind");
}

Test(server, a_console_open_at_the_end)
{
    int fd = -1;
    cr_assert_eq(api_client_upgrade(client, "/v1/vms/web/console", &fd, &failure), PPN_OK);
    (void)close(dup(fd)); /* stays open until the process ends: the daemon must still end */
}

/* One raw exchange, for what a proper client never sends. */
static void raw(const char *text, char *answer, size_t capacity)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)strcpy(to.sun_path, daemon_.socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    size_t size = 0;
    ssize_t n;
    while (size < capacity - 1 && (n = read(fd, answer + size, capacity - 1 - size)) > 0)
        size += (size_t)n;
    answer[size] = '\0';
    (void)close(fd);
}

Test(server, browsers_and_strangers_are_refused)
{
    static const char *const hostile[] = {
        "GET /v1/nodes HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\nOrigin: http://x\r\nConnection: "
        "close\r\n\r\n",
        "GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\nReferer: http://x\r\nConnection: "
        "close\r\n\r\n",
    };
    char answer[4096];
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        raw(hostile[i], answer, sizeof(answer));
        cr_assert_eq(strncmp(answer, "HTTP/1.1 403", 12), 0, "%s", answer);
    }
    raw("BREW /v1/nodes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", answer,
        sizeof(answer));
    cr_assert_eq(strncmp(answer, "HTTP/1.1 405", 12), 0, "%s", answer);
    raw("GET /v1/nodes HTTP/1.1\r\nHost: ppn\r\nConnection: close\r\n\r\n", answer, sizeof(answer));
    cr_assert_eq(strncmp(answer, "HTTP/1.1 200", 12), 0, "%s", answer);
}

Test(server, a_second_daemon_is_refused_and_a_stale_socket_replaced)
{
    struct os_loop *loop;
    struct api_server *server;
    struct api_backend backend = {0};
    struct ppn_failure why = {0};
    struct api_server_config config = {.path = daemon_.socket, .backend = &backend};
    cr_assert_eq(os_loop_open(&loop, &why), PPN_OK);
    cr_assert_eq(api_server_open(loop, &config, &server, &why), PPN_ERROR_EXISTS);
    cr_assert_null(server);

    char path[128];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(path, sizeof(path), "%s/stale", daemon_.directory);
    (void)strcpy(at.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    (void)close(fd);
    config.path = path;
    cr_assert_eq(api_server_open(loop, &config, &server, &why), PPN_OK, "%s", why.text);
    api_server_close(server);
    cr_assert_neq(access(path, F_OK), 0);
    os_loop_close(loop);
}

Test(client, says_that_no_daemon_is_there, .timeout = 20)
{
    struct api_client *alone = api_client_open("/nonexistent/ppn.sock");
    struct api_client_call call = {.method = API_GET, .target = "/v1/nodes"};
    cr_assert_eq(api_client_do(alone, &call, NULL, &failure), PPN_ERROR_UNREACHABLE);
    cr_assert(failure.no_daemon);
    cr_assert_not_null(strstr(failure.failure.text, "systemctl start ppn-node"));
    api_client_close(alone);
}
