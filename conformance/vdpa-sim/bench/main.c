/* SPDX-License-Identifier: MIT */
#include "conformance/vdpa-sim/bench/migrate.h"
#include "host/vfio.h"

#include <stdio.h>
#include <string.h>

/*
 * vdpa-bench OUT.html | --state (that part alone): downtime and time to map against the guest's
 * size, mapped early and late, in batches and singly; and what the state of a large device costs.
 * The device's costs are a model: 68 ms a GiB, as the authors of the early mapping have seen on
 * real hardware.
 */

/* 68 ms a GiB are 259 ns a page of 4 KiB; a change of maps that is told to hardware takes 1 ms. */
#define MAPS "page-cost 259ns\ncall-cost 1ms\n"
/* A ring that hardware makes: 1 ms; a new base: 0.1 ms; a command: 0.1 ms. */
#define STATE "ring-cost 1ms\nbase-cost 100us\ncommand-cost 100us\n"

enum {
    SIZES = 9,
};
static const uint64_t sizes[SIZES] = {1, 2, 4, 8, 16, 32, 39, 64, 128};

static const struct how {
    const char *name, *colour;
    bool late, single;
} hows[] = {
    {"early, batches", "#0b6e4f", false, false},
    {"early, single", "#6bbf59", false, true},
    {"late, batches", "#b23a48", true, false},
    {"late, single", "#e08e45", true, true},
};
enum {
    HOWS = sizeof hows / sizeof hows[0],
};
static struct bench_result results[HOWS][SIZES];

static int fail(const struct vms_error *err) {
    fprintf(stderr, "vdpa-bench: %s: %s\n", vms_code_name(err->code), err->message);
    return 1;
}

static int measure_sizes(void) {
    struct vms_error err;
    printf("vDPA, cost model 68 ms a GiB, 1 ms a change of maps or a batch of them; sparse memory\n"
           "  GiB  how               to map s   switchover may come s   downtime ms    maps\n");
    for (size_t n = 0; n < SIZES; n++)
        for (size_t h = 0; h < HOWS; h++) {
            struct bench_result *r = &results[h][n];
            const struct bench_case c = {.gib = sizes[n],
                                         .device = MAPS,
                                         .pairs = 1,
                                         .late = hows[h].late,
                                         .single = hows[h].single};
            if (bench_migrate(&c, r, &err) != VMS_OK)
                return fail(&err);
            printf("  %3llu  %-16s %9.3f %17.3f %19.2f %9llu\n", (unsigned long long)sizes[n],
                   hows[h].name, (double)r->map_ns / 1e9, (double)r->ready_ns / 1e9,
                   (double)r->downtime_ns / 1e6, (unsigned long long)r->maps);
            fflush(stdout);
        }
    return 0;
}

static struct bench_result states[2][3];
static const unsigned state_pairs[3] = {1, 16, 64};

static int measure_states(void) {
    struct vms_error err;
    printf("\nState of a network card: 1 ms a ring, 0.1 ms a new base or a command; 2000 VLANs, 64 "
           "more\nwhile the migration goes on; 1 GiB mapped early\n"
           "  pairs  state     before the stop   after it, octets   downtime ms\n");
    for (size_t n = 0; n < 3; n++)
        for (size_t late = 0; late < 2; late++) {
            struct bench_result *r = &states[late][n];
            const struct bench_case c = {.gib = 1,
                                         .device = STATE,
                                         .pairs = state_pairs[n],
                                         .late_state = late,
                                         .vlans = 2000,
                                         .changes = 64};
            if (bench_migrate(&c, r, &err) != VMS_OK)
                return fail(&err);
            printf("  %5u  %-8s %16llu %18llu %13.2f\n", state_pairs[n], late ? "at once" : "ahead",
                   (unsigned long long)r->early_bytes, (unsigned long long)r->last_bytes,
                   (double)r->downtime_ns / 1e6);
            fflush(stdout);
        }
    return 0;
}

/* ---- the page ---- */

typedef double pick(const struct bench_result *r);
static double downtime(const struct bench_result *r) {
    return (double)r->downtime_ns / 1e9;
}
static double to_map(const struct bench_result *r) {
    return (double)r->map_ns / 1e9;
}

enum {
    LEFT = 70,
    WIDTH = 560,
    HEIGHT = 300,
    TOP = 20,
    MOST = 10, /* seconds */
};

