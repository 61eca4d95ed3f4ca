/* Who may read: pages of other sites cannot, for browsers keep replies from them. But a site can give its own name the
 * address of this console (DNS rebinding); its requests then have that name as their host. */
#include "console.h"
#include "net_networks.h"

/* Without the port. */
static struct str host_of(struct str authority)
{
    for (size_t i = authority.len; i-- > 0 && authority.s[i] != ']';)
        if (authority.s[i] == ':')
            return (struct str){authority.s, i};
    return authority;
}

static bool is_numeric(struct str host)
{
    uint8_t bytes[NET_IP_BYTES];

    if (host.len > 2 && host.s[0] == '[' && host.s[host.len - 1] == ']')
        host = (struct str){host.s + 1, host.len - 2};
    return net_ip_parse(host, bytes) == 0;
}

struct http_reply *guard_host(const struct http_req *req)
{
    struct str host = host_of(http_header(req, "host"));

    if (host.len == 0 || str_caseeq(host, STR("localhost")) || is_numeric(host))
        return NULL;
    return http_problem(403, "the host must be a numeric address or localhost");
}
