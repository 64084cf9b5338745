/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_ENGINE_H
#define REFERENCE_SRC_ENGINE_H

#include "scheduler.h"

#include <vmstream/handover.h>

/**
 * The source as a pure state machine (design §3): events in, actions out. It makes no system call,
 * reads no clock, moves no page; it knows devices by number. The program (session.h) turns what
 * happens into events and carries the actions out, in order; what they lead to is the next event.
 */
enum src_state {
    SRC_IDLE,       /* nothing begun; the guest runs */
    SRC_SETUP,      /* connecting, hello, the setup of every device */
    SRC_PRECOPY,    /* iterating while the guest runs */
    SRC_STOPPING,   /* the guest was asked to stop; the final queries */
    SRC_HELD,       /* pause-before-switchover: stopped, waits for the order to go on */
    SRC_SWITCHOVER, /* stopped: the last data of every device goes out */
    SRC_READY,      /* native: START was sent, READY is awaited */
    SRC_COMMITTED,  /* COMMITTED is being written, or COMMIT (QEVM: EOF, POSTCOPY_RUN) may be out */
    SRC_IN_DOUBT,   /* that, and the connection is gone: which end runs the guest is not known */
    SRC_POSTCOPY,   /* the guest is the destination's; pages are left here */
    SRC_PAUSED,     /* postcopy, connection lost: all is kept */
    SRC_RECOVER,    /* postcopy, connected again: received bitmaps are being read */
    SRC_COMPLETED,  /* the guest is the destination's, nothing is left here */
    SRC_FAILED,     /* the guest is ours, as before; or lost: see src_engine_owner() */
    SRC_CANCELLED,  /* by order; the guest is ours */
    SRC_STATE_COUNT,
};

enum src_event_kind {
    /* orders */
    SRC_EV_BEGIN,
    SRC_EV_CANCEL,
    SRC_EV_GO_ON,          /* out of HELD */
    SRC_EV_START_POSTCOPY, /* as soon as setup is over */
    SRC_EV_RESOLVE_OURS,
    SRC_EV_RESOLVE_THEIRS,
    SRC_EV_GIVE_UP, /* no further attempt to reconnect is made */
    /* the connection */
    SRC_EV_CONNECTED,   /* the first time: hellos are through */
    SRC_EV_CUT,         /* gone; nothing more comes on it */
    SRC_EV_RECONNECTED, /* again: native session resumed, or a recovery connection is there */
    SRC_EV_ERROR,       /* anything failed at this end: value = enum vms_code */
    /* the guest */
    SRC_EV_STOPPED,
    SRC_EV_LOCKS, /* given up or taken back; answers in the order in which it was asked; value 0:
                     done, else the code */
    /* devices; .device */
    SRC_EV_SETUP_SENT, /* of all devices */
    SRC_EV_PENDING,    /* the answer to QUERY: .pending */
    SRC_EV_SAVED, /* the answer to SAVE: .value bytes left, counted as in pending; .cost, .more */
    SRC_EV_FINAL_SENT,   /* the answer to SAVE_FINAL */
    SRC_EV_DEVICES_SENT, /* the answer to SAVE_DEVICES */
    SRC_EV_COMMIT_SENT,  /* the answer to SEND_COMMIT: all of it has left this process */
    SRC_EV_PAGES_SENT,   /* postcopy: the last page has left */
    /* the peer */
    /* native: the destination asks to be waited for; .device, .generation. Its own GRANT of the
       device, of no lower generation, ends that. */
    SRC_EV_REQUEST,
    SRC_EV_GRANT,       /* .device and .generation; QEVM SWITCHOVER_ACK: device SRC_NO_DEVICE */
    SRC_EV_READY,       /* native; .generation; .value verdict: 0 not made, 1 equal, 2 different */
    SRC_EV_RUNNING,     /* native, .generation; QEVM postcopy: the first page request */
    SRC_EV_NOT_STARTED, /* native, .generation */
    SRC_EV_SHUT,        /* QEVM: .value 0 the destination is content; native postcopy: END and all
                           before it was acknowledged, .value 0: once, in any state */
    SRC_EV_ABORT,       /* native ABORT, or a return path that breaks the rules */
    /* recovery; of the connection on which it was asked for, never of one that was left */
    SRC_EV_BITMAPS, /* all received bitmaps are in */
    SRC_EV_RESUME_ACK,
    /* what was asked for */
    SRC_EV_WRITTEN, /* the journal */
    SRC_EV_WRITE_FAILED,
    SRC_EV_TIMER, /* .value = enum src_timer */
    SRC_EVENT_COUNT,
};

