/* Targets: "name:port", lists of numeric addresses, and gRPC's own URIs, to which the others are turned. */
#include "rpc_client_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_port(struct str text)
{
    uint64_t port;

    return str_to_u64(text, 65535, &port) == 0 && port > 0;
}

/* "1.2.3.4:5" or "[::1]:5" */
static bool is_numeric(struct str address, int family)
{
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = memrchr(address.s, ':', address.len);
    size_t len = colon != NULL ? (size_t)(colon - address.s) : 0;
    unsigned char bytes[16];

    if (len == 0 || len >= sizeof(host) || !is_port((struct str){colon + 1, address.len - len - 1}))
        return false;
    memcpy(host, address.s, len);
    host[len] = '\0';
    if (family == AF_INET)
        return inet_pton(AF_INET, host, bytes) == 1;
    if (host[0] != '[' || host[len - 1] != ']')
        return false;
    host[len - 1] = '\0';
    return inet_pton(AF_INET6, host + 1, bytes) == 1;
}

static bool all_numeric(const char *list, int family)
{
    const char *comma;

    for (; (comma = strchr(list, ',')) != NULL; list = comma + 1)
        if (!is_numeric((struct str){list, (size_t)(comma - list)}, family))
            return false;
    return is_numeric(str_of(list), family);
}

/* "name:port" */
static bool is_name_and_port(const char *target)
{
    const char *colon = strchr(target, ':');

    return colon != NULL && colon != target && strpbrk(target, ",/ ") == NULL && is_port(str_of(colon + 1));
}

int rpc_target_uri(const char *target, char **ret_uri)
{
    const char *scheme;
    char *uri;

    if (strstr(target, "://") != NULL || strncmp(target, "unix:", 5) == 0)
        scheme = "";
    else if (all_numeric(target, AF_INET))
        scheme = "ipv4:";
    else if (all_numeric(target, AF_INET6))
        scheme = "ipv6:";
    else if (is_name_and_port(target))
        scheme = "dns:///";
    else
        return -EINVAL;
    if (asprintf(&uri, "%s%s", scheme, target) < 0)
        return -ENOMEM;
    *ret_uri = uri;
    return 0;
}

const char *rpc_client_check_target(const char *target)
{
    char *uri = NULL;
    int r = rpc_target_uri(target, &uri);

    free(uri);
    return r == 0 ? NULL : r == -EINVAL ? "must be host:port" : strerror(-r);
}
