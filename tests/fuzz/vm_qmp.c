// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "vm/vm_nic.h"
#include "vm/vm_qmp.h"

/* What QEMU, the guest's port and a resolv.conf may say: nothing of it is trusted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vm_qmp_message message;
    bool errors = false;
    uint8_t address[4] = {0};
    vm_qmp_parse(ppn_slice(data, size), &message);
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    (void)vm_ready_parse(text, "01890000-0000-7000-8000-000000000001", &errors);
    if (vm_nic_resolver(text, address))
        PPN_ASSERT(address[0] != 127 && address[0] != 0);
    free(text);
    return 0;
}
