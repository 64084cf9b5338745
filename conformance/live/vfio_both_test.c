/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"
#include "conformance/live/vfio_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * reference-src to reference-dst as processes, with a guest that runs and checks its memory, and
 * simulated VFIO devices that check theirs: on both wires. One end runs afterwards, with all its
 * devices. [VDEV-1] [VDEV-2] [VDEV-7] [VDEV-8] [VDEV-10] [VDEV-11] [SES-26]
 */
enum {
    DEVICES = 2,
    WAIT = 120000,
    WORDS = 32,
};

#define SMALL "initial 1M\nstop 1M\n"

struct both {
    const char *wire, *src, *dst; /* text of every device, "" for the usual */
    bool refused;
    unsigned generations; /* REINITs of each device */
    bool multifd;         /* QEVM: what a stopped device has comes in packets on all channels */
};

static void write_vm(const struct vfio_rig *rig, char *path, size_t size) {
    vfio_rig_path(rig, path, size, "vm.json");
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    fputs("{\"blocks\":[{\"name\":\"ram\",\"size\":\"32M\",\"fill\":\"mix\"}],"
          "\"vcpus\":[{\"rate\":2000}],\"running_lock\":\"run.lock\"}\n",
          file);
    (void)fclose(file);
}

static size_t add_devices(const struct vfio_rig *rig, const char *side, const char *text,
                          char specs[DEVICES][160], const char **argv, size_t n) {
    for (unsigned i = 0; i < DEVICES; i++) {
        (void)close(vfio_rig_description(rig, side, i, text));
        (void)snprintf(specs[i], 160, "sim:%s/%s%u.sim", rig->dir, side, i);
        argv[n++] = "--vfio";
        argv[n++] = specs[i];
    }
    return n;
}

static pid_t run(const struct vfio_rig *rig, bool source, const struct both *b, const char *vm) {
    char uri[160], report[128], log[128], specs[DEVICES][160];
    const char *argv[WORDS] = {
        NULL, source ? "--connect" : "--listen", uri, "--vm", vm, "--switchover-ack"};
    size_t n = 6;
    (void)snprintf(uri, sizeof uri, "unix:%s/socket", rig->dir);
    if (!source)
        argv[n++] = "on";
    n = add_devices(rig, source ? "src" : "dst", source ? b->src : b->dst, specs, argv, n);
    if (source) {
        argv[n++] = "--wire";
        argv[n++] = b->wire;
        argv[n++] = "--switchover-bandwidth";
        argv[n++] = "1G";
        argv[n++] = "--report";
        argv[n++] = report;
        vfio_rig_path(rig, report, sizeof report, "src.json");
    } else {
        argv[n++] = "--quiet";
        argv[n++] = "--recover-timeout"; /* a source that has failed may not have said so */
        argv[n++] = b->refused ? "3" : "60";
    }
    for (size_t i = 0; b->multifd && i < (source ? 3 : 1); i++)
        argv[n++] = ((const char *const[]){"--vfio-multifd", "--multifd", "2"})[i];
    argv[0] = vfio_rig_build(source ? "reference-src" : "reference-dst");
    vfio_rig_path(rig, log, sizeof log, source ? "src.out" : "dst.out");
    return live_spawn(argv, log, NULL);
}

static void wait_for_socket(const struct vfio_rig *rig) {
    struct timespec t = {.tv_nsec = 5000000};
    char path[128];
    vfio_rig_path(rig, path, sizeof path, "socket");
    for (int i = 0; i < WAIT / 5 && access(path, F_OK) != 0; i++)
        (void)nanosleep(&t, NULL);
    cr_assert_eq(access(path, F_OK), 0);
}

static json_int_t count_events(json_t *timeline, const char *event, size_t lane) {
    json_t *events = json_object_get(timeline, "events"), *e;
    json_int_t n = 0;
    size_t i;
    json_array_foreach(events, i, e) {
        json_t *at = json_object_get(e, "lane");
        n += at && (size_t)json_integer_value(at) == lane &&
             strcmp(json_string_value(json_object_get(e, "event")), event) == 0;
    }
    return n;
}

static bool was_in(json_t *lane, const char *state) {
    json_t *states = json_object_get(lane, "states"), *s;
    bool found = false;
    size_t i;
    json_array_foreach(states, i, s) found |=
        strcmp(json_string_value(json_object_get(s, "state")), state) == 0;
    return found;
}

