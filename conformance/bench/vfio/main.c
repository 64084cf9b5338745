/* SPDX-License-Identifier: MIT */
#include "conformance/bench/vfio/bench.h"

#include "host/report_html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* vfio-bench: the downtime scene. Usage: vfio-bench [--rounds N] [--seconds S] [--html F] [--lines
 * F] [--scene DIR] */

VMS_EMBED(vb_page_script, "conformance/bench/vfio/page.js")

struct bench {
    unsigned rounds;
    double seconds; /* after which no further round begins */
    const char *html, *lines, *scene, *only;
    struct vb_run run[VB_CASES][VB_ROUNDS_MAX];
    json_t *lanes[VB_CASES]; /* of the last good round */
    unsigned done[VB_CASES];
};

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The member at this place in struct vb_run; NAN: no run. */
static double median(const struct bench *b, size_t c, size_t place) {
    double list[VB_ROUNDS_MAX];
    unsigned n = b->done[c];
    for (unsigned i = 0; i < n; i++)
        memcpy(&list[i], (const char *)&b->run[c][i] + place, sizeof list[i]);
    qsort(list, n, sizeof list[0], by_value);
    return n == 0 ? NAN : n % 2 ? list[n / 2] : (list[n / 2 - 1] + list[n / 2]) / 2;
}

#define DOWNTIME offsetof(struct vb_run, downtime_ms)
#define PART(d, member)                                                                            \
    (offsetof(struct vb_run, device) + (d) * sizeof(struct vb_device) +                            \
     offsetof(struct vb_device, member))

static json_t *device_json(const struct bench *b, size_t c, size_t d) {
    return json_pack("{s:f, s:f, s:f, s:f}", "ms", median(b, c, PART(d, ms)), "quiet_ms",
                     median(b, c, PART(d, quiet_ms)), "data_ms", median(b, c, PART(d, data_ms)),
                     "run_ms", median(b, c, PART(d, run_ms)));
}

static json_t *case_json(const struct bench *b, size_t c) {
    json_t *o = json_pack("{s:s, s:b, s:i}", "name", vb_cases[c].name, "reinit", vb_cases[c].reinit,
                          "rounds", (int)b->done[c]);
    if (b->done[c] == 0)
        return o;
    json_t *devices = json_array();
    json_object_set_new(o, "downtime_ms", json_real(median(b, c, DOWNTIME)));
    for (size_t d = 0; d < VB_DEVICES; d++)
        json_array_append_new(devices, device_json(b, c, d));
    json_object_set_new(o, "devices", devices);
    json_object_set(o, "lanes", b->lanes[c]);
    return o;
}

static int write_page(const struct bench *b) {
    json_t *cases = json_array();
    FILE *out = b->html ? fopen(b->html, "we") : NULL;
    for (size_t c = 0; c < VB_CASES; c++)
        json_array_append_new(cases, case_json(b, c));
    json_t *document = json_pack("{s:s, s:o}", "report", "vmstream downtime 1", "cases", cases);
    int rc = !b->html ? 0
             : out    ? vms_html_write(out, "Downtime of VFIO devices", document, vb_page_script())
                      : -1;
    if (out)
        (void)fclose(out);
    json_decref(document);
    return rc;
}

static void write_line(FILE *out, size_t c, unsigned round, const struct vb_run *r) {
    if (!out)
        return;
    (void)fprintf(out,
                  "{\"case\":\"%s\",\"reinit\":%s,\"round\":%u,\"good\":%s,\"downtime_ms\":%.1f",
                  vb_cases[c].name, vb_cases[c].reinit ? "true" : "false", round,
                  r->good ? "true" : "false", r->downtime_ms);
    for (size_t d = 0; d < VB_DEVICES; d++)
        (void)fprintf(out, "%s{\"ms\":%.1f,\"quiet_ms\":%.1f,\"data_ms\":%.1f,\"run_ms\":%.1f}",
                      d ? "," : ",\"devices\":[", r->device[d].ms, r->device[d].quiet_ms,
                      r->device[d].data_ms, r->device[d].run_ms);
    (void)fprintf(out, "]}\n");
    (void)fflush(out);
}

static void tell_case(const struct bench *b, size_t c) {
    double idle = 0;
    for (size_t d = 1; d < VB_DEVICES; d++)
        idle += median(b, c, PART(d, ms));
    (void)printf("%-28s %-8s %9.0f %9.0f %8.0f %8.0f %8.0f %9.0f %7u\n", vb_cases[c].name,
                 vb_cases[c].reinit ? "with" : "without", median(b, c, DOWNTIME),
                 median(b, c, PART(0, ms)), median(b, c, PART(0, quiet_ms)),
                 median(b, c, PART(0, data_ms)), median(b, c, PART(0, run_ms)), idle, b->done[c]);
}

