// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/gossip_msg.h"
#include "samples.h"
#include "wire/facts.h"
#include "wire/fleet.h"
#include "wire/gossip.h"
#include "wire/log.h"
#include "wire/machine.h"
#include "wire/peer.h"
#include "wire/scan.h"
#include "wire/vm.h"

static struct samples samples;

static void setup(void)
{
    samples_make(&samples);
}

static void teardown(void)
{
    samples_free(&samples);
}

TestSuite(wire_sweep, .init = setup, .fini = teardown);

Test(wire_sweep, every_sample_decodes)
{
    for (uint32_t i = 0; i < samples.count; i++) {
        struct sample *sample = &samples.items[i];
        cr_expect(sample->decode(ppn_slice(sample->bytes, sample->size)) == PPN_OK, "%s %zu",
                  sample->name, sample->size);
    }
}

/* A copy of exactly the cut size, so that reading one byte too many is seen. */
static enum ppn_error decode_cut(const struct sample *sample, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, sample->bytes, size);
    copy = realloc(copy, size > 0 ? size : 1);
    enum ppn_error error = sample->decode(ppn_slice(copy, size));
    free(copy);
    return error;
}

Test(wire_sweep, every_truncation_is_an_error)
{
    for (uint32_t i = 0; i < samples.count; i++) {
        struct sample *sample = &samples.items[i];
        size_t stride = sample->size > 4096 ? sample->size / 512 : 1;
        for (size_t size = 0; size < sample->size; size += stride)
            cr_assert(decode_cut(sample, size) != PPN_OK, "%s cut to %zu", sample->name, size);
    }
}

Test(wire_sweep, a_trailing_byte_is_an_error)
{
    for (uint32_t i = 0; i < samples.count; i++) {
        struct sample *sample = &samples.items[i];
        uint8_t *longer = malloc(sample->size + 1);
        memcpy(longer, sample->bytes, sample->size);
        longer[sample->size] = 0;
        cr_assert(sample->decode(ppn_slice(longer, sample->size + 1)) != PPN_OK, "%s",
                  sample->name);
        free(longer);
    }
}

