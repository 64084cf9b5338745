/* SPDX-License-Identifier: MIT */
#include "host/report_json.h"

#include "host/report_html.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmstream/vmstream.h>

/* Times are integers in microseconds since the start, latencies in nanoseconds [REP-2]. */

static json_t *number(uint64_t n) {
    return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

static json_t *micros(uint64_t ns) {
    return number(ns / 1000);
}

json_t *vms_report_error(const struct vms_error *e) {
    json_t *o = json_object();
    json_object_set_new(o, "class", json_string(vms_class_name(e->class_)));
    json_object_set_new(o, "code", json_string(vms_code_name(e->code)));
    json_object_set_new(o, "clause", json_string(e->clause ? e->clause : ""));
    json_object_set_new(o, "channel", number(e->channel));
    json_object_set_new(o, "offset", number(e->offset));
    json_object_set_new(o, "record", number(e->record));
    json_object_set_new(o, "message", json_string(e->message));
    return o;
}

static json_t *states(const struct vms_timeline_phase *list, size_t count) {
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "at_us", micros(list[i].at_ns));
        json_object_set_new(o, "state", json_string(list[i].name));
        json_array_append_new(all, o);
    }
    return all;
}

static json_t *events(const struct vms_timeline_view *v) {
    json_t *all = json_array();
    for (size_t i = 0; i < v->mark_count; i++) {
        const struct vms_timeline_mark *m = &v->marks[i];
        json_t *o = json_object();
        json_object_set_new(o, "at_us", micros(m->at_ns));
        json_object_set_new(o, "event", json_string(vms_timeline_event_name(m->event)));
        if (m->lane < v->lane_count)
            json_object_set_new(o, "lane", number(m->lane));
        if (m->value)
            json_object_set_new(o, "value", number(m->value));
        if (m->text[0])
            json_object_set_new(o, "text", json_string(m->text));
        json_array_append_new(all, o);
    }
    return all;
}

/* ---- samples, a column for each figure [REP-4] ---- */

#define COLUMN(o, key, count, expression)                                                          \
    do {                                                                                           \
        json_t *column_ = json_array();                                                            \
        for (size_t i = 0; i < (count); i++)                                                       \
            json_array_append_new(column_, expression);                                            \
        json_object_set_new(o, key, column_);                                                      \
    } while (0)

static json_t *samples(const struct vms_timeline_view *v) {
    const struct vms_timeline_sample *s = v->samples;
    size_t n = v->sample_count;
    json_t *o = json_object();
    COLUMN(o, "at_us", n, micros(s[i].at_ns));
    COLUMN(o, "bytes", n, number(s[i].totals.bytes));
    COLUMN(o, "bytes_back", n, number(s[i].totals.bytes_back));
    COLUMN(o, "pages", n, number(s[i].totals.pages));
    COLUMN(o, "zero_pages", n, number(s[i].totals.zeros));
    COLUMN(o, "bandwidth", n, number(s[i].gauges.bandwidth));
    COLUMN(o, "dirty_rate", n, number(s[i].gauges.dirty_rate));
    COLUMN(o, "pending", n, number(s[i].gauges.pending));
    COLUMN(o, "threshold", n, number(s[i].gauges.threshold));
    COLUMN(o, "expected_downtime_us", n, micros(s[i].gauges.expected_downtime_ns));
    COLUMN(o, "throttle", n, number(s[i].gauges.throttle));
    COLUMN(o, "rounds", n, number(s[i].gauges.rounds));
    COLUMN(o, "faults", n, number(s[i].gauges.faults));
    return o;
}

static json_t *series(const struct vms_timeline_lane *l, size_t count) {
    const struct vms_lane_sample *s = l->samples;
    json_t *o = json_object();
    COLUMN(o, "bytes", count, number(s[i].bytes));
    if (l->kind == VMS_LANE_DEVICE)
        COLUMN(o, "done", count, number(s[i].done));
    else
        COLUMN(o, "pages", count, number(s[i].pages));
    return o;
}

