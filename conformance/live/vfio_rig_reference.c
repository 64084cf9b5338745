/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"
#include "conformance/live/vfio_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    RUN_MS = 120000,
    WORDS = 48,
};

/* The guest: what a QEMU without devices has sent to another, from the wire. */
static void record_guest(const struct vfio_rig *rig, char *path, size_t size) {
    struct vfio_case guest = {.src_machine = rig->what->src_machine,
                              .dst_machine = rig->what->src_machine,
                              .src_no_ack = true,
                              .dst_no_ack = true};
    char dir[64], from[128];
    vfio_case_keep(&guest, dir, sizeof dir);
    (void)snprintf(from, sizeof from, "%s/wire.0.fwd", dir);
    vfio_rig_path(rig, path, size, "guest");
    cr_assert_eq(rename(from, path), 0);
    vfio_case_forget(dir);
}

void vfio_rig_run_reference(struct vfio_rig *rig, const char *uri) {
    const struct vfio_case *w = rig->what;
    char guest[128], log[128], specs[VFIO_DEVICES_MAX][160];
    const char *argv[WORDS] = {NULL,        "--wire",       "qevm",           "--connect", uri,
                               "--machine", w->src_machine, "--device-state", guest};
    size_t n = 9;
    record_guest(rig, guest, sizeof guest);
    for (unsigned i = 0; i < VFIO_DEVICES_MAX && w->src[i]; i++) {
        (void)close(vfio_rig_description(rig, "src", i, w->src[i]));
        (void)snprintf(specs[i], sizeof specs[i], "sim:%s/src%u.sim,id=0000:00:%02x.0/vfio",
                       rig->dir, i, i + 2);
        argv[n++] = "--vfio";
        argv[n++] = specs[i];
    }
    if (!w->src_no_ack)
        argv[n++] = "--switchover-ack";
    for (size_t i = 0; w->reference[i]; i++)
        argv[n++] = w->reference[i];
    cr_assert_lt(n, (size_t)WORDS);
    vfio_rig_path(rig, log, sizeof log, "reference.log");
    argv[0] = vfio_rig_build("reference-src");
    rig->reference_status = live_wait(live_spawn(argv, log, NULL), RUN_MS);
}

static void output_of(const struct vfio_rig *rig, const char *log, char *out, size_t size) {
    char path[128];
    vfio_rig_path(rig, path, sizeof path, "%s", log);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(out, 1, size - 1, file) : 0;
    out[n] = 0;
    if (file)
        (void)fclose(file);
}

void vfio_rig_expect_reference(struct vfio_rig *rig) {
    char out[8192];
    output_of(rig, "reference.log", out, sizeof out);
    if (rig->what->outcome == VFIO_COMPLETED) {
        cr_assert_eq(rig->reference_status, 0, "%d: %s", rig->reference_status, out);
        vfio_rig_expect_status(rig->dst, "running");
        return;
    }
    cr_assert_gt(rig->reference_status, 0, "%d: %s", rig->reference_status, out);
    cr_expect(!rig->what->error || strstr(out, rig->what->error), "%s", out);
    cr_expect(strstr(out, "the guest is here"), "%s", out);
    vfio_rig_expect_devices_back(rig);
}

/* ---- the destination ---- */

static void wait_for_socket(const char *path) {
    struct timespec t = {.tv_nsec = 5000000};
    for (int i = 0; i < RUN_MS / 5 && access(path, F_OK) != 0; i++)
        (void)nanosleep(&t, NULL);
    cr_assert_eq(access(path, F_OK), 0, "reference-dst does not listen");
}

void vfio_rig_listen(struct vfio_rig *rig, const char *path) {
    const struct vfio_case *w = rig->what;
    char uri[140], log[128], specs[VFIO_DEVICES_MAX][160];
    const char *argv[WORDS] = {NULL, "--listen", uri};
    size_t n = 3;
    (void)snprintf(uri, sizeof uri, "unix:%s", path);
    for (unsigned i = 0; i < VFIO_DEVICES_MAX && w->src[i]; i++) {
        (void)close(vfio_rig_description(rig, "dst", i, w->dst[i] ? w->dst[i] : ""));
        (void)snprintf(specs[i], sizeof specs[i], "sim:%s/dst%u.sim,id=0000:00:%02x.0/vfio",
                       rig->dir, i, i + 2);
        argv[n++] = "--vfio";
        argv[n++] = specs[i];
    }
    argv[n++] = "--switchover-ack";
    argv[n++] = w->dst_no_ack ? "off" : "on";
    if (w->multifd)
        argv[n++] = "--vfio-multifd";
    for (size_t i = 0; w->reference_dst[i]; i++)
        argv[n++] = w->reference_dst[i];
    cr_assert_lt(n, (size_t)WORDS);
    argv[0] = vfio_rig_build("reference-dst");
    vfio_rig_path(rig, log, sizeof log, "listener.log");
    rig->reference_dst = live_spawn(argv, log, NULL);
    wait_for_socket(path);
}

void vfio_rig_expect_listener(struct vfio_rig *rig) {
    bool good = rig->what->outcome == VFIO_COMPLETED;
    char out[8192];
    int status = live_wait(rig->reference_dst, RUN_MS);
    output_of(rig, "listener.log", out, sizeof out);
    cr_expect(good ? status == 0 : status == 1 || status == 3, "%d: %s", status, out);
    cr_expect(good || !rig->what->error || strstr(out, rig->what->error), "%s", out);
}
