// SPDX-License-Identifier: MIT
//
// Two hosts on one machine: two network namespaces, joined by a veth pair of limited rate. Nothing
// of it is ever in the caller's own namespace, and the kernel removes all of it when the two
// processes that hold the namespaces end, which they do with whoever made them, however that ends.
#ifndef VMS_NET_H
#define VMS_NET_H

#include <stddef.h>
#include <sys/types.h>

enum vms_net_side {
    VMS_NET_A,
    VMS_NET_B,
};

/// Addresses inside the namespaces (RFC 2544's, which nothing else uses).
#define VMS_NET_ADDRESS_A "198.18.0.1"
#define VMS_NET_ADDRESS_B "198.18.0.2"

struct vms_net {
    pid_t holders[2]; ///< whose namespaces they are; 0: none
    int own;          ///< the caller's namespace; -1: not open
};

/// Makes both, each way limited to `mbit` Mbit/s by a token bucket. -1: this machine cannot (no
/// root, no `ip`, no `tc`, no such kernel); `error` says what was wanted. Nothing is left then.
int vms_net_open(struct vms_net *net, unsigned mbit, char *error, size_t error_size);
/// What this thread starts from now on (processes, threads, sockets) is on that side. 0, or -1.
int vms_net_enter(const struct vms_net *net, enum vms_net_side side);
/// Back to where vms_net_open() was called.
int vms_net_leave(const struct vms_net *net);
/// Ends the holders. What still runs inside keeps its namespace until it ends. All 0 is allowed.
void vms_net_close(struct vms_net *net);

#endif
