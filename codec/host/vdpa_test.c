/* SPDX-License-Identifier: MIT */
#include "host/vdpa_test_util.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* The calls of the kernel, answered by a simulated device. */
enum {
    PAGE = 4096,
    ALL_BACKEND = 0x17e,
};

/* [VDPA-2] */
SIM_TEST(vdpa, what_a_device_is) {
    int fd;
    struct vms_vdpa *device = vdpa_open("pairs 2\niova-first 4096\niova-last 0xffffffffff", &fd);
    const struct vms_vdpa_about *a = vms_vdpa_about(device);
    cr_expect_eq(a->device_id, 1u);
    cr_expect_eq(a->backend, (uint64_t)ALL_BACKEND);
    cr_expect_eq(a->queues, 5u);
    cr_expect_eq(a->config_size, (uint32_t)VDS_CONFIG);
    cr_expect_eq(a->ring_size, 256u);
    cr_expect_eq(a->groups, 2u);
    cr_expect_eq(a->spaces, 2u);
    cr_expect_eq(a->iova_first, 4096u);
    cr_expect_eq(a->iova_last, UINT64_C(0xffffffffff));
    cr_expect(vms_vdpa_has(device, VMS_VDPA_SUSPEND));
    vms_vdpa_close(device);
    device = vdpa_open("backend -asid -resume", &fd);
    cr_expect_eq(vms_vdpa_about(device)->spaces, 1u);
    cr_expect_not(vms_vdpa_has(device, VMS_VDPA_RESUME));
    vms_vdpa_close(device);
    vfio_clean();
}

/* [VDPA-1] Whatever fails is named. */
SIM_TEST(vdpa, every_call_that_fails) {
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"fault GET_BACKEND_FEATURES enodev", "no vhost-vdpa device"},
        {"backend -msg-v2", "version 2"},
        {"fault SET_BACKEND_FEATURES einval", "setting backend features"},
        {"fault SET_OWNER ebusy", "another owner"},
        {"fault SET_STATUS eio", "reset"},
        {"fault GET_DEVICE_ID eio", "what it is"},
        {"fault GET_FEATURES eio", "its features"},
        {"fault GET_CONFIG_SIZE eio", "config size"},
        {"fault GET_VQS_COUNT eio", "virtqueues"},
        {"fault GET_VRING_NUM eio", "ring size"},
        {"fault GET_GROUP_NUM eio", "groups"},
        {"fault GET_AS_NUM eio", "address spaces"},
        {"fault GET_IOVA_RANGE eio", "addresses"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vms_error err = {.message = ""};
        struct vms_vdpa *device;
        char name[32];
        (void)snprintf(name, sizeof name, "fd:%d", vdpa_describe(cases[i].text));
        cr_expect_eq(vms_vdpa_open(name, &device, &err), VMS_E_VDPA_DEVICE);
        cr_expect_null(device);
        cr_expect(strstr(err.message, cases[i].word), "%s: %s", cases[i].text, err.message);
    }
    vfio_clean();
}

Test(vdpa, no_such_device) {
    struct vms_error err;
    struct vms_vdpa *device;
    static const char *const names[] = {"/nowhere/vhost-vdpa-0", "fd:", "fd:x", "fd:-1",
                                        "/dev/null"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_expect_eq(vms_vdpa_open(names[i], &device, &err), VMS_E_VDPA_DEVICE, "%s", names[i]);
}

static void set_up(struct vms_vdpa *device) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_ring ring = {.size = 16, .base = 5, .desc = 4096, .avail = 8192, .used = 12288};
    uint64_t features = vms_vdpa_about(device)->features;
    vfio_good(vms_vdpa_accept(device, features, &err), &err);
    vfio_good(vms_vdpa_set_ring(device, 0, &ring, -1, -1, &err), &err);
    vfio_good(vms_vdpa_enable(device, 0, true, &err), &err);
    vfio_good(vms_vdpa_driver_ok(device, &err), &err);
}

/* [VDPA-3] */
SIM_TEST(vdpa, suspend_and_resume) {
    struct vms_error err = {.message = ""};
    uint32_t base = 0;
    int fd;
    struct vms_vdpa *device = vdpa_open("", &fd);
    set_up(device);
    vfio_good(vms_vdpa_suspend(device, &err), &err);
    vfio_good(vms_vdpa_ring_base(device, 0, &base, &err), &err);
    cr_expect_eq(base, 5u);
    vfio_good(vms_vdpa_resume(device, &err), &err);
    vfio_good(vms_vdpa_reset(device, &err), &err);
    vms_vdpa_close(device);
    device = vdpa_open("backend -suspend -resume", &fd);
    cr_expect_eq(vms_vdpa_suspend(device, &err), VMS_E_VDPA_DEVICE);
    cr_expect_eq(vms_vdpa_resume(device, &err), VMS_E_VDPA_DEVICE);
    vms_vdpa_close(device);
    vfio_clean();
}

/* As the kernel, the simulation has the file that it was given: what gets its number later is not
 * read from. */
