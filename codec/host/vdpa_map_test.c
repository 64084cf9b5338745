/* SPDX-License-Identifier: MIT */
#include "host/vdpa_map.h"
#include "host/vdpa_test_util.h"

#include <sys/mman.h>
#include <sys/resource.h>

/*
 * What a device holds against what was wanted, both told page by page: the device's own list of
 * maps is the oracle's one side, the layout the other. [VDPA-4] [VDPA-5] [VDPA-6] [VDPA-7]
 */
enum {
    PAGE = 4096,
    ARENA = 64 << 20,
    SPACES = 2,
    REGIONS = 12,
    SLOTS = 256, /* pages of addresses of a space */
    LAYOUTS = 10000,
    ROOM = 4096,
};

static uint8_t *arena(void) {
    static uint8_t *memory;
    if (!memory)
        memory = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_neq(memory, MAP_FAILED);
    return memory;
}

struct layout {
    struct vms_vdpa_region at[REGIONS];
    size_t count;
};

static uint64_t pick(unsigned *seed, uint64_t n) {
    return (uint64_t)rand_r(seed) % n;
}

static bool is_free(const struct layout *l, size_t but, const struct vms_vdpa_region *r) {
    for (size_t i = 0; i < l->count; i++)
        if (i != but && l->at[i].space == r->space && l->at[i].iova < r->iova + r->length &&
            r->iova < l->at[i].iova + l->at[i].length)
            return false;
    return r->length && r->iova + r->length <= SLOTS * PAGE;
}

static struct vms_vdpa_region any(unsigned *seed) {
    return (struct vms_vdpa_region){.space = (uint32_t)pick(seed, SPACES),
                                    .iova = pick(seed, SLOTS) * PAGE,
                                    .memory = arena() + pick(seed, ARENA / PAGE - SLOTS) * PAGE,
                                    .length = (1 + pick(seed, 40)) * PAGE,
                                    .read_only = pick(seed, 5) == 0};
}

/** One change: a block is added, removed, moved in address or memory, resized, or all is new. */
static void alter(struct layout *l, unsigned *seed) {
    size_t i = l->count ? pick(seed, l->count) : 0;
    struct vms_vdpa_region r = l->count ? l->at[i] : any(seed);
    switch (pick(seed, 6)) {
    case 0:
        if (l->count)
            l->at[i] = l->at[--l->count];
        return;
    case 1: r.iova = pick(seed, SLOTS) * PAGE; break;
    case 2: r.memory = any(seed).memory; break;
    case 3: r.length = (1 + pick(seed, 60)) * PAGE; break;
    default:
        r = any(seed);
        if (l->count < REGIONS && is_free(l, REGIONS, &r))
            l->at[l->count++] = r;
        return;
    }
    if (l->count && is_free(l, i, &r))
        l->at[i] = r;
}

/** What stands at each page of addresses: memory and rights; 0: nothing. */
struct picture {
    uint64_t at[SPACES][SLOTS];
};

static void draw(struct picture *p, uint32_t space, uint64_t iova, uint64_t memory, uint64_t length,
                 bool read_only) {
    for (uint64_t at = 0; at < length; at += PAGE) {
        uint64_t *slot = &p->at[space][(iova + at) / PAGE];
        cr_assert_eq(*slot, 0, "twice: %llx", (unsigned long long)(iova + at));
        *slot = (memory + at) | read_only;
    }
}

static void expect_layout(int fd, const struct layout *l, bool whole) {
    static struct vds_map maps[ROOM];
    struct picture want = {.at = {{0}}}, got = want;
    struct vds_query q = vdpa_ask(fd, maps, ROOM);
    for (size_t i = 0; i < l->count; i++)
        draw(&want, l->at[i].space, l->at[i].iova, (uint64_t)(uintptr_t)l->at[i].memory,
             l->at[i].length, l->at[i].read_only);
    for (size_t i = 0; i < q.figures.maps; i++)
        draw(&got, maps[i].space, maps[i].iova, maps[i].address, maps[i].length,
             maps[i].perm == VHOST_ACCESS_RO);
    for (size_t i = 0; !whole && i < SPACES * SLOTS; i++)
        if (got.at[i / SLOTS][i % SLOTS] == 0)
            want.at[i / SLOTS][i % SLOTS] = 0; /* it may still come */
    cr_assert_arr_eq(&want, &got, sizeof want);
}

