/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* [MIG-15] [NAT-19] pages in memory before their tag has come */

enum {
    PAGES = 2048, /* four groups of 512 */
    ROOMS = 2048,
};

struct rig {
    struct dst_native_session *s;
    struct dn_channel *c; /* 1 of 2: the groups 0 and 2 */
    struct vms_room rooms[ROOMS];
    uint8_t *memory;
};

static struct rig make(void) {
    struct rig r = {.s = calloc(1, sizeof *r.s), .memory = calloc(PAGES, DN_PAGE)};
    struct dst_native_session *s = r.s;
    pthread_mutex_init(&s->lock, NULL);
    s->blocks = calloc(1, sizeof *s->blocks);
    s->blocks[0] = (struct dn_block){
        .map = {.memory = r.memory, .length = (uint64_t)PAGES * DN_PAGE, .page_size = DN_PAGE},
        .pages = PAGES,
        .huge = true,
        .arrived = calloc(PAGES / 64, 8)};
    s->block_count = 1;
    s->data_channels = 2;
    s->set_up = true;
    r.c = &s->channels[1];
    *r.c = (struct dn_channel){.session = s, .number = 1, .used = true};
    r.c->unproven_runs = calloc(DN_RUNS, sizeof *r.c->unproven_runs);
    return r;
}

static void drop(struct rig *r) {
    free(r->c->unproven_runs);
    free(r->s->blocks[0].arrived);
    free(r->s->blocks);
    free(r->s);
    free(r->memory);
}

static struct vms_native_frame pages(const struct vms_native_run *runs, uint32_t count) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_PAGES, .header.channel = 1};
    f.u.pages = (struct vms_native_pages){
        .page_bits = DN_PAGE_BITS, .run_count = count, .runs = (struct vms_native_run *)runs};
    return f;
}

static size_t place(struct rig *r, const struct vms_native_frame *f) {
    return dn_rooms(r->s, f->header.channel, f, r->rooms, ROOMS);
}

static enum vms_code proven(struct rig *r, const struct vms_native_frame *f) {
    struct vms_error err;
    struct vms_native_link_event ev = {.frame = f};
    return dn_proven(r->c, &ev, &err);
}

static const struct vms_native_run RUNS[] = {{3, 2, false}, {5, 7, true}, {100, 1, false}};
static const struct vms_native_run OTHER[] = {{3, 2, false}, {5, 7, true}, {101, 1, false}};

Test(place, each_run_has_its_room) {
    struct rig r = make();
    struct vms_native_frame f = pages(RUNS, 3);
    cr_assert_eq(place(&r, &f), 2);
    cr_assert_eq(r.rooms[0].ptr, r.memory + 3 * DN_PAGE);
    cr_assert_eq(r.rooms[0].len, 2 * DN_PAGE);
    cr_assert_eq(r.rooms[1].ptr, r.memory + 100 * DN_PAGE);
    cr_assert_eq(r.rooms[1].len, DN_PAGE);
    cr_assert_eq(proven(&r, &f), VMS_OK);
    cr_assert_eq(place(&r, &f), 2, "the next one may be placed again");
    drop(&r);
}

/* What does not belong where it says has no room, and is refused once it is authentic (MIG-11). */
Test(place, nothing_out_of_place) {
    static const struct vms_native_run past[] = {{PAGES - 1, 2, false}};
    static const struct vms_native_run strange[] = {{512, 1, false}};
    static const struct vms_native_run far[] = {{UINT64_MAX - 1, 3, false}};
    struct rig r = make();
    struct vms_native_frame f[] = {pages(past, 1), pages(strange, 1), pages(far, 1),
                                   pages(RUNS, 3), pages(RUNS, 3),    pages(RUNS, 3)};
    f[3].header.flags = VMS_PACK_ZSTD;
    f[4].header.type = VMS_NATIVE_DISCARD;
    f[5].u.pages.block.index = 1;
    for (size_t i = 0; i < sizeof f / sizeof *f; i++)
        cr_expect_eq(place(&r, &f[i]), 0, "%zu", i);
    cr_expect(dn_seal_off(r.s));
    drop(&r);
}

/* A cut: the same frame comes again, aside; another one would leave what is there. */
Test(place, the_same_frame_comes_again) {
    struct rig r = make();
    struct vms_native_frame f = pages(RUNS, 3), other = pages(OTHER, 3), less = pages(RUNS, 2),
                            packed = pages(RUNS, 3), digest = pages(RUNS, 3);
    packed.header.flags = VMS_PACK_ZSTD;
    digest.header.type = VMS_NATIVE_DIGEST;
    cr_assert_eq(place(&r, &f), 2);
    cr_expect_eq(place(&r, &f), 0);
    cr_expect_eq(proven(&r, &other), VMS_E_MIG_UNPROVEN);
    cr_expect_eq(proven(&r, &less), VMS_E_MIG_UNPROVEN);
    cr_expect_eq(proven(&r, &packed), VMS_E_MIG_UNPROVEN);
    cr_expect_eq(proven(&r, &digest), VMS_E_MIG_UNPROVEN);
    cr_expect_not(dn_seal_off(r.s));
    cr_expect_eq(proven(&r, &f), VMS_OK);
    cr_expect(dn_seal_off(r.s));
    drop(&r);
}

/* Once everything is there nobody writes to memory without a tag. */
Test(place, nothing_behind_the_end) {
    struct rig r = make();
    struct vms_native_frame f = pages(RUNS, 3);
    r.c->marked = true;
    cr_expect_eq(place(&r, &f), 0, "behind the mark");
    r.c->marked = false;
    cr_expect(dn_seal_off(r.s));
    cr_expect_eq(place(&r, &f), 0, "behind END");
    drop(&r);
}
