// SPDX-License-Identifier: ISC
#pragma once

/* What a node can be asked, one function a request kind: implemented by src/node, called by the
 * router with checked arguments. A NULL function is answered "unsupported" by the router, so a
 * capability that does not exist yet is left out and never pretended.
 *
 * Each function answers now or later through api_request.h. Nothing here blocks. */

#include "api/api_args.h"
#include "api/api_request.h"

struct api_backend {
    void *context;
    const char *closed; /* said of what is NULL here; NULL: that this version cannot do it */

    void (*status)(void *context, struct api_request *request);
    void (*nodes)(void *context, struct api_request *request);
    void (*vms)(void *context, struct api_request *request);
    void (*events)(void *context, struct api_request *request);

    /* Progress lines, then api_stream_vm() or api_reply_failure(). */
    void (*run)(void *context, struct api_request *request, const struct api_run *run);
    /* API_LIST_PLACEMENT, best first, then those that do not fit. */
    void (*placement)(void *context, struct api_request *request, const struct api_run *run);

    /* Each of these belongs to the VM's node; elsewhere the request is forwarded there. They answer
     * with api_reply_vm() (remove: api_reply_done()). */
    void (*vm_stop)(void *context, struct api_request *request, const struct api_stop *stop);
    void (*vm_kill)(void *context, struct api_request *request, const struct api_vm_ref *vm);
    void (*vm_start)(void *context, struct api_request *request, const struct api_vm_ref *vm);
    void (*vm_remove)(void *context, struct api_request *request, const struct api_vm_ref *vm);
    /* API_STREAM_BYTES: the serial log as it is. */
    void (*vm_logs)(void *context, struct api_request *request, const struct api_logs *logs);
    /* api_upgrade() or an error. */
    void (*vm_console)(void *context, struct api_request *request, const struct api_vm_ref *vm);
    void (*vm_channel)(void *context, struct api_request *request, const struct api_vm_ref *vm);

    void (*joins)(void *context, struct api_request *request);
    /* These need the admin key of this node; they are never taken from another member. */
    void (*join_admit)(void *context, struct api_request *request, const struct api_admit *admit);
    void (*join_deny)(void *context, struct api_request *request, const struct api_who *who);
    void (*node_revoke)(void *context, struct api_request *request,
                        const struct api_revoke *revoke);
    void (*invite)(void *context, struct api_request *request, const struct api_invite *invite);

    /* A node decides for itself whether it takes new VMs; elsewhere the request is forwarded. */
    void (*node_cordon)(void *context, struct api_request *request, const struct api_who *who);
    void (*node_uncordon)(void *context, struct api_request *request, const struct api_who *who);
    void (*node_path)(void *context, struct api_request *request, const struct api_who *who);
    void (*labels)(void *context, struct api_request *request, const struct api_labels *labels);
    void (*rekey)(void *context, struct api_request *request);
    void (*leave)(void *context, struct api_request *request);

    /* API_LIST_LOG, parents before children. */
    void (*log)(void *context, struct api_request *request, const struct api_log_query *query);
    /* API_STREAM_BYTES. */
    void (*log_export)(void *context, struct api_request *request);
    void (*log_submit)(void *context, struct api_request *request,
                       const struct api_entries *entries);

    void (*images)(void *context, struct api_request *request);
    /* Called before the body: install an api_watch with `body` and `body_end`. Progress lines are
     * possible after body_end; then api_stream_image() or api_reply_failure(). */
    void (*image_put)(void *context, struct api_request *request, const struct api_image_put *put);
    void (*image_remove)(void *context, struct api_request *request,
                         const struct api_image_ref *image);
    /* Progress lines, then api_stream_image(). */
    void (*image_fetch)(void *context, struct api_request *request,
                        const struct api_image_ref *image);
};
