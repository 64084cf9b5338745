// SPDX-License-Identifier: MIT
// What the files of the QEMU adapter share.
#ifndef VMS_QEMU_INTERNAL_H
#define VMS_QEMU_INTERNAL_H

#include "qemu.h"

#include <limits.h>

enum {
    VMS_QMP_BUFFER = 1 << 16
};

struct vms_qemu {
    struct vms_peer peer;
    char name[32];
    char dir[PATH_MAX];
    char serial[PATH_MAX + 16];
    char log[PATH_MAX + 16]; // stdout and stderr of QEMU
    pid_t pid;               // 0 when reaped
    int wait_status;
    int pidfd;
    int qmp;
    int timeout_ms;
    char *buffer; // received, not yet a whole line
    size_t buffered;
    size_t capacity;
    json_t *events;  // queued, oldest first
    json_t *replies; // received; those to commands that were given up are dropped when seen
    json_int_t next_id;
    char error[VMS_QEMU_ERROR_SIZE];
};

/// Milliseconds of the monotonic clock.
int64_t vms_qemu_now(void);
/// The deadline that is timeout_ms (0: the default) away.
int64_t vms_qemu_deadline(const struct vms_qemu *qemu, int timeout_ms);
/// What is left until the deadline for poll(); 0 when it has passed.
int vms_qemu_left(int64_t deadline);

/// Sets the error text (with what QEMU wrote to stderr) and returns -1.
int vms_qemu_fail(struct vms_qemu *qemu, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/// Reads what QMP has to say without waiting and files events and replies. -1 when QMP is closed.
int vms_qmp_pump(struct vms_qemu *qemu);
/// Greeting and capability negotiation.
int vms_qmp_connect(struct vms_qemu *qemu);

/// Reads `size` bytes of QEMU's own memory at a host address. 0 or -1 with errno.
int vms_qemu_read_host(int mem_fd, uint64_t host, void *buffer, size_t size);

/// Finds the host address of the blocks that have none, in the memory of a QEMU that does not tell.
int vms_qemu_search_ram(struct vms_qemu *qemu, int mem_fd, struct vms_ram_dump *dump);

#endif
