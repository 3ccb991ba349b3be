// SPDX-License-Identifier: ISC
#pragma once

/* Assertions for bugs of this program, kept in every build. Input from a peer, a person or a disk
 * is never asserted on: it is decoded, rejected with an enum ppn_error, and only then asserted. */

_Noreturn void ppn_assert_failed(const char *expression, const char *file, int line);

#define PPN_ASSERT(expression)                                                                     \
    ((expression) ? (void)0 : ppn_assert_failed(#expression, __FILE__, __LINE__))

#define PPN_UNREACHABLE() ppn_assert_failed("unreachable", __FILE__, __LINE__)
