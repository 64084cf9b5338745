/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <vmstream/handover.h>

/* The hand-over, both ends, as tables: clauses HND. No cell is empty (HND-1). */

struct cell {
    uint8_t next;
    uint8_t action;
    uint8_t journal; /* of WRITE */
};

#define OK(state, action)                                                                          \
    { state, VMS_DO_##action, VMS_JOURNAL_NONE }
#define WRITE(state, record)                                                                       \
    { state, VMS_DO_WRITE, VMS_JOURNAL_##record }
#define STAY(state)   OK(state, NOTHING)
#define REFUSE(state) OK(state, REFUSE)
#define MISUSE(state) OK(state, MISUSE)

#define S(name)  VMS_SRC_##name
#define D(name)  VMS_DST_##name
#define SE(name) [VMS_SRC_EV_##name]
#define DE(name) [VMS_DST_EV_##name]

/* clang-format off */
static const struct cell SOURCE[VMS_SRC_STATES][VMS_SRC_EVENTS] = {
    [S(OURS)] = {
        SE(BEGIN) = OK(S(ASKED), STOP),
        SE(READY) = STAY(S(OURS)), SE(READY_BAD) = STAY(S(OURS)), /* late: HND-7 */
        SE(RUNNING) = REFUSE(S(OURS)), SE(NOT_STARTED) = STAY(S(OURS)),
        SE(TIMEOUT) = STAY(S(OURS)), SE(CUT) = STAY(S(OURS)), SE(RECONNECTED) = STAY(S(OURS)),
        SE(WRITTEN) = MISUSE(S(OURS)), SE(WRITE_FAILED) = MISUSE(S(OURS)),
        SE(RESOLVE_OURS) = STAY(S(OURS)), SE(RESOLVE_THEIRS) = MISUSE(S(OURS)),
    },
    [S(ASKED)] = { /* only the source may run: HND-6 */
        SE(BEGIN) = MISUSE(S(ASKED)),
        SE(READY) = WRITE(S(WRITING), COMMITTED), SE(READY_BAD) = OK(S(OURS), RUN),
        SE(RUNNING) = REFUSE(S(ASKED)), SE(NOT_STARTED) = OK(S(OURS), RUN),
        SE(TIMEOUT) = OK(S(OURS), RUN), SE(CUT) = OK(S(OURS), RUN),
        SE(RECONNECTED) = MISUSE(S(ASKED)),
        SE(WRITTEN) = MISUSE(S(ASKED)), SE(WRITE_FAILED) = MISUSE(S(ASKED)),
        SE(RESOLVE_OURS) = OK(S(OURS), RUN), SE(RESOLVE_THEIRS) = MISUSE(S(ASKED)),
    },
    [S(WRITING)] = { /* COMMIT has not left; a cut is dealt with when the write is done */
        SE(BEGIN) = MISUSE(S(WRITING)),
        SE(READY) = STAY(S(WRITING)), SE(READY_BAD) = REFUSE(S(WRITING)),
        SE(RUNNING) = REFUSE(S(WRITING)), SE(NOT_STARTED) = REFUSE(S(WRITING)),
        SE(TIMEOUT) = STAY(S(WRITING)), SE(CUT) = STAY(S(WRITING)),
        SE(RECONNECTED) = STAY(S(WRITING)),
        SE(WRITTEN) = OK(S(COMMITTED), SEND_COMMIT),
        SE(WRITE_FAILED) = WRITE(S(CANCELLING), RELEASED),
        SE(RESOLVE_OURS) = MISUSE(S(WRITING)), SE(RESOLVE_THEIRS) = MISUSE(S(WRITING)),
    },
    [S(COMMITTED)] = {
        SE(BEGIN) = MISUSE(S(COMMITTED)),
        SE(READY) = STAY(S(COMMITTED)), SE(READY_BAD) = REFUSE(S(COMMITTED)),
        SE(RUNNING) = WRITE(S(LEAVING), GONE), SE(NOT_STARTED) = WRITE(S(RELEASING), RELEASED),
        SE(TIMEOUT) = STAY(S(COMMITTED)), SE(CUT) = OK(S(IN_DOUBT), RECONNECT),
        SE(RECONNECTED) = OK(S(COMMITTED), SEND_COMMIT),
        SE(WRITTEN) = MISUSE(S(COMMITTED)), SE(WRITE_FAILED) = MISUSE(S(COMMITTED)),
        SE(RESOLVE_OURS) = MISUSE(S(COMMITTED)), SE(RESOLVE_THEIRS) = MISUSE(S(COMMITTED)),
    },
    [S(IN_DOUBT)] = {
        SE(BEGIN) = MISUSE(S(IN_DOUBT)),
        SE(READY) = STAY(S(IN_DOUBT)), SE(READY_BAD) = REFUSE(S(IN_DOUBT)),
        SE(RUNNING) = WRITE(S(LEAVING), GONE), SE(NOT_STARTED) = WRITE(S(RELEASING), RELEASED),
        SE(TIMEOUT) = OK(S(IN_DOUBT), TELL), SE(CUT) = OK(S(IN_DOUBT), RECONNECT),
        SE(RECONNECTED) = OK(S(COMMITTED), SEND_COMMIT),
        SE(WRITTEN) = MISUSE(S(IN_DOUBT)), SE(WRITE_FAILED) = MISUSE(S(IN_DOUBT)),
        SE(RESOLVE_OURS) = WRITE(S(CANCELLING), RELEASED),
        SE(RESOLVE_THEIRS) = WRITE(S(LEAVING), GONE),
    },
    [S(RELEASING)] = { /* NOT_STARTED stays true: a failed write releases too */
        SE(BEGIN) = MISUSE(S(RELEASING)),
        SE(READY) = STAY(S(RELEASING)), SE(READY_BAD) = STAY(S(RELEASING)),
        SE(RUNNING) = REFUSE(S(RELEASING)), SE(NOT_STARTED) = STAY(S(RELEASING)),
        SE(TIMEOUT) = STAY(S(RELEASING)), SE(CUT) = STAY(S(RELEASING)),
        SE(RECONNECTED) = STAY(S(RELEASING)),
        SE(WRITTEN) = OK(S(OURS), RUN), SE(WRITE_FAILED) = OK(S(OURS), RUN),
        SE(RESOLVE_OURS) = STAY(S(RELEASING)), SE(RESOLVE_THEIRS) = MISUSE(S(RELEASING)),
    },
    [S(CANCELLING)] = { /* only RELEASED, durable, keeps a restart from sending COMMIT: HND-9 */
        SE(BEGIN) = MISUSE(S(CANCELLING)),
        SE(READY) = STAY(S(CANCELLING)), SE(READY_BAD) = STAY(S(CANCELLING)),
        SE(RUNNING) = REFUSE(S(CANCELLING)), SE(NOT_STARTED) = WRITE(S(RELEASING), RELEASED),
        SE(TIMEOUT) = STAY(S(CANCELLING)), SE(CUT) = STAY(S(CANCELLING)),
        SE(RECONNECTED) = STAY(S(CANCELLING)),
        SE(WRITTEN) = OK(S(OURS), RUN), SE(WRITE_FAILED) = OK(S(CANCELLING), TELL),
        SE(RESOLVE_OURS) = WRITE(S(CANCELLING), RELEASED),
        SE(RESOLVE_THEIRS) = MISUSE(S(CANCELLING)),
    },
    [S(LEAVING)] = {
        SE(BEGIN) = MISUSE(S(LEAVING)),
        SE(READY) = STAY(S(LEAVING)), SE(READY_BAD) = STAY(S(LEAVING)),
        SE(RUNNING) = STAY(S(LEAVING)), SE(NOT_STARTED) = REFUSE(S(LEAVING)),
        SE(TIMEOUT) = STAY(S(LEAVING)), SE(CUT) = STAY(S(LEAVING)),
        SE(RECONNECTED) = STAY(S(LEAVING)),
        SE(WRITTEN) = OK(S(GONE), DROP), SE(WRITE_FAILED) = OK(S(GONE), DROP),
        SE(RESOLVE_OURS) = MISUSE(S(LEAVING)), SE(RESOLVE_THEIRS) = STAY(S(LEAVING)),
    },
    [S(GONE)] = {
        SE(BEGIN) = MISUSE(S(GONE)),
        SE(READY) = STAY(S(GONE)), SE(READY_BAD) = STAY(S(GONE)),
        SE(RUNNING) = STAY(S(GONE)), SE(NOT_STARTED) = REFUSE(S(GONE)),
        SE(TIMEOUT) = STAY(S(GONE)), SE(CUT) = STAY(S(GONE)), SE(RECONNECTED) = STAY(S(GONE)),
        SE(WRITTEN) = MISUSE(S(GONE)), SE(WRITE_FAILED) = MISUSE(S(GONE)),
        SE(RESOLVE_OURS) = MISUSE(S(GONE)), SE(RESOLVE_THEIRS) = STAY(S(GONE)),
    },
    [S(UNKNOWN)] = { /* HND-11: frames can settle it, for they do not come from our journal */
        SE(BEGIN) = MISUSE(S(UNKNOWN)),
        SE(READY) = REFUSE(S(UNKNOWN)), SE(READY_BAD) = REFUSE(S(UNKNOWN)),
        SE(RUNNING) = WRITE(S(LEAVING), GONE), SE(NOT_STARTED) = WRITE(S(RELEASING), RELEASED),
        SE(TIMEOUT) = OK(S(UNKNOWN), TELL), SE(CUT) = OK(S(UNKNOWN), TELL),
        SE(RECONNECTED) = OK(S(UNKNOWN), TELL),
        SE(WRITTEN) = MISUSE(S(UNKNOWN)), SE(WRITE_FAILED) = MISUSE(S(UNKNOWN)),
        SE(RESOLVE_OURS) = WRITE(S(CANCELLING), RELEASED),
        SE(RESOLVE_THEIRS) = WRITE(S(LEAVING), GONE),
    },
};

static const struct cell DESTINATION[VMS_DST_STATES][VMS_DST_EVENTS] = {
    [D(LOADING)] = {
        DE(START) = STAY(D(ASKED)), DE(COMMIT) = REFUSE(D(LOADING)),
        DE(LOADED) = MISUSE(D(LOADING)), DE(BAD) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RAN) = MISUSE(D(LOADING)),
        DE(CUT) = STAY(D(LOADING)), DE(GIVE_UP) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RECONNECTED) = STAY(D(LOADING)),
        DE(WRITTEN) = STAY(D(LOADING)), DE(WRITE_FAILED) = STAY(D(LOADING)), /* of an older OPEN */
        DE(RESOLVE_OURS) = MISUSE(D(LOADING)),
        DE(RESOLVE_THEIRS) = WRITE(D(REFUSING), NOT_STARTED),
    },
    [D(ASKED)] = {
        DE(START) = STAY(D(ASKED)), DE(COMMIT) = REFUSE(D(ASKED)),
        DE(LOADED) = WRITE(D(OPENING), OPEN), DE(BAD) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RAN) = MISUSE(D(ASKED)),
        DE(CUT) = STAY(D(LOADING)), DE(GIVE_UP) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RECONNECTED) = STAY(D(ASKED)),
        DE(WRITTEN) = STAY(D(ASKED)), DE(WRITE_FAILED) = STAY(D(ASKED)), /* of an older OPEN */
        DE(RESOLVE_OURS) = MISUSE(D(ASKED)),
        DE(RESOLVE_THEIRS) = WRITE(D(REFUSING), NOT_STARTED),
    },
    [D(OPENING)] = {
        DE(START) = STAY(D(ASKED)), DE(COMMIT) = REFUSE(D(OPENING)),
        DE(LOADED) = MISUSE(D(OPENING)), DE(BAD) = MISUSE(D(OPENING)),
        DE(RAN) = MISUSE(D(OPENING)),
        DE(CUT) = STAY(D(OPENING)), DE(GIVE_UP) = MISUSE(D(OPENING)),
        DE(RECONNECTED) = STAY(D(OPENING)),
        DE(WRITTEN) = OK(D(READY), SEND_READY),
        DE(WRITE_FAILED) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RESOLVE_OURS) = MISUSE(D(OPENING)), DE(RESOLVE_THEIRS) = MISUSE(D(OPENING)),
    },
    [D(READY)] = {
        DE(START) = STAY(D(ASKED)), DE(COMMIT) = WRITE(D(STARTING), STARTED),
        DE(LOADED) = MISUSE(D(READY)), DE(BAD) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RAN) = MISUSE(D(READY)),
        DE(CUT) = OK(D(WAITING), RECONNECT), DE(GIVE_UP) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RECONNECTED) = OK(D(READY), SEND_READY),
        DE(WRITTEN) = MISUSE(D(READY)), DE(WRITE_FAILED) = MISUSE(D(READY)),
        DE(RESOLVE_OURS) = WRITE(D(STARTING), STARTED),
        DE(RESOLVE_THEIRS) = WRITE(D(REFUSING), NOT_STARTED),
    },
    [D(WAITING)] = {
        DE(START) = STAY(D(ASKED)), DE(COMMIT) = WRITE(D(STARTING), STARTED),
        DE(LOADED) = MISUSE(D(WAITING)), DE(BAD) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RAN) = MISUSE(D(WAITING)),
        DE(CUT) = OK(D(WAITING), RECONNECT), DE(GIVE_UP) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RECONNECTED) = OK(D(READY), SEND_READY),
        DE(WRITTEN) = MISUSE(D(WAITING)), DE(WRITE_FAILED) = MISUSE(D(WAITING)),
        DE(RESOLVE_OURS) = WRITE(D(STARTING), STARTED),
        DE(RESOLVE_THEIRS) = WRITE(D(REFUSING), NOT_STARTED),
    },
    [D(STARTING)] = {
        DE(START) = REFUSE(D(STARTING)), DE(COMMIT) = STAY(D(STARTING)),
        DE(LOADED) = MISUSE(D(STARTING)), DE(BAD) = MISUSE(D(STARTING)),
        DE(RAN) = MISUSE(D(STARTING)),
        DE(CUT) = STAY(D(STARTING)), DE(GIVE_UP) = MISUSE(D(STARTING)),
        DE(RECONNECTED) = STAY(D(STARTING)),
        DE(WRITTEN) = OK(D(STARTED), RUN),
        DE(WRITE_FAILED) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RESOLVE_OURS) = STAY(D(STARTING)), DE(RESOLVE_THEIRS) = MISUSE(D(STARTING)),
    },
    [D(STARTED)] = { /* [HND-17] RUNNING is not said yet, and NOT_STARTED can be */
        DE(START) = REFUSE(D(STARTED)), DE(COMMIT) = STAY(D(STARTED)),
        DE(LOADED) = MISUSE(D(STARTED)), DE(BAD) = WRITE(D(REFUSING), NOT_STARTED),
        DE(RAN) = OK(D(RUNNING), SEND_RUNNING),
        DE(CUT) = STAY(D(STARTED)), DE(GIVE_UP) = STAY(D(STARTED)),
        DE(RECONNECTED) = STAY(D(STARTED)),
        DE(WRITTEN) = MISUSE(D(STARTED)), DE(WRITE_FAILED) = MISUSE(D(STARTED)),
        DE(RESOLVE_OURS) = STAY(D(STARTED)), DE(RESOLVE_THEIRS) = MISUSE(D(STARTED)),
    },
    [D(RUNNING)] = {
        DE(START) = REFUSE(D(RUNNING)), DE(COMMIT) = OK(D(RUNNING), SEND_RUNNING),
        DE(LOADED) = MISUSE(D(RUNNING)), DE(BAD) = MISUSE(D(RUNNING)),
        DE(RAN) = MISUSE(D(RUNNING)),
        DE(CUT) = STAY(D(RUNNING)), DE(GIVE_UP) = STAY(D(RUNNING)),
        DE(RECONNECTED) = OK(D(RUNNING), SEND_RUNNING),
        DE(WRITTEN) = MISUSE(D(RUNNING)), DE(WRITE_FAILED) = MISUSE(D(RUNNING)),
        DE(RESOLVE_OURS) = STAY(D(RUNNING)), DE(RESOLVE_THEIRS) = MISUSE(D(RUNNING)),
    },
    [D(REFUSING)] = {
        DE(START) = STAY(D(REFUSING)), DE(COMMIT) = STAY(D(REFUSING)),
        DE(LOADED) = MISUSE(D(REFUSING)), DE(BAD) = STAY(D(REFUSING)),
        DE(RAN) = MISUSE(D(REFUSING)),
        DE(CUT) = STAY(D(REFUSING)), DE(GIVE_UP) = STAY(D(REFUSING)),
        DE(RECONNECTED) = STAY(D(REFUSING)),
        DE(WRITTEN) = OK(D(REFUSED), SEND_NOT_STARTED), DE(WRITE_FAILED) = OK(D(UNKNOWN), TELL),
        DE(RESOLVE_OURS) = MISUSE(D(REFUSING)), DE(RESOLVE_THEIRS) = STAY(D(REFUSING)),
    },
    [D(REFUSED)] = {
        DE(START) = OK(D(REFUSED), SEND_NOT_STARTED), DE(COMMIT) = OK(D(REFUSED), SEND_NOT_STARTED),
        DE(LOADED) = MISUSE(D(REFUSED)), DE(BAD) = STAY(D(REFUSED)),
        DE(RAN) = MISUSE(D(REFUSED)),
        DE(CUT) = STAY(D(REFUSED)), DE(GIVE_UP) = STAY(D(REFUSED)),
        DE(RECONNECTED) = OK(D(REFUSED), SEND_NOT_STARTED),
        DE(WRITTEN) = MISUSE(D(REFUSED)), DE(WRITE_FAILED) = MISUSE(D(REFUSED)),
        DE(RESOLVE_OURS) = MISUSE(D(REFUSED)), DE(RESOLVE_THEIRS) = STAY(D(REFUSED)),
    },
    [D(UNKNOWN)] = { /* never runs, never says NOT_STARTED, but by order: HND-11 */
        DE(START) = REFUSE(D(UNKNOWN)), DE(COMMIT) = OK(D(UNKNOWN), TELL),
        DE(LOADED) = MISUSE(D(UNKNOWN)), DE(BAD) = STAY(D(UNKNOWN)),
        DE(RAN) = MISUSE(D(UNKNOWN)),
        DE(CUT) = STAY(D(UNKNOWN)), DE(GIVE_UP) = STAY(D(UNKNOWN)),
        DE(RECONNECTED) = OK(D(UNKNOWN), TELL),
        DE(WRITTEN) = MISUSE(D(UNKNOWN)), DE(WRITE_FAILED) = MISUSE(D(UNKNOWN)),
        DE(RESOLVE_OURS) = MISUSE(D(UNKNOWN)), /* there is no state to run */
        DE(RESOLVE_THEIRS) = WRITE(D(REFUSING), NOT_STARTED),
    },
};
/* clang-format on */