#define SRC_NO_DEVICE UINT32_MAX

enum src_timer {
    SRC_TIMER_READY,  /* READY has not come in time */
    SRC_TIMER_SETTLE, /* RUNNING or SHUT has not come in time */
    SRC_TIMER_TICK,   /* bandwidth, throttle, a stalled device */
    SRC_TIMER_LIMIT,  /* limit_ns is over */
    SRC_TIMER_LOCKS,  /* the locks could not be taken back: once more */
    SRC_TIMER_COUNT,
};

struct src_event {
    enum src_event_kind kind;
    uint64_t now_ns; /* of a clock that only grows */
    uint32_t device;
    uint64_t generation;
    uint64_t value;
    uint64_t left; /* SAVED: bytes, as pending counts them, that have left this machine since
                      CONNECTED, so far; 0: not counted, value is taken for it */
    bool more;
    struct src_pending pending;
};

enum src_action_kind {
    SRC_DO_CONNECT,
    SRC_DO_SEND_SETUP,
    SRC_DO_QUERY,      /* .device, .exact → PENDING */
    SRC_DO_SAVE,       /* .device, at most about .value bytes → SAVED */
    SRC_DO_STOP_GUEST, /* → STOPPED */
    SRC_DO_RUN_GUEST,  /* the guest is ours */
    SRC_DO_THROTTLE,   /* .value percent */
    SRC_DO_SAVE_FINAL, /* .device: the rest of it → FINAL_SENT; .value 1: postcopy, only what cannot
                          follow. May come for a device without anything left */
    SRC_DO_SAVE_DEVICES, /* the devices that are saved only stopped → DEVICES_SENT; .value 1:
                            postcopy */
    SRC_DO_DISCARD,      /* postcopy: tell which pages are stale, LISTEN; before SAVE_DEVICES */
    SRC_DO_GRANT,   /* native: .device, .generation: its REQUEST came in time, it is waited for */
    SRC_DO_REQUEST, /* native: .device, .generation: of initial data → GRANT */
    SRC_DO_GRANTED, /* .device, .generation: tell the device */
    SRC_DO_LOCKS,   /* .value 0 give up, 1 take back → LOCKS */
    SRC_DO_SEND_START,  /* native: END before it, unless .value 1: postcopy; .generation */
    SRC_DO_WRITE,       /* .journal, .generation → WRITTEN or WRITE_FAILED */
    SRC_DO_SEND_COMMIT, /* native: COMMIT; QEVM: EOF, or .value 1 POSTCOPY_RUN → COMMIT_SENT */
    SRC_DO_SEND_PAGES,  /* postcopy: requests first, then the rest → PAGES_SENT */
    SRC_DO_SEND_END,    /* postcopy, the last page is out: native END, QEVM EOF → SHUT; may come
                           again after a recovery */
    SRC_DO_RECONNECT,   /* keep all; → RECONNECTED, or GIVE_UP */
    SRC_DO_ASK_BITMAPS, /* recovery → BITMAPS */
    SRC_DO_SEND_RESUME, /* recovery → RESUME_ACK */
    SRC_DO_ARM,         /* .timer, .value nanoseconds from now; again: replaces */
    SRC_DO_DISARM,      /* .timer */
    SRC_DO_ABORT,       /* tell the peer: .value = enum vms_code */
    SRC_DO_TELL,        /* IN_DOUBT, PAUSED, or the locks are not to be had: tell the operator what
                           is known and what to do */
    SRC_DO_FINISH,      /* the migration is over: state COMPLETED, FAILED or CANCELLED; a guest that
                           is ours runs, or stands without its locks: src_engine_may_run() */
    SRC_ACTION_COUNT,
};

struct src_action {
    enum src_action_kind kind;
    uint32_t device;
    uint64_t generation;
    uint64_t value;
    bool exact;
    enum src_timer timer;
    enum vms_journal journal;
};

enum {
    SRC_ACTIONS_MAX = 48, /* of one event */
    SRC_DEVICES_MAX = 32, /* that send while the guest runs: RAM, VFIO, vDPA, ... */
};

struct src_actions {
    size_t count;
    struct src_action list[SRC_ACTIONS_MAX];
};

