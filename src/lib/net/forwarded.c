#include "buf.h"
#include "net_forwarded.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define MAX_HOPS 16 /* proxies in a row that are believed */

/* Takes the last item off a list. False: there is none. */
static bool take_last(struct str *list, struct str *ret_item)
{
    const char *comma;

    if (list->s == NULL)
        return false;
    comma = list->len > 0 ? memrchr(list->s, ',', list->len) : NULL;
    if (comma == NULL) {
        *ret_item = *list;
        *list = STR_NULL;
        return true;
    }
    *ret_item = (struct str){comma + 1, list->len - (size_t)(comma - list->s) - 1};
    list->len = (size_t)(comma - list->s);
    return true;
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]" and "[2001:db8::1]:80" without brackets and port. */
static struct str without_port(struct str item)
{
    const char *end = item.len > 0 ? memchr(item.s, item.s[0] == '[' ? ']' : ':', item.len) : NULL;

    if (end == NULL)
        return item;
    if (item.s[0] == '[')
        return (struct str){item.s + 1, (size_t)(end - item.s) - 1};
    return memrchr(item.s, ':', item.len) == end ? (struct str){item.s, (size_t)(end - item.s)} : item;
}

bool net_forwarded(const struct net_networks *proxies, struct str line, char ip[NET_IP_SIZE])
{
    uint8_t bytes[NET_IP_BYTES];
    struct str item;

    for (unsigned hops = 0; take_last(&line, &item); hops++) {
        if (hops == MAX_HOPS || net_ip_parse(without_port(str_trim(item)), bytes) < 0)
            return false;
        net_ip_bytes_text(bytes, ip);
        if (!net_networks_contain(proxies, bytes))
            return false;
    }
    return true;
}
