/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_LISTENER_H
#define VMSTREAM_HOST_LISTENER_H

#include "host/channel.h"

/**
 * The side that waits for a stream. A socket's listener stays open for any number of connections
 * (multifd, postcopy preempt, recovery); fd:, exec: and file: give exactly one, without waiting. A
 * descriptor that is a listening socket serves as a socket's listener does.
 *
 * Any number of threads may accept at a time.
 */
struct vms_listener;

/**
 * Listens on uri; tls: needs server credentials (VMS_E_MISUSE). options, NULL for the default, are
 * those of every channel accepted here. VMS_E_CONNECT, VMS_E_NO_MEMORY. exec: runs and file: is
 * opened only when it is accepted. *out is the caller's: vms_listener_close().
 */
enum vms_code vms_listener_open(const struct vms_uri *uri,
                                const struct vms_channel_options *options,
                                struct vms_listener **out, struct vms_error *err);

/**
 * The next connection, after its TLS handshake unless that is deferred. timeout_ms is for the
 * connection to come, -1 is for ever; the handshake has open_timeout_ms of its own. After a failed
 * handshake (VMS_E_TLS, TIMEOUT, PEER_CLOSED with a message that says so) the listener goes on,
 * call again. While one peer delays its handshake the others wait: threads that must not be held up
 * defer it. Accept the other channels before reading (or peeking) from the first, or beside it:
 * with multifd over TLS QEMU sends the first byte of its main channel after the handshakes of all
 * others.
 *
 * VMS_E_TIMEOUT, VMS_E_IO when it was cancelled or shut down, VMS_E_CONNECT also for the
 * second connection of a URI that gives one.
 */
enum vms_code vms_listener_accept(struct vms_listener *listener, int timeout_ms,
                                  struct vms_channel **out, struct vms_error *err);

/** True when there is one connection only. */
bool vms_listener_is_single(const struct vms_listener *listener);
/** The URI; with the port that the kernel chose when it asked for port 0. Owned by the listener. */
const char *vms_listener_name(const struct vms_listener *listener);
/** A descriptor that polls as readable when a connection waits; -1 for fd:, exec: and file:. */
int vms_listener_fd(const struct vms_listener *listener);
/** The local TCP port, 0 for all others. */
uint16_t vms_listener_port(const struct vms_listener *listener);

/** From any thread: accept returns VMS_E_IO, now and later. */
void vms_listener_shutdown(struct vms_listener *listener);
/** Stops listening, removes a UNIX socket's path, frees. Accepted channels live on. NULL is
 * allowed. */
void vms_listener_close(struct vms_listener *listener);

#endif
