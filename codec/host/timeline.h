/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TIMELINE_H
#define VMSTREAM_HOST_TIMELINE_H

#include "host/histogram.h"

#include <stdbool.h>
#include <vmstream/error.h>

/**
 * What happened in one migration at one end, for people: phases, events, samples, latencies.
 * Thread-safe, bounded: nothing is allocated but a lane's series when the lane is made, and what is
 * full is thinned out (REP-6). It reads no clock: every time is the caller's, in nanoseconds of a
 * clock that only grows (CLOCK_MONOTONIC, or a simulation's).
 *
 * How to call it:
 *
 *     struct vms_timeline *t = vms_timeline_new(&options, now);   one for each migration
 *     vms_timeline_fact(t, "wire", "native");                     whatever is known once
 *     unsigned c = vms_timeline_lane(t, now, VMS_LANE_CHANNEL, "data 1");
 *     unsigned d = vms_timeline_lane(t, now, VMS_LANE_DEVICE, "vfio 0000:00:04.0");
 *     vms_timeline_phase(t, now, src_state_name(state));          whenever the state changes
 *     vms_timeline_event(t, now, VMS_EVENT_STOPPED, VMS_NO_LANE, 0, NULL);
 *     vms_timeline_lane_state(t, now, d, "pre-copy");             a device's or channel's state
 *     vms_timeline_count(t, c, &(struct vms_counters){...});      totals so far, when convenient
 *     vms_timeline_gauges(t, &gauges);                            what is known now
 *     vms_timeline_observe(t, VMS_LATENCY_FAULT, ns);
 *     vms_timeline_result(t, now, "completed", NULL);             once, at the end
 *
 * vms_display_start() (host/display.h) calls for counters and gauges, takes the samples and draws;
 * a simulation calls vms_timeline_tick() itself. host/report_json.h writes the report.
 * All pointers may be NULL where a timeline is taken: then nothing is recorded.
 */
enum {
    VMS_TIMELINE_NAME = 48,      /* bytes of a name with its NUL; longer ones are cut */
    VMS_TIMELINE_TEXT = 96,      /* of a fact's or event's text */
    VMS_TIMELINE_LANES = 320,    /* further ones are not recorded */
    VMS_TIMELINE_SERIES = 64,    /* lanes that have samples of their own */
    VMS_TIMELINE_SAMPLES = 1024, /* full: every second one goes, the interval doubles */
    VMS_TIMELINE_PHASES = 256,   /* full: the last one is replaced */
    VMS_TIMELINE_STATES = 64,    /* of one lane; likewise */
    VMS_TIMELINE_EVENTS = 1024,  /* full: every second ROUND goes; none left: new ones are lost */
    VMS_TIMELINE_FACTS = 48,     /* further ones are lost */
};

#define VMS_NO_LANE UINT32_MAX

enum vms_end {
    VMS_END_SOURCE,
    VMS_END_DESTINATION,
};

enum vms_lane_kind {
    VMS_LANE_CHANNEL,
    VMS_LANE_DEVICE,
};

/* What an event's value means is in the comment. Those with a + are marked in plots. */
#define VMS_TIMELINE_EVENTS_OF(X)                                                                  \
    X(CONNECTED, "connected") /* + the first connection is there */                                \
    X(ROUND, "round")         /* a pass over RAM begins; value: its number from 1 */               \
    X(REQUEST, "request")     /* + a switchover is asked for; lane: device, value: generation */   \
    X(ACK, "ack")             /* + and granted */                                                  \
    X(INITIAL_DATA, "initial data") /* all initial data of a device has been sent, or loaded */    \
    X(REINIT, "reinit")             /* + a device begins again; value: generation */               \
    X(STOPPED, "stopped")           /* + the guest has stopped at the source */                    \
    X(START, "start")               /* everything was sent (START, EOF); or has arrived */         \
    X(READY, "ready")                                                                              \
    X(COMMIT, "commit")     /* + */                                                                \
    X(RUNNING, "running")   /* + the guest runs at the destination, as far as this end knows */    \
    X(POSTCOPY, "postcopy") /* + from here on pages follow the guest */                            \
    X(CUT, "cut")           /* + the connection is gone */                                         \
    X(RESUMED, "resumed")   /* + and here again, where it was */                                   \
    X(HELD, "held")         /* + stopped, waits for an order */                                    \
    X(RESTARTED, "running at the source again") /* + */                                            \
    X(THROTTLE, "throttle")                     /* value: percent */                               \
    X(NOTE, "note")                             /* text */

