/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-faults/run.h"

#include <stdio.h>
#include <string.h>

static void no(struct vff_result *r, const char *what) {
    r->good = false;
    (void)snprintf(r->why, sizeof r->why, "%s", what);
}

/* The end whose device failed names it, if it is ours; the other says that it was told. */
static bool is_named(const struct vff_plan *p, const struct vff_result *r) {
    bool ours = !(p->destination ? p->cell.dst->qemu : p->cell.src->qemu);
    return ours ? strstr(r->seen.said, "VFIO_DEVICE") != NULL : *r->seen.said != 0;
}

static void judge(const struct vff_plan *p, struct vff_result *r) {
    r->good = true;
    switch (r->seen.outcome) {
    case VFM_BOTH: no(r, "the guest runs at both ends"); break;
    case VFM_DOUBT: no(r, "the guest runs nowhere"); break;
    case VFM_WAITS: no(r, "it waits for ever"); break;
    case VFM_FAILS:
        if (!r->struck && !(p->changes && strcmp(p->op, "read") == 0)) /* of those no log tells */
            no(r, "it failed, and not by the fault");
        else if (!is_named(p, r))
            no(r, "nobody names the fault");
        break;
    case VFM_COMPLETES:
        if (r->struck && p->changes && strcmp(p->op, "read") == 0)
            no(r, "a stream that was not the device's was taken");
        break;
    default: no(r, "an outcome without a name");
    }
}

void vff_run(const struct vff_plan *plan, const struct vfm_options *options,
             struct vff_result *result) {
    struct vfm_options o = *options;
    *result = (struct vff_result){0};
    o.more = (struct vfm_more){plan->text, plan->destination, plan->device, plan->refuses,
                               &result->struck};
    result->verdict = vfm_run(&plan->cell, &o, &result->seen, result->why, sizeof result->why);
    if (result->verdict == VFM_RAN)
        judge(plan, result);
}
