/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_DISPLAY_H
#define VMSTREAM_HOST_DISPLAY_H

#include "host/timeline.h"

/**
 * A migration as it goes, on a terminal: a block of lines that is drawn again and again. Not a
 * terminal: one line whenever the phase changes, and one a second. A thread of its own also brings
 * the timeline up to date and takes its samples, so that it is wanted even where nothing is shown.
 * Nothing is shown before the first phase.
 *
 *     struct vms_display_options o = {.fd = options->quiet ? -1 : STDERR_FILENO,
 *                                     .program = "reference-src",
 *                                     .refresh = fill_in_counters_and_gauges, .ctx = session};
 *     struct vms_display *d = vms_display_start(timeline, &o);
 *     ...                         the migration
 *     vms_display_stop(d);        refreshes and draws a last time
 */
struct vms_display_options {
    int fd; /* to write to; -1: nothing is shown */
    const char *program;
    /** Called about every 100 ms by the display's thread: calls vms_timeline_count() and
     * vms_timeline_gauges() with what holds now. NULL: none. */
    void (*refresh)(void *ctx, uint64_t now_ns);
    void *ctx;
};

struct vms_display;

/** NULL: no memory or thread; the migration goes on without it. The timeline is borrowed. */
struct vms_display *vms_display_start(struct vms_timeline *timeline,
                                      const struct vms_display_options *options);
/** A line for people, above what is drawn again and again. Without \n. display NULL: to nobody. */
void vms_display_note(struct vms_display *display, const char *text);
/** NULL is allowed. Frees it. */
void vms_display_stop(struct vms_display *display);

/** CLOCK_MONOTONIC in nanoseconds: the programs' clock for timelines. */
uint64_t vms_display_now(void);

/**
 * What is drawn: lines that end with \n, at most `rows` of them, none wider than `columns`, into
 * out (size bytes; cut at whole lines). Returns the number of lines.
 */
unsigned vms_display_block(const struct vms_timeline_view *view, const char *program,
                           unsigned columns, unsigned rows, char *out, size_t size);
/** The one line for logs, without \n. */
void vms_display_line(const struct vms_timeline_view *view, char *out, size_t size);

#endif
