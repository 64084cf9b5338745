/* SPDX-License-Identifier: MIT */
#include "host/report_html.h"
#include "host/report_json.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

TestSuite(report, .timeout = 60);

#define MS UINT64_C(1000000)

/* A migration of which everything is known: 10 MiB a sample, stopped at 900 ms for 60 ms. */
static struct vms_timeline *migration(void) {
    struct vms_timeline *t =
        vms_timeline_new(&(struct vms_timeline_options){.end = VMS_END_SOURCE}, 0);
    struct vms_error why;
    uint32_t data = vms_timeline_lane(t, 0, VMS_LANE_CHANNEL, "data 0");
    uint32_t device = vms_timeline_lane(t, 5 * MS, VMS_LANE_DEVICE, "</script><b>vfio");
    vms_timeline_fact(t, "wire", "native");
    vms_timeline_fact(t, "session", "0011");
    vms_timeline_fact(t, "machine", "m1");
    vms_timeline_phase(t, 0, "setup");
    for (uint64_t i = 0; i < 10; i++) {
        vms_timeline_count(t, data, &(struct vms_counters){.bytes = i * 10 << 20, .pages = i});
        vms_timeline_count(t, device, &(struct vms_counters){.bytes = i, .done = i, .total = 10});
        vms_timeline_gauges(t, &(struct vms_gauges){.pending = 100 - i, .rounds = 3});
        vms_timeline_observe(t, VMS_LATENCY_REQUEST, 1000 * (i + 1));
        cr_assert(vms_timeline_tick(t, i * 100 * MS));
        if (i == 0) {
            vms_timeline_phase(t, 50 * MS, "precopy");
            vms_timeline_lane_state(t, 60 * MS, device, "pre-copy");
        }
        if (i == 7) {
            vms_timeline_event(t, 700 * MS, VMS_EVENT_STOPPED, VMS_NO_LANE, 0, NULL);
            vms_timeline_event(t, 710 * MS, VMS_EVENT_RESTARTED, VMS_NO_LANE, 0, "not READY");
        }
    }
    vms_timeline_event(t, 900 * MS, VMS_EVENT_STOPPED, VMS_NO_LANE, 0, NULL);
    vms_timeline_event(t, 910 * MS, VMS_EVENT_ACK, device, 7, NULL);
    vms_timeline_event(t, 960 * MS, VMS_EVENT_RUNNING, VMS_NO_LANE, 0, NULL);
    (void)vms_error_set(&why, VMS_E_IO, "after all");
    vms_timeline_result(t, 1000 * MS, "failed", &why);
    return t;
}

static json_int_t at(const json_t *o, const char *key) {
    cr_assert(json_is_integer(json_object_get(o, key)), "%s", key);
    return json_integer_value(json_object_get(o, key));
}
static const char *text(const json_t *o, const char *key) {
    cr_assert(json_is_string(json_object_get(o, key)), "%s", key);
    return json_string_value(json_object_get(o, key));
}

/* "REP-1", "REP-2", "REP-3" */
Test(report, says_who_what_and_how_long) {
    struct vms_timeline *t = migration();
    json_t *r = vms_report_new(t, "a-program");
    cr_assert_str_eq(text(r, "report"), "vmstream migration 1");
    cr_assert_str_eq(text(r, "program"), "a-program");
    cr_assert_str_eq(text(r, "end"), "source");
    cr_assert_str_eq(text(r, "result"), "failed");
    cr_assert_str_eq(text(r, "state"), "precopy");
    cr_assert_str_eq(text(r, "wire"), "native");
    cr_assert_str_eq(text(r, "session"), "0011");
    cr_assert_str_eq(text(json_object_get(r, "facts"), "machine"), "m1");
    cr_assert_str_eq(text(json_object_get(r, "error"), "code"), "IO");
    cr_assert_eq(at(r, "bytes"), 90 << 20);
    cr_assert_null(json_object_get(r, "cpu"));
    vms_timeline_cpu(t, 1500000, 2500000);
    json_decref(r);
    r = vms_report_new(t, "a-program");
    cr_assert_eq(at(json_object_get(r, "cpu"), "user_us"), 1500);
    cr_assert_eq(at(json_object_get(r, "cpu"), "system_us"), 2500);
    cr_assert_eq(at(r, "rounds"), 3);
    /* of the stop that was the last before the guest ran */
    cr_assert_eq(at(json_object_get(r, "timings"), "downtime_us"), 60000);
    cr_assert_eq(at(json_object_get(r, "timings"), "total_ms"), 1000);
    cr_assert_eq(at(json_object_get(r, "timings"), "total_us"), 1000000);
    json_decref(r);
    vms_timeline_free(t);
}

/* "REP-4": every column is as long as that of the times. */
Test(report, samples_are_columns_of_one_length) {
    struct vms_timeline *t = migration();
    json_t *r = vms_report_new(t, "p"), *line = json_object_get(r, "timeline"), *column, *lane;
    const char *key;
    size_t i;
    json_object_foreach(json_object_get(line, "samples"), key, column)
        cr_assert_eq(json_array_size(column), 10, "%s", key);
    json_array_foreach(json_object_get(line, "lanes"), i, lane) {
        json_t *series = json_object_get(lane, "series");
        json_object_foreach(series, key, column)
            cr_assert_eq(json_array_size(column), 10, "%s", key);
    }
    column = json_object_get(json_object_get(line, "samples"), "bytes");
    for (i = 0; i < 10; i++)
        cr_assert_eq((uint64_t)json_integer_value(json_array_get(column, i)), i * 10 << 20);
    lane = json_array_get(json_object_get(line, "lanes"), 1);
    cr_assert_str_eq(text(json_array_get(json_object_get(lane, "states"), 0), "state"), "pre-copy");
    cr_assert_eq(at(lane, "at_us"), 5000);
    cr_assert_eq(json_array_size(json_object_get(line, "events")), 5);
    json_t *ack = json_array_get(json_object_get(line, "events"), 3);
    cr_assert_str_eq(text(ack, "event"), "ack");
    cr_assert_eq(at(ack, "lane"), 1);
    cr_assert_eq(at(ack, "value"), 7);
    json_decref(r);
    vms_timeline_free(t);
}

