// SPDX-License-Identifier: ISC
#pragma once

/* What is proven to be wrong, in words for people. What the admission log proves is read from it
 * each time and kept nowhere, so a restart loses nothing; a key in two machines shows again when
 * the two speak again. */

#include "admission/query_alarms.h"
#include "api/api_views.h"
#include "node/gossip.h"

struct node;

enum { NODE_ALARMS_MAX = ADMISSION_CONTRADICTED_MAX + 2 + NODE_CLONES_MAX, NODE_ALARM_TEXT = 320 };

struct node_alarms {
    uint32_t count;
    struct api_alarm_view list[NODE_ALARMS_MAX]; /* their texts are below */
    char text[NODE_ALARMS_MAX][NODE_ALARM_TEXT], fix[NODE_ALARMS_MAX][NODE_ALARM_TEXT];
};

/* *alarms must not be moved afterwards: the list points into it. */
void node_alarms_read(const struct node *node, struct node_alarms *alarms);

/* Whether `alarm` is among them, by code and text. */
bool node_alarms_has(const struct node_alarms *alarms, const struct api_alarm_view *alarm);
