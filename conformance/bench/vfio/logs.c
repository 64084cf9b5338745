/* SPDX-License-Identifier: MIT */
#include "conformance/bench/vfio/bench.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the logs of the simulated devices tell: CLOCK_MONOTONIC, the same for both ends. */

struct side {
    json_t *states, *events;            /* of the page: [{at, state}], [{at, event}] */
    uint64_t quiet, stop_copy, running; /* ns: told to fall silent, to give its rest, to run */
    uint64_t first, last;               /* first read in STOP_COPY, last write */
};

struct logs {
    struct side side[2][VB_DEVICES]; /* source, destination */
};

static const char *text_of(json_t *line, const char *key) {
    const char *s = json_string_value(json_object_get(line, key));
    return s ? s : "";
}

static void put(json_t *list, uint64_t at, const char *key, const char *value) {
    json_array_append_new(list, json_pack("{s:I, s:s}", "at", (json_int_t)at, key, value));
}

static void lower(const char *name, char out[32]) {
    size_t n = 0;
    for (; name[n] && n < 31; n++)
        out[n] = name[n] == '_' ? '-' : (char)tolower((unsigned char)name[n]);
    out[n] = 0;
}

/* A source that starts changes states, too: the last time it left what runs counts. */
static void on_state(struct side *s, uint64_t at, const char *from, const char *to) {
    char text[32];
    lower(to, text);
    put(s->states, at, "state", text);
    if (strcmp(from, "RUNNING") == 0 || strcmp(from, "PRE_COPY") == 0)
        s->quiet = at;
    if (strcmp(to, "STOP_COPY") == 0)
        s->stop_copy = at;
    if (strcmp(to, "RUNNING") == 0)
        s->running = at;
}

static void on_line(struct side *s, json_t *line) {
    const char *event = text_of(line, "event"), *state = text_of(line, "state");
    uint64_t at = (uint64_t)json_integer_value(json_object_get(line, "t"));
    if (strcmp(event, "state") == 0) {
        on_state(s, at, text_of(line, "from"), state);
    } else if (strcmp(event, "reinit") == 0) {
        bool told = json_is_true(json_object_get(line, "announced"));
        put(s->events, at, "event", told ? "REINIT" : "new data, untold");
    } else if (strcmp(event, "saved") == 0) {
        s->first = (uint64_t)json_integer_value(json_object_get(line, "stop_read"));
    } else if (strcmp(event, "loaded") == 0) {
        s->last = (uint64_t)json_integer_value(json_object_get(line, "last_write"));
    }
}

static int read_log(const char *dir, const char *side, unsigned device, struct side *s) {
    char path[700], line[1024];
    (void)snprintf(path, sizeof path, "%s/%s%u.log", dir, side, device);
    FILE *file = fopen(path, "re");
    s->states = json_array();
    s->events = json_array();
    if (!file)
        return -1;
    while (fgets(line, sizeof line, file)) {
        json_t *o = json_loads(line, 0, NULL);
        on_line(s, o);
        json_decref(o);
    }
    (void)fclose(file);
    return 0;
}

/* ---- marks that only the programs know ---- */

static int64_t realtime_offset(void) {
    struct timespec real, mono;
    (void)clock_gettime(CLOCK_REALTIME, &real);
    (void)clock_gettime(CLOCK_MONOTONIC, &mono);
    return ((int64_t)real.tv_sec - mono.tv_sec) * 1000000000 + real.tv_nsec - mono.tv_nsec;
}

/* The device that a line of QEMU's trace names, "vfN"; VB_DEVICES: none. */
static unsigned device_in(const char *line) {
    unsigned device = 0;
    for (; device < VB_DEVICES; device++) {
        char want[16];
        (void)snprintf(want, sizeof want, "vf%u", device);
        if (strstr(line, want))
            break;
    }
    return device;
}