static const struct cell *cell_of(const struct vms_handover *h, unsigned event) {
    if (h->role == VMS_ROLE_SOURCE)
        return h->state < VMS_SRC_STATES && event < VMS_SRC_EVENTS ? &SOURCE[h->state][event]
                                                                   : NULL;
    return h->state < VMS_DST_STATES && event < VMS_DST_EVENTS ? &DESTINATION[h->state][event]
                                                               : NULL;
}

void vms_handover_init(struct vms_handover *handover, enum vms_native_role role) {
    memset(handover, 0, sizeof *handover);
    handover->role = role;
    handover->state = role == VMS_ROLE_SOURCE ? (unsigned)S(OURS) : (unsigned)D(LOADING);
}

enum vms_handover_action vms_handover_event(struct vms_handover *handover, unsigned event) {
    const struct cell *cell = cell_of(handover, event);
    if (!cell)
        return VMS_DO_MISUSE;
    handover->state = cell->next;
    if (cell->action == VMS_DO_WRITE)
        handover->journal = (enum vms_journal)cell->journal;
    if (handover->role == VMS_ROLE_SOURCE && event == VMS_SRC_EV_BEGIN &&
        cell->action == VMS_DO_STOP)
        handover->generation++;
    return (enum vms_handover_action)cell->action;
}

