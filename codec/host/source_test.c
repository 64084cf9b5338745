/* SPDX-License-Identifier: MIT */
#include "host/source.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static struct vms_error err;

/* A file of 100 bytes, their numbers, at position `at`. */
static int make_file(off_t at) {
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    int fd = memfd_create("test", MFD_CLOEXEC);
    cr_assert_eq(write(fd, bytes, sizeof bytes), 100);
    cr_assert_eq(lseek(fd, at, SEEK_SET), at);
    return fd;
}

Test(source, file) {
    struct vms_fd_source state;
    uint8_t a[3], b[4];
    struct vms_room rooms[] = {{a, sizeof a}, {b, sizeof b}};
    size_t got = 0;
    uint64_t skipped = 0;
    struct vms_source s = vms_source_from_fd(&state, make_file(10));
    cr_assert_eq(s.total, 90);
    cr_assert_eq(s.ops->read(s.ctx, rooms, 2, &got, &err), VMS_SOURCE_DATA);
    cr_assert_eq(got, 7);
    cr_assert(a[0] == 10 && b[0] == 13 && b[3] == 16);
    cr_assert_eq(s.ops->skip(s.ctx, 50, &skipped, &err), VMS_SOURCE_DATA);
    cr_assert_eq(skipped, 50);
    cr_assert_eq(s.ops->read(s.ctx, rooms, 1, &got, &err), VMS_SOURCE_DATA);
    cr_assert(got == 3 && a[0] == 67);
    close(state.fd);
}

/* A seek past the end would succeed: what is not there must not be skipped. */
Test(source, skip_stops_at_the_end) {
    struct vms_fd_source state;
    uint8_t byte;
    struct vms_room room = {&byte, 1};
    uint64_t skipped = 0;
    size_t got;
    struct vms_source s = vms_source_from_fd(&state, make_file(90));
    cr_assert_eq(s.ops->skip(s.ctx, 50, &skipped, &err), VMS_SOURCE_DATA);
    cr_assert_eq(skipped, 10);
    cr_assert_eq(s.ops->skip(s.ctx, 50, &skipped, &err), VMS_SOURCE_END);
    cr_assert_eq(s.ops->read(s.ctx, &room, 1, &got, &err), VMS_SOURCE_END);
    close(state.fd);
}

Test(source, pipe) {
    struct vms_fd_source state;
    int fds[2];
    uint8_t byte = 7;
    struct vms_room room = {&byte, 1};
    uint64_t skipped = 1;
    size_t got;
    cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
    struct vms_source s = vms_source_from_fd(&state, fds[0]);
    cr_assert_eq(s.total, UINT64_MAX);
    cr_assert_eq(s.ops->read(s.ctx, &room, 1, &got, &err), VMS_SOURCE_AGAIN);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(s.ops->skip(s.ctx, 1, &skipped, &err), VMS_SOURCE_DATA);
    cr_assert_eq(skipped, 0);
    cr_assert_eq(s.ops->read(s.ctx, &room, 1, &got, &err), VMS_SOURCE_DATA);
    cr_assert_eq(byte, 'x');
    close(fds[1]);
    cr_assert_eq(s.ops->read(s.ctx, &room, 1, &got, &err), VMS_SOURCE_END);
    close(fds[0]);
    cr_assert_eq(s.ops->read(s.ctx, &room, 1, &got, &err), VMS_SOURCE_ERROR);
    cr_assert_eq(err.code, VMS_E_IO);
}
