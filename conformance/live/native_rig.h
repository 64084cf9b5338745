/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_NATIVE_RIG_H
#define CONFORMANCE_NATIVE_RIG_H

#include "conformance/adapters/tap.h"
#include "conformance/live/live.h"

#include <sys/types.h>

/**
 * reference-src and reference-dst as processes of their own, a guest that writes all the time, and
 * the oracles: every page right at the end that has the guest, never two that run (the running
 * lock of the VM file), and what the reports say.
 */
struct native_rig {
    char dir[64];
    char listen[128], connect[128]; /* URIs */
    char vm[128], keys[128], journal_src[128], journal_dst[128];
    const char *src_args[24], *dst_args[24]; /* more of them; NULL-terminated */
    pid_t src, dst;
    int src_status, dst_status; /* exit status, 128 + signal, -1: still running or late */
    struct vms_tap *tap;
    json_t *src_report, *dst_report; /* NULL: none was written */
    char error[256];
};

/** A folder, VM file of so many MiB, keys. tap: connections go through one. -1: rig->error. */
int native_rig_open(struct native_rig *rig, unsigned mib, const char *transport, bool tap);
/** Adds arguments, NULL-terminated. */
void native_src_args(struct native_rig *rig, ...);
void native_dst_args(struct native_rig *rig, ...);
/** Starts reference-dst and waits until it listens; reference-src. */
int native_start_dst(struct native_rig *rig);
int native_start_src(struct native_rig *rig);
/** Waits until a journal of that folder says so; the session's id. -1: not within timeout_ms. */
int native_wait_journal(const char *folder, const char *state, char session[33], int timeout_ms);
/** Waits for the end of both, at most timeout_ms each, and reads the reports. */
void native_finish(struct native_rig *rig, int timeout_ms);
/** Text of a log: "src" or "dst". The caller's to free. */
char *native_log(struct native_rig *rig, const char *which);
/** Both logs and exit statuses, on standard error. */
void native_show(struct native_rig *rig);
/** Bytes that have gone through the tap, to the destination, on all connections. */
uint64_t native_forwarded(struct native_rig *rig);
/** Until so many bytes have gone through the tap, or the source has ended: a case has its own limit
 * of time. */
void native_wait_bytes(struct native_rig *rig, uint64_t bytes);
void native_rig_close(struct native_rig *rig);

#endif
