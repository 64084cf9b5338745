/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-faults/run.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>

/* Twelve of the seeds of build/vfio-faults. [VDEV-1] [VDEV-2] [VDEV-6] [VDEV-11] [VDEV-15]; of two
 * a device does not run behind STARTED: [HND-17] [VDEV-24] */
ParameterizedTestParameters(vfio_faults, a_seed) {
    static uint64_t seeds[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 136, 140};
    return cr_make_param_array(uint64_t, seeds, sizeof seeds / sizeof seeds[0]);
}

ParameterizedTest(uint64_t *seed, vfio_faults, a_seed, .timeout = 300) {
    static struct vff_result r;
    const char *build = getenv("VMSTREAM_BUILD");
    char *folder = realpath(build ? build : "build", NULL), text[300];
    struct vff_plan plan = vff_plan(*seed);
    const struct vfm_options o = {.build = folder, .cache = "/tmp"};
    vff_plan_text(&plan, text, sizeof text);
    vff_run(&plan, &o, &r);
    free(folder);
    if (r.verdict == VFM_ABSENT)
        cr_skip_test("%s", r.why);
    cr_expect(r.good, "seed %llu, %s: %s; said: %s", (unsigned long long)*seed, text, r.why,
              r.seen.said);
}

/* A plan is nothing but its seed; every call and each kind of end comes up. */
Test(vfio_faults, seeds_differ_and_repeat) {
    unsigned destination = 0, qemu = 0, changes = 0;
    for (uint64_t s = 1; s <= 100; s++) {
        char a[300], b[300];
        struct vff_plan p = vff_plan(s), q = vff_plan(s);
        vff_plan_text(&p, a, sizeof a);
        vff_plan_text(&q, b, sizeof b);
        cr_expect_str_eq(a, b);
        destination += p.destination;
        qemu += p.cell.src->qemu || p.cell.dst->qemu;
        changes += p.changes;
    }
    cr_expect(destination > 10 && qemu > 10 && changes > 5, "%u %u %u", destination, qemu, changes);
}
