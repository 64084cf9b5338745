/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vdpa.h"

#include "host/vdpa_record.h"
#include "host/vdpa_rig.h"

#include <stdatomic.h>
#include <sys/resource.h>

/* The loading half over simulated devices. */

static struct {
    atomic_uint needs, ready, failed;
    _Atomic uint64_t needed, granted, most;
    struct vms_error why;
    atomic_bool order; /* a grant came before its request */
} heard;

static void on_needs(void *ctx, size_t index, uint64_t generation) {
    (void)ctx, (void)index;
    heard.needs++;
    heard.needed = generation;
}
static void on_ready(void *ctx, size_t index, uint64_t generation) {
    (void)ctx, (void)index;
    if (generation > heard.needed)
        heard.order = true;
    heard.granted = generation;
    heard.ready++;
}
static void on_failed(void *ctx, size_t index, const struct vms_error *err) {
    (void)ctx, (void)index;
    heard.why = *err;
    heard.failed++;
}
static void on_progress(void *ctx, size_t index, const struct vms_vdpa_progress *p) {
    (void)ctx, (void)index;
    if (p->mapped > heard.most)
        heard.most = p->mapped;
}
static const struct dst_vdpa_owner owner = {on_needs, on_ready, on_failed, on_progress, NULL};

static struct vms_error err;
static struct vdpa_rig rig;
static struct dst_vdpa *vdpa;
static int device_fd;

static void begin(const char *text, const struct dst_vdpa_options *options) {
    char spec[64];
    const char *specs[] = {spec};
    memset(&heard, 0, sizeof heard);
    rig_set_up(&rig);
    device_fd = vdpa_describe(text);
    (void)snprintf(spec, sizeof spec, "fd:%d,id=net0", device_fd);
    vfio_good(dst_vdpa_new(specs, 1, options, &owner, &vdpa, &err), &err);
}

static void wait_for(atomic_uint *what, unsigned count) {
    const struct timespec t = {.tv_nsec = 1000000};
    for (int i = 0; i < 20000 && *what < count; i++)
        (void)nanosleep(&t, NULL);
    cr_assert_geq(*what, count);
}

static enum vms_code profile(void) {
    uint8_t bytes[64];
    size_t len = vms_vdpa_profile_write(&rig.state.profile, (struct vms_room){bytes, sizeof bytes});
    return dst_vdpa_profile(vdpa, 0, bytes, len, &err);
}

/** A record: all of it, or what differs from `from`. */
static enum vms_code record(const struct vms_vdpa_state *from, bool last) {
    uint8_t bytes[VMS_VDPA_STATE_MAX] = {1};
    size_t len = vms_vdpa_record_write(from, &rig.state, (struct vms_room){bytes, sizeof bytes});
    return dst_vdpa_state(vdpa, 0, bytes, len ? len : 1, last, &err);
}

static enum vms_code state(void) {
    return record(NULL, true);
}

/* [VDPA-4] [VDPA-11] Mapped before anything of the source has come; granted once it is in. */
SIM_TEST(dst_vdpa, mapped_while_the_source_runs) {
    struct vms_guest_block more[3];
    begin("", &(struct dst_vdpa_options){.chunk = 1 << 20});
    cr_expect_eq(dst_vdpa_find(vdpa, (const uint8_t *)"net0", 4), 0u);
    cr_expect_eq(dst_vdpa_find(vdpa, (const uint8_t *)"net1", 4), 1u);
    vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
    wait_for(&heard.ready, 1);
    cr_expect_eq(heard.granted, 1u);
    memcpy(more, rig.blocks, sizeof rig.blocks);
    more[2] = rig.blocks[1]; /* a block was added, and another one lost half */
    more[2].length /= 2;
    more[1].length /= 2;
    more[2].memory += more[1].length;
    rig.guest.blocks = more;
    rig.guest.block_count = 3;
    vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
    wait_for(&heard.ready, 2);
    cr_expect_eq(heard.granted, 2u);
    cr_expect_eq(heard.needs, 2u);
    cr_expect_not(heard.order);
    vfio_good(profile(), &err);
    vfio_good(state(), &err);
    vfio_good(dst_vdpa_verify(vdpa, &err), &err);
    struct vds_query q = vdpa_ask(device_fd, NULL, 0);
    cr_expect_eq(q.figures.mapped, 2u * RIG_BLOCK + (1 << 14));
    vfio_good(dst_vdpa_run(vdpa, &err), &err);
    cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.updates, q.figures.updates,
                 "nothing is mapped in downtime");
    cr_expect_arr_eq(vdpa_ask(device_fd, NULL, 0).net.mac, rig.state.net.mac, 6);
    cr_expect(dst_vdpa_figures(vdpa, 0).runs);
    cr_expect_eq(heard.failed, 0u);
    dst_vdpa_free(vdpa);
    vfio_clean();
}

