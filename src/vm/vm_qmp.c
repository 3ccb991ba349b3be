// SPDX-License-Identifier: ISC
#include "vm/vm_qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/id.h"
#include "base/name.h"
#include "os/os_loop.h"
#include "os/os_stream.h"
#include "vm/vm_argv.h"

enum { ID_CAPABILITIES = 1, ID_STATUS, ID_POWERDOWN, ID_READY };
enum { LOOKS_MAX = 20, LOOK_MS = 50 }; /* for the line after the guest opened the port */

struct vm_qmp {
    struct os_loop *loop;
    struct os_stream *stream;
    const struct vm_qmp_handler *handler;
    void *context;
    struct os_timer look;
    uint32_t looks_left;
    bool running, ready;
    bool reading; /* in on_read, which frees a client that was closed meanwhile */
    bool closed;
    char uuid[PPN_UUID_TEXT];
    struct vm_qmp_message message;
};

static void send_text(struct vm_qmp *qmp, const char *text)
{
    /* A full queue means that QEMU does not read; the stream's end or a time-out tells. */
    (void)!os_stream_write(qmp->stream, ppn_slice(text, strlen(text)));
}

static void send_command(struct vm_qmp *qmp, const char *command, int id)
{
    char line[128];
    (void)snprintf(line, sizeof(line), "{\"execute\":\"%s\",\"id\":%d}\n", command, id);
    send_text(qmp, line);
}

static void look_for_ready(void *context)
{
    struct vm_qmp *qmp = context;
    char line[160];
    (void)snprintf(line, sizeof(line),
                   "{\"execute\":\"ringbuf-read\",\"arguments\":{\"device\":\"%s\",\"size\":%d},"
                   "\"id\":%d}\n",
                   VM_READY_CHARDEV, VM_READY_BUFFER, ID_READY);
    send_text(qmp, line);
}

static void on_return(struct vm_qmp *qmp)
{
    const struct vm_qmp_message *message = &qmp->message;
    bool errors = false;
    switch (message->id) {
    case ID_CAPABILITIES:
        send_command(qmp, "query-status", ID_STATUS);
        look_for_ready(qmp);
        return;
    case ID_STATUS:
        if (message->running && !qmp->running) {
            qmp->running = true;
            qmp->handler->on_running(qmp->context);
        }
        return;
    case ID_READY:
        if (qmp->ready)
            return;
        if (vm_ready_parse(message->text, qmp->uuid, &errors)) {
            qmp->ready = true;
            os_timer_stop(&qmp->look);
            qmp->handler->on_ready(qmp->context, errors);
        } else if (qmp->looks_left > 0) {
            qmp->looks_left--;
            os_timer_after(&qmp->look, ppn_ms(LOOK_MS));
        }
        return;
    default:
        return;
    }
}

static void on_event(struct vm_qmp *qmp)
{
    const struct vm_qmp_message *message = &qmp->message;
    if (!strcmp(message->word, "SHUTDOWN")) {
        if (message->guest)
            qmp->handler->on_guest_off(qmp->context);
    } else if (!strcmp(message->word, "RESET")) {
        if (message->guest)
            qmp->handler->on_guest_reset(qmp->context);
    } else if (!strcmp(message->word, "RESUME")) {
        send_command(qmp, "query-status", ID_STATUS);
    } else if (!strcmp(message->word, "VSERPORT_CHANGE") && !qmp->ready) {
        qmp->looks_left = LOOKS_MAX;
        look_for_ready(qmp);
    }
}

static void on_line(struct vm_qmp *qmp, struct ppn_slice line)
{
    vm_qmp_parse(line, &qmp->message);
    switch (qmp->message.kind) {
    case VM_QMP_GREETING:
        send_command(qmp, "qmp_capabilities", ID_CAPABILITIES);
        return;
    case VM_QMP_RETURN:
        on_return(qmp);
        return;
    case VM_QMP_EVENT:
        on_event(qmp);
        return;
    case VM_QMP_ERROR:
    case VM_QMP_OTHER:
        return;
    }
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct vm_qmp *qmp = context;
    size_t used = 0;
    qmp->reading = true;
    while (!qmp->closed && used < bytes.size) {
        const uint8_t *start = bytes.data + used;
        const uint8_t *end = memchr(start, '\n', bytes.size - used);
        if (!end)
            break;
        used += (size_t)(end - start) + 1;
        on_line(qmp, ppn_slice(start, (size_t)(end - start)));
    }
    qmp->reading = false;
    if (qmp->closed) {
        free(qmp);
        return used;
    }
    /* A line that never ends is nothing that QEMU says. */
    if (bytes.size - used > VM_QMP_LINE_MAX)
        used = bytes.size;
    return used;
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct vm_qmp *qmp = context;
    (void)reason;
    (void)text;
    const struct vm_qmp_handler *handler = qmp->handler;
    void *owner = qmp->context;
    os_timer_stop(&qmp->look);
    free(qmp);
    handler->on_lost(owner);
}

enum ppn_error vm_qmp_open(struct os_loop *loop, const char *path, const char *uuid,
                           const struct vm_qmp_handler *handler, void *context, struct vm_qmp **out,
                           struct ppn_failure *failure)
{
    static const struct os_stream_handler stream_handler = {.on_read = on_read,
                                                            .on_close = on_close};
    struct vm_qmp *qmp = calloc(1, sizeof(*qmp));
    if (!qmp)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    qmp->loop = loop;
    qmp->handler = handler;
    qmp->context = context;
    bool whole = ppn_text_copy(qmp->uuid, sizeof(qmp->uuid), uuid);
    PPN_ASSERT(whole);
    os_timer_init(&qmp->look, loop, look_for_ready, qmp);
    struct os_stream_config config = {.handler = &stream_handler, .context = qmp};
    enum ppn_error error = os_stream_connect_unix(loop, path, &config, &qmp->stream, failure);
    if (error) {
        free(qmp);
        return error;
    }
    *out = qmp;
    return PPN_OK;
}

void vm_qmp_close(struct vm_qmp *qmp)
{
    if (!qmp)
        return;
    os_timer_stop(&qmp->look);
    os_stream_close(qmp->stream);
    qmp->closed = true;
    if (!qmp->reading)
        free(qmp);
}

void vm_qmp_powerdown(struct vm_qmp *qmp)
{
    send_command(qmp, "system_powerdown", ID_POWERDOWN);
}
