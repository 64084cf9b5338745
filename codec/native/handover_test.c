/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>
#include <vmstream/handover.h>

/* The tables cell by cell, against rules written from spec/03.1-session.md, not from the tables. */

/* [HND-1] Every cell has an answer; what is refused or misused changes nothing. */
Test(handover, total) {
    for (int role = 0; role < 2; role++) {
        unsigned states = role ? VMS_DST_STATES : VMS_SRC_STATES;
        unsigned events = role ? VMS_DST_EVENTS : VMS_SRC_EVENTS;
        for (unsigned s = 0; s < states; s++)
            for (unsigned e = 0; e < events; e++) {
                struct vms_handover h = {(enum vms_native_role)role, s, 1, VMS_JOURNAL_NONE};
                enum vms_handover_action a = vms_handover_event(&h, e);
                cr_assert_lt(a, VMS_HANDOVER_ACTION_COUNT);
                cr_assert_lt(h.state, states);
                if (a == VMS_DO_REFUSE || a == VMS_DO_MISUSE)
                    cr_assert_eq(h.state, s, "role %d, state %u, event %u", role, s, e);
            }
        struct vms_handover h = {(enum vms_native_role)role, states, 1, VMS_JOURNAL_NONE};
        cr_assert_eq(vms_handover_event(&h, 0), VMS_DO_MISUSE);
        h.state = 0;
        cr_assert_eq(vms_handover_event(&h, events), VMS_DO_MISUSE);
    }
}

/* [HND-4] COMMIT is sent in COMMITTED alone, which is entered by its journal or from IN_DOUBT. */
Test(handover, commit_follows_the_journal) {
    for (unsigned s = 0; s < VMS_SRC_STATES; s++)
        for (unsigned e = 0; e < VMS_SRC_EVENTS; e++) {
            struct vms_handover h = {VMS_ROLE_SOURCE, s, 1, VMS_JOURNAL_NONE};
            bool sends = vms_handover_event(&h, e) == VMS_DO_SEND_COMMIT;
            bool may =
                (s == VMS_SRC_WRITING && e == VMS_SRC_EV_WRITTEN) ||
                ((s == VMS_SRC_IN_DOUBT || s == VMS_SRC_COMMITTED) && e == VMS_SRC_EV_RECONNECTED);
            cr_assert_eq(sends, may, "state %u, event %u", s, e);
            cr_assert_eq(h.state == VMS_SRC_COMMITTED,
                         may || (s == VMS_SRC_COMMITTED && h.state == s));
        }
}

/*
 * [HND-5] The guest runs at the destination when STARTED is durable, and for nothing else.
 * [HND-17] Until it runs, and no longer, STARTED can be taken back; RUNNING is not said before.
 */
Test(handover, started_before_run) {
    for (unsigned s = 0; s < VMS_DST_STATES; s++)
        for (unsigned e = 0; e < VMS_DST_EVENTS; e++) {
            struct vms_handover h = {VMS_ROLE_DESTINATION, s, 1, VMS_JOURNAL_NONE};
            enum vms_handover_action a = vms_handover_event(&h, e);
            bool starts = a == VMS_DO_RUN;
            bool ran = s == VMS_DST_STARTED && e == VMS_DST_EV_RAN;
            bool halted = s == VMS_DST_STARTED && e == VMS_DST_EV_BAD;
            cr_assert_eq(starts, s == VMS_DST_STARTING && e == VMS_DST_EV_WRITTEN);
            cr_assert_eq(h.state == VMS_DST_STARTED,
                         starts || (s == VMS_DST_STARTED && !ran && !halted));
            cr_assert_eq(h.state == VMS_DST_RUNNING, ran || s == VMS_DST_RUNNING);
            bool again =
                s == VMS_DST_RUNNING && (e == VMS_DST_EV_COMMIT || e == VMS_DST_EV_RECONNECTED);
            cr_assert_eq(a == VMS_DO_SEND_RUNNING, ran || again, "state %u, event %u", s, e);
            if (halted) {
                cr_assert_eq(a, VMS_DO_WRITE);
                cr_assert_eq(h.journal, VMS_JOURNAL_NOT_STARTED);
                cr_assert_eq(h.state, VMS_DST_REFUSING);
            }
            /* [HND-10] Nothing leads back from a refusal that is durable. */
            if (s == VMS_DST_REFUSED)
                cr_assert_eq(h.state, VMS_DST_REFUSED);
            /* [HND-11] */
            if (s == VMS_DST_UNKNOWN)
                cr_assert(h.state == s || e == VMS_DST_EV_RESOLVE_THEIRS);
        }
}

