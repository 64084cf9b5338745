/* SPDX-License-Identifier: MIT */
#include "conformance/vdpa-sim/sim.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The device by itself: what the kernel would answer. */

static uint8_t ram[1 << 20]; /* at address 0x100000 */
enum {
    BASE = 0x100000,
    PAGE = 4096,
};

static bool memory(void *ctx, uint64_t address, void *buf, size_t len, bool write) {
    (void)ctx;
    if (address < BASE || address + len > BASE + sizeof ram)
        return false;
    uint8_t *at = ram + (address - BASE);
    memcpy(write ? at : buf, write ? buf : at, len);
    return true;
}
static uint64_t limit = UINT64_MAX;
static uint64_t memlock(void *ctx) {
    (void)ctx;
    return limit;
}

static struct vds_device *dev;
static uint64_t busy;

static struct vds_device *make(const char *text) {
    const struct vds_world world = {.memory = memory, .memlock = memlock};
    struct vds_description d;
    char whole[400], error[200];
    int n = snprintf(whole, sizeof whole, VDS_MAGIC "\n%s\n", text);
    cr_assert_eq(vds_parse(whole, (size_t)n, &d, error, sizeof error), 0, "%s", error);
    vds_free(dev);
    return dev = vds_new(&d, &world);
}

static int call(unsigned long request, void *arg) {
    return vds_ioctl(dev, 0, request, arg, &busy);
}

static bool tell(uint8_t type, uint32_t space, uint64_t iova, uint64_t size, uint64_t address) {
    struct vhost_msg_v2 msg = {.type = VHOST_IOTLB_MSG_V2, .asid = space};
    msg.iotlb.type = type;
    msg.iotlb.iova = iova;
    msg.iotlb.size = size;
    msg.iotlb.uaddr = address;
    msg.iotlb.perm = VHOST_ACCESS_RW;
    int64_t n = vds_write(dev, 0, &msg, sizeof msg, &busy);
    cr_assert(n == sizeof msg || n == -EFAULT);
    return n > 0;
}
static bool map(uint32_t space, uint64_t iova, uint64_t size) {
    return tell(VHOST_IOTLB_UPDATE, space, iova, size, BASE);
}

static void own(uint64_t backend) {
    cr_assert_eq(call(VHOST_SET_BACKEND_FEATURES, &backend), 0);
    cr_assert_eq(call(VHOST_SET_OWNER, NULL), 0);
}

Test(vdpa_sim_device, maps_as_the_kernel_does) {
    make("iova-last 0xfffff\nmax-maps 3\nspaces 2");
    cr_expect_not(map(0, 0, PAGE), "without an owner");
    own(0x17e);
    cr_expect_eq(call(VHOST_SET_OWNER, NULL), -EBUSY);
    cr_expect(map(0, 0, 4 * PAGE));
    cr_expect_not(map(0, 3 * PAGE, PAGE), "overlaps");
    cr_expect(map(1, 3 * PAGE, PAGE), "another space");
    cr_expect_not(map(2, 0, PAGE), "no such space");
    cr_expect_not(map(0, 0xff000, 2 * PAGE), "outside");
    cr_expect_not(map(0, 8 * PAGE + 1, PAGE));
    cr_expect_not(map(0, 8 * PAGE, 0));
    cr_expect_not(tell(VHOST_IOTLB_UPDATE, 0, 8 * PAGE, PAGE, 0), "no memory there");
    cr_expect(map(0, 8 * PAGE, PAGE));
    cr_expect_not(map(0, 12 * PAGE, PAGE), "too many");
    cr_expect(tell(VHOST_IOTLB_INVALIDATE, 0, 2 * PAGE, PAGE, 0), "the whole map goes");
    cr_expect_eq(vds_figures(dev)->maps, 2u);
    cr_expect_eq(vds_figures(dev)->mapped, 2u * PAGE);
    cr_expect_eq(vds_maps(dev)[0].iova, 8u * PAGE);
    cr_expect_eq(vds_maps(dev)[1].space, 1u);
}

