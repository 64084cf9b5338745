/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HANDOVER_H
#define VMSTREAM_HANDOVER_H

#include <vmstream/error.h>
#include <vmstream/native.h>

/**
 * The two-phase hand-over (spec/03.1-session.md, HND): START, READY, COMMIT, RUNNING. Two pure
 * machines, total tables: every event has an answer in every state. Events go in, one action comes
 * out, which the caller carries out; what it leads to is the next event. Nothing here waits, writes
 * or sends. The caller keeps the journals.
 */

/** What a journal says last, durable, for one hand-over. LOST: it cannot be read, or is not there.
 */
enum vms_journal {
    VMS_JOURNAL_NONE,        /* readable, and nothing was written */
    VMS_JOURNAL_COMMITTED,   /* source: COMMIT may have been sent */
    VMS_JOURNAL_RELEASED,    /* source: NOT_STARTED came, or the operator said so: ours */
    VMS_JOURNAL_GONE,        /* source: RUNNING came, or the operator said so: theirs */
    VMS_JOURNAL_OPEN,        /* destination: READY may have been sent */
    VMS_JOURNAL_STARTED,     /* destination: the guest may have run here */
    VMS_JOURNAL_NOT_STARTED, /* destination: it has not run here and never will */
    VMS_JOURNAL_LOST,
    VMS_JOURNAL_COUNT,
};
/** "none", "committed", … Static text. */
const char *vms_journal_name(enum vms_journal journal);

enum vms_handover_action {
    VMS_DO_NOTHING,
    VMS_DO_REFUSE,     /* the frame is not allowed here: HANDOVER_UNEXPECTED, abort the session */
    VMS_DO_MISUSE,     /* the caller's event is not: MISUSE */
    VMS_DO_STOP,       /* source: stop the guest if it runs, send START of the generation */
    VMS_DO_RUN,        /* run the guest here (again); destination: → RAN, or BAD */
    VMS_DO_WRITE,      /* make ->journal durable, then WRITTEN or WRITE_FAILED */
    VMS_DO_SEND_READY, /* destination */
    VMS_DO_SEND_COMMIT,
    VMS_DO_SEND_RUNNING,
    VMS_DO_SEND_NOT_STARTED,
    VMS_DO_RECONNECT, /* IN_DOUBT: keep all state, reconnect, ask; tell the operator */
    VMS_DO_DROP, /* the guest is the other end's: forget it, in postcopy with the last page sent */
    VMS_DO_TELL, /* IN_DOUBT and nothing more can be learnt: the operator decides */
    VMS_HANDOVER_ACTION_COUNT,
};
const char *vms_handover_action_name(enum vms_handover_action action);

/* ---- source ---- */

enum vms_handover_src_state {
    VMS_SRC_OURS,       /* the guest is ours: runs, or may */
    VMS_SRC_ASKED,      /* START was sent */
    VMS_SRC_WRITING,    /* COMMITTED is being written */
    VMS_SRC_COMMITTED,  /* COMMIT was or is being sent; the guest never runs here in this state */
    VMS_SRC_IN_DOUBT,   /* COMMITTED, and the connection is lost */
    VMS_SRC_RELEASING,  /* NOT_STARTED has come; RELEASED is being written */
    VMS_SRC_CANCELLING, /* RELEASED is being written without that proof, or could not be */
    VMS_SRC_LEAVING,    /* GONE is being written */
    VMS_SRC_GONE,       /* the guest is the destination's */
    VMS_SRC_UNKNOWN,    /* the journal is lost */
    VMS_SRC_STATES,
};

