/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* A lock of the open file description (fcntl(2)): it also excludes another guest in this process,
 * and goes away with the process. */
int vm_lock_take(const char *path) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &whole) != 0) {
        int why = errno == EACCES ? EAGAIN : errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

void vm_lock_give(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* One write in append mode, so that lines of both ends do not mix. */
void vm_announce(const struct vms_vm *vm) {
    if (!vm->config.announce)
        return;
    int fd = open(vm->config.announce, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    struct vms_vm_stats stats;
    char line[128];
    vms_vm_stats(vm, &stats);
    int len = snprintf(line, sizeof line, "%s %d runs the guest, heartbeats %llu\n",
                       vm->role == VMS_VM_SOURCE ? "source" : "destination", (int)getpid(),
                       (unsigned long long)stats.heartbeats);
    if (len > 0)
        (void)!write(fd, line, (size_t)len);
    close(fd);
}
