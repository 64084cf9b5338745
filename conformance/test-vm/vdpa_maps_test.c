/* SPDX-License-Identifier: MIT */
#include "host/vdpa_map.h"
#include "vduse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * codec/host/vdpa*.c against the kernel's own vhost_vdpa, unmodified, with a card of ours behind it
 * that looks at what was mapped. [VDPA-1] [VDPA-2] [VDPA-4] [VDPA-5] [VDPA-6] [VDPA-7] [VDPA-9]
 */
enum {
    PAGE = 4096,
    MIB = 1 << 20,
    BLOCK = 24 * MIB,
    SMALL = MIB,
    MAX_MAPS = 2048, /* max_iotlb_entries, of each address space */
    ROOM = 4096,
};

#define GOOD(call)    cr_assert_eq((call), VMS_OK, "%s", err.message)
#define VM_TEST(name) Test(vdpa_maps, name, .timeout = 60)

static struct vms_error err;

/** Guest memory as the endpoints have it: shared, of a file, each word another. */
static uint8_t *memory(size_t len) {
    int fd = memfd_create("guest", MFD_CLOEXEC);
    cr_assert(fd >= 0 && ftruncate(fd, (off_t)len) == 0);
    uint8_t *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(m, MAP_FAILED);
    (void)close(fd);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)m;
        memcpy(m + i, &word, sizeof word);
    }
    return m;
}

static struct vms_vdpa *open_card(const struct vduse *card) {
    struct vms_vdpa *device = NULL;
    GOOD(vms_vdpa_open(vduse_path(card), &device, &err));
    return device;
}

/**
 * The card sees these regions of that address space and nothing else, every octet; the kernel may
 * have cut them in pieces.
 */
static void expect_seen(const struct vduse *card, uint32_t space,
                        const struct vms_vdpa_region *regions, size_t count) {
    static struct vduse_map maps[ROOM];
    size_t n = vduse_maps(card, space, maps, ROOM);
    uint64_t wanted = 0, seen = 0;
    for (size_t i = 0; i < count; i++)
        wanted += regions[i].space == space ? regions[i].length : 0;
    for (size_t i = 0; i < n; i++) {
        const struct vms_vdpa_region *r = regions, *end = regions + count;
        seen += maps[i].length;
        while (r < end && (r->space != space || maps[i].iova < r->iova ||
                           maps[i].iova + maps[i].length > r->iova + r->length))
            r++;
        cr_assert_neq(r, end, "a map at %llx that nobody wants", (unsigned long long)maps[i].iova);
        cr_expect_eq(maps[i].writable, !r->read_only);
        cr_assert_not_null(maps[i].memory);
        cr_expect_eq(memcmp(maps[i].memory, r->memory + (maps[i].iova - r->iova), maps[i].length),
                     0, "other memory at %llx", (unsigned long long)maps[i].iova);
    }
    cr_expect_eq(seen, wanted, "%llu octets are seen, %llu wanted", (unsigned long long)seen,
                 (unsigned long long)wanted);
    vduse_unmap(maps, n);
}

VM_TEST(what_the_kernel_offers) {
    struct vduse *card = vduse_new();
    struct vms_vdpa *device = open_card(card);
    const struct vms_vdpa_about *a = vms_vdpa_about(device);
    cr_expect_eq(a->device_id, 1u);
    cr_expect(vms_vdpa_has(device, VMS_VDPA_MSG_V2) && vms_vdpa_has(device, VMS_VDPA_BATCH));
    cr_expect(vms_vdpa_has(device, VMS_VDPA_ASID));
    cr_expect_eq(a->queues, (uint32_t)VDUSE_QUEUES);
    cr_expect_eq(a->groups, (uint32_t)VDUSE_GROUPS);
    cr_expect_eq(a->spaces, (uint32_t)VDUSE_SPACES);
    cr_expect_eq(a->config_size, (uint32_t)VDUSE_CONFIG);
    cr_expect_eq(a->ring_size, 256u);
    cr_expect_not(vms_vdpa_has(device, VMS_VDPA_SUSPEND));
    cr_expect_eq(vms_vdpa_suspend(device, &err), VMS_E_VDPA_DEVICE);
    cr_expect_eq(vms_vdpa_resume(device, &err), VMS_E_VDPA_DEVICE);
    vms_vdpa_close(device);
    vduse_free(card);
}

/* One by one, in two address spaces, and away again. */
VM_TEST(maps_without_batches) {
    struct vduse *card = vduse_new();
    struct vms_vdpa *device = open_card(card);
    uint8_t *m = memory(BLOCK);
    const struct vms_vdpa_region regions[] = {
        {0, 0, m, 8 * MIB, false},
        {0, UINT64_C(1) << 30, m + 8 * MIB, 4 * MIB, true},
        {0, UINT64_C(2) << 30, m + 20 * MIB, PAGE, false},
        {1, 0, m + 12 * MIB, 8 * MIB, false},
    };
    for (size_t i = 0; i < 4; i++) {
        GOOD(vms_vdpa_map(device, &regions[i], &err));
        expect_seen(card, 0, regions, i + 1);
        expect_seen(card, 1, regions, i + 1);
    }
    cr_expect_eq(vduse_updates(card), 4u);
    for (size_t i = 4; i-- > 0;) {
        GOOD(vms_vdpa_unmap(device, &regions[i], &err));
        expect_seen(card, 0, regions, i);
        expect_seen(card, 1, regions, i);
    }
    vms_vdpa_close(device);
    vduse_free(card);
    (void)munmap(m, BLOCK);
}

