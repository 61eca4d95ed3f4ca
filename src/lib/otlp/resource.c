/* What is said of the process with everything that is sent, and the headers of requests: lists as the environment has
 * them. */
#include "hex.h"
#include "otlp_internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOST_SIZE     256
#define INSTANCE_SIZE (HOST_SIZE + sizeof(":-2147483648"))

/* In place. */
static int percent_decode(struct str *text)
{
    char *to = (char *)text->s;
    size_t len = 0;

    for (size_t i = 0; i < text->len; i++) {
        char c = text->s[i];

        if (c == '%') {
            int byte = i + 2 < text->len ? hex_byte(text->s + i + 1) : -1;

            if (byte < 0)
                return -EINVAL;
            c = (char)byte;
            i += 2;
        }
        to[len++] = c;
    }
    text->len = len;
    return 0;
}

/* Replaces one of the same key. */
static int add_resource(struct otlp_resource *resource, struct str key, struct str value)
{
    size_t at = 0;

    while (at < resource->count && !str_eq(resource->attributes[at].key, key))
        at++;
    if (at == OTLP_MAX_RESOURCE)
        return -EINVAL;
    resource->count = at == resource->count ? at + 1 : resource->count;
    resource->attributes[at].key = key;
    resource->attributes[at].value = value;
    return 0;
}

static int parse_attribute(struct otlp_resource *resource, struct str text)
{
    struct str key, value = text;
    size_t code_points;

    str_next(&value, '=', &key);
    if (value.s == NULL)
        return -EINVAL;
    key = str_trim(key);
    value = str_trim(value);
    if (key.len == 0 || percent_decode(&value) != 0 || str_utf8_length(key, &code_points) != 0 ||
        str_utf8_length(value, &code_points) != 0)
        return -EINVAL;
    return add_resource(resource, key, value);
}

static int parse_list(struct otlp_resource *resource, struct str list)
{
    struct str item;
    int r = 0;

    while (r == 0 && str_next(&list, ',', &item))
        if (str_trim(item).len > 0)
            r = parse_attribute(resource, item);
    return r;
}

/* In a pod its name, which the kernel has as the host's. Elsewhere several processes share a host. */
static size_t name_instance(char instance[INSTANCE_SIZE])
{
    char host[HOST_SIZE] = "";
    size_t code_points;

    if (gethostname(host, sizeof(host) - 1) != 0 || str_utf8_length(str_of(host), &code_points) != 0 || host[0] == '\0')
        strcpy(host, "unknown");
    if (getenv("KUBERNETES_SERVICE_HOST") != NULL)
        return (size_t)snprintf(instance, INSTANCE_SIZE, "%s", host);
    return (size_t)snprintf(instance, INSTANCE_SIZE, "%s:%d", host, (int)getpid());
}

/* What the list says replaces what is said of every service. */
int otlp_resource_open(const char *service, const char *list, struct otlp_resource *ret_resource)
{
    struct otlp_resource resource = {.count = 0};
    size_t service_len = strlen(service), list_len = list != NULL ? strlen(list) : 0;
    char instance[INSTANCE_SIZE], *at;
    size_t instance_len = name_instance(instance);
    int r;

    resource.text = at = malloc(instance_len + service_len + list_len + 1);
    if (at == NULL)
        return -ENOMEM;
    memcpy(at, instance, instance_len);
    memcpy(at + instance_len, service, service_len);
    if (list_len > 0)
        memcpy(at + instance_len + service_len, list, list_len);
    add_resource(&resource, STR("service.name"), (struct str){at + instance_len, service_len});
    add_resource(&resource, STR("service.version"), STR(SLIPWAY_VERSION));
    add_resource(&resource, STR("service.instance.id"), (struct str){at, instance_len});
    add_resource(&resource, STR("telemetry.sdk.name"), STR("slipway"));
    add_resource(&resource, STR("telemetry.sdk.language"), STR("c"));
    add_resource(&resource, STR("telemetry.sdk.version"), STR(SLIPWAY_VERSION));
    r = parse_list(&resource, (struct str){at + instance_len + service_len, list_len});
    if (r != 0)
        otlp_resource_release(&resource);
    else
        *ret_resource = resource;
    return r;
}

/* A token of HTTP, in lower case as HTTP/2 wants it. */
static bool make_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char *c = (char *)name.s + i;

        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
        if ((*c < 'a' || *c > 'z') && (*c < '0' || *c > '9') && strchr("!#$%&'*+-.^_`|~", *c) == NULL)
            return false;
    }
    return name.len > 0;
}

static bool is_visible(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.s[i] < ' ' || value.s[i] > '~')
            return false;
    return true;
}

int otlp_headers_open(const char *list, struct otlp_resource *ret_headers)
{
    struct otlp_resource headers = {.text = strdup(list != NULL ? list : "")};
    int r = headers.text != NULL ? parse_list(&headers, str_of(headers.text)) : -ENOMEM;

    for (size_t i = 0; i < headers.count && r == 0; i++)
        if (!make_name(headers.attributes[i].key) || !is_visible(headers.attributes[i].value))
            r = -EINVAL;
    if (r != 0)
        otlp_resource_release(&headers);
    else
        *ret_headers = headers;
    return r;
}

const char *otlp_check_headers(const char *list)
{
    struct otlp_resource headers;
    int r = otlp_headers_open(list, &headers);

    if (r == 0)
        otlp_resource_release(&headers);
    return r == -EINVAL ? "must be NAME=VALUE,..., percent-encoded, 32 at most" : NULL;
}

void otlp_resource_release(struct otlp_resource *resource)
{
    free(resource->text);
    resource->text = NULL;
}

const char *otlp_check_resource(const char *list)
{
    struct otlp_resource resource;
    int r = otlp_resource_open("", list, &resource);

    if (r == 0)
        otlp_resource_release(&resource);
    return r == -EINVAL ? "must be KEY=VALUE,..., percent-encoded, 26 at most" : NULL;
}
