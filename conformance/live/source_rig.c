/* SPDX-License-Identifier: MIT */
#include "conformance/live/source_rig.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MIGRATE_MS = 120000,
    BEAT_MS = 120000,
    ARGS = 48,
    BEATS = 3, /* that the guest lives on for: it verifies pages in each */
};

static int fail_with(struct source_rig *rig, struct vms_qemu *qemu) {
    return live_fail(&rig->live, "%s", vms_qemu_error(qemu));
}

static void path_of(const struct source_rig *rig, const char *name, char *out, size_t size) {
    (void)snprintf(out, size, "%s/%s", rig->live.dir, name);
}

static const char *log_of(const struct source_rig *rig) {
    static char text[2048];
    char path[128];
    path_of(rig, "src.log", path, sizeof path);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = 0;
    if (file)
        fclose(file);
    return text;
}

/* ---- the recording ---- */

/* The number of the last whole heartbeat line. */
static unsigned long last_beat(const char *path) {
    static char text[1 << 16];
    unsigned long beat = 0;
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = 0;
    if (file)
        fclose(file);
    for (const char *at = text; (at = strstr(at, "hb ")) != NULL; at += 3)
        beat = strtoul(at + 3, NULL, 16);
    return beat;
}

static int record(struct source_rig *rig, const char *program) {
    struct live *l = &rig->live;
    char dump[128];
    rig->first = (struct live_case){.version = rig->what->version,
                                    .machine = rig->what->machine,
                                    .transport = LIVE_FILE,
                                    .parameters = "{\"max-bandwidth\": 1073741824}",
                                    .qemu_args = rig->what->qemu_args,
                                    .memory = rig->what->memory};
    if (live_boot(l, &rig->first, program) != 0 || live_listen(l) != 0 || live_migrate(l) != 0)
        return -1;
    path_of(rig, "dump", dump, sizeof dump);
    if (vms_qemu_dump_ram(l->qemu, dump, &l->dump) != 0)
        return fail_with(rig, l->qemu);
    rig->beat = last_beat(vms_qemu_serial_path(l->qemu));
    return 0;
}

/* ---- the destination ---- */

static int start_destination(struct source_rig *rig) {
    char image[128], uri[192];
    json_t *p = rig->what->parameters ? json_loads(rig->what->parameters, 0, NULL) : json_object();
    path_of(rig, "guest.img", image, sizeof image);
    rig->destination = live_start_qemu(&rig->live, image, true, !rig->what->postcopy);
    if (!rig->destination) {
        json_decref(p);
        return -1;
    }
    if (vms_qemu_set_parameters(rig->destination, p) != 0)
        return fail_with(rig, rig->destination);
    if (rig->what->capabilities &&
        vms_qemu_set_capabilities(rig->destination, rig->what->capabilities) != 0)
        return fail_with(rig, rig->destination);
    (void)snprintf(uri, sizeof uri, "unix:%s/far", rig->live.dir);
    return vms_qemu_migrate_incoming(rig->destination, uri) == 0 ? 0
                                                                 : fail_with(rig, rig->destination);
}

static int start_tap(struct source_rig *rig, const char *near, const char *far) {
    char from[128], to[128];
    path_of(rig, near, from, sizeof from);
    path_of(rig, far, to, sizeof to);
    struct vms_tap_options o = {.listen_path = from, .connect_path = to};
    rig->tap = vms_tap_start(&o, rig->live.error, sizeof rig->live.error);
    return rig->tap ? 0 : -1;
}

/* ---- reference-src ---- */

static int start_source(struct source_rig *rig, const char *program) {
    char uri[192], stream[128], control[192], log[128], report[128];
    (void)snprintf(uri, sizeof uri, "unix:%s/%s", rig->live.dir,
                   rig->what->recover ? "near" : "far");
    (void)snprintf(control, sizeof control, "unix:%s", rig->control);
    path_of(rig, "stream", stream, sizeof stream);
    path_of(rig, "src.log", log, sizeof log);
    path_of(rig, "src.json", report, sizeof report);
    const char *argv[ARGS] = {
        program,          "--connect", uri,         "--wire",           "qevm",
        "--device-state", stream,      "--dialect", rig->what->version, "--control",
        control,          "--touch",   "3000",      "--timeout",        "60",
        "--report",       report};
    size_t n = 17;
    for (const char *const *a = rig->what->src_args; a && *a && n < ARGS - 1; a++)
        argv[n++] = *a;
    argv[n] = NULL;
    rig->live.dst = live_spawn(argv, log, NULL);
    return rig->live.dst > 0 ? 0 : live_fail(&rig->live, "fork: %s", strerror(errno));
}

