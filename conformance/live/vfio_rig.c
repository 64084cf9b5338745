/* SPDX-License-Identifier: MIT */
#include "conformance/live/vfio_rig.h"

#include "conformance/live/file.h"
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    WAIT_MS = 120000,
    WORDS = 64,
    PONG_BYTES = 8,
    ACK_BYTES = 4,
    STUCK_QUERIES = 300, /* after the last ACK: it still iterates */
};

const char *vfio_rig_build(const char *name) {
    static char path[2][512];
    static int turn;
    const char *folder = getenv("VMSTREAM_BUILD");
    turn ^= 1;
    (void)snprintf(path[turn], sizeof path[0], "%s/%s", folder ? folder : "build", name);
    return path[turn];
}

void vfio_rig_path(const struct vfio_rig *rig, char *out, size_t size, const char *fmt, ...) {
    va_list args;
    int n = snprintf(out, size, "%s/", rig->dir);
    va_start(args, fmt);
    (void)vsnprintf(out + n, size - (size_t)n, fmt, args);
    va_end(args);
}

/* ---- logs ---- */

char *vfio_rig_log(const struct vfio_rig *rig, const char *side, unsigned device) {
    char path[128];
    vfio_rig_path(rig, path, sizeof path, "%s%u.log", side, device);
    return live_read(path);
}

unsigned vfio_rig_count(const struct vfio_rig *rig, const char *side, unsigned device,
                        const char *needle) {
    char *log = vfio_rig_log(rig, side, device);
    unsigned n = live_count(log, needle);
    free(log);
    return n;
}

uint64_t vfio_rig_number(const struct vfio_rig *rig, const char *side, unsigned device,
                         const char *event, const char *key) {
    char *log = vfio_rig_log(rig, side, device), want[64];
    uint64_t value = UINT64_MAX;
    (void)snprintf(want, sizeof want, "\"event\":\"%s\"", event);
    for (char *at = log; at && (at = strstr(at, want)) != NULL; at++) {
        const char *eol = strchr(at, '\n'), *found = strstr(at, key);
        if (found && (!eol || found < eol))
            value = strtoull(found + strlen(key) + 2, NULL, 10); /* over ": */
    }
    free(log);
    return value;
}

/* ---- QEMUs ---- */

int vfio_rig_description(const struct vfio_rig *rig, const char *side, unsigned device,
                         const char *text) {
    char path[128];
    vfio_rig_path(rig, path, sizeof path, "%s%u.sim", side, device);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600); /* inherited */
    cr_assert_geq(fd, 0);
    cr_assert_gt(dprintf(fd, "vfio-sim device\nname vf%u\nlog %s/%s%u.log\n%s\n", device, rig->dir,
                         side, device, text),
                 0);
    return fd;
}

static int iommu_fd(const struct vfio_rig *rig, const char *side) {
    char path[128];
    vfio_rig_path(rig, path, sizeof path, "%s.iommu", side);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_gt(dprintf(fd, "vfio-sim iommu\n"), 0);
    return fd;
}

struct command {
    char text[WORDS][160];
    const char *words[WORDS];
    size_t count;
};

static void add(struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct command *c, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(c->text[c->count], sizeof c->text[0], fmt, args);
    va_end(args);
    c->words[c->count] = c->text[c->count];
    c->count++;
}

static struct vms_qemu *start(struct vfio_rig *rig, bool incoming) {
    const struct vfio_case *w = rig->what;
    const char *side = incoming ? "dst" : "src";
    const char *machine = incoming ? w->dst_machine : w->src_machine;
    const char *global = incoming ? w->dst_global : w->src_global;
    char preload[600], error[VMS_QEMU_ERROR_SIZE];
    int fds[VFIO_DEVICES_MAX + 1], n = 0;
    struct command c = {.count = 0};