enum vms_timeline_event {
#define VMS_EVENT_(name, text) VMS_EVENT_##name,
    VMS_TIMELINE_EVENTS_OF(VMS_EVENT_)
#undef VMS_EVENT_
    VMS_EVENT_COUNT,
};

enum vms_latency {
    VMS_LATENCY_FAULT,   /* postcopy, destination: from the fault until its page is in place */
    VMS_LATENCY_REQUEST, /* postcopy, source: from the request until its page has been given out */
    VMS_LATENCY_MAP,     /* one IOMMU map operation of a device */
    VMS_LATENCY_COUNT,
};

/** Totals of a lane since the beginning; they never go down. A channel uses the first four. */
struct vms_counters {
    uint64_t bytes;        /* on the wire, in the direction of the data */
    uint64_t bytes_back;   /* the other way */
    uint64_t pages, zeros; /* target pages with data; zero pages */
    uint64_t done, total;  /* of a device's own measure of progress: initial data, bytes mapped;
                              total 0: it has none, or it is not known */
};

/** What is known now; 0: not known. */
struct vms_gauges {
    uint64_t bandwidth;            /* bytes a second, as the engine reckons */
    uint64_t dirty_rate;           /* bytes a second */
    uint64_t pending;              /* bytes, all devices */
    uint64_t threshold;            /* bytes that fit into the downtime limit */
    uint64_t expected_downtime_ns; /* 0, UINT64_MAX: not known */
    uint64_t total;                /* bytes of guest memory */
    uint32_t throttle;             /* percent */
    uint32_t rounds;
    uint32_t faults;      /* outstanding: pages that the guest waits for */
    uint32_t waiting_for; /* lane whose acknowledgement is missing; VMS_NO_LANE: none */
};

struct vms_timeline;

struct vms_timeline_options {
    enum vms_end end;
    uint64_t interval_ns;   /* between samples; 0: 100 ms */
    int64_t started_unix_s; /* wall clock at the start, to lay two reports side by side; 0: none */
    bool waits; /* time begins with the first phase, event or lane: whoever waits for a connection
                   has nothing to tell until then */
};

/** NULL: no memory. */
struct vms_timeline *vms_timeline_new(const struct vms_timeline_options *options, uint64_t now_ns);
/** NULL is allowed. Nothing may call any more. */
void vms_timeline_free(struct vms_timeline *t);

/** The end is in another state now. The same again is nothing. Text is copied. */
void vms_timeline_phase(struct vms_timeline *t, uint64_t now_ns, const char *state);
/** text may be NULL. */
void vms_timeline_event(struct vms_timeline *t, uint64_t now_ns, enum vms_timeline_event event,
                        uint32_t lane, uint64_t value, const char *text);
/** A new channel or device; the number that stands for it from here on. The same kind and name
 * again is the same lane. */
uint32_t vms_timeline_lane(struct vms_timeline *t, uint64_t now_ns, enum vms_lane_kind kind,
                           const char *name);
void vms_timeline_lane_state(struct vms_timeline *t, uint64_t now_ns, uint32_t lane,
                             const char *state);