/* "2026-01-31T12:34:56.123456Z ", in UTC; ns, or -1. */
static int64_t stamp_of(const char *line) {
    struct tm t = {0};
    const char *rest = strptime(line, "%Y-%m-%dT%H:%M:%S", &t);
    if (!rest || *rest != '.')
        return -1;
    return (int64_t)timegm(&t) * 1000000000 + (int64_t)(strtod(rest, NULL) * 1e9);
}

static void read_trace(const char *dir, const char *side, const char *event, const char *mark,
                       struct side sides[VB_DEVICES]) {
    char path[700], line[512];
    (void)snprintf(path, sizeof path, "%s/%s.trace", dir, side);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        unsigned device = device_in(line);
        int64_t at = stamp_of(line);
        if (at >= 0 && device < VB_DEVICES && strstr(line, event))
            put(sides[device].events, (uint64_t)(at - realtime_offset()), "event", mark);
    }
    if (file)
        (void)fclose(file);
}

/* Our report: its clock begins with the end; a state that stands in the log, too, ties them. */
static void read_report(const char *dir, const char *side, const char *state, const char *event,
                        const char *mark, struct side sides[VB_DEVICES]) {
    char path[700];
    size_t i, n;
    json_t *lane, *e, *st;
    (void)snprintf(path, sizeof path, "%s/%s.json", dir, side);
    json_t *r = json_load_file(path, 0, NULL), *t = json_object_get(r, "timeline");
    json_t *lanes = json_object_get(t, "lanes");
    unsigned device = 0;
    json_array_foreach(lanes, i, lane) {
        int64_t offset = 0;
        if (strcmp(text_of(lane, "kind"), "device") != 0 || device == VB_DEVICES ||
            strcmp(text_of(lane, "name"), "ram") == 0)
            continue;
        json_array_foreach(json_object_get(lane, "states"), n, st) {
            json_t *logged;
            size_t k;
            if (strcmp(text_of(st, "state"), state) != 0)
                continue;
            json_array_foreach(sides[device].states, k,
                               logged) if (strcmp(text_of(logged, "state"), state) == 0) offset =
                json_integer_value(json_object_get(logged, "at")) -
                1000 * json_integer_value(json_object_get(st, "at_us"));
        }
        json_array_foreach(json_object_get(t, "events"), n, e) {
            json_t *of = json_object_get(e, "lane");
            if (of && (size_t)json_integer_value(of) == i &&
                strcmp(text_of(e, "event"), event) == 0)
                put(sides[device].events,
                    (uint64_t)(offset + 1000 * json_integer_value(json_object_get(e, "at_us"))),
                    "event", mark);
        }
        device++;
    }
    json_decref(r);
}

/* ---- figures ---- */

static double ms(uint64_t from, uint64_t to) {
    return to > from ? (double)(to - from) / 1e6 : 0;
}

enum {
    STEP = 1000000, /* ns: changes of state that begin closer to each other are one step of all */
    SPANS = 10 * VB_DEVICES,
};

/* Time in which a device holds things up, and what it counts for. */
struct span {
    uint64_t from, to;
    double *ms;
};

struct spans {
    struct span list[SPANS];
    size_t count;
};

static void add_span(struct spans *s, uint64_t from, uint64_t to, double *into) {
    if (from && to > from && s->count < SPANS)
        s->list[s->count++] = (struct span){from, to, into};
}

static int by_time(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool covers(const struct span *s, uint64_t from, uint64_t to) {
    return s->from <= from && s->to >= to;
}

/* Time that several of them take is parted among them. */
static void part(const struct spans *s) {
    uint64_t edge[2 * SPANS];
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        edge[n++] = s->list[i].from;
        edge[n++] = s->list[i].to;
    }
    qsort(edge, n, sizeof edge[0], by_time);
    for (size_t i = 0; i + 1 < n; i++) {
        unsigned active = 0;
        for (size_t k = 0; k < s->count; k++)
            active += covers(&s->list[k], edge[i], edge[i + 1]);
        for (size_t k = 0; k < s->count; k++)
            if (covers(&s->list[k], edge[i], edge[i + 1]))
                *s->list[k].ms += ms(edge[i], edge[i + 1]) / active;
    }
}

