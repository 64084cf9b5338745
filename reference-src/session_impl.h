/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_SESSION_IMPL_H
#define REFERENCE_SRC_SESSION_IMPL_H

#include "host/journal.h"
#include "host/uri.h"
#include "reference-src/devices/ram.h"
#include "reference-src/session.h"

#include <pthread.h>

enum {
    SESSION_QUEUE = 256, /* events of others that wait; who brings more waits, too */
    SESSION_OWN = 256,   /* answers of the session's own actions */
};

/** What an order changes while a migration goes. */
struct src_settings {
    bool has_bandwidth, has_postcopy_bandwidth, has_switchover_bandwidth, has_downtime;
    uint64_t bandwidth, postcopy_bandwidth, switchover_bandwidth, downtime_ms;
};

/** Somebody waits for what became of an order. On his stack. */
struct src_waiter {
    bool done;
    enum src_state state;
    struct vms_error error;
};

enum src_item_kind {
    SRC_ITEM_EVENT,
    SRC_ITEM_SET,
    SRC_ITEM_RECOVER, /* try to reconnect now */
    SRC_ITEM_QUIT,    /* end the program with what is left here */
};

struct src_item {
    enum src_item_kind kind;
    struct src_event event;
    struct vms_error why;      /* code VMS_OK: no more is known */
    struct src_waiter *waiter; /* NULL: nobody waits */
    struct src_settings settings;
};

struct src_session {
    struct src_options options;
    struct src_session_host host;
    struct vms_dirty tracker; /* ours, when the host brings none */
    bool own_tracker;
    struct src_wire wire;
    struct src_device devices[SRC_DEVICES_MAX]; /* 0 is RAM */
    uint32_t device_count;
    struct src_wire_device abouts[SRC_DEVICES_MAX]; /* of those beside RAM, for the wire */
    struct src_engine *engine;
    uint64_t deadline_ns[SRC_TIMER_COUNT]; /* 0: not armed */
    struct src_event own[SESSION_OWN];     /* a ring */
    size_t own_first, own_count;
    bool finished;
    bool cut;              /* told to the engine, for this connection */
    bool postcopy_ordered; /* --postcopy-after */
    uint8_t id[16];        /* session id; journal */
    bool has_id;
    struct vms_journal_record written; /* as last given to the journal */
    struct vms_error error;            /* the first failure */
    enum src_state shown;
    uint32_t waits_for;    /* told: the device that the switchover waits for; SRC_NO_DEVICE: none */
    uint64_t waits_ns;     /* since */
    uint64_t acks_told;    /* QEVM: how many acknowledgements were said to be missing */
    uint64_t passes;       /* told to the timeline */
    uint64_t device_bytes; /* of devices beside RAM, given to the wire */

    /* reconnect.c */
    bool reconnecting;
    bool progress;                        /* something was done since the last attempt began */
    uint64_t next_attempt_ns, give_up_ns; /* 0: never by itself */

    /* postcopy.c */
    pthread_t sender;
    bool has_sender;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    struct src_item queue[SESSION_QUEUE];
    size_t first, count;
    bool closing;   /* nobody waits any more */
    bool busy;      /* the session is in a call that may wait for the peer */
    bool abortable; /* that call may be cut short: nothing is committed */
    bool stop_sender;
    uint64_t postcopy_bandwidth;
    char uri[VMS_URI_MAX + 1];
    char uri_now[VMS_URI_MAX + 1]; /* as last given to the wire */
    enum src_state state;          /* copies for status */
    enum src_owner owner;
    struct src_figures figures;
};

uint64_t src_now_ns(void);

/* session.c */
/** The answer to an action; the session's thread. */
void src_answer(struct src_session *s, const struct src_event *event);
/** The engine takes an event now; not from within an action. */
void src_feed(struct src_session *s, struct src_event *event);
/** The same for others: waits while the queue is full. */
void src_push(struct src_session *s, const struct src_item *item);
/** A call failed: CUT when the connection is gone, else ERROR. The session's thread. */
void src_trouble(struct src_session *s, const struct vms_error *why);
void src_say(struct src_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void src_mark(struct src_session *s, enum vms_timeline_event event, uint64_t value);

enum {
    SRC_DOWNTIME_TEXT = 32,
};
/** actions.c: a downtime for people, in out or static; UINT64_MAX is not known yet. */
const char *src_downtime_text(uint64_t ns, char out[SRC_DOWNTIME_TEXT]);

void src_release_waiting(struct src_session *s);

/* progress.c */
/** The lane of a device; VMS_NO_LANE for RAM and none. */
uint32_t src_lane(struct src_session *s, uint32_t device);
/** [VDPA-24] Says what the switchover waits for, and when that is over. */
void src_tell_waiting(struct src_session *s);
/** What is known from the start, and once the hellos are through. */
void src_facts(struct src_session *s);
void src_facts_agreed(struct src_session *s);

/* owner.c */
struct src_wire_owner src_owner(struct src_session *s);

/* actions.c */
void src_carry_out(struct src_session *s, const struct src_action *action);

/* postcopy.c */
void src_sender_start(struct src_session *s);
void src_sender_stop(struct src_session *s);

/* reconnect.c */
void src_reconnect_begin(struct src_session *s);
void src_reconnect_now(struct src_session *s);
/** When the next attempt, or the end of them, is due. 0: neither. */
uint64_t src_reconnect_due(const struct src_session *s);
void src_reconnect_step(struct src_session *s);

#endif
