/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/vdpa.h"

#include "host/vdpa_record.h"
#include "host/vdpa_rig.h"

/* The saving half over simulated devices. */

static struct {
    struct {
        enum src_data_kind kind;
        bool last;
        uint8_t bytes[VMS_VDPA_STATE_MAX];
        size_t len;
    } at[8];
    size_t count;
} written;

static enum vms_code note(void *ctx, uint32_t device, enum src_data_kind kind,
                          struct vms_slice bytes, bool last, struct vms_error *err) {
    (void)ctx, (void)err;
    cr_assert_eq(device, 3u);
    cr_assert_lt(written.count, 8u);
    cr_assert_leq(bytes.len, sizeof written.at[0].bytes);
    written.at[written.count].kind = kind;
    written.at[written.count].last = last;
    written.at[written.count].len = bytes.len;
    memcpy(written.at[written.count++].bytes, bytes.ptr, bytes.len);
    return VMS_OK;
}

static const struct src_wire_ops wire_ops = {.data = note};
static struct src_wire wire = {&wire_ops, NULL};
static struct vms_error err;
static struct vdpa_rig rig;
static struct src_vdpa *vdpa;
static struct src_device dev;
static int device_fd;

static void begin(const char *text, bool driver) {
    char spec[64];
    const char *specs[] = {spec};
    written.count = 0;
    rig_set_up(&rig);
    if (strstr(text, "packed"))
        rig.state.profile.features |= UINT64_C(1) << VMS_VIRTIO_PACKED;
    device_fd = vdpa_describe(text);
    (void)snprintf(spec, sizeof spec, "fd:%d", device_fd);
    vfio_good(src_vdpa_new(&rig.guest, specs, 1, 3, &vdpa, &err), &err);
    if (driver)
        vfio_good(src_vdpa_start(vdpa, 0, &rig.state, rig.events, &err), &err);
    dev = src_vdpa_device(vdpa, 0);
    cr_expect_str_eq(dev.about.idstr, "vdpa0");
    cr_expect_eq(dev.about.kind, 2u);
    vfio_good(dev.ops->setup(dev.ctx, &wire, &err), &err);
}

static void stop(void) {
    const struct vms_guest *g = src_vdpa_guest(vdpa);
    vfio_good(g->ops->stop(g->ctx, &err), &err);
}
static void run(void) {
    const struct vms_guest *g = src_vdpa_guest(vdpa);
    vfio_good(g->ops->run(g->ctx, &err), &err);
    cr_expect_eq(src_vdpa_lost(vdpa)->code, VMS_OK, "%s", src_vdpa_lost(vdpa)->message);
}

static void end(void) {
    dev.ops->cleanup(dev.ctx);
    src_vdpa_free(vdpa);
    vfio_clean();
}

static void expect_written(size_t i, enum src_data_kind kind, bool last) {
    cr_assert_lt(i, written.count);
    cr_expect(written.at[i].kind == kind && written.at[i].last == last, "%zu", i);
}

/** As the destination puts records together. */
static void read_record(size_t i, bool known, struct vms_vdpa_state *state) {
    struct vms_slice in = vms_slice(written.at[i].bytes, written.at[i].len);
    vfio_good(vms_vdpa_record_read(in, known, state, &err), &err);
}

static void say_vlan(uint8_t id) {
    const uint8_t data[2] = {id, 0};
    bool ok;
    vfio_good(src_vdpa_control(vdpa, 0, 2, 0, data, sizeof data, &ok, &err), &err);
    cr_assert(ok);
}

