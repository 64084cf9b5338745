/* SPDX-License-Identifier: MIT */
#include "internal.h"
#include "pack_test_util.h"

static uint8_t content[PAGE];

static void store(struct vms_known *known, uint64_t page, uint32_t generation, uint16_t channel,
                  uint64_t ticket) {
    struct vms_known_entry version = {.page = page,
                                      .hash = page + 1,
                                      .ticket = ticket,
                                      .block = 1,
                                      .generation = generation,
                                      .channel = channel};
    content[0] = (uint8_t)page;
    vms_known_store(known, &version, content);
}

/* [PACK-15] memory is at most what was given, for any bound, and what size() says is enough. */
Test(known, bytes) {
    for (uint64_t bytes = 0; bytes < 3000000; bytes += 1 + bytes / 9) {
        struct vms_known_config config = {bytes, PAGE};
        size_t size = vms_known_size(&config);
        cr_assert_leq(size, bytes);
        if (!size)
            continue;
        uint8_t *mem = test_alloc(size + 1);
        cr_assert_null(vms_known_init(mem, size - 1, &config));
        mem[size] = 0x5a; /* nothing is written behind it */
        struct vms_known *known = vms_known_init(mem, size, &config);
        for (uint64_t page = 0; page < 2 * vms_known_capacity(known); page++)
            store(known, page, 1, 0, 0);
        cr_assert_leq(vms_known_count(known), vms_known_capacity(known));
        cr_assert_eq(mem[size], 0x5a);
        free(mem);
    }
    struct vms_known_config config = {UINT64_MAX, PAGE};
    cr_assert_gt(vms_known_size(&config), 0);
    config = (struct vms_known_config){1 << 20, 3000};
    cr_assert_eq(vms_known_size(&config), 0);
}

/* [PACK-15] most of the room is used by what is sent. */
Test(known, fills) {
    struct vms_known *known = make_known(8 << 20);
    size_t capacity = vms_known_capacity(known);
    cr_assert_geq(capacity * PAGE, (8u << 20) * 95 / 100);
    for (uint64_t page = 0; page < capacity; page++)
        store(known, page, 1, 0, 0);
    cr_assert_geq(vms_known_count(known), capacity * 80 / 100);
    free(known);
}

/* [PACK-15] versions of this and the last generation stay, older ones make room. */
Test(known, replacement) {
    struct vms_known *known = make_known(1 << 20);
    size_t capacity = vms_known_capacity(known), kept = 0, fresh = 0;
    for (uint64_t page = 0; page < 4 * capacity; page++)
        store(known, page, 5, 0, 0);
    cr_assert_eq(vms_known_count(known), capacity);
    for (uint64_t page = 4 * capacity; page < 8 * capacity; page++)
        store(known, page, 6, 0, 0);
    for (uint64_t page = 0; page < 4 * capacity; page++)
        kept += vms_known_find(known, 1, page, 0) != VMS_NO_SLOT;
    cr_assert_eq(kept, capacity);
    for (uint64_t page = 4 * capacity; page < 8 * capacity; page++)
        store(known, page, 7, 0, 0);
    for (uint64_t page = 4 * capacity; page < 8 * capacity; page++)
        fresh += vms_known_find(known, 1, page, 0) != VMS_NO_SLOT;
    cr_assert_eq(fresh, capacity);
    free(known);
}

/* [PACK-13] held: sent earlier on the same channel, or acknowledged on another. */
Test(known, held) {
    struct vms_known *known = make_known(1 << 20);
    store(known, 10, 1, 2, 100);
    cr_assert_neq(vms_known_find(known, 1, 10, 2), VMS_NO_SLOT);
    cr_assert_eq(vms_known_find(known, 1, 10, 3), VMS_NO_SLOT);
    cr_assert_eq(vms_known_find(known, 2, 10, 2), VMS_NO_SLOT, "another block");
    vms_known_acked(known, 2, 99);
    vms_known_acked(known, 3, 100);
    cr_assert_eq(vms_known_find(known, 1, 10, 3), VMS_NO_SLOT);
    vms_known_acked(known, 2, 100);
    cr_assert_neq(vms_known_find(known, 1, 10, 3), VMS_NO_SLOT);
    vms_known_acked(known, 2, 5); /* acknowledgements do not go back */
    cr_assert_neq(vms_known_find(known, 1, 10, 3), VMS_NO_SLOT);
    vms_known_acked(known, 65535, UINT64_MAX);
    store(known, 11, 1, 4, UINT64_MAX - 1);
    vms_known_acked(known, 4, UINT64_MAX);
    cr_assert_neq(vms_known_find(known, 1, 11, 3), VMS_NO_SLOT);
    free(known);
}

