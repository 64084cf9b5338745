// SPDX-License-Identifier: MIT
#include "guest_image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

extern const uint8_t vms_guest_blob[];
extern const uint8_t vms_guest_blob_end[];

static int write_all(int fd, const uint8_t *bytes, size_t length) {
    while (length > 0) {
        ssize_t done = write(fd, bytes, length);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return -1;
        }
        bytes += done;
        length -= (size_t)done;
    }
    return 0;
}

static int write_image(int fd, const struct vms_guest_params *params, uint32_t size) {
    size_t length = (size_t)(vms_guest_blob_end - vms_guest_blob);
    size_t rest = VMS_GUEST_PARAM_OFFSET + 64;
    uint8_t block[64];

    vms_guest_put_params(params, block);
    if (write_all(fd, vms_guest_blob, VMS_GUEST_PARAM_OFFSET) != 0 ||
        write_all(fd, block, sizeof block) != 0 ||
        write_all(fd, vms_guest_blob + rest, length - rest) != 0) {
        return -1;
    }
    return ftruncate(fd, size);
}

const char *vms_guest_write_image(const char *path, const struct vms_guest_params *params,
                                  uint32_t size) {
    struct vms_guest_params built;
    const char *problem = vms_guest_params_problem(params);
    int fd;

    errno = 0;
    if (problem != NULL) {
        return problem;
    }
    if (vms_guest_get_params(vms_guest_blob + VMS_GUEST_PARAM_OFFSET, &built) != 0) {
        return "guest.s and guest_pattern.h are of different versions";
    }
    if (size < (uint32_t)(vms_guest_blob_end - vms_guest_blob)) {
        return "the image is smaller than the program";
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return "cannot create the image";
    }
    problem = write_image(fd, params, size) == 0 ? NULL : "cannot write the image";
    if (close(fd) != 0 && problem == NULL) {
        problem = "cannot write the image";
    }
    return problem;
}
