// SPDX-License-Identifier: ISC
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

static const char *const texts[] = {
#define X(name, text) text,
    PPN_ERRORS(X)
#undef X
};

static const char names[][16] = {
#define X(name, text) #name,
    PPN_ERRORS(X)
#undef X
};

const char *ppn_error_text(enum ppn_error error)
{
    return (unsigned)error < PPN_ERROR_COUNT ? texts[error] : "unknown error";
}

const char *ppn_error_name(enum ppn_error error)
{
    static char lower[PPN_ERROR_COUNT][sizeof(names[0])];
    if ((unsigned)error >= PPN_ERROR_COUNT)
        return "unknown";
    for (size_t i = 0; i < sizeof(names[0]); i++) {
        char c = names[error][i];
        lower[error][i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    return lower[error];
}

enum ppn_error ppn_fail(struct ppn_failure *failure, enum ppn_error code, const char *format, ...)
{
    PPN_ASSERT(code != PPN_OK);
    if (failure == NULL)
        return code;
    va_list arguments;
    va_start(arguments, format);
    failure->code = code;
    (void)vsnprintf(failure->text, sizeof(failure->text), format, arguments);
    va_end(arguments);
    return code;
}
