/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"
#include "conformance/live/vfio_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A guest that dirties its memory faster than the link takes it, and behind it a VFIO device whose
 * initial data have to arrive before the switchover. Served one after the other, as QEMU did until
 * 8.2, the device never has its turn; with a share for each it has. Bytes and rounds are counted,
 * no time is measured.
 */
enum {
    WAIT_MS = 120000,
    INITIAL = 4 << 20,
    WORDS = 40,
};

struct scene {
    const char *wire;
    bool serial;
};

static void write_vm(const struct vfio_rig *rig, char *path, size_t size) {
    vfio_rig_path(rig, path, size, "vm.json");
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    fputs("{\"blocks\": [{\"name\": \"ram\", \"size\": \"32M\", \"fill\": \"random\"}],"
          " \"vcpus\": [{\"rate\": 20000, \"locality\": {\"kind\": \"sequential\"}}],"
          " \"running_lock\": \"run.lock\"}\n",
          file);
    (void)fclose(file);
}

static const char *add_device(const struct vfio_rig *rig, const char *side, char spec[160]) {
    (void)close(vfio_rig_description(rig, side, 0, "initial 4M\nstop 1M\n"));
    (void)snprintf(spec, 160, "sim:%s/%s0.sim", rig->dir, side);
    return spec;
}

/* 20 MiB/s go out and 78 are written; the downtime would do for all of it, so that only the
 * acknowledgement is waited for. */
static pid_t start_source(const struct vfio_rig *rig, const struct scene *s, const char *vm,
                          const char *uri) {
    char spec[160], log[128], report[128];
    const char *argv[WORDS] = {vfio_rig_build("reference-src"),
                               "--connect",
                               uri,
                               "--vm",
                               vm,
                               "--wire",
                               s->wire,
                               "--vfio",
                               add_device(rig, "src", spec),
                               "--switchover-ack",
                               "--bandwidth",
                               "20M",
                               "--downtime-ms",
                               "20000",
                               "--report",
                               report};
    size_t n = 16;
    vfio_rig_path(rig, report, sizeof report, "src.json");
    vfio_rig_path(rig, log, sizeof log, "src.out");
    if (s->serial) {
        argv[n++] = "--scheduler";
        argv[n++] = "serial";
        argv[n++] = "--limit-s";
        argv[n++] = "5";
    }
    return live_spawn(argv, log, NULL);
}

static pid_t start_destination(const struct vfio_rig *rig, const char *vm, const char *uri) {
    char spec[160], log[128], path[128];
    const char *argv[] = {vfio_rig_build("reference-dst"),
                          "--listen",
                          uri,
                          "--vm",
                          vm,
                          "--vfio",
                          add_device(rig, "dst", spec),
                          "--switchover-ack",
                          "on",
                          "--run-seconds",
                          "0",
                          "--recover-timeout",
                          "60",
                          NULL};
    vfio_rig_path(rig, log, sizeof log, "dst.out");
    vfio_rig_path(rig, path, sizeof path, "socket");
    pid_t pid = live_spawn(argv, log, NULL);
    for (int i = 0; i < WAIT_MS && access(path, F_OK) != 0; i++)
        (void)usleep(1000);
    cr_assert_eq(access(path, F_OK), 0);
    return pid;
}

static void show(const struct vfio_rig *rig) {
    static const char *const names[] = {"src.out", "dst.out"};
    char path[128], line[512];
    for (int i = 0; i < 2; i++) {
        vfio_rig_path(rig, path, sizeof path, "%s", names[i]);
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof line, f))
            fputs(line, stderr);
        if (f)
            (void)fclose(f);
    }
}

/* Bytes that the device gave, as its own log has them. */
static uint64_t saved(const struct vfio_rig *rig) {
    uint64_t n = vfio_rig_number(rig, "src", 0, "saved", "bytes");
    return n == UINT64_MAX ? 0 : n;
}

static void check_starved(const struct vfio_rig *rig, int src, int dst, const json_t *report) {
    const json_t *error = json_object_get(report, "error");
    cr_expect(src > 0 && dst > 0, "%d, %d", src, dst);
    cr_expect_str_eq(json_string_value(json_object_get(error, "code")), "SRC_LIMIT");
    cr_expect_str_eq(json_string_value(json_object_get(report, "owner")), "ours");
    cr_expect_eq(saved(rig), 0, "%llu bytes of the device", (unsigned long long)saved(rig));
    cr_expect_geq(json_integer_value(json_object_get(report, "rounds")), 2); /* all memory, again */
}

static void check_served(const struct vfio_rig *rig, int src, int dst, const json_t *report) {
    cr_expect(src == 0 && dst == 0, "%d, %d", src, dst);
    cr_expect_str_eq(json_string_value(json_object_get(report, "owner")), "theirs");
    cr_expect_geq(saved(rig), INITIAL + (1 << 20));
    cr_expect_eq(saved(rig), vfio_rig_number(rig, "dst", 0, "loaded", "bytes"));
    cr_expect_eq(vfio_rig_count(rig, "dst", 0, "\"good\":true"), 1u);
}

static void play(const struct scene *s) {
    struct vfio_rig rig = {.dir = "/tmp/vms-starve-XXXXXX"};
    char vm[128], uri[160], path[128];
    cr_assert_not_null(mkdtemp(rig.dir));
    write_vm(&rig, vm, sizeof vm);
    (void)snprintf(uri, sizeof uri, "unix:%s/socket", rig.dir);
    pid_t dst = start_destination(&rig, vm, uri);
    pid_t src = start_source(&rig, s, vm, uri);
    int src_status = live_wait(src, WAIT_MS), dst_status = live_wait(dst, WAIT_MS);
    vfio_rig_path(&rig, path, sizeof path, "src.json");
    json_t *report = json_load_file(path, 0, NULL);
    if (!report || (src_status == 0) == s->serial)
        show(&rig);
    (s->serial ? check_starved : check_served)(&rig, src_status, dst_status, report);
    json_decref(report);
    vfio_case_forget(rig.dir);
}

/* [SCH-6] [ENG-17] [ENG-22] */
Test(starvation, one_after_the_other, .timeout = 300) {
    play(&(struct scene){"native", true});
    play(&(struct scene){"qevm", true});
}

/* [SCH-1] [SCH-2] [SCH-4] [SES-27] [ACK-4] */
Test(starvation, a_share_for_each, .timeout = 300) {
    play(&(struct scene){"native", false});
    play(&(struct scene){"qevm", false});
}
