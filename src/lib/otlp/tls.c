/* TLS to the collector, on a socket that does not block. */
#include "otlp_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>

static const unsigned char alpn[] = {2, 'h', '2'};

int otlp_tls_open(const char *ca_file, struct ssl_ctx_st **ret_tls)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    bool trusts;

    if (tls == NULL)
        return -ENOMEM;
    trusts = ca_file != NULL && ca_file[0] != '\0' ? SSL_CTX_load_verify_locations(tls, ca_file, NULL) == 1
                                                   : SSL_CTX_set_default_verify_paths(tls) == 1;
    ERR_clear_error();
    if (!trusts || SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(tls);
        return -EBADMSG;
    }
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    *ret_tls = tls;
    return 0;
}

void otlp_tls_close(struct ssl_ctx_st *tls)
{
    SSL_CTX_free(tls);
}

/* Whom the certificate must name. */
static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct ssl_st *otlp_tls_begin(struct ssl_ctx_st *tls, int fd, const char *host)
{
    SSL *ssl = SSL_new(tls);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || !expect_host(ssl, host) ||
        SSL_set_alpn_protos(ssl, alpn, sizeof(alpn)) != 0) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    return ssl;
}

void otlp_tls_end(struct ssl_st *ssl)
{
    SSL_free(ssl);
}

/* -EAGAIN, with *events; or the connection is of no use. */
static int failure(SSL *ssl, int result, short *events)
{
    int error = SSL_get_error(ssl, result);

    ERR_clear_error();
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return -ECONNRESET;
    *events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    return -EAGAIN;
}

int otlp_tls_handshake(struct ssl_st *ssl, short *ret_events)
{
    const unsigned char *protocol;
    unsigned len;
    int result = SSL_connect(ssl);

    if (result != 1)
        return failure(ssl, result, ret_events);
    SSL_get0_alpn_selected(ssl, &protocol, &len);
    return len == 2 && memcmp(protocol, "h2", 2) == 0 ? 0 : -EPROTO;
}

ssize_t otlp_tls_send(struct ssl_st *ssl, struct str bytes, short *ret_events)
{
    int len = SSL_write(ssl, bytes.s, bytes.len < INT32_MAX ? (int)bytes.len : INT32_MAX);

    return len > 0 ? len : failure(ssl, len, ret_events);
}

ssize_t otlp_tls_receive(struct ssl_st *ssl, void *to, size_t size, short *ret_events)
{
    int len = SSL_read(ssl, to, (int)size);

    return len > 0 ? len : failure(ssl, len, ret_events);
}

bool otlp_tls_has_more(const struct ssl_st *ssl)
{
    return SSL_pending(ssl) > 0;
}
