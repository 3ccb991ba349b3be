// SPDX-License-Identifier: ISC
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os_address.h"
#include "os/os_frames.h"
#include "os_test.h"

/* One end of a connection, and what it saw. */
struct end {
    struct os_frames *frames;
    struct os_stream *stream;
    struct os_listener *listener; /* the side that accepts */
    bool connected, closed, drained, finished, got;
    bool pause_at_frame, close_at_frame, farewell_at_frame;
    uint32_t frame_max;
    enum ppn_error reason;
    char text[160];
    uint32_t frame_count, wanted;
    size_t bytes;
    uint64_t sum;
    struct ppn_duration idle;
};

static void on_connect(void *context)
{
    ((struct end *)context)->connected = true;
}

static void on_frame(void *context, struct ppn_slice payload)
{
    struct end *end = context;
    end->frame_count++;
    end->bytes += payload.size;
    for (size_t i = 0; i < payload.size; i++)
        end->sum += payload.data[i];
    end->got = end->frame_count >= end->wanted;
    if (end->pause_at_frame)
        os_frames_pause(end->frames);
    if (end->close_at_frame)
        os_frames_close(end->frames);
    if (end->farewell_at_frame) {
        cr_assert_eq(os_frames_send(end->frames, ppn_slice("bye", 3)), PPN_OK);
        os_frames_close_after_write(end->frames);
    }
    if (end->close_at_frame || end->farewell_at_frame)
        end->frames = NULL;
}

static void on_drain(void *context)
{
    ((struct end *)context)->drained = true;
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct end *end = context;
    cr_assert(!end->closed, "told twice");
    end->closed = true;
    end->reason = reason;
    end->frames = NULL;
    end->stream = NULL;
    snprintf(end->text, sizeof end->text, "%s", text);
}

static const struct os_frames_handler frames_handler = {on_connect, on_frame, on_drain, on_close};

static struct rig rig;

static void on_accept(void *context, int fd, const struct ppn_endpoint *from)
{
    struct end *end = context;
    struct os_frames_config config = {.handler = &frames_handler,
                                      .context = end,
                                      .idle_timeout = end->idle,
                                      .frame_max = end->frame_max};
    cr_assert_neq(from->port, 0);
    cr_assert_eq(os_frames_adopt(rig.loop, fd, &config, &end->frames, NULL), PPN_OK);
    end->connected = true;
}

static struct ppn_endpoint listen_as(struct end *end, os_accept_fn *accept, uint32_t max)
{
    struct ppn_failure failure;
    struct os_listener_config config = {
        .connections_max = max, .on_accept = accept, .context = end};
    cr_assert_eq(os_endpoint_parse("127.0.0.1", 0, &config.bind), PPN_OK);
    cr_assert_eq(os_listener_open(rig.loop, &config, &end->listener, &failure), PPN_OK, "%s",
                 failure.text);
    return os_listener_local(end->listener);
}

static void connect_as(struct end *end, struct ppn_endpoint to)
{
    struct ppn_failure failure;
    struct os_stream_target target = {.to = to};
    struct os_frames_config config = {.handler = &frames_handler, .context = end};
    cr_assert_eq(os_frames_connect(rig.loop, &target, &config, &end->frames, &failure), PPN_OK,
                 "%s", failure.text);
}

/* A plain blocking socket: the peer that keeps no rules. */
static int connect_raw(struct ppn_endpoint to)
{
    struct sockaddr_storage address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = os_endpoint_to_sockaddr(&to, AF_INET, &address);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, size), 0);
    return fd;
}

static void start(void)
{
    rig_open(&rig);
}

static void stop(void)
{
    rig_close(&rig);
}

TestSuite(stream, .init = start, .fini = stop);

static void close_end(struct end *end)
{
    os_frames_close(end->frames);
    os_listener_close(end->listener);
}

