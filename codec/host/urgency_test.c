/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of linux/sched/types.h, its first version. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static struct attributes of_this_thread(void) {
    struct attributes a = {.size = sizeof a};
    cr_assert_eq(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0), 0);
    return a;
}

struct thread {
    void (*does)(void);
    bool unprivileged;
    struct attributes before, after;
};

static void *run(void *arg) {
    struct thread *t = arg;
    if (t->unprivileged) /* of this thread alone: libc's wrapper would take all of them along */
        cr_assert_eq(syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    t->before = of_this_thread();
    t->does();
    t->after = of_this_thread();
    return NULL;
}

static struct thread in_a_thread(void (*does)(void), bool unprivileged) {
    struct thread t = {.does = does, .unprivileged = unprivileged};
    pthread_t id;
    cr_assert_eq(pthread_create(&id, NULL, run, &t), 0);
    cr_assert_eq(pthread_join(id, NULL), 0);
    return t;
}

/* The policy stays the fair one: no thread whose work a peer decides runs in a real-time class. */
static void expect_fair(const struct thread *t) {
    cr_expect_eq(t->before.policy, (uint32_t)SCHED_OTHER);
    cr_expect_eq(t->after.policy, (uint32_t)SCHED_OTHER);
}

/* The kernel tells a slice of the fair class since Linux 6.12; before it is 0. */
static bool has_slices(const struct thread *t) {
    return t->before.runtime != 0;
}

Test(urgency, urgent) {
    if (geteuid() != 0) {
        cr_assert_null(getenv("CI"), "a better nice value wants root");
        cr_skip_test("a better nice value wants root");
    }
    struct attributes outside = of_this_thread();
    struct thread t = in_a_thread(vms_thread_urgent, false);
    expect_fair(&t);
    cr_expect_eq(t.after.nice, t.before.nice < -10 ? t.before.nice : -10);
    if (has_slices(&t))
        cr_expect_lt(t.after.runtime, t.before.runtime);
    struct attributes now = of_this_thread(); /* the others are as they were */
    cr_expect_eq(now.nice, outside.nice);
    cr_expect_eq(now.runtime, outside.runtime);
}

/* Who may not be nicer keeps the nice value, and gets the slice. */
Test(urgency, urgent_without_privilege) {
    if (geteuid() != 0) {
        cr_assert_null(getenv("CI"), "giving up privilege wants root");
        cr_skip_test("giving up privilege wants root");
    }
    struct rlimit none = {0, 0};
    cr_assert_eq(setrlimit(RLIMIT_NICE, &none), 0);
    struct thread t = in_a_thread(vms_thread_urgent, true);
    expect_fair(&t);
    cr_expect_eq(t.after.nice, t.before.nice);
    if (has_slices(&t))
        cr_expect_lt(t.after.runtime, t.before.runtime);
}

/* Never nicer than it was. */
Test(urgency, background) {
    struct thread t = in_a_thread(vms_thread_background, false);
    expect_fair(&t);
    cr_expect_eq(t.after.nice, t.before.nice > 5 ? t.before.nice : 5);
    cr_expect_eq(t.after.runtime, t.before.runtime);
}
