/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/rig.h"

#include "conformance/live/live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Both ends as processes, each with its devices. */

enum {
    WORDS = 64,
    LIMIT_S = 20, /* that our source waits for a switchover, whatever else the machine does */
    SCENE_S = 60,
};

struct command {
    char text[WORDS][200];
    const char *words[WORDS + 1];
    size_t count;
};

static void add(struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct command *c, const char *fmt, ...) {
    va_list args;
    if (c->count == WORDS)
        return;
    va_start(args, fmt);
    (void)vsnprintf(c->text[c->count], sizeof c->text[0], fmt, args);
    va_end(args);
    c->words[c->count] = c->text[c->count];
    c->count++;
}

/* ---- devices ---- */

/*
 * QEMU iterates as long as it is told to: time passes between its REINITs. Ours is through in
 * milliseconds: they come when it has drained the device. The second device of a destination loads
 * slowly, so that the acknowledgements come one after the other.
 */
static void describe(const struct vfm_rig *rig, unsigned i, bool source, char *out, size_t size) {
    const struct vfm_device *d = &rig->cell->set->device[i];
    char reinit[64] = "";
    if (source && d->reinits)
        (void)snprintf(reinit, sizeof reinit, "reinit %s 1M times %u\n",
                       rig->cell->src->qemu ? "time 200ms" : "drain", d->reinits);
    const struct vfm_more *more = &rig->options->more;
    const struct vfm_scene *scene = rig->options->scene;
    if (scene) {
        (void)snprintf(out, size, "%s", scene->text[!source][i]);
        return;
    }
    bool here = more->text && more->destination != source && more->device == i;
    (void)snprintf(out, size, "%s%s%s%s%s", source ? "initial 1M\nstop 1M\n" : "",
                   d->precopy ? "" : "precopy off\n", reinit,
                   !source && i == 1 ? "load-cost initial 400ms\n" : "", here ? more->text : "");
}

/* Open, to be inherited. */
static int write_device(struct vfm_rig *rig, const char *side, unsigned i) {
    char path[128], text[2000];
    describe(rig, i, strcmp(side, "src") == 0, text, sizeof text);
    vfm_path(rig, path, sizeof path, "%s%u.sim", side, i);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || dprintf(fd, "vfio-sim device\nname vf%u\nlog %s/%s%u.log\n%s", i, rig->dir, side,
                          i, text) < 0)
        return vfm_fail(rig, "%s: %s", path, strerror(errno));
    return fd;
}

static int write_iommu(struct vfm_rig *rig, const char *side) {
    char path[128];
    vfm_path(rig, path, sizeof path, "%s.iommu", side);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || dprintf(fd, "vfio-sim iommu\n") < 0)
        return vfm_fail(rig, "%s: %s", path, strerror(errno));
    return fd;
}

/* ---- QEMU ---- */

static struct vms_qemu *start_qemu(struct vfm_rig *rig, const struct vfm_end *end, bool incoming) {
    const char *side = incoming ? "dst" : "src";
    char preload[600], error[VMS_QEMU_ERROR_SIZE] = "";
    int fds[VFM_DEVICES_MAX + 1], n = 0;
    struct command c = {.count = 0};
    fds[n++] = write_iommu(rig, side);
    add(&c, "-object");
    add(&c, "iommufd,id=iommu,fd=%d", fds[0]);
    for (unsigned i = 0; i < rig->cell->set->count; i++) {
        fds[n] = write_device(rig, side, i);
        add(&c, "-device");
        add(&c, "vfio-pci,id=vf%u,fd=%d,iommufd=iommu,enable-migration=on", i, fds[n++]);
    }
    if (vfm_is_forced(rig->cell, end)) {
        add(&c, "-global");
        add(&c, "migration.switchover-ack-legacy=%s", end->ack == VFM_LEGACY ? "on" : "off");
    }
    add(&c, "-trace");
    add(&c, rig->options->scene ? "loadvm_approve_switchover" : "vfio_state_pending");
    if (rig->options->scene) {
        add(&c, "-trace");
        add(&c, "vfio_send_init_data_flag");
        add(&c, "-msg");
        add(&c, "timestamp=on");
    }
    add(&c, "-D");
    add(&c, "%s/%s.trace", rig->dir, side);
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s/vfio-sim.so", rig->options->build);
    const char *env[] = {preload, NULL};
    const struct vms_qemu_options o = {.version = end->qemu,
                                       .machine = vfm_machine(rig->cell),
                                       .args = c.words,
                                       .env = env,
                                       .name = side,
                                       .incoming = incoming};
    struct vms_qemu *qemu = vms_qemu_start(&o, error, sizeof error);
    for (int i = 0; i < n; i++)
        (void)close(fds[i]);
    if (!qemu)
        (void)vfm_fail(rig, "%s: %.400s", side, error);
    return qemu;
}

static int must(struct vfm_rig *rig, struct vms_qemu *qemu, int result) {
    return result == 0 ? 0 : vfm_fail(rig, "%.500s", vms_qemu_error(qemu));
}

