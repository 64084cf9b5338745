/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"
#include "host/uffd.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/*
 * reference-src and reference-dst on QEMU's wire, as processes, with a guest that checks itself.
 * [SRC-2] [SRC-4] [SRC-8] [SRC-11] [MFD-12] [DLC-7]
 */

enum {
    END_MS = 120000,
};

static json_t *of(json_t *report, const char *object, const char *key) {
    return json_object_get(json_object_get(report, object), key);
}

static void move_with(const char *transport, const char *channels, const char *dialect,
                      const char *machine, const char *dirty) {
    static struct native_rig r;
    cr_assert_eq(native_rig_open(&r, 32, transport, false), 0, "%s", r.error);
    if (dirty)
        native_src_args(&r, "--dirty", dirty, NULL);
    native_src_args(&r, "--wire", "qevm", "--bandwidth", "64M", "--downtime-ms", "100",
                    "--channels", channels, "--machine", machine, "--dialect", dialect, NULL);
    native_dst_args(&r, "--dialect", dialect, NULL);
    cr_assert_eq(native_start_dst(&r), 0, "%s", r.error);
    cr_assert_eq(native_start_src(&r), 0, "%s", r.error);
    native_finish(&r, END_MS);
    bool good =
        r.src_status == 0 && r.dst_status == 0 && json_is_true(of(r.dst_report, "check", "good"));
    if (!good)
        native_show(&r);
    cr_expect(good, "%s, %s channels, dialect %s", transport, channels, dialect);
    cr_expect_eq(json_integer_value(of(r.dst_report, "check", "twice")), 0);
    cr_expect_str_eq(json_string_value(json_object_get(r.src_report, "owner")), "theirs");
    if (dirty)
        cr_expect_str_eq(json_string_value(of(r.src_report, "facts", "dirty tracking")), dirty);
    native_rig_close(&r);
}

static void move(const char *transport, const char *channels, const char *dialect,
                 const char *machine) {
    move_with(transport, channels, dialect, machine, NULL);
}

Test(pair, one_channel, .timeout = 300) {
    move("unix", "0", "11.1", "vmstream");
    move("tcp", "0", "11.1", "pc-q35-9.2");
}

Test(pair, multifd, .timeout = 300) {
    move("unix", "1", "11.1", "vmstream");
    move("tcp", "4", "11.1", "vmstream");
    move("unix", "16", "11.1", "vmstream");
}

/* Synchronised at every EOS, zero pages on the main channel. */
Test(pair, multifd_of_old_machines, .timeout = 300) {
    move("unix", "4", "7.2", "pc-i440fx-7.2");
    move("tcp", "2", "9.0", "pc-i440fx-8.0");
}

/* [HOST-13] [SRC-7] Writes that a thread of ours answers instead of the kernel. */
Test(pair, dirty_uffd_wp, .timeout = 300) {
    if (!(vms_uffd_features() & UFFD_FEATURE_WP_HUGETLBFS_SHMEM)) { /* one block is shared */
        cr_assert(!getenv("CI"), "no write protection of shared memory");
        cr_skip_test("no userfaultfd write protection of shared memory here");
    }
    move_with("unix", "0", "11.1", "vmstream", "uffd-wp");
    move_with("tcp", "4", "11.1", "vmstream", "uffd-wp");
}

/* [SRC-2] The link goes before the end: the guest runs on at the source, and is whole. */
Test(pair, cut_in_precopy, .timeout = 300) {
    static struct native_rig r;
    cr_assert_eq(native_rig_open(&r, 32, "unix", true), 0, "%s", r.error);
    native_src_args(&r, "--wire", "qevm", "--bandwidth", "16M", NULL);
    cr_assert_eq(native_start_dst(&r), 0, "%s", r.error);
    cr_assert_eq(native_start_src(&r), 0, "%s", r.error);
    cr_assert_eq(vms_tap_wait_forward(r.tap, 0, 4 << 20, END_MS), 0);
    vms_tap_cut(r.tap);
    native_finish(&r, END_MS);
    if (r.src_status != 1)
        native_show(&r);
    cr_expect_eq(r.src_status, 1);
    cr_expect_eq(r.dst_status, 1);
    cr_expect_str_eq(json_string_value(json_object_get(r.src_report, "owner")), "ours");
    cr_expect_str_eq(json_string_value(json_object_get(r.src_report, "result")), "failed");
    native_rig_close(&r);
}
