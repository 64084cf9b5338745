/* SPDX-License-Identifier: MIT */
#include "host/display.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is shown, as text: no terminal here, so that tests can read it. */

enum {
    LINE_MAX_ = 256,
    BAR = 20,
};
#define WINDOW_NS UINT64_C(1000000000) /* over which a rate is taken */

static const char *scaled(double n, char out[16]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    for (; n >= 1024 && i < 4; i++)
        n /= 1024;
    (void)snprintf(out, 16, i && n < 100 ? "%.1f %s" : "%.0f %s", n, units[i]);
    return out;
}

/* ---- rates, out of the samples of the last second ---- */

static size_t window_begin(const struct vms_timeline_view *v) {
    size_t i = v->sample_count - 1;
    while (i > 0 && v->now_ns - v->samples[i].at_ns < WINDOW_NS)
        i--;
    return i;
}

static double per_second(uint64_t before, uint64_t now, uint64_t ns) {
    return ns && now > before ? (double)(now - before) * 1e9 / (double)ns : 0;
}

static double rate(const struct vms_timeline_view *v, const struct vms_timeline_lane *l) {
    if (v->sample_count == 0 || (l && !l->samples))
        return 0;
    size_t i = window_begin(v);
    uint64_t ns = v->now_ns - v->samples[i].at_ns;
    return l ? per_second(l->samples[i].bytes, l->totals.bytes, ns)
             : per_second(v->samples[i].totals.bytes, v->totals.bytes, ns);
}

/* ---- lines ---- */

struct page {
    char *out;
    size_t size, len;
    unsigned columns, rows, lines;
};

static void append(char *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void append(char *line, const char *fmt, ...) {
    size_t n = strlen(line);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line + n, LINE_MAX_ - n, fmt, ap);
    va_end(ap);
}

static void put_line(struct page *p, const char *line) {
    size_t n = strlen(line);
    if (n > p->columns)
        n = p->columns;
    if (p->lines == p->rows || p->len + n + 2 > p->size)
        return;
    memcpy(p->out + p->len, line, n);
    p->len += n;
    p->out[p->len++] = '\n';
    p->out[p->len] = 0;
    p->lines++;
}

static const char *phase(const struct vms_timeline_view *v) {
    return v->phase_count ? v->phases[v->phase_count - 1].name : "-";
}

static void put_head(struct page *p, const struct vms_timeline_view *v, const char *program) {
    char line[LINE_MAX_] = "";
    append(line, "%s  %s  %.1f s", program, phase(v),
           (double)(v->end_ns ? v->end_ns : v->now_ns) / 1e9);
    if (v->result[0])
        append(line, "  %s", v->result);
    for (size_t i = 0; i < v->fact_count; i++)
        if (strcmp(v->facts[i].key, "session") == 0)
            append(line, "  session %.16s", v->facts[i].value);
    put_line(p, line);
}

static void bar(char out[BAR + 1], uint64_t done, uint64_t total) {
    size_t full = done >= total ? BAR : (size_t)((double)done * BAR / (double)total);
    memset(out, '.', BAR);
    memset(out, '#', full);
    out[BAR] = 0;
}

static void put_flow(struct page *p, const struct vms_timeline_view *v) {
    const struct vms_gauges *g = &v->gauges;
    char line[LINE_MAX_] = "", a[16], b[16];
    append(line, "  %-9s %10s  %10s/s", v->options.end == VMS_END_SOURCE ? "sent" : "received",
           scaled((double)v->totals.bytes, a), scaled(rate(v, NULL), b));
    if (g->rounds)
        append(line, "  round %u", g->rounds);
    if (!v->end_ns && g->pending)
        append(line, "  pending %s", scaled((double)g->pending, a));
    if (!v->end_ns && g->dirty_rate)
        append(line, "  dirty %s/s", scaled((double)g->dirty_rate, a));
    put_line(p, line);
}

