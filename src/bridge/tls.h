// SPDX-License-Identifier: ISC
#pragma once

/* TLS 1.3 between memory and memory (OpenSSL): bytes of the wire in, bytes for the wire out. No
 * socket, no file.
 *
 * It is there for the networks that let nothing pass but what looks like the web, and for nothing
 * else: no secret of PPN depends on it. The certificate is made at the start and not checked;
 * who is in between sees what anybody on the way sees without TLS: WireGuard's packets and path
 * packets, which bring their own protection. */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

enum { TLS_PLAIN_MAX = 16384 }; /* of one record, RFC 8446 section 5.1 */

struct tls_context;
struct tls;

/* server: with a new P-256 key and a certificate for it; kept for the life of the process. */
enum ppn_error tls_context_new(bool server, struct tls_context **context,
                               struct ppn_failure *failure) PPN_CHECK;
void tls_context_free(struct tls_context *context);

/* NULL: out of memory. */
struct tls *tls_new(const struct tls_context *context);
void tls_free(struct tls *tls);

/* Bytes from the wire. False: no memory. */
bool tls_feed(struct tls *tls, struct ppn_slice wire);

enum tls_step { TLS_WAIT, TLS_DONE, TLS_FAILED };
/* The handshake, as far as it goes now; call it first with nothing fed. */
enum tls_step tls_handshake(struct tls *tls);
/* Once that is done: the next plain bytes, at most `size`. 0: none now. Negative: it ended. */
int tls_read(struct tls *tls, uint8_t *plain, size_t size);
/* At most TLS_PLAIN_MAX bytes. False: it ended. */
bool tls_write(struct tls *tls, struct ppn_slice plain);

/* What must be sent to the other end. Borrowed until the next call of anything but this. */
struct ppn_slice tls_out(const struct tls *tls);
void tls_out_taken(struct tls *tls);
