/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-sim/sim_device.h"
#include "host/vfio_config.h"
#include "mtty.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * codec/host/vfio*.c against the kernel's own VFIO and its sample device, by a legacy group:
 * Debian's kernel has no iommufd. [VDEV-1] [VDEV-2] [VDEV-4] [VDEV-6] [VDEV-9] [VDEV-11] [VDEV-20]
 */
enum {
    ALL = MTTY_HEADER + 2 * MTTY_PORT
};

#define GOOD(call) cr_assert_eq((call), VMS_OK, "%s", err.message)

static struct mtty cards[MTTY_CARDS];
static struct vms_error err;

static void set_up(void) {
    mtty_cards(cards);
}

#define VM_TEST(name) Test(vfio_device, name, .init = set_up, .timeout = 60)

VM_TEST(what_it_can_do) {
    struct vms_vfio *device = mtty_open(&cards[0]);
    const struct vms_vfio_features *f = vms_vfio_features(device);
    uint64_t size;
    cr_expect(f->p2p && f->precopy && f->data_size && f->dma_logging);
    cr_expect(f->reinit, "the opt-in for PRECOPY_INFOv2"); /* Linux 7.1 */
    cr_expect_eq(vms_vfio_state(device), VMS_VFIO_RUNNING);
    GOOD(vms_vfio_data_size(device, &size, &err));
    cr_expect_eq(size, ALL);
    mtty_close(device);
}

/* A group has one owner; what is no device is named. */
VM_TEST(what_cannot_be_opened) {
    static const char *const names[] = {"/sys/devices/virtual/mtty/mtty/nowhere", "/dev/vfio/999:x",
                                        "/dev/vfio/devices/vfio0", "/dev/null"};
    struct vms_vfio *first = mtty_open(&cards[0]), *second;
    struct vms_vfio_iommu *iommu;
    GOOD(vms_vfio_iommu_new(&iommu, &err));
    cr_expect_eq(vms_vfio_open(iommu, cards[0].path, &second, &err), VMS_E_VFIO_DEVICE);
    cr_expect(strstr(err.message, "busy"), "%s", err.message);
    vms_vfio_iommu_free(iommu);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        GOOD(vms_vfio_iommu_new(&iommu, &err));
        cr_expect_eq(vms_vfio_open(iommu, names[i], &second, &err), VMS_E_VFIO_DEVICE);
        vms_vfio_iommu_free(iommu);
    }
    mtty_close(first);
}

/* ---- every arc, beside the simulated device, which must do what the kernel does ---- */

struct both {
    struct vms_vfio *real;
    struct vfs_device *sim;
    uint8_t real_stream[ALL], sim_stream[65536];
    size_t sim_size;
};

static struct vfs_device *simulated(void) {
    static const char text[] = VFS_MAGIC "\nname dev\ninitial 64\nstop 128\n";
    struct vfs_description d;
    char error[128];
    void *mem = calloc(1, vfs_device_size());
    cr_assert_not_null(mem);
    cr_assert_eq(vfs_parse(text, sizeof text - 1, &d, error, sizeof error), 0, "%s", error);
    return vfs_device_init(mem, &d, NULL);
}

static int real_set(struct both *b, uint32_t state, bool *opened) {
    struct vfio_device_feature_mig_state mig = {.device_state = state, .data_fd = -1};
    int e = vms_vfio_feature(b->real->fd,
                             VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
                             sizeof mig);
    *opened = e == 0 && mig.data_fd >= 0;
    if (*opened) {
        if (b->real->data_fd >= 0)
            (void)close(b->real->data_fd);
        b->real->data_fd = mig.data_fd;
    }
    return e;
}

/** Both as new, then in that state; loaded: a whole stream was written. */
static void enter(struct both *b, uint32_t state, bool loaded) {
    uint64_t busy;
    bool opened;
    GOOD(vms_vfio_reset(b->real, &err));
    cr_assert_eq(vfs_reset(b->sim, 0), 0);
    cr_assert_eq(real_set(b, state, &opened), 0, "from RUNNING to %u", state);
    cr_assert_eq(vfs_set_state(b->sim, 0, state, &opened, &busy), 0);
    if (!loaded)
        return;
    GOOD(vms_vfio_write(b->real, b->real_stream, ALL, &err));
    cr_assert_eq(vfs_write(b->sim, 0, b->sim_stream, b->sim_size, &busy), (int64_t)b->sim_size);
}

static void record(struct both *b) {
    enum vms_vfio_data end;
    uint64_t busy;
    int64_t n;
    enter(b, VMS_VFIO_STOP_COPY, false);
    b->real->state = VMS_VFIO_STOP_COPY;
    uint8_t buf[ALL + 1];
    cr_assert_eq(mtty_drain(b->real, buf, sizeof buf, &end), (size_t)ALL);
    memcpy(b->real_stream, buf, ALL);
    while ((n = vfs_read(b->sim, 0, b->sim_stream + b->sim_size, sizeof b->sim_stream - b->sim_size,
                         &busy)) > 0)
        b->sim_size += (size_t)n;
    cr_assert_eq(n, 0);
}