SIM_TEST(vdpa, kick_whose_number_is_anothers) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_ring ring = {.size = 16, .desc = 4096, .avail = 8192, .used = 12288};
    int fd, pipes[2], have = 0, kick = eventfd(0, EFD_NONBLOCK), same = dup(kick);
    struct vms_vdpa *device = vdpa_open("", &fd);
    vfio_good(vms_vdpa_accept(device, vms_vdpa_about(device)->features, &err), &err);
    vfio_good(vms_vdpa_set_ring(device, 0, &ring, kick, -1, &err), &err);
    vfio_good(vms_vdpa_enable(device, 0, true, &err), &err);
    vfio_good(vms_vdpa_driver_ok(device, &err), &err);
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(write(pipes[1], "octets..", 8), 8);
    cr_assert_eq(dup2(pipes[0], kick), kick);
    cr_assert_eq(write(same, &(uint64_t){1}, 8), 8);
    do
        cr_assert_eq(ioctl(kick, FIONREAD, &have), 0);
    while (have == 8 && poll(&(struct pollfd){same, POLLIN, 0}, 1, 1) == 1);
    cr_expect_eq(have, 8);
    vms_vdpa_close(device);
    vfio_clean();
}

SIM_TEST(vdpa, features_that_it_does_not_have) {
    struct vms_error err = {.message = ""};
    int fd;
    struct vms_vdpa *device = vdpa_open("features -mq", &fd);
    cr_expect_eq(vms_vdpa_accept(device, UINT64_C(1) << 22, &err), VMS_E_VDPA_DEVICE);
    vms_vdpa_close(device);
    vfio_clean();
}

SIM_TEST(vdpa, groups_and_spaces) {
    struct vms_error err = {.message = ""};
    uint32_t data = 9, control = 9;
    int fd;
    struct vms_vdpa *device = vdpa_open("", &fd);
    vfio_good(vms_vdpa_group(device, 0, &data, &err), &err);
    vfio_good(vms_vdpa_group(device, 2, &control, &err), &err);
    cr_expect_neq(data, control);
    vfio_good(vms_vdpa_set_space(device, control, 1, &err), &err);
    cr_expect_eq(vms_vdpa_set_space(device, control, 9, &err), VMS_E_VDPA_DEVICE);
    vms_vdpa_close(device);
    device = vdpa_open("backend -asid", &fd);
    vfio_good(vms_vdpa_set_space(device, 0, 0, &err), &err);
    cr_expect_eq(vms_vdpa_set_space(device, 0, 1, &err), VMS_E_VDPA_DEVICE);
    vms_vdpa_close(device);
    vfio_clean();
}

SIM_TEST(vdpa, config_space) {
    struct vms_error err = {.message = ""};
    const uint8_t mac[6] = {2, 4, 6, 8, 10, 12};
    uint8_t got[6] = {0};
    int fd;
    struct vms_vdpa *device = vdpa_open("", &fd);
    vfio_good(vms_vdpa_config_write(device, 0, mac, 6, &err), &err);
    vfio_good(vms_vdpa_config_read(device, 0, got, 6, &err), &err);
    cr_expect_arr_eq(mac, got, 6);
    cr_expect_eq(vms_vdpa_config_read(device, VDS_CONFIG, got, 1, &err), VMS_E_VDPA_DEVICE);
    vms_vdpa_close(device);
    vfio_clean();
}

/* [VDPA-9] The kernel says EFAULT to all of it; what is wrong is found before it is asked. */
SIM_TEST(vdpa, maps) {
    struct vms_error err = {.message = ""};
    int fd;
    uint8_t *m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vms_vdpa *device = vdpa_open("iova-first 4096\niova-last 0xffff", &fd);
    const struct vms_vdpa_region good = {1, PAGE, m, 2 * PAGE, false};
    const struct vms_vdpa_region wrong[] = {
        {0, 0, m, PAGE, false},        {0, 0xf000, m, 2 * PAGE, false}, {0, PAGE, m, 0, false},
        {0, PAGE + 1, m, PAGE, false}, {0, PAGE, m + 1, PAGE, false},   {0, PAGE, m, 5, false},
        {2, PAGE, m, PAGE, false},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect_eq(vms_vdpa_map(device, &wrong[i], &err), VMS_E_VDPA_ADDRESSES, "%zu", i);
    vfio_good(vms_vdpa_batch(device, 1, true, &err), &err);
    vfio_good(vms_vdpa_map(device, &good, &err), &err);
    vfio_good(vms_vdpa_batch(device, 1, false, &err), &err);
    cr_expect_eq(vms_vdpa_map(device, &good, &err), VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "mapped already"), "%s", err.message);
    struct vds_map map;
    cr_assert_eq(vdpa_ask(fd, &map, 1).figures.maps, 1u);
    cr_expect_eq(map.address, (uint64_t)(uintptr_t)m);
    cr_expect_eq(map.space, 1u);
    vfio_good(vms_vdpa_unmap(device, &good, &err), &err);
    cr_expect_eq(vdpa_ask(fd, NULL, 0).figures.maps, 0u);
    (void)munmap(m, 4 * PAGE);
    cr_expect_eq(vms_vdpa_map(device, &good, &err), VMS_E_VDPA_DEVICE);
    vms_vdpa_close(device);
    vfio_clean();
}