/* [HND-6], [HND-7], [HND-9] When the source goes back to the guest. */
Test(handover, source_runs_again) {
    for (unsigned s = 0; s < VMS_SRC_STATES; s++)
        for (unsigned e = 0; e < VMS_SRC_EVENTS; e++) {
            struct vms_handover h = {VMS_ROLE_SOURCE, s, 1, VMS_JOURNAL_NONE};
            enum vms_handover_action a = vms_handover_event(&h, e);
            bool asked =
                s == VMS_SRC_ASKED &&
                (e == VMS_SRC_EV_READY_BAD || e == VMS_SRC_EV_NOT_STARTED ||
                 e == VMS_SRC_EV_TIMEOUT || e == VMS_SRC_EV_CUT || e == VMS_SRC_EV_RESOLVE_OURS);
            bool released =
                s == VMS_SRC_RELEASING && (e == VMS_SRC_EV_WRITTEN || e == VMS_SRC_EV_WRITE_FAILED);
            bool cancelled = s == VMS_SRC_CANCELLING && e == VMS_SRC_EV_WRITTEN;
            cr_assert_eq(a == VMS_DO_RUN, asked || released || cancelled, "state %u, event %u", s,
                         e);
            if (s == VMS_SRC_OURS && (e == VMS_SRC_EV_READY || e == VMS_SRC_EV_READY_BAD))
                cr_assert_eq(a, VMS_DO_NOTHING); /* [HND-7] */
        }
}

static enum vms_handover_action frame(struct vms_handover *h, uint32_t type, uint64_t generation,
                                      uint8_t verdict, enum vms_code *code) {
    struct vms_native_frame f = {.header.type = type};
    if (type == VMS_NATIVE_READY)
        f.u.ready = (struct vms_native_ready){generation, verdict, 1};
    else
        f.u.generation = generation;
    return vms_handover_frame(h, &f, code);
}

/* [HND-3] */
Test(handover, generations) {
    struct vms_handover h;
    enum vms_code code;
    vms_handover_init(&h, VMS_ROLE_SOURCE);
    cr_assert_eq(vms_handover_event(&h, VMS_SRC_EV_BEGIN), VMS_DO_STOP);
    cr_assert_eq(vms_handover_event(&h, VMS_SRC_EV_TIMEOUT), VMS_DO_RUN);
    cr_assert_eq(vms_handover_event(&h, VMS_SRC_EV_BEGIN), VMS_DO_STOP);
    cr_assert_eq(h.generation, 2);
    cr_assert_eq(frame(&h, VMS_NATIVE_READY, 1, 0, &code), VMS_DO_NOTHING);
    cr_assert_eq(frame(&h, VMS_NATIVE_READY, 3, 0, &code), VMS_DO_REFUSE);
    cr_assert_eq(code, VMS_E_HANDOVER_GENERATION);
    cr_assert_eq(frame(&h, VMS_NATIVE_RUNNING, 1, 0, &code), VMS_DO_REFUSE);
    cr_assert_eq(frame(&h, VMS_NATIVE_RUNNING, 2, 0, &code), VMS_DO_REFUSE);
    cr_assert_eq(code, VMS_E_HANDOVER_UNEXPECTED); /* [HND-1] */
    cr_assert_eq(frame(&h, VMS_NATIVE_START, 3, 0, &code), VMS_DO_REFUSE);
    cr_assert_eq(h.state, VMS_SRC_ASKED);
    cr_assert_eq(frame(&h, VMS_NATIVE_NOT_STARTED, 1, 0, &code), VMS_DO_RUN); /* [HND-10] */
    vms_handover_init(&h, VMS_ROLE_DESTINATION);
    cr_assert_eq(frame(&h, VMS_NATIVE_START, 0, 0, &code), VMS_DO_REFUSE);
    cr_assert_eq(frame(&h, VMS_NATIVE_START, 5, 0, &code), VMS_DO_NOTHING);
    cr_assert_eq(h.generation, 5);
    cr_assert_eq(frame(&h, VMS_NATIVE_COMMIT, 4, 0, &code), VMS_DO_REFUSE);
    (void)vms_handover_event(&h, VMS_DST_EV_BAD);
    cr_assert_eq(vms_handover_event(&h, VMS_DST_EV_WRITTEN), VMS_DO_SEND_NOT_STARTED);
    cr_assert_eq(frame(&h, VMS_NATIVE_COMMIT, 4, 0, &code), VMS_DO_SEND_NOT_STARTED);
}

