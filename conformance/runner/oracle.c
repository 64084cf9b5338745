/* SPDX-License-Identifier: MIT */
#include "conformance/guest/check_guest.h"
#include "conformance/live/file.h"
#include "conformance/runner/case.h"
#include "conformance/runner/rig.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * What is left when all is over: memory at both ends, the guest's own account, its heartbeats. None
 * of it asks an end whether all was well.
 */
enum {
    PAGE = 4096,
};

static bool completed(const struct cert_rig *r) {
    return strcmp(cert_expected_outcome(r), "completed") == 0;
}

/* ---- memory ---- */

static bool is_zero(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* Where they differ; the length of the longer one: nowhere. What one has more must be zero. */
static size_t difference(struct live_map a, struct live_map b) {
    size_t n = a.len < b.len ? a.len : b.len;
    for (size_t at = 0; at < n; at += PAGE) {
        size_t k = n - at < PAGE ? n - at : PAGE;
        if (memcmp(a.at + at, b.at + at, k) != 0)
            return at;
    }
    struct live_map longer = a.len < b.len ? b : a;
    return is_zero(longer.at + n, longer.len - n) ? longer.len : n;
}

static bool same_block(struct cert_rig *r, const char *name) {
    char a[CERT_PATH], b[CERT_PATH];
    struct live_map s = live_map(cert_path(a, "%s/ram/%s", r->ends[CERT_SOURCE].folder, name));
    struct live_map d = live_map(cert_path(b, "%s/ram/%s", r->ends[CERT_DESTINATION].folder, name));
    bool same = s.at && d.at;
    if (same) {
        size_t at = difference(s, d);
        same = at == (s.len > d.len ? s.len : d.len);
        if (!same)
            cert_break(r, "memory: %s differs at 0x%zx", name, at);
    } else {
        cert_break(r, "memory: %s did not arrive", name);
    }
    live_unmap(s);
    live_unmap(d);
    return same;
}

static void judge_ram(struct cert_rig *r) {
    char path[CERT_PATH];
    unsigned blocks = 0;
    bool same = true;
    DIR *d = opendir(cert_path(path, "%s/ram", r->ends[CERT_SOURCE].folder));
    bool both = d && cert_end_has(&r->ends[CERT_DESTINATION], "ram");
    if (!completed(r) || !both) {
        cert_result_oracle(r->result, "ram", "silent: %s",
                           completed(r) ? "an end does not show its memory" : "not completed");
    } else {
        for (struct dirent *e; (e = readdir(d));)
            if (e->d_name[0] != '.') {
                same = same_block(r, e->d_name) && same;
                blocks++;
            }
        cert_result_oracle(r->result, "ram", "%s: %u blocks", same ? "agrees" : "breaks", blocks);
    }
    if (d)
        (void)closedir(d);
}

/* ---- the guest's own account ---- */

/* A guest that runs at the end under test and checks itself there: its word, for want of better. */
static void judge_own_check(struct cert_rig *r) {
    const json_t *check = json_object_get(r->ends[CERT_DESTINATION].said, "check");
    if (!json_is_object(check)) {
        cert_result_oracle(r->result, "guest", "silent: no memory of the guest at its end");
        return;
    }
    bool good = cert_true(check, "good") && cert_int(check, "twice", 0) == 0;
    char *text = json_dumps(check, JSON_COMPACT);
    if (!good)
        cert_break(r, "guest: its own check says %s", text);
    cert_result_oracle(r->result, "guest", "%s: %lld pages that check themselves",
                       good ? "agrees" : "breaks", (long long)cert_int(check, "pages", 0));
    free(text);
}

static void judge_guest(struct cert_rig *r) {
    static struct vms_guest_report report;
    char path[CERT_PATH];
    /* a source that shows it at its end has kept the guest */
    int i = cert_end_has(&r->ends[CERT_SOURCE], "guest.ram") ? CERT_SOURCE : CERT_DESTINATION;
    struct live_map m = live_map(cert_path(path, "%s/guest.ram", r->ends[i].folder));
    if (!m.at) {
        judge_own_check(r);
        return;
    }
    bool good = vms_check_guest(m.at, m.len, &report) == 0;
    if (!good)
        cert_break(r, "guest: %s", report.text);
    cert_result_oracle(r->result, "guest", "%s: %s", good ? "agrees" : "breaks", report.text);
    live_unmap(m);
}

/* ---- heartbeats ---- */

struct beats {
    unsigned long first, last;
    unsigned count;
    bool bad, gap;
};

/* Whole lines only: the one at the hand-over is torn. */
static struct beats read_beats(const struct cert_end *end) {
    char path[CERT_PATH];
    struct beats b = {0};
    char *text = cert_read(cert_path(path, "%s/serial", end->folder), 1 << 20, NULL);
    for (const char *at = text; at && (at = strstr(at, "hb ")) != NULL; at += 3) {
        if (strspn(at + 3, "0123456789abcdef") < 8 ||
            (at[11] != ' ' && at[11] != '\r' && at[11] != '\n'))
            continue;
        unsigned long n = strtoul(at + 3, NULL, 16);
        b.gap |= b.count && n != b.last + 1;
        b.first = b.count++ ? b.first : n;
        b.last = n;
    }
    b.bad = text && strstr(text, "BAD");
    free(text);
    return b;
}

/* [HND-1] [DST-11] The same beat at both ends: both have run on. */
static bool both_beat(struct cert_rig *r, struct beats s, struct beats d) {
    if (!s.count || !d.count || s.last < d.first)
        return false;
    cert_break(r, "two guests ran: heartbeats %lx to %lx at both ends", d.first,
               s.last < d.last ? s.last : d.last);
    return true;
}

static void judge_beats(struct cert_rig *r) {
    struct beats s = read_beats(&r->ends[CERT_SOURCE]);
    struct beats d = read_beats(&r->ends[CERT_DESTINATION]);
    bool two = both_beat(r, s, d);
    if (s.bad || d.bad)
        cert_break(r, "the guest itself has seen a bad page");
    if (!s.count || !d.count || !completed(r)) {
        cert_result_oracle(r->result, "heartbeat",
                           "%s: %u beats at the source, %u at the destination",
                           two ? "breaks" : "silent", s.count, d.count);
        return;
    }
    bool follows = !two && d.first <= s.last + 2 && !s.gap && !d.gap;
    if (!follows && !two)
        cert_break(r, "heartbeats %lx to %lx, then %lx to %lx", s.first, s.last, d.first, d.last);
    cert_result_oracle(r->result, "heartbeat", "%s: %lx to %lx, then %lx to %lx",
                       follows ? "agrees" : "breaks", s.first, s.last, d.first, d.last);
}

/* ---- two that run, as the ends tell it, and as a shared lock does ---- */

static bool log_says(const struct cert_end *end, const char *text) {
    char path[CERT_PATH];
    char *log = cert_tail(cert_path(path, "%s/log", end->folder), 1 << 16);
    bool found = log && strstr(log, text);
    free(log);
    return found;
}

static void judge_two(struct cert_rig *r) {
    const struct cert_end *s = &r->ends[CERT_SOURCE], *d = &r->ends[CERT_DESTINATION];
    if (cert_true(s->said, "running") && cert_true(d->said, "running"))
        cert_break(r, "two guests ran: the ends say so themselves");
    if (log_says(s, "VM_RUNS_TWICE") || log_says(d, "VM_RUNS_TWICE"))
        cert_break(r, "two guests ran: the second one found the lock taken");
    if (strcmp(cert_expected_outcome(r), "refused") == 0 && s->said &&
        json_is_false(json_object_get(s->said, "running")) && !cert_true(d->said, "running"))
        cert_break(r, "the guest runs nowhere");
}

/* ---- devices ---- */

static json_t *devices_of(const struct cert_end *end) {
    char path[CERT_PATH];
    json_t *all = json_load_file(cert_path(path, "%s/devices.json", end->folder), 0, NULL);
    return all;
}

static bool same_device(struct cert_rig *r, const json_t *s, const json_t *d) {
    json_int_t saved = cert_int(s, "saved", -1), loaded = cert_int(d, "loaded", -1);
    bool good = saved == loaded && (loaded < 0 || cert_true(d, "good"));
    if (!good)
        cert_break(r, "device %s: %lld octets saved, %lld loaded%s", cert_str(s, "id"),
                   (long long)saved, (long long)loaded,
                   cert_true(d, "good") ? "" : ", and its state is not good");
    return good;
}

static void judge_devices(struct cert_rig *r) {
    json_t *s = devices_of(&r->ends[CERT_SOURCE]), *d = devices_of(&r->ends[CERT_DESTINATION]);
    bool good = true;
    if (completed(r) && json_array_size(s) > 0) {
        for (size_t i = 0; i < json_array_size(s); i++)
            good = same_device(r, json_array_get(s, i), json_array_get(d, i)) && good;
        cert_result_oracle(r->result, "devices", "%s: %zu", good ? "agrees" : "breaks",
                           json_array_size(s));
    }
    json_decref(s);
    json_decref(d);
}

/* ---- the whole ---- */

static void expect_oracles(struct cert_rig *r) {
    const json_t *want = cert_get(r->test, "expect", "oracles");
    const json_t *have = json_object_get(r->result, "oracles");
    for (size_t i = 0; i < json_array_size(want); i++) {
        const char *name = json_string_value(json_array_get(want, i));
        if (name && strncmp(cert_str(have, name), "silent", 6) == 0)
            cert_result_note(r->result, "the oracle %s is silent", name);
    }
}

void cert_judge_state(struct cert_rig *r) {
    judge_ram(r);
    judge_guest(r);
    judge_beats(r);
    judge_two(r);
    judge_devices(r);
    expect_oracles(r);
}
