/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Whole migrations of both engines. What is checked at every step stands in check.c, memory.c and
 * source.c: [HND-2] [HND-4] [HND-5] [HND-6] [SRC-2] [SRC-3] [SRC-4] [ENG-6] [ENG-10] [ENG-11]
 * [ENG-25].
 */
enum {
    RUNS = 5000, /* of each kind */
};

static unsigned run_all(struct sim_config config, uint64_t first, uint64_t count,
                        struct sim_result *sum) {
    unsigned bad = 0;
    *sum = (struct sim_result){0};
    for (config.seed = first; config.seed < first + count; config.seed++) {
        struct sim_result r;
        sim_run(&config, &r, NULL);
        sum->both |= r.both;
        sum->window |= r.window;
        sum->doubted |= r.doubted;
        sum->postcopy |= r.postcopy;
        sum->events += r.src == SRC_COMPLETED;
        if (!r.ok && !bad++)
            fprintf(stderr, "sim --wire %s --seed %" PRIu64 ": %s\n",
                    config.native ? "native" : "qevm", config.seed, r.why);
    }
    return bad;
}

static void holds(bool native, unsigned faults) {
    struct sim_config config = {.native = native, .faults = faults};
    struct sim_result sum;
    cr_assert_eq(run_all(config, 1, RUNS, &sum), 0);
    cr_assert(sum.postcopy);
    cr_assert_eq(sum.both, false);
    cr_assert_gt(sum.events, RUNS / 3, "only %" PRIu64 " migrations were completed", sum.events);
    cr_assert(!faults || sum.doubted);
}

Test(sim, native, .timeout = 60) {
    holds(true, 0);
}
/* [ENG-28] some of them are cut several times in one recovery */
Test(sim, native_with_faults, .timeout = 60) {
    holds(true, SIM_FAULT_ALL);
}
Test(sim, qevm, .timeout = 60) {
    holds(false, 0);
}
Test(sim, qevm_with_faults, .timeout = 60) {
    holds(false, SIM_FAULT_ALL);
}

/* A run follows from its configuration alone: what ran before it in this process leaves nothing. */
Test(sim, no_run_sees_another, .timeout = 60) {
    enum {
        N = 10000
    };
    static struct sim_result first[2 * N];
    for (unsigned i = 0; i < 4 * N; i++) {
        unsigned n = i < 2 * N ? i : 4 * N - 1 - i; /* and back again */
        struct sim_config config = {.seed = 1 + n / 2, .native = n % 2, .faults = SIM_FAULT_ALL};
        struct sim_result r;
        sim_run(&config, i < 2 * N ? &first[n] : &r, NULL);
        if (i < 2 * N)
            continue;
        cr_assert_eq(memcmp(&r, &first[n], sizeof r), 0,
                     "seed %" PRIu64 ", %s: %" PRIu64 " events, then %" PRIu64, config.seed,
                     config.native ? "native" : "qevm", first[n].events, r.events);
    }
}

/* [ENG-27] END's acknowledgement meets a cut: without the rule this one does not end. */
Test(sim, postcopy_ends_over_cuts) {
    static const uint64_t seeds[] = {20003315};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        struct sim_config config = {
            .seed = seeds[i], .native = true, .faults = SIM_FAULT_ALL & ~SIM_FAULT_MEMORY};
        struct sim_result r;
        sim_run(&config, &r, NULL);
        cr_assert(r.ok, "seed %" PRIu64 ": %s", config.seed, r.why);
        cr_assert(r.postcopy && r.src == SRC_COMPLETED, "seed %" PRIu64, config.seed);
    }
}

/* [DST-23] [ENG-30] A destination fails when its guest runs, and says nothing that hands it back.
 */
Test(sim, failure_of_a_destination_that_runs) {
    static const uint64_t seeds[] = {2505, 33335};
    static const unsigned faults[] = {SIM_FAULT_MEMORY, SIM_FAULT_ALL};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        struct sim_config config = {.seed = seeds[i], .faults = faults[i]};
        struct sim_result r;
        sim_run(&config, &r, NULL);
        cr_assert(r.ok, "seed %" PRIu64 ": %s", config.seed, r.why);
        cr_assert(r.doubted && r.dst_crashed, "seed %" PRIu64, config.seed);
    }
}

/* A run follows from its number. */
Test(sim, is_replayable) {
    struct sim_config config = {.native = true, .faults = SIM_FAULT_ALL};
    for (config.seed = 1; config.seed < 50; config.seed++) {
        struct sim_result a, b;
        sim_run(&config, &a, NULL);
        sim_run(&config, &b, NULL);
        cr_assert_eq(a.events, b.events);
        cr_assert_eq(a.ns, b.ns);
        cr_assert_eq(a.src, b.src);
    }
}

/* ---- what stock QEMU cannot close: E-48, [DST-11] ---- */

