/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_ENGINE_STATE_H
#define REFERENCE_SRC_ENGINE_STATE_H

#include "bandwidth.h"
#include "converge.h"
#include "engine.h"

#include <stdint.h>

/** What the source does in PRECOPY, and while it looks for the last time (STOPPING). */
enum src_step {
    SRC_STEP_NONE,
    SRC_STEP_ESTIMATE, /* all devices were asked what they know */
    SRC_STEP_EXACT,    /* all devices were asked exactly */
    SRC_STEP_SAVE,     /* one device sends */
    SRC_STEP_WAIT,     /* until the next TICK: the bandwidth limit, or nothing to send */
    SRC_STEP_FINAL,    /* stopped: all devices were asked exactly */
};

/** Storage locks, between COMMITTED and COMMIT (ENG-11). */
enum src_locks {
    SRC_LOCKS_HELD,
    SRC_LOCKS_GIVING,
    SRC_LOCKS_GIVEN,
    SRC_LOCKS_TAKING,
};

enum {
    SRC_LOCKS_TRIES = 6, /* each pause twice the one before (ENG-30) */
};

/** A plain value: copying it copies the machine. */
struct src_engine {
    struct src_config config;
    enum src_state state;
    enum vms_code reason; /* the first failure */
    uint64_t now_ns;
    struct src_actions *out; /* of the event at hand */

    /* iteration */
    enum src_step step;
    uint32_t awaited; /* bit d: device d owes an answer */
    struct src_pending pending[SRC_DEVICES_MAX];
    struct src_scheduler scheduler;
    struct src_bandwidth bandwidth;
    struct src_converge converge;
    struct src_figures figures;
    uint64_t estimate;                /* bytes, just before the exact question */
    uint64_t exact_ns;                /* when that was answered last */
    uint64_t asked_ns, exact_took_ns; /* a question's begin; how long the last exact one took */
    bool served;                      /* a device had its turn since the last look */
    bool more;                        /* and a device had more then */
    uint64_t left;     /* bytes that have left this machine, by the last SAVED that counts them */
    uint64_t moved;    /* bytes that were sent since then */
    uint64_t round_ns; /* when that was */
    uint32_t attempts; /* at switching over */

    /* acknowledgement */
    uint64_t wanted[SRC_DEVICES_MAX];  /* native: generation that must be granted */
    uint64_t granted[SRC_DEVICES_MAX]; /* highest generation granted */
    uint64_t asked[SRC_DEVICES_MAX];   /* generation of initial data, as the device says */
    uint64_t acks_missing;             /* QEVM */

    /* the hand-over */
    struct vms_handover handover;
    enum src_locks locks;
    unsigned locks_answers;  /* LOCKS events still to come */
    unsigned locks_tries;    /* to take them back, that failed since the last order */
    enum src_state way_back; /* WRITING: where to instead of COMMIT; SRC_COMMITTED: on */
    bool stopped;            /* the guest was told to stop, and not to run again */
    bool connected;          /* was, once */
    bool cut;                /* the connection is gone */
    bool restarted;          /* the guest's memory was another program's */
    bool postcopy_wanted;    /* by order */
    bool postcopy;           /* the switchover at hand, or past, is one */
    bool runs_there;         /* postcopy: the destination is known to have run the guest */
    bool gone;               /* native: the journal says so, as far as it can */
    bool content;            /* postcopy: everything has arrived */
    bool ended;              /* postcopy: the last page has left over this connection */
    bool all_left;           /* over this one or another */
    bool resume_sent;        /* recovery */
    bool finished;
    enum src_owner owner;
};

typedef enum vms_code src_step_fn(struct src_engine *e, const struct src_event *ev,
                                  struct vms_error *err);

/* ---- engine.c ---- */

/** Appends an action; more than SRC_ACTIONS_MAX is a bug: INTERNAL is noted as the reason. */
struct src_action *src_do(struct src_engine *e, enum src_action_kind kind);
void src_arm(struct src_engine *e, enum src_timer timer, uint64_t ns);
void src_disarm(struct src_engine *e, enum src_timer timer);
void src_throttle(struct src_engine *e, unsigned percent);

/* ---- ends.c ---- */

/** Before the commit point, or released: the guest is ours. end: FAILED or CANCELLED. */
void src_go_back(struct src_engine *e, enum src_state end, enum vms_code code);
void src_complete(struct src_engine *e);
void src_lost(struct src_engine *e, enum vms_code code);
src_step_fn src_cancel, src_fail_error, src_fail_abort, src_fail_cut, src_fail_refused;
src_step_fn src_fail_give_up, src_end_locks, src_end_timer, src_end_ours, src_end_theirs;
src_step_fn src_begin_cancel;

/* ---- setup.c ---- */
src_step_fn src_begin, src_connected, src_setup_sent, src_start_postcopy, src_cut_early;
src_step_fn src_reconnected_early, src_timer_limit;

/* ---- iterate.c ---- */

void src_iterate(struct src_engine *e); /* a new round: asks for estimates */
void src_ask_all(struct src_engine *e, enum src_step step, bool exact);
/** Takes a PENDING down. True: it was the last that was awaited. */
bool src_take_answer(struct src_engine *e, const struct src_event *ev);
src_step_fn src_iterate_pending, src_saved, src_tick;

/* ---- acknowledge.c ---- */

/** Takes down the generation that the device reports. True: a new one, it must be granted. */
bool src_ack_note(struct src_engine *e, uint32_t device);
/** The device that is waited for, SRC_NO_DEVICE: none; *missing: whether anything is. */
uint32_t src_ack_missing(const struct src_engine *e, bool *missing);
void src_ack_init(struct src_engine *e);
src_step_fn src_ack_grant, src_ack_request, src_ack_request_late;

/* ---- switchover.c ---- */
void src_switch(struct src_engine *e);
src_step_fn src_stopped, src_final_pending, src_go_on, src_final_sent, src_devices_sent;
src_step_fn src_back_cut, src_back_request;

/* ---- hand.c: the hand-over, native; ready.c; commit.c ---- */

/** Tells the operator, once. */
void src_doubt(struct src_engine *e);
void src_send_commit(struct src_engine *e);
/** Postcopy: the guest is the destination's, before or behind a reconnection. */
void src_pages_follow(struct src_engine *e);

/** Carries out what the hand-over machine says. */
enum vms_code src_hand(struct src_engine *e, enum vms_handover_action action, enum vms_code refused,
                       struct vms_error *err);
enum vms_code src_hand_event(struct src_engine *e, enum vms_handover_src_event event,
                             struct vms_error *err);
/** READY, RUNNING, NOT_STARTED. */
enum vms_code src_hand_frame(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err);
src_step_fn src_ready, src_ready_refused, src_ready_cut, src_ready_abort, src_ready_error,
    src_ready_cancel, src_ready_timer, src_commit_write, src_commit_locks, src_commit_sent,
    src_commit_frame, src_commit_cut, src_commit_error, src_commit_cancel, src_commit_reconnected,
    src_commit_shut, src_commit_timer, src_doubt_give_up, src_doubt_resolve, src_too_late;

/* ---- postcopy.c ---- */
void src_postcopy(struct src_engine *e); /* the guest is theirs: pages */
void src_settle(struct src_engine *e);   /* everything has arrived: ends it as soon as it may */
src_step_fn src_pages_sent, src_post_shut, src_paused_shut, src_post_runs, src_pause,
    src_post_written, src_post_refused, src_recover, src_recover_timer, src_bitmaps, src_resume_ack,
    src_paused_give_up, src_paused_resolve;

#endif