/* ---- after a restart: what the journals prove (HND-10, HND-11) ---- */

static enum vms_handover_action recover_source(struct vms_handover *h, enum vms_journal journal) {
    switch (journal) {
    case VMS_JOURNAL_NONE:
    case VMS_JOURNAL_RELEASED: h->state = S(OURS); return VMS_DO_NOTHING;
    case VMS_JOURNAL_COMMITTED: h->state = S(IN_DOUBT); return VMS_DO_RECONNECT;
    case VMS_JOURNAL_GONE: h->state = S(GONE); return VMS_DO_DROP;
    default: h->state = S(UNKNOWN); return VMS_DO_TELL;
    }
}

/* Memory is gone: what had not started never will. */
static enum vms_handover_action recover_destination(struct vms_handover *h,
                                                    enum vms_journal journal) {
    switch (journal) {
    case VMS_JOURNAL_NONE:
    case VMS_JOURNAL_OPEN:
        h->state = D(REFUSING);
        h->journal = VMS_JOURNAL_NOT_STARTED;
        return VMS_DO_WRITE;
    case VMS_JOURNAL_STARTED: h->state = D(RUNNING); return VMS_DO_RECONNECT;
    case VMS_JOURNAL_NOT_STARTED: h->state = D(REFUSED); return VMS_DO_RECONNECT;
    default: h->state = D(UNKNOWN); return VMS_DO_TELL;
    }
}

