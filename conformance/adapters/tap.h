// SPDX-License-Identifier: MIT
//
// A recording proxy between two ends of a migration: a thread that accepts connections on a unix
// socket, connects each on to another, and writes what passes to files. Connections keep their
// order: the n-th one accepted is the n-th one made.
#ifndef VMS_TAP_H
#define VMS_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VMS_TAP_MAX_CONNECTIONS = 64
};

struct vms_tap;

struct vms_tap_options {
    const char *listen_path;  ///< unix socket to listen on; removed when the tap ends
    const char *connect_path; ///< unix socket to connect to; NULL: only record what comes
    /// Files PREFIX.<n>.fwd (what the connecting side sent) and PREFIX.<n>.rev, n from 0; NULL:
    /// none.
    const char *record_prefix;
};

struct vms_tap_connection {
    uint64_t forward; ///< bytes that the connecting side sent
    uint64_t reverse; ///< bytes that came back
    uint64_t before;  ///< bytes that connection 0 had sent, but for those read as this one came
    bool open;
};

/// Listens (the socket is there on return) and starts the thread. NULL: `error` has the reason.
struct vms_tap *vms_tap_start(const struct vms_tap_options *options, char *error,
                              size_t error_size);

/// Closes every open connection in both directions at once, as a broken link does, and goes on
/// accepting new ones. When it returns the sockets are closed and the files complete; they can hold
/// bytes that the receiver has not got.
void vms_tap_cut(struct vms_tap *tap);

/// Carries nothing in a direction until it is told otherwise: what was sent waits, here and in the
/// sockets, and so does the news that a sender is gone. A cut drops what waits here.
void vms_tap_hold(struct vms_tap *tap, bool forward, bool reverse);

/// Waits until at least `count` connections have been accepted. -1: not in time.
int vms_tap_wait_connections(struct vms_tap *tap, unsigned count, int timeout_ms);

/// Waits until connection `index` has carried at least `bytes` forward. -1: not in time.
int vms_tap_wait_forward(struct vms_tap *tap, unsigned index, uint64_t bytes, int timeout_ms);

/// Waits until no connection is open (and at least one was there). -1: not in time.
int vms_tap_wait_idle(struct vms_tap *tap, int timeout_ms);

/// Connections accepted so far.
unsigned vms_tap_count(struct vms_tap *tap);
/// What connection `index` has carried; all zero for one that does not exist.
struct vms_tap_connection vms_tap_connection(struct vms_tap *tap, unsigned index);

/// The first failure of the tap itself (files, connecting on), or an empty string. Valid until
/// stop.
const char *vms_tap_error(struct vms_tap *tap);

/// Ends the thread, closes and frees everything. NULL is allowed.
void vms_tap_stop(struct vms_tap *tap);

#endif