/* Where the step ends that a change of state at this time is part of: the next one begins. */
static uint64_t step_end(const struct logs *l, size_t end, uint64_t at, uint64_t limit) {
    uint64_t next = limit;
    for (size_t d = 0; d < VB_DEVICES; d++) {
        const struct side *s = &l->side[end][d];
        json_t *st;
        size_t i;
        json_array_foreach(s->states, i, st) {
            uint64_t t = (uint64_t)json_integer_value(json_object_get(st, "at"));
            if (t > at + STEP && t < next)
                next = t;
        }
        if (s->first > at + STEP && s->first < next)
            next = s->first;
    }
    return next;
}

static void add_device(const struct logs *l, size_t d, uint64_t end, struct vb_device *v,
                       struct spans *spans) {
    const struct side *s = &l->side[0][d], *r = &l->side[1][d];
    json_t *st;
    size_t i;
    add_span(spans, s->quiet, step_end(l, 0, s->quiet, end), &v->quiet_ms);
    add_span(spans, s->stop_copy, step_end(l, 0, s->stop_copy, end), &v->quiet_ms);
    add_span(spans, s->first, r->last, &v->data_ms);
    json_array_foreach(r->states, i, st) {
        uint64_t t = (uint64_t)json_integer_value(json_object_get(st, "at"));
        if (t > r->last && r->last)
            add_span(spans, t, step_end(l, 1, t, end), &v->run_ms);
    }
}

static void reckon(const struct logs *l, struct vb_run *out) {
    uint64_t begin = UINT64_MAX, end = 0;
    struct spans spans = {.count = 0};
    for (size_t d = 0; d < VB_DEVICES; d++) {
        if (l->side[0][d].quiet < begin)
            begin = l->side[0][d].quiet;
        if (l->side[1][d].running > end)
            end = l->side[1][d].running;
    }
    out->downtime_ms = ms(begin, end);
    for (size_t d = 0; d < VB_DEVICES; d++)
        add_device(l, d, end, &out->device[d], &spans);
    part(&spans);
    for (size_t d = 0; d < VB_DEVICES; d++) {
        struct vb_device *v = &out->device[d];
        v->ms = v->quiet_ms + v->data_ms + v->run_ms;
    }
    out->good = begin != UINT64_MAX && end > begin;
}

/* ---- the page ---- */

static json_t *lanes_of(const struct logs *l) {
    json_t *all = json_array();
    for (size_t d = 0; d < VB_DEVICES; d++)
        for (size_t e = 0; e < 2; e++) {
            const struct side *s = &l->side[e][d];
            json_array_append_new(all,
                                  json_pack("{s:s, s:i, s:O, s:O, s:I, s:I}", "end",
                                            e ? "destination" : "source", "device", (int)d,
                                            "states", s->states, "events", s->events, "first",
                                            (json_int_t)s->first, "last", (json_int_t)s->last));
        }
    return all;
}

static void forget(struct logs *l) {
    for (size_t e = 0; e < 2; e++)
        for (size_t d = 0; d < VB_DEVICES; d++) {
            json_decref(l->side[e][d].states);
            json_decref(l->side[e][d].events);
        }
}

int vb_read_logs(const char *dir, struct vb_run *out, json_t **lanes) {
    static struct logs l;
    int rc = 0;
    memset(&l, 0, sizeof l);
    for (unsigned d = 0; d < VB_DEVICES; d++)
        rc |= read_log(dir, "src", d, &l.side[0][d]) | read_log(dir, "dst", d, &l.side[1][d]);
    if (rc == 0) {
        read_trace(dir, "src", "vfio_send_init_data_flag", "INIT_DATA_SENT", l.side[0]);
        read_trace(dir, "dst", "loadvm_approve_switchover", "ACK", l.side[1]);
        read_report(dir, "src", "pre-copy", "initial data", "INIT_DATA_SENT", l.side[0]);
        read_report(dir, "dst", "resuming", "ack", "ACK", l.side[1]);
        reckon(&l, out);
        *lanes = lanes_of(&l);
    }
    forget(&l);
    return rc;
}