json_t *source_order(const char *control, const char *line) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char answer[4096];
    size_t used = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", control);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
              send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line) &&
              send(fd, "\n", 1, MSG_NOSIGNAL) == 1;
    while (ok && used < sizeof answer - 1 && !memchr(answer, '\n', used)) {
        ssize_t n = recv(fd, answer + used, sizeof answer - 1 - used, 0);
        ok = n > 0;
        used += ok ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    answer[used] = 0;
    return ok ? json_loads(answer, 0, NULL) : NULL;
}

/* Waits for a state; nothing announces it to a bystander. */
static int wait_for_state(struct source_rig *rig, const char *state) {
    for (int ms = 0; ms < MIGRATE_MS && live_runs(rig->live.dst); ms += 10) {
        json_t *answer = source_order(rig->control, "{\"order\": \"status\"}");
        const char *now = json_string_value(json_object_get(answer, "state"));
        bool there = now && strcmp(now, state) == 0;
        json_decref(answer);
        if (there)
            return 0;
        (void)usleep(10000);
    }
    return live_fail(&rig->live, "reference-src does not come to %s: %s", state, log_of(rig));
}

static int order(struct source_rig *rig, const char *line) {
    json_t *answer = source_order(rig->control, line);
    bool ok = json_is_true(json_object_get(answer, "ok"));
    json_decref(answer);
    return ok ? 0 : live_fail(&rig->live, "refused: %s", line);
}

/* [REC-5] [REC-6] The link is cut when postcopy has sent for a while. */
static int cut_and_recover(struct source_rig *rig) {
    static const char *const paused[] = {"postcopy-paused", NULL};
    char uri[192], line[256];
    if (wait_for_state(rig, "POSTCOPY") != 0)
        return -1;
    uint64_t now = vms_tap_connection(rig->tap, 0).forward;
    if (vms_tap_wait_forward(rig->tap, 0, now + (256 << 10), MIGRATE_MS) != 0)
        return live_fail(&rig->live, "postcopy does not send pages: %s", log_of(rig));
    vms_tap_cut(rig->tap);
    if (wait_for_state(rig, "PAUSED") != 0)
        return -1;
    if (vms_qemu_wait_migration(rig->destination, paused, MIGRATE_MS, NULL) != 0)
        return fail_with(rig, rig->destination);
    (void)snprintf(uri, sizeof uri, "unix:%s/again", rig->live.dir);
    if (vms_qemu_execute(rig->destination, "migrate-recover", json_pack("{s:s}", "uri", uri),
                         NULL) != 0)
        return fail_with(rig, rig->destination);
    (void)snprintf(line, sizeof line, "{\"order\": \"recover\", \"uri\": \"%s\"}", uri);
    return order(rig, "{\"order\": \"set\", \"postcopy_bandwidth\": 0}") == 0 ? order(rig, line)
                                                                              : -1;
}

static int finish(struct source_rig *rig) {
    static const char *const completed[] = {"completed", NULL};
    int status = live_wait(rig->live.dst, MIGRATE_MS);
    rig->live.dst = 0;
    if (status != 0)
        return live_fail(&rig->live, "reference-src ended with %d: %s", status, log_of(rig));
    if (vms_qemu_wait_migration(rig->destination, completed, MIGRATE_MS, NULL) != 0)
        return live_fail(&rig->live, "%s; reference-src: %s", vms_qemu_error(rig->destination),
                         log_of(rig));
    return 0;
}

/* ---- the proof ---- */

static bool was_in(json_t *report, const char *state) {
    json_t *phases = json_object_get(json_object_get(report, "timeline"), "phases");
    bool found = false;
    for (size_t i = 0; i < json_array_size(phases); i++) {
        json_t *name = json_object_get(json_array_get(phases, i), "state");
        found |= json_is_string(name) && strcmp(json_string_value(name), state) == 0;
    }
    return found;
}

