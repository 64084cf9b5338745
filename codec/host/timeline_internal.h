/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TIMELINE_INTERNAL_H
#define VMSTREAM_HOST_TIMELINE_INTERNAL_H

#include "host/timeline.h"

#include <pthread.h>

struct vms_timeline {
    pthread_mutex_t lock;
    uint64_t start_ns; /* the caller's clock; all that is kept is since then */
    bool begun;
    uint64_t due_ns; /* next sample, since the start */
    struct vms_timeline_view view;
};

/** The time since the start: never less than one that was told before. Lock held. */
uint64_t vms_timeline_since(struct vms_timeline *t, uint64_t now_ns);
/** Locks, begins if that was still to come, and returns the time since the start. */
uint64_t vms_timeline_enter(struct vms_timeline *t, uint64_t now_ns);
/** Copies text; what does not fit is cut, and what a terminal or page could stumble over is '?'. */
void vms_timeline_copy(char *to, size_t size, const char *text);
/** Appends a phase to a list with room for max; the list keeps the newest (REP-6). */
void vms_timeline_append(struct vms_timeline_phase *list, size_t *count, size_t max, uint64_t *lost,
                         uint64_t at_ns, const char *name);

#endif
