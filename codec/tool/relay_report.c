/* SPDX-License-Identifier: MIT */
#include "tool/relay.h"
#include "tool/text.h"
#include <jansson.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int64_t relay_now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t octets(const struct relay *r, bool reverse) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < RELAY_LANES; i++)
        sum += reverse ? atomic_load(&r->lanes[i].reverse_bytes) : atomic_load(&r->lanes[i].bytes);
    return sum;
}

/* With QEVM on both sides there is no link: what is "on" it are the octets themselves. */
static struct vms_native_link_stats stats_of(struct relay *r) {
    if (r->link)
        return vms_native_link_stats(r->link);
    return (struct vms_native_link_stats){
        .bytes_out = octets(r, false), .bytes_in = octets(r, true), .rtt_us = -1};
}

static uint64_t on_link(const struct relay *r, const struct vms_native_link_stats *s) {
    return r->options.listen_wire == RELAY_QEVM ? s->bytes_out : s->bytes_in;
}

void relay_progress(struct relay *r) {
    char qevm[TEXT_SIZE], native[TEXT_SIZE];
    struct vms_native_link_stats s = stats_of(r);
    uint64_t bytes = octets(r, false), link = on_link(r, &s);
    if (r->options.quiet || !bytes || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s of QEMU's, %s on the link (%.2f), round trip %.1f ms, %u resumed",
            text_size(qevm, bytes), text_size(native, link), (double)link / (double)bytes,
            s.rtt_us < 0 ? 0.0 : (double)s.rtt_us / 1000, s.resumes);
    r->shown = true;
}

void relay_progress_end(struct relay *r) {
    char qevm[TEXT_SIZE], native[TEXT_SIZE];
    struct vms_native_link_stats s = stats_of(r);
    uint64_t bytes = octets(r, false);
    if (r->shown)
        fputs("\r\033[K", stderr);
    r->shown = false;
    if (bytes)
        relay_say(r, "%s of QEMU's, %s on the link, %u resumptions, %.1f s", text_size(qevm, bytes),
                  text_size(native, on_link(r, &s)), s.resumes,
                  (double)(relay_now_ms() - r->started_ms) / 1000);
}

static json_t *lanes_json(struct relay *r) {
    json_t *list = json_array();
    for (unsigned i = 0; i < RELAY_LANES; i++) {
        struct relay_lane *lane = &r->lanes[i];
        if (lane->open)
            json_array_append_new(list,
                                  json_pack("{s:i, s:s, s:I, s:I}", "channel", (int)i, "kind",
                                            vms_qevm_kind_name(lane->kind), "bytes",
                                            (json_int_t)atomic_load(&lane->bytes), "reverse_bytes",
                                            (json_int_t)atomic_load(&lane->reverse_bytes)));
    }
    return list;
}

static json_t *link_json(struct relay *r) {
    struct vms_native_link_stats s = stats_of(r);
    const char *suite = r->linked ? vms_suite_name(vms_native_link_agreement(r->link)->suite) : "";
    char session[40] = "";
    if (r->linked)
        (void)text_hex(session, sizeof session, vms_slice(vms_native_link_session_id(r->link), 16));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:I}", "suite", suite,
                     "session", session, "bytes_out", (json_int_t)s.bytes_out, "bytes_in",
                     (json_int_t)s.bytes_in, "frames_out", (json_int_t)s.frames_out, "frames_in",
                     (json_int_t)s.frames_in, "frames_again", (json_int_t)s.resends, "resumes",
                     (int)s.resumes, "rekeys", (int)s.rekeys, "stalls", (int)s.stalls, "kept_max",
                     (json_int_t)s.kept_max, "round_trip_us", (json_int_t)s.rtt_us);
}

int relay_write_report(struct relay *r, int status) {
    if (!r->options.report)
        return status;
    json_t *all = json_pack("{s:i, s:b, s:b, s:I, s:o, s:o}", "status", status, "complete",
                            !r->failed, "postcopy", (int)atomic_load(&r->postcopy), "milliseconds",
                            (json_int_t)(relay_now_ms() - r->started_ms), "link", link_json(r),
                            "channels", lanes_json(r));
    if (all && r->failed)
        json_object_set_new(
            all, "error",
            json_pack("{s:s, s:s, s:s, s:s}", "class", vms_class_name(r->error.class_), "code",
                      vms_code_name(r->error.code), "clause",
                      r->error.clause ? r->error.clause : "", "message", r->error.message));
    bool good = all && json_dump_file(all, r->options.report, JSON_INDENT(2)) == 0;
    json_decref(all);
    if (good)
        return status;
    int local = tool_local("%s: cannot be written", r->options.report);
    return status == TOOL_DONE ? local : status;
}