/* [VDPA-12] [VDPA-26] The profile at setup, then all that is known, then what differs. */
SIM_TEST(src_vdpa, what_is_sent_when) {
    static struct vms_vdpa_state state;
    struct vms_vdpa_profile profile;
    struct src_pending p;
    uint64_t sent = 1;
    bool more = true;
    begin("", true);
    vfio_good(dev.ops->pending(dev.ctx, true, &p, &err), &err);
    cr_expect_gt(p.precopy, 500u);
    for (int i = 0; i < 3; i++) { /* the second time there is nothing, the third a VLAN */
        vfio_good(dev.ops->save(dev.ctx, &wire, 1 << 20, &sent, &more, &err), &err);
        cr_expect(!more);
        cr_expect_eq(sent, i == 0 ? p.precopy : i == 1 ? 0 : 1u + 5 + 1);
        if (i == 1)
            say_vlan(9);
    }
    rig_transmit(&rig);
    cr_expect_eq(dev.ops->final(dev.ctx, &wire, false, &err), VMS_E_MISUSE, "it still runs");
    stop();
    vfio_good(dev.ops->final(dev.ctx, &wire, false, &err), &err);
    vfio_good(dev.ops->final(dev.ctx, &wire, false, &err), &err);
    cr_assert_eq(written.count, 4u);
    expect_written(0, SRC_DATA_SETUP, true);
    expect_written(1, SRC_DATA_STATE, false);
    expect_written(2, SRC_DATA_STATE, false);
    expect_written(3, SRC_DATA_STATE, true);
    cr_expect_leq(written.at[3].len, 40u, "the ring's base, and the config space at most");
    vfio_good(
        vms_vdpa_profile_read(vms_slice(written.at[0].bytes, written.at[0].len), &profile, &err),
        &err);
    for (size_t i = 1; i < 4; i++)
        read_record(i, i > 1, &state);
    cr_expect_eq(profile.features, rig.state.profile.features);
    cr_expect_eq(state.queue[1].ring.base, 1u);
    cr_expect_eq(state.net.vlans[1], 2u);
    cr_expect_arr_eq(state.net.mac, rig.state.net.mac, 6);
    dev.ops->cleanup(dev.ctx);
    cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.maps, 0u, "nothing stays mapped");
    end();
}

SIM_TEST(src_vdpa, all_at_the_end) {
    static struct vms_vdpa_state state;
    struct src_pending p;
    uint64_t sent = 1;
    bool more = true;
    begin("", true);
    src_vdpa_late_state(vdpa, true);
    vfio_good(dev.ops->save(dev.ctx, &wire, 1 << 20, &sent, &more, &err), &err);
    cr_expect(sent == 0 && !more);
    vfio_good(dev.ops->pending(dev.ctx, true, &p, &err), &err);
    cr_expect(p.precopy == 0 && p.stop > 500);
    rig_transmit(&rig);
    stop();
    vfio_good(dev.ops->final(dev.ctx, &wire, false, &err), &err);
    cr_assert_eq(written.count, 2u);
    expect_written(1, SRC_DATA_STATE, true);
    read_record(1, false, &state);
    cr_expect_eq(state.queue[1].ring.base, 1u);
    end();
}

/* [VDPA-17] The migration fails after the stop: the card transmits on, whatever it can do. */
SIM_TEST(src_vdpa, it_runs_on) {
    static const char *const texts[] = {"", "backend -resume", "backend -suspend -resume",
                                        "forgets on\nbackend -persist -resume",
                                        "forgets on\nbackend -persist -suspend -resume"};
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        begin(texts[t], true);
        for (unsigned i = 0; i < 3; i++) {
            rig_transmit(&rig);
            stop();
            vfio_good(dev.ops->final(dev.ctx, &wire, false, &err), &err);
            run();
            dev.ops->resumed(dev.ctx);
        }
        rig_transmit(&rig);
        cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.stray, 0u, "%s", texts[t]);
        cr_expect_eq(written.count, 4u, "sent again each time");
        src_vdpa_free(vdpa);
    }
    vfio_clean();
}

/* [VDPA-17] It was given up before the guest was stopped. */
SIM_TEST(src_vdpa, given_up_while_it_runs) {
    begin("", true);
    cr_expect(vms_vdpa_card_is_watched(src_vdpa_card(vdpa, 0)));
    rig_transmit(&rig);
    dev.ops->cleanup(dev.ctx);
    cr_expect_not(vms_vdpa_card_is_watched(src_vdpa_card(vdpa, 0)));
    rig_transmit(&rig);
    cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.stray, 0u);
    end();
}

SIM_TEST(src_vdpa, without_a_driver) {
    static struct vms_vdpa_state state;
    begin("", false);
    stop();
    vfio_good(dev.ops->final(dev.ctx, &wire, false, &err), &err);
    read_record(1, false, &state);
    cr_expect_eq(state.status, 0u);
    run();
    end();
}

/* [VDPA-19] */
SIM_TEST(src_vdpa, no_postcopy) {
    begin("", true);
    stop();
    cr_expect_eq(dev.ops->final(dev.ctx, &wire, true, &err), VMS_E_VDPA_DEVICE);
    end();
}

/* ---- what it writes: [VDPA-18] ---- */