/* [HND-8] */
Test(handover, different_memory_is_not_committed) {
    struct vms_handover h;
    enum vms_code code;
    vms_handover_init(&h, VMS_ROLE_SOURCE);
    (void)vms_handover_event(&h, VMS_SRC_EV_BEGIN);
    cr_assert_eq(frame(&h, VMS_NATIVE_READY, 1, 2, &code), VMS_DO_RUN);
    cr_assert_eq(h.state, VMS_SRC_OURS);
    (void)vms_handover_event(&h, VMS_SRC_EV_BEGIN);
    cr_assert_eq(frame(&h, VMS_NATIVE_READY, 2, 1, &code), VMS_DO_WRITE);
    cr_assert_eq(h.journal, VMS_JOURNAL_COMMITTED);
    cr_assert_eq(frame(&h, VMS_NATIVE_READY, 2, 2, &code), VMS_DO_REFUSE);
    cr_assert_eq(code, VMS_E_HANDOVER_DIGEST);
}

/* [HND-10], [HND-11], [HND-12] What a restart makes of each journal. */
Test(handover, recovery) {
    static const struct {
        enum vms_native_role role;
        enum vms_journal journal;
        unsigned state;
        bool doubt, run;
    } cases[] = {
        {VMS_ROLE_SOURCE, VMS_JOURNAL_NONE, VMS_SRC_OURS, false, true},
        {VMS_ROLE_SOURCE, VMS_JOURNAL_RELEASED, VMS_SRC_OURS, false, true},
        {VMS_ROLE_SOURCE, VMS_JOURNAL_COMMITTED, VMS_SRC_IN_DOUBT, true, false},
        {VMS_ROLE_SOURCE, VMS_JOURNAL_GONE, VMS_SRC_GONE, false, false},
        {VMS_ROLE_SOURCE, VMS_JOURNAL_LOST, VMS_SRC_UNKNOWN, true, false},
        {VMS_ROLE_SOURCE, VMS_JOURNAL_STARTED, VMS_SRC_UNKNOWN, true, false},
        {VMS_ROLE_DESTINATION, VMS_JOURNAL_NONE, VMS_DST_REFUSING, false, false},
        {VMS_ROLE_DESTINATION, VMS_JOURNAL_OPEN, VMS_DST_REFUSING, false, false},
        {VMS_ROLE_DESTINATION, VMS_JOURNAL_STARTED, VMS_DST_RUNNING, false, true},
        {VMS_ROLE_DESTINATION, VMS_JOURNAL_NOT_STARTED, VMS_DST_REFUSED, false, false},
        {VMS_ROLE_DESTINATION, VMS_JOURNAL_LOST, VMS_DST_UNKNOWN, true, false},
        {VMS_ROLE_DESTINATION, VMS_JOURNAL_COMMITTED, VMS_DST_UNKNOWN, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vms_handover h;
        (void)vms_handover_recover(&h, cases[i].role, cases[i].journal, 7);
        cr_assert_eq(h.state, cases[i].state, "case %zu: %s", i, vms_handover_state_name(&h));
        cr_assert_eq(vms_handover_in_doubt(&h), cases[i].doubt);
        cr_assert_eq(vms_handover_may_run(&h), cases[i].run);
        cr_assert_eq(h.generation, 7);
    }
}

/* Every state of either end has a name of its own. */
Test(handover, names) {
    const unsigned counts[] = {VMS_SRC_STATES, VMS_DST_STATES};
    for (unsigned role = 0; role < 2; role++)
        for (unsigned a = 0; a < counts[role]; a++)
            for (unsigned b = 0; b < a; b++) {
                struct vms_handover one = {.role = (enum vms_native_role)role, .state = a};
                struct vms_handover other = {.role = (enum vms_native_role)role, .state = b};
                const char *name = vms_handover_state_name(&one);
                cr_assert_not_null(name);
                cr_assert_str_neq(name, vms_handover_state_name(&other));
                cr_assert_str_neq(name, "INVALID");
            }
    struct vms_handover cancelling = {.role = VMS_ROLE_SOURCE, .state = VMS_SRC_CANCELLING};
    cr_assert_str_eq(vms_handover_state_name(&cancelling), "CANCELLING");
}