    fds[n++] = iommu_fd(rig, side);
    add(&c, "-object");
    add(&c, "iommufd,id=iommu,fd=%d", fds[0]);
    for (unsigned i = 0; i < VFIO_DEVICES_MAX && w->src[i]; i++) {
        const char *text = incoming ? w->dst[i] : w->src[i];
        fds[n] = vfio_rig_description(rig, side, i, text ? text : "");
        add(&c, "-device");
        add(&c, "vfio-pci,id=vf%u,fd=%d,iommufd=iommu,enable-migration=on", i, fds[n++]);
    }
    if (global) {
        add(&c, "-global");
        add(&c, "%s", global);
    }
    char *so = realpath(vfio_rig_build("vfio-sim.so"), NULL);
    cr_assert(so, "%s: %s", vfio_rig_build("vfio-sim.so"), strerror(errno));
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", so);
    free(so);
    const char *env[] = {preload, NULL};
    struct vms_qemu *qemu =
        vms_qemu_start(&(struct vms_qemu_options){.version = "11.1",
                                                  .machine = machine ? machine : "pc",
                                                  .args = c.words,
                                                  .env = env,
                                                  .name = side,
                                                  .incoming = incoming},
                       error, sizeof error);
    for (int i = 0; i < n; i++)
        (void)close(fds[i]);
    cr_assert(qemu, "%s: %s", side, error);
    return qemu;
}

static void must(struct vms_qemu *qemu, int result) {
    cr_assert_eq(result, 0, "%s", vms_qemu_error(qemu));
}

static void set_up_side(struct vms_qemu *qemu, const struct vfio_case *w, bool no_ack) {
    const char *caps[4] = {"return-path"};
    size_t n = 1;
    if (!no_ack)
        caps[n++] = "switchover-ack";
    if (w->multifd)
        caps[n++] = "multifd";
    must(qemu, vms_qemu_set_capabilities(qemu, caps));
    if (w->multifd)
        must(qemu, vms_qemu_set_parameters(
                       qemu, json_pack("{s:i}", "multifd-channels", (int)w->multifd)));
}

static void listen_qemu(struct vfio_rig *rig, const char *path) {
    char uri[140];
    rig->dst = start(rig, true);
    set_up_side(rig->dst, rig->what, rig->what->dst_no_ack);
    (void)snprintf(uri, sizeof uri, "unix:%s", path);
    must(rig->dst, vms_qemu_migrate_incoming(rig->dst, uri));
}

static void set_up(struct vfio_rig *rig) {
    char listen[128], connect[128], record[128], uri[140], error[256];
    if (!rig->what->reference)
        rig->src = start(rig, false);
    if (rig->src)
        set_up_side(rig->src, rig->what, rig->what->src_no_ack);
    vfio_rig_path(rig, listen, sizeof listen, "tap");
    vfio_rig_path(rig, connect, sizeof connect, "dst");
    vfio_rig_path(rig, record, sizeof record, "wire");
    if (rig->what->reference_dst)
        vfio_rig_listen(rig, connect);
    else
        listen_qemu(rig, connect);
    rig->tap =
        vms_tap_start(&(struct vms_tap_options){listen, connect, record}, error, sizeof error);
    cr_assert(rig->tap, "%s", error);
    (void)snprintf(uri, sizeof uri, "unix:%s", listen);
    if (rig->what->reference) {
        vfio_rig_run_reference(rig, uri);
        return;
    }
    /* An idle guest gives QEMU nothing to measure a bandwidth by. */
    must(rig->src,
         vms_qemu_set_parameters(rig->src, json_pack("{s:I, s:i}", "avail-switchover-bandwidth",
                                                     (json_int_t)1 << 30, "downtime-limit",
                                                     rig->what->reinits ? 0 : 2000)));
    must(rig->src, vms_qemu_migrate(rig->src, uri));
}

static void tear_down(struct vfio_rig *rig) {
    vms_qemu_free(rig->src);
    vms_qemu_free(rig->dst);
    vms_tap_stop(rig->tap);
}

void vfio_case_forget(const char *dir) {
    const char *const rm[] = {"/bin/rm", "-rf", dir, NULL};
    if (!getenv("VMSTREAM_KEEP"))
        (void)live_wait(live_spawn(rm, NULL, NULL), WAIT_MS);
}

/* ---- waiting ---- */

typedef bool condition(struct vfio_rig *rig);

/* Looks again and again, as there is nothing to be woken by. */
static void wait_for(struct vfio_rig *rig, condition *is_true, const char *what) {
    struct timespec t = {.tv_nsec = 5000000};
    for (int i = 0; i < WAIT_MS / 5; i++) {
        if (is_true(rig))
            return;
        (void)nanosleep(&t, NULL);
    }
    cr_assert(false, "in vain: %s", what);
}