struct rig {
    struct vduse *card;
    struct vms_vdpa *device;
    struct vms_vdpa_map *map;
    uint8_t *memory;
    uint64_t generation;
};

static struct rig rig_new(uint64_t chunk, uint32_t batch) {
    const struct vms_vdpa_map_options o = {.chunk = chunk, .batch = batch};
    struct rig r = {.card = vduse_new(), .memory = memory(BLOCK)};
    r.device = open_card(r.card);
    GOOD(vms_vdpa_map_new(r.device, &o, &r.map, &err));
    return r;
}

static void rig_free(struct rig *r) {
    vms_vdpa_map_free(r->map);
    vms_vdpa_close(r->device);
    vduse_free(r->card);
    (void)munmap(r->memory, BLOCK);
}

static void want(struct rig *r, const struct vms_vdpa_region *regions, size_t count) {
    GOOD(vms_vdpa_map_want(r->map, regions, count, &r->generation, &err));
    GOOD(vms_vdpa_map_wait(r->map, r->generation, &err));
    expect_seen(r->card, 0, regions, count);
    expect_seen(r->card, 1, regions, count);
}

/* [VDPA-5] [VDPA-6] The thread: batches, two address spaces, a layout that changes. */
static void layouts(uint64_t chunk, uint32_t batch, unsigned updates) {
    struct rig r = rig_new(chunk, batch);
    uint8_t *m = r.memory;
    const struct vms_vdpa_region first[] = {{0, 0, m, 8 * MIB, false},
                                            {0, UINT64_C(1) << 30, m + 8 * MIB, 8 * MIB, false},
                                            {1, 0, m + 16 * MIB, 2 * MIB, false}};
    const struct vms_vdpa_region grown[] = {{0, 0, m, 8 * MIB, false},
                                            {0, UINT64_C(1) << 30, m + 8 * MIB, 6 * MIB, false},
                                            {0, UINT64_C(3) << 30, m + 18 * MIB, 6 * MIB, true},
                                            {1, 0, m + 16 * MIB, 2 * MIB, false}};
    const struct vms_vdpa_region moved[] = {{0, UINT64_C(3) << 30, m, 8 * MIB, false},
                                            {1, 16 * MIB, m + 16 * MIB, 2 * MIB, false}};
    want(&r, first, 3);
    unsigned told = vduse_updates(r.card);
    cr_expect_leq(told, updates, "%u changes for %u", told, updates);
    want(&r, grown, 4);
    want(&r, moved, 2);
    want(&r, first, 3);
    want(&r, NULL, 0);
    want(&r, first, 3);
    vms_vdpa_map_cancel(r.map); /* [VDPA-7] */
    expect_seen(r.card, 0, NULL, 0);
    expect_seen(r.card, 1, NULL, 0);
    rig_free(&r);
}

/* Two address spaces are two batches, and the last piece of each goes alone [VDPA-31]. */
VM_TEST(layouts_in_batches) {
    layouts(SMALL, 64, 4);
}
VM_TEST(layouts_in_small_batches) {
    layouts(SMALL, 3, 10);
}
VM_TEST(layouts_piece_by_piece) {
    layouts(SMALL, 1, 18);
}

/* ---- what goes wrong ---- */

/** Every other page, so that nothing can be put together. */
static struct vms_vdpa_region *scattered(uint8_t *m, size_t count, uint32_t space) {
    struct vms_vdpa_region *list = calloc(count, sizeof *list);
    cr_assert_not_null(list);
    for (size_t i = 0; i < count; i++)
        list[i] = (struct vms_vdpa_region){space, i * 2 * PAGE, m + i * PAGE, PAGE, false};
    return list;
}

VM_TEST(as_many_maps_as_the_kernel_takes) {
    struct rig r = rig_new(0, 512);
    struct vms_vdpa_region *list = scattered(r.memory, MAX_MAPS, 0);
    want(&r, list, MAX_MAPS);
    free(list);
    rig_free(&r);
}

/* [VDPA-7] One more is refused by name, and nothing stays. */
VM_TEST(more_maps_than_the_kernel_takes) {
    struct rig r = rig_new(0, 512);
    struct vms_vdpa_region *list = scattered(r.memory, MAX_MAPS + 1, 1);
    GOOD(vms_vdpa_map_want(r.map, list, MAX_MAPS + 1, &r.generation, &err));
    cr_expect_eq(vms_vdpa_map_wait(r.map, r.generation, &err), VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "after 2048 maps") && strstr(err.message, "max_iotlb_entries"),
              "%s", err.message);
    expect_seen(r.card, 1, NULL, 0);
    free(list);
    rig_free(&r);
}