static int set_up_qemu(struct vfm_rig *rig, struct vms_qemu *qemu) {
    const struct vfm_scene *scene = rig->options->scene;
    unsigned multifd = scene ? scene->multifd : 0;
    const char *const caps[] = {"return-path", "switchover-ack", multifd ? "multifd" : NULL, NULL};
    int rc = must(rig, qemu, vms_qemu_set_capabilities(qemu, caps));
    if (rc == 0 && multifd)
        rc = must(
            rig, qemu,
            vms_qemu_set_parameters(qemu, json_pack("{s:i}", "multifd-channels", (int)multifd)));
    return rc;
}

/* ---- ours ---- */

static pid_t spawn(struct vfm_rig *rig, struct command *c, const char *program, const char *side) {
    char path[600], log[128];
    (void)snprintf(path, sizeof path, "%s/%s", rig->options->build, program);
    vfm_path(rig, log, sizeof log, "%s.out", side);
    c->words[0] = path;
    c->words[c->count] = NULL;
    return live_spawn(c->words, log, NULL);
}

static int add_devices(struct vfm_rig *rig, struct command *c, const char *side) {
    for (unsigned i = 0; i < rig->cell->set->count; i++) {
        int fd = write_device(rig, side, i);
        if (fd < 0)
            return -1;
        (void)close(fd);
        add(c, "--vfio");
        add(c, "sim:%s/%s%u.sim,id=0000:00:%02x.0/vfio", rig->dir, side, i, i + 2);
    }
    return 0;
}

/* State of stopped devices on multifd channels. */
static void add_multifd(struct vfm_rig *rig, struct command *c, const char *count) {
    const struct vfm_scene *scene = rig->options->scene;
    if (!scene || !scene->multifd)
        return;
    add(c, "--vfio-multifd");
    add(c, "%s", count);
    add(c, "%u", scene->multifd);
}

/* The guest that a QEMU sends to a file; made once for a machine. */
static int record_guest(struct vfm_rig *rig, char *path, size_t size) {
    static const char *const completed[] = {"completed", NULL};
    const char *machine = vfm_machine(rig->cell);
    char uri[300], part[160], error[VMS_QEMU_ERROR_SIZE] = "";
    (void)snprintf(path, size, "%s/guest-%s", rig->options->cache, machine);
    if (access(path, R_OK) == 0)
        return 0;
    const struct vms_qemu_options o = {.version = rig->cell->dst->qemu, .machine = machine};
    struct vms_qemu *qemu = vms_qemu_start(&o, error, sizeof error);
    if (!qemu)
        return vfm_fail(rig, "guest: %.400s", error);
    vfm_path(rig, part, sizeof part, "guest");
    (void)snprintf(uri, sizeof uri, "exec:cat >%s", part);
    int rc = must(rig, qemu, vms_qemu_migrate(qemu, uri));
    if (rc == 0)
        rc = must(rig, qemu, vms_qemu_wait_migration(qemu, completed, VFM_WAIT_MS, NULL));
    vms_qemu_free(qemu);
    return rc == 0 && rename(part, path) != 0 ? vfm_fail(rig, "%s: %s", path, strerror(errno)) : rc;
}

/* Between ours a guest runs, whose every page is checked. */
static int write_vm(struct vfm_rig *rig, char *path, size_t size) {
    vfm_path(rig, path, size, "vm.json");
    FILE *file = fopen(path, "we");
    if (!file)
        return vfm_fail(rig, "%s: %s", path, strerror(errno));
    (void)fputs("{\"blocks\":[{\"name\":\"ram\",\"size\":\"32M\",\"fill\":\"mix\"}],"
                "\"vcpus\":[{\"rate\":2000}],\"running_lock\":\"run.lock\"}\n",
                file);
    return fclose(file) == 0 ? 0 : vfm_fail(rig, "%s: %s", path, strerror(errno));
}

static int start_source(struct vfm_rig *rig) {
    const struct vfm_end *end = rig->cell->src;
    bool native = end->ack == VFM_NATIVE, ours = !rig->cell->dst->qemu;
    struct command c = {.count = 1};
    char guest[256], report[128];
    if (ours ? write_vm(rig, guest, sizeof guest) : record_guest(rig, guest, sizeof guest))
        return -1;
    vfm_path(rig, report, sizeof report, "src.json");
    add(&c, "--connect");
    add(&c, "unix:%s/%s", rig->dir, rig->options->scene ? "dst" : "tap");
    add(&c, "--wire");
    add(&c, native ? "native" : "qevm");
    add(&c, ours ? "--vm" : "--device-state");
    add(&c, "%s", guest);
    if (!native) {
        add(&c, "--machine");
        add(&c, "%s", vfm_machine(rig->cell));
    }
    add(&c, "--switchover-ack");
    if (vfm_is_forced(rig->cell, end)) {
        add(&c, "--dialect");
        add(&c, "ack-legacy=%s", end->ack == VFM_LEGACY ? "on" : "off");
    }
    add(&c, "--switchover-bandwidth");
    add(&c, "1G");
    add(&c, "--limit-s");
    add(&c, "%d", rig->options->scene ? SCENE_S : LIMIT_S);
    for (size_t i = 0; rig->options->scene && rig->options->scene->src_args[i]; i++)
        add(&c, "%s", rig->options->scene->src_args[i]);
    if (rig->options->scene) {
        add(&c, "--downtime-ms");
        add(&c, "1");
        add(&c, "--control");
        add(&c, "unix:%s/control", rig->dir);
    }
    add(&c, "--report");
    add(&c, "%s", report);
    add_multifd(rig, &c, "--multifd");
    if (add_devices(rig, &c, "src") != 0)
        return -1;
    rig->src_pid = spawn(rig, &c, "reference-src", "src");
    return rig->src_pid > 0 ? 0 : vfm_fail(rig, "reference-src: %s", strerror(errno));
}