SIM_TEST(dst_vdpa, late_maps_as_it_used_to_be) {
    begin("", &(struct dst_vdpa_options){.late = true});
    vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
    vfio_good(profile(), &err);
    vfio_good(state(), &err);
    cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.updates, 0u);
    vfio_good(dst_vdpa_verify(vdpa, &err), &err);
    cr_expect_gt(vdpa_ask(device_fd, NULL, 0).figures.mapped, 2u * RIG_BLOCK);
    vfio_good(dst_vdpa_run(vdpa, &err), &err);
    cr_expect_eq(heard.needs, 0u);
    cr_expect_eq(heard.ready, 1u, "nobody waits for it");
    dst_vdpa_free(vdpa);
    vfio_clean();
}

/* [VDPA-7] [VDPA-8] Early, with the reason, and nothing stays mapped. */
SIM_TEST(dst_vdpa, maps_that_cannot_be_fail_early) {
    struct rlimit limit = {4 << 20, 4 << 20};
    begin("pin on", &(struct dst_vdpa_options){.chunk = 1 << 20});
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
    wait_for(&heard.failed, 1);
    cr_expect_eq(heard.why.code, VMS_E_VDPA_MEMLOCK);
    cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.maps, 0u);
    vfio_good(profile(), &err);
    vfio_good(state(), &err);
    cr_expect_eq(dst_vdpa_verify(vdpa, &err), VMS_E_VDPA_MEMLOCK);
    dst_vdpa_reset(vdpa);
    cr_expect_eq(heard.failed, 1u, "told once");
    cr_expect_eq(heard.ready, 0u);
    dst_vdpa_free(vdpa);
    vfio_clean();
}

/* [VDPA-7] Given up in the middle, again and again. */
SIM_TEST(dst_vdpa, nothing_stays_mapped_after_a_reset) {
    for (unsigned seed = 0; seed < 50; seed++) {
        begin("page-cost 300ns", &(struct dst_vdpa_options){.chunk = 64 << 10, .batch = 2});
        vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
        const struct timespec t = {.tv_nsec = 20000 * (long)seed}; /* any moment will do */
        (void)nanosleep(&t, NULL);
        dst_vdpa_reset(vdpa);
        dst_vdpa_reset(vdpa);
        cr_assert_eq(vdpa_ask(device_fd, NULL, 0).figures.maps, 0u);
        dst_vdpa_free(vdpa);
        for (size_t i = 0; i < 2; i++) {
            (void)munmap(rig.blocks[i].memory, RIG_BLOCK);
            (void)close(rig.events[i].kick);
            (void)close(rig.events[i].call);
        }
    }
    vfio_clean();
}

static bool is_prepared(uint64_t times) {
    const struct timespec t = {.tv_nsec = 1000000};
    for (int i = 0; i < 20000 && dst_vdpa_figures(vdpa, 0).prepared < times; i++)
        (void)nanosleep(&t, NULL);
    return dst_vdpa_figures(vdpa, 0).prepared == times;
}

/*
 * [VDPA-28] The device is started before the source stops, and hears what differs: at the end it is
 * as if all had come at once.
 */
SIM_TEST(dst_vdpa, prepared_ahead) {
    struct vms_vdpa_state before;
    begin("", &(struct dst_vdpa_options){.chunk = 1 << 20});
    vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
    vfio_good(profile(), &err);
    rig.state.net.vlans[3] = 0xf0;
    vfio_good(record(NULL, false), &err);
    cr_assert(is_prepared(1));
    struct vds_query q = vdpa_ask(device_fd, NULL, 0);
    cr_expect_eq(q.net.vlans[3], 0xf0u);
    before = rig.state;
    rig.state.net.vlans[3] = 0x30;
    rig.state.net.mac[5] = 77;
    rig.state.net.unicast = 2;
    rig.state.queue[1].ring.base = 5;
    vfio_good(record(&before, false), &err);
    cr_assert(is_prepared(2));
    before = rig.state;
    rig.state.queue[1].ring.base = 6;
    rig.state.net.rx[1] = 1;
    vfio_good(record(&before, true), &err);
    vfio_good(dst_vdpa_verify(vdpa, &err), &err);
    uint32_t commands = vdpa_ask(device_fd, NULL, 0).net.commands;
    vfio_good(dst_vdpa_run(vdpa, &err), &err);
    struct vds_query end = vdpa_ask(device_fd, NULL, 0);
    cr_expect_eq(commands, end.net.commands, "nothing is left to be told");
    cr_expect_eq(commands, q.net.commands + 5, "two VLANs, address, table, mode");
    cr_expect_arr_eq(end.net.mac, rig.state.net.mac, 6);
    cr_expect_arr_eq(end.net.vlans, rig.state.net.vlans, sizeof end.net.vlans);
    cr_expect_eq(end.net.rx[1], 1u);
    cr_expect_eq(end.net.refused, 0u);
    cr_expect_eq(end.figures.resets, 1u, "at opening");
    cr_expect_eq(end.figures.resumes, 2u);
    cr_expect_eq(end.figures.stray, 0u);
    cr_expect_lt(dst_vdpa_figures(vdpa, 0).last_bytes, 40u);
    dst_vdpa_free(vdpa);
    vfio_clean();
}

