/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_PROCESS_H
#define CONFORMANCE_RUNNER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** A process with a group of its own, that ends with its deadline or with us. */
struct cert_process {
    char name[64];    /* for people: "destination qemu-7.2" */
    pid_t pid;        /* 0: not started, or reaped */
    int64_t deadline; /* of cert_now(); 0: none */
    bool started, ended, late;
    bool killed; /* by us, though not late */
    int status;  /* of waitpid(), when it has ended */
};

enum {
    CERT_ENV = 32,
};

/**
 * Starts argv[0]. env are "NAME=VALUE" to add to ours, NULL-terminated; output gets standard output
 * and error (NULL: ours). 0, or -1 with errno.
 */
int cert_spawn(struct cert_process *p, const char *const *argv, const char *const *env,
               const char *output, unsigned seconds);
/** Whether it has ended; one that is late is killed, with its group. Waits for nothing. */
bool cert_ended(struct cert_process *p);
/** Waits for its end. */
void cert_wait(struct cert_process *p);
/** Kills its group and reaps it; nothing when it has ended. */
void cert_kill(struct cert_process *p);
/** Exit status; 128 + signal; -1: late, killed by us, or not started. */
int cert_exit(const struct cert_process *p);
/** The signal that ended it of itself, or 0. */
int cert_signal(const struct cert_process *p);

#endif