static void one_arc(struct both *b, uint32_t from, uint32_t to, bool loaded) {
    bool real_opened, sim_opened;
    enum vms_vfio_state now;
    uint64_t busy;
    enter(b, from, loaded);
    int real = real_set(b, to, &real_opened);
    int sim = vfs_set_state(b->sim, 0, to, &sim_opened, &busy);
    GOOD(vms_vfio_ask_state(b->real, &now, &err));
    cr_expect_eq(real, sim, "%u to %u: the kernel %d, the simulation %d", from, to, real, sim);
    cr_expect_eq((unsigned)now, (unsigned)vfs_device_state(b->sim), "%u to %u: in %u, and in %u",
                 from, to, (unsigned)now, (unsigned)vfs_device_state(b->sim));
    cr_expect_eq(real_opened, real == 0 && sim_opened, "%u to %u: a data fd", from, to);
}

VM_TEST(every_arc_as_the_simulation_has_it) {
    struct both b = {.real = mtty_open(&cards[0]), .sim = simulated()};
    record(&b);
    for (uint32_t from = VMS_VFIO_STOP; from < VMS_VFIO_STATES; from++)
        for (uint32_t to = 0; to < VMS_VFIO_STATES + 2; to++) {
            one_arc(&b, from, to, false);
            if (from == VMS_VFIO_RESUMING)
                one_arc(&b, from, to, true);
        }
    vfs_device_clear(b.sim);
    free(b.sim);
    mtty_close(b.real);
}

/* ---- a stream, by parts ---- */

/** From PRE_COPY on, or from STOP_COPY alone: what the device says is left, and what it gives. */
static void save(struct vms_vfio *device, bool precopy, uint8_t out[ALL + 1]) {
    struct vms_vfio_precopy left = {.initial = 0};
    enum vms_vfio_data end;
    size_t n = 0;
    if (precopy) {
        GOOD(vms_vfio_set_state(device, VMS_VFIO_PRE_COPY, &err));
        GOOD(vms_vfio_precopy(device, &left, &err));
        cr_expect_eq(left.initial, (uint64_t)MTTY_HEADER);
        cr_expect_eq(left.dirty, 0u);
        cr_expect_not(left.reinit);
        n = mtty_drain(device, out, ALL + 1, &end);
        cr_expect_eq(n, (size_t)MTTY_HEADER);
        cr_expect_eq(end, VMS_VFIO_LATER); /* it says 0, not ENOMSG, and there is more to come */
        GOOD(vms_vfio_set_state(device, VMS_VFIO_PRE_COPY_P2P, &err));
        GOOD(vms_vfio_precopy(device, &left, &err));
        cr_expect_eq(left.initial, 0u);
    }
    GOOD(vms_vfio_set_state(device, VMS_VFIO_STOP_COPY, &err));
    cr_expect_eq(vms_vfio_precopy(device, &left, &err), VMS_E_VFIO_DEVICE);
    n += mtty_drain(device, out + n, ALL + 1 - n, &end);
    cr_expect_eq(end, VMS_VFIO_END);
    cr_assert_eq(n, (size_t)ALL);
    GOOD(vms_vfio_set_state(device, VMS_VFIO_STOP, &err));
}

static void migrate(bool precopy, size_t piece) {
    struct vms_vfio *from = mtty_open(&cards[0]), *to = mtty_open(&cards[1]);
    uint8_t stream[ALL + 1];
    mtty_fill(from, 2, 7);
    mtty_fill(to, 2, 8);
    save(from, precopy, stream);
    GOOD(vms_vfio_set_state(to, VMS_VFIO_RESUMING, &err));
    for (size_t at = 0; at < ALL; at += piece)
        GOOD(vms_vfio_write(to, stream + at, ALL - at < piece ? ALL - at : piece, &err));
    GOOD(vms_vfio_set_state(to, VMS_VFIO_STOP, &err));
    GOOD(vms_vfio_set_state(to, VMS_VFIO_RUNNING_P2P, &err));
    GOOD(vms_vfio_set_state(to, VMS_VFIO_RUNNING, &err));
    mtty_expect(to, 2, 7);
    mtty_close(from);
    mtty_close(to);
}

VM_TEST(precopy_and_stop_copy) {
    migrate(true, ALL);
    migrate(true, 1);
}

VM_TEST(stop_copy_alone) {
    migrate(false, ALL);
    migrate(false, 7);
}

/* ---- what a device refuses ---- */