enum vms_handover_action vms_handover_recover(struct vms_handover *handover,
                                              enum vms_native_role role, enum vms_journal journal,
                                              uint64_t generation) {
    vms_handover_init(handover, role);
    handover->generation = generation;
    return role == VMS_ROLE_SOURCE ? recover_source(handover, journal)
                                   : recover_destination(handover, journal);
}

/* ---- frames ---- */

enum {
    NO_EVENT = UINT8_MAX
};

static unsigned source_event(const struct vms_native_frame *frame) {
    switch (frame->header.type) {
    case VMS_NATIVE_READY:
        return frame->u.ready.verdict == 2 ? VMS_SRC_EV_READY_BAD : VMS_SRC_EV_READY;
    case VMS_NATIVE_RUNNING: return VMS_SRC_EV_RUNNING;
    case VMS_NATIVE_NOT_STARTED: return VMS_SRC_EV_NOT_STARTED;
    default: return NO_EVENT;
    }
}

static unsigned destination_event(const struct vms_native_frame *frame) {
    switch (frame->header.type) {
    case VMS_NATIVE_START: return VMS_DST_EV_START;
    case VMS_NATIVE_COMMIT: return VMS_DST_EV_COMMIT;
    default: return NO_EVENT;
    }
}

static uint64_t generation_of(const struct vms_native_frame *frame) {
    return frame->header.type == VMS_NATIVE_READY ? frame->u.ready.generation : frame->u.generation;
}

