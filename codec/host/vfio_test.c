/* SPDX-License-Identifier: MIT */
#include "host/vfio_test_util.h"

#include <fcntl.h>
#include <sys/mman.h>

/* The kernel back end over simulated devices: real ioctls and descriptors. */

static struct vms_vfio_iommu *iommu;
static struct vms_error err;

static struct vms_vfio *open_named(const char *name) {
    struct vms_vfio *device = NULL;
    if (!iommu)
        vfio_good(vms_vfio_iommu_new(&iommu, &err), &err);
    vfio_good(vms_vfio_open(iommu, name, &device, &err), &err);
    return device;
}

static void done(struct vms_vfio *a, struct vms_vfio *b) {
    vms_vfio_close(a);
    vms_vfio_close(b);
    vms_vfio_iommu_free(iommu);
    vfio_clean();
}

static void to(struct vms_vfio *device, enum vms_vfio_state state) {
    enum vms_vfio_state now;
    vfio_good(vms_vfio_set_state(device, state, &err), &err);
    vfio_good(vms_vfio_ask_state(device, &now, &err), &err);
    cr_expect_eq(now, state);
}

/* Until there is none now. How much it was. */
static uint64_t move(struct vms_vfio *src, struct vms_vfio *dst, enum vms_vfio_data until) {
    uint8_t buf[5000];
    uint64_t moved = 0;
    enum vms_vfio_data what;
    for (size_t got;; moved += got) {
        vfio_good(vms_vfio_read(src, buf, sizeof buf, &got, &what, &err), &err);
        if (what != VMS_VFIO_DATA)
            break;
        vfio_good(vms_vfio_write(dst, buf, got, &err), &err);
    }
    cr_expect_eq(what, until);
    return moved;
}