Test(stream, frames_of_all_sizes_pass_in_order)
{
    struct end server = {0}, client = {0};
    static uint8_t bytes[PPN_FRAME_MAX];
    static const size_t sizes[] = {1, 2, 1000, 65536, PPN_FRAME_MAX - 1, PPN_FRAME_MAX};
    connect_as(&client, listen_as(&server, on_accept, 1));
    memset(bytes, 1, sizeof bytes);
    size_t total = 0;
    server.wanted = 6;
    for (int i = 0; i < 6; i++) {
        total += sizes[i];
        cr_assert_eq(os_frames_send(client.frames, ppn_slice(bytes, sizes[i])), PPN_OK,
                     "before it is connected, too");
    }
    rig_until(&rig, &server.got);
    cr_assert(client.connected);
    cr_assert_eq(server.bytes, total);
    cr_assert_eq(server.sum, total);
    cr_assert_eq(os_frames_send(client.frames, ppn_slice(bytes, sizeof bytes + 1)),
                 PPN_ERROR_TOO_BIG);
    close_end(&client);
    rig_until(&rig, &server.closed);
    cr_assert_eq(server.reason, PPN_ERROR_CLOSED);
    close_end(&server);
}

Test(stream, a_slow_reader_makes_the_queue_full_and_drains_it)
{
    struct end server = {.pause_at_frame = true, .wanted = 1}, client = {0};
    static uint8_t bytes[PPN_FRAME_MAX];
    connect_as(&client, listen_as(&server, on_accept, 1));
    cr_assert_eq(os_frames_send(client.frames, ppn_slice(bytes, sizeof bytes)), PPN_OK);
    rig_until(&rig, &server.got); /* and now it is paused */
    uint32_t sent = 1;
    enum ppn_error error = PPN_OK;
    while (error == PPN_OK) {
        error = os_frames_send(client.frames, ppn_slice(bytes, sizeof bytes));
        sent += error == PPN_OK;
        cr_assert_lt(sent, 200, "the queue has a bound");
    }
    cr_assert_eq(error, PPN_ERROR_FULL);
    cr_assert(os_frames_congested(client.frames));
    cr_assert_leq(server.frame_count, 1);
    server.pause_at_frame = false;
    server.got = false;
    server.wanted = sent;
    os_frames_resume(server.frames);
    rig_until(&rig, &server.got);
    rig_until(&rig, &client.drained);
    cr_assert(!os_frames_congested(client.frames));
    cr_assert_eq(server.bytes, (size_t)sent * PPN_FRAME_MAX);
    close_end(&client);
    close_end(&server);
}

Test(stream, pausing_in_a_frame_keeps_the_next_ones)
{
    struct end server = {.pause_at_frame = true, .wanted = 1}, client = {0};
    connect_as(&client, listen_as(&server, on_accept, 1));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(os_frames_send(client.frames, ppn_slice("abc", 3)), PPN_OK);
    for (uint32_t i = 1; i <= 3; i++) {
        server.got = false;
        server.wanted = i;
        rig_until(&rig, &server.got);
        cr_assert_eq(server.frame_count, i);
        os_frames_resume(server.frames);
    }
    close_end(&client);
    close_end(&server);
}

Test(stream, a_frame_one_byte_at_a_time)
{
    struct end server = {.wanted = 2};
    int fd = connect_raw(listen_as(&server, on_accept, 1));
    static const uint8_t bytes[] = {0, 0, 0, 2, 'h', 'i', 0, 0, 0, 1, 'x'};
    for (size_t i = 0; i < sizeof bytes; i++) {
        cr_assert_eq(write(fd, bytes + i, 1), 1);
        os_loop_turn(rig.loop);
    }
    rig_until(&rig, &server.got);
    cr_assert_eq(server.bytes, 3);
    close(fd);
    close_end(&server);
}

static void garbage(const void *bytes, size_t size, enum ppn_error reason)
{
    struct end server = {.frame_max = 1000};
    int fd = connect_raw(listen_as(&server, on_accept, 1));
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    rig_until(&rig, &server.closed);
    cr_assert_eq(server.reason, reason, "%s", server.text);
    cr_assert_eq(server.frame_count, 0);
    close(fd);
    close_end(&server);
}

Test(stream, garbage_ends_the_connection)
{
    garbage("GET / HTTP/1.1\r\n", 16, PPN_ERROR_TOO_BIG);
    garbage("\0\0\0\0", 4, PPN_ERROR_INVALID);
    garbage("\xff\xff\xff\xff", 4, PPN_ERROR_TOO_BIG);
    garbage("\0\0\3\xe9", 4, PPN_ERROR_TOO_BIG); /* 1001 of 1000 */
}

