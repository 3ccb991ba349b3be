// SPDX-License-Identifier: ISC
#include "admission/query_alarms.h"

#include "admission/state.h"

/* A seal beside another of its number, made after the recovery that rules now or without one. */
static uint64_t seal_conflict(const struct admission *log)
{
    uint64_t lowest = 0;
    uint32_t ruling = log->now.generation;
    bool recovered = log->items[ruling].kind == ADMISSION_RECOVER;
    for (uint32_t i = 1; i < log->control_count; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        if (item->kind != ADMISSION_SEAL || item->why != ADMISSION_VOID_CONFLICT ||
            (recovered && !admission_before(log, ruling, control->index)))
            continue;
        if (lowest == 0 || control->number < lowest)
            lowest = control->number;
    }
    return lowest;
}

static bool removed_by_entry(const struct admission *log, uint32_t person)
{
    for (uint32_t at = log->persons[person].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *item = &log->items[at - 1];
        if (item->kind == ADMISSION_ADMIN_REMOVE && item->why == ADMISSION_VOID_NOT)
            return true;
    }
    return false;
}

/* Out by its own contradiction alone, or still in. */
static bool matters(const struct admission *log, uint32_t person)
{
    const struct admission_person *who = &log->persons[person];
    if (who->fork_seq == 0)
        return false;
    if (who->admin == 0)
        return who->member != 0;
    return !removed_by_entry(log, person) &&
           (who->admin > log->now.admins || log->now.dropped_by[who->admin - 1] == 0);
}

void admission_alarms(const struct admission *log, struct admission_alarms *alarms)
{
    *alarms = (struct admission_alarms){0};
    if (!admission_founded(log))
        return;
    if (log->now.policy.version > ADMISSION_VERSION)
        alarms->frozen_version = log->now.policy.version;
    alarms->seal_conflict = seal_conflict(log);
    for (uint32_t i = 0; i < log->person_count; i++) {
        if (!matters(log, i))
            continue;
        if (alarms->contradicted_count == ADMISSION_CONTRADICTED_MAX)
            alarms->more++;
        else
            alarms->contradicted[alarms->contradicted_count++] =
                (struct admission_contradicted){log->persons[i].key, log->persons[i].fork_seq};
    }
}