/* With a source that resumes when it is cut off, both guests run in the documented window alone. */
Test(sim, hasty_source_runs_both_in_the_window_only, .timeout = 60) {
    struct sim_config config = {.faults = SIM_FAULT_CUT | SIM_FAULT_HASTY};
    unsigned both = 0;
    for (config.seed = 1; config.seed <= RUNS; config.seed++) {
        struct sim_result r;
        sim_run(&config, &r, NULL);
        cr_assert(r.ok, "seed %" PRIu64 ": %s", config.seed, r.why);
        cr_assert(!r.both || r.window, "seed %" PRIu64, config.seed);
        both += r.both;
    }
    cr_assert_gt(both, 0);
}

/* ---- mistakes are found ---- */

static void finds(enum sim_plant plant, bool native, unsigned faults) {
    struct sim_config config = {.native = native, .faults = faults, .plant = plant};
    for (config.seed = 1; config.seed <= 20 * RUNS; config.seed++) {
        struct sim_result r;
        sim_run(&config, &r, NULL);
        if (!r.ok)
            return;
    }
    cr_assert_fail("%s is not found", sim_plant_name(plant));
}

Test(sim, finds_a_source_that_resumes_behind_commit, .timeout = 60) {
    finds(SIM_PLANT_RESUME, true, SIM_FAULT_ALL);
    finds(SIM_PLANT_RESUME, false, SIM_FAULT_ALL);
}
Test(sim, finds_a_source_that_waits_for_no_grant, .timeout = 60) {
    finds(SIM_PLANT_GRANT, true, 0);
    finds(SIM_PLANT_GRANT, false, 0);
}
Test(sim, finds_a_forgotten_page, .timeout = 60) {
    finds(SIM_PLANT_PAGE, true, 0);
    finds(SIM_PLANT_PAGE, false, 0);
}
Test(sim, finds_commit_before_the_journal, .timeout = 60) {
    finds(SIM_PLANT_JOURNAL, true, 0);
}
Test(sim, finds_locks_that_are_kept, .timeout = 60) {
    finds(SIM_PLANT_LOCKS, true, 0);
    finds(SIM_PLANT_LOCKS, false, 0);
}

/* ---- starvation ---- */

/*
 * A guest that writes 64 pages again and again, faster than the link carries them: RAM never comes
 * to zero, though it always fits the permitted downtime. One device has initial data, without whose
 * acknowledgement nothing switches over.
 */
static struct sim_result starve(bool native, enum src_scheduler_kind scheduler) {
    struct sim_config config = {
        .seed = 1,
        .native = native,
        .scheduler = scheduler,
        .scene = {.set = true,
                  .pages = 512,
                  .hot = 64,
                  .bandwidth = 4 << 20,
                  .writes = 20000,
                  .devices = 1,
                  .initial = 64 * 1024,
                  .dirty = 1024,
                  .quantum = 64 * 1024,
                  .limit_ns = UINT64_C(50) * 1000 * 1000 * 1000},
    };
    struct sim_result r;
    sim_run(&config, &r, NULL);
    cr_assert(r.ok, "%s", r.why);
    return r;
}

/* [SCH-6] */
Test(sim, serial_order_starves_a_device) {
    for (unsigned native = 0; native < 2; native++) {
        struct sim_result r = starve(native, SRC_SCHEDULER_SERIAL);
        cr_assert_eq(r.src, SRC_FAILED);
        cr_assert_eq(r.reason, VMS_E_SRC_LIMIT);
        cr_assert_eq(r.share[1], 0, "the device has sent %" PRIu64 " bytes", r.share[1]);
    }
}

/* [SCH-1] [SCH-4] */
Test(sim, round_robin_does_not) {
    for (unsigned native = 0; native < 2; native++) {
        struct sim_result r = starve(native, SRC_SCHEDULER_DRR);
        cr_assert_eq(r.src, SRC_COMPLETED, "%s", vms_code_name(r.reason));
        cr_assert_geq(r.share[1], 64 * 1024);
        cr_assert_lt(r.ns, UINT64_C(150) * 1000 * 1000 * 1000);
    }
}

/*
 * [SCH-4] [ENG-17] At any bandwidth, with RAM and devices that make data faster than the link: what
 * the others send between two services of a device that has data.
 */
Test(sim, every_device_has_its_share, .timeout = 60) {
    enum {
        Q = 64 * 1024,
        B = 64 * 1024 - 1 /* a message of RAM, less a byte */
    };
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        uint64_t bandwidth = UINT64_C(1) << (14 + seed % 13);
        uint32_t n = 2 + (uint32_t)(seed / 13 % 3);
        struct sim_config config = {
            .seed = seed,
            .native = seed % 2,
            .scene = {.set = true,
                      .pages = 512,
                      .hot = 512,
                      .bandwidth = bandwidth,
                      .writes = bandwidth / 2048,
                      .devices = n - 1,
                      .initial = 200 * 1024,
                      .dirty = bandwidth * 2,
                      .quantum = Q,
                      .limit_ns = UINT64_C(1) << 34},
        };
        struct sim_result r;
        sim_run(&config, &r, NULL);
        cr_assert(r.ok, "%s", r.why);
        for (uint32_t d = 0; d < n; d++)
            cr_assert_leq(r.wait[d], (uint64_t)(n - 1) * (Q + B),
                          "seed %" PRIu64 ", device %u: %" PRIu64, seed, d, r.wait[d]);
    }
}
