/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu.h"

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
    WAIT_MS = 30000,
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
    FILE *file = fopen(side->log, "re");
    char *text = NULL;
    size_t size = 0;
    cr_assert_not_null(file);
    (void)fseeko(file, from, SEEK_SET);
    if (getdelim(&text, &size, 0, file) < 0) {
        free(text);
        text = calloc(1, 1);
    }
    (void)fclose(file);
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

static bool member(const char *line, const char *key, char *out, size_t size) {
    char needle[32];
    (void)snprintf(needle, sizeof needle, "\"%s\":", key);
    const char *at = strstr(line, needle);
    if (!at)
        return false;
    at += strlen(needle);
    at += *at == '"';
    (void)snprintf(out, size, "%.*s", (int)strcspn(at, "\",}"), at);
    return true;
}

/** A line of the log as a word; the status goes with its call. Empty: it is no call. */
static void word_of(const char *line, char *out, size_t size) {
    static const char *const events[][2] = {
        {"map", "MAP"}, {"unmap", "UNMAP"}, {"batch-begin", "BEGIN"}, {"batch-end", "END"}};
    char event[32] = "", value[32];
    out[0] = 0;
    (void)member(line, "event", event, sizeof event);
    for (size_t i = 0; i < 4; i++)
        if (strcmp(event, events[i][0]) == 0)
            (void)snprintf(out, size, "%s", events[i][1]);
    if (strcmp(event, "call") != 0 || !member(line, "call", out, size))
        return;
    if (strcmp(out, "SET_STATUS") == 0 && member(line, "index", value, sizeof value))
        (void)snprintf(out + strlen(out), size - strlen(out), "=%s", value);
}

/** Calls since the migration began, of one kind in a row told once. The caller's to free. */
static char *calls(const struct side *side, size_t most) {
    char *log = read_log(side, side->before), *rest = NULL, last[64] = "", word[64];
    char *out = calloc(1, strlen(log) + 1);
    cr_assert_not_null(out);
    for (char *line = strtok_r(log, "\n", &rest); line && most;
         line = strtok_r(NULL, "\n", &rest)) {
        word_of(line, word, sizeof word);
        if (!word[0] || strcmp(word, last) == 0)
            continue;
        (void)snprintf(last, sizeof last, "%s", word);
        (void)strcat(strcat(out, *out ? " " : ""), word);
        most--;
    }
    free(log);
    return out;
}

static const char source_calls[] =
    "SUSPEND GET_VRING_BASE SET_STATUS=0 BEGIN UNMAP END SET_STATUS=3 SET_VRING_CALL "
    "SET_VRING_ENABLE SET_FEATURES SET_STATUS=11 SET_VRING_NUM SET_VRING_BASE SET_VRING_KICK "
    "SET_VRING_CALL MAP SET_VRING_ADDR SET_VRING_BASE SET_VRING_KICK SET_VRING_CALL MAP "
    "SET_VRING_ADDR BEGIN MAP END SET_STATUS=15 SUSPEND UNMAP SET_STATUS=0 BEGIN UNMAP END "
    "SET_STATUS=3";
static const char destination_calls[] =
    "SET_VRING_CALL SET_VRING_ENABLE SET_FEATURES SET_STATUS=8 SET_VRING_NUM SET_VRING_BASE "
    "SET_VRING_ADDR SET_VRING_KICK SET_VRING_NUM SET_VRING_BASE SET_VRING_ADDR SET_VRING_KICK "
    "BEGIN MAP END SET_STATUS=12";
static const char reset_calls[] =
    "SET_STATUS=0 BEGIN UNMAP END SET_STATUS=0 SET_STATUS=3 SET_VRING_CALL SET_VRING_ENABLE "
    "SET_FEATURES SET_STATUS=11 SET_VRING_NUM SET_VRING_BASE SET_VRING_KICK SET_VRING_CALL MAP "
    "SET_VRING_ADDR SET_VRING_BASE SET_VRING_KICK SET_VRING_CALL MAP SET_VRING_ADDR BEGIN MAP END "
    "SET_STATUS=15 SET_STATUS=0 BEGIN UNMAP END UNMAP SET_STATUS=0 SET_STATUS=3";

/* All memory is mapped when the device is made, and unmapped when the machine is reset. */
static void expect_early_maps_undone(const struct side *side) {
    char *log = read_log(side, 0), *last = NULL, maps[32] = "";
    cr_expect(strstr(log, "\"size\":67108864"));
    for (char *at = log; (at = strstr(at, "\"batch-end\"")) != NULL; at++)
        last = at;
    cr_expect(last && member(last, "maps", maps, sizeof maps) && strcmp(maps, "0") == 0);
    free(log);
}

/* Shadow rings at the source from the migration's begin; at the destination all is mapped when the
 * device starts, in downtime. */
Test(vdpa_sim, qemu_to_qemu, .timeout = 120) {
    struct rig rig;
    set_up(&rig, "", "");
    wait_logged(&rig.src, "\"call\":\"SET_STATUS\",\"value\":12,"); /* FEATURES_OK, DRIVER_OK */
    expect_early_maps_undone(&rig.dst);
    migrate(&rig);
    wait_logged(&rig.dst, "\"call\":\"SET_STATUS\",\"value\":12,");
    char *src = calls(&rig.src, 36), *dst = calls(&rig.dst, 36);
    cr_expect_str_eq(src, source_calls);
    cr_expect_str_eq(dst, destination_calls);
    cr_expect_not(has_logged(&rig.src, "\"broken\"") || has_logged(&rig.dst, "\"broken\""));
    cr_expect_not(has_logged(&rig.src, "\"unknown\"") || has_logged(&rig.dst, "\"unknown\""));
    free(src);
    free(dst);
    tear_down(&rig);
}

/* Without SUSPEND it resets, as ours does [VDPA-3]. */
Test(vdpa_sim, without_suspend, .timeout = 120) {
    struct rig rig;
    set_up(&rig, "backend -suspend -resume", "");
    wait_logged(&rig.src, "\"call\":\"SET_STATUS\",\"value\":12,");
    migrate(&rig);
    char *src = calls(&rig.src, 40);
    cr_expect_str_eq(src, reset_calls);
    free(src);
    tear_down(&rig);
}
