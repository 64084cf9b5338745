/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_ENGINE_TEST_SCRIPT_H
#define REFERENCE_SRC_ENGINE_TEST_SCRIPT_H

#include "engine_state.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* For tests: one machine, told one event after the other, and what it says to that. */

static struct src_engine e;
static struct src_actions out;
static struct vms_error err;
static uint64_t now;
static char said[4096]; /* names of all actions since begin() */

static inline struct src_config config(bool native) {
    return (struct src_config){.native = native,
                               .resume = true,
                               .return_path = true,
                               .postcopy = true,
                               .switchover_bandwidth = 1000 * 1000,
                               .downtime_ns = UINT64_C(300) * 1000 * 1000,
                               .ready_ns = 5,
                               .quantum = 1000,
                               .device_count = 2};
}

static inline enum vms_code event(struct src_event ev) {
    ev.now_ns = now;
    enum vms_code code = src_engine_event(&e, &ev, &out, &err);
    for (size_t i = 0; i < out.count; i++)
        if (out.list[i].kind != SRC_DO_ARM && out.list[i].kind != SRC_DO_DISARM) {
            size_t len = strlen(said);
            (void)snprintf(said + len, sizeof said - len, "%s ", src_action_name(out.list[i].kind));
        }
    return code;
}

static inline enum vms_code tell(enum src_event_kind kind, uint64_t value) {
    return event((struct src_event){.kind = kind, .value = value, .generation = 1});
}

static inline void pending(uint32_t device, uint64_t precopy, uint64_t stop, uint64_t generation) {
    (void)event((struct src_event){.kind = SRC_EV_PENDING,
                                   .device = device,
                                   .pending = {.precopy = precopy,
                                               .stop = stop,
                                               .postcopy = device ? 0 : precopy,
                                               .generation = generation}});
}

static inline void both_pending(uint64_t ram, uint64_t other) {
    pending(0, ram, 0, 0);
    pending(1, other, 0, 0);
}

static inline void begin(const struct src_config *c) {
    (void)src_engine_init(&e, c);
    now = 1000;
    said[0] = 0;
    (void)tell(SRC_EV_BEGIN, 0);
    (void)tell(SRC_EV_CONNECTED, 0);
    (void)tell(SRC_EV_SETUP_SENT, 0);
}

static inline void forget(void) {
    said[0] = 0;
}

static inline bool has(enum src_action_kind kind) {
    for (size_t i = 0; i < out.count; i++)
        if (out.list[i].kind == kind)
            return true;
    return false;
}

static inline const struct src_action *action(enum src_action_kind kind) {
    for (size_t i = 0; i < out.count; i++)
        if (out.list[i].kind == kind)
            return &out.list[i];
    cr_assert_fail("no %s", src_action_name(kind));
    return NULL;
}

/* From the first estimate to the last device's data. */
static inline void to_switchover(void) {
    both_pending(100, 0);
    both_pending(100, 0);
    (void)tell(SRC_EV_STOPPED, 0);
    both_pending(50, 0);
    cr_assert_eq(e.state, SRC_SWITCHOVER);
    (void)event((struct src_event){.kind = SRC_EV_FINAL_SENT, .device = 1});
    (void)event((struct src_event){.kind = SRC_EV_FINAL_SENT, .device = 0});
}

#endif
