// SPDX-License-Identifier: MIT
// The course of a recording.
#include "record.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const completed[] = {"completed", NULL};
static const char *const active[] = {"active", NULL};
static const char *const postcopy_active[] = {"postcopy-active", NULL};
static const char *const postcopy_paused[] = {"postcopy-paused", NULL};

int record_fail(struct record_run *run, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(run->error, sizeof run->error, format, arguments);
    va_end(arguments);
    return -1;
}

int record_fail_qemu(struct record_run *run, const struct vms_qemu *qemu) {
    return record_fail(run, "%s", vms_qemu_error(qemu));
}

static int begin(struct record_run *run) {
    const struct vms_peer *peer;

    run->source = record_start(run, false);
    if (run->source == NULL) {
        return -1;
    }
    peer = vms_qemu_peer(run->source);
    run->meta = json_pack("{s:s, s:s, s:s, s:s, s:s}", "version", peer->version, "package",
                          peer->package, "machine", run->request->machine, "scenario",
                          run->scenario->name, "memory", run->request->memory);
    if (run->meta == NULL) {
        return record_fail(run, "out of memory");
    }
    // The third heartbeat: memory is filled and being written.
    if (run->has_cpu && vms_qemu_wait_serial(run->source, "hb 00000003", 0, 0) < 0) {
        return record_fail_qemu(run, run->source);
    }
    return record_set_up_migration(run, run->source);
}

static int start_destination(struct record_run *run, const char *uri) {
    run->destination = record_start(run, true);
    if (run->destination == NULL) {
        return -1;
    }
    json_object_set_new(run->meta, "destination_package",
                        json_string(vms_qemu_peer(run->destination)->package));
    // A snapshot's capability is the source's alone: the file loads like any other.
    if (run->scenario->kind != RECORD_SNAPSHOT &&
        record_set_up_migration(run, run->destination) != 0) {
        return -1;
    }
    if (vms_qemu_migrate_incoming(run->destination, uri) != 0) {
        return record_fail_qemu(run, run->destination);
    }
    return 0;
}

static int wait_for(struct record_run *run, struct vms_qemu *qemu, const char *const *states) {
    return vms_qemu_wait_migration(qemu, states, 0, NULL) == 0 ? 0 : record_fail_qemu(run, qemu);
}

// ---- dirty bitmaps

static int make_bitmap(struct record_run *run, const char *name, bool disabled) {
    json_t *arguments = json_pack("{s:s, s:s, s:i, s:b}", "node", "bits", "name", name,
                                  "granularity", 65536, "disabled", disabled);

    return vms_qemu_execute(run->source, "block-dirty-bitmap-add", arguments, NULL);
}

static int make_bitmaps(struct record_run *run) {
    char *text;

    if (make_bitmap(run, "b0", false) != 0 ||
        vms_qemu_hmp(run->source, "qemu-io bits \"write 1M 192k\"", &text) != 0) {
        return record_fail_qemu(run, run->source);
    }
    free(text);
    if (make_bitmap(run, "b1", true) != 0) {
        return record_fail_qemu(run, run->source);
    }
    return 0;
}

// The destination has both bitmaps now.
static int check_bitmaps(struct record_run *run) {
    json_t *nodes;
    size_t count = 0;
    size_t i;
    json_t *node;

    if (vms_qemu_execute(run->destination, "query-named-block-nodes", NULL, &nodes) != 0) {
        return record_fail_qemu(run, run->destination);
    }
    json_array_foreach(nodes, i, node) {
        count += json_array_size(json_object_get(node, "dirty-bitmaps"));
    }
    json_decref(nodes);
    return count == 2 ? 0 : record_fail(run, "the destination has %zu dirty bitmaps, not 2", count);
}

// ---- sockets

static struct vms_tap *start_tap(struct record_run *run, const char *name, char *listen_path,
                                 char *connect_path, size_t size) {
    char prefix[PATH_MAX + 64];
    struct vms_tap_options options = {
        .listen_path = listen_path, .connect_path = connect_path, .record_prefix = prefix};

    snprintf(listen_path, size, "%s/%s.tap", run->work, name);
    snprintf(connect_path, size, "%s/%s.sock", run->work, name);
    snprintf(prefix, sizeof prefix, "%s/%s", run->request->out, name);
    return vms_tap_start(&options, run->error, sizeof run->error);
}

