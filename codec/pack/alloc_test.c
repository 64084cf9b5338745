/* SPDX-License-Identifier: MIT */
#include "pack_test_util.h"
#include <stdatomic.h>

/* Counts every allocation of this process, libraries included. */
static atomic_size_t allocations;

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
                                              void (*)(const volatile void *));

static void on_malloc(const volatile void *ptr, size_t size) {
    (void)ptr;
    (void)size;
    allocations++;
}

static void on_free(const volatile void *ptr) {
    (void)ptr;
}

static void start_counting(void) {
    (void)__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}
#else
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size) {
    allocations++;
    return __libc_realloc(ptr, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

static void start_counting(void) {}
#endif

/* The counter counts. */
Test(alloc, counter) {
    start_counting();
    size_t before = allocations;
    void *volatile mem = malloc(100);
    cr_assert_gt(allocations, before);
    free(mem);
}

/* [PACK-19] after the constructors nothing is allocated: packing and unpacking at all levels, with
 * differences, bulk, errors. */
Test(alloc, none_per_frame) {
    static const int levels[] = {VMS_LEVEL_NONE, -3, 1, 3, 6, 9};
    struct rig *rig = rig_new(12, true);
    rig_fill(rig);
    start_counting();
    size_t before = allocations;
    for (rig->generation = 1; rig->generation <= 24; rig->generation++) {
        rig_send(rig, 0, PAGES, levels[rig->generation % 6]);
        for (size_t i = 0; i < PAGES; i += 3)
            touch_page(&rig->rng, rig->source + i * PAGE, 20);
        struct vms_slice bulk = vms_slice(rig->source, BATCH * PAGE);
        (void)vms_packer_pack_bulk(rig->packer, levels[rig->generation % 6], &bulk, 1, &rig->packed,
                                   &rig->error);
    }
    uint64_t page = 5;
    rig_batch(rig, &page, 1, 1);
    rig->target[5 * PAGE] ^= 1;
    enum vms_code code = rig_unpack(rig);
    size_t after = allocations;
    cr_assert_eq(code, VMS_E_PACK_BASE);
    cr_assert_eq(after, before);
    rig_free(rig);
}
