/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_LIVE_H
#define CONFORMANCE_LIVE_H

#include "conformance/adapters/qemu.h"
#include "conformance/guest/check_guest.h"

#include <stdio.h>

/**
 * A live migration from a real QEMU, running our guest, into reference-dst as a process of its own,
 * and the proof that the memory arrived: every RAM block equals QEMU's own memory after the source
 * has stopped. Every wait has a deadline. Functions return 0, or -1 with the reason in live->error.
 */
enum live_transport {
    LIVE_UNIX,
    LIVE_TCP,
    LIVE_TLS_X509,
    LIVE_TLS_PSK,
    LIVE_FD,   /* a pipe, read by reference-dst as fd:0 */
    LIVE_EXEC, /* QEMU's exec: into a pipe that reference-dst reads by exec: */
    LIVE_FILE, /* QEMU's exec: into a file, read afterwards */
};

struct live_case {
    const char *version; /* of QEMU */
    const char *machine; /* "pc", "q35" (with virtio), "pc-i440fx-7.2", ... */
    enum live_transport transport;
    const char *const *capabilities; /* NULL-terminated; NULL: none */
    const char *parameters;          /* JSON for migrate-set-parameters; NULL: none */
    const char *const *dst_args;     /* more arguments for reference-dst; NULL: none */
    const char *memory;              /* -m; NULL: 32 MiB, or a little more */
    const char *const *qemu_args;    /* more arguments for QEMU; NULL: none */
    unsigned pages_per_tick;         /* that the guest writes every 100 ms; 0: 160 */
    bool show;                       /* reference-dst writes to our standard error */
};

struct live {
    const struct live_case *what;
    const char *reference_dst; /* path of the program */
    char dir[64];
    char uri_listen[256], uri_migrate[256];
    struct vms_qemu *qemu;
    pid_t dst;
    struct vms_guest_params guest;
    struct vms_ram_dump dump;
    json_t *report; /* of reference-dst */
    int dst_status; /* its exit status */
    size_t blocks;  /* compared */
    uint64_t bytes; /* compared */
    struct vms_guest_report guest_report;
    char error[VMS_QEMU_ERROR_SIZE];
};

/** Boots the guest and waits for its heartbeat. */
int live_boot(struct live *live, const struct live_case *what, const char *reference_dst);
/** A QEMU of the case that boots image; incoming: a destination. NULL: live->error. */
struct vms_qemu *live_start_qemu(struct live *live, const char *image, bool incoming, bool paused);
/** Starts reference-dst and waits until it listens. */
int live_listen(struct live *live);
/** Migrates and waits until QEMU says "completed". */
int live_migrate(struct live *live);
/** Waits for reference-dst and reads its report; wants exit status 0. */
int live_finish(struct live *live);
/** Dumps QEMU's RAM blocks and compares each with what reference-dst has written. */
int live_compare(struct live *live);
/** All of the above. */
int live_run(struct live *live, const struct live_case *what, const char *reference_dst);
/** Ends processes, removes files. */
void live_free(struct live *live);

/* live_tls.c: credentials with QEMU's file names, made by openssl */
int live_make_certificates(struct live *live);
int live_make_psk(struct live *live);

/** A TCP port that was free a moment ago. */
unsigned live_free_port(void);
int live_fail(struct live *live, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Starts a program with its arguments; output into a file unless NULL. -1 on failure. */
pid_t live_spawn(const char *const *argv, const char *output, const char *input);
/** This child has not ended; one that has, and was not waited for, is none that runs. */
bool live_runs(pid_t pid);
/** Waits for its end, at most timeout_ms, then kills it. Exit status, 128 + signal, or -1. */
int live_wait(pid_t pid, int timeout_ms);

#endif
