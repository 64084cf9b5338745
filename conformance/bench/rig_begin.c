/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"
#include "conformance/live/source_rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Both ends are up, and nothing has been measured yet. */

enum {
    READY_MS = 60000,
};

static bool is_idle(const char *control) {
    json_t *answer = source_order(control, "{\"order\": \"status\"}");
    const char *state = json_string_value(json_object_get(answer, "state"));
    bool idle = state && strcmp(state, "IDLE") == 0;
    json_decref(answer);
    return idle;
}

static int wait_idle(struct rig *r, const char *control, pid_t src) {
    int ms = 0;
    for (; ms < READY_MS && live_runs(src); ms++) {
        if (is_idle(control))
            return 0;
        (void)usleep(1000);
    }
    return ms < READY_MS ? 0 /* why, its log says */ : rig_fail(r, "reference-src is not ready");
}

int rig_begin(struct rig *r, const char *control, pid_t src) {
    if (wait_idle(r, control, src) != 0)
        return -1;
    rig_rest();
    json_decref(source_order(control, "{\"order\": \"migrate\"}"));
    return 0;
}