Test(wire_sweep, no_flipped_bit_crashes)
{
    for (uint32_t i = 0; i < samples.count; i++) {
        struct sample *sample = &samples.items[i];
        size_t end = sample->size < 1200 ? sample->size : 1200;
        for (size_t bit = 0; bit < 8 * end; bit++) {
            sample->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            (void)sample->decode(ppn_slice(sample->bytes, sample->size));
            sample->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* The first field of each is the major version. */
Test(wire_sweep, another_major_version_says_so)
{
    for (uint32_t i = 0; i < samples.count; i++) {
        struct sample *sample = &samples.items[i];
        size_t at = sample->bytes[0] == 0xdc ? 3 : 1;
        cr_assert(sample->bytes[at] == 1, "%s", sample->name);
        sample->bytes[at] = 2;
        cr_assert(sample->decode(ppn_slice(sample->bytes, sample->size)) == PPN_ERROR_VERSION, "%s",
                  sample->name);
    }
}

/* One more field in the outermost array, as a newer minor version would send it. */
Test(wire_sweep, an_appended_field_is_ignored)
{
    for (uint32_t i = 0; i < samples.count; i++) {
        struct sample *sample = &samples.items[i];
        if (sample->bytes[0] >= 0x9f || sample->size > 512)
            continue;
        uint8_t longer[513];
        memcpy(longer, sample->bytes, sample->size);
        longer[0]++;
        longer[sample->size] = 0xc0;
        cr_assert(sample->decode(ppn_slice(longer, sample->size + 1)) == PPN_OK, "%s",
                  sample->name);
    }
}

static const struct wire_scan_limits strict = {
    .bytes_max = 4096, .items_max = 1000, .depth_max = 4, .minimal = true};

static enum ppn_error scan(const char *bytes, size_t size)
{
    return wire_scan_all(ppn_slice(bytes, size), &strict);
}

#define SCAN(literal) scan(literal, sizeof(literal) - 1)

Test(wire_scan, bombs_of_five_bytes_are_refused)
{
    cr_assert(SCAN("\xdd\xff\xff\xff\xff") == PPN_ERROR_INVALID);     /* array */
    cr_assert(SCAN("\xdf\xff\xff\xff\xff") == PPN_ERROR_INVALID);     /* map */
    cr_assert(SCAN("\xc6\xff\xff\xff\xff") == PPN_ERROR_INVALID);     /* bin */
    cr_assert(SCAN("\xdb\xff\xff\xff\xff") == PPN_ERROR_INVALID);     /* str */
    cr_assert(SCAN("\xc9\xff\xff\xff\xff\x01") == PPN_ERROR_INVALID); /* extension */
}

Test(wire_scan, kinds_outside_the_subset_are_refused)
{
    cr_assert(SCAN("\x80") == PPN_ERROR_INVALID);                 /* {} */
    cr_assert(SCAN("\xca\x00\x00\x00\x00") == PPN_ERROR_INVALID); /* float */
    cr_assert(SCAN("\xc1") == PPN_ERROR_INVALID);
    cr_assert(SCAN("\xd4\x01\x00") == PPN_ERROR_INVALID); /* fixext */
    cr_assert(SCAN("\x92\xc0\xc3") == PPN_OK);
}

Test(wire_scan, only_shortest_forms)
{
    cr_assert(SCAN("\xcc\x7f") == PPN_ERROR_INVALID && SCAN("\xcc\x80") == PPN_OK);
    cr_assert(SCAN("\xcd\x00\xff") == PPN_ERROR_INVALID && SCAN("\xcd\x01\x00") == PPN_OK);
    cr_assert(SCAN("\xce\x00\x00\xff\xff") == PPN_ERROR_INVALID);
    cr_assert(SCAN("\xcf\x00\x00\x00\x00\xff\xff\xff\xff") == PPN_ERROR_INVALID);
    cr_assert(SCAN("\xcf\x00\x00\x00\x01\x00\x00\x00\x00") == PPN_OK);
    cr_assert(SCAN("\xd0\x01") == PPN_ERROR_INVALID); /* a positive number in a signed form */
    cr_assert(SCAN("\xd0\xe0") == PPN_ERROR_INVALID && SCAN("\xd0\xdf") == PPN_OK);
    cr_assert(SCAN("\xd1\xff\x80") == PPN_ERROR_INVALID && SCAN("\xd1\xff\x7f") == PPN_OK);
    cr_assert(SCAN("\xd9\x01x") == PPN_ERROR_INVALID && SCAN("\xa1x") == PPN_OK);
    cr_assert(SCAN("\xc5\x00\x01x") == PPN_ERROR_INVALID && SCAN("\xc4\x01x") == PPN_OK);
    cr_assert(SCAN("\xdc\x00\x01\xc0") == PPN_ERROR_INVALID && SCAN("\x91\xc0") == PPN_OK);
}

Test(wire_scan, depth_items_and_bytes_are_limited)
{
    struct wire_scan_limits few = {.bytes_max = 4, .items_max = 3, .depth_max = 1};
    cr_assert(SCAN("\x91\x91\x91\x91\xc0") == PPN_OK);
    cr_assert(SCAN("\x91\x91\x91\x91\x90") == PPN_ERROR_TOO_BIG);
    cr_assert(wire_scan_all(ppn_slice("\x92\x01\x02", 3), &few) == PPN_OK);
    cr_assert(wire_scan_all(ppn_slice("\x93\x01\x02\x03", 4), &few) == PPN_ERROR_TOO_BIG);
    cr_assert(wire_scan_all(ppn_slice("\xc4\x03zzz", 5), &few) == PPN_ERROR_TOO_BIG);
}

Test(wire_facts, maximal_profile_fits_and_keeps_all_but_image_tags)
{
    uint8_t bytes[WIRE_PROFILE_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct ppn_profile profile = sample_profile(true), back;
    cr_assert(wire_profile_encode(&profile, &writer) == PPN_OK);
    cr_assert(wire_profile_decode(ppn_written(&writer), &back) == PPN_OK);
    cr_assert(back.candidate_count == PPN_ENDPOINTS_MAX && back.label_count == profile.label_count);
    cr_assert(memcmp(back.candidates, profile.candidates, sizeof(back.candidates)) == 0);
    cr_assert(back.image_count >= 1 && back.image_count < PPN_IMAGE_TAGS_MAX);
    /* Without labels every tag fits. */
    profile.label_count = 0;
    writer = ppn_writer(bytes, sizeof(bytes));
    cr_assert(wire_profile_encode(&profile, &writer) == PPN_OK);
    cr_assert(wire_profile_decode(ppn_written(&writer), &back) == PPN_OK);
    cr_assert(back.image_count == PPN_IMAGE_TAGS_MAX);
}

Test(wire_facts, too_many_label_bytes_are_refused)
{
    uint8_t bytes[2 * WIRE_PROFILE_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct ppn_profile profile = sample_profile(false);
    struct wire_settings settings = sample_settings(true);
    profile.label_count = settings.label_count;
    memcpy(profile.labels, settings.labels, sizeof(profile.labels));
    cr_assert(!wire_labels_fit(profile.labels, profile.label_count));
    cr_assert(wire_profile_encode(&profile, &writer) == PPN_ERROR_TOO_BIG);
}

Test(wire_facts, a_bad_name_never_comes_in)
{
    uint8_t bytes[WIRE_PROFILE_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct ppn_profile profile = sample_profile(false), back;
    cr_assert(wire_profile_encode(&profile, &writer) == PPN_OK);
    uint8_t *room = memmem(bytes, writer.size, "room", 4);
    cr_assert(room != NULL);
    *room = '/';
    cr_assert(wire_profile_decode(ppn_written(&writer), &back) == PPN_ERROR_INVALID);
}

Test(wire_facts, golden_load)
{
    static const char golden[] = "\x9b\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xce\x40\x00\x00\x00"
                                 "\xcf\x00\x00\x00\x0c\x80\x00\x00\x00\x02\xcc\xfa\x01\x01\xcc\xff"
                                 "\x00\xcf\x01\x23\x45\x67\x89\xab\xcd\xef";
    uint8_t bytes[WIRE_LOAD_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct ppn_load load = sample_load(false), back;
    cr_assert(wire_load_encode(&load, &writer) == PPN_OK);
    cr_assert(ppn_slice_equal(ppn_written(&writer), ppn_slice(golden, sizeof(golden) - 1)));
    cr_assert(wire_load_decode(ppn_written(&writer), &back) == PPN_OK);
    cr_assert(back.vm_digest == load.vm_digest && back.power == PPN_POWER_MAINS);
}

Test(wire_machine, a_spec_comes_back_whole)
{
    static struct ppn_machine_spec spec, back;
    static uint8_t bytes[WIRE_SPEC_MAX];
    for (int maximal = 0; maximal < 2; maximal++) {
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        sample_spec(&spec, maximal);
        cr_assert(wire_spec_encode(&spec, &writer) == PPN_OK);
        cr_assert(wire_spec_decode(ppn_written(&writer), &back) == PPN_OK);
        cr_assert(back.user_data_size == spec.user_data_size);
        cr_assert((back.user_data == NULL) == (spec.user_data == NULL));
        if (back.user_data)
            cr_assert(back.user_data >= bytes && back.user_data < bytes + sizeof(bytes));
        back.user_data = spec.user_data;
        cr_assert(memcmp(&back, &spec, sizeof(spec)) == 0);
    }
}

/* What a version before this one wrote has no last field. */
Test(wire_machine, an_older_spec_and_record_have_a_network_card)
{
    struct ppn_machine_spec spec;
    struct vm_record record;
    uint32_t seen = 0;
    samples_make(&samples);
    for (uint32_t i = 0; i < samples.count; i++) {
        struct sample *sample = &samples.items[i];
        bool is_spec = strstr(sample->name, "spec") != NULL && sample->bytes[0] == 0x98;
        bool is_record = strstr(sample->name, "vm-record") != NULL && sample->bytes[2] == 19;
        if (is_spec) {
            sample->bytes[0]--;
            cr_assert(wire_spec_decode(ppn_slice(sample->bytes, sample->size - 1), &spec) ==
                      PPN_OK);
            cr_assert_not(spec.no_network);
        } else if (is_record) {
            sample->bytes[2]--;
            cr_assert(wire_vm_record_decode(ppn_slice(sample->bytes, sample->size - 1), &record) ==
                      PPN_OK);
            cr_assert_not(record.no_network);
        }
        seen += is_spec || is_record;
    }
    samples_free(&samples);
    cr_assert_eq(seen, 4, "%u of the samples are of the two kinds", seen);
}

Test(wire_machine, digest_follows_every_visible_change)
{
    struct ppn_vm_info vms[2] = {sample_vm(false), sample_vm(true)};
    uint64_t before = wire_vm_list_digest(vms, 2);
    cr_assert(before != 0 && wire_vm_list_digest(vms, 0) == 0);
    cr_assert(wire_vm_list_digest(vms, 1) != before);
    vms[1].ready = false;
    cr_assert(wire_vm_list_digest(vms, 2) != before);
}

Test(wire_machine, unprintable_reasons_are_made_printable)
{
    uint8_t bytes[2 * WIRE_VM_INFO_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct ppn_vm_info vm = sample_vm(false), back;
    uint64_t digest;
    uint32_t count;
    memcpy(vm.reason, "a\x1b[31m", 7);
    cr_assert(wire_vm_list_encode(5, &vm, 1, &writer) == PPN_OK);
    cr_assert(wire_vm_list_decode(ppn_written(&writer), &digest, &back, 1, &count) == PPN_OK);
    cr_assert(digest == 5 && count == 1);
    cr_assert_str_eq(back.reason, "a?[31m");
}

Test(wire_gossip, an_item_keeps_its_bytes_and_its_place)
{
    uint8_t item[GOSSIP_ITEM_SIZE_MAX], bytes[PPN_DATAGRAM_MAX];
    memset(item, 0x3c, sizeof(item));
    struct gossip_packet packet = {.kind = GOSSIP_NEWS, .item_count = 1}, back;
    packet.items[0] = ppn_slice(item, sizeof(item));
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    cr_assert(wire_gossip_encode(&packet, &writer) == PPN_OK);
    cr_assert(writer.size <=
              GOSSIP_ENCODED_HEADER_MAX + GOSSIP_ENCODED_ITEM_OVERHEAD + GOSSIP_ITEM_SIZE_MAX);
    cr_assert(wire_gossip_decode(ppn_written(&writer), &back) == PPN_OK);
    cr_assert(ppn_slice_equal(back.items[0], packet.items[0]));
    cr_assert(back.items[0].data > bytes && back.items[0].data < bytes + sizeof(bytes));
}

Test(wire_sweep, maximal_packets_keep_the_cores_bounds)
{
    for (uint32_t i = 0; i < samples.count; i++)
        if (strcmp(samples.items[i].target, "gossip") == 0)
            cr_expect(samples.items[i].size <= PPN_DATAGRAM_MAX, "%s", samples.items[i].name);
}

Test(wire_fleet, rows_come_back_whole_and_name_their_key)
{
    static uint8_t bytes[WIRE_FLEET_ROW_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct fleet_row row = {.key = {.kind = FLEET_ROW_REQUEST}, .state = 3, .attempt = 2}, back;
    cr_assert(wire_fleet_row_encode(&row, &writer) == PPN_OK);
    cr_assert(wire_fleet_row_decode(ppn_written(&writer), &back) == PPN_OK);
    cr_assert(memcmp(&row, &back, sizeof(row)) == 0);
    /* A hold without an origin is damage. */
    row.key.kind = FLEET_ROW_HOLD;
    writer = ppn_writer(bytes, sizeof(bytes));
    cr_assert(wire_fleet_row_encode(&row, &writer) == PPN_OK);
    cr_assert(wire_fleet_row_decode(ppn_written(&writer), &back) == PPN_ERROR_INVALID);
}

Test(wire_fleet, only_prepare_carries_a_spec)
{
    uint8_t bytes[512];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct fleet_msg message = {.kind = FLEET_MSG_COMMIT, .attempt = 1}, back;
    cr_assert(wire_fleet_encode(&message, &writer) == PPN_OK);
    cr_assert(wire_fleet_decode(ppn_written(&writer), &back) == PPN_OK);
    cr_assert(back.kind == FLEET_MSG_COMMIT && back.spec.size == 0);
    bytes[2] = FLEET_MSG_PREPARE;
    cr_assert(wire_fleet_decode(ppn_written(&writer), &back) == PPN_ERROR_INVALID);
    bytes[2] = 99;
    cr_assert(wire_fleet_decode(ppn_written(&writer), &back) == PPN_ERROR_UNSUPPORTED);
}

Test(wire_peer, golden_ping_and_unknown_kind)
{
    uint8_t bytes[64];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_peer_frame frame = {.kind = WIRE_PEER_PING, .token = 7}, back;
    cr_assert(wire_peer_encode(&frame, &writer) == PPN_OK);
    cr_assert(ppn_slice_equal(ppn_written(&writer),
                              ppn_slice("\x00\x00\x00\x06\x94\x01\x02\x00\x91\x07", 10)));
    bytes[6] = 99;
    bytes[7] = 3;
    cr_assert(wire_peer_decode(ppn_slice(bytes + 4, 6), &back) == PPN_ERROR_UNSUPPORTED);
    cr_assert(back.stream == 3 && (int)back.kind == 99);
}

Test(wire_peer, streams_belong_to_the_side_that_numbers_them)
{
    struct wire_peer_frame want = {.kind = WIRE_PEER_IMAGE_WANT, .stream = 1};
    struct wire_peer_frame data = {.kind = WIRE_PEER_IMAGE_DATA, .stream = 1};
    struct wire_peer_frame ping = {.kind = WIRE_PEER_PING, .stream = 1};
    struct wire_peer_frame bye = {.kind = WIRE_PEER_CLOSE};
    cr_assert(wire_peer_check(&want, true, false) == PPN_OK);
    cr_assert(wire_peer_check(&want, false, false) != PPN_OK);
    cr_assert(wire_peer_check(&want, true, true) != PPN_OK);
    cr_assert(wire_peer_check(&data, false, true) == PPN_OK);
    cr_assert(wire_peer_check(&data, true, true) != PPN_OK);
    cr_assert(wire_peer_check(&data, false, false) != PPN_OK);
    cr_assert(wire_peer_check(&ping, true, true) != PPN_OK);
    cr_assert(wire_peer_check(&bye, true, false) == PPN_OK);
}

Test(wire_peer, image_data_stays_inside_its_file)
{
    uint8_t bytes[256];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_peer_frame frame = {.kind = WIRE_PEER_IMAGE_DATA, .stream = 1}, back;
    frame.image_data.offset = 90;
    frame.image_data.size_bytes = 99;
    frame.image_data.bytes = ppn_slice("0123456789", 10);
    cr_assert(wire_peer_encode(&frame, &writer) == PPN_OK);
    cr_assert(wire_peer_decode(ppn_slice(bytes + 4, writer.size - 4), &back) == PPN_ERROR_INVALID);
}

Test(wire_log, entries_come_back_in_order_and_a_full_batch_stops)
{
    static uint8_t bytes[WIRE_LOG_BATCH_MAX], entry[WIRE_LOG_ENTRY_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_log_batch batch;
    struct wire_log_reader reader;
    struct ppn_slice got, signatures;
    uint32_t added = 0;
    wire_log_batch_start(&batch, &writer);
    for (entry[0] = 0;
         wire_log_batch_add(&batch, ppn_slice(entry, sizeof(entry)), ppn_slice(NULL, 0));
         entry[0]++)
        added++;
    cr_assert(added == 7 && wire_log_batch_finish(&batch, true) == PPN_OK);
    cr_assert(wire_log_read_start(&reader, ppn_written(&writer)) == PPN_OK && reader.more);
    for (uint32_t i = 0; i < added; i++)
        cr_assert(wire_log_read_next(&reader, &got, &signatures) && got.data[0] == i &&
                  signatures.size == 0);
    cr_assert(!wire_log_read_next(&reader, &got, &signatures));
}