SIM_TEST(vfio, features_are_found_out) {
    static const struct {
        const char *text;
        struct vms_vfio_features want;
    } cases[] = {
        {"", {true, true, true, true, true}},
        {"p2p off", {false, true, true, true, true}},
        {"precopy off", {true, false, false, true, true}},
        {"precopy-v2 off", {true, true, false, true, true}},
        {"data-size off", {true, true, true, false, true}},
        {"dma-log off", {true, true, true, true, false}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vms_vfio *d = open_named(SIM_DEVICE("a", cases[i].text));
        const struct vms_vfio_features *f = vms_vfio_features(d), *w = &cases[i].want;
        cr_expect(f->p2p == w->p2p && f->precopy == w->precopy && f->reinit == w->reinit &&
                      f->data_size == w->data_size && f->dma_logging == w->dma_logging,
                  "%s", cases[i].text);
        cr_expect_eq(vms_vfio_state(d), VMS_VFIO_RUNNING);
        vms_vfio_close(d);
    }
    done(NULL, NULL);
}

/* [VDEV-9] */
SIM_TEST(vfio, a_device_moves_while_it_runs) {
    struct vms_vfio *src = open_named(SIM_DEVICE("a", "initial 20000\nstop 30000"));
    struct vms_vfio *dst = open_named(SIM_DEVICE("b", ""));
    struct vms_vfio_precopy left;
    uint64_t size;
    to(dst, VMS_VFIO_RESUMING);
    to(src, VMS_VFIO_PRE_COPY);
    vfio_good(vms_vfio_precopy(src, &left, &err), &err);
    cr_expect_eq(left.initial, 20000u);
    cr_expect_not(left.reinit);
    cr_expect_eq(move(src, dst, VMS_VFIO_LATER), 20000u);
    vfio_good(vms_vfio_data_size(src, &size, &err), &err);
    cr_expect_eq(size, 30000u);
    to(src, VMS_VFIO_PRE_COPY_P2P);
    to(src, VMS_VFIO_STOP_COPY); /* the fd of PRE_COPY goes on */
    cr_expect_eq(move(src, dst, VMS_VFIO_END), 30000u);
    to(src, VMS_VFIO_STOP);
    to(dst, VMS_VFIO_RUNNING_P2P);
    to(dst, VMS_VFIO_RUNNING);
    done(src, dst);
}

SIM_TEST(vfio, a_device_without_precopy_moves_when_it_is_stopped) {
    struct vms_vfio *src = open_named(SIM_DEVICE("a", "precopy off\np2p off\ndata-size off"));
    struct vms_vfio *dst = open_named(SIM_DEVICE("b", ""));
    uint64_t size;
    vfio_good(vms_vfio_data_size(src, &size, &err), &err);
    cr_expect_eq(size, UINT64_MAX);
    cr_expect_eq(vms_vfio_set_state(src, VMS_VFIO_PRE_COPY, &err), VMS_E_VFIO_DEVICE);
    to(dst, VMS_VFIO_RESUMING);
    to(src, VMS_VFIO_STOP_COPY);
    cr_expect_eq(move(src, dst, VMS_VFIO_END), 2u << 20);
    to(dst, VMS_VFIO_RUNNING);
    done(src, dst);
}

/* [VDEV-4] */
SIM_TEST(vfio, reinit_is_seen_with_the_opt_in_only) {
    for (int v2 = 0; v2 < 2; v2++) {
        struct vms_vfio *src =
            open_named(SIM_DEVICE("a", v2 ? "initial 4K\nreinit drain 8K"
                                          : "initial 4K\nreinit drain 8K\nprecopy-v2 off"));
        struct vms_vfio *dst = open_named(SIM_DEVICE("b", ""));
        struct vms_vfio_precopy left;
        uint8_t buf[4096];
        size_t got;
        enum vms_vfio_data what;
        to(src, VMS_VFIO_PRE_COPY);
        vfio_good(vms_vfio_read(src, buf, sizeof buf, &got, &what, &err), &err);
        vfio_good(vms_vfio_precopy(src, &left, &err), &err);
        cr_expect_eq(left.reinit, v2 == 1);
        cr_expect_eq(left.initial, v2 ? 8192u : 0u);
        vms_vfio_close(src);
        vms_vfio_close(dst);
    }
    done(NULL, NULL);
}

/* [VDEV-1] [VDEV-2] A failure anywhere is named, the state is known, the device comes back. */
SIM_TEST(vfio, every_failed_change_of_state_is_survived) {
    static const enum vms_vfio_state states[] = {VMS_VFIO_STOP,     VMS_VFIO_STOP_COPY,
                                                 VMS_VFIO_RESUMING, VMS_VFIO_RUNNING_P2P,
                                                 VMS_VFIO_PRE_COPY, VMS_VFIO_PRE_COPY_P2P};
    static const char *const words[] = {"stop",        "stop-copy", "resuming",
                                        "running-p2p", "pre-copy",  "pre-copy-p2p"};
    for (size_t i = 0; i < 6; i++)
        for (int broken = 0; broken < 2; broken++) {
            char text[64];
            (void)snprintf(text, sizeof text, "fault set %s %s", words[i],
                           broken ? "error" : "enospc");
            struct vms_vfio *d = open_named(SIM_DEVICE("a", text));
            cr_expect_eq(vms_vfio_set_state(d, states[i], &err), VMS_E_VFIO_DEVICE);
            cr_expect(strstr(err.message, broken ? "it is in ERROR" : "No space left"), "%s",
                      err.message);
            cr_expect_str_eq(err.clause, "VDEV-1");
            vfio_good(vms_vfio_recover(d, &err), &err);
            cr_expect_eq(vms_vfio_state(d), VMS_VFIO_RUNNING);
            to(d, states[i]);
            vms_vfio_close(d);
        }
    done(NULL, NULL);
}

SIM_TEST(vfio, a_stuck_device_is_given_up_with_a_reason) {
    struct vms_vfio *d = open_named(SIM_DEVICE("a", "fault set stop-copy stuck"));
    to(d, VMS_VFIO_PRE_COPY);
    cr_expect_eq(vms_vfio_set_state(d, VMS_VFIO_STOP_COPY, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_state(d), VMS_VFIO_PRE_COPY_P2P);
    cr_expect_eq(vms_vfio_recover(d, &err), VMS_E_VFIO_DEVICE);
    cr_expect(strstr(err.message, "reset: "), "%s", err.message);
    done(d, NULL);
}

/* [VDEV-11] */
SIM_TEST(vfio, a_bad_stream_is_refused_and_the_device_comes_back) {
    struct vms_vfio *d = open_named(SIM_DEVICE("a", ""));
    to(d, VMS_VFIO_RESUMING);
    vfio_good(vms_vfio_write(d, "not the state of a device, whatever else it may be", 50, &err),
              &err);
    cr_expect_eq(vms_vfio_set_state(d, VMS_VFIO_RUNNING_P2P, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_state(d), VMS_VFIO_RESUMING);
    vfio_good(vms_vfio_recover(d, &err), &err);
    cr_expect_eq(vms_vfio_state(d), VMS_VFIO_RUNNING);
    done(d, NULL);
}

SIM_TEST(vfio, reading_writing_and_asking_may_fail) {
    struct vms_vfio *src =
        open_named(SIM_DEVICE("a", "fault read pre-copy eio\nfault info any einval\n"
                                   "fault size any ebusy"));
    struct vms_vfio *dst = open_named(SIM_DEVICE("b", "fault write any enospc"));
    struct vms_vfio_precopy left;
    uint8_t buf[64];
    size_t got;
    uint64_t size;
    enum vms_vfio_data what;
    to(src, VMS_VFIO_PRE_COPY);
    to(dst, VMS_VFIO_RESUMING);
    cr_expect_eq(vms_vfio_precopy(src, &left, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_data_size(src, &size, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_read(src, buf, sizeof buf, &got, &what, &err), VMS_E_VFIO_DEVICE);
    cr_expect_eq(vms_vfio_write(dst, buf, sizeof buf, &err), VMS_E_VFIO_DEVICE);
    cr_expect(strstr(err.message, "No space left"), "%s", err.message);
    done(src, dst);
}

/* ---- memory ---- */

enum {
    PAGES = 64,
};

static uint8_t *memory(struct vms_vfio *device) {
    uint8_t *m =
        mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vms_vfio_range range = {1 << 20, PAGES * 4096};
    cr_assert_neq(m, MAP_FAILED);
    vfio_good(vms_vfio_map(iommu, 1 << 20, m, PAGES * 4096, &err), &err);
    vfio_good(vms_vfio_log_start(device, &range, 1, 4096, &err), &err);
    return m;
}

/* The device writes pages while it is asked; what it wrote is what it reports. */
SIM_TEST(vfio, the_log_has_what_the_device_wrote) {
    struct vms_vfio *d = open_named(SIM_DEVICE("a", "dma 100000 0x100000 10"));
    uint8_t *m = memory(d);
    uint64_t bits = 0;
    bool lost = true;
    while ((bits & 0x3ff) != 0x3ff)
        vfio_good(vms_vfio_log_report(d, 1 << 20, PAGES * 4096, 4096, &bits, &lost, &err), &err);
    cr_expect_eq(bits, 0x3ffu);
    cr_expect_not(lost);
    for (size_t i = 0; i < PAGES; i++)
        cr_expect_eq(m[i * 4096] != 0, i < 10, "page %zu", i);
    vms_vfio_log_stop(d);
    cr_expect_eq(vms_vfio_log_report(d, 1 << 20, 4096, 4096, &bits, &lost, &err),
                 VMS_E_VFIO_DEVICE);
    vfio_good(vms_vfio_unmap(iommu, 1 << 20, PAGES * 4096, &err), &err);
    done(d, NULL);
}

/* [VDEV-3] */
SIM_TEST(vfio, a_lost_log_makes_all_memory_dirty) {
    struct vms_vfio *d = open_named(SIM_DEVICE("a", "fault report any eio"));
    uint64_t bits[2] = {0};
    bool lost = false;
    (void)memory(d);
    vfio_good(vms_vfio_log_report(d, 1 << 20, 40 * 4096, 4096, bits, &lost, &err), &err);
    cr_expect(lost);
    cr_expect_eq(bits[0], (1ull << 40) - 1);
    cr_expect_eq(bits[1], 0u);
    done(d, NULL);
}

/* ---- ways to open ---- */

SIM_TEST(vfio, by_descriptor_and_by_legacy_group) {
    int fd = open(SIM_DEVICE("a", ""), O_RDWR);
    char name[200];
    (void)snprintf(name, sizeof name, "fd:%d", fd);
    struct vms_vfio *a = open_named(name);
    struct vms_vfio_iommu *other = NULL;
    struct vms_vfio *b = NULL;
    (void)snprintf(name, sizeof name, "%s:dev0",
                   vfio_file("7", "vfio-sim group\ndev0 %s\n", SIM_DEVICE("b", "precopy off")));
    cr_expect_eq(vms_vfio_open(iommu, name, &b, &err), VMS_E_VFIO_DEVICE);
    cr_expect(strstr(err.message, "cannot be mixed"), "%s", err.message);
    vfio_good(vms_vfio_iommu_new(&other, &err), &err);
    vfio_good(vms_vfio_open(other, name, &b, &err), &err);
    cr_expect_not(vms_vfio_features(b)->precopy);
    to(a, VMS_VFIO_RESUMING);
    to(b, VMS_VFIO_STOP_COPY);
    cr_expect_eq(move(b, a, VMS_VFIO_END), 2u << 20);
    to(a, VMS_VFIO_RUNNING);
    vms_vfio_close(b);
    vms_vfio_iommu_free(other);
    done(a, NULL);
}

SIM_TEST(vfio, what_is_no_device_is_refused) {
    const char *const names[] = {"/nowhere/at/all", "/sys/nowhere", "/dev/null", "fd:999",
                                 "/dev/vfio/77:dev"};
    struct vms_vfio *d;
    vfio_good(vms_vfio_iommu_new(&iommu, &err), &err);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_expect_eq(vms_vfio_open(iommu, names[i], &d, &err), VMS_E_VFIO_DEVICE, "%s", names[i]);
        cr_expect_null(d);
        cr_expect_gt(strlen(err.message), 10u);
    }
    done(NULL, NULL);
}

SIM_TEST(vfio, config_space) {
    struct vms_vfio *d = open_named(SIM_DEVICE("a", "pci 0x1234 0x5678 4096"));
    uint8_t config[4096], want[4] = {0x34, 0x12, 0x78, 0x56};
    cr_assert_eq(vms_vfio_config_size(d), 4096u);
    vfio_good(vms_vfio_config_read(d, config, sizeof config, &err), &err);
    cr_expect_arr_eq(config, want, 4);
    vfio_good(vms_vfio_config_write(d, 4, "\x06", 1, &err), &err);
    vfio_good(vms_vfio_config_read(d, config, sizeof config, &err), &err);
    cr_expect_eq(config[4], 6);
    done(d, NULL);
}
