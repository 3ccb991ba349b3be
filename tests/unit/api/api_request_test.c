// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "api/api_internal.h"
#include "fake_daemon.h"

/* A transport that only gathers. */
struct fake_transport {
    unsigned wakes, resumes;
};

static void on_wake(void *context, struct api_request *request)
{
    (void)request;
    ((struct fake_transport *)context)->wakes++;
}

static void on_resume(void *context, struct api_request *request)
{
    (void)request;
    ((struct fake_transport *)context)->resumes++;
}

static struct fake_transport fake;
static const struct api_transport transport = {&fake, on_wake, on_resume};

/* What the backend was asked last. */
static struct {
    struct api_request *request;
    struct api_run run;
    struct api_who who;
    struct api_vm_ref vm;
    struct api_labels labels;
    struct api_admit admit;
    unsigned calls, gone, writable;
} seen;

static void take_request(void *context, struct api_request *request)
{
    (void)context;
    seen.request = request;
    seen.calls++;
}

static void take_run(void *context, struct api_request *request, const struct api_run *run)
{
    seen.run = *run;
    take_request(context, request);
}

static void take_who(void *context, struct api_request *request, const struct api_who *who)
{
    seen.who = *who;
    take_request(context, request);
}

static void take_vm(void *context, struct api_request *request, const struct api_vm_ref *vm)
{
    seen.vm = *vm;
    take_request(context, request);
}

static void take_labels(void *context, struct api_request *request, const struct api_labels *labels)
{
    seen.labels = *labels;
    take_request(context, request);
}

static void take_admit(void *context, struct api_request *request, const struct api_admit *admit)
{
    seen.admit = *admit;
    take_request(context, request);
}

static const struct api_backend backend = {.nodes = take_request,
                                           .vms = take_request,
                                           .run = take_run,
                                           .events = take_request,
                                           .log_export = take_request,
                                           .vm_kill = take_vm,
                                           .vm_console = take_vm,
                                           .join_admit = take_admit,
                                           .join_deny = take_who,
                                           .node_path = take_who,
                                           .labels = take_labels};

static struct api_request *open_as(enum api_method method, const char *target, const char *body,
                                   bool local)
{
    struct api_request *request;
    struct api_question question = {.method = method,
                                    .target = target,
                                    .body_size = UINT64_MAX,
                                    .upgrade = true,
                                    .asker = {.local = local}};
    memset(&seen, 0, sizeof(seen));
    memset(&fake, 0, sizeof(fake));
    cr_assert_eq(api_request_open(&request, &backend, &transport, &question), PPN_OK);
    if (body != NULL)
        cr_assert_eq(api_request_feed(request, ppn_slice(body, strlen(body))), strlen(body));
    api_request_feed_end(request);
    return request;
}

/* The whole answer as text. */
static const char *answer_text(struct api_request *request, unsigned *status)
{
    static char text[64 * 1024];
    size_t used = 0, size;
    const struct api_answer *answer = api_request_answer(request);
    cr_assert_not_null(answer);
    *status = answer->status;
    while (api_request_pull(request, (uint8_t *)text + used, sizeof(text) - 1 - used, &size) ==
           API_PULL_BYTES)
        used += size;
    text[used] = '\0';
    return text;
}

static void expect_refusal(enum api_method method, const char *target, const char *body, bool local,
                           unsigned wanted, const char *words)
{
    unsigned status;
    struct api_request *request = open_as(method, target, body, local);
    const char *text = answer_text(request, &status);
    cr_expect_eq(status, wanted, "%s %s: %u %s", target, body ? body : "", status, text);
    cr_expect_not_null(strstr(text, words), "%s %s: %s", target, body ? body : "", text);
    cr_expect_eq(seen.calls, 0, "%s reached the backend", target);
    api_request_release(request);
}

Test(route, every_route_is_found_by_its_own_pattern)
{
    size_t count;
    const struct api_route *routes = api_routes(&count);
    for (size_t i = 0; i < count; i++) {
        char target[128] = "/v1/", argument[API_SEGMENT_MAX + 1];
        struct api_query query;
        struct ppn_failure failure;
        for (const char *c = routes[i].pattern; *c != '\0'; c++)
            strcat(target, *c == '*' ? "some-name" : (char[]){*c, '\0'});
        struct api_question question = {.method = routes[i].method, .target = target};
        cr_assert_eq(api_route_find(&question, argument, &query, &failure), &routes[i], "%s",
                     target);
    }
}