struct bad {
    const char *what;
    size_t at;       /* octet that is other */
    size_t length;   /* of what is written */
    bool at_once;    /* write says so, else leaving RESUMING */
    const char *why; /* in the message */
};

static const struct bad bads[] = {
    {"another magic", 0, ALL, true, "Bad address"},
    {"another version", 8, ALL, true, "Bad address"},
    {"another minor version", 12, ALL, true, "Bad address"},
    {"other ports", 16, ALL, true, "Bad address"},
    {"flags", 20, ALL, true, "Bad address"},
    {"nothing", ALL, 0, false, "Invalid argument"},
    {"a cut header", ALL, MTTY_HEADER - 1, false, "Invalid argument"},
    {"the header alone", ALL, MTTY_HEADER, false, "Invalid argument"},
    {"an octet too few", ALL, ALL - 1, false, "Invalid argument"},
    {"an octet too many", ALL, ALL + 1, true, "Cannot allocate memory"},
};

/* [VDEV-11] [VDEV-2] RESUMING is left by a reset only; what it has refused is not in it. */
static void refuse(struct vms_vfio *device, const struct bad *bad, const uint8_t *stream) {
    uint8_t other[ALL + 1];
    memcpy(other, stream, ALL);
    other[ALL] = 0;
    if (bad->at < ALL)
        other[bad->at] ^= 1;
    GOOD(vms_vfio_set_state(device, VMS_VFIO_RESUMING, &err));
    enum vms_code code = vms_vfio_write(device, other, bad->length, &err);
    cr_expect_eq(code == VMS_OK, !bad->at_once, "%s", bad->what);
    if (code == VMS_OK)
        code = vms_vfio_set_state(device, VMS_VFIO_STOP, &err);
    cr_expect_eq(code, VMS_E_VFIO_DEVICE, "%s", bad->what);
    cr_expect(strstr(err.message, bad->why), "%s: %s", bad->what, err.message);
    cr_expect(strstr(err.message, "it is in RESUMING"), "%s: %s", bad->what, err.message);
    GOOD(vms_vfio_recover(device, &err));
    cr_expect_eq(vms_vfio_state(device), VMS_VFIO_RUNNING);
}

VM_TEST(bad_streams_and_reset) {
    struct vms_vfio *from = mtty_open(&cards[0]), *to = mtty_open(&cards[1]);
    uint8_t stream[ALL + 1];
    mtty_fill(from, 2, 5);
    save(from, true, stream);
    for (size_t i = 0; i < sizeof bads / sizeof bads[0]; i++) {
        mtty_fill(to, 2, 6);
        refuse(to, &bads[i], stream);
        mtty_expect(to, 2, 6);
    }
    /* and it takes a good one afterwards */
    GOOD(vms_vfio_set_state(to, VMS_VFIO_RESUMING, &err));
    GOOD(vms_vfio_write(to, stream, ALL, &err));
    GOOD(vms_vfio_set_state(to, VMS_VFIO_RUNNING, &err));
    mtty_expect(to, 2, 5);
    mtty_close(from);
    mtty_close(to);
}

VM_TEST(reset_in_every_state) {
    struct vms_vfio *device = mtty_open(&cards[0]);
    for (unsigned state = VMS_VFIO_STOP; state < VMS_VFIO_STATES; state++) {
        GOOD(vms_vfio_set_state(device, (enum vms_vfio_state)state, &err));
        GOOD(vms_vfio_reset(device, &err));
        cr_expect_eq(vms_vfio_state(device), VMS_VFIO_RUNNING, "from %u", state);
        GOOD(vms_vfio_set_state(device, (enum vms_vfio_state)state, &err));
        GOOD(vms_vfio_recover(device, &err));
        cr_expect_eq(vms_vfio_state(device), VMS_VFIO_RUNNING, "from %u", state);
    }
    mtty_close(device);
}

/* [VDEV-1] PRE_COPY cannot come after STOP_COPY: where it is, and that its data still is there. */
VM_TEST(an_arc_that_is_forbidden) {
    struct vms_vfio *device = mtty_open(&cards[0]);
    enum vms_vfio_data end;
    uint8_t stream[ALL + 1];
    GOOD(vms_vfio_set_state(device, VMS_VFIO_STOP_COPY, &err));
    cr_expect_eq(vms_vfio_set_state(device, VMS_VFIO_PRE_COPY, &err), VMS_E_VFIO_DEVICE);
    cr_expect(strstr(err.message, "from STOP_COPY to PRE_COPY"), "%s", err.message);
    cr_expect_eq(vms_vfio_state(device), VMS_VFIO_STOP_COPY);
    cr_expect_eq(mtty_drain(device, stream, sizeof stream, &end), (size_t)ALL);
    mtty_close(device);
}

/* ---- DMA logging, memory, config space ---- */

