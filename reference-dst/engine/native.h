/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_ENGINE_NATIVE_H
#define REFERENCE_DST_ENGINE_NATIVE_H

#include <vmstream/handover.h>

/**
 * The destination of a native migration as a pure state machine (chapter MIG; the hand-over inside
 * it is HND's): events in, actions out. It makes no system call, reads no clock and moves no page.
 * The program turns what happens into events and carries the actions out, in order; what they lead
 * to is the next event.
 */
enum dst_native_state {
    DST_N_SETUP,     /* hellos, block list, the setup of every device */
    DST_N_PRECOPY,   /* data comes while the guest runs at the source */
    DST_N_ASKED,     /* START has come; not all is loaded and compared */
    DST_N_READY,     /* OPEN is being written, or READY was sent */
    DST_N_IN_DOUBT,  /* READY was sent and the connection is gone, or the journal is lost */
    DST_N_STARTING,  /* COMMIT has come: locks are being taken, STARTED is being written */
    DST_N_STARTED,   /* STARTED is durable; devices, then virtual CPUs are being released */
    DST_N_POSTCOPY,  /* the guest runs here; pages are at the source */
    DST_N_PAUSED,    /* that, and the connection is gone: the guest waits for pages */
    DST_N_RUNNING,   /* the guest runs here and is whole; the source is being told */
    DST_N_REFUSING,  /* NOT_STARTED is being written */
    DST_N_COMPLETED, /* the guest is ours, and the source knows or was given up */
    DST_N_FAILED,    /* the guest never runs here; or pages of it are lost: see guest_runs */
    DST_N_STATE_COUNT,
};

enum dst_native_event_kind {
    /* the connection */
    DST_NEV_HELLO, /* agreed; .value: features in force */
    DST_NEV_CUT,
    DST_NEV_RECONNECTED,
    DST_NEV_GIVE_UP, /* order, or no reconnection came in time */
    /* frames of the source */
    DST_NEV_DATA,       /* pages, records, state of a device */
    DST_NEV_SETUP_DONE, /* the machine's setup is whole (MIG-4) */
    DST_NEV_START,      /* .generation */
    DST_NEV_COMMIT,     /* .generation */
    DST_NEV_END,
    DST_NEV_ABORT,
    DST_NEV_REQUEST, /* .device, .generation: may the switchover come? */
    DST_NEV_GRANT,   /* .device, .generation */
    /* reports of what was asked for, and of what happens here */
    DST_NEV_LOADED,  /* all that belongs before START is in its place; .value: verdict of READY */
    DST_NEV_LOCKS,   /* .value 0: taken */
    DST_NEV_WRITTEN, /* the journal */
    DST_NEV_WRITE_FAILED,
    DST_NEV_RUNS,         /* .value 0: the virtual CPUs run; else why nothing of the guest does, nor
                             can: its devices have been reset (HND-17) */
    DST_NEV_PAGES_IN,     /* postcopy: no page is missing */
    DST_NEV_DEVICE_READY, /* .device, .generation: has what the source asked about */
    DST_NEV_DEVICE_NEEDS, /* .device, .generation: the switchover shall wait for it */
    DST_NEV_TOLD,         /* the source has acknowledged RUNNING, or is content and gone */
    DST_NEV_ERROR,        /* anything failed at this end; .value = enum vms_code */
    /* orders */
    DST_NEV_RESOLVE_OURS,
    DST_NEV_RESOLVE_THEIRS,
    DST_NEV_COUNT,
};

struct dst_native_event {
    enum dst_native_event_kind kind;
    uint32_t device;
    uint64_t generation;
    uint64_t value;
};

enum dst_native_action_kind {
    DST_NDO_ASK_DEVICE,   /* .device, .generation → DEVICE_READY */
    DST_NDO_SEND_GRANT,   /* .device, .generation */
    DST_NDO_SEND_REQUEST, /* .device, .generation */
    DST_NDO_GRANTED,      /* .device, .generation: tell the device */
    DST_NDO_LOAD,         /* wait for all that belongs before START, load and compare it → LOADED,
                             ERROR; .value 1: postcopy, pages may be missing */
    DST_NDO_LOCKS,        /* .value 1: take them → LOCKS; 0: give them back */
    DST_NDO_WRITE,        /* .journal, .generation → WRITTEN or WRITE_FAILED */
    DST_NDO_SEND_READY,   /* .generation, .value: verdict */
    DST_NDO_RUN_GUEST,    /* .value 1: pages are missing → RUNS */
    DST_NDO_ANNOUNCE,     /* the guest's network addresses */
    DST_NDO_SEND_RUNNING, /* .generation; then → TOLD, when it was acknowledged */
    DST_NDO_SEND_NOT_STARTED, /* .generation */
    DST_NDO_RECONNECT, /* keep all, wait for the source → RECONNECTED; GIVE_UP, but not in doubt */
    DST_NDO_TELL,      /* the operator: what is known, and what to do */
    DST_NDO_ABORT,     /* tell the source: .value = enum vms_code */
    DST_NDO_FINISH,    /* COMPLETED or FAILED */
    DST_NDO_COUNT,
};

struct dst_native_action {
    enum dst_native_action_kind kind;
    uint32_t device;
    uint64_t generation;
    uint64_t value;
    enum vms_journal journal;
};

enum {
    DST_NATIVE_ACTIONS_MAX = 8
};
struct dst_native_actions {
    size_t count;
    struct dst_native_action list[DST_NATIVE_ACTIONS_MAX];
};

/** A plain value: programs may look, not touch. */
struct dst_native {
    enum dst_native_state state;
    struct vms_handover handover;
    uint64_t features; /* in force */
    uint64_t verdict;  /* of LOADED: 0 not made, 1 equal, 2 different */
    uint64_t code;     /* the first ERROR, for ABORT */
    bool ended;        /* END has come */
    bool postcopy;     /* START came without END */
    bool pages_in;     /* postcopy: none is missing */
    bool cut;          /* the connection is gone */
    bool told;         /* the source knows that the guest runs here */
    bool unfit;        /* never to run here, as soon as the journal is done */
    bool guest_runs;   /* the virtual CPUs were released here, once */
};

/** In state SETUP. */
void dst_native_init(struct dst_native *machine);
/**
 * After a restart: what follows from the journal (HND-10, HND-11). Memory is gone: what had not
 * started never will, and what had is lost; the peer gets the answer.
 */
void dst_native_recover(struct dst_native *machine, enum vms_journal journal, uint64_t generation,
                        struct dst_native_actions *out);

/**
 * Takes one event; total: every event has an answer in every state. out is filled anew. VMS_OK, or
 * what was wrong with the event (HANDOVER_UNEXPECTED, HANDOVER_GENERATION, DST_UNEXPECTED,
 * DST_INCOMPLETE, MISUSE of the program's own) in *err; the actions then say what remains to be
 * done all the same.
 */
enum vms_code dst_native_event(struct dst_native *machine, const struct dst_native_event *event,
                               struct dst_native_actions *out, struct vms_error *err);

/** Whether the guest may run here in this state. */
bool dst_native_may_run(const struct dst_native *machine);

/** Static text, never NULL. */
const char *dst_native_state_name(enum dst_native_state state);
const char *dst_native_event_name(enum dst_native_event_kind kind);
const char *dst_native_action_name(enum dst_native_action_kind kind);

#endif
