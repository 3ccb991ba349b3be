// SPDX-License-Identifier: ISC
#pragma once

/* The admission authority inside a VM: one admin key that never leaves it, and one operator whose
 * signature it wants under every entry before it adds its own. Whoever carries its lines, the host
 * or any member, can withhold them and nothing else. Pure: lines in, lines out; the shell makes
 * the state durable before it lets an answer go.
 *
 * What keeps it from running twice: it signs each number of its chain once, and after every start
 * a seal before anything else. A copy of an older disk is behind the log and is refused there; two
 * that are not yet seen together make two seals with one number, which the fold ignores both.
 *
 *     TAG hello                    TAG is KEY NETWORK OPERATOR SEQ SEALED LAST
 *     TAG own NETWORK OPERATOR     the same; once, ever
 *     TAG sign BODY SIGNATURE      TAG signed ENVELOPE
 *                                  TAG refused WORDS
 *
 * Bytes in lower-case hexadecimal; TAG is 1 to 16 characters that the answer repeats. LAST is the
 * newest envelope, for who was cut off before it came to the log, or "-". */

#include <stdbool.h>
#include <stdint.h>

#include "admission/entry.h"

enum {
    AUTHORITY_LINE_MAX = 2 * ADMISSION_ENVELOPE_MAX + 512,
    AUTHORITY_TAG_MAX = 16,
    AUTHORITY_STATE_MAX = ADMISSION_ENVELOPE_MAX + 256
};

struct authority {
    uint8_t seed[ADMISSION_SEED_SIZE];
    struct admission_keypair pair;
    bool owned;
    struct ppn_hash network;
    struct admission_key operator_key;
    uint64_t seq; /* of the newest entry signed */
    struct ppn_hash last;
    uint64_t seal;
    bool sealed; /* since the start; not part of the state */
    bool closed; /* there is another way into this machine: it says so and does nothing */
    uint32_t envelope_size;
    uint8_t envelope[ADMISSION_ENVELOPE_MAX];
};

/* A new key. */
void authority_init(struct authority *authority, const uint8_t seed[static ADMISSION_SEED_SIZE]);

/* CORRUPT. */
enum ppn_error authority_load(struct authority *authority, struct ppn_slice state) PPN_CHECK;
void authority_save(const struct authority *authority, struct ppn_writer *state);

/* What an operator signs so that the authority with this key signs the body of this id. */
enum { AUTHORITY_TRANSCRIPT = 14 + ADMISSION_KEY_SIZE + PPN_HASH_SIZE };
struct ppn_slice authority_transcript(const struct admission_key *authority,
                                      const struct ppn_hash *id,
                                      uint8_t buffer[static AUTHORITY_TRANSCRIPT]);

/* line without its end. answer: with it, NUL-terminated; empty when the line is no request. True:
 * the state changed and must be durable before the answer goes. */
bool authority_answer(struct authority *authority, const char *line,
                      char answer[static AUTHORITY_LINE_MAX]);