static json_t *lane(const struct vms_timeline_view *v, const struct vms_timeline_lane *l) {
    const struct vms_counters *c = &l->totals;
    json_t *o = json_object();
    json_object_set_new(o, "kind", json_string(l->kind == VMS_LANE_CHANNEL ? "channel" : "device"));
    json_object_set_new(o, "name", json_string(l->name));
    json_object_set_new(o, "at_us", micros(l->at_ns));
    json_object_set_new(o, "bytes", number(c->bytes));
    json_object_set_new(o, "bytes_back", number(c->bytes_back));
    json_object_set_new(o, "pages", number(c->pages));
    json_object_set_new(o, "zero_pages", number(c->zeros));
    if (c->total) {
        json_object_set_new(o, "done", number(c->done));
        json_object_set_new(o, "total", number(c->total));
    }
    json_object_set_new(o, "states", states(l->states, l->state_count));
    if (l->samples)
        json_object_set_new(o, "series", series(l, v->sample_count));
    return o;
}

static json_t *timeline(const struct vms_timeline_view *v) {
    json_t *o = json_object(), *lanes = json_array();
    for (size_t i = 0; i < v->lane_count; i++)
        json_array_append_new(lanes, lane(v, &v->lanes[i]));
    json_object_set_new(o, "interval_us", micros(v->interval_ns));
    json_object_set_new(o, "end_us", micros(v->end_ns ? v->end_ns : v->now_ns));
    if (v->options.started_unix_s)
        json_object_set_new(o, "started_unix_s", json_integer(v->options.started_unix_s));
    json_object_set_new(o, "phases", states(v->phases, v->phase_count));
    json_object_set_new(o, "events", events(v));
    json_object_set_new(o, "lanes", lanes);
    json_object_set_new(o, "samples", samples(v));
    json_object_set_new(o, "events_lost", number(v->marks_lost));
    json_object_set_new(o, "phases_lost", number(v->phases_lost));
    return o;
}

/* ---- latencies [REP-5] ---- */

static json_t *distribution(const struct vms_histogram *h) {
    json_t *o = json_object(), *buckets = json_array();
    json_object_set_new(o, "count", number(h->count));
    json_object_set_new(o, "mean_ns", number((uint64_t)vms_histogram_mean(h)));
    json_object_set_new(o, "min_ns", number(h->min));
    json_object_set_new(o, "p50_ns", number(vms_histogram_quantile(h, 0.5)));
    json_object_set_new(o, "p90_ns", number(vms_histogram_quantile(h, 0.9)));
    json_object_set_new(o, "p99_ns", number(vms_histogram_quantile(h, 0.99)));
    json_object_set_new(o, "max_ns", number(h->max));
    for (size_t i = 0; i < VMS_HISTOGRAM_BUCKETS; i++)
        if (h->buckets[i])
            json_array_append_new(buckets,
                                  json_pack("[o, o, o]", number(vms_histogram_low(i)),
                                            number(vms_histogram_high(i)), number(h->buckets[i])));
    json_object_set_new(o, "buckets", buckets);
    return o;
}

static json_t *latencies(const struct vms_timeline_view *v) {
    json_t *o = json_object();
    for (unsigned i = 0; i < VMS_LATENCY_COUNT; i++)
        if (v->latencies[i].count)
            json_object_set_new(o, vms_latency_name((enum vms_latency)i),
                                distribution(&v->latencies[i]));
    return o;
}

/* ---- the whole ---- */

static json_t *timings(const struct vms_timeline_view *v) {
    json_t *o = json_object();
    uint64_t ns = 0;
    json_object_set_new(o, "total_us", micros(v->end_ns ? v->end_ns : v->now_ns));
    json_object_set_new(o, "total_ms", number((v->end_ns ? v->end_ns : v->now_ns) / 1000000));
    if (vms_timeline_downtime(v, &ns)) {
        json_object_set_new(o, "downtime_ms", number(ns / 1000000));
        json_object_set_new(o, "downtime_us", micros(ns));
    }
    return o;
}