enum vms_handover_src_event {
    VMS_SRC_EV_BEGIN,        /* order: everything was sent; hand over. A new generation */
    VMS_SRC_EV_READY,        /* READY of this generation, memory equal or not checked */
    VMS_SRC_EV_READY_BAD,    /* READY with the verdict "different" */
    VMS_SRC_EV_RUNNING,      /* frame */
    VMS_SRC_EV_NOT_STARTED,  /* frame */
    VMS_SRC_EV_TIMEOUT,      /* READY does not come in time, or the user cancels */
    VMS_SRC_EV_CUT,          /* the connection is lost, or the session aborted */
    VMS_SRC_EV_RECONNECTED,  /* RESUME and RESUMED were exchanged */
    VMS_SRC_EV_WRITTEN,      /* the record of the last VMS_DO_WRITE is durable */
    VMS_SRC_EV_WRITE_FAILED, /* it is not known to be */
    VMS_SRC_EV_RESOLVE_OURS, /* the operator or fencing: the destination does not run it */
    VMS_SRC_EV_RESOLVE_THEIRS,
    VMS_SRC_EVENTS,
};

/* ---- destination ---- */

enum vms_handover_dst_state {
    VMS_DST_LOADING,  /* not ready */
    VMS_DST_ASKED,    /* START has come, not everything is loaded yet */
    VMS_DST_OPENING,  /* OPEN is being written */
    VMS_DST_READY,    /* READY was sent */
    VMS_DST_WAITING,  /* READY was sent, and the connection is lost: IN_DOUBT */
    VMS_DST_STARTING, /* STARTED is being written */
    VMS_DST_STARTED,  /* STARTED is durable: its devices, then its vCPUs are being released */
    VMS_DST_RUNNING,  /* the guest is ours */
    VMS_DST_REFUSING, /* NOT_STARTED is being written */
    VMS_DST_REFUSED,  /* it will never run here */
    VMS_DST_UNKNOWN,  /* the journal is lost, or could not be written */
    VMS_DST_STATES,
};

enum vms_handover_dst_event {
    VMS_DST_EV_START,   /* frame: of a generation above all before */
    VMS_DST_EV_COMMIT,  /* frame */
    VMS_DST_EV_LOADED,  /* everything is loaded and the RAM digest made, if it is made */
    VMS_DST_EV_BAD,     /* something is not: the destination cannot take the guest. In STARTED: no
                           vCPU has run, and no device has anything of the guest any more */
    VMS_DST_EV_RAN,     /* the vCPUs were released */
    VMS_DST_EV_CUT,     /* the connection is lost, or the session aborted by the source */
    VMS_DST_EV_GIVE_UP, /* order or time: do not wait for the source any longer */
    VMS_DST_EV_RECONNECTED,
    VMS_DST_EV_WRITTEN,
    VMS_DST_EV_WRITE_FAILED,
    VMS_DST_EV_RESOLVE_OURS, /* the operator or fencing: the source does not run it and will not */
    VMS_DST_EV_RESOLVE_THEIRS,
    VMS_DST_EVENTS,
};

/** One end of a hand-over. A plain value. */
struct vms_handover {
    enum vms_native_role role;
    unsigned state;           /* of the role's enum */
    uint64_t generation;      /* of the current attempt; 0: none yet */
    enum vms_journal journal; /* what VMS_DO_WRITE is about */
};

void vms_handover_init(struct vms_handover *handover, enum vms_native_role role);
/** After a restart of the program: the state that follows from the journal, and what to do. */
enum vms_handover_action vms_handover_recover(struct vms_handover *handover,
                                              enum vms_native_role role, enum vms_journal journal,
                                              uint64_t generation);
/** An event of the role's enum. MISUSE and REFUSE leave the state as it is. */
enum vms_handover_action vms_handover_event(struct vms_handover *handover, unsigned event);
/**
 * A frame of the hand-over class, authentic. A READY of an older generation: NOTHING.
 * With REFUSE *code tells which: HANDOVER_UNEXPECTED, HANDOVER_GENERATION, HANDOVER_DIGEST.
 */
enum vms_handover_action vms_handover_frame(struct vms_handover *handover,
                                            const struct vms_native_frame *frame,
                                            enum vms_code *code);
/** Whether the guest may run at this end in this state. At most one end ever says so (HND-2). */
bool vms_handover_may_run(const struct vms_handover *handover);
/** Whether it is not known which end runs it. */
bool vms_handover_in_doubt(const struct vms_handover *handover);
/** "OURS", "IN_DOUBT", … Static text. */
const char *vms_handover_state_name(const struct vms_handover *handover);

#endif
