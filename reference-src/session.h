/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_SESSION_H
#define REFERENCE_SRC_SESSION_H

#include "host/dirty.h"
#include "host/timeline.h"
#include "reference-src/options.h"

#include <jansson.h>

/**
 * One outgoing migration: the engine decides, the session waits, carries out and tells it what came
 * of it. src_session_run() is the one thread that feeds the engine; wires, orders and signals put
 * events into its queue.
 *
 *   main.c, options.c   the command line        session.c      the queue, the loop
 *   control.c           socket and signals      session_new.c  made and freed
 *   orders.c            what people order       owner.c        what wires say
 *   progress.c          counters and gauges     actions.c      what the engine wants done
 *   report.c            --report                postcopy.c     sender of the last pages
 *   resolve.c           after a restart         reconnect.c    after a cut
 */
struct src_session;

/** What a VMM brings. All are borrowed and outlive the session. */
struct src_session_host {
    const struct vms_guest *guest;
    struct vms_dirty *dirty;          /* NULL: the kernel's best */
    struct vms_timeline *timeline;    /* NULL: nothing is recorded */
    const struct src_device *devices; /* beside RAM; about.number is 1, 2, ... in their order */
    size_t device_count;              /* below SRC_DEVICES_MAX */
    void (*watch)(void *ctx, uint64_t now_ns); /* after each event, on the session's thread; NULL */
    void *watch_ctx;
    const bool *initial; /* of each: has initial data that must be acknowledged; NULL: none has */
};

struct src_outcome {
    enum src_state state;
    enum src_owner owner;
    struct vms_error error; /* the first failure; code VMS_OK: none */
    bool stands;            /* ours, and without its locks it does not run: SRC_LOCKS (ENG-30) */
};

/** NULL and *err: NO_MEMORY, or what the wire or the tracker said. */
struct src_session *src_session_new(const struct src_options *options,
                                    const struct src_session_host *host, struct vms_error *err);
/** Migrates, until the engine has finished. The guest runs before, and after it when it is ours. */
void src_session_run(struct src_session *session, struct src_outcome *out);
void src_session_free(struct src_session *session);

/**
 * An order, from any thread but the session's, as the control socket takes it:
 *   {"order": "cancel" | "go-on" | "start-postcopy" | "give-up" | "status"}
 *   {"order": "recover", "uri": URI}            uri may be left out
 *   {"order": "resolve", "as": "ours" | "theirs"}
 *   {"order": "set", "bandwidth": N, "downtime_ms": N, "switchover_bandwidth": N,
 *    "postcopy_bandwidth": N}                   any of them
 * Returns the answer, a new reference: {"ok": true, "state": …} or {"ok": false, "code",
 * "message"}. Waits until the session has taken it.
 */
json_t *src_session_order(struct src_session *session, const json_t *order);
/** Cancels, without an answer. From any thread. */
void src_session_cancel(struct src_session *session);
/** Ends src_session_run() in whatever state: what is not known then stays unknown. From any thread.
 */
void src_session_quit(struct src_session *session);

/** Whether a code says that the connection is gone. */
bool src_is_cut(enum vms_code code);
/** Names as reports have them (REP-10). Static text. */
const char *src_phase_name(enum src_state state);
/** Counters and gauges into the timeline. From any thread. */
void src_session_refresh(struct src_session *session, uint64_t now_ns);
/** A line for people: standard error, unless quiet, and the timeline. From the session's thread. */
void src_session_note(struct src_session *session, const char *text);

#endif