static struct vms_vdpa_map *new_map(struct vms_vdpa *device, unsigned *seed) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_map *map;
    struct vms_vdpa_map_options o = {.chunk = (uint64_t)PAGE << pick(seed, 6),
                                     .batch = 1 + (uint32_t)pick(seed, 5)};
    vfio_good(vms_vdpa_map_new(device, &o, &map, &err), &err);
    return map;
}

static uint64_t want(struct vms_vdpa_map *map, const struct layout *l) {
    struct vms_error err = {.message = ""};
    uint64_t generation = 0;
    vfio_good(vms_vdpa_map_want(map, l->at, l->count, &generation, &err), &err);
    return generation;
}

/* A migration: layouts follow each other, some before the one before is in. */
static void follow_layouts(unsigned seed, struct vms_vdpa *device, int fd) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_map *map = new_map(device, &seed);
    struct layout l = {.count = 0};
    unsigned changes = 1 + (unsigned)pick(&seed, 6);
    for (unsigned i = 0; i < changes; i++) {
        for (unsigned n = 1 + (unsigned)pick(&seed, 8); n > 0; n--)
            alter(&l, &seed);
        uint64_t generation = want(map, &l);
        if (pick(&seed, 3) == 0) {
            vfio_good(vms_vdpa_map_wait_gone(map, generation, &err), &err);
            expect_layout(fd, &l, false);
        }
        if (i + 1 < changes && pick(&seed, 2))
            continue;
        vfio_good(vms_vdpa_map_wait(map, generation, &err), &err);
        expect_layout(fd, &l, true);
    }
    if (pick(&seed, 2)) { /* given up in the middle, or when it is done */
        alter(&l, &seed);
        (void)want(map, &l);
    }
    vms_vdpa_map_cancel(map);
    cr_assert_eq(vdpa_ask(fd, NULL, 0).figures.maps, 0u);
    vms_vdpa_map_free(map);
}

SIM_TEST(vdpa_map, ten_thousand_layouts) {
    for (unsigned text = 0; text < 4; text++) {
        static const char *const texts[] = {"", "backend -batch", "backend -resume -persist",
                                            "iova-last 1M"};
        int fd;
        struct vms_vdpa *device = vdpa_open(texts[text], &fd);
        for (unsigned i = 0; i < LAYOUTS / 4; i++)
            follow_layouts(text * LAYOUTS + i + 1, device, fd);
        vms_vdpa_close(device);
    }
    vfio_clean();
}

/* A call fails somewhere: the error comes out, and nothing is mapped. */
static void fail_somewhere(unsigned seed) {
    static const char *const calls[] = {"MAP", "MAP", "BATCH_BEGIN", "BATCH_END"};
    struct vms_error err = {.message = ""};
    char text[100];
    int fd;
    struct layout l = {.count = 0};
    (void)snprintf(text, sizeof text, "fault %s efault after %u", calls[pick(&seed, 4)],
                   (unsigned)pick(&seed, 12));
    struct vms_vdpa *device = vdpa_open(text, &fd);
    struct vms_vdpa_map *map = new_map(device, &seed);
    enum vms_code code = VMS_OK;
    for (unsigned i = 0; i < 8 && code == VMS_OK; i++) {
        alter(&l, &seed);
        alter(&l, &seed);
        code = vms_vdpa_map_wait(map, want(map, &l), &err);
        if (code == VMS_OK)
            expect_layout(fd, &l, true);
    }
    if (code != VMS_OK) {
        cr_assert_eq(code, VMS_E_VDPA_DEVICE);
        cr_assert_eq(vdpa_ask(fd, NULL, 0).figures.maps, 0u, "%s", text);
        cr_assert_eq(vms_vdpa_map_error(map, &err), code);
    }
    vms_vdpa_map_cancel(map);
    cr_assert_eq(vdpa_ask(fd, NULL, 0).figures.maps, 0u, "%s", text);
    vms_vdpa_map_free(map);
    vms_vdpa_close(device);
}

SIM_TEST(vdpa_map, nothing_stays_after_a_failure) {
    for (unsigned seed = 1; seed <= 1000; seed++)
        fail_somewhere(seed);
    vfio_clean();
}

/* ---- bounds ---- */

static struct layout one(uint64_t bytes) {
    return (struct layout){.at = {{.memory = arena(), .length = bytes}}, .count = 1};
}

