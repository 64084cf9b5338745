/* SPDX-License-Identifier: MIT */
#include "host/vdpa_record.h"
#include "host/vdpa_rig.h"
#include "reference-dst/devices/vdpa.h"

#include <stdatomic.h>
#include <stdlib.h>

/*
 * [VDPA-4] [VDPA-6] [VDPA-7] Migrations into the loading half, from a seed: block lists of all
 * kinds, blocks that are added, resized, moved or gone meanwhile, state that comes early, late or
 * in changes, faults, and giving up. At DRIVER_OK, as the device itself tells it, every octet of
 * the guest is mapped once, where the block list has it; after a failure nothing is mapped.
 */
enum {
    RUNS = 10000,
    BLOCKS = 6,
    PAGE = 4096,
    PAGES = 64, /* of a block, at most */
    ARENA = BLOCKS * 2 * PAGES,
    OWN = 1 << 14, /* the shadow control queue */
};

static struct vms_error err;
static struct vdpa_rig rig; /* a driver that has its rings in block 0 */
static uint8_t *arena;

static struct {
    struct dst_vdpa *vdpa;
    int fd;
    struct vms_guest guest[2]; /* the layout, and the next one */
    struct vms_guest_block blocks[2][BLOCKS];
    unsigned now, seed;
    atomic_uint failed;
    atomic_uint_fast64_t needed, granted;
} r;

static uint32_t pick(uint32_t n) {
    return (uint32_t)rand_r(&r.seed) % n;
}

static void on_needs(void *ctx, size_t index, uint64_t generation) {
    (void)ctx, (void)index;
    r.needed = generation;
}
static void on_ready(void *ctx, size_t index, uint64_t generation) {
    (void)ctx, (void)index;
    r.granted = generation;
}
static void on_failed(void *ctx, size_t index, const struct vms_error *why) {
    (void)ctx, (void)index, (void)why;
    r.failed++;
}
static void on_progress(void *ctx, size_t index, const struct vms_vdpa_progress *p) {
    (void)ctx, (void)index, (void)p;
}
static const struct dst_vdpa_owner owner = {on_needs, on_ready, on_failed, on_progress, NULL};

/* ---- block lists ---- */

static struct vms_guest_block any_block(size_t i) {
    uint32_t pages = 1 + pick(PAGES);
    return (struct vms_guest_block){.name = "b",
                                    .memory =
                                        arena + (uint64_t)PAGE * (i * 2 * PAGES + pick(PAGES)),
                                    .length = (uint64_t)PAGE * pages,
                                    .page_size = PAGE,
                                    .fd = -1};
}

/** Block 0 has the rings and stays; another one is added, resized, moved, or goes. */
static void alter(struct vms_guest *g, struct vms_guest_block *blocks) {
    size_t i = 1 + pick((uint32_t)g->block_count);
    struct vms_guest_block other = any_block(g->block_count);
    if (i == g->block_count) {
        if (g->block_count < BLOCKS)
            blocks[g->block_count++] = other;
        return;
    }
    switch (pick(3)) {
    case 0: blocks[i].length = other.length; break;
    case 1: blocks[i].memory += PAGE; break;
    default: blocks[i] = blocks[--g->block_count]; break;
    }
}

/** The layout changes; what it was may go when that returns. */
static enum vms_code lay_out(void) {
    unsigned next = !r.now;
    r.guest[next] = r.guest[r.now];
    memcpy(r.blocks[next], r.blocks[r.now], sizeof r.blocks[0]);
    r.guest[next].blocks = r.blocks[next];
    for (uint32_t n = pick(4); n > 0; n--)
        alter(&r.guest[next], r.blocks[next]);
    r.now = next;
    return dst_vdpa_layout(r.vdpa, &r.guest[next], &err);
}

/** Each block of the list is there, page by page, and nothing else is. */
static void expect_exactly(unsigned seed) {
    static struct vds_map maps[4096];
    const struct vms_guest *g = &r.guest[r.now];
    struct vds_query q = vdpa_ask(r.fd, maps, 4096);
    uint64_t want = OWN, iova = 0, seen = 0;
    for (size_t b = 0; b < g->block_count; b++) {
        uint64_t at = 0;
        for (size_t m = 0; m < q.figures.maps; m++)
            if (maps[m].space == 0 && maps[m].iova == iova + at && at < g->blocks[b].length) {
                cr_assert_eq(maps[m].address, (uint64_t)(uintptr_t)g->blocks[b].memory + at);
                at += maps[m].length; /* they are in order */
                seen += maps[m].length;
            }
        cr_assert_eq(at, g->blocks[b].length, "seed %u, block %zu: %llu", seed, b,
                     (unsigned long long)at);
        want += g->blocks[b].length;
        iova += UINT64_C(1) << 30;
    }
    cr_assert_eq(q.figures.mapped, want, "seed %u: %llu are mapped, not %llu", seed,
                 (unsigned long long)q.figures.mapped, (unsigned long long)want);
    cr_assert_eq(seen + OWN, want);
    cr_assert_eq(q.figures.stray, 0u);
}

/* ---- a migration ---- */

