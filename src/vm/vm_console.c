// SPDX-License-Identifier: ISC
#include "vm/vm_console.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/name.h"
#include "os/os_stream.h"

struct vm_viewer {
    struct vm_console *console;
    const struct vm_viewer_handler *handler;
    void *context;
};

struct vm_console {
    struct os_loop *loop;
    struct os_stream *stream; /* NULL while nobody looks */
    char path[OS_UNIX_PATH_MAX + 1];
    uint32_t count;
    struct vm_viewer *viewers[VM_CONSOLE_VIEWERS_MAX];
};

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct vm_console *console = context;
    /* A viewer may detach inside, also another one than itself, and so end the stream. */
    struct vm_viewer *viewers[VM_CONSOLE_VIEWERS_MAX];
    uint32_t count = console->count;
    memcpy(viewers, console->viewers, sizeof(viewers));
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < console->count; k++)
            if (console->viewers[k] == viewers[i]) {
                viewers[i]->handler->on_output(viewers[i]->context, bytes);
                break;
            }
    return bytes.size;
}

static void end_viewers(struct vm_console *console)
{
    while (console->count > 0) {
        struct vm_viewer *viewer = console->viewers[--console->count];
        viewer->handler->on_end(viewer->context);
        free(viewer);
    }
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct vm_console *console = context;
    (void)reason;
    (void)text;
    console->stream = NULL;
    end_viewers(console);
}

enum ppn_error vm_console_open(struct os_loop *loop, const char *path, struct vm_console **out,
                               struct ppn_failure *failure)
{
    struct vm_console *console = calloc(1, sizeof(*console));
    if (!console)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    console->loop = loop;
    bool whole = ppn_text_copy(console->path, sizeof(console->path), path);
    PPN_ASSERT(whole);
    *out = console;
    return PPN_OK;
}

void vm_console_close(struct vm_console *console)
{
    if (!console)
        return;
    os_stream_close(console->stream);
    console->stream = NULL;
    end_viewers(console);
    free(console);
}

bool vm_console_used(const struct vm_console *console)
{
    return console->count > 0;
}

enum ppn_error vm_console_attach(struct vm_console *console,
                                 const struct vm_viewer_handler *handler, void *context,
                                 struct vm_viewer **out, struct ppn_failure *failure)
{
    static const struct os_stream_handler stream_handler = {.on_read = on_read,
                                                            .on_close = on_close};
    if (console->count == VM_CONSOLE_VIEWERS_MAX)
        return ppn_fail(failure, PPN_ERROR_FULL, "%d consoles of this VM are open already",
                        VM_CONSOLE_VIEWERS_MAX);
    struct vm_viewer *viewer = calloc(1, sizeof(*viewer));
    if (!viewer)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    if (!console->stream) {
        struct os_stream_config config = {.handler = &stream_handler, .context = console};
        enum ppn_error error = os_stream_connect_unix(console->loop, console->path, &config,
                                                      &console->stream, failure);
        if (error) {
            free(viewer);
            return error;
        }
    }
    *viewer = (struct vm_viewer){console, handler, context};
    console->viewers[console->count++] = viewer;
    *out = viewer;
    return PPN_OK;
}

enum ppn_error vm_viewer_write(struct vm_viewer *viewer, struct ppn_slice bytes)
{
    if (!viewer->console->stream)
        return PPN_ERROR_CLOSED;
    return os_stream_write(viewer->console->stream, bytes);
}

void vm_viewer_detach(struct vm_viewer *viewer)
{
    struct vm_console *console = viewer->console;
    uint32_t at = 0;
    while (at < console->count && console->viewers[at] != viewer)
        at++;
    PPN_ASSERT(at < console->count);
    console->viewers[at] = console->viewers[--console->count];
    if (console->count == 0) {
        os_stream_close(console->stream);
        console->stream = NULL;
    }
    free(viewer);
}
