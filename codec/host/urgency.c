/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SLICE_NS = 100000, /* the least that the kernel takes */
    NICE = -10,
    NICE_BACKGROUND = 5,
};

/* struct sched_attr of linux/sched/types.h, which not every libc has. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static int apply(int nice, uint64_t slice_ns) {
    struct attributes a = {.size = sizeof a, .nice = nice, .runtime = slice_ns};
    return (int)syscall(SYS_sched_setattr, 0, &a, 0u);
}

void vms_thread_urgent(void) {
    int nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    int better = nice < NICE ? nice : NICE;
    if (apply(better, SLICE_NS) != 0)
        (void)apply(nice, SLICE_NS);
}

void vms_thread_background(void) {
    id_t self = (id_t)syscall(SYS_gettid);
    if (getpriority(PRIO_PROCESS, self) < NICE_BACKGROUND)
        (void)setpriority(PRIO_PROCESS, self, NICE_BACKGROUND);
}
