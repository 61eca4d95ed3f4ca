#include "rpc_client_internal.h"
#include <errno.h>
#include <stdio.h>

#define MAX_PEM (1024 * 1024) /* bytes of a file */

/* A terminated text that has at least the form of PEM. */
static int read_pem(const char *path, struct buf *text)
{
    FILE *file = fopen(path, "re");
    int err = file != NULL ? 0 : -errno;
    size_t got = 1;

    while (err == 0 && got > 0) {
        char *room = buf_reserve(text, 4096);

        if (room != NULL) {
            got = fread(room, 1, 4096, file);
            text->len += got;
        }
        err = buf_error(text);
    }
    if (err == 0 && ferror(file))
        err = -EIO;
    if (file != NULL)
        fclose(file);
    buf_append_char(text, '\0');
    if (err == 0)
        err = buf_error(text);
    return err == 0 && strstr(text->data, "-----BEGIN ") == NULL ? -EINVAL : err;
}

static int create_tls(const struct rpc_tls *tls, grpc_channel_credentials **ret_credentials)
{
    struct buf ca = {.max = MAX_PEM}, certificate = {.max = MAX_PEM}, key = {.max = MAX_PEM};
    bool own = tls->certificate != NULL && tls->key != NULL;
    int err;

    err = (tls->certificate == NULL) == (tls->key == NULL) ? read_pem(tls->ca, &ca) : -EINVAL;
    if (err == 0 && own)
        err = read_pem(tls->certificate, &certificate);
    if (err == 0 && own)
        err = read_pem(tls->key, &key);
    if (err == 0) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = key.data, .cert_chain = certificate.data};

        *ret_credentials = grpc_ssl_credentials_create(ca.data, own ? &pair : NULL, NULL, NULL);
        err = *ret_credentials != NULL ? 0 : -EINVAL;
    }
    if (key.data != NULL)
        explicit_bzero(key.data, key.len);
    buf_release(&ca);
    buf_release(&certificate);
    buf_release(&key);
    return err;
}

int rpc_credentials_create(const struct rpc_tls *tls, grpc_channel_credentials **ret_credentials)
{
    if (tls != NULL)
        return create_tls(tls, ret_credentials);
    *ret_credentials = grpc_insecure_credentials_create();
    return 0;
}
