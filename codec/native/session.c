/* SPDX-License-Identifier: MIT */
#include <vmstream/session.h>

/* What may come when, for both ends, as tables: clauses SES. No cell is empty (SES-1). */

struct cell {
    uint8_t next;
    uint8_t action;
};

#define TO(state, action)                                                                          \
    { VMS_SES_##state, VMS_SES_DO_##action }
#define E(name)  [VMS_SES_EV_##name]
#define ST(name) [VMS_SES_##name]
#define EVERY(cell)                                                                                \
    E(HELLO) = cell, E(ATTACH) = cell, E(RESUME) = cell, E(RESUMED) = cell, E(ABORT) = cell,       \
    E(END) = cell, E(DATA) = cell, E(CONTROL) = cell, E(HANDOVER) = cell, E(OPEN) = cell,          \
    E(SEND) = cell, E(SEND_END) = cell, E(CUT) = cell, E(RECONNECT) = cell, E(CLOSE) = cell,       \
    E(GIVE_UP) = cell
#define FAILURE                                                                                    \
    { VMS_SES_FAILED, VMS_SES_DO_FAIL }
#define REFUSAL                                                                                    \
    { VMS_SES_FAILED, VMS_SES_DO_REFUSE }

/* clang-format off */
static const struct cell SOURCE[VMS_SES_STATES][VMS_SES_EVENTS] = {
    ST(NEW) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL, E(RESUMED) = REFUSAL,
        E(ABORT) = REFUSAL, E(END) = REFUSAL, E(DATA) = REFUSAL, E(CONTROL) = REFUSAL,
        E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(HELLO, SEND_HELLO), E(SEND) = TO(NEW, MISUSE), E(SEND_END) = TO(NEW, MISUSE),
        E(CUT) = FAILURE, E(RECONNECT) = TO(NEW, MISUSE), E(CLOSE) = TO(CLOSED, CLOSE),
        E(GIVE_UP) = FAILURE,
    },
    ST(HELLO) = {
        E(HELLO) = TO(OPEN, NOTHING), E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL,
        E(RESUMED) = REFUSAL, E(ABORT) = FAILURE, E(END) = REFUSAL, E(DATA) = REFUSAL,
        E(CONTROL) = REFUSAL, E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(HELLO, MISUSE), E(SEND) = TO(HELLO, MISUSE), E(SEND_END) = TO(HELLO, MISUSE),
        E(CUT) = FAILURE, E(RECONNECT) = TO(HELLO, MISUSE), E(CLOSE) = FAILURE,
        E(GIVE_UP) = FAILURE,
    },
    ST(OPEN) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL, E(RESUMED) = REFUSAL,
        E(ABORT) = FAILURE, E(END) = REFUSAL, E(DATA) = TO(OPEN, NOTHING),
        E(CONTROL) = TO(OPEN, NOTHING), E(HANDOVER) = TO(OPEN, NOTHING),
        E(OPEN) = TO(OPEN, MISUSE), E(SEND) = TO(OPEN, NOTHING), E(SEND_END) = TO(ENDED, NOTHING),
        E(CUT) = TO(LOST, KEEP), E(RECONNECT) = TO(OPEN, MISUSE), E(CLOSE) = FAILURE,
        E(GIVE_UP) = FAILURE,
    },
    ST(ENDED) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL, E(RESUMED) = REFUSAL,
        E(ABORT) = FAILURE, E(END) = REFUSAL, E(DATA) = TO(ENDED, NOTHING),
        E(CONTROL) = TO(ENDED, NOTHING), E(HANDOVER) = TO(ENDED, NOTHING),
        E(OPEN) = TO(ENDED, MISUSE), E(SEND) = TO(ENDED, MISUSE), E(SEND_END) = TO(ENDED, MISUSE),
        E(CUT) = TO(LOST_ENDED, KEEP), E(RECONNECT) = TO(ENDED, MISUSE),
        E(CLOSE) = TO(CLOSED, CLOSE), E(GIVE_UP) = FAILURE,
    },
    ST(LOST) = { /* nothing is read from a lost connection: RSM-6 */
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL, E(RESUMED) = REFUSAL,
        E(ABORT) = REFUSAL, E(END) = REFUSAL, E(DATA) = REFUSAL, E(CONTROL) = REFUSAL,
        E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(LOST, MISUSE), E(SEND) = TO(LOST, MISUSE), E(SEND_END) = TO(LOST, MISUSE),
        E(CUT) = TO(LOST, KEEP), E(RECONNECT) = TO(RESUMING, SEND_RESUME), E(CLOSE) = FAILURE,
        E(GIVE_UP) = FAILURE,
    },
    ST(LOST_ENDED) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL, E(RESUMED) = REFUSAL,
        E(ABORT) = REFUSAL, E(END) = REFUSAL, E(DATA) = REFUSAL, E(CONTROL) = REFUSAL,
        E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(LOST_ENDED, MISUSE), E(SEND) = TO(LOST_ENDED, MISUSE),
        E(SEND_END) = TO(LOST_ENDED, MISUSE), E(CUT) = TO(LOST_ENDED, KEEP),
        E(RECONNECT) = TO(RESUMING_ENDED, SEND_RESUME), E(CLOSE) = TO(CLOSED, CLOSE),
        E(GIVE_UP) = FAILURE,
    },
    ST(RESUMING) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL,
        E(RESUMED) = TO(OPEN, REPLAY), E(ABORT) = FAILURE, E(END) = REFUSAL, E(DATA) = REFUSAL,
        E(CONTROL) = REFUSAL, E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(RESUMING, MISUSE), E(SEND) = TO(RESUMING, MISUSE),
        E(SEND_END) = TO(RESUMING, MISUSE), E(CUT) = TO(LOST, KEEP),
        E(RECONNECT) = TO(RESUMING, MISUSE), E(CLOSE) = FAILURE, E(GIVE_UP) = FAILURE,
    },
    ST(RESUMING_ENDED) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL,
        E(RESUMED) = TO(ENDED, REPLAY), E(ABORT) = FAILURE, E(END) = REFUSAL, E(DATA) = REFUSAL,
        E(CONTROL) = REFUSAL, E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(RESUMING_ENDED, MISUSE), E(SEND) = TO(RESUMING_ENDED, MISUSE),
        E(SEND_END) = TO(RESUMING_ENDED, MISUSE), E(CUT) = TO(LOST_ENDED, KEEP),
        E(RECONNECT) = TO(RESUMING_ENDED, MISUSE), E(CLOSE) = TO(CLOSED, CLOSE),
        E(GIVE_UP) = FAILURE,
    },
    ST(CLOSED) = {
        E(HELLO) = TO(CLOSED, REFUSE), E(ATTACH) = TO(CLOSED, REFUSE),
        E(RESUME) = TO(CLOSED, REFUSE), E(RESUMED) = TO(CLOSED, REFUSE),
        E(ABORT) = TO(CLOSED, NOTHING), E(END) = TO(CLOSED, REFUSE), E(DATA) = TO(CLOSED, REFUSE),
        E(CONTROL) = TO(CLOSED, NOTHING), E(HANDOVER) = TO(CLOSED, NOTHING),
        E(OPEN) = TO(CLOSED, MISUSE), E(SEND) = TO(CLOSED, MISUSE),
        E(SEND_END) = TO(CLOSED, MISUSE), E(CUT) = TO(CLOSED, NOTHING),
        E(RECONNECT) = TO(CLOSED, MISUSE), E(CLOSE) = TO(CLOSED, NOTHING),
        E(GIVE_UP) = TO(CLOSED, NOTHING),
    },
    ST(FAILED) = {EVERY(FAILURE)},
};