static enum vms_code say_profile(void) {
    uint8_t bytes[64];
    size_t len = vms_vdpa_profile_write(&rig.state.profile, (struct vms_room){bytes, sizeof bytes});
    return dst_vdpa_profile(r.vdpa, 0, bytes, len, &err);
}

static enum vms_code say_state(const struct vms_vdpa_state *from, bool last) {
    uint8_t bytes[VMS_VDPA_STATE_MAX] = {1};
    size_t len = vms_vdpa_record_write(from, &rig.state, (struct vms_room){bytes, sizeof bytes});
    return dst_vdpa_state(r.vdpa, 0, bytes, len ? len : 1, last, &err);
}

static enum vms_code some_layouts(void) {
    enum vms_code code = VMS_OK;
    for (uint32_t n = pick(3); n > 0 && code == VMS_OK; n--)
        code = lay_out();
    return code;
}

static enum vms_code some_records(void) {
    struct vms_vdpa_state told;
    enum vms_code code = VMS_OK;
    bool known = false;
    for (uint32_t n = pick(3); n > 0 && code == VMS_OK; n--) {
        code = say_state(known ? &told : NULL, false);
        told = rig.state;
        known = true;
        rig.state.net.vlans[pick(512)] ^= 1;
        rig.state.net.mac[5] = (uint8_t)pick(256);
        if (code == VMS_OK && pick(4) == 0)
            code = lay_out();
    }
    return code == VMS_OK ? say_state(known ? &told : NULL, true) : code;
}

static enum vms_code migrate(void) {
    enum vms_code code = dst_vdpa_layout(r.vdpa, &r.guest[r.now], &err);
    if (code == VMS_OK)
        code = some_layouts();
    if (code == VMS_OK)
        code = say_profile();
    if (code == VMS_OK)
        code = some_records();
    if (code == VMS_OK)
        code = some_layouts(); /* devices may still move memory when all is loaded */
    return code == VMS_OK ? dst_vdpa_verify(r.vdpa, &err) : code;
}

static void expect_filters(unsigned seed) {
    struct vds_query q = vdpa_ask(r.fd, NULL, 0);
    cr_assert_arr_eq(q.net.vlans, rig.state.net.vlans, sizeof q.net.vlans, "seed %u", seed);
    cr_assert_arr_eq(q.net.mac, rig.state.net.mac, 6, "seed %u", seed);
    cr_assert_eq(q.net.refused, 0u);
}

static void open_device(void) {
    static const char *const texts[] = {"", "backend -batch", "backend -asid\ngroups 1\nspaces 1",
                                        "backend -suspend -resume"};
    static const char *const calls[] = {"MAP", "UNMAP", "BATCH_END", "SET_STATUS",
                                        "SET_VRING_ADDR"};
    char spec[32], text[120];
    const char *specs[] = {spec};
    const struct dst_vdpa_options options = {
        .late = pick(8) == 0, .chunk = (uint64_t)PAGE << pick(7), .batch = 1 + pick(4)};
    (void)snprintf(text, sizeof text, "%s", texts[pick(4)]);
    if (pick(4) == 0) /* behind the reset at opening */
        (void)snprintf(text, sizeof text, "fault %s eio after %u", calls[pick(5)], 1 + pick(8));
    r.fd = vdpa_describe(text);
    (void)snprintf(spec, sizeof spec, "fd:%d", r.fd);
    vfio_good(dst_vdpa_new(specs, 1, &options, &owner, &r.vdpa, &err), &err);
}

/* Whether it ran. */
static bool run_one(unsigned seed) {
    memset(&r, 0, sizeof r);
    r.seed = seed;
    r.blocks[0][0] = rig.blocks[0];
    r.guest[0] = (struct vms_guest){.blocks = r.blocks[0], .block_count = 1};
    for (uint32_t n = pick(4); n > 0; n--)
        alter(&r.guest[0], r.blocks[0]);
    memset(&rig.state.net.vlans, 0, sizeof rig.state.net.vlans);
    open_device();
    bool good = migrate() == VMS_OK && pick(16) != 0;
    if (good) {
        expect_exactly(seed); /* as it is when DRIVER_OK is set, or data queues go on */
        good = dst_vdpa_run(r.vdpa, &err) == VMS_OK;
    }
    if (good) {
        expect_exactly(seed);
        expect_filters(seed);
    } else {
        dst_vdpa_reset(r.vdpa);
        cr_assert_eq(vdpa_ask(r.fd, NULL, 0).figures.maps, 0u, "seed %u: still mapped", seed);
    }
    dst_vdpa_free(r.vdpa);
    return good;
}

SIM_TEST(vdpa_layout, ten_thousand_migrations) {
    unsigned ran = 0;
    rig_set_up(&rig);
    arena = mmap(NULL, (uint64_t)ARENA * PAGE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_neq(arena, MAP_FAILED);
    for (unsigned seed = 1; seed <= RUNS; seed++)
        ran += run_one(seed);
    cr_assert(ran > RUNS / 2 && ran < RUNS - RUNS / 20, "%u of %u ran", ran, RUNS);
    vfio_clean();
}
