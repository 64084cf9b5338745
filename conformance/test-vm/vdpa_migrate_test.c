/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"
#include "vduse.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/*
 * reference-src and reference-dst move a guest whose network card is a vDPA device of a real
 * kernel: its memory is mapped at the destination while the source runs. [VDPA-4] [VDPA-5] [VDPA-7]
 * [VDPA-8] [VDPA-11] [VDPA-12] [VDPA-15]
 */
enum {
    WAIT = 60000
};

#define VM_TEST(name) Test(vdpa_migrate, name, .timeout = 120)

static struct native_rig rig;

/** Blocks "a" and "b" of that backing: VDUSE works on what is shared only. */
static void open_rig(const char *backing) {
    cr_assert_eq(native_rig_open(&rig, 8, "unix", false), 0, "%s", rig.error);
    FILE *file = fopen(rig.vm, "we");
    cr_assert_not_null(file);
    (void)fprintf(
        file,
        "{\"blocks\": [{\"name\": \"a\", \"size\": \"8M\", \"fill\": \"mix\","
        " \"backing\": \"%s\"}, {\"name\": \"b\", \"size\": \"3M\", \"backing\": \"%s\"}],"
        " \"vcpus\": [{\"rate\": 500}], \"running_lock\": \"run.lock\"}",
        backing, backing);
    (void)fclose(file);
}

/** A machine without KVM is slow: whatever its speed, the guest is handed over. */
static void source(const char *card) {
    native_src_args(&rig, "--vdpa", card, "--reconnect", "1", "--downtime-ms", "10000",
                    "--switchover-bandwidth", "1G", NULL);
}

static void run(const char *src, const char *dst) {
    source(src);
    native_dst_args(&rig, "--vdpa", dst, NULL);
    cr_assert_eq(native_start_dst(&rig), 0, "%s", rig.error);
    cr_assert_eq(native_start_src(&rig), 0, "%s", rig.error);
    native_finish(&rig, WAIT);
}

static void say(void) {
    for (int i = 0; i < 2; i++) {
        char *log = native_log(&rig, i ? "dst" : "src");
        cr_log_error("%s: %s", i ? "dst" : "src", log);
        free(log);
    }
}

static void expect_done(void) {
    if (rig.src_status || rig.dst_status)
        say();
    cr_expect_eq(rig.src_status, 0);
    cr_expect_eq(rig.dst_status, 0);
}

static void expect_refused(const char *which, const char *code) {
    char *log = native_log(&rig, which);
    cr_expect_neq(rig.src_status, 0);
    cr_expect(log && strstr(log, code), "no %s in what %s said: %s", code, which, log);
    free(log);
}

/* ---- a card of ours behind vhost_vdpa ---- */

/* [VDPA-4] Each card sees a whole guest, and the one at the destination sees, when it is started,
 * what the one at the source saw when it was stopped. */
static void through_vduse(const char *const *dst_args) {
    struct vduse *from = vduse_new(), *to = vduse_new();
    open_rig("shared");
    for (; dst_args && *dst_args; dst_args++)
        native_dst_args(&rig, *dst_args, NULL);
    run(vduse_path(from), vduse_path(to));
    expect_done();
    struct vduse_sight before = vduse_at_stop(from), after = vduse_at_start(to);
    cr_expect_eq(after.length[0], UINT64_C(8) << 20);
    cr_expect_eq(after.length[1], UINT64_C(3) << 20);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(before.length[i], after.length[i]);
        cr_expect_eq(before.hash[i], after.hash[i], "block %d", i);
    }
    cr_expect_gt(after.length[2], 0u, "the block of the card's rings");
    native_rig_close(&rig);
    vduse_free(from);
    vduse_free(to);
}

VM_TEST(what_both_cards_see) {
    through_vduse(NULL);
}
VM_TEST(what_both_cards_see_mapped_late) {
    through_vduse((const char *const[]){"--no-early-map", NULL});
}

/* [VDPA-7] [VDPA-11] */
VM_TEST(a_card_that_refuses_its_maps) {
    struct vduse *from = vduse_new(), *to = vduse_new();
    open_rig("shared");
    vduse_refuse(to, true);
    run(vduse_path(from), vduse_path(to));
    expect_refused("dst", "VDPA_DEVICE");
    expect_refused("src", "VDPA_DEVICE");
    struct vduse_map maps[8];
    cr_expect_eq(vduse_maps(to, 0, maps, 8), 0u, "something stays mapped");
    native_rig_close(&rig);
    vduse_free(from);
    vduse_free(to);
}

/* [VDPA-30] */
VM_TEST(a_guest_of_private_memory) {
    struct vduse *card = vduse_new();
    open_rig("private");
    native_src_args(&rig, "--vdpa", vduse_path(card), NULL);
    cr_assert_eq(native_start_src(&rig), 0);
    native_finish(&rig, WAIT);
    expect_refused("src", "VDPA_MEMORY");
    native_rig_close(&rig);
    vduse_free(card);
}

/* ---- the kernel's simulated card ---- */

static char path[2][64];

/* [VDPA-15] SUSPEND, rings, control queue: frames go on at the other end. */
VM_TEST(a_card_that_suspends) {
    vdpa_sim_load("", path);
    open_rig("shared");
    run(path[0], path[1]);
    expect_done();
    native_rig_close(&rig);
    vdpa_sim_unload();
}

VM_TEST(a_card_that_pins_private_memory) {
    vdpa_sim_load("use_va=0 max_iotlb_entries=65536", path);
    open_rig("private");
    run(path[0], path[1]);
    expect_done();
    native_rig_close(&rig);
    vdpa_sim_unload();
}

static void memlock(uint64_t bytes) {
    const struct rlimit l = {bytes, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &l), 0);
}

/* [VDPA-8] The destination may not pin as much: said at the source, whose guest never stopped. */
VM_TEST(a_memlock_limit) {
    vdpa_sim_load("use_va=0 max_iotlb_entries=65536", path);
    open_rig("shared");
    source(path[0]);
    native_dst_args(&rig, "--vdpa", path[1], NULL);
    memlock(4 << 20);
    cr_assert_eq(native_start_dst(&rig), 0, "%s", rig.error);
    memlock(RLIM_INFINITY);
    cr_assert_eq(native_start_src(&rig), 0, "%s", rig.error);
    native_finish(&rig, WAIT);
    expect_refused("dst", "VDPA_MEMLOCK");
    expect_refused("src", "VDPA_MEMLOCK");
    native_rig_close(&rig);
    vdpa_sim_unload();
}

/* [VDPA-12] A card without control queue cannot take the place of one that has it. */
VM_TEST(another_kind_of_card) {
    struct vduse *to = vduse_new();
    vdpa_sim_load("", path);
    open_rig("shared");
    run(path[0], vduse_path(to));
    expect_refused("dst", "VDPA_MISMATCH");
    expect_refused("src", "VDPA_MISMATCH");
    native_rig_close(&rig);
    vduse_free(to);
    vdpa_sim_unload();
}
