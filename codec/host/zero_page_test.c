/* SPDX-License-Identifier: MIT */
#include "host/zero_page.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

/* [PACK-3] every position of a single byte in a page, for every kind of CPU, and at every alignment
 * to a cache line. */
Test(zero_page, every_byte) {
    static uint8_t buffer[4096 + 64];
    for (size_t k = 0; vms_page_ops_at(k); k++) {
        const struct vms_page_ops *ops = vms_page_ops_at(k);
        for (size_t shift = 0; shift < 64; shift++) {
            cr_assert(ops->is_zero(buffer + shift, 4096), "%s", ops->name);
            for (size_t at = 0; at < 4096; at++) {
                buffer[shift + at] = 1;
                cr_assert_not(ops->is_zero(buffer + shift, 4096), "%s %zu %zu", ops->name, shift,
                              at);
                buffer[shift + at] = 0;
            }
        }
    }
}

/* The one that is chosen, on huge pages too. */
Test(zero_page, chosen) {
    enum {
        HUGE_PAGE = 2 << 20
    };
    static uint8_t page[HUGE_PAGE];
    cr_assert(vms_page_is_zero(page, sizeof page));
    for (size_t at = 0; at < sizeof page; at += 4093) {
        page[at] = 0x80;
        cr_assert_not(vms_page_is_zero(page, sizeof page));
        page[at] = 0;
    }
    page[HUGE_PAGE - 1] = 1;
    cr_assert_not(vms_page_is_zero(page, sizeof page));
    cr_assert(vms_page_is_zero(page, 0));
}

/* Nothing outside is read: the page lies between pages that cannot be. */
Test(zero_page, bounds) {
    uint8_t *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(map, MAP_FAILED);
    cr_assert_eq(mprotect(map, 4096, PROT_NONE) | mprotect(map + 8192, 4096, PROT_NONE), 0);
    for (size_t k = 0; vms_page_ops_at(k); k++) {
        const struct vms_page_ops *ops = vms_page_ops_at(k);
        for (size_t len = 0; len <= 4096; len++) {
            cr_assert(ops->is_zero(map + 4096, len));
            cr_assert(ops->is_zero(map + 8192 - len, len));
        }
    }
    munmap(map, 3 * 4096);
}
