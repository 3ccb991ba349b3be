// SPDX-License-Identifier: ISC
#include "admission/request.h"

#include <string.h>

#include "admission/pack.h"
#include "admission/payload.h"
#include "base/assert.h"

static const uint8_t domain[] = "ppn-join-1";

struct ppn_slice admission_invite_transcript(const struct ppn_hash *network,
                                             const struct admission_key *invite,
                                             const struct ppn_node_id *node,
                                             const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE],
                                             const char *name,
                                             uint8_t buffer[static ADMISSION_INVITE_TRANSCRIPT_MAX])
{
    struct ppn_writer writer = ppn_writer(buffer, ADMISSION_INVITE_TRANSCRIPT_MAX);
    size_t length = strlen(name);
    ppn_write(&writer, ppn_slice("ppn-invite-1", 13));
    ppn_write(&writer, ppn_slice(network->bytes, PPN_HASH_SIZE));
    ppn_write(&writer, ppn_slice(invite->bytes, ADMISSION_KEY_SIZE));
    ppn_write(&writer, ppn_slice(node->bytes, PPN_ID_SIZE));
    ppn_write(&writer, ppn_slice(wg_key, ADMISSION_WG_KEY_SIZE));
    ppn_write_u8(&writer, (uint8_t)length);
    ppn_write(&writer, ppn_slice(name, length));
    PPN_ASSERT(!writer.overflow);
    return ppn_written(&writer);
}

static void pack_offers(struct admission_pack *pack, struct admission_offer_facts *offers)
{
    admission_pack_array(pack, 6);
    admission_pack_text(pack, offers->arch, PPN_ARCH_MAX);
    admission_pack_text(pack, offers->os, ADMISSION_OS_MAX);
    admission_pack_u32(pack, &offers->cpus, 0, UINT32_MAX);
    admission_pack_u64(pack, &offers->memory_bytes, 0, UINT64_MAX);
    admission_pack_u64(pack, &offers->disk_bytes, 0, UINT64_MAX);
    uint32_t kvm = (uint32_t)offers->kvm;
    admission_pack_u32(pack, &kvm, 0, PPN_KVM_BOOTS);
    if (pack->error == PPN_OK)
        offers->kvm = (enum ppn_kvm_level)kvm;
}

static void pack_fields(struct admission_pack *pack, struct admission_request *request)
{
    uint32_t version = ADMISSION_REQUEST_VERSION;
    admission_pack_array(pack, 8);
    admission_pack_u32(pack, &version, 1, UINT16_MAX);
    if (pack->error == PPN_OK && version != ADMISSION_REQUEST_VERSION)
        admission_pack_fail(pack, PPN_ERROR_VERSION);
    admission_pack_fixed(pack, request->network.bytes, PPN_HASH_SIZE);
    admission_pack_fixed(pack, request->node.bytes, PPN_ID_SIZE);
    admission_pack_fixed(pack, request->wg_key, sizeof request->wg_key);
    admission_pack_name(pack, request->name);
    admission_pack_time(pack, &request->time_unix_ms);
    pack_offers(pack, &request->offers);
    uint32_t invited = request->has_invite ? 2 : 0;
    admission_pack_count(pack, &invited, 0, 2);
    request->has_invite = invited == 2;
    if (invited == 1)
        admission_pack_fail(pack, PPN_ERROR_INVALID);
    if (request->has_invite) {
        admission_pack_fixed(pack, request->invite.bytes, ADMISSION_KEY_SIZE);
        admission_pack_fixed(pack, request->invite_signature.bytes, ADMISSION_SIGNATURE_SIZE);
    }
    if (pack->error == PPN_OK &&
        (ppn_hash_is_zero(&request->network) || ppn_node_id_is_zero(&request->node)))
        admission_pack_fail(pack, PPN_ERROR_INVALID);
}

/* What the node signs: the domain, then the bytes of the fields as they travel. */
static struct ppn_slice transcript_of(struct ppn_slice fields,
                                      uint8_t buffer[static ADMISSION_REQUEST_MAX + 16])
{
    memcpy(buffer, domain, sizeof domain);
    memcpy(buffer + sizeof domain, fields.data, fields.size);
    return ppn_slice(buffer, sizeof domain + fields.size);
}