VM_TEST(dma_logging) {
    const struct vms_vfio_range ranges[] = {{0, 1 << 20}, {1 << 30, 1 << 20}}, over = {4096, 8192};
    struct vms_vfio *device = mtty_open(&cards[0]);
    uint64_t bitmap[4] = {0};
    bool lost = true;
    cr_expect_eq(vms_vfio_log_report(device, 0, 1 << 20, 4096, bitmap, &lost, &err),
                 VMS_E_VFIO_DEVICE);
    GOOD(vms_vfio_log_start(device, ranges, 2, 4096, &err));
    GOOD(vms_vfio_log_report(device, 0, 1 << 20, 4096, bitmap, &lost, &err));
    /* a kernel without iommufd logs, and has no way to report: [VDEV-3] */
    for (int i = 0; i < 4; i++)
        cr_expect_eq(bitmap[i], lost ? UINT64_MAX : 0u, "it does no DMA");
    vms_vfio_log_stop(device);
    const struct vms_vfio_range both[] = {{0, 1 << 20}, over};
    cr_expect_eq(vms_vfio_log_start(device, both, 2, 4096, &err), VMS_E_VFIO_DEVICE);
    mtty_close(device);
}

/* [VDEV-23] What the container of a kernel without iommufd says of a card that does no DMA. */
VM_TEST(the_log_of_the_container) {
    struct vms_vfio *device = mtty_open(&cards[0]);
    uint64_t bitmap[4] = {0};
    bool lost = true;
    uint8_t *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(m, MAP_FAILED);
    GOOD(vms_vfio_map(device->iommu, 0, m, 1 << 20, &err));
    cr_assert(vms_vfio_container_logs(device->iommu));
    cr_expect_eq(device->iommu->log_page, 4096u);
    GOOD(vms_vfio_container_log_start(device->iommu, &err));
    GOOD(vms_vfio_container_log_report(device->iommu, 0, 1 << 20, 4096, bitmap, &lost, &err));
    cr_expect_not(lost);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(bitmap[i], 0u, "it does no DMA");
    /* a part of a mapping it does not tell of, nor without a log: all is dirty [VDEV-3] */
    GOOD(vms_vfio_container_log_report(device->iommu, 0, 1 << 19, 4096, bitmap, &lost, &err));
    cr_expect(lost && bitmap[0] == UINT64_MAX && bitmap[1] == UINT64_MAX && bitmap[2] == 0);
    vms_vfio_container_log_stop(device->iommu);
    GOOD(vms_vfio_container_log_report(device->iommu, 0, 1 << 20, 4096, bitmap, &lost, &err));
    cr_expect(lost);
    GOOD(vms_vfio_unmap(device->iommu, 0, 1 << 20, &err));
    mtty_close(device);
    (void)munmap(m, 1 << 20);
}

VM_TEST(memory_for_devices) {
    struct vms_vfio *device = mtty_open(&cards[0]);
    uint8_t *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(m, MAP_FAILED);
    GOOD(vms_vfio_map(device->iommu, 0, m, 1 << 20, &err));
    cr_expect_eq(vms_vfio_map(device->iommu, 4096, m, 4096, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_map(device->iommu, 1 << 30, m + 1, 4096, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_map(device->iommu, 1 << 30, m, 100, &err), VMS_E_VFIO_DEVICE);
    GOOD(vms_vfio_unmap(device->iommu, 0, 1 << 20, &err));
    GOOD(vms_vfio_map(device->iommu, 4096, m, 4096, &err));
    mtty_close(device);
    (void)munmap(m, 1 << 20);
}

/* [VDEV-13] [VDEV-20] The kernel's card shows 255 octets of config space. */
VM_TEST(config_state) {
    struct vms_vfio *from = mtty_open(&cards[0]), *to = mtty_open(&cards[1]);
    static uint8_t config[VMS_VFIO_CONFIG_MAX];
    size_t len;
    cr_expect_eq(vms_vfio_config_size(from), 256u);
    GOOD(vms_vfio_config_save(from, config, &len, &err));
    cr_expect_eq(len, (size_t)4 + 256 + 16);
    cr_expect_eq(memcmp(config + 4, "\x48\x43\x53\x32", 4), 0, "vendor and device");
    GOOD(vms_vfio_config_load(to, config, len, &err));
    config[4]++;
    cr_expect_eq(vms_vfio_config_load(to, config, len, &err), VMS_E_VFIO_CONFIG);
    config[4]--;
    static uint8_t larger[VMS_VFIO_CONFIG_MAX + 4096];
    memcpy(larger, config, len);
    cr_expect_eq(vms_vfio_config_load(to, larger, VMS_VFIO_CONFIG_MAX + 1, &err),
                 VMS_E_VFIO_CONFIG);
    cr_expect_eq(vms_vfio_config_load(to, config, len - 1, &err), VMS_E_VFIO_CONFIG);
    mtty_close(from);
    mtty_close(to);
}
