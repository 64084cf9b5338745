/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_OPTIONS_H
#define REFERENCE_SRC_OPTIONS_H

#include "host/dirty.h"
#include "reference-src/wire.h"

#include <vmstream/dialect.h>
#include <vmstream/limits.h>
#include <vmstream/seal.h>

/** The command line of reference-src. A plain value; strings point into argv, NULL: not given. */

enum src_resolve {
    SRC_RESOLVE_NONE,
    SRC_RESOLVE_OURS,
    SRC_RESOLVE_THEIRS,
};

enum {
    SRC_VFIO_MAX = 16,
};

struct src_options {
    /* what migrates, and where to */
    const char *connect;            /* URI */
    bool native;                    /* wire; else QEVM */
    const char *vm;                 /* VM file of reference-src/vm */
    const char *device_state;       /* recorded QEVM stream: its device sections, its blocks */
    bool huge_pages;                /* recorded guest: blocks of whole 2 MiB are backed so */
    uint32_t touch;                 /* recorded guest: pages a second that are written meanwhile */
    const char *vfio[SRC_VFIO_MAX]; /* devices, as vms_vfio_spec has them */
    size_t vfio_count;
    bool vfio_multifd;              /* QEVM: their last state in packets on the multifd channels */
    const char *vdpa[SRC_VFIO_MAX]; /* vDPA devices, likewise */
    size_t vdpa_count;
    bool no_early_state;        /* all state of vDPA devices goes at the end */
    const char *machine;        /* name in CONFIGURATION, HELLO */
    struct vms_dialect dialect; /* of the destination; QEVM */

    /* how */
    unsigned channels; /* QEVM: multifd, native: data channels; 0: main only, native: the default */
    bool no_return_path;
    bool postcopy;
    bool preempt;       /* QEVM: preempt channel; native: requested pages overtake */
    int postcopy_after; /* rounds over RAM, then postcopy by itself; -1: by order */
    uint64_t bandwidth, postcopy_bandwidth, switchover_bandwidth; /* bytes a second; 0: unlimited */
    uint64_t downtime_ms;
    enum vms_dirty_kind dirty; /* tracker of writes */
    enum src_scheduler_kind scheduler;
    uint64_t quantum; /* bytes; 0: default */
    bool auto_converge;
    bool wait; /* for the order to begin */
    bool pause_before_switchover;
    bool switchover_ack;
    const char *journal; /* folder */
    enum src_resolve resolve;
    bool inquire; /* after a restart, ask about what is in doubt in the journal */

    /* security; psk: with tls: the TLS key, on the native wire else the sealing key */
    const char *tls_creds, *psk, *identity, *tls_hostname;
    bool has_suite;
    enum vms_suite suite;    /* --seal */
    bool no_digest;          /* --digest off: without the RAM digest (native) */
    bool no_device_channels; /* --device-channels off: state of devices on main alone (native) */
    bool pack;               /* --pack zstd[:LEVEL], adaptive: level 0 */
    int pack_level;

    /* the program */
    const char *control; /* unix:PATH */
    const char *report;
    int timeout_ms;   /* for each wait on the peer; -1: none */
    int keepalive_ms; /* natively, our longest silence that is no cut (SES-25); 0: 10 s */
    int reconnect_ms; /* to try for after a cut; 0: only by order; -1: 60 s, QEVM with --control 0
                       */
    uint64_t ready_ms, settle_ms, limit_ms;
    uint64_t locks_retry_ms; /* the first pause before storage locks are tried again; 0: 1 s */
    uint64_t replay_bytes;   /* native: kept for a resumption; 0: default */
    struct vms_limits limits;
    bool quiet;

    /* filled in by the session before it makes the wire */
    const struct src_wire_device *devices; /* with sections of their own, beside RAM */
    size_t device_count;
    const struct src_recorded *recorded; /* NULL without --device-state */
};

/** What holds when nothing is said; a program of its own then sets connect, native, machine. */
void src_options_default(struct src_options *out);

/**
 * Reads the command line. -1 to go on, or the exit status: 0 after --help and --version, 2 for
 * wrong usage, said on standard error.
 */
int src_options_parse(int argc, char **argv, struct src_options *out);

#endif
