/* net_socket -- what the kernel holds of a connection. It is charged to the process's cgroup. If the peer
 * takes nothing, it stays, also after close(2). Any thread. */
#pragma once
#include "names.h"
#include <stdbool.h>
#include <stddef.h>

/* Bytes of the kernel's memory for what was received and not read, and for what was sent and not acknowledged. */
size_t net_kernel_bytes(int fd);
/* Bytes that were sent and not acknowledged, the end of the stream (one) included. */
size_t net_untaken(int fd);
/* Whether the peer has closed the connection, or its side of it, also where it sent more that nobody has read. */
bool net_peer_has_ended(int fd);
/* Has close(2) reset the connection, so that the kernel keeps nothing of it. */
void net_reset_at_close(int fd);
/* Bounds what the kernel holds of each connection that a listening socket accepts from now on, in bytes of the
 * receiving and of the sending side (0: as the kernel likes; it takes up to twice as much), and for how long it tries
 * to have a peer take it, in ms. */
void net_bound_queues(int listen_fd, size_t receive, size_t send, unsigned timeout_ms);