static int connect_through_tap(struct record_run *run) {
    char near[100];
    char far[100];
    char uri[128];

    run->tap = start_tap(run, "stream", near, far, sizeof near);
    if (run->tap == NULL) {
        return -1;
    }
    snprintf(uri, sizeof uri, "unix:%s", far);
    if (start_destination(run, uri) != 0) {
        return -1;
    }
    snprintf(uri, sizeof uri, "unix:%s", near);
    return vms_qemu_migrate(run->source, uri) == 0 ? 0 : record_fail_qemu(run, run->source);
}

// Bytes on all connections of the tap so far.
static uint64_t forwarded(struct vms_tap *tap) {
    uint64_t sum = 0;

    for (unsigned i = 0; i < vms_tap_count(tap); i++) {
        sum += vms_tap_connection(tap, i).forward;
    }
    return sum;
}

// Switches to postcopy in the second round; where nothing gets dirty, in the middle of the first.
static int switch_to_postcopy(struct record_run *run) {
    bool multifd = strncmp(run->scenario->name, "multifd", 7) == 0;
    uint64_t region = (uint64_t)run->guest.pages * VMS_GUEST_PAGE;
    uint64_t amount = run->has_cpu ? region * 3 / 2 : region / 2;

    if (wait_for(run, run->source, active) != 0) {
        return -1;
    }
    // Data of two multifd channels; either one having its half tells enough.
    if (vms_tap_wait_forward(run->tap, multifd ? 1 : 0, multifd ? amount / 2 : amount, 10000) !=
        0) {
        return record_fail(run, "the source has not sent %llu bytes in time, but %llu",
                           (unsigned long long)amount, (unsigned long long)forwarded(run->tap));
    }
    if (vms_qemu_execute(run->source, "migrate-start-postcopy", NULL, NULL) != 0) {
        return record_fail_qemu(run, run->source);
    }
    return wait_for(run, run->source, postcopy_active);
}

// A destination says postcopy-active before it has taken the guest over; a cut that comes before
// fails the migration for good (REC-7).
static int wait_until_taken(struct record_run *run) {
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    char status[32];

    for (int tries = 0; tries < 3000; tries++) {
        if (vms_qemu_status(run->destination, status, sizeof status) != 0) {
            return record_fail_qemu(run, run->destination);
        }
        if (strcmp(status, "inmigrate") != 0) {
            return 0;
        }
        nanosleep(&pause, NULL);
    }
    return record_fail(run, "the destination does not take the guest over");
}

static int cut_and_recover(struct record_run *run) {
    uint64_t now = vms_tap_connection(run->tap, 0).forward;
    char near[100];
    char far[100];
    char uri[128];

    if (wait_until_taken(run) != 0) {
        return -1;
    }
    if (vms_tap_wait_forward(run->tap, 0, now + (256 << 10), 30000) != 0) {
        return record_fail(run, "postcopy does not send pages");
    }
    vms_tap_cut(run->tap);
    if (wait_for(run, run->source, postcopy_paused) != 0 ||
        wait_for(run, run->destination, postcopy_paused) != 0) {
        return -1;
    }
    run->recovery_tap = start_tap(run, "recovery", near, far, sizeof near);
    if (run->recovery_tap == NULL) {
        return -1;
    }
    snprintf(uri, sizeof uri, "unix:%s", far);
    if (vms_qemu_execute(run->destination, "migrate-recover", json_pack("{s:s}", "uri", uri),
                         NULL) != 0) {
        return record_fail_qemu(run, run->destination);
    }
    snprintf(uri, sizeof uri, "unix:%s", near);
    if (vms_qemu_migrate_resume(run->source, uri) != 0) {
        return record_fail_qemu(run, run->source);
    }
    return 0;
}

static int check_tap(struct record_run *run, struct vms_tap *tap) {
    if (vms_tap_wait_idle(tap, 10000) != 0) {
        return record_fail(run, "connections stay open after the migration");
    }
    return vms_tap_error(tap)[0] == '\0' ? 0 : record_fail(run, "%s", vms_tap_error(tap));
}

