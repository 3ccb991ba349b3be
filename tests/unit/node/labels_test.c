// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "node/labels.h"

static struct ppn_label label(const char *key, const char *value)
{
    struct ppn_label made = {0};
    (void)snprintf(made.key, sizeof(made.key), "%s", key);
    (void)snprintf(made.value, sizeof(made.value), "%s", value);
    return made;
}

static const char *value_of(const struct ppn_profile *profile, const char *key)
{
    const char *found = NULL;
    for (uint32_t i = 0; i < profile->label_count; i++) {
        if (strcmp(profile->labels[i].key, key) != 0)
            continue;
        cr_assert_null(found, "%s is there twice", key);
        found = profile->labels[i].value;
    }
    return found;
}

Test(labels, what_an_admin_gave_wins)
{
    struct ppn_profile profile = {.label_count = 2,
                                  .labels = {label("room", "cellar"), label("floor", "2")}};
    struct admission_labels given = {.count = 2,
                                     .items = {label("fast", "yes"), label("room", "attic")}};
    node_labels_lay(&profile, &given);
    cr_assert_eq(profile.label_count, 3);
    cr_expect_str_eq(value_of(&profile, "room"), "attic");
    cr_expect_str_eq(value_of(&profile, "fast"), "yes");
    cr_expect_str_eq(value_of(&profile, "floor"), "2");
    node_labels_lay(&profile, &given);
    cr_expect_eq(profile.label_count, 3, "laid twice it is the same");
}

Test(labels, none_given_changes_nothing)
{
    struct ppn_profile profile = {.label_count = 1, .labels = {label("room", "cellar")}};
    struct admission_labels given = {0};
    node_labels_lay(&profile, &given);
    cr_assert_eq(profile.label_count, 1);
    cr_expect_str_eq(value_of(&profile, "room"), "cellar");
}

Test(labels, a_machine_full_of_labels_pushes_none_out)
{
    struct ppn_profile profile = {.label_count = PPN_LABELS_MAX};
    struct admission_labels given = {.count = PPN_LABELS_MAX};
    char key[16];
    for (uint32_t i = 0; i < PPN_LABELS_MAX; i++) {
        (void)snprintf(key, sizeof(key), "own-%u", i);
        profile.labels[i] = label(key, "x");
        (void)snprintf(key, sizeof(key), "given-%02u", i);
        given.items[i] = label(key, "y");
    }
    node_labels_lay(&profile, &given);
    cr_assert_eq(profile.label_count, PPN_LABELS_MAX);
    cr_expect_str_eq(value_of(&profile, "given-00"), "y");
    cr_expect_str_eq(value_of(&profile, "given-15"), "y");
    cr_expect_null(value_of(&profile, "own-0"));
}