static void put_facts(json_t *o, const struct vms_timeline_view *v) {
    json_t *facts = json_object();
    for (size_t i = 0; i < v->fact_count; i++) {
        const struct vms_timeline_fact *f = &v->facts[i];
        bool top = strcmp(f->key, "wire") == 0 || strcmp(f->key, "session") == 0;
        json_object_set_new(top ? o : facts, f->key, json_string(f->value));
    }
    json_object_set_new(o, "facts", facts);
}

static void put_view(json_t *o, const struct vms_timeline_view *v) {
    json_object_set_new(o, "end",
                        json_string(v->options.end == VMS_END_SOURCE ? "source" : "destination"));
    json_object_set_new(o, "result", json_string(v->result[0] ? v->result : "unfinished"));
    json_object_set_new(o, "state",
                        json_string(v->phase_count ? v->phases[v->phase_count - 1].name : ""));
    if (v->error.code)
        json_object_set_new(o, "error", vms_report_error(&v->error));
    put_facts(o, v);
    json_object_set_new(o, "bytes", number(v->totals.bytes));
    json_object_set_new(o, "pages", number(v->totals.pages));
    json_object_set_new(o, "zero_pages", number(v->totals.zeros));
    json_object_set_new(o, "rounds", number(v->gauges.rounds));
    json_object_set_new(o, "timings", timings(v));
    if (v->cpu_user_ns + v->cpu_system_ns)
        json_object_set_new(o, "cpu",
                            json_pack("{s:o, s:o}", "user_us", micros(v->cpu_user_ns), "system_us",
                                      micros(v->cpu_system_ns)));
    json_object_set_new(o, "latencies", latencies(v));
    json_object_set_new(o, "timeline", timeline(v));
}

json_t *vms_report_new(struct vms_timeline *t, const char *program) {
    json_t *o = json_object();
    json_object_set_new(o, "report", json_string("vmstream migration 1")); /* [REP-1] */
    json_object_set_new(o, "program", json_string(program));
    json_object_set_new(o, "version", json_string(VMSTREAM_VERSION));
    if (t) {
        put_view(o, vms_timeline_view(t));
        vms_timeline_done(t);
    }
    return o;
}

/* ---- files [REP-7] ---- */

static bool is_html(const char *path) {
    size_t n = strlen(path);
    return n >= 5 && strcmp(path + n - 5, ".html") == 0;
}

static int write_to(FILE *f, const char *path, const json_t *report) {
    if (is_html(path))
        return vms_html_write(f, "Migration", report, vms_migration_script());
    return json_dumpf(report, f, JSON_INDENT(2)) == 0 && fputc('\n', f) != EOF ? 0 : -1;
}

/* A device or pipe is written to as it is. */
static bool in_place(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

enum vms_code vms_report_write(const char *path, json_t *report, struct vms_error *err) {
    char part[4096];
    bool direct = in_place(path);
    int n = snprintf(part, sizeof part, direct ? "%s" : "%s.part", path);
    errno = n > 0 && (size_t)n < sizeof part ? 0 : ENAMETOOLONG;
    FILE *f = errno ? NULL : fopen(part, "we");
    int rc = f ? write_to(f, path, report) : -1, why = errno;
    if (f && fclose(f) != 0) {
        rc = -1;
        why = errno;
    }
    if (rc == 0 && !direct && rename(part, path) != 0) {
        rc = -1;
        why = errno;
    }
    if (rc == 0)
        return VMS_OK;
    if (f && !direct)
        (void)unlink(part);
    return vms_error_set(err, VMS_E_IO, "the report to %s: %s", path, strerror(why));
}