/* Another driver took the device over meanwhile: a reset, and maps anew where they are lost. */
SIM_TEST(dst_vdpa, another_driver_at_the_end) {
    static const char *const texts[] = {"", "forgets on\nbackend -persist"};
    for (size_t i = 0; i < 2; i++) {
        begin(texts[i], &(struct dst_vdpa_options){.chunk = 1 << 20});
        vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
        vfio_good(profile(), &err);
        vfio_good(record(NULL, false), &err);
        cr_assert(is_prepared(1));
        rig.state.profile.features &= ~(UINT64_C(1) << VMS_VIRTIO_CTRL_RX);
        vfio_good(state(), &err);
        vfio_good(dst_vdpa_verify(vdpa, &err), &err);
        vfio_good(dst_vdpa_run(vdpa, &err), &err);
        struct vds_query q = vdpa_ask(device_fd, NULL, 0);
        cr_expect_eq(q.figures.resets, 2u);
        cr_expect_eq(q.figures.mapped, 2u * RIG_BLOCK + (1 << 14));
        cr_expect_eq(q.figures.stray + q.net.refused, 0u);
        dst_vdpa_free(vdpa);
    }
    vfio_clean();
}

/* A device that refuses is heard of before the source stops. */
SIM_TEST(dst_vdpa, a_start_that_fails_fails_early) {
    begin("fault SET_STATUS eio after 3", &(struct dst_vdpa_options){.chunk = 0});
    vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
    vfio_good(profile(), &err);
    vfio_good(record(NULL, false), &err);
    wait_for(&heard.failed, 1);
    cr_expect_eq(heard.why.code, VMS_E_VDPA_DEVICE);
    dst_vdpa_reset(vdpa);
    cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.maps, 0u);
    dst_vdpa_free(vdpa);
    vfio_clean();
}

/* [VDPA-12] At setup, before a page was sent. */
SIM_TEST(dst_vdpa, a_device_that_cannot_take_it_refuses_at_setup) {
    begin("ring-size 8", &(struct dst_vdpa_options){.chunk = 0});
    vfio_good(dst_vdpa_layout(vdpa, &rig.guest, &err), &err);
    cr_expect_eq(profile(), VMS_E_VDPA_MISMATCH);
    dst_vdpa_free(vdpa);
    vfio_clean();
}

/* ---- [VDPA-14]: every order of steps, against what a list of the legal ones says ---- */

enum {
    L, /* layout */
    P, /* profile */
    E, /* a record that is not the last */
    S, /* state */
    V, /* verify */
    R, /* run */
    X, /* reset */
    STEPS,
};

static enum vms_code act(unsigned step) {
    switch (step) {
    case L: return dst_vdpa_layout(vdpa, &rig.guest, &err);
    case P: return profile();
    case E: return record(NULL, false);
    case S: return state();
    case V: return dst_vdpa_verify(vdpa, &err);
    case R: return dst_vdpa_run(vdpa, &err);
    default: dst_vdpa_reset(vdpa); return VMS_OK;
    }
}

/** Derived from what came before, not from a state. */
static bool legal(const unsigned *past, size_t count, unsigned step) {
    bool had[STEPS] = {false}, verified = false;
    for (size_t i = 0; i < count; i++) {
        had[past[i]] = true;
        verified = past[i] == V || (verified && past[i] != L);
    }
    if (step == X)
        return true;
    if (had[X])
        return false;
    if (had[R])
        return step == R;
    return step == L || (step == P && had[L] && !had[P]) ||
           ((step == S || step == E) && had[P] && !had[S]) || (step == V && had[S]) ||
           (step == R && verified);
}

SIM_TEST(dst_vdpa, every_order) {
    for (unsigned seed = 1; seed <= 150; seed++) {
        unsigned past[12], random = seed;
        size_t count = 0;
        begin("", &(struct dst_vdpa_options){.late = seed % 2 == 0});
        for (int i = 0; i < 12; i++) {
            /* mostly forward, or hardly anything would ever run */
            unsigned step =
                rand_r(&random) % 3 ? (unsigned)count % X : (unsigned)rand_r(&random) % STEPS;
            bool good = legal(past, count, step);
            enum vms_code code = act(step);
            cr_assert_eq(code, good ? VMS_OK : VMS_E_VDPA_UNEXPECTED, "seed %u, step %u: %s", seed,
                         step, code ? err.message : "taken");
            if (good)
                past[count++] = step;
        }
        dst_vdpa_free(vdpa);
        for (size_t i = 0; i < 2; i++) {
            (void)munmap(rig.blocks[i].memory, RIG_BLOCK);
            (void)close(rig.events[i].kick);
            (void)close(rig.events[i].call);
        }
    }
    vfio_clean();
}
