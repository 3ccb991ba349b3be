// SPDX-License-Identifier: ISC
#pragma once

/* Names that people give: nodes, VMs, images, networks, label keys. One strict alphabet everywhere,
 * so that a name is safe in a path, an argument vector, a DNS label and a terminal. */

#include <stdbool.h>
#include <stddef.h>

enum { PPN_NAME_MAX = 63, PPN_LABEL_VALUE_MAX = 63 };

/* 1..63 of [a-z0-9-], not starting or ending with '-' (RFC 1123, one label). Image names may also
 * hold '.' between other characters. */
bool ppn_name_valid(const char *name);
bool ppn_image_name_valid(const char *name);

/* 0..63 printable ASCII characters without space, quote, backslash, comma or '='. */
bool ppn_label_value_valid(const char *value);

/* Copies into a fixed field; true when it fitted whole. Always terminates. */
bool ppn_text_copy(char *to, size_t capacity, const char *from);
