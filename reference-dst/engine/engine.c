/* SPDX-License-Identifier: MIT */
#include "engine.h"

struct cell {
    uint8_t next; /* enum dst_state */
    uint16_t actions;
    bool legal;
};

#define TO(state, what)                                                                            \
    { DST_##state, (what), true }
#define STAY(state)                                                                                \
    { DST_##state, DST_DO_NOTHING, true }

/*
 * [DST-1] The machine, one row a state, as in spec/02.9-destination.md. A cell that is not written
 * is DST_UNEXPECTED. ERROR and CUT have the same answers in many states, see dst_engine_event().
 */
static const struct cell TABLE[DST_STATE_COUNT][DST_EVENT_COUNT] =
    {
        [DST_WAIT] = {[DST_EV_HEADER] = TO(HEADER, DST_DO_NOTHING)},
        [DST_HEADER] =
            {
                [DST_EV_CONFIGURATION] = TO(SETUP, DST_DO_NOTHING),
                /* machine types before 2.4 have no configuration record */
                [DST_EV_OPEN_RETURN_PATH] = TO(SETUP, DST_DO_OPEN_RETURN_PATH),
                [DST_EV_SECTION_START] = STAY(SETUP),
                [DST_EV_ADVISE] = STAY(SETUP),
            },
        [DST_SETUP] =
            {
                [DST_EV_OPEN_RETURN_PATH] = TO(SETUP, DST_DO_OPEN_RETURN_PATH),
                [DST_EV_PING] = TO(SETUP, DST_DO_PONG),
                [DST_EV_ADVISE] = STAY(SETUP),
                [DST_EV_RAM_LIST] = STAY(SETUP),
                [DST_EV_SECTION_START] = STAY(SETUP),
                [DST_EV_DEVICE] = STAY(SETUP), /* early sections, before RAM */
                [DST_EV_SYNC] = TO(SETUP, DST_DO_SYNC),
                [DST_EV_RAM_SETUP_DONE] = STAY(PRECOPY),
            },
        [DST_PRECOPY] =
            {
                [DST_EV_PING] = TO(PRECOPY, DST_DO_PONG),
                [DST_EV_SECTION_START] = STAY(PRECOPY), /* VFIO, dirty bitmaps: after RAM */
                [DST_EV_SECTION_PART] = STAY(PRECOPY),
                [DST_EV_SYNC] = TO(PRECOPY, DST_DO_SYNC),
                [DST_EV_SWITCHOVER_START] = STAY(SWITCHOVER),
                [DST_EV_SECTION_END] = STAY(SWITCHOVER),
                [DST_EV_DEVICE] = STAY(SWITCHOVER), /* a background snapshot has no END */
                [DST_EV_DISCARD] = STAY(SWITCHOVER),
                [DST_EV_PACKAGE] = STAY(PACKAGE),
            },
        [DST_SWITCHOVER] =
            {
                [DST_EV_PING] = TO(SWITCHOVER, DST_DO_PONG),
                [DST_EV_SECTION_END] = STAY(SWITCHOVER),
                [DST_EV_SYNC] = TO(SWITCHOVER, DST_DO_SYNC),
                [DST_EV_DEVICE] = STAY(SWITCHOVER),
                [DST_EV_EOF] = STAY(LOADED),
                [DST_EV_DISCARD] = STAY(SWITCHOVER),
                [DST_EV_PACKAGE] = STAY(PACKAGE),
            },
        [DST_LOADED] = {[DST_EV_MAIN_END] = TO(DRAIN, DST_DO_DRAIN | DST_DO_RUN)},
        [DST_DRAIN] = {[DST_EV_CHANNELS_DONE] = TO(COMPLETED, DST_DO_SHUT_GOOD)},
        /* The package's thread brings DEVICE, PING and RUN while main goes on with pages. */
        [DST_PACKAGE] = {[DST_EV_LISTEN] = TO(LISTENING, DST_DO_LISTEN)},
        [DST_LISTENING] =
            {
                [DST_EV_PING] = TO(LISTENING, DST_DO_PONG),
                [DST_EV_DEVICE] = STAY(LISTENING),
                [DST_EV_SECTION_PART] = STAY(LISTENING),
                [DST_EV_SECTION_END] = STAY(LISTENING),
                [DST_EV_RUN] = TO(POSTCOPY, DST_DO_RUN),
                [DST_EV_EOF] = STAY(ARRIVED),
            },
        [DST_ARRIVED] =
            {
                [DST_EV_PING] = TO(ARRIVED, DST_DO_PONG),
                [DST_EV_DEVICE] = STAY(ARRIVED),
                [DST_EV_MAIN_END] = TO(ARRIVED, DST_DO_FILL),
                [DST_EV_RUN] = TO(FILLING, DST_DO_RUN),
            },
        [DST_POSTCOPY] =
            {
                [DST_EV_PING] = TO(POSTCOPY, DST_DO_PONG), /* 4 comes behind the package */
                [DST_EV_SECTION_PART] = STAY(POSTCOPY),
                [DST_EV_SECTION_END] = STAY(POSTCOPY),
                [DST_EV_EOF] = STAY(FILLING),
                [DST_EV_CUT] = TO(PAUSED, DST_DO_PAUSE),
            },
        [DST_FILLING] =
            {
                [DST_EV_MAIN_END] = TO(FILLING, DST_DO_FILL),
                [DST_EV_CHANNELS_DONE] = TO(COMPLETED, DST_DO_SHUT_GOOD),
                [DST_EV_CUT] = TO(PAUSED, DST_DO_PAUSE),
            },
        [DST_PAUSED] =
            {
                [DST_EV_CUT] = STAY(PAUSED), /* of the other channels */
                [DST_EV_RECOVERY] = STAY(RECOVER),
                [DST_EV_CHANNELS_DONE] = STAY(COMPLETED), /* nobody came, and nothing is missing */
            },
        [DST_RECOVER] =
            {
                [DST_EV_RECV_BITMAP] = TO(RECOVER, DST_DO_BITMAP),
                [DST_EV_RESUME] = TO(POSTCOPY, DST_DO_RESUME),
                [DST_EV_CUT] = TO(PAUSED, DST_DO_PAUSE),
            },
};

const char *dst_state_name(enum dst_state state) {
    static const char *const names[DST_STATE_COUNT] = {
        "wait",   "header",  "setup",     "precopy", "switchover", "loaded",
        "drain",  "package", "listening", "arrived", "postcopy",   "filling",
        "paused", "recover", "completed", "failed",
    };
    return (unsigned)state < DST_STATE_COUNT ? names[state] : "?";
}

const char *dst_event_name(enum dst_event event) {
    static const char *const names[DST_EVENT_COUNT] = {
        "none",
        "header",
        "configuration",
        "OPEN_RETURN_PATH",
        "PING",
        "POSTCOPY_ADVISE",
        "RAM block list",
        "START",
        "PART",
        "END",
        "RAM setup done",
        "sync",
        "SWITCHOVER_START",
        "device section",
        "EOF",
        "end of the main channel",
        "channels done",
        "ENABLE_COLO",
        "POSTCOPY_RAM_DISCARD",
        "PACKAGED",
        "POSTCOPY_LISTEN",
        "POSTCOPY_RUN",
        "cut",
        "recovery connection",
        "RECV_BITMAP",
        "POSTCOPY_RESUME",
        "error",
    };
    return (unsigned)event < DST_EVENT_COUNT ? names[event] : "?";
}

void dst_engine_init(struct dst_engine *e) {
    *e = (struct dst_engine){.state = DST_WAIT};
}

bool dst_engine_runs(enum dst_state s) {
    return s == DST_POSTCOPY || s == DST_FILLING || s == DST_PAUSED || s == DST_RECOVER;
}

static bool is_final(enum dst_state s) {
    return s == DST_COMPLETED || s == DST_FAILED;
}

/* [DST-23] SHUT 1 hands the guest back: not one that may have run. */
static enum vms_code fail(struct dst_engine *e, unsigned *actions) {
    e->state = DST_FAILED;
    *actions |= e->ran ? DST_DO_NOTHING : DST_DO_SHUT_BAD;
    return VMS_OK;
}

bool dst_engine_run(struct dst_engine *e) {
    e->ran |= e->state != DST_FAILED;
    return e->state != DST_FAILED;
}

void dst_engine_not_run(struct dst_engine *e) {
    e->ran = false;
}

/*
 * [DST-18] Something came that is refused. A guest that runs here has nowhere else to go, and what
 * was said at the end stays said [DST-10].
 */
static void refuse(struct dst_engine *e, unsigned *actions) {
    if (is_final(e->state))
        return;
    if (!dst_engine_runs(e->state)) {
        (void)fail(e, actions);
        return;
    }
    *actions |= e->state == DST_PAUSED ? DST_DO_NOTHING : DST_DO_PAUSE;
    e->state = DST_PAUSED;
}

static enum vms_code unexpected(struct dst_engine *e, enum dst_event event, const char *why,
                                unsigned *actions, struct vms_error *err) {
    (void)vms_error_set(err, VMS_E_DST_UNEXPECTED, "%s in state %s%s", dst_event_name(event),
                        dst_state_name(e->state), why);
    refuse(e, actions);
    return VMS_E_DST_UNEXPECTED;
}

/* [DST-5] A guest has memory, and what began has ended. A background snapshot, which is one-way and
 * so has no return path, ends nothing. */
static const char *what_is_missing(const struct dst_engine *e) {
    if (!e->ram_list)
        return "no RAM block list";
    if (e->ended >= e->started || (!e->ended && !e->return_path))
        return NULL;
    if (e->recovered) /* REC-8: that no page is missing is asked by FILL */
        return NULL;
    return "a section has no END";
}

/* [DST-14] What the table's state alone does not tell. NULL: nothing is in the way. */
static const char *not_set_up(const struct dst_engine *e, enum dst_event event) {
    bool postcopy = event == DST_EV_DISCARD || event == DST_EV_PACKAGE;
    if (postcopy && !e->advised)
        return " without POSTCOPY_ADVISE";
    if (event == DST_EV_LISTEN && !e->return_path)
        return " without a return path";
    return NULL;
}

static void remember(struct dst_engine *e, enum dst_event event) {
    e->return_path |= event == DST_EV_OPEN_RETURN_PATH;
    e->advised |= event == DST_EV_ADVISE;
    e->ram_list |= event == DST_EV_RAM_LIST;
    e->syncs += event == DST_EV_SYNC;
    e->recovered |= event == DST_EV_RECOVERY;
}

/* [REC-7] Before the guest runs a cut is a failed migration. */
static bool is_failure(const struct dst_engine *e, enum dst_event event) {
    return event == DST_EV_ERROR || (event == DST_EV_CUT && !dst_engine_runs(e->state));
}

enum vms_code dst_engine_event(struct dst_engine *e, enum dst_event event, unsigned *actions,
                               struct vms_error *err) {
    *actions = DST_DO_NOTHING;
    bool failure = is_failure(e, event);
    if (event == DST_EV_NONE || (failure && is_final(e->state)))
        return VMS_OK;
    if (failure)
        return fail(e, actions);
    const struct cell *cell = &TABLE[e->state][event];
    const char *why = cell->legal ? not_set_up(e, event) : "";
    if (why)
        return unexpected(e, event, why, actions, err);
    if (event == DST_EV_MAIN_END && what_is_missing(e)) {
        (void)vms_error_set(err, VMS_E_DST_INCOMPLETE, "%s", what_is_missing(e));
        refuse(e, actions);
        return VMS_E_DST_INCOMPLETE;
    }
    e->state = (enum dst_state)cell->next;
    *actions = cell->actions;
    remember(e, event);
    return VMS_OK;
}

/* ---- records ---- */

static enum dst_event command_event(uint16_t command) {
    switch (command) {
    case VMS_CMD_OPEN_RETURN_PATH: return DST_EV_OPEN_RETURN_PATH;
    case VMS_CMD_PING: return DST_EV_PING;
    case VMS_CMD_POSTCOPY_ADVISE: return DST_EV_ADVISE;
    case VMS_CMD_SWITCHOVER_START: return DST_EV_SWITCHOVER_START;
    case VMS_CMD_ENABLE_COLO: return DST_EV_COLO;
    case VMS_CMD_POSTCOPY_RAM_DISCARD: return DST_EV_DISCARD;
    case VMS_CMD_PACKAGED: return DST_EV_PACKAGE;
    case VMS_CMD_POSTCOPY_LISTEN: return DST_EV_LISTEN;
    case VMS_CMD_POSTCOPY_RUN: return DST_EV_RUN;
    case VMS_CMD_RECV_BITMAP: return DST_EV_RECV_BITMAP;
    case VMS_CMD_POSTCOPY_RESUME: return DST_EV_RESUME;
    default: return DST_EV_NONE; /* CMD-1: the decoder gives no other */
    }
}

static enum dst_event record_event(const struct vms_record *r) {
    switch (r->type) {
    case VMS_R_HEADER: return DST_EV_HEADER;
    case VMS_R_CONFIGURATION: return DST_EV_CONFIGURATION;
    case VMS_R_COMMAND: return command_event(r->u.command.command);
    case VMS_R_SECTION_START: return DST_EV_SECTION_START;
    case VMS_R_SECTION_PART: return DST_EV_SECTION_PART;
    case VMS_R_SECTION_END: return DST_EV_SECTION_END;
    case VMS_R_SECTION_FULL: return DST_EV_DEVICE;
    case VMS_R_RAM_MEM_SIZE: return DST_EV_RAM_LIST;
    case VMS_R_RAM_MULTIFD_FLUSH: return DST_EV_SYNC;
    case VMS_R_EOF: return DST_EV_EOF;
    default: return DST_EV_NONE;
    }
}

/*
 * [MFD-21] What marks a sync is not on the wire. But a source that marks it by RAM_MULTIFD_FLUSH
 * always sends one in START, so a START without one tells that every EOS marks a sync.
 */
static bool eos_is_sync(struct dst_engine *e) {
    if (e->state > DST_DRAIN) /* postcopy has no syncs (MFD-12) */
        return false;
    if (e->in_ram_start)
        e->sync_by_eos = !e->flush_in_start;
    return e->sync_by_eos;
}

static enum vms_code ram_eos(struct dst_engine *e, unsigned *actions, struct vms_error *err) {
    unsigned more = DST_DO_NOTHING;
    bool was_start = e->in_ram_start;
    enum vms_code code = VMS_OK;
    *actions = DST_DO_NOTHING;
    if (eos_is_sync(e))
        code = dst_engine_event(e, DST_EV_SYNC, actions, err);
    e->in_ram_start = false;
    if (code == VMS_OK && was_start)
        code = dst_engine_event(e, DST_EV_RAM_SETUP_DONE, &more, err);
    *actions |= more;
    return code;
}

static bool acted_on(const struct vms_record *r) {
    switch (r->type) {
    case VMS_R_SECTION_FULL:
    case VMS_R_SECTION_FOOTER:
    case VMS_R_EOF:
    case VMS_R_VMDESCRIPTION: return false;
    default: return true;
    }
}

static void follow_sections(struct dst_engine *e, const struct vms_record *r) {
    bool start = r->type == VMS_R_SECTION_START;
    e->started += start;
    e->ended += r->type == VMS_R_SECTION_END;
    if (start)
        e->in_ram_start = r->u.section.kind == VMS_SECTION_RAM;
    if (r->type == VMS_R_RAM_MULTIFD_FLUSH && e->in_ram_start)
        e->flush_in_start = true;
}

static enum vms_code check_guess(const struct vms_record *r, struct vms_error *err) {
    if (!r->guessed || !acted_on(r))
        return VMS_OK;
    return vms_error_set(err, VMS_E_DST_GUESSED, "%s", vms_record_name(r->type));
}

enum vms_code dst_engine_record(struct dst_engine *e, const struct vms_record *r, unsigned *actions,
                                struct vms_error *err) {
    *actions = DST_DO_NOTHING;
    if (check_guess(r, err) != VMS_OK) {
        refuse(e, actions);
        return VMS_E_DST_GUESSED;
    }
    follow_sections(e, r);
    if (r->type == VMS_R_RAM_EOS)
        return ram_eos(e, actions, err);
    return dst_engine_event(e, record_event(r), actions, err);
}

enum vms_code dst_engine_packaged(const struct vms_record *r, enum dst_event *event,
                                  struct vms_error *err) {
    if (check_guess(r, err) != VMS_OK)
        return VMS_E_DST_GUESSED;
    *event = record_event(r);
    return VMS_OK;
}