Test(stream, a_half_open_peer_times_out)
{
    struct end server = {.idle = ppn_ms(60)};
    int fd = connect_raw(listen_as(&server, on_accept, 1));
    cr_assert_eq(write(fd, "\0\0", 2), 2);
    rig_until(&rig, &server.closed);
    cr_assert_eq(server.reason, PPN_ERROR_TIMEOUT);
    close(fd);
    close_end(&server);
}

Test(stream, a_reset_is_told)
{
    struct end server = {0};
    struct linger linger = {1, 0};
    int fd = connect_raw(listen_as(&server, on_accept, 1));
    rig_until(&rig, &server.connected);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
    rig_until(&rig, &server.closed);
    cr_assert_eq(server.reason, PPN_ERROR_CLOSED);
    close_end(&server);
}

Test(stream, nobody_listens)
{
    struct end server = {0}, client = {0};
    struct ppn_endpoint to = listen_as(&server, on_accept, 1);
    os_listener_close(server.listener);
    connect_as(&client, to);
    rig_until(&rig, &client.closed);
    cr_assert_eq(client.reason, PPN_ERROR_REFUSED);
    cr_assert(!client.connected);
}

Test(stream, closing_inside_a_frame)
{
    struct end server = {.close_at_frame = true, .wanted = 1}, client = {0};
    connect_as(&client, listen_as(&server, on_accept, 1));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(os_frames_send(client.frames, ppn_slice("abc", 3)), PPN_OK);
    rig_until(&rig, &client.closed);
    cr_assert_eq(server.frame_count, 1, "none after the close");
    cr_assert(!server.closed, "the owner closed it");
    close_end(&server);
}

Test(stream, the_last_words_arrive)
{
    struct end server = {.farewell_at_frame = true, .wanted = 1}, client = {.wanted = 1};
    connect_as(&client, listen_as(&server, on_accept, 1));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(os_frames_send(client.frames, ppn_slice("abc", 3)), PPN_OK);
    rig_until(&rig, &client.closed);
    cr_assert(client.got);
    cr_assert_eq(client.bytes, 3);
    close_end(&server);
    os_timer_stop(&rig.guard);
    os_loop_run(rig.loop); /* until the farewell is over */
}

Test(stream, a_farewell_does_not_outlive_the_loop)
{
    struct end server = {.farewell_at_frame = true, .wanted = 1};
    int fd = connect_raw(listen_as(&server, on_accept, 1));
    cr_assert_eq(write(fd, "\0\0\0\1x", 5), 5);
    rig_until(&rig, &server.got);
    close_end(&server);
    close(fd);
}

static void count_accept(void *context, int fd, const struct ppn_endpoint *from)
{
    struct end *end = context;
    (void)from;
    end->frame_count++;
    end->got = end->frame_count >= end->wanted;
    close(fd);
}

Test(stream, a_listener_takes_no_more_than_its_limit)
{
    struct end server = {.wanted = 2};
    struct ppn_endpoint to = listen_as(&server, count_accept, 2);
    int fds[4];
    for (int i = 0; i < 4; i++)
        fds[i] = connect_raw(to);
    rig_until(&rig, &server.got);
    /* Time for the others to come in, if they wrongly could. */
    struct end waited = {0};
    struct os_timer timer;
    os_timer_init(&timer, rig.loop, on_connect, &waited);
    os_timer_after(&timer, ppn_ms(30));
    rig_until(&rig, &waited.connected);
    cr_assert_eq(server.frame_count, 2);
    server.got = false;
    server.wanted = 4;
    os_listener_release(server.listener);
    os_listener_release(server.listener);
    rig_until(&rig, &server.got);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    os_listener_close(server.listener);
}

/* Out of descriptors, accept fails at once while the socket stays readable: that must neither spin
 * nor lose the connection. */
Test(stream, out_of_descriptors_it_waits)
{
    struct end server = {.wanted = 1};
    struct ppn_endpoint to = listen_as(&server, count_accept, 4);
    struct rlimit before, none;
    int fd = connect_raw(to), hole = dup(fd);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)hole; /* every number below it is taken */
    close(hole);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct end waited = {0};
    struct os_timer timer;
    uint32_t turns = 0;
    os_timer_init(&timer, rig.loop, on_connect, &waited);
    os_timer_after(&timer, ppn_ms(100));
    for (; !waited.connected; turns++)
        os_loop_turn(rig.loop);
    cr_assert_lt(turns, 10, "it spins");
    cr_assert_eq(server.frame_count, 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    rig_until(&rig, &server.got);
    close(fd);
    os_listener_close(server.listener);
}

