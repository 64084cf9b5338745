/* SPDX-License-Identifier: MIT */
#include "host/vdpa_iova.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* [VDPA-9] The trees against a list that is searched from one end to the other. */
enum {
    PAGE = 4096,
    PAGES = 200, /* of addresses: small, so that it fills up */
    MAX = 64,
    RUNS = 2000,
    STEPS = 100,
};

struct model {
    struct {
        uint64_t iova, memory, length;
    } at[MAX];
    size_t count;
    uint64_t first, last;
};

static uint64_t pick(unsigned *seed, uint64_t n) {
    return (uint64_t)rand_r(seed) % n;
}

static bool hits(uint64_t a, uint64_t n, uint64_t b, uint64_t m) {
    return a < b + m && b < a + n;
}

static bool model_free(const struct model *m, uint64_t iova, uint64_t memory, uint64_t length) {
    bool good = iova >= m->first && iova + length - 1 <= m->last;
    for (size_t i = 0; i < m->count; i++)
        good = good && !hits(iova, length, m->at[i].iova, m->at[i].length) &&
               !hits(memory, length, m->at[i].memory, m->at[i].length);
    return good;
}

static uint64_t model_lowest(const struct model *m, uint64_t memory, uint64_t length) {
    uint64_t from = m->first ? m->first : PAGE;
    for (uint64_t iova = (from + PAGE - 1) / PAGE * PAGE; iova + length - 1 <= m->last;
         iova += PAGE) {
        bool free_ = true;
        for (size_t i = 0; i < m->count; i++)
            free_ = free_ && !hits(iova, length, m->at[i].iova, m->at[i].length);
        if (free_) /* the lowest place; the memory may still be in the way */
            return model_free(m, iova, memory, length) ? iova : UINT64_MAX;
    }
    return UINT64_MAX;
}

static void model_add(struct model *m, uint64_t iova, uint64_t memory, uint64_t length) {
    m->at[m->count].iova = iova;
    m->at[m->count].memory = memory;
    m->at[m->count++].length = length;
}

static void step(struct vms_vdpa_iova *tree, struct model *m, unsigned *seed) {
    struct vms_error err;
    uint64_t memory = (1000 + pick(seed, 4 * PAGES)) * PAGE, length = (1 + pick(seed, 12)) * PAGE;
    uint64_t iova = pick(seed, PAGES) * PAGE, got = 0;
    size_t i = m->count ? pick(seed, m->count) : 0;
    const void *at = (const void *)(uintptr_t)memory;
    switch (pick(seed, 4)) {
    case 0:
    case 1: {
        uint64_t want = m->count < MAX ? model_lowest(m, memory, length) : UINT64_MAX;
        if (m->count == MAX)
            return;
        enum vms_code code = vms_vdpa_iova_alloc(tree, at, length, PAGE, &got, &err);
        cr_assert_eq(code, want == UINT64_MAX ? VMS_E_VDPA_ADDRESSES : VMS_OK);
        if (code == VMS_OK) {
            cr_assert_eq(got, want);
            model_add(m, got, memory, length);
        }
        return;
    }
    case 2: {
        bool good = m->count < MAX && model_free(m, iova, memory, length);
        if (m->count == MAX)
            return;
        cr_assert_eq(vms_vdpa_iova_insert(tree, iova, at, length, &err),
                     good ? VMS_OK : VMS_E_VDPA_ADDRESSES);
        if (good)
            model_add(m, iova, memory, length);
        return;
    }
    default:
        if (m->count == 0) {
            cr_assert_not(vms_vdpa_iova_remove(tree, iova));
            return;
        }
        cr_assert_not(vms_vdpa_iova_remove(tree, m->at[i].iova + 1));
        cr_assert(vms_vdpa_iova_remove(tree, m->at[i].iova));
        m->at[i] = m->at[--m->count];
    }
}

static void compare(const struct vms_vdpa_iova *tree, const struct model *m) {
    cr_assert_eq(vms_vdpa_iova_count(tree), m->count);
    for (uint64_t page = 1000; page < 1000 + 5 * PAGES; page += 7) {
        uint64_t address = page * PAGE + 5, iova = 0, length = 0;
        bool want = false,
             got = vms_vdpa_iova_find(tree, (const void *)(uintptr_t)address, &iova, &length);
        for (size_t i = 0; i < m->count; i++)
            if (hits(address, 1, m->at[i].memory, m->at[i].length)) {
                want = true;
                cr_assert(got);
                cr_assert_eq(iova, m->at[i].iova + (address - m->at[i].memory));
                cr_assert_eq(length, m->at[i].memory + m->at[i].length - address);
            }
        cr_assert_eq(got, want);
    }
}

Test(vdpa_iova, as_the_naive_model) {
    for (unsigned run = 1; run <= RUNS; run++) {
        unsigned seed = run;
        struct model m = {.first = run % 3 ? 0 : 3 * PAGE, .last = PAGES * PAGE - 1};
        struct vms_vdpa_iova *tree = vms_vdpa_iova_new(m.first, m.last);
        for (unsigned i = 0; i < STEPS; i++)
            step(tree, &m, &seed);
        compare(tree, &m);
        vms_vdpa_iova_free(tree);
    }
}

Test(vdpa_iova, to_the_last_address) {
    struct vms_error err;
    uint64_t iova = 0;
    static const char memory[3 * PAGE];
    struct vms_vdpa_iova *tree = vms_vdpa_iova_new(0, UINT64_MAX);
    cr_assert_eq(vms_vdpa_iova_insert(tree, UINT64_MAX - PAGE + 1, memory, PAGE, &err), VMS_OK);
    cr_assert_eq(vms_vdpa_iova_insert(tree, UINT64_MAX - PAGE + 1, memory + PAGE, 2 * PAGE, &err),
                 VMS_E_VDPA_ADDRESSES);
    cr_assert_eq(vms_vdpa_iova_insert(tree, 0, memory + PAGE, PAGE, &err), VMS_OK);
    cr_assert_eq(vms_vdpa_iova_alloc(tree, memory + 2 * PAGE, PAGE, PAGE, &iova, &err), VMS_OK);
    cr_assert_eq(iova, PAGE);
    vms_vdpa_iova_free(tree);
}

Test(vdpa_iova, aligned) {
    struct vms_error err;
    uint64_t iova = 0;
    struct vms_vdpa_iova *tree = vms_vdpa_iova_new(PAGE, 1 << 30);
    const char *memory = (const char *)(uintptr_t)(1ull << 40);
    cr_assert_eq(vms_vdpa_iova_insert(tree, 3 * PAGE, memory, PAGE, &err), VMS_OK);
    cr_assert_eq(vms_vdpa_iova_alloc(tree, memory + PAGE, PAGE, 1 << 21, &iova, &err), VMS_OK);
    cr_assert_eq(iova, UINT64_C(1) << 21);
    vms_vdpa_iova_free(tree);
}
