/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_EXEC_H
#define VMSTREAM_HOST_EXEC_H

#include "host/wait.h"

#include <sys/types.h>
#include <vmstream/error.h>

/**
 * Runs "/bin/sh -c command" with one end of a socket pair as its standard input and output, like
 * QEMU's exec:. It inherits standard error and no other descriptor. *fd (O_CLOEXEC) is the other
 * end, the caller's; *pid must be given to vms_exec_wait(). VMS_E_CONNECT.
 */
enum vms_code vms_exec_spawn(const char *command, const char *name, int *fd, pid_t *pid,
                             struct vms_error *err);

/**
 * Waits for the end of the command, whose descriptor the caller has closed. VMS_E_IO with the
 * status when that is not 0 or it was killed; when the deadline passes or cancel is raised the
 * shell is killed: VMS_E_TIMEOUT or VMS_E_IO. pid is gone in every case.
 */
enum vms_code vms_exec_wait(pid_t pid, const char *name, vms_deadline deadline,
                            const struct vms_cancel *cancel, struct vms_error *err);

#endif