/*
 * [HND-3] Answers are of the current attempt; START alone begins one. [HND-10] NOT_STARTED is about
 * the session: it holds for every generation, and so does a refusal to start.
 */
static bool generation_fits(const struct vms_handover *h, unsigned type, uint64_t generation) {
    bool refused =
        h->role == VMS_ROLE_DESTINATION && (h->state == D(REFUSING) || h->state == D(REFUSED));
    if (type == VMS_NATIVE_START)
        return generation > h->generation;
    return type == VMS_NATIVE_NOT_STARTED || refused || generation == h->generation;
}

enum vms_handover_action vms_handover_frame(struct vms_handover *handover,
                                            const struct vms_native_frame *frame,
                                            enum vms_code *code) {
    struct vms_handover *h = handover;
    bool source = h->role == VMS_ROLE_SOURCE;
    unsigned type = frame->header.type;
    unsigned event = source ? source_event(frame) : destination_event(frame);
    uint64_t generation = generation_of(frame);
    *code = VMS_E_HANDOVER_UNEXPECTED;
    if (event == NO_EVENT)
        return VMS_DO_REFUSE;
    if (!generation_fits(h, type, generation)) {
        bool late = type == VMS_NATIVE_READY && generation < h->generation;
        *code = VMS_E_HANDOVER_GENERATION;
        return late ? VMS_DO_NOTHING : VMS_DO_REFUSE;
    }
    enum vms_handover_action action = vms_handover_event(h, event);
    if (event == VMS_DST_EV_START && !source && action != VMS_DO_REFUSE)
        h->generation = generation;
    if (action == VMS_DO_REFUSE && event == VMS_SRC_EV_READY_BAD && source)
        *code = VMS_E_HANDOVER_DIGEST;
    return action;
}