enum ppn_error admission_request_make(struct admission_request *request,
                                      const struct admission_signer *node,
                                      const struct admission_signer *invite,
                                      struct ppn_writer *bytes)
{
    uint8_t fields_bytes[ADMISSION_REQUEST_MAX], buffer[ADMISSION_REQUEST_MAX + 16];
    request->node = admission_key_node(&node->key);
    request->has_invite = invite != NULL;
    if (invite != NULL) {
        uint8_t invite_buffer[ADMISSION_INVITE_TRANSCRIPT_MAX];
        if (!ppn_name_valid(request->name))
            return PPN_ERROR_INVALID;
        request->invite = invite->key;
        struct ppn_slice transcript =
            admission_invite_transcript(&request->network, &invite->key, &request->node,
                                        request->wg_key, request->name, invite_buffer);
        if (!invite->sign(invite->ctx, transcript, &request->invite_signature))
            return PPN_ERROR_REFUSED;
    }
    struct ppn_writer writer = ppn_writer(fields_bytes, sizeof fields_bytes);
    struct admission_pack pack = admission_pack_writer(&writer);
    pack_fields(&pack, request);
    enum ppn_error error = admission_pack_end(&pack);
    if (error != PPN_OK)
        return error;
    struct ppn_slice fields = ppn_written(&writer);
    struct admission_signature signature;
    if (!node->sign(node->ctx, transcript_of(fields, buffer), &signature))
        return PPN_ERROR_REFUSED;
    struct admission_pack outer = admission_pack_writer(bytes);
    admission_pack_array(&outer, 2);
    admission_pack_bytes(&outer, &fields, ADMISSION_REQUEST_MAX);
    admission_pack_fixed(&outer, signature.bytes, sizeof signature.bytes);
    return admission_pack_end(&outer);
}

static enum ppn_error split(struct ppn_slice bytes, struct ppn_slice *fields,
                            struct admission_signature *signature)
{
    if (bytes.size > ADMISSION_REQUEST_MAX)
        return PPN_ERROR_TOO_BIG;
    struct admission_pack pack = admission_pack_reader(bytes);
    admission_pack_array(&pack, 2);
    admission_pack_bytes(&pack, fields, ADMISSION_REQUEST_MAX);
    admission_pack_fixed(&pack, signature->bytes, sizeof signature->bytes);
    return admission_pack_end(&pack);
}

enum ppn_error admission_request_peek(struct ppn_slice bytes, struct admission_request *request)
{
    struct ppn_slice fields = {0};
    struct admission_signature signature;
    enum ppn_error error = split(bytes, &fields, &signature);
    if (error != PPN_OK)
        return error;
    memset(request, 0, sizeof *request);
    struct admission_pack pack = admission_pack_reader(fields);
    pack_fields(&pack, request);
    return admission_pack_end(&pack);
}

enum ppn_error admission_request_decode(const struct admission_crypto *crypto,
                                        struct ppn_slice bytes, struct admission_request *request)
{
    struct ppn_slice fields = {0};
    struct admission_signature signature;
    uint8_t buffer[ADMISSION_REQUEST_MAX + 16], invite_buffer[ADMISSION_INVITE_TRANSCRIPT_MAX];
    enum ppn_error error = admission_request_peek(bytes, request);
    if (error == PPN_OK)
        error = split(bytes, &fields, &signature);
    if (error != PPN_OK)
        return error;
    struct admission_key node = admission_node_key(&request->node);
    if (!crypto->verify(crypto->ctx, &node, transcript_of(fields, buffer), &signature))
        return PPN_ERROR_SIGNATURE;
    if (!request->has_invite)
        return PPN_OK;
    struct ppn_slice transcript =
        admission_invite_transcript(&request->network, &request->invite, &request->node,
                                    request->wg_key, request->name, invite_buffer);
    bool good =
        crypto->verify(crypto->ctx, &request->invite, transcript, &request->invite_signature);
    return good ? PPN_OK : PPN_ERROR_SIGNATURE;
}
