/* SPDX-License-Identifier: MIT */
#include "host/vdpa_internal.h"

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096
};

static uint8_t *map(size_t pages, int kind) {
    uint8_t *m = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(m, MAP_FAILED);
    return m;
}

/* [VDPA-30] */
Test(vdpa_memory, what_is_shared) {
    uint8_t *shared = map(8, MAP_SHARED), *private = map(8, MAP_PRIVATE);
    cr_expect(vms_vdpa_is_shared(shared, 8 * PAGE));
    cr_expect(vms_vdpa_is_shared(shared + PAGE, PAGE));
    cr_expect_not(vms_vdpa_is_shared(private, PAGE));
    /* in pieces of different rights it is shared still */
    cr_assert_eq(mprotect(shared + 2 * PAGE, PAGE, PROT_READ), 0);
    cr_expect(vms_vdpa_is_shared(shared, 8 * PAGE));
    /* a private piece in the middle */
    cr_assert_neq(
        mmap(shared + 4 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
        MAP_FAILED);
    cr_expect_not(vms_vdpa_is_shared(shared, 8 * PAGE));
    cr_expect(vms_vdpa_is_shared(shared, 4 * PAGE));
    cr_expect(vms_vdpa_is_shared(shared + 5 * PAGE, 3 * PAGE));
    /* a hole, in the middle and at the end */
    cr_assert_eq(munmap(shared + 6 * PAGE, PAGE), 0);
    cr_expect_not(vms_vdpa_is_shared(shared + 5 * PAGE, 3 * PAGE));
    cr_expect_not(vms_vdpa_is_shared(shared + 5 * PAGE, 2 * PAGE));
    cr_expect(vms_vdpa_is_shared(shared + 7 * PAGE, PAGE));
    (void)munmap(shared, 8 * PAGE);
    (void)munmap(private, 8 * PAGE);
}

/* [VDPA-8] No device has pinned anything of this process; what is locked is another count. */
Test(vdpa_memory, what_is_pinned) {
    uint8_t *m = map(1, MAP_PRIVATE);
    cr_expect_eq(mlock(m, PAGE), 0);
    cr_expect_eq(vms_vdpa_pinned(), 0u);
    (void)munmap(m, PAGE);
}
