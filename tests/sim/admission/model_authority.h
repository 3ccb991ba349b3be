// SPDX-License-Identifier: ISC
#pragma once

#include "model.h"

struct model_authority {
    uint64_t view;
    uint64_t line;     /* the genesis and the recoveries that rule in turn */
    uint64_t standing; /* line, and the ADMIN_ADD, POLICY and SEAL entries that stand */
    uint64_t removals; /* ADMIN_REMOVE entries that stand */
    uint64_t seals;    /* seals that count */
    uint32_t generation;
    int dropped[MODEL_KEYS];
    uint64_t cut_all[MODEL_KEYS], cut_grants[MODEL_KEYS];
    uint64_t fork[MODEL_KEYS];
    bool suspect[MODEL_KEYS];
    uint32_t powers[MODEL_KEYS];
    struct admission_policy policy;
    uint32_t grace; /* of the policy that rules while no seal counts yet */
};

void model_authority(const struct model *model, uint64_t view, struct model_authority *authority);

/* Whether an entry by admins counts. */
bool model_stands(const struct model *model, const struct model_authority *authority,
                  uint32_t index);
bool model_sealed_against(const struct model *model, const struct model_authority *authority,
                          uint32_t grant, uint32_t removal);
bool model_sealed_unforked(const struct model *model, const struct model_authority *authority,
                           int key, uint32_t grant);

/* The lowest number used twice by the key within the view. */
uint64_t model_fork(const struct model *model, uint64_t view, int key);
