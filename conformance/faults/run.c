/* SPDX-License-Identifier: MIT */
#include "conformance/faults/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

const char *fault_outcome_name(enum fault_outcome outcome) {
    static const char *const names[FAULT_OUTCOMES] = {"moved",   "stayed",  "lost",
                                                      "settled", "skipped", "BAD"};
    return (unsigned)outcome < FAULT_OUTCOMES ? names[outcome] : "?";
}

/* Huge pages are few, and others want them, too: two guests of that size, and their small block. */
static bool huge_pages_for(unsigned mib) {
    unsigned long n = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "HugePages_Free: %lu", &n) == 1)
            break;
    if (f)
        (void)fclose(f);
    return n >= mib + 8;
}

static void migrate(struct fault_rig *r, struct fault_result *result) {
    if (fault_start_dst(r) != 0 || fault_start_src(r) != 0) {
        (void)snprintf(result->why, sizeof result->why, "%s", r->error);
        result->outcome = FAULT_BAD;
        return;
    }
    result->reached = fault_reach(r);
    fault_strike(r, result);
    fault_release(r);
    fault_operate(r, result);
    fault_judge(r, result);
}

static bool is_possible(const struct fault_plan *p, const struct fault_setup *setup) {
    return setup->can_mount || (p->kind != FAULT_FULL_SOURCE && p->kind != FAULT_FULL_DESTINATION);
}

void fault_run(const struct fault_plan *wanted, const struct fault_setup *setup,
               struct fault_result *result) {
    struct fault_plan plan = *wanted;
    struct fault_rig rig;
    int64_t begun = fault_now_ms();
    *result = (struct fault_result){.outcome = FAULT_SKIPPED};
    if (!is_possible(&plan, setup)) {
        (void)snprintf(result->why, sizeof result->why, "no file system may be mounted here");
        return;
    }
    plan.huge = plan.huge && huge_pages_for(plan.mib);
    if (fault_rig_open(&rig, &plan, setup->build) == 0) {
        migrate(&rig, result);
    } else {
        (void)snprintf(result->why, sizeof result->why, "%s", rig.error);
        result->outcome = FAULT_BAD;
    }
    bool keep = setup->keep && (result->outcome == FAULT_BAD || setup->keep_all);
    fault_rig_close(&rig, keep ? setup->keep : NULL);
    if (waitpid(-1, NULL, WNOHANG) >= 0 && result->outcome != FAULT_BAD) {
        (void)snprintf(result->why, sizeof result->why, "a process is left");
        result->outcome = FAULT_BAD;
    }
    result->ms = fault_now_ms() - begun;
}
