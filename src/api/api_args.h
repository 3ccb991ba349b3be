// SPDX-License-Identifier: ISC
#pragma once

/* What a request asks, typed and already checked: the router fills these from path, query and JSON
 * body, and a backend never sees unchecked text. They belong to the request and live as long as it;
 * a backend that needs them longer copies (spec.user_data included). */

#include <stdbool.h>
#include <stdint.h>

#include "base/facts.h"
#include "base/id.h"
#include "base/machine.h"
#include "base/name.h"
#include "base/slice.h"

enum {
    API_TTL_SECONDS_MAX = 30 * 24 * 3600, /* of an invite */
    API_INVITE_USES_MAX = 1024,
    API_LEASE_SECONDS_MAX = 10 * 365 * 24 * 3600, /* of a membership */
    API_TAIL_LINES_MAX = 100000,
    API_GRACE_SECONDS_MAX = 3600
};

/* A VM by name or by id (its request id); is_id tells which. text is what the person wrote. */
struct api_vm_ref {
    char text[PPN_NAME_MAX + 1];
    bool is_id;
    struct ppn_request_id id;
};

enum api_who_kind { API_WHO_NAME, API_WHO_FINGERPRINT, API_WHO_ID };

/* A node or a joiner: by name, by fingerprint "xxxx-xxxx-xxxx-xxxx" (ppn_fingerprint, lower case in
 * text) or by its whole id (64 hexadecimal digits, in id). */
struct api_who {
    enum api_who_kind kind;
    char text[2 * PPN_ID_SIZE + 1];
    struct ppn_node_id id;
};

/* POST /v1/vms and POST /v1/placement. spec.id is always set: made by the client, or by the router
 * for a placement question without one. image_hash and image_bytes are for the backend to resolve.
 */
struct api_run {
    struct ppn_machine_spec spec;
    bool fresh;      /* the client made the id for this very request: nobody can know it yet */
    bool wait_ready; /* answer when the first boot has finished, not when the VM is in service */
};

struct api_stop {
    struct api_vm_ref vm;
    uint32_t grace_seconds; /* 0: the default; after it the guest is ended */
};

struct api_logs {
    struct api_vm_ref vm;
    bool follow;
    uint32_t tail_lines; /* 0: from the start */
};

struct api_admit {
    struct api_who who;
    bool relay;             /* role */
    uint32_t lease_seconds; /* how long it is a member, unless renewed; 0: for ever */
    uint32_t label_count;
    struct ppn_label labels[PPN_LABELS_MAX];
};

struct api_revoke {
    struct api_who who;
    char reason[PPN_REASON_MAX + 1];
};

struct api_invite {
    uint32_t uses;        /* 1 .. API_INVITE_USES_MAX */
    uint32_t ttl_seconds; /* 1 .. API_TTL_SECONDS_MAX */
    bool relay;
    uint32_t lease_seconds; /* of who comes in by it; 0: for ever */
    uint32_t label_count;
    struct ppn_label labels[PPN_LABELS_MAX];
};

struct api_log_query {
    bool verify; /* check every signature and the fold anew before answering */
};

/* Bytes of signed entries as GET /v1/log/export gives them; not looked at by the router. */
struct api_entries {
    struct ppn_slice bytes;
};

struct api_image_put {
    char name[PPN_NAME_MAX + 1];
    uint64_t size_bytes; /* announced; 0: unknown. A backend checks what really came */
    bool has_sha256;
    uint8_t sha256[PPN_HASH_SIZE]; /* the file must have it */
};

struct api_image_ref {
    char name[PPN_NAME_MAX + 1];
};

/* PATCH /v1/labels: sets, and removes where the value is null. */
struct api_label_change {
    struct ppn_label label;
    bool remove;
};

struct api_labels {
    uint32_t change_count;
    struct api_label_change changes[PPN_LABELS_MAX];
};
