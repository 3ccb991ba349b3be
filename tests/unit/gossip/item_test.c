// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "gossip/item.h"

static struct ppn_slice life(uint8_t *bytes, size_t capacity)
{
    struct ppn_writer writer = ppn_writer(bytes, capacity);
    gossip_item_write(&writer, &(struct gossip_item){.kind = GOSSIP_ITEM_LIFE,
                                                     .author = 0x1122334455667788,
                                                     .epoch = 7,
                                                     .sequence = 9,
                                                     .standing = GOSSIP_STANDING_ALIVE});
    memset(bytes + writer.size, 0xee, GOSSIP_SIGNATURE_SIZE);
    return ppn_slice(bytes, writer.size + GOSSIP_SIGNATURE_SIZE);
}

Test(gossip_item, what_is_written_is_read)
{
    uint8_t bytes[GOSSIP_ITEM_SIZE_MAX];
    struct gossip_item item;
    struct ppn_slice slice = life(bytes, sizeof(bytes));
    cr_assert(slice.size == GOSSIP_LIFE_SIZE);
    cr_assert(gossip_item_read(slice, &item) == PPN_OK);
    cr_assert(item.author == 0x1122334455667788 && item.epoch == 7 && item.sequence == 9);
    cr_assert(item.standing == GOSSIP_STANDING_ALIVE);
}

Test(gossip_item, every_byte_out_of_place_is_refused)
{
    static const struct {
        size_t at;
        uint8_t value;
        enum ppn_error error;
    } cases[] = {
        {0, 0, PPN_ERROR_INVALID},                    /* no kind */
        {0, GOSSIP_ITEM_KIND_END, PPN_ERROR_INVALID}, /* unknown kind */
        {0, GOSSIP_ITEM_VERDICT, PPN_ERROR_INVALID},  /* a kind of another size */
        {1, 2, PPN_ERROR_VERSION},                    /* a later version */
        {13, 0, PPN_ERROR_INVALID},                   /* epoch 0 */
        {17, 0, PPN_ERROR_INVALID},                   /* incarnation 0 */
        {18, 0, PPN_ERROR_INVALID},                   /* neither alive nor left */
        {18, 3, PPN_ERROR_INVALID},                   /* a standing of rows only */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint8_t bytes[GOSSIP_ITEM_SIZE_MAX];
        struct gossip_item item;
        struct ppn_slice slice = life(bytes, sizeof(bytes));
        bytes[cases[i].at] = cases[i].value;
        cr_assert(gossip_item_read(slice, &item) == cases[i].error, "case %zu", i);
    }
}

Test(gossip_item, sizes_out_of_range_are_refused)
{
    uint8_t bytes[GOSSIP_ITEM_SIZE_MAX + 1] = {0};
    struct gossip_item item;
    struct ppn_slice slice = life(bytes, sizeof(bytes));
    for (size_t size = 0; size <= sizeof(bytes); size++)
        if (size != slice.size)
            cr_assert(gossip_item_read(ppn_slice(bytes, size), &item) != PPN_OK, "%zu", size);
    bytes[0] = GOSSIP_ITEM_LOAD;
    cr_assert(gossip_item_read(ppn_slice(bytes, GOSSIP_LOAD_SIZE_MAX), &item) == PPN_OK);
    cr_assert(item.body.size == GOSSIP_LOAD_BODY_MAX);
    cr_assert(gossip_item_read(ppn_slice(bytes, GOSSIP_LOAD_SIZE_MAX + 1), &item) != PPN_OK);
    bytes[0] = GOSSIP_ITEM_PROFILE;
    cr_assert(gossip_item_read(ppn_slice(bytes, GOSSIP_PROFILE_SIZE_MAX), &item) == PPN_OK);
}

Test(gossip_item, a_transcript_binds_network_and_author)
{
    struct ppn_hash network = {{1}}, other_network = {{2}};
    struct ppn_node_id author = {{3}}, other_author = {{4}};
    uint8_t a[256], b[256], c[256];
    struct ppn_writer first = ppn_writer(a, sizeof(a)), second = ppn_writer(b, sizeof(b)),
                      third = ppn_writer(c, sizeof(c));
    struct ppn_slice item = ppn_slice("item", 4);
    gossip_transcript(&first, &network, &author, item);
    gossip_transcript(&second, &other_network, &author, item);
    gossip_transcript(&third, &network, &other_author, item);
    cr_assert(!ppn_slice_equal(ppn_written(&first), ppn_written(&second)));
    cr_assert(!ppn_slice_equal(ppn_written(&first), ppn_written(&third)));
}