static bool reinits_are_over(struct vfio_rig *rig) {
    unsigned n = 0;
    for (unsigned i = 0; i < VFIO_DEVICES_MAX && rig->what->src[i]; i++)
        n += vfio_rig_count(rig, "src", i, "\"event\":\"reinit\"");
    return n >= rig->what->reinits;
}

static bool acks_are_in(struct vfio_rig *rig) {
    return vms_tap_connection(rig->tap, 0).reverse >= PONG_BYTES + ACK_BYTES * rig->what->acks;
}

static bool many_more_queries(struct vfio_rig *rig) {
    static unsigned from;
    unsigned now = vfio_rig_count(rig, "src", 0, "\"event\":\"query\"");
    if (from == 0)
        from = now;
    return now > from + STUCK_QUERIES;
}

/* ---- what came of it ---- */

/* A migration that is over may leave the state of the guest to follow. */
void vfio_rig_expect_status(struct vms_qemu *qemu, const char *want) {
    struct timespec t = {.tv_nsec = 5000000};
    char status[32] = "";
    for (int i = 0; i < WAIT_MS / 5 && strcmp(status, want) != 0; i++) {
        must(qemu, vms_qemu_status(qemu, status, sizeof status));
        (void)nanosleep(&t, NULL);
    }
    cr_expect_str_eq(status, want);
}

static void expect_failed(struct vfio_rig *rig) {
    static const char *const failed[] = {"failed", NULL};
    struct vms_migration_end end;
    int rc = vms_qemu_wait_migration(rig->src, failed, WAIT_MS, &end);
    cr_assert_eq(rc, 0, "the source ended as %s, %s", end.status, vms_qemu_error(rig->src));
    if (rig->what->error && !rig->reference_dst)
        cr_expect(strstr(end.error_desc, rig->what->error), "%s", end.error_desc);
    vfio_rig_expect_status(rig->src, "running");
}

static void expect_completed(struct vfio_rig *rig) {
    static const char *const completed[] = {"completed", NULL};
    struct vms_migration_end end;
    int rc = vms_qemu_wait_migration(rig->src, completed, WAIT_MS, &end);
    if (rc != 0 && rig->reference_dst)
        vfio_rig_expect_listener(rig); /* says what it had against it */
    cr_assert_eq(rc, 0, "%s %s: %s", end.status, end.error_desc, vms_qemu_error(rig->src));
    vfio_rig_expect_status(rig->src, "postmigrate");
    if (rig->reference_dst) {
        vfio_rig_expect_listener(rig);
        return;
    }
    must(rig->dst, vms_qemu_wait_migration(rig->dst, completed, WAIT_MS, NULL));
    vfio_rig_expect_status(rig->dst, "running");
}

/* The source's devices run again, as its guest does. */
void vfio_rig_expect_devices_back(struct vfio_rig *rig) {
    for (unsigned i = 0; i < VFIO_DEVICES_MAX && rig->what->src[i]; i++) {
        char *log = vfio_rig_log(rig, "src", i), *last = log;
        for (char *at = log; at && (at = strstr(at, "\"state\":\"")) != NULL; at++)
            last = at;
        cr_expect(last && strncmp(last, "\"state\":\"RUNNING\"", 17) == 0, "device %u: %s", i,
                  last);
        free(log);
    }
}

static void expect_lost(struct vfio_rig *rig) {
    expect_completed(rig);
    cr_expect_eq(vfio_rig_count(rig, "dst", 0, "\"good\":false"), 1u);
    cr_expect_geq(vfio_rig_count(rig, "dst", 0, "\"event\":\"reset\""), 1u);
}

static void expect_refused(struct vfio_rig *rig) {
    int status = 0;
    expect_failed(rig);
    vfio_rig_expect_devices_back(rig);
    if (rig->reference_dst) {
        vfio_rig_expect_listener(rig);
        return;
    }
    cr_expect_eq(vms_qemu_wait_exit(rig->dst, WAIT_MS, &status), 0, "the destination lives");
}

static void expect_stuck(struct vfio_rig *rig) {
    static const char *const cancelled[] = {"cancelled", NULL};
    json_t *info = NULL;
    wait_for(rig, acks_are_in, "the ACK");
    wait_for(rig, many_more_queries, "more iterations");
    must(rig->src, vms_qemu_query_migrate(rig->src, &info));
    cr_expect_str_eq(json_string_value(json_object_get(info, "status")), "active");
    json_decref(info);
    must(rig->src, vms_qemu_execute(rig->src, "migrate_cancel", NULL, NULL));
    must(rig->src, vms_qemu_wait_migration(rig->src, cancelled, WAIT_MS, NULL));
    vfio_rig_expect_status(rig->src, "running");
}

