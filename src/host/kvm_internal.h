// SPDX-License-Identifier: ISC
#pragma once

/* The probe's texts as pure functions: the child's output, the cache file, and its key. */

#include "host/kvm.h"

#define HOST_KVM_GREETING "ppn-boots\n"

enum { HOST_KVM_KEY_MAX = 256, HOST_KVM_CACHE_MAX = 768 };

/* Raises the report to what the lines say ("device", "runs", "rate N", "fast", each once and in
 * this order); stops at the first line that is none of them. */
void host_kvm_output_parse(const char *text, struct host_kvm_report *report);

/* Kernel release, QEMU's version line and the CPU's model and microcode: what a result depends on.
 */
void host_kvm_key(const char *root, const char *qemu_version, char key[static HOST_KVM_KEY_MAX]);

void host_kvm_cache_write(const struct host_kvm_report *report, const char *key,
                          char text[static HOST_KVM_CACHE_MAX]);

/* False, and the report untouched, when the text is of another key or damaged. */
bool host_kvm_cache_read(const char *text, const char *key, struct host_kvm_report *report);