static const struct cell DESTINATION[VMS_SES_STATES][VMS_SES_EVENTS] = {
    ST(NEW) = {
        E(HELLO) = TO(OPEN, SEND_HELLO), E(ATTACH) = REFUSAL, E(RESUME) = REFUSAL,
        E(RESUMED) = REFUSAL, E(ABORT) = FAILURE, E(END) = REFUSAL, E(DATA) = REFUSAL,
        E(CONTROL) = REFUSAL, E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(NEW, MISUSE), E(SEND) = TO(NEW, MISUSE), E(SEND_END) = TO(NEW, MISUSE),
        E(CUT) = FAILURE, E(RECONNECT) = TO(NEW, MISUSE), E(CLOSE) = TO(CLOSED, CLOSE),
        E(GIVE_UP) = FAILURE,
    },
    ST(HELLO) = {EVERY(FAILURE)}, /* the source's alone, as RESUMING */
    ST(OPEN) = { /* the source may have found the cut before us: RSM-6 */
        E(HELLO) = REFUSAL, E(ATTACH) = TO(OPEN, NOTHING), E(RESUME) = TO(OPEN, SEND_RESUMED),
        E(RESUMED) = REFUSAL, E(ABORT) = FAILURE, E(END) = TO(ENDED, NOTHING),
        E(DATA) = TO(OPEN, NOTHING), E(CONTROL) = TO(OPEN, NOTHING),
        E(HANDOVER) = TO(OPEN, NOTHING),
        E(OPEN) = TO(OPEN, MISUSE), E(SEND) = TO(OPEN, NOTHING), E(SEND_END) = TO(OPEN, MISUSE),
        E(CUT) = TO(LOST, KEEP), E(RECONNECT) = TO(OPEN, MISUSE), E(CLOSE) = FAILURE,
        E(GIVE_UP) = FAILURE,
    },
    ST(ENDED) = { /* other channels may be behind the main one */
        E(HELLO) = REFUSAL, E(ATTACH) = TO(ENDED, NOTHING), E(RESUME) = TO(ENDED, SEND_RESUMED),
        E(RESUMED) = REFUSAL, E(ABORT) = FAILURE, E(END) = REFUSAL, E(DATA) = TO(ENDED, NOTHING),
        E(CONTROL) = TO(ENDED, NOTHING), E(HANDOVER) = TO(ENDED, NOTHING),
        E(OPEN) = TO(ENDED, MISUSE), E(SEND) = TO(ENDED, NOTHING), E(SEND_END) = TO(ENDED, MISUSE),
        E(CUT) = TO(LOST_ENDED, KEEP), E(RECONNECT) = TO(ENDED, MISUSE),
        E(CLOSE) = TO(CLOSED, CLOSE), E(GIVE_UP) = FAILURE,
    },
    ST(LOST) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = TO(OPEN, SEND_RESUMED),
        E(RESUMED) = REFUSAL, E(ABORT) = REFUSAL, E(END) = REFUSAL, E(DATA) = REFUSAL,
        E(CONTROL) = REFUSAL, E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(LOST, MISUSE), E(SEND) = TO(LOST, MISUSE), E(SEND_END) = TO(LOST, MISUSE),
        E(CUT) = TO(LOST, KEEP), E(RECONNECT) = TO(LOST, MISUSE), E(CLOSE) = FAILURE,
        E(GIVE_UP) = FAILURE,
    },
    ST(LOST_ENDED) = {
        E(HELLO) = REFUSAL, E(ATTACH) = REFUSAL, E(RESUME) = TO(ENDED, SEND_RESUMED),
        E(RESUMED) = REFUSAL, E(ABORT) = REFUSAL, E(END) = REFUSAL, E(DATA) = REFUSAL,
        E(CONTROL) = REFUSAL, E(HANDOVER) = REFUSAL,
        E(OPEN) = TO(LOST_ENDED, MISUSE), E(SEND) = TO(LOST_ENDED, MISUSE),
        E(SEND_END) = TO(LOST_ENDED, MISUSE), E(CUT) = TO(LOST_ENDED, KEEP),
        E(RECONNECT) = TO(LOST_ENDED, MISUSE), E(CLOSE) = TO(CLOSED, CLOSE),
        E(GIVE_UP) = FAILURE,
    },
    ST(RESUMING) = {EVERY(FAILURE)},
    ST(RESUMING_ENDED) = {EVERY(FAILURE)},
    ST(CLOSED) = {
        E(HELLO) = TO(CLOSED, REFUSE), E(ATTACH) = TO(CLOSED, REFUSE),
        E(RESUME) = TO(CLOSED, REFUSE), E(RESUMED) = TO(CLOSED, REFUSE),
        E(ABORT) = TO(CLOSED, NOTHING), E(END) = TO(CLOSED, REFUSE), E(DATA) = TO(CLOSED, REFUSE),
        E(CONTROL) = TO(CLOSED, NOTHING), E(HANDOVER) = TO(CLOSED, NOTHING),
        E(OPEN) = TO(CLOSED, MISUSE), E(SEND) = TO(CLOSED, MISUSE),
        E(SEND_END) = TO(CLOSED, MISUSE), E(CUT) = TO(CLOSED, NOTHING),
        E(RECONNECT) = TO(CLOSED, MISUSE), E(CLOSE) = TO(CLOSED, NOTHING),
        E(GIVE_UP) = TO(CLOSED, NOTHING),
    },
    ST(FAILED) = {EVERY(FAILURE)},
};
/* clang-format on */

