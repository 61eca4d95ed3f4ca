#include "buf.h"
#include "net_networks.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define IPV4_AT 12 /* where an IPv4 address begins */

static_assert(NET_IP_SIZE == INET6_ADDRSTRLEN, "every address fits");

static const uint8_t mapped[IPV4_AT] = {[10] = 0xff, [11] = 0xff};

void net_ip_bytes(const struct sockaddr_storage *address, uint8_t ret_bytes[NET_IP_BYTES])
{
    if (address->ss_family == AF_INET6) {
        memcpy(ret_bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, NET_IP_BYTES);
    } else {
        memcpy(ret_bytes, mapped, IPV4_AT);
        memcpy(ret_bytes + IPV4_AT, &((const struct sockaddr_in *)address)->sin_addr, sizeof(struct in_addr));
    }
}

void net_ip_bytes_text(const uint8_t bytes[NET_IP_BYTES], char ret_text[NET_IP_SIZE])
{
    if (memcmp(bytes, mapped, IPV4_AT) == 0)
        inet_ntop(AF_INET, bytes + IPV4_AT, ret_text, NET_IP_SIZE);
    else
        inet_ntop(AF_INET6, bytes, ret_text, NET_IP_SIZE);
}

void net_ip_text(const struct sockaddr_storage *address, char ret_text[NET_IP_SIZE])
{
    uint8_t bytes[NET_IP_BYTES];

    net_ip_bytes(address, bytes);
    net_ip_bytes_text(bytes, ret_text);
}

void net_local_ip(int fd, char ret_text[NET_IP_SIZE])
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    ret_text[0] = '\0';
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        net_ip_text(&address, ret_text);
}

int net_ip_parse(struct str text, uint8_t ret_bytes[NET_IP_BYTES])
{
    char copy[INET6_ADDRSTRLEN];

    if (text.len >= sizeof(copy) || memchr(text.s, '\0', text.len) != NULL)
        return -EINVAL;
    memcpy(copy, text.s, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET6, copy, ret_bytes) == 1)
        return 0;
    memcpy(ret_bytes, mapped, IPV4_AT);
    return inet_pton(AF_INET, copy, ret_bytes + IPV4_AT) == 1 ? 0 : -EINVAL;
}

/* ADDRESS or ADDRESS/BITS. */
static int parse_network(struct str text, struct net_network *ret_network)
{
    struct str address;
    unsigned first; /* bit of the address as its family counts them */
    uint64_t bits;

    if (!str_next(&text, '/', &address) || net_ip_parse(address, ret_network->address) < 0)
        return -EINVAL;
    first = memchr(address.s, ':', address.len) != NULL ? 0 : 8 * IPV4_AT;
    bits = 8 * NET_IP_BYTES - first;
    if (text.s != NULL && str_to_u64(text, bits, &bits) < 0)
        return -EINVAL;
    ret_network->bits = first + (unsigned)bits;
    return 0;
}

int net_networks_parse(const char *text, struct net_networks *ret_networks)
{
    struct net_networks networks = {.count = 0};
    struct str list = text[0] != '\0' ? str_of(text) : STR_NULL, item;

    while (str_next(&list, ',', &item))
        if (networks.count == NET_NETWORKS_MAX || parse_network(str_trim(item), &networks.list[networks.count++]) < 0)
            return -EINVAL;
    *ret_networks = networks;
    return 0;
}

const char *net_networks_check(const char *text)
{
    struct net_networks networks;

    return net_networks_parse(text, &networks) == 0
               ? NULL
               : "must be at most 64 numeric addresses or networks (10.0.0.0/8), separated by commas";
}

static bool contains(const struct net_network *network, const uint8_t address[NET_IP_BYTES])
{
    unsigned bytes = network->bits / 8, rest = network->bits % 8;

    if (memcmp(network->address, address, bytes) != 0)
        return false;
    return rest == 0 || (network->address[bytes] ^ address[bytes]) >> (8 - rest) == 0;
}

bool net_networks_contain(const struct net_networks *networks, const uint8_t address[NET_IP_BYTES])
{
    for (unsigned i = 0; i < networks->count; i++)
        if (contains(&networks->list[i], address))
            return true;
    return false;
}