static int record_sockets(struct record_run *run) {
    unsigned flags = run->scenario->flags;

    if (((flags & RECORD_BITMAPS) != 0 && make_bitmaps(run) != 0) ||
        connect_through_tap(run) != 0 ||
        ((flags & RECORD_POSTCOPY) != 0 && switch_to_postcopy(run) != 0) ||
        ((flags & RECORD_RECOVERY) != 0 && cut_and_recover(run) != 0)) {
        return -1;
    }
    if (wait_for(run, run->source, completed) != 0 ||
        wait_for(run, run->destination, completed) != 0 || record_dump_source(run) != 0) {
        return -1;
    }
    if (check_tap(run, run->tap) != 0 ||
        (run->recovery_tap != NULL && check_tap(run, run->recovery_tap) != 0)) {
        return -1;
    }
    return (flags & RECORD_BITMAPS) != 0 ? check_bitmaps(run) : 0;
}

// ---- files

static int begin_snapshot(struct record_run *run) {
    if (vms_qemu_stop(run->source) != 0) {
        return record_fail_qemu(run, run->source);
    }
    return record_dump_source(run);
}

// The stopped VM stays stopped until its state is saved; then the guest may write.
static int run_during_snapshot(struct record_run *run) {
    static const char *const begun[] = {"active", "completed", NULL};

    if (wait_for(run, run->source, begun) != 0) {
        return -1;
    }
    return vms_qemu_cont(run->source) == 0 ? 0 : record_fail_qemu(run, run->source);
}

static int migrate_to_file(struct record_run *run, const char *uri) {
    bool snapshot = run->scenario->kind == RECORD_SNAPSHOT;

    if (snapshot && begin_snapshot(run) != 0) {
        return -1;
    }
    if (vms_qemu_migrate(run->source, uri) != 0) {
        return record_fail_qemu(run, run->source);
    }
    if ((snapshot && run_during_snapshot(run) != 0) || wait_for(run, run->source, completed) != 0) {
        return -1;
    }
    return snapshot ? 0 : record_dump_source(run);
}

static int record_file(struct record_run *run) {
    char file[PATH_MAX + 8];
    char uri[PATH_MAX + 64];

    snprintf(file, sizeof file, "%s.bin", run->stream);
    if (strchr(file, '\'') != NULL) {
        return record_fail(run, "%s: no quotes in the name, please", file);
    }
    unlink(file);
    snprintf(uri, sizeof uri, run->scenario->kind == RECORD_FILE ? "file:%s" : "exec:cat > '%s'",
             file);
    if (migrate_to_file(run, uri) != 0) {
        return -1;
    }
    snprintf(uri, sizeof uri, run->scenario->kind == RECORD_FILE ? "file:%s" : "exec:cat < '%s'",
             file);
    if (start_destination(run, uri) != 0) {
        return -1;
    }
    return wait_for(run, run->destination, completed);
}

// ---- the whole

static int check_destination(struct record_run *run) {
    if ((run->scenario->flags & RECORD_POSTCOPY) == 0) {
        if (record_compare_destination(run) != 0) {
            return -1;
        }
        if (vms_qemu_cont(run->destination) != 0) {
            return record_fail_qemu(run, run->destination);
        }
    }
    return record_check_destination_guest(run);
}

int record_scenario(struct record_run *run, const struct record_request *request) {
    memset(run, 0, sizeof *run);
    run->request = request;
    run->scenario = request->scenario;
    run->has_cpu = strcmp(request->machine, "none") != 0;
    if (record_prepare(run) != 0 || begin(run) != 0) {
        return -1;
    }
    if ((run->scenario->kind == RECORD_SOCKET ? record_sockets(run) : record_file(run)) != 0 ||
        check_destination(run) != 0) {
        return -1;
    }
    return record_write_meta(run);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void record_clean_up(struct record_run *run) {
    vms_qemu_free(run->source);
    vms_qemu_free(run->destination);
    vms_tap_stop(run->tap);
    vms_tap_stop(run->recovery_tap);
    vms_ram_dump_free(&run->dump);
    json_decref(run->meta);
    if (run->work[0] != '\0') {
        nftw(run->work, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}
