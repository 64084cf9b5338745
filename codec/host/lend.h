/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_LEND_H
#define VMSTREAM_HOST_LEND_H

#include "host/transport.h"

/*
 * Bytes that go into a socket without being copied: vmsplice() into a pipe, splice() out of it
 * (vmsplice(2), splice(2)). What the socket holds then is the caller's memory itself, until its
 * peer has read it.
 *
 * Only UNIX sockets: what TCP holds by reference it sends in smaller pieces, and that costs the
 * receiver more than the copy.
 */
enum vms_lending {
    VMS_LEND_UNTRIED,
    VMS_LEND_WORKS,
    VMS_LEND_REFUSED, /* another kind of socket, or the kernel does not: for good */
};

struct vms_lender {
    enum vms_lending state;
    int in, out;   /* ends of the pipe; only when it works */
    size_t inside; /* bytes of the pipe; they are ahead of whatever is lent next */
};

void vms_lender_close(struct vms_lender *lender);

/**
 * Some bytes, at most those of data, without waiting: VMS_IO_OK with *n of them that the socket has
 * taken, all the time in their order. After anything but VMS_IO_OK the caller comes back with the
 * same bytes, or closes the socket. lender->state is REFUSED when it returns VMS_IO_END: nothing
 * was taken, and the caller has to write the bytes.
 */
enum vms_io vms_lend(struct vms_lender *lender, int fd, const void *data, size_t len, size_t *n,
                     const char *name, struct vms_error *err);

#endif
