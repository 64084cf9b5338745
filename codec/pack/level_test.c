/* SPDX-License-Identifier: MIT */
#include "pack_test_util.h"

/* A machine in which each level has a cost and a ratio, and the link a speed. */
struct world {
    int level;
    unsigned ns_per_kib;
    unsigned out_per_kib;
};

static const struct world COMPRESSIBLE[] = {{0, 60, 1024},  {-3, 700, 520}, {1, 1300, 400},
                                            {3, 2600, 310}, {6, 9000, 280}, {9, 20000, 230}};
static const struct world RANDOM[] = {{0, 60, 1024},  {-3, 300, 1024}, {1, 600, 1024},
                                      {3, 900, 1024}, {6, 9000, 1024}, {9, 20000, 1024}};

static const struct world *at_level(const struct world *world, int level) {
    while (world->level != level)
        world++;
    return world;
}

/* Frames of 128 KiB over a link of ns for a KiB. Returns how often the level changed. */
static unsigned run(struct vms_level_chooser *c, const struct world *world, unsigned link,
                    int frames, int *most_used) {
    unsigned used[32] = {0}, changes = 0;
    int last = 99;
    for (int i = 0; i < frames; i++) {
        int level = vms_chooser_next(c);
        const struct world *w = at_level(world, level);
        vms_chooser_packed(c, level, 128 * 1024, 128ull * w->out_per_kib, 128ull * w->ns_per_kib);
        vms_chooser_sent(c, 128ull * w->out_per_kib, 128ull * w->out_per_kib * link / 1024);
        used[level + 8]++;
        changes += level != last;
        last = level;
    }
    *most_used = -8;
    for (int level = -8; level < 24; level++)
        if (used[level + 8] > used[*most_used + 8])
            *most_used = level;
    return changes;
}

static int settles_at(const struct world *world, unsigned link) {
    struct vms_level_chooser c;
    int level;
    vms_chooser_init(&c, VMS_LEVEL_NONE, 9);
    (void)run(&c, world, link, 600, &level);
    (void)run(&c, world, link, 600, &level);
    return level;
}

/* [PACK-18] the faster the link, the lower the level; none when packing does not help. */
Test(level, follows_the_link) {
    cr_assert_eq(settles_at(COMPRESSIBLE, 80), VMS_LEVEL_NONE); /* 12 GiB/s */
    cr_assert_eq(settles_at(COMPRESSIBLE, 1300), -3);           /* 750 MiB/s */
    cr_assert_eq(settles_at(COMPRESSIBLE, 3300), 1);
    cr_assert_eq(settles_at(COMPRESSIBLE, 14000), 3);  /* 70 MiB/s */
    cr_assert_eq(settles_at(COMPRESSIBLE, 500000), 9); /* 2 MiB/s */
    cr_assert_eq(settles_at(RANDOM, 300), VMS_LEVEL_NONE);
}

/* [PACK-18] a level is not left for one that is hardly better, nor for a moment. */
Test(level, hysteresis) {
    struct vms_level_chooser c;
    int level;
    vms_chooser_init(&c, VMS_LEVEL_NONE, 9);
    (void)run(&c, COMPRESSIBLE, 14000, 1000, &level);
    int settled = level;
    for (int i = 0; i < 20; i++) { /* the link wavers by a few per cent around it */
        unsigned changes = run(&c, COMPRESSIBLE, 14000 + (i % 2 ? 500 : 0), 64, &level);
        cr_assert_leq(changes, 3, "only the trial of a neighbour: %u", changes);
        cr_assert_eq(level, settled);
    }
}

/* The level on which it has settled after many frames. */
static int settled_level(struct vms_level_chooser *c, const struct world *world, unsigned link) {
    int level;
    vms_chooser_init(c, VMS_LEVEL_NONE, 9);
    (void)run(c, world, link, 1000, &level);
    return level;
}

/* [PACK-18] a level that is better by less than an eighth is not taken. */
Test(level, hardly_better) {
    static const struct world tight[] = {{0, 60, 1024},  {-3, 900, 500}, {1, 1000, 400},
                                         {3, 1000, 370}, {6, 9000, 365}, {9, 20000, 360}};
    struct vms_level_chooser c;
    cr_assert_eq(settled_level(&c, tight, 20000), 1);
}

/* [PACK-18] one measurement that is far off changes nothing. */
Test(level, outlier) {
    struct vms_level_chooser c;
    int level;
    cr_assert_eq(settled_level(&c, COMPRESSIBLE, 3300), 1);
    for (int i = 0; i < 20; i++) {
        vms_chooser_sent(&c, 1024, 8 * 3300); /* stalled for a moment */
        (void)run(&c, COMPRESSIBLE, 3300, 64, &level);
        cr_assert_eq(level, 1);
    }
}

/* [PACK-18] it follows when the link changes for good, in both directions. */
Test(level, adapts) {
    struct vms_level_chooser c;
    int level;
    vms_chooser_init(&c, VMS_LEVEL_NONE, 9);
    (void)run(&c, COMPRESSIBLE, 140000, 1500, &level);
    (void)run(&c, COMPRESSIBLE, 80, 1500, &level);
    (void)run(&c, COMPRESSIBLE, 80, 500, &level);
    cr_assert_eq(level, VMS_LEVEL_NONE);
    (void)run(&c, COMPRESSIBLE, 14000, 1500, &level);
    (void)run(&c, COMPRESSIBLE, 14000, 500, &level);
    cr_assert_eq(level, 3);
}

/* Bounds hold, also for trials; without measurements it stays where it is. */
Test(level, bounds) {
    struct vms_level_chooser c;
    vms_chooser_init(&c, 1, 3);
    for (int i = 0; i < 500; i++) {
        int level = vms_chooser_next(&c);
        cr_assert(level == 1 || level == 3);
        vms_chooser_packed(&c, level, 1000, 1000, UINT64_MAX);
        vms_chooser_sent(&c, 1, UINT64_MAX);
    }
    vms_chooser_init(&c, 6, 1);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(vms_chooser_next(&c), 6);
    vms_chooser_packed(&c, 6, 0, 5, 5);
    vms_chooser_sent(&c, 0, 5);
    vms_chooser_packed(&c, 6, 1, UINT64_MAX, UINT64_MAX);
    cr_assert_eq(vms_chooser_next(&c), 6);
}

/* [PACK-18] the same calls give the same answers. */
Test(level, pure) {
    struct vms_level_chooser a, b;
    vms_chooser_init(&a, 0, 9);
    vms_chooser_init(&b, 0, 9);
    for (int i = 0; i < 1000; i++) {
        int level = vms_chooser_next(&a);
        cr_assert_eq(level, vms_chooser_next(&b));
        const struct world *w = at_level(COMPRESSIBLE, level);
        vms_chooser_packed(&a, level, 4096, 4ull * w->out_per_kib, 4ull * w->ns_per_kib);
        vms_chooser_packed(&b, level, 4096, 4ull * w->out_per_kib, 4ull * w->ns_per_kib);
        vms_chooser_sent(&a, 4096, 9000);
        vms_chooser_sent(&b, 4096, 9000);
    }
}
