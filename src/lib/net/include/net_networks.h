/* net_networks -- IP addresses, and lists of IP networks, as an option names them: "10.0.0.0/8, 2001:db8::/32,
 * 192.0.2.7".
 */
#pragma once
#include "names.h"
#include <stdbool.h>
#include <stdint.h>

struct sockaddr_storage;
struct str;

#define NET_NETWORKS_MAX 64
#define NET_IP_BYTES     16 /* an IPv4 address is written as an IPv6 address that is mapped to it, ::ffff:192.0.2.7 */
#define NET_IP_SIZE      46 /* as text, terminated */

struct net_networks {
    struct net_network {
        uint8_t address[NET_IP_BYTES];
        unsigned bits; /* of the address that count */
    } list[NET_NETWORKS_MAX];
    unsigned count;
};

/* Separated by commas; spaces are ignored; an empty text is an empty list. 0 or -EINVAL. */
int net_networks_parse(const char *text, struct net_networks *ret_networks);
/* For options: NULL, or what a list must be. */
const char *net_networks_check(const char *text);
bool net_networks_contain(const struct net_networks *networks, const uint8_t address[NET_IP_BYTES]);
void net_ip_bytes(const struct sockaddr_storage *address, uint8_t ret_bytes[NET_IP_BYTES]);
/* A numeric address, without brackets or port. 0 or -EINVAL. */
int net_ip_parse(struct str text, uint8_t ret_bytes[NET_IP_BYTES]);
/* Without a port. IPv4 is written as itself, also where it comes through an IPv6 socket. */
void net_ip_bytes_text(const uint8_t bytes[NET_IP_BYTES], char ret_text[NET_IP_SIZE]);
void net_ip_text(const struct sockaddr_storage *address, char ret_text[NET_IP_SIZE]);
/* Of a connection, the address at this end; "" where it cannot be had. */
void net_local_ip(int fd, char ret_text[NET_IP_SIZE]);