const char *vms_session_state_name(enum vms_session_state state) {
    static const char *const names[VMS_SES_STATES] = {
        "NEW",        "HELLO",    "OPEN",           "ENDED",  "LOST",
        "LOST_ENDED", "RESUMING", "RESUMING_ENDED", "CLOSED", "FAILED"};
    return (unsigned)state < VMS_SES_STATES ? names[state] : "FAILED";
}

enum vms_session_action vms_session_step(enum vms_native_role role, enum vms_session_state state,
                                         enum vms_session_event event,
                                         enum vms_session_state *next) {
    *next = state;
    if ((unsigned)state >= VMS_SES_STATES || (unsigned)event >= VMS_SES_EVENTS)
        return VMS_SES_DO_MISUSE;
    const struct cell *cell =
        role == VMS_ROLE_SOURCE ? &SOURCE[state][event] : &DESTINATION[state][event];
    *next = (enum vms_session_state)cell->next;
    return (enum vms_session_action)cell->action;
}

enum vms_session_event vms_session_frame_event(const struct vms_native_frame *frame) {
    if (frame->unknown)
        return VMS_SES_EV_CONTROL;
    switch (frame->header.type) {
    case VMS_NATIVE_HELLO: return VMS_SES_EV_HELLO;
    case VMS_NATIVE_ATTACH: return VMS_SES_EV_ATTACH;
    case VMS_NATIVE_RESUME: return VMS_SES_EV_RESUME;
    case VMS_NATIVE_RESUMED: return VMS_SES_EV_RESUMED;
    case VMS_NATIVE_ABORT: return VMS_SES_EV_ABORT;
    case VMS_NATIVE_END: return VMS_SES_EV_END;
    case VMS_NATIVE_START:
    case VMS_NATIVE_READY:
    case VMS_NATIVE_COMMIT:
    case VMS_NATIVE_RUNNING:
    case VMS_NATIVE_NOT_STARTED: return VMS_SES_EV_HANDOVER;
    case VMS_NATIVE_REKEY:
    case VMS_NATIVE_ACK:
    case VMS_NATIVE_PING:
    case VMS_NATIVE_PONG:
    case VMS_NATIVE_REQUEST:
    case VMS_NATIVE_GRANT: return VMS_SES_EV_CONTROL;
    default: return VMS_SES_EV_DATA;
    }
}