/* It went the way that the case wants to see: several rounds, postcopy, a pause. */
static int check_report(struct source_rig *rig) {
    char path[128];
    path_of(rig, "src.json", path, sizeof path);
    rig->live.report = json_load_file(path, 0, NULL);
    json_t *r = rig->live.report;
    if (!r || was_in(r, "postcopy") != rig->what->postcopy ||
        was_in(r, "paused") != rig->what->recover ||
        json_integer_value(json_object_get(r, "rounds")) < 1)
        return live_fail(&rig->live, "not the migration that was wanted: %s", log_of(rig));
    return 0;
}

static uint8_t *map_file(const char *path, size_t len) {
    FILE *file = fopen(path, "re");
    void *p = file ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fileno(file), 0) : MAP_FAILED;
    if (file)
        fclose(file);
    return p == MAP_FAILED ? NULL : p;
}

static int compare_block(struct source_rig *rig, const struct vms_qemu_ram_block *b,
                         const char *dir) {
    char one[1024], two[1024];
    (void)snprintf(one, sizeof one, "%s/dump/%s", rig->live.dir, b->file);
    (void)snprintf(two, sizeof two, "%s/%s", dir, b->file);
    uint8_t *want = map_file(one, b->used), *got = map_file(two, b->used);
    size_t at = 0;
    while (want && got && at < b->used && memcmp(want + at, got + at, 4096) == 0)
        at += 4096;
    if (want)
        (void)munmap(want, b->used);
    if (got)
        (void)munmap(got, b->used);
    rig->live.blocks++;
    return at >= b->used ? 0 : live_fail(&rig->live, "%s differs at 0x%zx", b->name, at);
}

/* The destination has not run yet: its memory is what was recorded. */
static int compare(struct source_rig *rig) {
    struct vms_ram_dump dump;
    char dir[128];
    int rc = 0;
    path_of(rig, "arrived", dir, sizeof dir);
    if (vms_qemu_dump_ram(rig->destination, dir, &dump) != 0)
        return fail_with(rig, rig->destination);
    for (size_t i = 0; i < rig->live.dump.count && rc == 0; i++)
        rc = compare_block(rig, &rig->live.dump.blocks[i], dir);
    vms_ram_dump_free(&dump);
    if (rc == 0 && vms_qemu_cont(rig->destination) != 0)
        rc = fail_with(rig, rig->destination);
    return rc;
}

/* The heartbeats of the destination are those that follow. */
static int watch_heartbeat(struct source_rig *rig) {
    char want[32];
    for (unsigned long i = 1; i <= BEATS; i++) {
        (void)snprintf(want, sizeof want, "hb %08lx", rig->beat + i + 1);
        if (vms_qemu_wait_serial(rig->destination, want, 0, BEAT_MS) < 0)
            return fail_with(rig, rig->destination);
    }
    return vms_qemu_serial_has(rig->destination, "BAD")
               ? live_fail(&rig->live, "the guest says BAD")
               : 0;
}

static int check_guest(struct source_rig *rig) {
    char path[128];
    uint64_t size = 0;
    for (size_t i = 0; i < rig->live.dump.count; i++)
        if (rig->live.dump.blocks[i].offset == 0)
            size = rig->live.dump.blocks[i].used;
    path_of(rig, "memory", path, sizeof path);
    if (vms_qemu_stop(rig->destination) != 0 ||
        vms_qemu_pmemsave(rig->destination, 0, size, path) != 0)
        return fail_with(rig, rig->destination);
    uint8_t *memory = map_file(path, size);
    int rc = memory ? vms_check_guest(memory, size, &rig->live.guest_report) : -1;
    if (memory)
        (void)munmap(memory, size);
    return rc == 0 ? 0 : live_fail(&rig->live, "%s", rig->live.guest_report.text);
}

int source_run(struct source_rig *rig, const struct source_case *what, const char *program) {
    memset(rig, 0, sizeof *rig);
    rig->what = what;
    if (record(rig, program) != 0 || start_destination(rig) != 0)
        return -1;
    path_of(rig, "control", rig->control, sizeof rig->control);
    if (what->recover && start_tap(rig, "near", "far") != 0)
        return -1;
    if (start_source(rig, program) != 0 || (what->recover && cut_and_recover(rig) != 0) ||
        finish(rig) != 0 || check_report(rig) != 0 || (!what->postcopy && compare(rig) != 0) ||
        watch_heartbeat(rig) != 0)
        return -1;
    return check_guest(rig);
}

void source_free(struct source_rig *rig) {
    vms_tap_stop(rig->tap);
    vms_qemu_free(rig->destination);
    live_free(&rig->live);
}