static enum vms_code no_start(void *ctx, struct vms_error *e) {
    (void)ctx, (void)e;
    return VMS_OK;
}
static enum vms_code no_dirty(void *ctx, size_t block, uint64_t first, uint64_t count,
                              uint64_t *bitmap, uint64_t *found, struct vms_error *e) {
    (void)ctx, (void)block, (void)first, (void)count, (void)bitmap, (void)e;
    if (found)
        *found = 0;
    return VMS_OK;
}
static void nothing(void *ctx) {
    (void)ctx;
}
static const struct vms_dirty_ops none = {no_start, no_dirty, nothing, nothing};

static uint64_t collect(struct vms_dirty *d, size_t block, uint64_t first, uint64_t count) {
    uint64_t bitmap[RIG_BLOCK / 4096 / 64] = {0}, found = 0, bits = 0;
    vfio_good(d->ops->collect(d->ctx, block, first, count, bitmap, &found, &err), &err);
    for (uint64_t i = 0; i < RIG_BLOCK / 4096; i++) {
        bool set = bitmap[i / 64] >> (i % 64) & 1;
        cr_assert(!set || (i >= first && i < first + count));
        bits += set;
    }
    cr_assert_eq(bits, found);
    return found;
}

/*
 * Memory is the oracle: every page that is not as it was, and that the driver did not write itself,
 * is dirty; and hardly any other.
 */
SIM_TEST(src_vdpa, what_the_device_writes_is_dirty) {
    const uint64_t pages = RIG_BLOCK / 4096;
    uint64_t bitmap[RIG_BLOCK / 4096 / 64] = {0};
    struct vms_dirty d;
    uint8_t *before = malloc(RIG_BLOCK);
    size_t dirty = 0, changed = 0;
    cr_assert_not_null(before);
    begin("echo on", true);
    vfio_good(src_vdpa_dirty(vdpa, (struct vms_dirty){&none, NULL, "none"}, &d, &err), &err);
    vfio_good(d.ops->start(d.ctx, &err), &err);
    memcpy(before, rig.blocks[0].memory, RIG_BLOCK);
    for (unsigned i = 0; i < 200; i++) {
        rig_fill(&rig);
        memset(rig.blocks[0].memory + RIG_BUFFER, (int)(i + 1), 64);
        rig_transmit(&rig);
        if (i % 20 == 0)
            vfio_good(d.ops->collect(d.ctx, 0, 0, pages, bitmap, NULL, &err), &err);
    }
    stop();
    vfio_good(d.ops->collect(d.ctx, 0, 0, pages, bitmap, NULL, &err), &err);
    for (uint64_t p = 0; p < pages; p++) {
        bool is = bitmap[p / 64] >> (p % 64) & 1;
        bool was_driver = p * 4096 == RIG_DESC || p * 4096 == RIG_AVAIL || p * 4096 == RIG_BUFFER ||
                          p * 4096 == RIG_RX || p * 4096 == RIG_RX + 0x1000;
        bool differs = memcmp(before + p * 4096, rig.blocks[0].memory + p * 4096, 4096) != 0;
        cr_expect(is || was_driver || !differs, "page %llu", (unsigned long long)p);
        dirty += is;
        changed += differs && !was_driver;
    }
    cr_expect_eq(changed, RIG_RING + 2u, "%zu", changed);
    cr_expect_eq(dirty, changed);
    cr_expect_eq(collect(&d, 1, 0, pages), 0u);
    d.ops->free(d.ctx);
    free(before);
    end();
}

SIM_TEST(src_vdpa, all_is_dirty_once_after_a_stop) {
    const uint64_t pages = RIG_BLOCK / 4096;
    struct vms_dirty d;
    begin("features +packed", true); /* which no shadow rings are for */
    vfio_good(src_vdpa_dirty(vdpa, (struct vms_dirty){&none, NULL, "none"}, &d, &err), &err);
    vfio_good(d.ops->start(d.ctx, &err), &err);
    cr_expect_eq(collect(&d, 0, 0, pages), 0u);
    stop();
    cr_expect_eq(collect(&d, 0, 100, 50), 50u);
    cr_expect_eq(collect(&d, 0, 0, pages), pages - 50);
    cr_expect_eq(collect(&d, 0, 0, pages), 0u);
    cr_expect_eq(collect(&d, 1, 0, pages), pages);
    run();
    stop();
    cr_expect_eq(collect(&d, 0, 0, pages), pages);
    d.ops->stop(d.ctx);
    d.ops->free(d.ctx);
    end();
}
