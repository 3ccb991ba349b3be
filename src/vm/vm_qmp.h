// SPDX-License-Identifier: ISC
#pragma once

/* QEMU's machine protocol (docs/interop/qmp-spec.txt of QEMU): lines of JSON over the VM's socket.
 * The other end is QEMU, which a guest may have taken over: every line is bounded, and what makes
 * no sense is skipped.
 *
 * A client negotiates, asks whether the guest's CPUs run, and then tells what happens. The guest's
 * readiness line is read from QEMU's ring buffer, at connect and whenever the guest touched the
 * port, so that it is not lost while no daemon runs. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum { VM_QMP_LINE_MAX = 64 * 1024, VM_QMP_WORD_MAX = 63, VM_QMP_TEXT_MAX = 8191 };

enum vm_qmp_kind {
    VM_QMP_OTHER, /* understood and of no interest, or not understood */
    VM_QMP_GREETING,
    VM_QMP_EVENT,
    VM_QMP_RETURN,
    VM_QMP_ERROR
};

struct vm_qmp_message {
    enum vm_qmp_kind kind;
    int64_t id;                       /* RETURN, ERROR; -1: none */
    char word[VM_QMP_WORD_MAX + 1];   /* EVENT: its name; ERROR: its class */
    char reason[VM_QMP_WORD_MAX + 1]; /* EVENT: data.reason */
    bool guest;                       /* EVENT: data.guest */
    bool running;                     /* RETURN of query-status */
    char text[VM_QMP_TEXT_MAX + 1];   /* RETURN of ringbuf-read; ERROR: what people may read */
};

/* One line without its end. Garbage is VM_QMP_OTHER. Pure. */
void vm_qmp_parse(struct ppn_slice line, struct vm_qmp_message *message);

/* Finds "ready UUID ok|errors" for this instance in what the guest wrote; false when it is not
 * there (yet). Pure. */
bool vm_ready_parse(const char *text, const char *uuid, bool *errors);

struct os_loop;
struct vm_qmp;

/* All from the loop. on_lost comes once, and the client is gone then; it never comes from inside
 * vm_qmp_open, nor after vm_qmp_close. Closing inside a callback is allowed. */
struct vm_qmp_handler {
    void (*on_running)(void *context);
    void (*on_ready)(void *context, bool errors);
    void (*on_guest_off)(void *context);
    void (*on_guest_reset)(void *context);
    void (*on_lost)(void *context);
};

/* path: at most OS_UNIX_PATH_MAX; uuid: the instance that readiness must name. */
enum ppn_error vm_qmp_open(struct os_loop *loop, const char *path, const char *uuid,
                           const struct vm_qmp_handler *handler, void *context, struct vm_qmp **qmp,
                           struct ppn_failure *failure) PPN_CHECK;
/* NULL is allowed. */
void vm_qmp_close(struct vm_qmp *qmp);
/* The ACPI power button. */
void vm_qmp_powerdown(struct vm_qmp *qmp);
