/* SPDX-License-Identifier: MIT */
#include "conformance/runner/case.h"
#include "conformance/runner/frames.h"
#include "conformance/runner/rig.h"

#include <string.h>

/* Faults of the link: steps of a small machine, taken when what they wait for is there. */
struct fault {
    int step;
    uint64_t from;
};

static struct fault now; /* one cell a process */

static void cut(struct cert_rig *r) {
    vms_tap_cut(r->tap);
    now.step++;
}

static uint64_t carried(struct cert_rig *r, const json_t *f) {
    return vms_tap_connection(r->tap, (unsigned)cert_int(f, "connection", 0)).forward;
}

/* Of all connections: where pages are asked for, they come past the first one. */
static uint64_t carried_by_all(struct cert_rig *r) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < vms_tap_count(r->tap); i++)
        sum += vms_tap_connection(r->tap, i).forward;
    return sum;
}

static void cut_step(struct cert_rig *r, const json_t *f) {
    if (now.step == 0 && carried(r, f) >= (uint64_t)cert_int(f, "after", 0) && carried(r, f) > 0)
        cut(r);
}

static void order(struct cert_end *end, const char *word, const char *rest) {
    char path[CERT_PATH], line[CERT_PATH];
    cert_path(path, "%s/order", end->folder);
    (void)cert_write(path, cert_path(line, "%s %s\n", word, rest));
}

/* [REC-5] Both ends are in postcopy; the link goes; both pause; the destination listens again. */
static void cut_postcopy_step(struct cert_rig *r, const json_t *f) {
    struct cert_end *s = &r->ends[CERT_SOURCE], *d = &r->ends[CERT_DESTINATION];
    switch (now.step) {
    case 0:
        if (cert_end_has(s, "postcopy") && cert_end_has(d, "postcopy")) {
            now.from = carried_by_all(r);
            now.step++;
        }
        break;
    case 1:
        if (carried_by_all(r) >= now.from + (uint64_t)cert_int(f, "after", 1 << 18))
            cut(r);
        break;
    case 2:
        if (cert_end_has(s, "paused") && cert_end_has(d, "paused")) {
            order(d, "recover", r->uri_listen);
            now.step++;
        }
        break;
    case 3:
        if (cert_end_has(d, "recovering")) {
            order(s, "recover", r->uri_connect);
            now.step++;
        }
        break;
    default: break;
    }
}

/* [RLY-9] The link between two relays is cut again and again; no QEMU sees a thing. */
static void cut_link_step(struct cert_rig *r, const json_t *f) {
    int times = (int)cert_int(f, "times", 1);
    unsigned n = r->link ? vms_tap_count(r->link) : 0;
    uint64_t after = (uint64_t)cert_int(f, "after", 1 << 20), carried_now = 0;
    for (unsigned i = (unsigned)now.from; i < n; i++)
        carried_now += vms_tap_connection(r->link, i).forward;
    if (now.step < times && carried_now > after) {
        now.from = n;
        vms_tap_cut(r->link);
        now.step++;
    }
}

/* Nothing comes back to the source from the beginning on; when the guest runs there, the link goes.
 */
static void swallow_step(struct cert_rig *r, const json_t *f) {
    (void)f;
    if (now.step == 0) {
        vms_tap_hold(r->tap, false, true);
        now.step++;
    }
    if (now.step == 1 && cert_end_has(&r->ends[CERT_DESTINATION], "handed")) {
        cut(r);
        order(&r->ends[CERT_SOURCE], "resolve", "theirs"); /* as an operator who has looked */
    }
}

/*
 * [HND-9] From COMMIT on nothing comes back; when the guest was announced there, the link goes. On
 * the native wire both ends connect again and settle it.
 */
static void swallow_running_step(struct cert_rig *r, const json_t *f) {
    static struct cert_frames frames;
    char path[CERT_PATH];
    (void)f;
    if (now.step == 0) {
        cert_frames_open(&frames, cert_path(path, "%s/wire.0.fwd", r->folder), true);
        now.step++;
    }
    if (now.step == 1) {
        cert_frames_step(&frames);
        if (cert_frames_count(&frames, "COMMIT")) {
            vms_tap_hold(r->tap, false, true);
            now.step++;
        }
    }
    if (now.step == 2 && cert_exists(cert_path(path, "%s/shared/announce.log", r->folder))) {
        cut(r);
        vms_tap_hold(r->tap, false, false);
    }
}

static const struct {
    const char *kind;
    void (*step)(struct cert_rig *r, const json_t *f);
} FAULTS[] = {
    {"cut", cut_step},
    {"cut-postcopy", cut_postcopy_step},
    {"cut-link", cut_link_step},
    {"swallow-shut", swallow_step},
    {"swallow-running", swallow_running_step},
};

void cert_fault_step(struct cert_rig *r) {
    const json_t *f = json_object_get(cert_case_body(r->test), "fault");
    for (size_t i = 0; f && r->tap && i < sizeof FAULTS / sizeof *FAULTS; i++)
        if (strcmp(cert_str(f, "kind"), FAULTS[i].kind) == 0)
            FAULTS[i].step(r, f);
}
