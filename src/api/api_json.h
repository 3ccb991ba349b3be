// SPDX-License-Identifier: ISC
#pragma once

/* Views as JSON objects (jansson). Each returns a new reference, or NULL when out of memory. Text
 * that is no UTF-8 (a broken peer's) is replaced by "?". Inside src/api only. */

#include <jansson.h>

#include "api/api_views.h"

json_t *api_json_node(const struct api_node_view *node);
json_t *api_json_vm(const struct api_vm_view *vm);
json_t *api_json_status(const struct api_status *status);
json_t *api_json_join(const struct api_join_view *join);
json_t *api_json_entry(const struct api_log_entry_view *entry);
json_t *api_json_verdict(const struct api_log_verdict *verdict);
json_t *api_json_image(const struct api_image_view *image);
json_t *api_json_row(const struct api_placement_row *row);
json_t *api_json_path(const struct api_path_view *path);
json_t *api_json_invite(const struct api_invite_view *invite);
json_t *api_json_alarm(const struct api_alarm_view *alarm);
json_t *api_json_alarms(const struct api_alarm_view *alarms, uint32_t count);
json_t *api_json_progress(const struct api_progress *progress);
json_t *api_json_event(const struct api_event *event);
json_t *api_json_failure(enum ppn_error code, const char *text);
json_t *api_json_member(const struct ppn_node_id *id, const char *name);