/** Settings of a migration. Bandwidth in bytes a second, 0: no limit. */
struct src_config {
    bool native;      /* two-phase hand-over; else QEVM */
    bool resume;      /* native: a cut before the switchover is waited out (RECONNECT) */
    bool return_path; /* QEVM: SHUT is awaited */
    bool postcopy;    /* allowed: setup tells the destination so */
    bool pause_before_switchover;
    bool switchover_ack; /* wait for GRANT, or SWITCHOVER_ACK */
    bool legacy_ack;     /* QEVM: one ACK for all */
    bool auto_converge;
    uint64_t max_bandwidth;
    uint64_t max_postcopy_bandwidth;
    uint64_t switchover_bandwidth; /* taken instead of the measured one; 0: measure */
    uint64_t downtime_ns;          /* limit of the expected downtime */
    uint64_t ready_ns;             /* to wait for READY; 0: for ever */
    uint64_t settle_ns;            /* to wait for RUNNING, SHUT, before the operator is told */
    uint64_t limit_ns;             /* for all until the switchover; 0: no limit */
    uint64_t locks_retry_ns;       /* the first pause before locks are tried again; 0: 1 s */
    enum src_scheduler_kind scheduler;
    uint64_t quantum; /* bytes that a device may send in a row; 0: default */
    uint32_t device_count;
    bool initial_data[SRC_DEVICES_MAX]; /* the device has initial data that must be acknowledged */
    bool awaits_grant[SRC_DEVICES_MAX]; /* native: the destination grants it in any case (vDPA) */
    bool after_setup[SRC_DEVICES_MAX];  /* RAM: may be moved by postcopy */
};

/** Who has the guest, as far as it is known here. */
enum src_owner {
    SRC_OWNER_OURS,
    SRC_OWNER_THEIRS,
    SRC_OWNER_UNKNOWN, /* in doubt */
    SRC_OWNER_LOST,    /* nobody has all of it */
    SRC_OWNER_COUNT,
};

/** What the machine knows for people: expected downtime, rates, rounds. */
struct src_figures {
    uint64_t bandwidth;            /* bytes a second, measured; 0: not yet */
    uint64_t threshold;            /* bytes that can be sent within downtime_ns */
    uint64_t pending;              /* bytes, all devices, last known */
    uint64_t expected_downtime_ns; /* UINT64_MAX: not known yet */
    uint64_t dirty_rate;           /* bytes a second */
    uint32_t rounds;               /* of the scheduler */
    unsigned throttle;             /* percent */
    uint32_t waiting_for;          /* device whose grant is missing; SRC_NO_DEVICE: none */
    uint64_t acks; /* QEVM: acknowledgements that are missing, which name no device */
};

struct src_engine; /* defined in engine_state.h, a plain value: programs may look, not touch */

size_t src_engine_size(void);
/** In state IDLE. mem: src_engine_size() bytes, aligned as by malloc. config is copied. */
struct src_engine *src_engine_init(void *mem, const struct src_config *config);
/**
 * After a restart: the state that follows from the journal (HND): IN_DOUBT, COMPLETED, IDLE.
 */
void src_engine_recover(struct src_engine *engine, enum vms_journal journal, uint64_t generation,
                        struct src_actions *out);

/**
 * Takes one event, total: every event has an answer in every state. out is filled anew. VMS_OK, or
 * what was wrong with the event (SRC_UNEXPECTED, HANDOVER_UNEXPECTED, an ACK that nobody asked
 * for, …) in *err; the actions then say what remains to be done all the same.
 */
enum vms_code src_engine_event(struct src_engine *engine, const struct src_event *event,
                               struct src_actions *out, struct vms_error *err);

/** While it runs. Bytes a second, 0: no limit, or measure; downtime in nanoseconds. */
void src_engine_limits(struct src_engine *engine, uint64_t max_bandwidth,
                       uint64_t switchover_bandwidth, uint64_t downtime_ns);

enum src_state src_engine_state(const struct src_engine *engine);
enum src_owner src_engine_owner(const struct src_engine *engine);
/** Why it failed, the first reason; VMS_OK: it has not. */
enum vms_code src_engine_reason(const struct src_engine *engine);
/** Whether the guest may run here in this state. */
bool src_engine_may_run(const struct src_engine *engine);
const struct src_figures *src_engine_figures(const struct src_engine *engine);

/** Static text, never NULL. */
const char *src_state_name(enum src_state state);
const char *src_owner_name(enum src_owner owner);
const char *src_event_name(enum src_event_kind kind);
const char *src_action_name(enum src_action_kind kind);

#endif