/* [PACK-14] only the last version of a page is a base. */
Test(known, last_version) {
    struct vms_known *known = make_known(1 << 20);
    store(known, 10, 1, 2, 100);
    store(known, 10, 2, 3, 7);
    cr_assert_eq(vms_known_count(known), 1);
    cr_assert_eq(vms_known_find(known, 1, 10, 2), VMS_NO_SLOT);
    uint32_t slot = vms_known_find(known, 1, 10, 3);
    cr_assert_eq(vms_known_entry(known, slot)->generation, 2);
    vms_known_forget_page(known, 1, 10);
    vms_known_forget_page(known, 1, 10);
    cr_assert_eq(vms_known_find(known, 1, 10, 3), VMS_NO_SLOT);
    cr_assert_eq(vms_known_count(known), 0);
    free(known);
}

/* [PACK-16] after a resumption nothing is known, acknowledgements included. */
Test(known, resumption) {
    struct rig *rig = rig_new(1, true);
    rig_fill(rig);
    make_page(&rig->rng, CONTENT_TEXT, rig->source + 3 * PAGE);
    uint64_t page = 3;
    rig_batch(rig, &page, 1, 1);
    vms_known_acked(rig->known, 0, 50);
    vms_packer_begin(rig->packer, BLOCK_ID, 2);
    cr_assert_eq(vms_packer_add(rig->packer, 3, rig->source + 3 * PAGE, NULL), VMS_PAGE_DELTA);
    vms_known_forget_all(rig->known);
    cr_assert_eq(vms_packer_pack(rig->packer, 1, 1, &rig->packed, &rig->error), VMS_E_MISUSE);
    cr_assert_eq(vms_known_count(rig->known), 0);
    rig_batch(rig, &page, 1, 1);
    cr_assert_eq(rig->packed.method, VMS_PACK_ZSTD);
    store(rig->known, 4, 1, 0, 10);
    cr_assert_eq(vms_known_find(rig->known, 1, 4, 1), VMS_NO_SLOT);
    rig_free(rig);
}

/* A base stays in place until the batch that needs it is packed, or given up. */
Test(known, busy) {
    struct rig *rig = rig_new(2, true);
    uint64_t page = 3;
    make_page(&rig->rng, CONTENT_TEXT, rig->source + 3 * PAGE);
    rig_batch(rig, &page, 1, 1);
    cr_assert_eq(rig_unpack(rig), VMS_OK);
    rig->generation = 9;
    vms_packer_begin(rig->packer, BLOCK_ID, 9);
    touch_page(&rig->rng, rig->source + 3 * PAGE, 4);
    cr_assert_eq(vms_packer_add(rig->packer, 3, rig->source + 3 * PAGE, NULL), VMS_PAGE_DELTA);
    cr_assert_eq(vms_known_find(rig->known, BLOCK_ID, 3, 0), VMS_NO_SLOT);
    for (uint64_t other = 0; other < 8 * vms_known_capacity(rig->known); other++)
        store(rig->known, other, 9, 0, 0); /* would put it out */
    rig_pack(rig, 1);
    cr_assert_eq(rig->packed.method, VMS_PACK_DELTA);
    cr_assert_eq(rig_unpack(rig), VMS_OK);
    cr_assert_arr_eq(rig->target + 3 * PAGE, rig->source + 3 * PAGE, PAGE);
    vms_packer_begin(rig->packer, BLOCK_ID, 10);
    cr_assert_eq(vms_packer_add(rig->packer, 3, rig->source + 3 * PAGE, NULL), VMS_PAGE_DELTA);
    vms_packer_begin(rig->packer, BLOCK_ID, 10);
    cr_assert_neq(vms_known_find(rig->known, BLOCK_ID, 3, 0), VMS_NO_SLOT);
    rig_free(rig);
}
