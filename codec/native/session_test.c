/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>
#include <vmstream/session.h>

/* ---- the table against rules written from spec/03.1-session.md: [SES-1] ---- */

static bool ended(enum vms_session_state s) {
    return s == VMS_SES_ENDED || s == VMS_SES_LOST_ENDED || s == VMS_SES_RESUMING_ENDED;
}
static bool connected(enum vms_session_state s) {
    return s == VMS_SES_OPEN || s == VMS_SES_ENDED;
}
static bool lost(enum vms_session_state s) {
    return s == VMS_SES_LOST || s == VMS_SES_LOST_ENDED;
}
static bool resuming(enum vms_session_state s) {
    return s == VMS_SES_RESUMING || s == VMS_SES_RESUMING_ENDED;
}
static bool is_frame(enum vms_session_event e) {
    return e <= VMS_SES_EV_HANDOVER;
}
static bool exists(bool source, enum vms_session_state s) {
    return source || !(s == VMS_SES_HELLO || resuming(s));
}

/* Where a frame leads; FAILED when it is refused. */
static enum vms_session_state after_frame(bool source, enum vms_session_state s,
                                          enum vms_session_event e) {
    enum vms_session_state back = ended(s) ? VMS_SES_ENDED : VMS_SES_OPEN;
    switch (e) {
    case VMS_SES_EV_HELLO:
        return s == (source ? VMS_SES_HELLO : VMS_SES_NEW) ? VMS_SES_OPEN : VMS_SES_FAILED;
    case VMS_SES_EV_ATTACH: return !source && connected(s) ? s : VMS_SES_FAILED;
    case VMS_SES_EV_RESUME: /* [RSM-6] */
        return !source && (connected(s) || lost(s)) ? back : VMS_SES_FAILED;
    case VMS_SES_EV_RESUMED: return source && resuming(s) ? back : VMS_SES_FAILED;
    case VMS_SES_EV_END: return !source && s == VMS_SES_OPEN ? VMS_SES_ENDED : VMS_SES_FAILED;
    case VMS_SES_EV_DATA:
    case VMS_SES_EV_CONTROL:
    case VMS_SES_EV_HANDOVER: return connected(s) ? s : VMS_SES_FAILED;
    default: return VMS_SES_FAILED;
    }
}

static enum vms_session_state after_local(bool source, enum vms_session_state s,
                                          enum vms_session_event e, bool *misuse) {
    *misuse = false;
    switch (e) {
    case VMS_SES_EV_CUT:
        if (s == VMS_SES_NEW || s == VMS_SES_HELLO)
            return VMS_SES_FAILED;
        return ended(s) ? VMS_SES_LOST_ENDED : VMS_SES_LOST;
    case VMS_SES_EV_CLOSE: /* [SES-21] */
        return ended(s) || s == VMS_SES_NEW
                   ? (resuming(s) && !ended(s) ? VMS_SES_FAILED : VMS_SES_CLOSED)
                   : VMS_SES_FAILED;
    case VMS_SES_EV_GIVE_UP: return VMS_SES_FAILED;
    case VMS_SES_EV_OPEN:
        *misuse = !(source && s == VMS_SES_NEW);
        return *misuse ? s : VMS_SES_HELLO;
    case VMS_SES_EV_SEND: /* [SES-2], [SES-22] */
        *misuse = !(s == VMS_SES_OPEN || (!source && s == VMS_SES_ENDED));
        return s;
    case VMS_SES_EV_SEND_END:
        *misuse = !(source && s == VMS_SES_OPEN);
        return *misuse ? s : VMS_SES_ENDED;
    default: /* RECONNECT */
        *misuse = !(source && lost(s));
        return *misuse ? s : s == VMS_SES_LOST_ENDED ? VMS_SES_RESUMING_ENDED : VMS_SES_RESUMING;
    }
}

Test(session, table) {
    for (int role = 0; role < 2; role++)
        for (enum vms_session_state s = VMS_SES_NEW; s < VMS_SES_CLOSED; s++)
            for (enum vms_session_event e = 0; e < VMS_SES_EVENTS; e++) {
                enum vms_session_state next, want;
                bool source = role == VMS_ROLE_SOURCE, misuse = false;
                enum vms_session_action a =
                    vms_session_step((enum vms_native_role)role, s, e, &next);
                if (!exists(source, s)) {
                    cr_assert_eq(next, VMS_SES_FAILED);
                    continue;
                }
                want = is_frame(e) ? after_frame(source, s, e) : after_local(source, s, e, &misuse);
                cr_assert_eq(next, want, "role %d, %s, event %d: %s", role,
                             vms_session_state_name(s), e, vms_session_state_name(next));
                cr_assert_eq(a == VMS_SES_DO_MISUSE, misuse);
                if (next == VMS_SES_FAILED)
                    cr_assert(a == VMS_SES_DO_FAIL || a == VMS_SES_DO_REFUSE);
                if (is_frame(e) && e != VMS_SES_EV_ABORT)
                    cr_assert_eq(a == VMS_SES_DO_REFUSE, next == VMS_SES_FAILED);
            }
}

/* What is over stays over: [MOD-12]. */
Test(session, final_states) {
    for (int role = 0; role < 2; role++)
        for (enum vms_session_event e = 0; e < VMS_SES_EVENTS; e++) {
            enum vms_session_state next;
            (void)vms_session_step((enum vms_native_role)role, VMS_SES_CLOSED, e, &next);
            cr_assert_eq(next, VMS_SES_CLOSED);
            cr_assert_eq(vms_session_step((enum vms_native_role)role, VMS_SES_FAILED, e, &next),
                         VMS_SES_DO_FAIL);
            cr_assert_eq(next, VMS_SES_FAILED);
        }
    enum vms_session_state next;
    cr_assert_eq(vms_session_step(VMS_ROLE_SOURCE, VMS_SES_STATES, 0, &next), VMS_SES_DO_MISUSE);
    cr_assert_eq(vms_session_step(VMS_ROLE_SOURCE, 0, VMS_SES_EVENTS, &next), VMS_SES_DO_MISUSE);
}
