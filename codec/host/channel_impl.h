/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_CHANNEL_IMPL_H
#define VMSTREAM_HOST_CHANNEL_IMPL_H

/* Shared by channel*.c and listener.c only. */

#include "host/channel.h"
#include "host/lend.h"
#include "host/tls.h"

#include <stdatomic.h>
#include <sys/types.h>

enum channel_kind {
    CHANNEL_SOCKET,
    CHANNEL_TLS,
    CHANNEL_STREAM, /* pipe, terminal, character device */
    CHANNEL_FILE,   /* seekable */
};

struct vms_channel {
    enum channel_kind kind;
    int fd;
    int old_flags; /* O_… flags to give back with a borrowed description, -1: none */
    pid_t pid;     /* exec: of the shell, 0: none */
    char *name;
    struct vms_tls *tls;
    struct vms_lender lender; /* the writing thread's */
    bool handshake_done;
    int open_timeout_ms;
    const struct vms_cancel *cancel;
    struct vms_cancel *wake; /* raised by VMS_SHUT_BOTH */
    atomic_int read_timeout_ms;
    atomic_int write_timeout_ms;
    _Atomic uint64_t in;
    _Atomic uint64_t out;
    atomic_int end;         /* enum vms_channel_end */
    atomic_bool write_over; /* shut down for writing */
    atomic_bool broken;     /* a write or the session has failed */
    /* Read from the transport and not yet by the caller; the reading thread's. */
    uint8_t ahead[VMS_PEEK_MAX];
    size_t ahead_pos;
    size_t ahead_len;
};

/**
 * Makes a channel of a connected descriptor, which it owns on success and leaves alone otherwise.
 * The kind of the descriptor decides the kind of the channel. name is copied; host is for TLS.
 */
enum vms_code vms_channel_adopt(int fd, const char *name, bool tls, const char *host,
                                const struct vms_channel_options *options, struct vms_channel **out,
                                struct vms_error *err);

/** The handshake with a deadline of the caller's. */
enum vms_code vms_channel_handshake_until(struct vms_channel *channel, vms_deadline deadline,
                                          struct vms_error *err);

/** Waits for what io wants. VMS_OK: try again. */
enum vms_code vms_channel_wait(struct vms_channel *channel, enum vms_io io, vms_deadline deadline,
                               const char *what, struct vms_error *err);

/** VMS_E_IO when a token is raised, before a call that may never have to wait. */
enum vms_code vms_channel_check(struct vms_channel *channel, const char *what,
                                struct vms_error *err);

#endif