/* A socket that only has its name refuses who comes. */
static bool listens(const char *path) {
    char *table = live_read("/proc/net/unix"), *save = NULL;
    bool found = false;
    for (char *line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        found |= strstr(line, " 00010000 ") && strstr(line, path); /* __SO_ACCEPTCON */
    free(table);
    return found;
}

static int wait_for_socket(struct vfm_rig *rig, const char *path) {
    for (int i = 0; i < VFM_WAIT_MS / 5; i++) {
        if (listens(path))
            return 0;
        vfm_pause();
    }
    return vfm_fail(rig, "reference-dst does not listen");
}

static int start_destination(struct vfm_rig *rig, const char *path) {
    const struct vfm_end *end = rig->cell->dst;
    struct command c = {.count = 1};
    char vm[256], report[128];
    vfm_path(rig, report, sizeof report, "dst.json");
    add(&c, "--listen");
    add(&c, "unix:%s", path);
    add(&c, "--quiet");
    add(&c, "--recover-timeout");
    add(&c, "3");
    add(&c, "--switchover-ack");
    add(&c, !vfm_is_forced(rig->cell, end) ? "on" : end->ack == VFM_LEGACY ? "legacy" : "new");
    add(&c, "--report");
    add(&c, "%s", report);
    if (!rig->cell->src->qemu) {
        if (write_vm(rig, vm, sizeof vm) != 0)
            return -1;
        add(&c, "--vm");
        add(&c, "%s", vm);
    }
    add_multifd(rig, &c, "--multifd-channels");
    if (add_devices(rig, &c, "dst") != 0)
        return -1;
    rig->dst_pid = spawn(rig, &c, "reference-dst", "dst");
    return wait_for_socket(rig, path);
}

/* ---- together ---- */

static int listen_qemu(struct vfm_rig *rig, const char *path) {
    char uri[160];
    rig->dst = start_qemu(rig, rig->cell->dst, true);
    if (!rig->dst || set_up_qemu(rig, rig->dst) != 0)
        return -1;
    (void)snprintf(uri, sizeof uri, "unix:%s", path);
    return must(rig, rig->dst, vms_qemu_migrate_incoming(rig->dst, uri));
}

int vfm_open(struct vfm_rig *rig) {
    char listen[128], connect[128], record[128], error[256];
    if (rig->cell->src->qemu) {
        rig->src = start_qemu(rig, rig->cell->src, false);
        if (!rig->src || set_up_qemu(rig, rig->src) != 0)
            return -1;
    }
    vfm_path(rig, listen, sizeof listen, "tap");
    vfm_path(rig, connect, sizeof connect, "dst");
    vfm_path(rig, record, sizeof record, "wire");
    if (rig->cell->dst->qemu ? listen_qemu(rig, connect) : start_destination(rig, connect))
        return -1;
    if (rig->options->scene)
        return 0;
    rig->tap =
        vms_tap_start(&(struct vms_tap_options){listen, connect, record}, error, sizeof error);
    return rig->tap ? 0 : vfm_fail(rig, "%s", error);
}

int vfm_migrate(struct vfm_rig *rig) {
    char uri[160];
    unsigned reinits = 0;
    if (!rig->src)
        return start_source(rig);
    for (size_t i = 0; i < rig->cell->set->count; i++)
        reinits += rig->cell->set->device[i].reinits;
    /* An idle guest gives QEMU nothing to measure a bandwidth by. */
    bool scene = rig->options->scene != NULL;
    json_t *p = json_pack("{s:I, s:i}", "avail-switchover-bandwidth", (json_int_t)1 << 30,
                          "downtime-limit", scene || reinits ? 0 : 2000);
    (void)snprintf(uri, sizeof uri, "unix:%s/%s", rig->dir, scene ? "dst" : "tap");
    return must(rig, rig->src, vms_qemu_set_parameters(rig->src, p)) == 0
               ? must(rig, rig->src, vms_qemu_migrate(rig->src, uri))
               : -1;
}

void vfm_close(struct vfm_rig *rig) {
    vms_qemu_free(rig->src);
    vms_qemu_free(rig->dst);
    if (rig->src_pid > 0)
        (void)live_wait(rig->src_pid, 0);
    if (rig->dst_pid > 0)
        (void)live_wait(rig->dst_pid, 0);
    vms_tap_stop(rig->tap);
}
