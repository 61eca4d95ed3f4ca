/* The file of bearer tokens, and the header Authorization: up to a NUL the header, then the file. */
#include "fuzz.h"
#include "http.h"
#include "http_auth.h"
#include <openssl/sha.h>
#include <sys/mman.h>
#include <unistd.h>

static struct http_auth *open_file(struct str text)
{
    struct http_auth *auth = NULL;
    char path[64];
    unsigned line = 0;
    int fd = memfd_create("tokens", MFD_CLOEXEC), err;

    MUST(fd >= 0 && write(fd, text.s, text.len) == (ssize_t)text.len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    err = http_auth_open(path, &auth, &line);
    close(fd);
    MUST((err == 0) == (auth != NULL) && (err == 0 || err == -EINVAL || err == -EFBIG));
    MUST(err != 0 || line == 0);
    return auth;
}

static bool admits(struct http_auth *auth, struct str header, uint64_t now_ns)
{
    struct http_reply *reply = NULL;
    bool admitted = http_auth_admits(auth, header, now_ns, &reply);
    int status = admitted ? 0 : http_reply_status(reply);

    MUST(admitted == (reply == NULL) && (admitted || status == 401 || status == 429));
    if (status == 401)
        MUST(http_reply_header(reply, "www-authenticate").len > 0);
    if (status == 429)
        MUST(http_reply_header(reply, "retry-after").len > 0);
    http_reply_free(reply);
    return admitted;
}

/* The token that the header has is the only one of this file. */
static void check_own(struct str header)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct buf file = {0};
    struct http_auth *auth;
    bool is_bearer = header.len > 7 && str_caseeq((struct str){header.s, 7}, STR("bearer "));

    SHA256((const uint8_t *)header.s + (is_bearer ? 7 : 0), header.len - (is_bearer ? 7 : 0), digest);
    buf_append_cstr(&file, "fuzz ");
    for (size_t i = 0; i < sizeof(digest); i++)
        buf_printf(&file, "%02x", digest[i]);
    buf_append_cstr(&file, " 1\n");
    MUST((auth = open_file(buf_str(&file))) != NULL);
    MUST(admits(auth, header, 1) == is_bearer);
    MUST(!admits(auth, header, 2)); /* one a second */
    http_auth_free(auth);
    buf_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {0};
    struct str header = fuzz_copy(&memory, fuzz_until(&input, '\0'));
    struct http_auth *auth = open_file(fuzz_rest(&input));

    if (auth != NULL)
        admits(auth, header, 1);
    http_auth_free(auth);
    check_own(header);
    fuzz_release(&memory);
    return 0;
}
