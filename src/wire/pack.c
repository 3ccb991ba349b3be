// SPDX-License-Identifier: ISC
#include "wire/pack.h"

#include <string.h>

#include <msgpack/pack.h>

#include "base/assert.h"
#include "wire/address.h"

/* Never reports a failure to msgpack-c: the writer remembers it. */
static int sink(void *data, const char *bytes, size_t size)
{
    ppn_write(data, ppn_slice(bytes, size));
    return 0;
}

static msgpack_packer packer_on(struct ppn_writer *writer)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, writer, sink);
    return packer;
}

void wire_pack_array(struct ppn_writer *writer, uint32_t count)
{
    msgpack_packer packer = packer_on(writer);
    msgpack_pack_array(&packer, count);
}

void wire_pack_uint(struct ppn_writer *writer, uint64_t value)
{
    msgpack_packer packer = packer_on(writer);
    msgpack_pack_uint64(&packer, value);
}

void wire_pack_int(struct ppn_writer *writer, int64_t value)
{
    msgpack_packer packer = packer_on(writer);
    msgpack_pack_int64(&packer, value);
}

void wire_pack_bool(struct ppn_writer *writer, bool value)
{
    msgpack_packer packer = packer_on(writer);
    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

void wire_pack_nil(struct ppn_writer *writer)
{
    msgpack_packer packer = packer_on(writer);
    msgpack_pack_nil(&packer);
}

void wire_pack_bin(struct ppn_writer *writer, struct ppn_slice bytes)
{
    msgpack_packer packer = packer_on(writer);
    PPN_ASSERT(bytes.size <= UINT32_MAX);
    msgpack_pack_bin(&packer, bytes.size);
    ppn_write(writer, bytes);
}

void wire_pack_bytes(struct ppn_writer *writer, const uint8_t *bytes, size_t size)
{
    wire_pack_bin(writer, ppn_slice(bytes, size));
}

void wire_pack_str(struct ppn_writer *writer, struct ppn_slice text)
{
    msgpack_packer packer = packer_on(writer);
    PPN_ASSERT(text.size <= UINT32_MAX);
    msgpack_pack_str(&packer, text.size);
    ppn_write(writer, text);
}

void wire_pack_text(struct ppn_writer *writer, const char *text)
{
    wire_pack_str(writer, ppn_slice(text, strlen(text)));
}

void wire_pack_printable(struct ppn_writer *writer, const char *text, size_t max)
{
    size_t size = strnlen(text, max);
    msgpack_packer packer = packer_on(writer);
    msgpack_pack_str(&packer, size);
    for (size_t i = 0; i < size; i++)
        ppn_write_u8(writer, text[i] >= 0x20 && text[i] <= 0x7e ? (uint8_t)text[i] : '?');
}

bool wire_pack_labels(struct ppn_writer *writer, const struct ppn_label *labels, uint32_t count)
{
    PPN_ASSERT(count <= PPN_LABELS_MAX);
    wire_pack_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!ppn_name_valid(labels[i].key) || !ppn_label_value_valid(labels[i].value))
            return false;
        wire_pack_array(writer, 2);
        wire_pack_text(writer, labels[i].key);
        wire_pack_text(writer, labels[i].value);
    }
    return true;
}

void wire_pack_endpoint(struct ppn_writer *writer, const struct ppn_endpoint *endpoint)
{
    bool mapped = memcmp(endpoint->address, wire_mapped_prefix, WIRE_MAPPED_PREFIX) == 0;
    size_t skip = mapped ? WIRE_MAPPED_PREFIX : 0;
    wire_pack_array(writer, 2);
    wire_pack_bytes(writer, endpoint->address + skip, sizeof(endpoint->address) - skip);
    wire_pack_uint(writer, endpoint->port);
}

enum ppn_error wire_pack_finish(const struct ppn_writer *writer)
{
    return writer->overflow ? PPN_ERROR_TOO_BIG : PPN_OK;
}
