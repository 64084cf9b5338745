/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_WAIT_H
#define VMSTREAM_HOST_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/** Waiting for a descriptor: deadlines and cancellation, the only place where this layer sleeps. */

/** A point of CLOCK_MONOTONIC in milliseconds. */
typedef int64_t vms_deadline;

#define VMS_NEVER INT64_MAX

/** The deadline timeout_ms from now: 0 is at once, negative is VMS_NEVER. */
vms_deadline vms_deadline_in(int timeout_ms);
/** Milliseconds left as poll() takes them: -1 for ever, 0 when it has passed. */
int vms_deadline_left(vms_deadline deadline);

/**
 * A flag that wakes every call waiting with it, made of an eventfd. Once raised it stays raised.
 * One token may serve any number of channels and listeners, which borrow it.
 */
struct vms_cancel;

/** NULL with errno set when there is no memory or descriptor. Free with vms_cancel_free(). */
struct vms_cancel *vms_cancel_new(void);
/** NULL is allowed. Nothing may still wait with it. */
void vms_cancel_free(struct vms_cancel *cancel);
/** May be called from any thread, and from a signal handler. NULL is allowed. */
void vms_cancel_raise(struct vms_cancel *cancel);
/** Not raised any more. Nobody may wait with it meanwhile. */
void vms_cancel_lower(struct vms_cancel *cancel);
/** NULL is never raised. */
bool vms_cancel_raised(const struct vms_cancel *cancel);

enum vms_wait {
    VMS_WAIT_READY,
    VMS_WAIT_TIMEOUT,
    VMS_WAIT_CANCELLED, /* the first token */
    VMS_WAIT_WOKEN,     /* the second token */
    VMS_WAIT_FAILED,    /* errno says why */
};

/**
 * Waits until fd has one of the poll() events (or an error, or a hang-up), a token is raised or the
 * deadline has passed; a token wins over a ready descriptor. fd may be -1, tokens may be NULL.
 */
enum vms_wait vms_wait_fd(int fd, short events, vms_deadline deadline,
                          const struct vms_cancel *cancel, const struct vms_cancel *wake);

#endif