/* docs/openapi.yaml names every route, and none that does not exist. */
Test(route, the_api_file_is_complete)
{
    static char text[256 * 1024];
    size_t count, operations = 0;
    const struct api_route *routes = api_routes(&count);
    FILE *file = fopen(PPN_OPENAPI, "re");
    cr_assert_not_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    for (const char *at = text; (at = strstr(at, "operationId:")) != NULL; at++)
        operations++;
    cr_expect_eq(operations, count);
    for (size_t i = 0; i < count; i++) {
        char path[128] = "\n  /v1/";
        const char *pattern = routes[i].pattern;
        const char *name = strncmp(pattern, "vms", 3) == 0      ? "{vm}"
                           : strncmp(pattern, "images", 6) == 0 ? "{image}"
                                                                : "{who}";
        for (const char *c = pattern; *c != '\0'; c++)
            strcat(path, *c == '*' ? name : (char[]){*c, '\0'});
        strcat(path, ":\n");
        cr_expect_not_null(strstr(text, path), "%s", path);
    }
}

Test(route, refuses_odd_paths)
{
    static const char *const odd[] = {
        "",          "/",          "/v1",         "/v1/",
        "/v2/nodes", "/v1/nodes/", "/v1//nodes",  "/v1/nodes/a/b/c/d/e",
        "nodes",     "/v1/node",   "/v1/vms/a/b/"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        expect_refusal(API_GET, odd[i], NULL, true, 404, "not_found");
    expect_refusal(API_POST, "/v1/vms/%zz/kill", NULL, true, 400, "malformed");
    expect_refusal(API_POST, "/v1/vms/a%0/kill", NULL, true, 400, "malformed");
    expect_refusal(API_POST, "/v1/vms/a%00/kill", NULL, true, 400, "malformed");
    expect_refusal(API_POST, "/v1/vms/..%2f..%2fetc/kill", NULL, true, 400, "no name");
    expect_refusal(API_GET, "/v1/nodes?x=1", NULL, true, 400, "not known");
    expect_refusal(API_POST, "/v1/vms/Web/kill", NULL, true, 400, "no name");
    expect_refusal(API_GET, "/v1/nodes", "{}", true, 400, "takes no body");
}

Test(route, a_long_path_is_refused)
{
    char target[2 * API_TARGET_MAX];
    memset(target, 'a', sizeof(target));
    memcpy(target, "/v1/vms/", 8);
    target[sizeof(target) - 1] = '\0';
    expect_refusal(API_GET, target, NULL, true, 413, "over");
}

Test(route, members_get_no_say_in_admission)
{
    expect_refusal(API_POST, "/v1/joins/n9/deny", NULL, false, 403, "own socket");
    expect_refusal(API_PATCH, "/v1/labels", "{\"a\":\"b\"}", false, 403, "own socket");
    struct api_request *request = open_as(API_GET, "/v1/nodes", NULL, false);
    cr_assert_eq(seen.calls, 1);
    api_reply_done(request, NULL);
    api_request_release(request);
}

Test(route, what_the_node_lacks_is_said)
{
    expect_refusal(API_POST, "/v1/invites", "{}", true, 501, "unsupported");
}

#define ID "\"id\":\"01900000-0000-7000-8000-000000000009\""

Test(body, hostile_runs)
{
    static const char *const bodies[][2] = {
        {"", "\\\"id\\\" is missing"},
        {"{", "no valid JSON"},
        {"[]", "JSON object"},
        {"{" ID ",\"image\":\"a\",\"image\":\"b\"}", "no valid JSON"},
        {"{\"image\":\"a\"}", "\\\"id\\\" is missing"},
        {"{\"id\":\"zz\",\"image\":\"a\"}", "UUID"},
        {"{\"id\":\"00000000-0000-0000-0000-000000000000\",\"image\":\"a\"}", "UUID"},
        {"{" ID "}", "\\\"image\\\""},
        {"{" ID ",\"image\":\"../a\"}", "\\\"image\\\""},
        {"{" ID ",\"image\":7}", "must be a text"},
        {"{" ID ",\"image\":\"a\",\"name\":\"A b\"}", "\\\"name\\\""},
        {"{" ID ",\"image\":\"a\",\"memory_bytes\":-1}", "memory_bytes"},
        {"{" ID ",\"image\":\"a\",\"memory_bytes\":1e9}", "memory_bytes"},
        {"{" ID ",\"image\":\"a\",\"memory_bytes\":99999999999999999999}", "no valid JSON"},
        {"{" ID ",\"image\":\"a\",\"vcpus\":0}", "vcpus"},
        {"{" ID ",\"image\":\"a\",\"disk_bytes\":5}", "disk_bytes"},
        {"{" ID ",\"image\":\"a\",\"user\":\"Root\"}", "\\\"user\\\""},
        {"{" ID ",\"image\":\"a\",\"user\":\"a:b\"}", "\\\"user\\\""},
        {"{" ID ",\"image\":\"a\",\"ssh_keys\":[\"x\"]}", "ssh_keys"},
        {"{" ID ",\"image\":\"a\",\"ssh_keys\":[\"ssh-rsa AAAAAAAAAAAAAAAAAAAAAAA\\nx\"]}",
         "ssh_keys"},
        {"{" ID ",\"image\":\"a\",\"ssh_keys\":[1,2,3,4,5,6,7,8,9]}", "ssh_keys"},
        {"{" ID ",\"image\":\"a\",\"labels\":{\"a\":\"b c\"}}", "label"},
        {"{" ID ",\"image\":\"a\",\"labels\":[]}", "labels"},
        {"{" ID ",\"image\":\"a\",\"isolation_min\":\"high\"}", "isolation_min"},
        {"{" ID ",\"image\":\"a\",\"allow_emulation\":true,\"isolation_min\":\"kvm\"}",
         "contradict"},
        {"{" ID ",\"image\":\"a\",\"user_data\":\"x\",\"user_data_base64\":\"eA==\"}", "not both"},
        {"{" ID ",\"image\":\"a\",\"user_data_base64\":\"*\"}", "base64"},
        {"{" ID ",\"image\":\"a\",\"colour\":\"red\"}", "\\\"colour\\\" is not known"},
        {"{" ID ",\"image\":\"a\",\"name\":\"a\\u0000b\"}", "no valid JSON"},
        {"{\"a\":[[[[[[[[[[]]]]]]]]]]}", "nested"},
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        bool big = strcmp(bodies[i][1], "nested") == 0;
        expect_refusal(API_POST, "/v1/vms", bodies[i][0], true, big ? 413 : 400, bodies[i][1]);
    }
}

Test(body, a_body_over_the_limit_is_refused_before_it_is_kept)
{
    static char body[API_BODY_MAX + 2];
    memset(body, ' ', sizeof(body) - 1);
    expect_refusal(API_POST, "/v1/vms", body, true, 413, "256 KiB");
}

Test(body, a_run_is_read_whole)
{
    struct api_request *request =
        open_as(API_POST, "/v1/vms",
                "{" ID ",\"image\":\"debian-12.1\",\"memory_bytes\":536870912,\"vcpus\":2,"
                "\"labels\":{\"room\":\"attic\"},\"node\":\"n2\",\"fresh\":true,"
                "\"ssh_keys\":[\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI "
                "me\"],\"user_data_base64\":\"eA==\"}",
                true);
    const struct ppn_machine_spec *spec = &seen.run.spec;
    cr_assert_eq(seen.calls, 1);
    cr_assert_eq(spec->id.bytes[15], 9);
    cr_assert_str_eq(spec->demand.image, "debian-12.1");
    cr_assert_eq(strncmp(spec->name, "debian-12-1-", 12), 0, "%s", spec->name);
    cr_assert_eq(spec->demand.memory_bytes, 536870912);
    cr_assert_eq(spec->demand.vcpus, 2);
    cr_assert_str_eq(spec->demand.node, "n2");
    cr_assert_str_eq(spec->demand.labels[0].value, "attic");
    cr_assert_eq(spec->ssh_key_count, 1);
    cr_assert_str_eq(spec->user, "ppn");
    cr_assert_eq(spec->user_data_size, 1);
    cr_assert_eq(spec->user_data[0], 'x');
    cr_assert(spec->demand.kvm_required && seen.run.fresh && !seen.run.wait_ready);
    cr_assert_eq(spec->demand.isolation_min, PPN_ISOLATION_KVM);
    api_stream_vm(request, fake_vm());
    api_request_release(request);
}

Test(body, who_is_name_fingerprint_or_id)
{
    char id[2 * PPN_ID_SIZE + 1], target[160];
    memset(id, 'b', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    (void)snprintf(target, sizeof(target), "/v1/nodes/%s/path", id);
    const struct {
        const char *target;
        enum api_who_kind kind;
    } cases[] = {{"/v1/nodes/n1/path", API_WHO_NAME},
                 {"/v1/nodes/0a1b-2c3d-4e5f-6789/path", API_WHO_FINGERPRINT},
                 {target, API_WHO_ID}};
    for (size_t i = 0; i < 3; i++) {
        struct api_request *request = open_as(API_GET, cases[i].target, NULL, true);
        cr_assert_eq(seen.who.kind, cases[i].kind);
        api_reply_done(request, NULL);
        api_request_release(request);
    }
    cr_assert_eq(seen.who.id.bytes[31], 0xbb);
}

Test(body, labels_set_and_remove)
{
    struct api_request *request =
        open_as(API_PATCH, "/v1/labels", "{\"room\":\"attic\",\"old\":null}", true);
    cr_assert_eq(seen.labels.change_count, 2);
    cr_assert_eq(seen.labels.changes[0].remove + seen.labels.changes[1].remove, 1);
    api_reply_done(request, NULL);
    api_request_release(request);
}

Test(body, an_admission_with_role_lease_and_labels)
{
    struct api_request *request = open_as(
        API_POST, "/v1/joins/n9/admit",
        "{\"role\":\"relay\",\"lease_seconds\":2592000,\"labels\":{\"room\":\"attic\"}}", true);
    cr_assert_eq(seen.calls, 1);
    cr_expect_str_eq(seen.admit.who.text, "n9");
    cr_expect(seen.admit.relay);
    cr_expect_eq(seen.admit.lease_seconds, 2592000);
    cr_expect_str_eq(seen.admit.labels[0].value, "attic");
    api_reply_done(request, NULL);
    api_request_release(request);
    request = open_as(API_POST, "/v1/joins/n9/admit", "{}", true);
    cr_expect_eq(seen.admit.lease_seconds, 0, "for ever unless said");
    api_reply_done(request, NULL);
    api_request_release(request);
    expect_refusal(API_POST, "/v1/joins/n9/admit", "{\"lease_seconds\":0}", true, 400,
                   "lease_seconds");
    expect_refusal(API_POST, "/v1/joins/n9/admit", "{\"lease_seconds\":315360001}", true, 400,
                   "lease_seconds");
    expect_refusal(API_POST, "/v1/joins/n9/admit", "{}", false, 403, "own socket");
}

static void on_writable(void *context, struct api_request *request)
{
    (void)context;
    (void)request;
    seen.writable++;
}

static void on_gone(void *context, struct api_request *request)
{
    (void)context;
    (void)request;
    seen.gone++;
}

Test(stream, a_full_queue_pushes_back)
{
    static uint8_t block[API_STREAM_QUEUE_MAX / 4];
    uint8_t out[API_STREAM_QUEUE_MAX];
    size_t size;
    struct api_watch watch = {.writable = on_writable, .gone = on_gone};
    struct api_request *request = open_as(API_GET, "/v1/log/export", NULL, true);
    api_request_watch(request, &watch);
    api_stream_begin(request, API_STREAM_BYTES);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(api_stream_bytes(request, ppn_slice(block, sizeof(block))), PPN_OK);
    cr_assert_eq(api_stream_bytes(request, ppn_slice(block, 1)), PPN_ERROR_FULL);
    cr_assert_eq(api_stream_room(request), 0);
    cr_assert_eq(api_request_pull(request, out, sizeof(block), &size), API_PULL_BYTES);
    cr_assert_eq(seen.writable, 0, "not before half of it is free");
    cr_assert_eq(api_request_pull(request, out, sizeof(block), &size), API_PULL_BYTES);
    cr_assert_eq(seen.writable, 1);
    api_stream_end(request);
    cr_assert_eq(api_request_pull(request, out, sizeof(out), &size), API_PULL_BYTES);
    cr_assert_eq(size, 2 * sizeof(block));
    cr_assert_eq(api_request_pull(request, out, sizeof(out), &size), API_PULL_END);
    api_request_release(request);
    cr_assert_eq(seen.gone, 0);
}

Test(stream, an_asker_who_leaves_is_told_of)
{
    struct api_watch watch = {.gone = on_gone};
    struct api_request *request = open_as(API_GET, "/v1/events", NULL, true);
    api_request_watch(request, &watch);
    api_request_release(request);
    cr_assert_eq(seen.gone, 1);
}

Test(stream, an_unwatched_request_outlives_its_asker)
{
    struct api_request *request = open_as(API_GET, "/v1/nodes", NULL, true);
    api_request_release(request);
    fake_nodes(request); /* to nobody; frees it (the address sanitizer looks) */
}

Test(stream, a_listener_far_behind_is_let_go)
{
    struct api_watch watch = {.gone = on_gone};
    struct api_event event = {.type = API_EVENT_VM_UPDATED, .vm = fake_vm()};
    struct api_request *request = open_as(API_GET, "/v1/events", NULL, true);
    size_t sent = 0, size = 0, tail = 0;
    static uint8_t out[1024 * 1024];
    char last[64] = "";
    api_request_watch(request, &watch);
    while (api_stream_event(request, &event) == PPN_OK)
        sent++;
    cr_assert_gt(sent, 1000);
    while (api_request_pull(request, out, sizeof(out), &size) == API_PULL_BYTES) {
        tail = size < sizeof(last) - 1 ? size : sizeof(last) - 1;
        memcpy(last, out + size - tail, tail);
        last[tail] = '\0';
    }
    cr_assert_not_null(strstr(last, "{\"type\":\"overrun\"}\n"));
    api_request_release(request);
    cr_assert_eq(seen.gone, 0);
}

Test(stream, a_failure_within_a_stream_is_its_last_line)
{
    unsigned status;
    struct api_progress progress = {.stage = "placing", .percent = -1};
    struct api_request *request =
        open_as(API_POST, "/v1/vms", "{" ID ",\"image\":\"debian-12\"}", true);
    api_stream_progress(request, &progress);
    api_reply_error(request, PPN_ERROR_NO_SPACE, "full");
    cr_assert_str_eq(answer_text(request, &status),
                     "{\"progress\":{\"stage\":\"placing\"}}\n"
                     "{\"error\":{\"code\":\"no_space\",\"message\":\"full\"}}\n");
    cr_assert_eq(status, 200);
    api_request_release(request);
}

Test(stream, another_nodes_answer_is_passed_on)
{
    unsigned status;
    struct api_request *request = open_as(API_POST, "/v1/vms/web/kill", NULL, true);
    cr_assert_str_eq(api_request_target(request), "/v1/vms/web/kill");
    api_relay_head(request, 409, "application/json");
    cr_assert_eq(api_stream_bytes(request, ppn_slice("{}", 2)), PPN_OK);
    api_stream_end(request);
    cr_assert_str_eq(answer_text(request, &status), "{}");
    cr_assert_eq(status, 409);
    api_request_release(request);
}

Test(stream, another_nodes_nonsense_is_no_bug_of_ours)
{
    unsigned status;
    struct api_request *request = open_as(API_POST, "/v1/vms/web/kill", NULL, true);
    api_relay_head(request, 101, NULL);
    api_relay_head(request, 200, "text/html");
    api_reply_error(request, PPN_ERROR_CLOSED, "gone");
    cr_assert_str_eq(answer_text(request, &status), "");
    cr_assert_eq(status, 502);
    cr_assert(api_request_failed(request));
    api_request_release(request);
    request = open_as(API_POST, "/v1/vms/web/kill", NULL, true);
    api_stream_end(request);
    cr_assert_not_null(strstr(answer_text(request, &status), "\"closed\""));
    api_request_release(request);
}

Test(stream, tables_of_requests_are_bounded)
{
    static struct api_request *all[API_REQUESTS_MAX];
    struct api_request *more;
    struct api_question question = {.method = API_GET, .target = "/v1/events"};
    question.asker.local = true;
    for (size_t i = 0; i < API_REQUESTS_MAX; i++)
        cr_assert_eq(api_request_open(&all[i], &backend, &transport, &question), PPN_OK);
    cr_assert_eq(api_request_open(&more, &backend, &transport, &question), PPN_ERROR_FULL);
    for (size_t i = 0; i < API_REQUESTS_MAX; i++)
        api_request_release(all[i]);
}

/* The shapes that other programs rely on, to the byte. */
Test(golden, nodes)
{
    unsigned status;
    struct api_request *request = open_as(API_GET, "/v1/nodes", NULL, true);
    fake_nodes(request);
    cr_assert_str_eq(
        answer_text(request, &status),
        "{\"schema\":1,\"nodes\":[{\"id\":\"0100000000000000000000000000000000000000000000000000"
        "000000000000\",\"name\":\"n1\",\"fingerprint\":\"0100-0000-0000-0000\",\"address\":"
        "\"fd01:203:405::1\",\"state\":\"alive\",\"incarnation\":7,\"self\":true,\"relay\":false,"
        "\"arch\":\"x86_64\",\"version\":\"0.1.0\",\"cpus\":4,\"memory_total_bytes\":8589934592,"
        "\"disk_total_bytes\":107374182400,\"kvm\":\"boots\",\"isolation_max\":\"kvm+sandbox\","
        "\"link\":\"cable\",\"cordoned\":false,\"memory_free_bytes\":5368709120,"
        "\"memory_available_bytes\":6442450944,\"memory_reserved_bytes\":1073741824,"
        "\"disk_free_bytes\":53687091200,\"vcpus_reserved\":1,\"load_per_mille\":250,"
        "\"vm_count\":1,\"power\":\"mains\",\"lid_closed\":false,\"throttled\":false,"
        "\"labels\":{\"room\":\"attic\"}},\n"
        "{\"id\":\"0200000000000000000000000000000000000000000000000000000000000000\",\"name\":"
        "\"n2\",\"fingerprint\":\"0200-0000-0000-0000\",\"state\":\"suspect\",\"state_detail\":"
        "\"daemon gone, machine reachable\",\"incarnation\":3,\"self\":false,\"relay\":false,"
        "\"cpus\":0,\"memory_total_bytes\":0,\"disk_total_bytes\":0,\"kvm\":\"none\","
        "\"isolation_max\":\"tcg\",\"link\":\"unknown\",\"cordoned\":false,"
        "\"memory_free_bytes\":0,\"labels\":{},\"seen_ms_ago\":2500,\"round_trip_us\":900,"
        "\"path\":\"direct\"}]}\n");
    api_request_release(request);
}

Test(golden, vms)
{
    unsigned status;
    struct api_request *request = open_as(API_GET, "/v1/vms", NULL, true);
    fake_vms(request);
    cr_assert_str_eq(
        answer_text(request, &status),
        "{\"schema\":1,\"vms\":[{\"id\":\"01900000-0000-7000-8000-000000000009\",\"name\":"
        "\"web\",\"node\":\"n1\",\"node_id\":\"01000000000000000000000000000000000000000000000000"
        "00000000000000\",\"state\":\"running\",\"ready\":true,\"request_id\":"
        "\"01900000-0000-7000-8000-000000000009\",\"image\":\"debian-12\",\"memory_bytes\":"
        "1073741824,\"disk_bytes\":2147483648,\"vcpus\":1,\"isolation\":\"kvm+sandbox\","
        "\"created_unix_ms\":1700000000000}]}\n");
    api_request_release(request);
}

Test(golden, events)
{
    unsigned status;
    struct api_watch watch = {.gone = on_gone};
    struct api_event event = {.type = API_EVENT_SYNCED, .time_monotonic_ns = 5, .time_unix_ms = 6};
    struct api_request *request = open_as(API_GET, "/v1/events", NULL, true);
    api_request_watch(request, &watch);
    cr_assert_eq(api_stream_event(request, &event), PPN_OK);
    api_stream_end(request);
    cr_assert_str_eq(answer_text(request, &status),
                     "{\"type\":\"synced\",\"time_monotonic_ns\":5,\"time_unix_ms\":6}\n");
    api_request_release(request);
}
