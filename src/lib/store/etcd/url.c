#include "store_etcd_internal.h"
#include <errno.h>
#include <stdlib.h>

#define PREFIX_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static const char *parse_endpoints(char *list, struct etcd_url *url)
{
    char *endpoint;

    while ((endpoint = strsep(&list, ",")) != NULL) {
        if (url->endpoint_count == ETCD_MAX_ENDPOINTS)
            return "too many endpoints";
        if (rpc_client_check_target(endpoint) != NULL)
            return "an endpoint must be HOST:PORT";
        url->endpoints[url->endpoint_count++] = endpoint;
    }
    return NULL;
}

static const char *parse_option(char *option, struct etcd_url *url)
{
    const struct {
        const char *name, **value;
    } options[] = {
        {"view", &url->view}, {"ca", &url->ca},     {"cert", &url->certificate},
        {"key", &url->key},   {"user", &url->user}, {"password_file", &url->password_file},
    };
    char *value = strchr(option, '=');

    if (value == NULL || value[1] == '\0')
        return "an option must be NAME=VALUE";
    *value++ = '\0';
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
        if (strcmp(option, options[i].name) != 0)
            continue;
        if (*options[i].value != NULL)
            return "an option stands twice";
        *options[i].value = value;
        return NULL;
    }
    return "an option must be one of view, ca, cert, key, user, password_file";
}

static const char *parse_options(char *list, struct etcd_url *url)
{
    const char *why = NULL;
    char *rest = list, *option;

    while (why == NULL && (option = strsep(&rest, "&")) != NULL)
        why = parse_option(option, url);
    if (why != NULL)
        return why;
    if (url->view != NULL && url->view[0] != '/')
        return "view must be an absolute path";
    if ((url->certificate == NULL) != (url->key == NULL))
        return "cert and key belong together";
    if (url->certificate != NULL && url->ca == NULL)
        return "cert needs ca";
    if ((url->user == NULL) != (url->password_file == NULL))
        return "user and password_file belong together";
    return NULL;
}

static const char *parse(char *text, struct etcd_url *url)
{
    char *options = strchr(text, '?'), *prefix;
    const char *why;

    if (options != NULL)
        *options++ = '\0';
    prefix = strchr(text, '/');
    if (prefix == NULL)
        return "there is no PREFIX";
    *prefix++ = '\0';
    if (prefix[0] == '\0' || strlen(prefix) > ETCD_MAX_PREFIX || prefix[strspn(prefix, PREFIX_CHARACTERS)] != '\0')
        return "a PREFIX is 1 to 64 of A-Za-z0-9._-";
    url->prefix = prefix;
    why = parse_endpoints(text, url);
    return why == NULL && options != NULL ? parse_options(options, url) : why;
}

int etcd_url_parse(const char *rest, struct etcd_url *ret_url, const char **ret_why)
{
    *ret_url = (struct etcd_url){.text = strdup(rest)};
    if (ret_url->text == NULL)
        return -ENOMEM;
    *ret_why = parse(ret_url->text, ret_url);
    return *ret_why == NULL ? 0 : -EINVAL;
}

void etcd_url_release(struct etcd_url *url)
{
    free(url->text);
    *url = (struct etcd_url){0};
}