static void expect_both(struct vfio_rig *rig) {
    expect_failed(rig);
    must(rig->dst, vms_qemu_wait_event(rig->dst, "RESUME", 0, NULL));
    vfio_rig_expect_status(rig->dst, "running");
}

/* Every byte that the source's devices have saved was loaded, and was the right one. */
static void check_devices(struct vfio_rig *rig) {
    for (unsigned i = 0; i < VFIO_DEVICES_MAX && rig->what->src[i]; i++) {
        uint64_t saved = vfio_rig_number(rig, "src", i, "saved", "bytes");
        uint64_t loaded = vfio_rig_number(rig, "dst", i, "loaded", "bytes");
        cr_expect_eq(saved, loaded, "device %u: saved %llu, loaded %llu", i,
                     (unsigned long long)saved, (unsigned long long)loaded);
        cr_expect_eq(vfio_rig_count(rig, "dst", i, "\"good\":true"), 1u);
        cr_expect_eq(vfio_rig_count(rig, "src", i, "\"complete\":true"), 1u);
    }
}

static unsigned count_records(struct vfio_rig *rig, bool back, const char *record) {
    char file[VMS_TAP_MAX_CONNECTIONS][128], out[128], needle[64];
    const char *argv[VMS_TAP_MAX_CONNECTIONS + 5] = {vfio_rig_build("vmstream"), "inspect",
                                                     "--json"};
    size_t n = 3;
    if (back)
        argv[n++] = "--return-path";
    for (unsigned i = 0; i < (back ? 1 : vms_tap_count(rig->tap)); i++) {
        vfio_rig_path(rig, file[i], sizeof file[i], "wire.%u.%s", i, back ? "rev" : "fwd");
        argv[n++] = file[i];
    }
    vfio_rig_path(rig, out, sizeof out, "inspect");
    (void)live_wait(live_spawn(argv, out, NULL), WAIT_MS); /* a stream may be cut: no matter */
    char *text = live_read(out);
    (void)snprintf(needle, sizeof needle, "{\"record\":\"%s\"", record);
    unsigned count = live_count(text, needle);
    free(text);
    return count;
}

static void check_wire(struct vfio_rig *rig) {
    unsigned sent = count_records(rig, false, "VFIO_INIT_DATA_SENT");
    unsigned acks = count_records(rig, true, "RP_SWITCHOVER_ACK");
    cr_expect_eq(sent, rig->what->init_data_sent, "%u INIT_DATA_SENT", sent);
    cr_expect_eq(acks, rig->what->acks, "%u SWITCHOVER_ACK", acks);
}

void vfio_case_keep(const struct vfio_case *what, char *dir, size_t size) {
    static void (*const expect[])(struct vfio_rig *) = {
        [VFIO_COMPLETED] = expect_completed, [VFIO_REFUSED] = expect_refused,
        [VFIO_LOST] = expect_lost,           [VFIO_STUCK] = expect_stuck,
        [VFIO_BOTH_RUN] = expect_both,
    };
    struct vfio_rig rig = {.what = what, .dir = "/tmp/vms-vfio-XXXXXX"};
    struct vms_peer peer;
    if (!vms_peer_find("11.1", &peer))
        cr_skip_test("peer absent: QEMU 11.1, make peers fetches it");
    cr_assert_not_null(mkdtemp(rig.dir));
    set_up(&rig);
    if (what->reinits && rig.src) {
        wait_for(&rig, reinits_are_over, "REINIT");
        must(rig.src, vms_qemu_set_parameters(rig.src, json_pack("{s:i}", "downtime-limit", 2000)));
    }
    if (what->reference)
        vfio_rig_expect_reference(&rig);
    else
        expect[what->outcome](&rig);
    vms_tap_cut(rig.tap); /* the files are complete */
    if (what->outcome == VFIO_COMPLETED)
        check_devices(&rig);
    check_wire(&rig);
    tear_down(&rig);
    (void)snprintf(dir, size, "%s", rig.dir);
}

void vfio_case_run(const struct vfio_case *what) {
    char dir[64];
    vfio_case_keep(what, dir, sizeof dir);
    vfio_case_forget(dir);
}
