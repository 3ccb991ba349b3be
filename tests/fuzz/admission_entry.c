// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/entry.h"
#include "admission/request.h"
#include "admission/token.h"
#include "fuzz.h"

/* Canonical: whatever decodes encodes to the very same bytes. */
static void body(struct ppn_slice input)
{
    static struct admission_entry entry;
    static uint8_t bytes[ADMISSION_BODY_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (admission_body_decode(input, &entry) != PPN_OK)
        return;
    PPN_ASSERT(admission_body_encode(&entry, &writer) == PPN_OK);
    PPN_ASSERT(ppn_slice_equal(ppn_written(&writer), input));
}

static void envelope(struct ppn_slice input)
{
    struct admission_envelope envelope;
    static uint8_t bytes[ADMISSION_ENVELOPE_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (admission_envelope_decode(input, &envelope) != PPN_OK)
        return;
    PPN_ASSERT(admission_envelope_encode(&envelope, &writer) == PPN_OK);
    PPN_ASSERT(ppn_slice_equal(ppn_written(&writer), input));
    body(envelope.body);
}

static void token(struct ppn_slice input)
{
    char text[ADMISSION_TOKEN_TEXT_MAX + 8], again[ADMISSION_TOKEN_TEXT_MAX];
    struct admission_token token, back;
    if (input.size >= sizeof(text))
        return;
    if (input.size > 0)
        memcpy(text, input.data, input.size);
    text[input.size] = '\0';
    if (admission_token_parse(text, &token, NULL) != PPN_OK)
        return;
    /* People may change case and add blanks; the token is the same. */
    PPN_ASSERT(admission_token_text(&token, again) == PPN_OK);
    PPN_ASSERT(admission_token_parse(again, &back, NULL) == PPN_OK);
    PPN_ASSERT(admission_token_text(&back, text) == PPN_OK && strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ppn_slice input = ppn_slice(data, size);
    static struct admission_request request;
    body(input);
    envelope(input);
    token(input);
    if (admission_request_peek(input, &request) == PPN_OK)
        PPN_ASSERT(request.name[0] != '\0');
    return 0;
}
