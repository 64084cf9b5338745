// SPDX-License-Identifier: MIT
//
// A long line between two ends: a proxy that delays what passes, can hold it up, and can cut. It
// accepts on a unix socket and connects each connection on by TCP, from the network namespace that
// the thread which started it was in.
#ifndef VMS_WAN_H
#define VMS_WAN_H

#include <stddef.h>
#include <stdint.h>

struct vms_wan;

struct vms_wan_options {
    const char *listen_path;  ///< unix socket to listen on; removed at the end
    const char *connect_host; ///< an IPv4 address
    uint16_t connect_port;
    unsigned delay_ms; ///< each way
};

/// Listens (the socket is there on return). NULL: `error` has the reason.
struct vms_wan *vms_wan_start(const struct vms_wan_options *options, char *error,
                              size_t error_size);
/// Nothing passes, either way, until it goes on; connections stay and new ones are made.
void vms_wan_stall(struct vms_wan *wan);
void vms_wan_go_on(struct vms_wan *wan);
/// Closes every connection at once; what is on its way is lost. New ones are accepted.
void vms_wan_cut(struct vms_wan *wan);
/// Bytes that have reached the far end since the start.
uint64_t vms_wan_forward(struct vms_wan *wan);
/// Waits until at least that many have. -1: not in time.
int vms_wan_wait_forward(struct vms_wan *wan, uint64_t bytes, int timeout_ms);
/// Waits until at least `count` connections have been made. -1: not in time.
int vms_wan_wait_connections(struct vms_wan *wan, unsigned count, int timeout_ms);
unsigned vms_wan_count(struct vms_wan *wan);
/// Ends everything. NULL is allowed.
void vms_wan_stop(struct vms_wan *wan);

#endif
