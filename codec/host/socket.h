/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_SOCKET_H
#define VMSTREAM_HOST_SOCKET_H

#include "host/uri.h"
#include "host/wait.h"

#include <stddef.h>

/**
 * Stream sockets for the schemes UNIX and TCP. Every descriptor is the caller's, with O_CLOEXEC.
 * TCP within the host is not paced (HOST-19).
 */

/**
 * Connects to the first address of uri that answers. Names are resolved by getaddrinfo(), which
 * knows neither deadline nor cancel. VMS_E_CONNECT, VMS_E_TIMEOUT, or VMS_E_IO when it was
 * cancelled.
 */
enum vms_code vms_socket_connect(const struct vms_uri *uri, vms_deadline deadline,
                                 const struct vms_cancel *cancel, int *fd, struct vms_error *err);

/**
 * Listens on the first address of uri that can be bound; an empty host is every address. The socket
 * of a UNIX path that nobody listens on any more is replaced. VMS_E_CONNECT.
 */
enum vms_code vms_socket_listen(const struct vms_uri *uri, int *fd, struct vms_error *err);

/**
 * Takes one connection. VMS_E_CONNECT when the listening socket failed, VMS_E_TIMEOUT, VMS_E_IO
 * when it was cancelled or closed. name is for messages.
 */
enum vms_code vms_socket_accept(int listening, const char *name, vms_deadline deadline,
                                const struct vms_cancel *cancel, const struct vms_cancel *wake,
                                int *fd, struct vms_error *err);

/** "HOST:PORT" or "[V6]:PORT" of this (peer: the other) end; "" for other sockets. */
void vms_socket_address(int fd, bool peer, char *text, size_t size);
/** The local TCP port, 0 when there is none. */
uint16_t vms_socket_port(int fd);
/** Settings of every connected socket: no delay for the small messages of the return path. */
void vms_socket_tune(int fd);
/**
 * About so many bytes wait in the kernel before they are sent, and before they are read (TCP: and
 * what 10 Gbit/s have under way). The next message is not far behind.
 */
void vms_socket_keep_short(int fd, unsigned bytes);
/** UNIX: about so many bytes wait in the kernel, or what it allows. TCP finds its own measure. */
void vms_socket_send_room(int fd, int bytes);
/** Throws unread bytes away: closing over them would reset what is still on its way to the peer. */
void vms_socket_drain(int fd);

#endif
