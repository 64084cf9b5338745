/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"
#include "reference-src/vm/vm.h"

#include <stdio.h>
#include <time.h>

/* After the hand-over: the guest goes on for a while, then is stopped and proved. */

static bool ran_enough(const struct dst_session *s, int64_t until) {
    struct vms_vm_stats now;
    vms_vm_stats(s->vm, &now);
    return dst_now_ms() >= until && now.writes + now.reads >= s->options->run_ops;
}

enum vms_code dst_run_on(struct dst_session *s, struct vms_vm_report *report,
                         struct vms_error *err) {
    const struct timespec moment = {.tv_nsec = 5000000};
    int64_t until = dst_now_ms() + s->options->run_ms;
    while (!ran_enough(s, until))
        (void)nanosleep(&moment, NULL);
    enum vms_code code = s->guest->ops->stop(s->guest->ctx, err);
    if (code == VMS_OK)
        code = vms_vm_check(s->vm, report, err);
    if (code == VMS_OK && s->cards)
        code = vms_vm_cards_check(s->cards, err);
    if (code == VMS_OK)
        dst_say(s, "the guest ran on here; all %llu pages are right",
                (unsigned long long)report->pages);
    return code;
}
