/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu.h"
#include "conformance/live/vdpa_calls.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * What stock QEMU 11.1 does with a vhost-vdpa device when it migrates, call by call, as the table
 * of spec/06-vdpa.md has it. The device is simulated (vfio-sim.so before libc); the guest's driver
 * is the network boot ROM, which transmits while the migration goes on.
 */
enum {
    WAIT_MS = 120000,
};

struct side {
    const char *name;
    char log[128];
    struct vms_qemu *qemu;
    off_t before; /* bytes of the log when the migration began */
};

struct rig {
    char dir[64];
    struct side src, dst;
};

static const char *build(const char *name) {
    static char path[512];
    const char *folder = getenv("VMSTREAM_BUILD");
    (void)snprintf(path, sizeof path, "%s/%s", folder ? folder : "build", name);
    return path;
}

static void must(struct vms_qemu *qemu, int result) {
    cr_assert_eq(result, 0, "%s", vms_qemu_error(qemu));
}

static char *read_log(const struct side *side, off_t from) {
    char *text = vdpa_log_read(side->log, from);
    cr_assert_not_null(text);
    return text;
}

static bool has_logged(const struct side *side, const char *needle) {
    char *log = read_log(side, 0);
    bool found = strstr(log, needle) != NULL;
    free(log);
    return found;
}

/* Looks again and again, as there is nothing to be woken by. */
static void wait_logged(const struct side *side, const char *needle) {
    const struct timespec t = {.tv_nsec = 5000000};
    for (int i = 0; i < WAIT_MS / 5 && !has_logged(side, needle); i++)
        (void)nanosleep(&t, NULL);
    cr_assert(has_logged(side, needle), "%s: in vain: %s", side->name, needle);
}

/* ---- QEMUs ---- */

static void start(struct rig *rig, struct side *side, const char *name, const char *text) {
    char device[128], preload[600], netdev[64], error[VMS_QEMU_ERROR_SIZE];
    side->name = name;
    (void)snprintf(side->log, sizeof side->log, "%s/%s.log", rig->dir, name);
    (void)snprintf(device, sizeof device, "%s/%s.sim", rig->dir, name);
    int fd = open(device, O_RDWR | O_CREAT | O_TRUNC, 0600); /* inherited */
    cr_assert_geq(fd, 0);
    cr_assert_gt(dprintf(fd, "vdpa-sim device\nname %s\nlog %s\n%s\n", name, side->log, text), 0);
    (void)snprintf(netdev, sizeof netdev, "vhost-vdpa,id=net,vhostfd=%d", fd);
    char *so = realpath(build("vfio-sim.so"), NULL);
    cr_assert(so, "%s: %s", build("vfio-sim.so"), strerror(errno));
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", so);
    free(so);
    const char *args[] = {"-netdev", netdev, "-device",
                          "virtio-net-pci,netdev=net,bootindex=0,mac=52:54:00:12:34:56", NULL};
    const char *env[] = {preload, NULL};
    side->qemu = vms_qemu_start(&(struct vms_qemu_options){.version = "11.1",
                                                           .machine = "pc",
                                                           .memory = "64M",
                                                           .args = args,
                                                           .env = env,
                                                           .name = name,
                                                           .incoming = strcmp(name, "dst") == 0},
                                error, sizeof error);
    (void)close(fd);
    cr_assert(side->qemu, "%s: %s", name, error);
}

static void set_up(struct rig *rig, const char *src, const char *dst) {
    struct vms_peer peer;
    if (!vms_peer_find("11.1", &peer))
        cr_skip_test("peer absent: QEMU 11.1, make peers fetches it");
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/vms-vdpa-XXXXXX");
    cr_assert_not_null(mkdtemp(rig->dir));
    start(rig, &rig->src, "src", src);
    start(rig, &rig->dst, "dst", dst);
}

static void tear_down(struct rig *rig) {
    char command[128];
    vms_qemu_free(rig->src.qemu);
    vms_qemu_free(rig->dst.qemu);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", rig->dir);
    if (!getenv("VMSTREAM_KEEP"))
        cr_expect_eq(system(command), 0);
}

static void mark(struct side *side) {
    struct stat st;
    cr_assert_eq(stat(side->log, &st), 0);
    side->before = st.st_size;
}

static void migrate(struct rig *rig) {
    static const char *const completed[] = {"completed", NULL};
    struct vms_migration_end end;
    char uri[140];
    (void)snprintf(uri, sizeof uri, "unix:%s/socket", rig->dir);
    must(rig->dst.qemu, vms_qemu_migrate_incoming(rig->dst.qemu, uri));
    mark(&rig->src);
    mark(&rig->dst);
    must(rig->src.qemu,
         vms_qemu_set_parameters(
             rig->src.qemu, json_pack("{s:I}", "avail-switchover-bandwidth", (json_int_t)1 << 30)));
    must(rig->src.qemu, vms_qemu_migrate(rig->src.qemu, uri));
    int rc = vms_qemu_wait_migration(rig->src.qemu, completed, WAIT_MS, &end);
    cr_assert_eq(rc, 0, "%s %s: %s", end.status, end.error_desc, vms_qemu_error(rig->src.qemu));
    must(rig->dst.qemu, vms_qemu_wait_migration(rig->dst.qemu, completed, WAIT_MS, NULL));
}

/* ---- what was called ---- */

/** Since the migration began, beside what the specification says. */
static void expect_calls(const struct side *side, size_t most, const char *name) {
    const char *says;
    char *calls = vdpa_log_calls(side->log, side->before, most);
    cr_expect(vdpa_spec_says(name, calls, &says), "%s: %s\nand not: %s", name, calls, says);
    free(calls);
}

/* All memory is mapped when the device is made, and unmapped when the machine is reset. */
static void expect_early_maps_undone(const struct side *side) {
    char *log = read_log(side, 0), *last = NULL, maps[32] = "";
    cr_expect(strstr(log, "\"size\":67108864"));
    for (char *at = log; (at = strstr(at, "\"batch-end\"")) != NULL; at++)
        last = at;
    cr_expect(last && vdpa_log_member(last, "maps", maps, sizeof maps) && strcmp(maps, "0") == 0);
    free(log);
}

/* Shadow rings at the source from the migration's begin; at the destination all is mapped when the
 * device starts, in downtime. */
Test(vdpa_sim, qemu_to_qemu, .timeout = 300) {
    struct rig rig;
    set_up(&rig, "", "");
    wait_logged(&rig.src, "\"call\":\"SET_STATUS\",\"value\":12,"); /* FEATURES_OK, DRIVER_OK */
    expect_early_maps_undone(&rig.dst);
    migrate(&rig);
    wait_logged(&rig.dst, "\"call\":\"SET_STATUS\",\"value\":12,");
    expect_calls(&rig.src, 36, "QEMU source");
    expect_calls(&rig.dst, 36, "QEMU destination");
    cr_expect_not(has_logged(&rig.src, "\"broken\"") || has_logged(&rig.dst, "\"broken\""));
    cr_expect_not(has_logged(&rig.src, "\"unknown\"") || has_logged(&rig.dst, "\"unknown\""));
    tear_down(&rig);
}

/* Without SUSPEND it resets, as ours does [VDPA-3]. */
Test(vdpa_sim, without_suspend, .timeout = 300) {
    struct rig rig;
    set_up(&rig, "backend -suspend -resume", "");
    wait_logged(&rig.src, "\"call\":\"SET_STATUS\",\"value\":12,");
    migrate(&rig);
    expect_calls(&rig.src, 40, "QEMU source without SUSPEND");
    tear_down(&rig);
}
