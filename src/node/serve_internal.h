// SPDX-License-Identifier: ISC
#pragma once

/* Between the files of the API's backend: serve.c answers from what is known, serve_machines.c is
 * about VMs, serve_admission.c about who is a member, serve_images.c about images, serve_path.c
 * about ways. */

#include "api/api_backend.h"
#include "node/node.h"
#include "node/serve.h"

void node_serve_vm_stop(void *context, struct api_request *request, const struct api_stop *stop);
void node_serve_vm_kill(void *context, struct api_request *request, const struct api_vm_ref *vm);
void node_serve_vm_start(void *context, struct api_request *request, const struct api_vm_ref *vm);
void node_serve_vm_remove(void *context, struct api_request *request, const struct api_vm_ref *vm);
void node_serve_vm_logs(void *context, struct api_request *request, const struct api_logs *logs);
void node_serve_vm_console(void *context, struct api_request *request, const struct api_vm_ref *vm);
void node_serve_vm_channel(void *context, struct api_request *request, const struct api_vm_ref *vm);

void node_serve_path(void *context, struct api_request *request, const struct api_who *who);

void node_serve_joins(void *context, struct api_request *request);
void node_serve_join_admit(void *context, struct api_request *request,
                           const struct api_admit *admit);
void node_serve_join_deny(void *context, struct api_request *request, const struct api_who *who);
void node_serve_node_revoke(void *context, struct api_request *request,
                            const struct api_revoke *revoke);
void node_serve_invite(void *context, struct api_request *request, const struct api_invite *invite);
void node_serve_log(void *context, struct api_request *request, const struct api_log_query *query);
void node_serve_log_export(void *context, struct api_request *request);
void node_serve_log_submit(void *context, struct api_request *request,
                           const struct api_entries *entries);

void node_serve_images(void *context, struct api_request *request);
void node_serve_image_put(void *context, struct api_request *request,
                          const struct api_image_put *put);
void node_serve_image_remove(void *context, struct api_request *request,
                             const struct api_image_ref *image);
void node_serve_image_fetch(void *context, struct api_request *request,
                            const struct api_image_ref *image);

/* The member meant; false after it answered with the reason. */
bool node_serve_member(struct node *node, struct api_request *request, const struct api_who *who,
                       struct node_member *member);
