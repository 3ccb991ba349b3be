// SPDX-License-Identifier: ISC
#include "bridge/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/assert.h"

enum { CERTIFICATE_LIFE_S = 10 * 365 * 86400 };

struct tls_context {
    SSL_CTX *ssl;
    bool server;
};

struct tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

static bool name_and_sign(X509 *certificate, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    return ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
           X509_set_version(certificate, X509_VERSION_3) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -86400) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), CERTIFICATE_LIFE_S) != NULL &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

static bool make_certificate(SSL_CTX *ssl)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    bool made = key != NULL && certificate != NULL && name_and_sign(certificate, key) &&
                SSL_CTX_use_certificate(ssl, certificate) == 1 &&
                SSL_CTX_use_PrivateKey(ssl, key) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    return made;
}

enum ppn_error tls_context_new(bool server, struct tls_context **out, struct ppn_failure *failure)
{
    struct tls_context *context = calloc(1, sizeof(*context));
    *out = NULL;
    if (context == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    context->server = server;
    context->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    bool made = context->ssl != NULL &&
                SSL_CTX_set_min_proto_version(context->ssl, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_ciphersuites(context->ssl, "TLS_AES_128_GCM_SHA256:"
                                                       "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
                SSL_CTX_set_num_tickets(context->ssl, 0) == 1 &&
                (!server || make_certificate(context->ssl));
    if (!made) {
        char text[160];
        ERR_error_string_n(ERR_get_error(), text, sizeof(text));
        tls_context_free(context);
        return ppn_fail(failure, PPN_ERROR_IO, "OpenSSL: %s", text);
    }
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(context->ssl, SSL_MODE_RELEASE_BUFFERS);
    *out = context;
    return PPN_OK;
}

void tls_context_free(struct tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

struct tls *tls_new(const struct tls_context *context)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    tls->ssl = SSL_new(context->ssl);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        SSL_free(tls->ssl);
        free(tls);
        return NULL;
    }
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    if (context->server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

bool tls_feed(struct tls *tls, struct ppn_slice wire)
{
    size_t written = 0;
    return wire.size == 0 ||
           (BIO_write_ex(tls->in, wire.data, wire.size, &written) == 1 && written == wire.size);
}

enum tls_step tls_handshake(struct tls *tls)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1)
        return TLS_DONE;
    return SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ ? TLS_WAIT : TLS_FAILED;
}

int tls_read(struct tls *tls, uint8_t *plain, size_t size)
{
    size_t got = 0;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, plain, size, &got);
    if (result == 1)
        return (int)got;
    return SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ ? 0 : -1;
}

bool tls_write(struct tls *tls, struct ppn_slice plain)
{
    size_t written = 0;
    PPN_ASSERT(plain.size > 0 && plain.size <= TLS_PLAIN_MAX);
    ERR_clear_error();
    return SSL_write_ex(tls->ssl, plain.data, plain.size, &written) == 1 && written == plain.size;
}

struct ppn_slice tls_out(const struct tls *tls)
{
    char *bytes = NULL;
    long size = BIO_get_mem_data(tls->out, &bytes);
    return ppn_slice(bytes, size > 0 ? (size_t)size : 0);
}

void tls_out_taken(struct tls *tls)
{
    (void)BIO_reset(tls->out);
}