static double x_of(size_t n) {
    return LEFT + (double)sizes[n] * WIDTH / 128;
}
static double y_of(double seconds) {
    return TOP + HEIGHT - seconds * HEIGHT / MOST;
}

static void plot(FILE *f, const char *title, pick *value) {
    fprintf(f, "<h2>%s</h2><svg viewBox='0 0 760 370' width='760'>", title);
    for (int s = 0; s <= MOST; s += 2)
        fprintf(f,
                "<line x1='%d' x2='%d' y1='%.0f' y2='%.0f' stroke='#ddd'/><text x='%d' y='%.0f' "
                "text-anchor='end'>%d s</text>",
                LEFT, LEFT + WIDTH, y_of(s), y_of(s), LEFT - 8, y_of(s) + 4, s);
    for (size_t n = 0; n < SIZES; n++)
        if (sizes[n] >= 16)
            fprintf(f, "<text x='%.0f' y='%d' text-anchor='middle'>%llu</text>", x_of(n),
                    TOP + HEIGHT + 18, (unsigned long long)sizes[n]);
    fprintf(f, "<text x='%d' y='%d' text-anchor='middle'>guest memory, GiB</text>",
            LEFT + WIDTH / 2, TOP + HEIGHT + 40);
    for (size_t h = 0; h < HOWS; h++) {
        fprintf(f, "<polyline fill='none' stroke-width='2' stroke='%s' points='", hows[h].colour);
        for (size_t n = 0; n < SIZES; n++)
            fprintf(f, "%.1f,%.1f ", x_of(n), y_of(value(&results[h][n])));
        fprintf(f, "'/><text x='%d' y='%zu' fill='%s'>%s</text>", LEFT + WIDTH + 10, 40 + 20 * h,
                hows[h].colour, hows[h].name);
    }
    fprintf(f, "</svg>");
}

static void state_table(FILE *f) {
    fprintf(f, "<h2>State of a large device</h2><p>1 ms a ring, 0.1 ms a new base or a command; "
               "2000 VLANs, 64 more while the migration goes on.</p><table><tr><th>pairs of "
               "queues<th>state<th>octets before the stop<th>after it<th>downtime, ms");
    for (size_t n = 0; n < 3; n++)
        for (size_t late = 0; late < 2; late++) {
            const struct bench_result *r = &states[late][n];
            fprintf(f, "<tr><td>%u<td>%s<td>%llu<td>%llu<td>%.2f", state_pairs[n],
                    late ? "at once, at the end" : "ahead", (unsigned long long)r->early_bytes,
                    (unsigned long long)r->last_bytes, (double)r->downtime_ns / 1e6);
        }
    fprintf(f, "</table>");
}

static int write_page(const char *path) {
    FILE *f = fopen(path, "we");
    if (!f) {
        fprintf(stderr, "vdpa-bench: cannot write %s\n", path);
        return 3;
    }
    fprintf(f, "<!doctype html><meta charset='utf-8'><title>vDPA: downtime and size</title>"
               "<style>body{font:15px sans-serif;max-width:800px;margin:2em auto}"
               "td,th{padding:.2em 1em;text-align:right}text{font-size:13px}</style>"
               "<h1>vDPA devices: downtime against the guest's size</h1><p>Simulated device behind "
               "the real calls, 68 ms a GiB, 1 ms a change of maps or a batch of them; sparse "
               "memory, whose content does not travel. One run.</p>");
    plot(f, "Downtime", downtime);
    plot(f, "Time to map", to_map);
    state_table(f);
    return fclose(f) == 0 ? 0 : 3;
}

int main(int argc, char **argv) {
    struct vms_error err;
    if (argc != 2 || strcmp(argv[1], "--help") == 0) {
        fprintf(stderr, "Usage: vdpa-bench OUT.html | --state\n");
        return argc != 2 ? 2 : 0;
    }
    if (vms_vfio_simulate(argv, &err) != VMS_OK)
        return fail(&err);
    bool states_only = strcmp(argv[1], "--state") == 0;
    int rc = states_only ? 0 : measure_sizes();
    if (rc == 0)
        rc = measure_states();
    if (states_only)
        return rc;
    if (rc == 0)
        rc = write_page(argv[1]);
    if (rc == 0)
        printf("vdpa-bench: %s\n", argv[1]);
    return rc;
}
