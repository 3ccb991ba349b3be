// SPDX-License-Identifier: ISC
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void ppn_assert_failed(const char *expression, const char *file, int line)
{
    (void)fprintf(stderr, "level=fatal event=assertion file=%s line=%d expression=\"%s\"\n", file,
                  line, expression);
    abort();
}
