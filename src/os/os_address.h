// SPDX-License-Identifier: ISC
#pragma once

/* Endpoints (struct ppn_endpoint: IPv4 is ::ffff:a.b.c.d) from and to text and socket addresses. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/facts.h"
#include "os/os_loop.h"
#include "os/os_worker.h"

enum { OS_ENDPOINT_TEXT = 56 }; /* "[IPv6]:65535" and NUL, with room */
enum { OS_HOST_MAX = 253, OS_RESOLVED_MAX = 8 };

bool os_endpoint_equal(const struct ppn_endpoint *a, const struct ppn_endpoint *b);
bool os_endpoint_is_ipv4(const struct ppn_endpoint *endpoint);
/* "192.0.2.1:7441" or "[fd00::1]:7441". */
void os_endpoint_text(const struct ppn_endpoint *endpoint, char text[static OS_ENDPOINT_TEXT]);
/* The address alone: "192.0.2.1" or "fd00::1". */
void os_address_text(const uint8_t address[static 16], char text[static OS_ENDPOINT_TEXT]);

/* "A.B.C.D", "A.B.C.D:PORT", "[V6]:PORT", "V6", ":PORT" (any address), "PORT" (the same); a missing
 * port is default_port. Numeric only: a host name is PPN_ERROR_INVALID. */
enum ppn_error os_endpoint_parse(const char *text, uint16_t default_port,
                                 struct ppn_endpoint *endpoint) PPN_CHECK;

/* Splits "HOST", "HOST:PORT", "[V6]:PORT" into host (OS_HOST_MAX + 1 bytes) and port. */
enum ppn_error os_host_split(const char *text, uint16_t default_port, char *host,
                             uint16_t *port) PPN_CHECK;

/* family: AF_INET or AF_INET6; an IPv4 endpoint asked for as AF_INET6 stays v4-mapped. */
socklen_t os_endpoint_to_sockaddr(const struct ppn_endpoint *endpoint, int family,
                                  struct sockaddr_storage *address);
bool os_endpoint_from_sockaddr(const struct sockaddr_storage *address,
                               struct ppn_endpoint *endpoint);

/* Name lookup in a worker thread (numeric text too). done gets 0 endpoints and an error when it
 * failed. The call itself fails with BUSY or NO_MEMORY only, and done is not called then. */
typedef void os_resolve_fn(void *context, enum ppn_error error,
                           const struct ppn_endpoint *endpoints, uint32_t count);
enum ppn_error os_resolve(struct os_worker *worker, const char *host, uint16_t port,
                          os_resolve_fn *done, void *context) PPN_CHECK;
