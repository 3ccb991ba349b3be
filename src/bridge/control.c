// SPDX-License-Identifier: ISC
#include "bridge/control.h"

#include <string.h>

void bridge_report_write(struct ppn_writer *writer, const struct bridge_report *report)
{
    const uint64_t numbers[] = {report->open,           report->strangers,  report->refused,
                                report->wireguard_port, report->up_packets, report->up_bytes,
                                report->down_packets,   report->down_bytes, report->dropped_packets,
                                report->dropped_bytes};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        ppn_write_u64(writer, numbers[i]);
    ppn_write(writer, ppn_slice(report->text, sizeof(report->text)));
}

void bridge_report_read(const uint8_t bytes[static BRIDGE_REPORT], struct bridge_report *report)
{
    uint64_t *const numbers[] = {
        &report->open,           &report->strangers,  &report->refused,
        &report->wireguard_port, &report->up_packets, &report->up_bytes,
        &report->down_packets,   &report->down_bytes, &report->dropped_packets,
        &report->dropped_bytes};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        *numbers[i] = ppn_read_u64(bytes + 8 * i);
    memcpy(report->text, bytes + BRIDGE_REPORT - BRIDGE_TEXT, BRIDGE_TEXT);
    report->text[BRIDGE_TEXT - 1] = '\0';
}