static void tell_gain(const struct bench *b, size_t without) {
    double was = median(b, without, DOWNTIME), is = median(b, without + 1, DOWNTIME);
    double busy = median(b, without, PART(0, ms)), now = median(b, without + 1, PART(0, ms));
    (void)printf(
        "%-28s REINIT: downtime %+.0f %%, busy device %+.0f %%   (letter: -43 %%, -67 %%)\n",
        vb_cases[without].name, 100 * (is / was - 1), 100 * (now / busy - 1));
}

/* The same channels at both: main alone, and parallel ones. */
static const size_t rivals[][2] = {{VB_QEVM, VB_QEMU},
                                   {VB_NATIVE_MAIN, VB_QEMU},
                                   {VB_QEVM_MULTIFD, VB_QEMU_MULTIFD},
                                   {VB_NATIVE, VB_QEMU_MULTIFD}};

static void tell_rivals(const struct bench *b, size_t ours, size_t qemu) {
    if (b->done[ours] && b->done[qemu])
        (void)printf("%-28s against %-20s %-7s REINIT: downtime %+.0f %%\n", vb_cases[ours].name,
                     vb_cases[qemu].name, vb_cases[ours].reinit ? "with" : "without",
                     100 * (median(b, ours, DOWNTIME) / median(b, qemu, DOWNTIME) - 1));
}

static void tell(const struct bench *b) {
    (void)printf("%-28s %-8s %9s %9s %8s %8s %8s %9s %7s\n", "four VFIO devices, one busy",
                 "REINIT", "downtime", "busy ms", "silent", "data", "runs", "idle ms", "rounds");
    for (size_t c = 0; c < VB_CASES; c++)
        if (b->done[c])
            tell_case(b, c);
    for (size_t c = 0; c + 1 < VB_CASES; c += 2)
        if (b->done[c] && b->done[c + 1])
            tell_gain(b, c);
    for (size_t i = 0; i < sizeof rivals / sizeof rivals[0]; i++)
        for (size_t reinit = 0; reinit < 2; reinit++)
            tell_rivals(b, rivals[i][0] + reinit, rivals[i][1] + reinit);
}

static void run_round(struct bench *b, const struct vfm_options *o, unsigned round, FILE *lines) {
    for (size_t c = 0; c < VB_CASES; c++) {
        struct vb_run *r = &b->run[c][b->done[c]];
        json_t *lanes = NULL;
        if (b->only && !strstr(vb_cases[c].name, b->only))
            continue;
        vb_run(&vb_cases[c], o, b->scene, r, &lanes);
        write_line(lines, c, round, r);
        if (!r->good) {
            (void)fprintf(stderr, "%s: %s\n", vb_cases[c].name, r->why);
            json_decref(lanes);
            continue;
        }
        json_decref(b->lanes[c]);
        b->lanes[c] = lanes;
        b->done[c]++;
    }
}

static void parse(struct bench *b, int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--rounds") == 0)
            b->rounds = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            b->seconds = strtod(value, NULL);
        else if (strcmp(argv[i], "--html") == 0)
            b->html = value;
        else if (strcmp(argv[i], "--lines") == 0)
            b->lines = value;
        else if (strcmp(argv[i], "--scene") == 0)
            b->scene = value;
        else if (strcmp(argv[i], "--only") == 0)
            b->only = value;
    }
    b->rounds = b->rounds > VB_ROUNDS_MAX ? VB_ROUNDS_MAX : b->rounds;
}

int main(int argc, char **argv) {
    static struct bench b = {.rounds = 3, .seconds = 300, .scene = "conformance/bench/vfio"};
    char *self = realpath("/proc/self/exe", NULL), *slash = self ? strrchr(self, '/') : NULL;
    double start = now_s();
    parse(&b, argc, argv);
    if (slash)
        *slash = 0;
    const struct vfm_options o = {.build = slash ? self : "build", .cache = "/tmp"};
    FILE *lines = b.lines ? fopen(b.lines, "we") : NULL;
    for (unsigned i = 0; i < b.rounds && now_s() - start < b.seconds; i++)
        run_round(&b, &o, i, lines);
    tell(&b);
    int rc = write_page(&b);
    if (lines)
        (void)fclose(lines);
    free(self);
    return rc == 0 ? 0 : 3;
}
