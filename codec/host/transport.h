/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TRANSPORT_H
#define VMSTREAM_HOST_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>
#include <vmstream/error.h>

/** What a transport could do at once: nothing here ever waits. */
enum vms_io {
    VMS_IO_OK,
    VMS_IO_WANT_READ,  /* try again when the descriptor is readable */
    VMS_IO_WANT_WRITE, /* … writable */
    VMS_IO_END,        /* reading: the peer has ended its direction */
    VMS_IO_FAILED,     /* *err is filled */
};

/** Some bytes, at most those of iov; VMS_IO_OK with *n > 0. name is for messages. */
enum vms_io vms_socket_readv(int fd, const struct iovec *iov, int count, size_t *n,
                             const char *name, struct vms_error *err);
enum vms_io vms_socket_writev(int fd, const struct iovec *iov, int count, size_t *n,
                              const char *name, struct vms_error *err);

/**
 * From now on SIGPIPE is blocked in the calling thread, for good: the calls below, which hold it
 * back each for itself, need not. For threads of this library's users that do nothing else but
 * write.
 */
void vms_thread_without_sigpipe(void);

/** The same for pipes, terminals (with O_NONBLOCK) and files. SIGPIPE does not reach the process.
 */
enum vms_io vms_stream_readv(int fd, const struct iovec *iov, int count, size_t *n,
                             const char *name, struct vms_error *err);
enum vms_io vms_stream_writev(int fd, const struct iovec *iov, int count, size_t *n,
                              const char *name, struct vms_error *err);

/**
 * The first bytes of a pipe into a socket, by reference. The socket's description has O_NONBLOCK.
 * errno is the call's after VMS_IO_FAILED. SIGPIPE does not reach the process.
 */
enum vms_io vms_pipe_to_socket(int pipe, int fd, size_t len, size_t *n, const char *name,
                               struct vms_error *err);

/**
 * Fills *err for a failed call: PEER_CLOSED when the errno value means that the other end has gone,
 * IO otherwise. Returns the code.
 */
enum vms_code vms_io_error(struct vms_error *err, const char *name, const char *what, int errnum);

#endif
