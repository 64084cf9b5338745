/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_FAULTS_RIG_H
#define CONFORMANCE_FAULTS_RIG_H

#include "conformance/adapters/tap.h"
#include "conformance/faults/plan.h"

#include <jansson.h>
#include <sys/types.h>

/** Both programs as processes of their own, a tap between them, and eyes and hands of an operator.
 */

struct fault_process {
    const char *name; /* of its files: "src", "dst" */
    pid_t pid;        /* 0: not running */
    bool killed;      /* by the fault */
    bool stopped;     /* SIGSTOP */
    int status;       /* at its end: exit status, 128 + signal; -1: not ended */
};

struct fault_rig {
    const struct fault_plan *plan;
    const char *build; /* folder of the programs */
    char dir[64];
    char vm[96], keys[96], control[96], listen[96], tapped[96];
    char journal[2][96]; /* of source, destination: file systems of their own */
    bool mounted;
    struct vms_tap *tap;
    struct fault_process src, dst;
    bool late; /* a deadline has ended a process */
    char error[256];
};

/** The harness's own mount namespace, for journals on tiny file systems. False: not allowed. */
bool fault_own_mounts(void);

/** Folder, VM file, keys, journals, tap. -1: rig->error. */
int fault_rig_open(struct fault_rig *rig, const struct fault_plan *plan, const char *build);
/** Starts reference-dst and waits until it listens; reference-src. */
int fault_start_dst(struct fault_rig *rig);
int fault_start_src(struct fault_rig *rig);
/** reference-dst again, which answers for the journal of a session. */
int fault_start_answer(struct fault_rig *rig, const char *session);
/** reference-src --resolve on its journals. Its exit status. */
int fault_resolve_journal(struct fault_rig *rig, const char *as);
/** Ends what still runs, unmounts; removes the folder, or moves it to keep (NULL: removes). */
void fault_rig_close(struct fault_rig *rig, const char *keep);

/** True when it has ended; takes its status. */
bool fault_ended(struct fault_process *p);
/** Sends a signal if it runs. SIGKILL: waits for its end. */
void fault_signal(struct fault_process *p, int number);

/** State of the source by its control socket, as in status; "" when it does not answer. */
const char *fault_state(struct fault_rig *rig, char state[16]);
/** An order; what it answers, "ok" or the code of the error, or "". */
void fault_order(struct fault_rig *rig, const char *line, char answer[48]);

/** State that the journal of source (0) or destination (1) says, "" for none; its session. */
const char *fault_journal(struct fault_rig *rig, int end, char state[16], char session[33]);
/** Takes the last byte of an end's journal file system, or gives it back. */
int fault_fill(struct fault_rig *rig, int end, bool full);

/** The destination has announced the guest. */
bool fault_announced(struct fault_rig *rig);
/** A program's log has that text. */
bool fault_says(struct fault_rig *rig, const struct fault_process *p, const char *text);
/** A file of the rig's folder, the caller's to free; "" for none. */
char *fault_text(struct fault_rig *rig, const char *name);
json_t *fault_report(struct fault_rig *rig, const struct fault_process *p);
/** Bytes that the source has sent into the tap. */
uint64_t fault_forwarded(struct fault_rig *rig);

int64_t fault_now_ms(void);
void fault_moment(void); /* between two looks */

#endif