/* [REP-11] Of each device: what was sent, and its lane. */
static void check_report(const struct vfio_rig *rig, const struct both *b) {
    char path[128];
    vfio_rig_path(rig, path, sizeof path, "src.json");
    json_t *r = json_load_file(path, 0, NULL), *timeline = json_object_get(r, "timeline");
    json_t *devices = json_object_get(r, "devices"), *lane;
    bool precopy = !strstr(b->src, "precopy off"), native = strcmp(b->wire, "native") == 0;
    /* what begins again while it falls silent is sent with the rest, and not asked for anew */
    bool late = strstr(b->src, "reinit p2p") != NULL;
    json_int_t last = precopy ? 1 + (late ? 0 : (json_int_t)b->generations) : 0;
    size_t i, lanes = 0;
    cr_expect_eq(json_array_size(devices), DEVICES);
    for (unsigned n = 0; n < DEVICES; n++) {
        json_t *d = json_array_get(devices, n);
        json_int_t sent = json_integer_value(json_object_get(d, "precopy_bytes")) +
                          json_integer_value(json_object_get(d, "stop_bytes"));
        cr_expect_eq(sent, (json_int_t)vfio_rig_number(rig, "src", n, "saved", "bytes"));
        cr_expect_eq(json_integer_value(json_object_get(d, "generation")), last);
        cr_expect_eq(json_integer_value(json_object_get(d, "sent")), last);
        cr_expect_eq(json_integer_value(json_object_get(d, "granted")), native ? last : 0);
    }
    json_array_foreach(json_object_get(timeline, "lanes"), i, lane) {
        if (strcmp(json_string_value(json_object_get(lane, "kind")), "device") != 0)
            continue;
        lanes++;
        cr_expect(was_in(lane, "stop-copy"));
        cr_expect_eq(was_in(lane, "pre-copy"), precopy);
        cr_expect_eq(count_events(timeline, "reinit", i), precopy ? last - 1 : 0);
        cr_expect_eq(count_events(timeline, "initial data", i), last);
        cr_expect_eq(count_events(timeline, "ack", i) > 0, native && precopy);
    }
    cr_expect_eq(lanes, DEVICES);
    json_decref(r);
}

static void check_good(const struct vfio_rig *rig, const struct both *b) {
    check_report(rig, b);
    for (unsigned i = 0; i < DEVICES; i++) {
        uint64_t saved = vfio_rig_number(rig, "src", i, "saved", "bytes");
        cr_expect_eq(saved, vfio_rig_number(rig, "dst", i, "loaded", "bytes"));
        cr_expect_eq(vfio_rig_count(rig, "dst", i, "\"good\":true"), 1u);
        cr_expect_eq(vfio_rig_count(rig, "src", i, "\"event\":\"reinit\""), b->generations);
    }
}

static void check(const struct both *b) {
    struct vfio_rig rig = {.dir = "/tmp/vms-vfio-XXXXXX"};
    char vm[128];
    cr_assert_not_null(mkdtemp(rig.dir));
    write_vm(&rig, vm, sizeof vm);
    pid_t dst = run(&rig, false, b, vm);
    wait_for_socket(&rig);
    int src_status = live_wait(run(&rig, true, b, vm), WAIT), dst_status = live_wait(dst, WAIT);
    if (b->refused) {
        cr_expect(src_status > 0 && dst_status > 0, "%s: %d, %d", b->src, src_status, dst_status);
        rig.what = &(struct vfio_case){.src = {"", ""}};
        vfio_rig_expect_devices_back(&rig);
    } else {
        cr_expect(src_status == 0 && dst_status == 0, "%s: %d, %d", b->src, src_status, dst_status);
        check_good(&rig, b);
    }
    vfio_case_forget(rig.dir);
}

/* The same on both wires. */
#define BOTH(name, src_, dst_, refused_, generations_)                                             \
    Test(vfio_both, name, .timeout = 300) {                                                        \
        check(&(struct both){"native", SMALL src_, dst_, refused_, generations_, false});          \
        check(&(struct both){"qevm", SMALL src_, dst_, refused_, generations_, false});            \
    }
#define FAULT(name, src_, dst_) BOTH(name, src_, dst_, true, 0)

BOTH(precopy, "", "", false, 0)
BOTH(without_precopy, "precopy off", "precopy off", false, 0)
BOTH(reinit, "reinit drain 1M times 2", "", false, 2)
BOTH(reinit_of_nothing, "reinit drain 0", "", false, 1)
BOTH(reinit_entering_p2p, "reinit p2p 1M", "", false, 1)
FAULT(fault_entering_precopy, "fault set pre-copy eio", "")
FAULT(fault_reading, "fault read any error after 500K", "")
FAULT(fault_entering_p2p, "fault set pre-copy-p2p error", "")
FAULT(fault_entering_stop_copy, "fault set stop-copy enospc", "")
FAULT(fault_at_the_end, "fault read stop-copy eio after 1500K", "")
FAULT(fault_short_stream, "fault read any short", "")
FAULT(fault_changed_bit, "fault read any flip after 1500K", "")
FAULT(fault_resuming, "", "fault set resuming eio")
FAULT(fault_loading, "", "fault write any enospc after 500K")
FAULT(fault_verdict, "", "fault set stop error")

/* [VFIO-6] [VFIO-7] */
Test(vfio_both, multifd, .timeout = 300) {
    check(&(struct both){"qevm", "initial 1M\nstop 9M\nreinit drain 1M", "", false, 1, true});
}
Test(vfio_both, multifd_fault, .timeout = 300) {
    check(&(struct both){"qevm", SMALL "fault read stop-copy eio after 1500K", "", true, 0, true});
}

/* [VDEV-8] Natively the migration goes on and acknowledges anew. */
Test(vfio_both, reinit_at_the_last_look, .timeout = 300) {
    check(&(struct both){"native", SMALL "reinit last 1M", "", false, 1, false});
}
