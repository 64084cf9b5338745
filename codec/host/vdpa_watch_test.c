/* SPDX-License-Identifier: MIT */
#include "host/vdpa_watch.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* [VDPA-18] Shadow rings with the test on both of their sides: driver and device. */
enum {
    SIZE = 16,
    DESC = 0x1000, /* of the guest's ring; memory begins at IOVA 0 */
    AVAIL = 0x2000,
    USED = 0x3000,
    TABLE = 0x4000,
    SHADOW = 0x100000, /* IOVA */
    TOLD_MAX = 64,
};

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static _Alignas(4096) uint8_t memory[0x6000], shadow[0x3000];
static struct { uint64_t iova, length; } told[TOLD_MAX];
static size_t told_count;
static struct vms_error err;
static struct vms_vdpa_watch *watch;
static struct vms_vdpa_watch_queue guest;

static const void *at(void *ctx, uint64_t iova, size_t len) {
    (void)ctx;
    return iova < sizeof memory && len <= sizeof memory - iova ? memory + iova : NULL;
}
static void wrote(void *ctx, uint64_t iova, uint64_t length) {
    (void)ctx;
    cr_assert_lt(told_count, (size_t)TOLD_MAX);
    told[told_count].iova = iova;
    told[told_count++].length = length;
}
static bool was_told(uint64_t iova, uint64_t length) {
    for (size_t i = 0; i < told_count; i++)
        if (told[i].iova == iova && told[i].length == length)
            return true;
    return false;
}

static struct desc *desc(uint64_t where, size_t i) {
    return (struct desc *)(void *)(memory + where) + i;
}
static uint16_t *word(uint64_t where) {
    return (uint16_t *)(void *)(memory + where);
}
static uint16_t *ours(uint64_t where) {
    return (uint16_t *)(void *)(shadow + where);
}

static void begin(uint16_t base) {
    memset(memory, 0, sizeof memory);
    told_count = 0;
    guest = (struct vms_vdpa_watch_queue){
        .ring = {SIZE, base, DESC, AVAIL, USED},
        .events = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)}};
    word(AVAIL)[1] = word(USED)[1] = base;
    cr_assert_eq(
        vms_vdpa_watch_new(&guest, 1, false, shadow, SHADOW, at, wrote, NULL, &watch, &err), VMS_OK,
        "%s", err.message);
    cr_assert_eq(vms_vdpa_watch_run(watch, &err), VMS_OK);
}

/** The driver offers a chain. */
static void offer(uint16_t head) {
    const uint64_t one = 1;
    uint16_t *avail = word(AVAIL);
    avail[2 + avail[1] % SIZE] = head;
    __atomic_store_n(&avail[1], (uint16_t)(avail[1] + 1), __ATOMIC_RELEASE);
    cr_assert_eq(write(guest.events.kick, &one, sizeof one), (ssize_t)sizeof one);
}

/** The device waits for a kick. */
static void await_kick(void) {
    struct pollfd p = {.fd = vms_vdpa_watch_ring(watch, 0).events.kick, .events = POLLIN};
    uint64_t n;
    cr_assert_eq(poll(&p, 1, 10000), 1);
    cr_assert_eq(read(p.fd, &n, sizeof n), (ssize_t)sizeof n);
}

/** The device gives a chain back; it tells nobody yet. */
static void use(uint32_t head) {
    uint16_t *used = ours(0x2000);
    uint32_t *entry = (uint32_t *)(void *)(shadow + 0x2004 + 8u * (used[1] % SIZE));
    entry[0] = head;
    entry[1] = 1;
    __atomic_store_n(&used[1], (uint16_t)(used[1] + 1), __ATOMIC_RELEASE);
}

static uint32_t end(void) {
    uint32_t base = 99;
    vms_vdpa_watch_end(watch, &base);
    vms_vdpa_watch_free(watch);
    (void)close(guest.events.kick);
    (void)close(guest.events.call);
    return base;
}

Test(vdpa_watch, there_and_back) {
    begin(65534); /* indices wrap */
    for (uint16_t i = 0; i < 5; i++) {
        const uint16_t head = (uint16_t)(2 * i), tail = (uint16_t)(head + 1);
        *desc(DESC, head) = (struct desc){0x111000, 100, 1, tail};
        *desc(DESC, tail) = (struct desc){0x222000, 200 + i, 2, 0};
        offer(head);
        await_kick();
        cr_assert_eq(ours(0x1000)[1], (uint16_t)(65535 + i));
        cr_assert_eq(ours(0x1000)[2 + (65534 + i) % SIZE], head);
        cr_assert_arr_eq(shadow + 16u * tail, desc(DESC, tail), 16);
        use(head);
    }
    cr_expect_eq(end(), 3u, "the last ones come back at the end");
    cr_expect_eq(word(USED)[1], 3u);
    for (uint32_t i = 0; i < 5; i++)
        cr_expect(was_told(0x222000, 200 + i), "%u", i);
    cr_expect(was_told(USED, 6 + 8 * SIZE));
    cr_expect_not(was_told(0x111000, 100), "only read");
}

Test(vdpa_watch, what_is_not_used_is_offered_again) {
    begin(0);
    *desc(DESC, 0) = (struct desc){0x111000, 10, 2, 0};
    *desc(DESC, 1) = (struct desc){0x112000, 10, 2, 0};
    offer(0);
    await_kick();
    offer(1);
    await_kick();
    use(0);
    cr_expect_eq(end(), 1u);
}

Test(vdpa_watch, indirect_tables) {
    begin(0);
    *desc(TABLE, 0) = (struct desc){0x333000, 30, 1, 1};
    *desc(TABLE, 1) = (struct desc){0x444000, 40, 2, 0};
    *desc(DESC, 0) = (struct desc){TABLE, 32, 4, 0};
    offer(0);
    await_kick();
    use(0);
    (void)end();
    cr_expect(was_told(0x444000, 40));
    cr_expect_not(was_told(0x333000, 30));
}

/* What a guest may write into its own ring ends nothing but that ring. */
Test(vdpa_watch, rings_that_cannot_be) {
    static const struct {
        uint16_t head, flags, next, jump;
    } cases[] = {{SIZE, 0, 0, 0}, {0xffff, 0, 0, 0}, {0, 1, 0, 0}, {0, 1, SIZE, 0}, {0, 0, 0, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin(0);
        *desc(DESC, 0) = (struct desc){0x1000, 10, cases[i].flags, cases[i].next};
        word(AVAIL)[1] = cases[i].jump;
        offer(cases[i].head);
        use(SIZE + 3); /* and a device that gives back what was never there */
        cr_expect_eq(end(), 1u);
        cr_expect_eq(ours(0x1000)[1], 0u, "nothing was offered: %zu", i);
    }
}

Test(vdpa_watch, a_ring_that_is_not_in_memory) {
    const struct vms_vdpa_watch_queue far = {.ring = {SIZE, 0, DESC, AVAIL, 0x5ffc},
                                             .events = {-1, -1}};
    cr_expect_eq(vms_vdpa_watch_new(&far, 1, false, shadow, SHADOW, at, wrote, NULL, &watch, &err),
                 VMS_E_VDPA_DEVICE);
    cr_expect_null(watch);
}
