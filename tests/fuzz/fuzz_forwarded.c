/* X-Forwarded-For, from a trusted proxy: two lines, the last one first. */
#include "fuzz.h"
#include "net_forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fuzz_memory memory = {NULL};
    struct str last = fuzz_copy(&memory, fuzz_until(&input, '\n')), first = fuzz_copy(&memory, fuzz_rest(&input));
    char ip[NET_IP_SIZE] = "10.0.0.1", again[NET_IP_SIZE];
    struct net_networks proxies;
    uint8_t bytes[NET_IP_BYTES];
    bool more;

    MUST(net_networks_parse("10.0.0.0/8,2001:db8::/32", &proxies) == 0);
    more = net_forwarded(&proxies, last, ip) && net_forwarded(&proxies, first, ip);
    MUST(memchr(ip, '\0', sizeof(ip)) != NULL);
    MUST(net_ip_parse(str_of(ip), bytes) == 0); /* an address, whatever came, ... */
    net_ip_bytes_text(bytes, again);
    MUST(strcmp(ip, again) == 0);                         /* ... in the one form that it is logged in */
    MUST(!more || net_networks_contain(&proxies, bytes)); /* who stops at a proxy has read all */
    fuzz_release(&memory);
    return 0;
}
