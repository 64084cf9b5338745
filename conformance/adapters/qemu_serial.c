// SPDX-License-Identifier: MIT
// The guest's serial port: a file that QEMU appends to, watched with inotify.
#include "qemu_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

// Offset behind `text` at or after `from`, or -1.
static ssize_t find_in_file(const char *path, const char *text, size_t from) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    ssize_t result = -1;
    char *bytes = NULL;

    if (fd >= 0 && fstat(fd, &info) == 0 && (size_t)info.st_size > from) {
        size_t length = (size_t)info.st_size - from;

        bytes = malloc(length);
        if (bytes != NULL && pread(fd, bytes, length, (off_t)from) == (ssize_t)length) {
            char *hit = memmem(bytes, length, text, strlen(text));

            result = hit != NULL ? (ssize_t)from + (hit - bytes) + (ssize_t)strlen(text) : -1;
        }
    }
    free(bytes);
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

bool vms_qemu_serial_has(struct vms_qemu *qemu, const char *text) {
    return find_in_file(qemu->serial, text, 0) >= 0;
}

// Until the file or QMP has something new; then takes it off their descriptors.
static int wait_change(struct vms_qemu *qemu, int watch, int64_t deadline) {
    struct pollfd fds[] = {{.fd = watch, .events = POLLIN}, {.fd = qemu->qmp, .events = POLLIN}};
    char drained[4096];
    int ready = poll(fds, 2, vms_qemu_left(deadline));

    if (ready < 0) {
        return errno == EINTR ? 0 : vms_qemu_fail(qemu, "poll: %s", strerror(errno));
    }
    if (ready == 0) {
        return 1;
    }
    if (fds[0].revents != 0 && read(watch, drained, sizeof drained) < 0) {
        return vms_qemu_fail(qemu, "inotify: %s", strerror(errno));
    }
    return fds[1].revents != 0 ? vms_qmp_pump(qemu) : 0;
}

ssize_t vms_qemu_wait_serial(struct vms_qemu *qemu, const char *text, size_t from, int timeout_ms) {
    int64_t deadline = vms_qemu_deadline(qemu, timeout_ms);
    int watch = inotify_init1(IN_CLOEXEC);
    ssize_t found = -1;
    int changed = 0;

    if (watch < 0 || inotify_add_watch(watch, qemu->serial, IN_MODIFY) < 0) {
        vms_qemu_fail(qemu, "cannot watch %s: %s", qemu->serial, strerror(errno));
        changed = -1;
    }
    while (changed == 0) {
        found = find_in_file(qemu->serial, text, from);
        if (found >= 0) {
            break;
        }
        changed = wait_change(qemu, watch, deadline);
    }
    if (changed > 0) {
        vms_qemu_fail(qemu, "timed out awaiting \"%s\" on the serial port", text);
    }
    if (watch >= 0) {
        close(watch);
    }
    return found;
}