/* "REP-5" */
Test(report, latencies_are_distributions) {
    struct vms_timeline *t = migration();
    json_t *r = vms_report_new(t, "p"), *l = json_object_get(r, "latencies"), *bucket;
    json_t *h = json_object_get(l, "request");
    json_int_t sum = 0;
    size_t i;
    cr_assert_null(json_object_get(l, "fault"), "nothing was observed");
    cr_assert_eq(at(h, "count"), 10);
    cr_assert_eq(at(h, "mean_ns"), 5500);
    cr_assert_eq(at(h, "min_ns"), 1000);
    cr_assert_eq(at(h, "max_ns"), 10000);
    cr_assert(at(h, "p50_ns") >= 5000 && at(h, "p50_ns") < 5000 + 5000 / 16);
    json_array_foreach(json_object_get(h, "buckets"), i, bucket) {
        cr_assert(json_integer_value(json_array_get(bucket, 0)) <=
                  json_integer_value(json_array_get(bucket, 1)));
        sum += json_integer_value(json_array_get(bucket, 2));
    }
    cr_assert_eq(sum, 10);
    json_decref(r);
    vms_timeline_free(t);
}

static char *slurp(const char *path) {
    FILE *f = fopen(path, "re");
    cr_assert(f, "%s", path);
    char *all = calloc(1, 1 << 20);
    cr_assert(fread(all, 1, (1 << 20) - 1, f) > 0);
    (void)fclose(f);
    return all;
}

static size_t count(const char *in, const char *what) {
    size_t n = 0;
    for (; (in = strstr(in, what)); in++)
        n++;
    return n;
}

/* "REP-7": the suffix decides; nothing half-written stays. */
Test(report, is_written_as_its_name_says) {
    char dir[] = "/tmp/vms-report-XXXXXX", json[64], html[64], nowhere[96];
    struct vms_timeline *t = migration();
    json_t *r = vms_report_new(t, "p");
    struct vms_error err;
    cr_assert(mkdtemp(dir));
    (void)snprintf(json, sizeof json, "%s/r.json", dir);
    (void)snprintf(html, sizeof html, "%s/r.html", dir);
    (void)snprintf(nowhere, sizeof nowhere, "%s/no/r.html", dir);
    cr_assert_eq(vms_report_write(json, r, &err), VMS_OK);
    cr_assert_eq(vms_report_write(html, r, &err), VMS_OK);
    cr_assert_eq(vms_report_write(nowhere, r, &err), VMS_E_IO);
    cr_assert(strstr(err.message, "no/r.html"));
    cr_assert_eq(vms_report_write("/dev/full", r, &err), VMS_E_IO);
    cr_assert_eq(vms_report_write("/dev/null", r, &err), VMS_OK);
    json_t *again = json_load_file(json, 0, NULL);
    cr_assert(json_equal(again, r));
    json_decref(again);
    json_decref(r);
    char *page = slurp(html);
    cr_assert_eq(strncmp(page, "<!DOCTYPE html>", 15), 0);
    free(page);
    (void)unlink(json);
    (void)unlink(html);
    cr_assert_eq(rmdir(dir), 0, "a file is left");
    vms_timeline_free(t);
}

/* "REP-7": there is room for a part of it only. */
Test(report, half_a_report_does_not_stay) {
    char dir[] = "/tmp/vms-report-XXXXXX", path[64];
    struct vms_timeline *t = migration();
    json_t *r = vms_report_new(t, "p");
    struct vms_error err;
    cr_assert(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/r.html", dir);
    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){10000, 10000}), 0);
    cr_assert_eq(vms_report_write(path, r, &err), VMS_E_IO);
    cr_assert_eq(rmdir(dir), 0, "a file is left");
    json_decref(r);
    vms_timeline_free(t);
}

/* "REP-8": one file, no request; what comes out of a guest is data. */
Test(report, page_needs_nothing_else) {
    char path[] = "/tmp/vms-report-XXXXXX";
    struct vms_timeline *t = migration();
    json_t *r = vms_report_new(t, "p");
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    cr_assert(f);
    cr_assert_eq(vms_html_write(f, "<title> & co", r, vms_migration_script()), 0);
    (void)fclose(f);
    char *page = slurp(path), *begin = strstr(page, "id=\"document\">") + 14;
    cr_assert(strstr(page, "<title>&lt;title> &amp; co</title>"));
    cr_assert(strstr(page, "default-src 'none'"));
    cr_assert_eq(count(page, "src=\"") + count(page, "<link"), 0);
    cr_assert_eq(count(page, "</script>"), 4);
    char *end = strstr(begin, "</script>");
    *end = 0;
    cr_assert_eq(count(begin, "<"), 0);
    json_t *again = json_loads(begin, 0, NULL);
    cr_assert(json_equal(again, r), "the document is in the page unchanged");
    json_decref(again);
    json_decref(r);
    free(page);
    (void)unlink(path);
    vms_timeline_free(t);
}

Test(report, is_one_without_a_timeline_too) {
    json_t *r = vms_report_new(NULL, "p");
    cr_assert_str_eq(text(r, "program"), "p");
    json_decref(r);
}
