// SPDX-License-Identifier: ISC
#include "admin/admin_log.h"

#include "admission/checkpoint.h"
#include "base/assert.h"

static enum ppn_error add_all(struct admission *log, struct ppn_slice left, struct ppn_wall now,
                              struct ppn_failure *failure)
{
    uint32_t count = 0;
    while (left.size > 0) {
        uint32_t size = left.size >= 4 ? ppn_read_u32(left.data) : 0;
        count++;
        if (size == 0 || size > ADMISSION_RECORD_MAX || size > left.size - 4)
            return ppn_fail(failure, PPN_ERROR_CORRUPT, "the log is cut short at entry %u", count);
        enum ppn_error error = admin_log_add(log, now, ppn_slice(left.data + 4, size), failure);
        if (error != PPN_OK)
            return error;
        left = ppn_slice(left.data + 4 + size, left.size - 4 - size);
    }
    struct ppn_hash staged;
    if (admission_staged(log, &staged, &count))
        return ppn_fail(failure, PPN_ERROR_CORRUPT,
                        "the log is cut short within its checkpoint; ask again");
    if (count == 0)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND,
                        "this node has no log yet: it is no member of a network");
    return PPN_OK;
}

enum ppn_error admin_log_read(struct ppn_slice exported, const struct ppn_hash *network,
                              struct ppn_wall now, struct admission **log,
                              struct ppn_failure *failure)
{
    struct admission_config config = {.network = *network};
    struct admission *made = admission_new(&config);
    if (made == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    enum ppn_error error = add_all(made, exported, now, failure);
    if (error != PPN_OK) {
        admission_free(made);
        return error;
    }
    *log = made;
    return PPN_OK;
}

enum ppn_error admin_log_add(struct admission *log, struct ppn_wall now, struct ppn_slice envelope,
                             struct ppn_failure *failure)
{
    struct admission_update update = {0};
    struct ppn_failure why = {0};
    PPN_ASSERT(log != NULL);
    enum admission_verdict verdict = admission_offer(log, now, 0, envelope, &update, &why);
    admission_update_free(&update);
    switch (verdict) {
    case ADMISSION_ACCEPTED:
    case ADMISSION_KNOWN:
    case ADMISSION_STAGED:
        return PPN_OK;
    case ADMISSION_PENDING:
        return ppn_fail(failure, PPN_ERROR_CORRUPT, "an entry follows others that are missing");
    case ADMISSION_REFUSED:
        break;
    }
    return ppn_fail(failure, why.code != PPN_OK ? why.code : PPN_ERROR_REFUSED, "%s", why.text);
}
