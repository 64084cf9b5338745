/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/matrix.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/*
 * The specification's matrix of switchover acknowledgement: that it is whole, and some of its cells
 * with real processes; `make vfio-matrix` runs all. [VDEV-14] [ACK-1] [ACK-6] [ACK-8] [ACK-11]
 */
#define SPEC "spec/06-vfio.md"

static struct vfm_table table;

static void read_table(void) {
    char why[256];
    cr_assert_eq(vfm_table_read(SPEC, &table, why, sizeof why), 0, "%s", why);
}

Test(vfio_matrix, every_cell_stands_in_the_specification) {
    size_t exist = 0;
    read_table();
    for (size_t i = 0; i < VFM_ENDS * VFM_ENDS * VFM_SETS; i++) {
        struct vfm_cell cell = vfm_cell(i);
        bool native = cell.src->ack == VFM_NATIVE, back = cell.dst->ack == VFM_NATIVE;
        cr_expect_eq(table.cell[i].exists, native == back);
        exist += table.cell[i].exists;
    }
    cr_expect_eq(exist, 26u * VFM_SETS);
}

/* What the mechanisms give where both ends have the same, counted a second time here. */
Test(vfio_matrix, like_ends_count_as_the_mechanism_says) {
    read_table();
    for (size_t i = 0; i < VFM_ENDS * VFM_ENDS * VFM_SETS; i++) {
        struct vfm_cell cell = vfm_cell(i);
        const struct vfm_expect *e = &table.cell[i];
        int users = 0, anew = 0;
        if (cell.src->ack != cell.dst->ack)
            continue;
        for (size_t d = 0; d < cell.set->count; d++) {
            users += cell.set->device[d].precopy;
            anew += (int)cell.set->device[d].reinits;
        }
        bool legacy = cell.src->ack == VFM_LEGACY;
        cr_expect_eq(e->outcomes, 1u << VFM_COMPLETES);
        cr_expect_eq(e->count[0], users + (legacy ? 0 : anew));
        cr_expect_eq(e->count[1], legacy ? VFM_UNKNOWN : users + anew);
        /* a native GRANT answers for the generations before it, too */
        cr_expect_eq(e->at_least[2], cell.src->ack == VFM_NATIVE && anew);
        cr_expect_eq(e->count[2], legacy ? 1 : e->at_least[2] ? users : users + anew);
    }
}

/* The checker is not too kind. */
Test(vfio_matrix, what_is_otherwise_does_not_agree) {
    const struct vfm_expect e = {
        .exists = true, .outcomes = 1u << VFM_FAILS, .text = "LIMIT", .count = {2, VFM_UNKNOWN, 1}};
    const struct vfm_seen good = {.outcome = VFM_FAILS, .sent = 2, .acks = 1, .said = "a LIMIT"};
    struct vfm_seen bad[4] = {good, good, good, good};
    char why[128];
    bad[0].outcome = VFM_BOTH;
    bad[1].sent = 1;
    bad[2].acks = 2;
    bad[3].said[0] = 0;
    cr_expect(vfm_table_agrees(&e, &good, why, sizeof why), "%s", why);
    for (size_t i = 0; i < 4; i++)
        cr_expect_not(vfm_table_agrees(&e, &bad[i], why, sizeof why), "%zu", i);
}

/* ---- cells ---- */

static void run_cell(const char *name) {
    const char *build = getenv("VMSTREAM_BUILD");
    char *folder = realpath(build ? build : "build", NULL), why[1024];
    struct vfm_options o = {.build = folder, .cache = "/tmp"};
    struct vfm_seen seen;
    size_t i = 0;
    struct vfm_cell cell = vfm_cell(0);
    read_table();
    for (; !vfm_fits(&cell, name); cell = vfm_cell(i))
        cr_assert_lt(++i, (size_t)VFM_ENDS * VFM_ENDS * VFM_SETS);
    enum vfm_verdict verdict = vfm_run(&cell, &o, &seen, why, sizeof why);
    free(folder);
    if (verdict == VFM_ABSENT)
        cr_skip_test("%s", why);
    cr_assert_eq(verdict, VFM_RAN, "%s", why);
    cr_expect(vfm_table_agrees(&table.cell[i], &seen, why, sizeof why), "%s; said: %s", why,
              seen.said);
}

#define CELL(name, src, dst, set)                                                                  \
    Test(vfio_matrix, name, .timeout = 300) {                                                      \
        run_cell(src "/" dst "/" set);                                                             \
    }
CELL(q11_q10_two, "qemu-11.1-legacy", "qemu-10.0", "two")
CELL(q10_q11_reinit, "qemu-10.0", "qemu-11.1-legacy", "reinit")
CELL(q10_q10_mixed, "qemu-10.0", "qemu-10.0", "mixed")
CELL(new_to_10, "qemu-11.1", "qemu-10.0", "reinit")
CELL(new_to_10_without_device, "qemu-11.1", "qemu-10.0", "none")
CELL(from_10_to_new, "qemu-10.0", "qemu-11.1", "two")
CELL(q11_ours_mixed, "qemu-11.1", "reference-new", "mixed")
CELL(q10_ours_two, "qemu-10.0", "reference-legacy", "two")
CELL(ours_q11_reinit_3, "reference-new", "qemu-11.1", "reinit-3")
CELL(ours_q10_mixed, "reference-legacy", "qemu-10.0", "mixed")
CELL(ours_surplus, "reference-new", "qemu-10.0", "none")
CELL(ours_in_doubt_or_here, "reference-legacy", "qemu-11.1", "two")
CELL(ours_second_mark, "reference-new", "reference-legacy", "reinit")
CELL(ours_waits, "reference-legacy", "reference-new", "none")
CELL(ours_mixed, "reference-new", "reference-new", "mixed")
CELL(native_mixed, "reference-native", "reference-native", "mixed")
