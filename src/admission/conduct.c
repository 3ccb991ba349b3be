// SPDX-License-Identifier: ISC
#include "admission/conduct.h"

#include "base/assert.h"

void admission_conduct_init(struct admission_conduct *conduct)
{
    *conduct = (struct admission_conduct){0};
}

bool admission_conduct_blames(enum ppn_error error)
{
    return error == PPN_ERROR_INVALID || error == PPN_ERROR_SIGNATURE ||
           error == PPN_ERROR_UNAUTHORIZED || error == PPN_ERROR_NOT_FOUND;
}

static bool forgiven(const struct admission_offender *offender, struct ppn_instant now)
{
    return ppn_due(ppn_after(offender->muted_until, ppn_seconds(ADMISSION_FORGIVEN_S)), now);
}

/* Its place, or count. */
static uint32_t find(const struct admission_conduct *conduct, const struct ppn_node_id *node)
{
    uint32_t at = 0;
    while (at < conduct->count && !ppn_node_id_equal(&conduct->offenders[at].node, node))
        at++;
    return at;
}

/* A place for a newcomer: a new one, or that of the member that is forgiven first. */
static struct admission_offender *place(struct admission_conduct *conduct)
{
    struct admission_offender *first = &conduct->offenders[0];
    if (conduct->count < ADMISSION_CONDUCT_MAX)
        return &conduct->offenders[conduct->count++];
    for (uint32_t i = 1; i < conduct->count; i++) {
        if (ppn_before(conduct->offenders[i].muted_until, first->muted_until))
            first = &conduct->offenders[i];
    }
    return first;
}

bool admission_conduct_refused(struct admission_conduct *conduct, struct ppn_instant now,
                               const struct ppn_node_id *node, enum ppn_error error)
{
    if (!admission_conduct_blames(error))
        return false;
    uint32_t at = find(conduct, node);
    struct admission_offender *offender = &conduct->offenders[at];
    if (at == conduct->count) {
        offender = place(conduct);
        *offender = (struct admission_offender){.node = *node};
    } else if (!ppn_due(offender->muted_until, now)) {
        return false; /* what was on its way when the mute began */
    } else if (forgiven(offender, now)) {
        offender->mute_s = 0;
    }
    uint32_t twice = 2 * offender->mute_s;
    offender->mute_s = twice < ADMISSION_MUTE_MIN_S   ? ADMISSION_MUTE_MIN_S
                       : twice > ADMISSION_MUTE_MAX_S ? ADMISSION_MUTE_MAX_S
                                                      : twice;
    offender->muted_until = ppn_after(now, ppn_seconds(offender->mute_s));
    PPN_ASSERT(conduct->count <= ADMISSION_CONDUCT_MAX);
    return true;
}

struct ppn_duration admission_conduct_muted(const struct admission_conduct *conduct,
                                            struct ppn_instant now, const struct ppn_node_id *node)
{
    uint32_t at = find(conduct, node);
    if (at == conduct->count || ppn_due(conduct->offenders[at].muted_until, now))
        return ppn_ns(0);
    return ppn_between(now, conduct->offenders[at].muted_until);
}