SIM_TEST(vdpa_map, in_bounded_pieces_and_batches) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_map *map;
    int fd;
    struct vms_vdpa *device = vdpa_open("", &fd);
    struct vms_vdpa_map_options o = {.chunk = 1 << 20, .batch = 4};
    struct layout l = one(32 << 20);
    vfio_good(vms_vdpa_map_new(device, &o, &map, &err), &err);
    vfio_good(vms_vdpa_map_wait(map, want(map, &l), &err), &err);
    struct vds_query q = vdpa_ask(fd, NULL, 0);
    cr_assert_eq(q.figures.maps, 32u);
    cr_assert_eq(q.figures.batches, 8u);
    l.at[0].length += 3 << 20; /* resized: what was there stays */
    vfio_good(vms_vdpa_map_wait(map, want(map, &l), &err), &err);
    q = vdpa_ask(fd, NULL, 0);
    cr_assert_eq(q.figures.updates, 35u);
    cr_assert_eq(q.figures.invalidates, 0u);
    vms_vdpa_map_free(map);
    cr_assert_eq(vdpa_ask(fd, NULL, 0).figures.maps, 35u, "the device runs on with its maps");
    vms_vdpa_close(device);
    vfio_clean();
}

SIM_TEST(vdpa_map, keeps_to_the_maps_that_the_device_takes) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_map *map;
    int fd;
    struct vms_vdpa *device = vdpa_open("max-maps 16", &fd);
    struct vms_vdpa_map_options o = {.chunk = 1 << 20, .max_maps = 16};
    struct layout l = one(60 << 20);
    vfio_good(vms_vdpa_map_new(device, &o, &map, &err), &err);
    vfio_good(vms_vdpa_map_wait(map, want(map, &l), &err), &err);
    cr_assert_leq(vdpa_ask(fd, NULL, 0).figures.maps, 16u);
    vms_vdpa_map_free(map);
    vms_vdpa_close(device);
    vfio_clean();
}

/* [VDPA-8] */
SIM_TEST(vdpa_map, memlock_is_named) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_map *map;
    struct rlimit limit = {8 << 20, 8 << 20};
    int fd;
    struct vms_vdpa *device = vdpa_open("pin on", &fd);
    struct vms_vdpa_map_options o = {.chunk = 1 << 20};
    struct layout l = one(16 << 20);
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    vfio_good(vms_vdpa_map_new(device, &o, &map, &err), &err);
    cr_assert_eq(vms_vdpa_map_wait(map, want(map, &l), &err), VMS_E_VDPA_MEMLOCK);
    cr_assert(strstr(err.message, "ulimit -l"), "%s", err.message);
    cr_assert_eq(vdpa_ask(fd, NULL, 0).figures.most_mapped, 8u << 20);
    cr_assert_eq(vdpa_ask(fd, NULL, 0).figures.maps, 0u);
    vms_vdpa_map_free(map);
    vms_vdpa_close(device);
    vfio_clean();
}

/* [VDPA-9] */
SIM_TEST(vdpa_map, layouts_that_cannot_be) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa_map *map;
    uint64_t generation = 7;
    int fd;
    struct vms_vdpa *device = vdpa_open("", &fd);
    struct vms_vdpa_map_options o = {.chunk = 0};
    vfio_good(vms_vdpa_map_new(device, &o, &map, &err), &err);
    const struct vms_vdpa_region wrong[][2] = {
        {{0, 0, arena(), 2 * PAGE, false}, {0, PAGE, arena(), PAGE, false}},
        {{0, 0, arena(), PAGE, false}, {0, PAGE + 1, arena(), PAGE, false}},
        {{0, 0, arena(), PAGE, false}, {0, PAGE, arena() + 1, PAGE, false}},
        {{0, 0, arena(), PAGE, false}, {0, PAGE, arena(), 0, false}},
        {{0, 0, arena(), PAGE, false}, {9, PAGE, arena(), PAGE, false}},
        {{0, 0, arena(), PAGE, false}, {0, UINT64_MAX - PAGE + 1, arena(), 2 * PAGE, false}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_eq(vms_vdpa_map_want(map, wrong[i], 2, &generation, &err), VMS_E_VDPA_ADDRESSES,
                     "%zu", i);
    cr_assert_eq(generation, 7u);
    vms_vdpa_map_free(map);
    vms_vdpa_close(device);
    vfio_clean();
}