/* Only what there is to tell. */
static void put_gauges(struct page *p, const struct vms_timeline_view *v) {
    const struct vms_gauges *g = &v->gauges;
    char line[LINE_MAX_] = " ";
    uint64_t ns;
    if (v->end_ns && vms_timeline_downtime(v, &ns))
        append(line, " downtime %.1f ms", (double)ns / 1e6);
    else if (!v->end_ns && g->expected_downtime_ns)
        append(line, " expected downtime %.0f ms", (double)g->expected_downtime_ns / 1e6);
    if (!v->end_ns && g->throttle)
        append(line, "  throttled by %u %%", g->throttle);
    if (g->faults)
        append(line, "  guest waits for %u page%s", g->faults, g->faults == 1 ? "" : "s");
    const struct vms_histogram *h = &v->latencies[VMS_LATENCY_FAULT];
    if (h->count)
        append(line, "  fault p50 %.0f us, p99 %.0f us",
               (double)vms_histogram_quantile(h, 0.5) / 1e3,
               (double)vms_histogram_quantile(h, 0.99) / 1e3);
    if (line[1])
        put_line(p, line);
    if (!v->end_ns && g->waiting_for < v->lane_count) {
        (void)snprintf(line, sizeof line, "  waiting for the acknowledgement of %s",
                       v->lanes[g->waiting_for].name);
        put_line(p, line);
    }
}

static void put_lane(struct page *p, const struct vms_timeline_view *v,
                     const struct vms_timeline_lane *l) {
    char line[LINE_MAX_] = "", a[16], b[16], shape[BAR + 1];
    append(line, "  %-20.20s %10s  %10s/s", l->name, scaled((double)l->totals.bytes, a),
           scaled(rate(v, l), b));
    if (l->state_count)
        append(line, "  %s", l->states[l->state_count - 1].name);
    if (l->totals.total) {
        bar(shape, l->totals.done, l->totals.total);
        append(line, "  %s %3.0f %%", shape,
               100.0 * (double)l->totals.done / (double)l->totals.total);
    }
    put_line(p, line);
}

/* Devices first: there are few, and they are what a migration waits for. */
static void put_lanes(struct page *p, const struct vms_timeline_view *v, enum vms_lane_kind kind) {
    char line[64];
    size_t left = 0;
    for (size_t i = 0; i < v->lane_count; i++) {
        if (v->lanes[i].kind != kind)
            continue;
        if (p->lines + 1 < p->rows)
            put_lane(p, v, &v->lanes[i]);
        else
            left++;
    }
    if (left == 0)
        return;
    (void)snprintf(line, sizeof line, "  and %zu more", left);
    put_line(p, line);
}

unsigned vms_display_block(const struct vms_timeline_view *v, const char *program, unsigned columns,
                           unsigned rows, char *out, size_t size) {
    struct page p = {.out = out, .size = size, .columns = columns, .rows = rows};
    if (size)
        out[0] = 0;
    put_head(&p, v, program);
    put_flow(&p, v);
    put_gauges(&p, v);
    put_lanes(&p, v, VMS_LANE_DEVICE);
    put_lanes(&p, v, VMS_LANE_CHANNEL);
    return p.lines;
}

void vms_display_line(const struct vms_timeline_view *v, char *out, size_t size) {
    const struct vms_gauges *g = &v->gauges;
    char line[LINE_MAX_] = "", a[16], b[16];
    append(line, "%8.1f s  %-10s %10s  %10s/s", (double)v->now_ns / 1e9, phase(v),
           scaled((double)v->totals.bytes, a), scaled(rate(v, NULL), b));
    if (g->rounds)
        append(line, "  round %u", g->rounds);
    bool on = !v->end_ns; /* afterwards they say nothing */
    if (on && g->pending)
        append(line, "  pending %s", scaled((double)g->pending, a));
    if (on && g->dirty_rate)
        append(line, "  dirty %s/s", scaled((double)g->dirty_rate, a));
    if (on && g->expected_downtime_ns)
        append(line, "  expected downtime %.0f ms", (double)g->expected_downtime_ns / 1e6);
    if (on && g->waiting_for < v->lane_count)
        append(line, "  waits for %s", v->lanes[g->waiting_for].name);
    (void)snprintf(out, size, "%s", line);
}