/* ---- questions ---- */

bool vms_handover_may_run(const struct vms_handover *handover) {
    if (handover->role == VMS_ROLE_DESTINATION)
        return handover->state == D(STARTED) || handover->state == D(RUNNING);
    return handover->state == S(OURS) || handover->state == S(ASKED);
}

bool vms_handover_in_doubt(const struct vms_handover *handover) {
    if (handover->role == VMS_ROLE_DESTINATION)
        return handover->state == D(WAITING) || handover->state == D(UNKNOWN);
    return handover->state == S(IN_DOUBT) || handover->state == S(UNKNOWN);
}

const char *vms_handover_state_name(const struct vms_handover *handover) {
    static const char *const source[VMS_SRC_STATES] = {
        "OURS",      "ASKED",      "WRITING", "COMMITTED", "IN_DOUBT",
        "RELEASING", "CANCELLING", "LEAVING", "GONE",      "UNKNOWN"};
    static const char *const destination[VMS_DST_STATES] = {
        "LOADING", "ASKED",   "OPENING",  "READY",   "WAITING", "STARTING",
        "STARTED", "RUNNING", "REFUSING", "REFUSED", "UNKNOWN"};
    if (handover->role == VMS_ROLE_SOURCE)
        return handover->state < VMS_SRC_STATES ? source[handover->state] : "INVALID";
    return handover->state < VMS_DST_STATES ? destination[handover->state] : "INVALID";
}

const char *vms_journal_name(enum vms_journal journal) {
    static const char *const names[VMS_JOURNAL_COUNT] = {
        "none", "committed", "released", "gone", "open", "started", "not-started", "lost"};
    return (unsigned)journal < VMS_JOURNAL_COUNT ? names[journal] : "lost";
}

const char *vms_handover_action_name(enum vms_handover_action action) {
    static const char *const names[VMS_HANDOVER_ACTION_COUNT] = {
        "nothing",   "refuse",     "misuse",      "stop",         "run",
        "write",     "send-ready", "send-commit", "send-running", "send-not-started",
        "reconnect", "drop",       "tell"};
    return (unsigned)action < VMS_HANDOVER_ACTION_COUNT ? names[action] : "refuse";
}