/* [VDPA-30] The kernel takes private memory for a card that works by addresses of ours, maps
 * nothing of it, and says nothing. */
VM_TEST(memory_that_cannot_be_mapped) {
    struct vduse *card = vduse_new();
    struct vms_vdpa *device = open_card(card);
    uint8_t *private = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *shared = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint8_t *m = memory(BLOCK);
    const struct vms_vdpa_region anonymous = {0, 0, private, MIB, false},
                                 good = {0, 0, shared, MIB, false};
    struct vms_vdpa_region gone = {0, 0, m, BLOCK, false};
    cr_expect_eq(vms_vdpa_map(device, &anonymous, &err), VMS_E_VDPA_MEMORY);
    cr_expect(strstr(err.message, "shared"), "%s", err.message);
    expect_seen(card, 0, NULL, 0);
    GOOD(vms_vdpa_map(device, &good, &err)); /* shared is enough, it needs no name */
    expect_seen(card, 0, &good, 1);
    GOOD(vms_vdpa_unmap(device, &good, &err));
    (void)munmap(m + 8 * MIB, 4 * MIB); /* a hole in the middle */
    cr_expect_eq(vms_vdpa_map(device, &gone, &err), VMS_E_VDPA_MEMORY);
    expect_seen(card, 0, NULL, 0);
    vms_vdpa_close(device);
    vduse_free(card);
    (void)munmap(private, MIB);
    (void)munmap(shared, MIB);
    (void)munmap(m, BLOCK);
}

VM_TEST(what_overlaps) {
    struct vduse *card = vduse_new();
    struct vms_vdpa *device = open_card(card);
    uint8_t *m = memory(BLOCK);
    const struct vms_vdpa_region one = {0, 0, m, MIB, false}, other = {0, PAGE, m, PAGE, false};
    GOOD(vms_vdpa_map(device, &one, &err));
    cr_expect_eq(vms_vdpa_map(device, &other, &err), VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "mapped already"), "%s", err.message);
    expect_seen(card, 0, &one, 1);
    vms_vdpa_close(device);
    vduse_free(card);
    (void)munmap(m, BLOCK);
}

/* EBUSY */
VM_TEST(a_card_that_somebody_has) {
    struct vduse *card = vduse_new();
    struct vms_vdpa *device = open_card(card), *second;
    cr_expect_eq(vms_vdpa_open(vduse_path(card), &second, &err), VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "another program has it"), "%s", err.message);
    vms_vdpa_close(device);
    device = open_card(card);
    vms_vdpa_close(device);
    vduse_free(card);
}

/* [VDPA-31] Within a batch the kernel drops what the card answers. Whatever the sizes, its refusal
 * is told. */
VM_TEST(a_card_that_refuses_its_maps) {
    static const uint32_t batches[] = {1, 3, 64};
    for (size_t i = 0; i < 3; i++) {
        struct rig r = rig_new(SMALL, batches[i]);
        const struct vms_vdpa_region one = {0, 0, r.memory, 8 * MIB, false};
        vduse_refuse(r.card, true);
        GOOD(vms_vdpa_map_want(r.map, &one, 1, &r.generation, &err));
        cr_expect_eq(vms_vdpa_map_wait(r.map, r.generation, &err), VMS_E_VDPA_DEVICE,
                     "in batches of %u", batches[i]);
        rig_free(&r);
    }
}

/* Nobody answers for the card any more: named, at once after the kernel's own patience. */
VM_TEST(a_card_that_disappears) {
    struct rig r = rig_new(SMALL, 64);
    const struct vms_vdpa_region one = {0, 0, r.memory, 8 * MIB, false};
    uint8_t status;
    want(&r, &one, 1);
    vduse_die(r.card);
    const struct vms_vdpa_region two[] = {one, {0, 16 * MIB, r.memory + 8 * MIB, 4 * MIB, false}};
    GOOD(vms_vdpa_map_want(r.map, two, 2, &r.generation, &err));
    cr_expect_eq(vms_vdpa_map_wait(r.map, r.generation, &err), VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "/dev/vhost-vdpa-"), "%s", err.message);
    cr_expect_eq(vms_vdpa_reset(r.device, &err), VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "Input/output error"), "%s", err.message);
    GOOD(vms_vdpa_status(r.device, &status, &err)); /* the kernel's own memory of it */
    rig_free(&r);
}

VM_TEST(a_card_that_was_taken_away) {
    struct vduse *card = vduse_new();
    struct vms_vdpa *device;
    char path[64];
    (void)snprintf(path, sizeof path, "%s", vduse_path(card));
    vduse_free(card);
    cr_expect_eq(vms_vdpa_open(path, &device, &err), VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "No such"), "%s", err.message);
}