Test(vdpa_sim_device, batches) {
    make("call-cost 1ms\npage-cost 1us");
    own(0x17e);
    cr_expect_not(tell(VHOST_IOTLB_BATCH_END, 0, 0, 0, 0));
    cr_expect(tell(VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0, 0));
    cr_expect_not(tell(VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0, 0));
    cr_expect_not(map(1, 0, PAGE), "another space");
    cr_expect(map(0, 0, 8 * PAGE));
    cr_expect_eq(busy, 8000u);
    cr_expect(tell(VHOST_IOTLB_BATCH_END, 0, 0, 0, 0));
    cr_expect_eq(busy, 1000000u);
    cr_expect(map(0, 8 * PAGE, PAGE));
    cr_expect_eq(busy, 1001000u);
}

Test(vdpa_sim_device, pins_up_to_the_limit) {
    make("pin on");
    own(0x17e);
    limit = 4 * PAGE;
    cr_expect(map(0, 0, 4 * PAGE));
    cr_expect_not(map(0, 4 * PAGE, PAGE));
    limit = UINT64_MAX;
    cr_expect(map(0, 4 * PAGE, PAGE));
}

Test(vdpa_sim_device, status) {
    uint8_t s = 3;
    uint64_t features = UINT64_C(1) << 50;
    make("");
    own(0x17e);
    cr_expect_eq(call(VHOST_VDPA_SET_STATUS, &s), 0);
    s = 1;
    cr_expect_eq(call(VHOST_VDPA_SET_STATUS, &s), -EINVAL, "a bit is taken back");
    cr_expect_eq(call(VHOST_SET_FEATURES, &features), -EINVAL);
    features = UINT64_C(1) << 32;
    cr_expect_eq(call(VHOST_SET_FEATURES, &features), 0);
    s = 11;
    cr_expect_eq(call(VHOST_VDPA_SET_STATUS, &s), 0);
    cr_expect_eq(call(VHOST_SET_FEATURES, &features), -EBUSY);
    cr_expect_eq(call(0x1234, NULL), -ENOTTY);
    make("backend -suspend");
    cr_expect_eq(call(VHOST_VDPA_SUSPEND, NULL), -EOPNOTSUPP);
}

Test(vdpa_sim_device, what_a_reset_forgets) {
    uint8_t s = 0;
    make("forgets on");
    own(0x17e & ~(1u << VMS_VDPA_IOTLB_PERSIST));
    cr_expect(map(0, 0, PAGE));
    cr_expect_eq(call(VHOST_VDPA_SET_STATUS, &s), 0);
    cr_expect_not(map(0, 0, PAGE), "the kernel still has it, the device does not");
    cr_expect_eq(vds_figures(dev)->maps, 1u);
}

Test(vdpa_sim_device, texts_that_are_wrong) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "first line"},
        {"vfio-sim device\n", "first line"},
        {VDS_MAGIC "\nnonsense 1\n", "line 2: no such setting"},
        {VDS_MAGIC "\npairs x\n", "number"},
        {VDS_MAGIC "\npairs 65\n", "pairs"},
        {VDS_MAGIC "\nring-size 3\n", "ring-size"},
        {VDS_MAGIC "\nfault MAP ewhat\n", "error is wanted"},
        {VDS_MAGIC "\nfault NOTHING eio\n", "call is wanted"},
        {VDS_MAGIC "\nbackend -what\n", "feature"},
        {VDS_MAGIC "\npin maybe\n", "on or off"},
        {VDS_MAGIC "\nmac 1:2\n", "address"},
        {VDS_MAGIC "\niova-first 2\niova-last 1\n", "less"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vds_description d;
        char error[200] = "";
        cr_expect_eq(vds_parse(cases[i].text, strlen(cases[i].text), &d, error, sizeof error), -1);
        cr_expect(i == 0 || strstr(error, cases[i].why), "%s: %s", cases[i].text, error);
    }
}