/** An unknown lane is ignored. */
void vms_timeline_count(struct vms_timeline *t, uint32_t lane, const struct vms_counters *totals);
void vms_timeline_gauges(struct vms_timeline *t, const struct vms_gauges *gauges);
void vms_timeline_observe(struct vms_timeline *t, enum vms_latency what, uint64_t ns);
/** One thing to know, such as "session", "machine", "seal". The same key again replaces it. */
void vms_timeline_fact(struct vms_timeline *t, const char *key, const char *value);
/** "completed", "failed", "cancelled", "in doubt"; why: NULL, or the reason. Copied. */
void vms_timeline_result(struct vms_timeline *t, uint64_t now_ns, const char *result,
                         const struct vms_error *why);

/** CPU time that this process has taken for the migration so far; vms_display_start() sees to it.
 */
void vms_timeline_cpu(struct vms_timeline *t, uint64_t user_ns, uint64_t system_ns);

/** Takes a sample of counters and gauges when one is due. Whether it did. */
bool vms_timeline_tick(struct vms_timeline *t, uint64_t now_ns);

/* ---- to read ---- */

struct vms_timeline_phase {
    uint64_t at_ns; /* since the start, as all times below */
    char name[VMS_TIMELINE_NAME];
};

struct vms_timeline_mark {
    uint64_t at_ns, value;
    enum vms_timeline_event event;
    uint32_t lane;
    char text[VMS_TIMELINE_TEXT];
};

struct vms_timeline_sample {
    uint64_t at_ns;
    struct vms_counters totals; /* of all channels */
    struct vms_gauges gauges;
};

struct vms_lane_sample {
    uint64_t bytes, pages, zeros, done;
};

struct vms_timeline_lane {
    enum vms_lane_kind kind;
    char name[VMS_TIMELINE_NAME];
    uint64_t at_ns; /* made */
    struct vms_counters totals;
    size_t state_count;
    struct vms_timeline_phase states[VMS_TIMELINE_STATES];
    struct vms_lane_sample *samples; /* VMS_TIMELINE_SAMPLES; NULL: none of its own */
};

struct vms_timeline_fact {
    char key[VMS_TIMELINE_NAME], value[VMS_TIMELINE_TEXT];
};

struct vms_timeline_view {
    struct vms_timeline_options options;
    uint64_t interval_ns;                /* now */
    uint64_t now_ns;                     /* the latest time that was told, since the start */
    uint64_t end_ns;                     /* of vms_timeline_result(); 0: not over */
    uint64_t cpu_user_ns, cpu_system_ns; /* both 0: not known */
    char result[VMS_TIMELINE_NAME];
    struct vms_error error; /* code VMS_OK: none */
    size_t phase_count, mark_count, sample_count, lane_count, fact_count;
    uint64_t marks_lost, phases_lost;
    struct vms_counters totals; /* of all channels, now */
    struct vms_gauges gauges;   /* now */
    struct vms_timeline_phase phases[VMS_TIMELINE_PHASES];
    struct vms_timeline_mark marks[VMS_TIMELINE_EVENTS];
    struct vms_timeline_sample samples[VMS_TIMELINE_SAMPLES];
    struct vms_timeline_lane lanes[VMS_TIMELINE_LANES];
    struct vms_timeline_fact facts[VMS_TIMELINE_FACTS];
    struct vms_histogram latencies[VMS_LATENCY_COUNT];
};

/** Everything, to read until vms_timeline_done(); those who record wait meanwhile. Not NULL. */
const struct vms_timeline_view *vms_timeline_view(struct vms_timeline *t);
void vms_timeline_done(struct vms_timeline *t);

/** Static text, never NULL. */
const char *vms_timeline_event_name(enum vms_timeline_event event);
const char *vms_latency_name(enum vms_latency what); /* "fault", "request", "map" */
/** When the event was first seen; false: never. */
bool vms_timeline_when(const struct vms_timeline_view *view, enum vms_timeline_event event,
                       uint64_t *at_ns);
/** From the last stop before the guest ran at the destination until then (REP-3). False: not known
 * at this end. */
bool vms_timeline_downtime(const struct vms_timeline_view *view, uint64_t *ns);

#endif