/* Byte streams over a UNIX socket: half-close, consumption in parts, credentials. */

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct end *end = context;
    if (bytes.size < 4)
        return 0; /* wants four at a time */
    end->bytes += 4;
    end->got = end->bytes >= 8;
    return 4;
}

static void on_finish(void *context)
{
    struct end *end = context;
    end->finished = true;
    cr_assert_eq(os_stream_write(end->stream, ppn_slice("answer!!", 8)), PPN_OK);
    os_stream_finish(end->stream);
}

static const struct os_stream_handler client_handler = {
    .on_connect = on_connect, .on_read = on_read, .on_close = on_close};
static const struct os_stream_handler server_handler = {
    .on_read = on_read, .on_finish = on_finish, .on_close = on_close};

static void on_accept_unix(void *context, int fd, const struct ppn_endpoint *from)
{
    struct end *end = context;
    struct os_stream_config config = {.handler = &server_handler, .context = end};
    uid_t uid;
    gid_t gid;
    (void)from;
    cr_assert_eq(os_stream_adopt(rig.loop, fd, &config, &end->stream, NULL), PPN_OK);
    cr_assert(os_stream_peer_uid(end->stream, &uid, &gid));
    cr_assert_eq(uid, getuid());
}

Test(stream, unix_sockets_finish_one_way_and_still_answer)
{
    struct end server = {0}, client = {0};
    struct stat info;
    char path[] = "/tmp/ppn-os-unix-XXXXXX";
    int second;
    struct ppn_failure failure;
    close(mkstemp(path));
    struct os_listener_config config = {.unix_path = path,
                                        .unix_mode = 0660,
                                        .unix_group = (gid_t)-1,
                                        .connections_max = 4,
                                        .on_accept = on_accept_unix,
                                        .context = &server};
    cr_assert_eq(os_listener_open(rig.loop, &config, &server.listener, &failure), PPN_ERROR_EXISTS,
                 "a plain file is not replaced");
    unlink(path);
    cr_assert_eq(os_listener_open(rig.loop, &config, &server.listener, &failure), PPN_OK);
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0660);
    struct os_stream_config client_config = {.handler = &client_handler, .context = &client};
    cr_assert_eq(os_stream_connect_unix(rig.loop, path, &client_config, &client.stream, &failure),
                 PPN_OK);
    cr_assert_eq(os_stream_write(client.stream, ppn_slice("questi", 6)), PPN_OK);
    os_stream_finish(client.stream);
    cr_assert_eq(os_stream_write(client.stream, ppn_slice("x", 1)), PPN_ERROR_CLOSED);
    rig_until(&rig, &server.finished);
    cr_assert_eq(server.bytes, 4, "two stay unconsumed");
    rig_until(&rig, &client.closed);
    rig_until(&rig, &server.closed);
    cr_assert_geq(client.bytes, 4);
    cr_assert_eq(os_listen_unix(path, 0600, (gid_t)-1, &second, &failure), PPN_ERROR_EXISTS);
    os_listener_close(server.listener);
    cr_assert(!os_file_exists(path));
}

static size_t on_read_nothing(void *context, struct ppn_slice bytes)
{
    ((struct end *)context)->bytes = bytes.size;
    return 0;
}

Test(stream, what_nobody_consumes_has_a_bound)
{
    static const struct os_stream_handler handler = {.on_read = on_read_nothing,
                                                     .on_close = on_close};
    struct end end = {0};
    static uint8_t bytes[65536];
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    struct os_stream_config config = {.handler = &handler, .context = &end};
    cr_assert_eq(os_stream_adopt(rig.loop, fds[0], &config, &end.stream, NULL), PPN_OK);
    while (!end.closed) {
        if (write(fds[1], bytes, sizeof bytes) < 0)
            cr_assert(errno == EAGAIN || errno == EPIPE);
        os_loop_turn(rig.loop);
    }
    cr_assert_eq(end.reason, PPN_ERROR_TOO_BIG);
    cr_assert_leq(end.bytes, OS_STREAM_READ_MAX + 65536);
    close(fds[1]);
}
