// SPDX-License-Identifier: ISC
#pragma once

/* A network with a founder, and keys drawn from small numbers. */

#include <criterion/criterion.h>

#include "admission/admission.h"
#include "admission/author.h"

enum { T0 = 1700000000 };

struct fixture {
    struct admission *log;
    struct admission_update update;
    struct ppn_failure why;
    struct ppn_wall now;
    struct admission_keypair founder;
};

struct admission_keypair pair(uint8_t number);
struct ppn_node_id node_id(uint8_t number);

/* Founded by pair(1); recovery key pair(200). */
struct fixture fixture_new(void);

/* Another replica of the same network, empty. */
struct fixture fixture_empty(const struct fixture *like);
void fixture_free(struct fixture *f);

enum admission_verdict offer(struct fixture *f, const struct admission_made *made);

/* Made and accepted, or the test ends here. */
struct admission_made admit(struct fixture *f, struct admission_keypair *by, uint8_t node,
                            const char *name);
struct admission_made revoke(struct fixture *f, struct admission_keypair *by,
                             const struct admission_key *subject);
struct admission_made add_admin(struct fixture *f, struct admission_keypair *by, uint8_t who,
                                uint32_t powers);
struct admission_made remove_admin(struct fixture *f, struct admission_keypair *by, uint8_t who,
                                   int64_t cut);
struct admission_made invite(struct fixture *f, struct admission_keypair *by, uint8_t key,
                             uint32_t uses, int64_t expires);
struct admission_made seal(struct fixture *f, struct admission_keypair *by);

/* The join request of a node that holds the invite's key (0: none). */
struct admission_request request(struct fixture *f, uint8_t node, const char *name, uint8_t invite);

/* Entry by any keys, not offered. */
struct admission_made make_by(struct fixture *f, struct admission_keypair *const *by,
                              uint32_t count, struct admission_entry entry);

/* All accepted entries of one log into another, in its order. */
void copy_all(const struct fixture *from, struct fixture *to);
bool is_member(const struct fixture *f, uint8_t node);

/* Same members and authority, and a fold from scratch changes nothing. */
void expect_same(struct fixture *a, struct fixture *b);
