/* SPDX-License-Identifier: MIT */
#include "test_script.h"

/* What the machine does, and in which order. */

/* [ENG-8] [ENG-11] [HND-15] */
Test(source_engine, native_precopy_in_order) {
    struct src_config c = config(true);
    begin(&c);
    cr_assert_str_eq(said, "CONNECT SEND_SETUP QUERY QUERY ");
    forget();
    to_switchover();
    cr_assert_str_eq(said,
                     "QUERY QUERY STOP_GUEST QUERY QUERY SAVE_FINAL SAVE_FINAL SAVE_DEVICES ");
    forget();
    (void)tell(SRC_EV_DEVICES_SENT, 0);
    cr_assert(src_engine_may_run(&e));
    (void)tell(SRC_EV_READY, 1);
    cr_assert_not(src_engine_may_run(&e));
    (void)tell(SRC_EV_WRITTEN, 0);
    (void)tell(SRC_EV_LOCKS, 0);
    (void)tell(SRC_EV_COMMIT_SENT, 0);
    (void)tell(SRC_EV_RUNNING, 0);
    (void)tell(SRC_EV_WRITTEN, 0);
    cr_assert_str_eq(said, "SEND_START WRITE LOCKS SEND_COMMIT WRITE FINISH ");
    cr_assert_eq(e.state, SRC_COMPLETED);
    cr_assert_eq(src_engine_owner(&e), SRC_OWNER_THEIRS);
}

/* [ENG-24] [SRC-3] */
Test(source_engine, qevm_precopy_in_order) {
    struct src_config c = config(false);
    begin(&c);
    to_switchover();
    forget();
    (void)tell(SRC_EV_DEVICES_SENT, 0);
    (void)tell(SRC_EV_LOCKS, 0);
    cr_assert_eq(e.state, SRC_COMMITTED);
    cr_assert_eq(tell(SRC_EV_CANCEL, 0), VMS_E_SRC_TOO_LATE); /* [ENG-8] */
    (void)tell(SRC_EV_SHUT, 1);
    cr_assert_not(has(SRC_DO_RUN_GUEST), "before its locks");
    (void)tell(SRC_EV_LOCKS, 0);
    cr_assert_str_eq(said, "LOCKS SEND_COMMIT ABORT LOCKS RUN_GUEST FINISH ");
    cr_assert_eq(src_engine_reason(&e), VMS_E_SRC_REFUSED); /* [ENG-9] */
}

/* [ENG-24] Without a return path. */
Test(source_engine, qevm_without_return_path_ends_with_eof) {
    struct src_config c = config(false);
    c.return_path = false;
    begin(&c);
    to_switchover();
    (void)tell(SRC_EV_DEVICES_SENT, 0);
    (void)tell(SRC_EV_LOCKS, 0);
    (void)tell(SRC_EV_COMMIT_SENT, 0);
    cr_assert_eq(e.state, SRC_COMPLETED);
}

/* [ENG-23] [REC-5] */
Test(source_engine, postcopy_in_order) {
    for (unsigned native = 0; native < 2; native++) {
        struct src_config c = config(native);
        begin(&c);
        both_pending(1 << 30, 0);
        (void)tell(SRC_EV_START_POSTCOPY, 0);
        (void)event((struct src_event){.kind = SRC_EV_SAVED, .value = 1000, .more = true});
        to_switchover();
        cr_assert_not_null(strstr(said, "SAVE_FINAL SAVE_FINAL DISCARD SAVE_DEVICES "));
        cr_assert_eq(action(SRC_DO_SAVE_DEVICES)->value, 1);
        forget();
        (void)tell(SRC_EV_DEVICES_SENT, 0);
        if (native) {
            (void)tell(SRC_EV_READY, 1);
            cr_assert_eq(action(SRC_DO_WRITE)->journal, VMS_JOURNAL_COMMITTED);
            cr_assert_eq(action(SRC_DO_WRITE)->value, 1u); /* [HND-16] */
            (void)tell(SRC_EV_WRITTEN, 0);
        }
        (void)tell(SRC_EV_LOCKS, 0);
        cr_assert_eq(src_engine_owner(&e), SRC_OWNER_UNKNOWN);
        (void)tell(SRC_EV_RUNNING, 0);
        cr_assert_str_eq(said, native ? "SEND_START WRITE LOCKS SEND_COMMIT WRITE SEND_PAGES "
                                      : "LOCKS SEND_COMMIT SEND_PAGES ");
        cr_assert_eq(src_engine_owner(&e), SRC_OWNER_THEIRS);
        if (native) {
            cr_assert_eq(action(SRC_DO_WRITE)->journal, VMS_JOURNAL_GONE);
            cr_assert_eq(action(SRC_DO_WRITE)->value, 1u); /* its pages are still here */
            (void)tell(SRC_EV_WRITTEN, 0);
        }
        for (int cut = 0; cut < 5; cut++) {
            forget();
            (void)tell(SRC_EV_CUT, 0);
            (void)tell(SRC_EV_RECONNECTED, 0);
            (void)tell(SRC_EV_BITMAPS, 0);
            (void)tell(SRC_EV_RESUME_ACK, 0);
            cr_assert_str_eq(said, "RECONNECT TELL ASK_BITMAPS SEND_RESUME SEND_PAGES ");
        }
        (void)tell(SRC_EV_PAGES_SENT, 0);
        (void)tell(SRC_EV_SHUT, 0);
        cr_assert_eq(e.state, SRC_COMPLETED);
    }
}

/* Native postcopy whose END is out. */
static void to_end(void) {
    static struct src_config c;
    c = config(true);
    begin(&c);
    (void)tell(SRC_EV_START_POSTCOPY, 0);
    to_switchover();
    (void)tell(SRC_EV_DEVICES_SENT, 0);
    (void)tell(SRC_EV_READY, 1);
    (void)tell(SRC_EV_WRITTEN, 0);
    (void)tell(SRC_EV_LOCKS, 0);
    (void)tell(SRC_EV_RUNNING, 0);
    (void)tell(SRC_EV_PAGES_SENT, 0);
    cr_assert(has(SRC_DO_SEND_END));
}

/*
 * [ENG-27] The acknowledgement comes once: at any place of a recovery, before GONE or after it. A
 * source without a connection waits for one, and ends when none comes.
 */
Test(source_engine, end_is_acknowledged_behind_a_cut) {
    static const enum src_event_kind steps[] = {SRC_EV_CUT, SRC_EV_RECONNECTED, SRC_EV_BITMAPS,
                                                SRC_EV_RESUME_ACK};
    for (unsigned way = 0; way < 16; way++) {
        bool gone = way & 4, comes_back = way & 8, paused = way % 4 == 0;
        to_end();
        if (gone)
            (void)tell(SRC_EV_WRITTEN, 0);
        for (unsigned i = 0; i <= way % 4; i++)
            (void)tell(steps[i], 0);
        forget();
        cr_assert_eq(tell(SRC_EV_SHUT, 0), VMS_OK);
        cr_assert_eq(e.state == SRC_COMPLETED, gone && !paused, "way %u", way);
        if (paused)
            (void)tell(comes_back ? SRC_EV_RECONNECTED : SRC_EV_GIVE_UP, 0);
        cr_assert_eq(e.state == SRC_COMPLETED, gone, "way %u", way);
        (void)tell(SRC_EV_WRITTEN, 0);
        cr_assert_eq(e.state, SRC_COMPLETED, "way %u", way);
        cr_assert_eq(src_engine_owner(&e), SRC_OWNER_THEIRS);
        cr_assert_str_eq(said, "FINISH ", "way %u: %s", way, said);
    }
}

/* [ENG-7] [ENG-8] COMMITTED is being written: no octet of COMMIT has left. */
Test(source_engine, cancel_while_committed_is_written) {
    struct src_config c = config(true);
    begin(&c);
    to_switchover();
    (void)tell(SRC_EV_DEVICES_SENT, 0);
    (void)tell(SRC_EV_READY, 1);
    forget();
    cr_assert_eq(tell(SRC_EV_CANCEL, 0), VMS_OK);
    (void)tell(SRC_EV_WRITTEN, 0);
    cr_assert_eq(action(SRC_DO_WRITE)->journal, VMS_JOURNAL_RELEASED);
    (void)tell(SRC_EV_WRITTEN, 0);
    cr_assert_str_eq(said, "WRITE ABORT RUN_GUEST FINISH ");
    cr_assert_eq(e.state, SRC_CANCELLED);
}

/* [ENG-11] */
Test(source_engine, no_guest_without_locks) {
    struct src_config c = config(true);
    begin(&c);
    to_switchover();
    (void)tell(SRC_EV_DEVICES_SENT, 0);
    (void)tell(SRC_EV_READY, 1);
    (void)tell(SRC_EV_WRITTEN, 0);
    cr_assert_eq(tell(SRC_EV_LOCKS, VMS_E_IO), VMS_E_SRC_LOCKS);
    (void)tell(SRC_EV_WRITTEN, 0);
    cr_assert_eq(tell(SRC_EV_LOCKS, VMS_E_IO), VMS_E_SRC_LOCKS);
    cr_assert(has(SRC_DO_TELL) && !has(SRC_DO_RUN_GUEST) && !src_engine_may_run(&e));
    (void)tell(SRC_EV_RESOLVE_OURS, 0);
    (void)tell(SRC_EV_LOCKS, 0);
    cr_assert(has(SRC_DO_RUN_GUEST) && has(SRC_DO_FINISH));
}

/* Went back from READY, and its locks were given up and are not to be had: the first try failed. */
static void stand_with(const struct src_config *c) {
    begin(c);
    to_switchover();
    (void)tell(SRC_EV_DEVICES_SENT, 0);
    (void)tell(SRC_EV_LOCKS, 0);
    cr_assert_eq(e.state, SRC_COMMITTED);
    (void)tell(SRC_EV_SHUT, 1);
    forget();
    cr_assert_eq(tell(SRC_EV_LOCKS, VMS_E_VM_LOCK), VMS_E_SRC_LOCKS);
    cr_assert_eq(e.state, SRC_FAILED);
}

static void stand(void) {
    struct src_config c = config(false);
    c.postcopy = false;
    stand_with(&c);
}

/* The try that was waited for; it fails. */
static void try_again(uint64_t seconds) {
    cr_assert(action(SRC_DO_ARM)->timer == SRC_TIMER_LOCKS);
    cr_assert_eq(action(SRC_DO_ARM)->value, seconds * 1000 * 1000 * 1000);
    (void)tell(SRC_EV_TIMER, SRC_TIMER_LOCKS);
    cr_assert_eq(action(SRC_DO_LOCKS)->value, 1);
    cr_assert_eq(tell(SRC_EV_LOCKS, VMS_E_VM_LOCK), VMS_E_SRC_LOCKS);
    cr_assert(has(SRC_DO_TELL) && !src_engine_may_run(&e));
}

/* [ENG-30] Not for ever, and nothing runs without its locks. */
Test(source_engine, locks_that_never_come_back) {
    stand();
    for (uint64_t s = 1; s <= 16; s *= 2) {
        cr_assert_not(has(SRC_DO_FINISH));
        try_again(s);
    }
    cr_assert_str_eq(said, "TELL LOCKS TELL LOCKS TELL LOCKS TELL LOCKS TELL LOCKS FINISH TELL ");
    cr_assert_eq(src_engine_reason(&e), VMS_E_SRC_LOCKS);
    cr_assert(src_engine_owner(&e) == SRC_OWNER_OURS && !src_engine_may_run(&e));
    (void)tell(SRC_EV_TIMER, SRC_TIMER_LOCKS);
    (void)tell(SRC_EV_RESOLVE_OURS, 0);
    cr_assert_eq(out.count, 0, "it is over");
    cr_assert_eq(tell(SRC_EV_RESOLVE_THEIRS, 0), VMS_E_SRC_ORDER);
}

/* [ENG-30] From another first pause, in the same steps. */
Test(source_engine, locks_are_tried_as_set) {
    struct src_config c = config(false);
    c.postcopy = false;
    c.locks_retry_ns = 7;
    stand_with(&c);
    for (uint64_t pause = 7; pause <= 7 * 16; pause *= 2) {
        cr_assert_eq(action(SRC_DO_ARM)->value, pause);
        (void)tell(SRC_EV_TIMER, SRC_TIMER_LOCKS);
        (void)tell(SRC_EV_LOCKS, VMS_E_VM_LOCK);
    }
    cr_assert(has(SRC_DO_FINISH));
}

/* [ENG-30] An order begins anew; the guest runs as soon as it has them. */
Test(source_engine, locks_by_order) {
    stand();
    for (uint64_t s = 1; s <= 8; s *= 2)
        try_again(s);
    (void)tell(SRC_EV_RESOLVE_OURS, 0);
    cr_assert_eq(tell(SRC_EV_RESOLVE_THEIRS, 0), VMS_E_SRC_ORDER, "they are being tried");
    (void)tell(SRC_EV_LOCKS, VMS_E_VM_LOCK);
    try_again(1);
    cr_assert_eq(action(SRC_DO_ARM)->value, UINT64_C(2000000000));
    (void)tell(SRC_EV_TIMER, SRC_TIMER_TICK); /* another one */
    cr_assert_eq(out.count, 0);
    (void)tell(SRC_EV_TIMER, SRC_TIMER_LOCKS);
    cr_assert_eq(tell(SRC_EV_LOCKS, 0), VMS_OK);
    cr_assert(has(SRC_DO_RUN_GUEST) && has(SRC_DO_FINISH) && src_engine_may_run(&e));
    cr_assert_eq(src_engine_reason(&e), VMS_E_SRC_REFUSED, "the first one");
    cr_assert_eq(tell(SRC_EV_RESOLVE_THEIRS, 0), VMS_E_SRC_ORDER, "it runs");
}

/* [ENG-30] */
Test(source_engine, guest_that_is_given_up) {
    stand();
    cr_assert_eq(tell(SRC_EV_RESOLVE_THEIRS, 0), VMS_OK);
    cr_assert(has(SRC_DO_FINISH) && !has(SRC_DO_RUN_GUEST));
    cr_assert_eq(src_engine_owner(&e), SRC_OWNER_THEIRS);
    (void)tell(SRC_EV_TIMER, SRC_TIMER_LOCKS);
    cr_assert_eq(out.count, 0);
}

/* ---- acknowledgement ---- */

static void grant(uint32_t device, uint64_t generation) {
    (void)event(
        (struct src_event){.kind = SRC_EV_GRANT, .device = device, .generation = generation});
}

/* [ENG-15] [SES-26] [SES-27] */
Test(source_engine, native_waits_for_the_generation) {
    struct src_config c = config(true);
    c.switchover_ack = c.initial_data[1] = true;
    begin(&c);
    pending(0, 0, 0, 0);
    pending(1, 0, 0, 1);
    cr_assert_not_null(strstr(said, "REQUEST "));
    pending(0, 0, 0, 0);
    pending(1, 0, 0, 2); /* REINIT */
    grant(1, 1);
    (void)tell(SRC_EV_TIMER, SRC_TIMER_TICK);
    both_pending(0, 0), both_pending(0, 0);
    cr_assert_eq(e.state, SRC_PRECOPY);
    cr_assert_eq(src_engine_figures(&e)->waiting_for, 1);
    grant(1, 2);
    grant(1, 1); /* repeated */
    now += 100 * 1000 * 1000;
    (void)tell(SRC_EV_TIMER, SRC_TIMER_TICK);
    both_pending(0, 0), both_pending(0, 0);
    cr_assert_eq(e.state, SRC_STOPPING);
}

/* [ENG-14] [ACK-4] [ACK-5] [ACK-6] */
Test(source_engine, qevm_counts_acknowledgements) {
    for (unsigned legacy = 0; legacy < 2; legacy++) {
        struct src_config c = config(false);
        c.switchover_ack = true;
        c.legacy_ack = legacy;
        begin(&c);
        pending(0, 0, 0, 0);
        pending(1, 0, 0, 1);
        both_pending(0, 0);
        cr_assert_eq(e.state, SRC_PRECOPY);
        cr_assert_eq(event((struct src_event){.kind = SRC_EV_GRANT, .device = SRC_NO_DEVICE}),
                     VMS_OK);
        cr_assert_eq(event((struct src_event){.kind = SRC_EV_GRANT, .device = SRC_NO_DEVICE}),
                     VMS_E_SRC_ACK_SURPLUS);
        cr_assert_eq(e.state, SRC_FAILED);
        cr_assert_eq(src_engine_owner(&e), SRC_OWNER_OURS);
    }
}

/* [ENG-16] [ACK-7] */
Test(source_engine, request_at_the_last_look) {
    for (unsigned native = 0; native < 2; native++) {
        struct src_config c = config(native);
        c.switchover_ack = true;
        begin(&c);
        for (int attempt = 1; attempt < 20 && e.state != SRC_FAILED; attempt++) {
            now += 100 * 1000 * 1000;
            if (native)
                grant(1, (uint64_t)attempt);
            both_pending(0, 0), both_pending(0, 0);
            cr_assert_eq(e.state, SRC_STOPPING);
            (void)tell(SRC_EV_STOPPED, 0);
            pending(1, 0, 0, (uint64_t)attempt + 1);
            cr_assert(has(SRC_DO_RUN_GUEST));
            cr_assert(native || e.state == SRC_FAILED);
            cr_assert_leq(attempt, 8);
            if (native)
                grant(1, (uint64_t)attempt + 1);
        }
        cr_assert_eq(src_engine_reason(&e), VMS_E_SRC_REQUEST_LATE);
    }
}

/* [ENG-13] */
Test(source_engine, native_cut_is_waited_out) {
    struct src_config c = config(true);
    begin(&c);
    both_pending(1 << 30, 0);
    forget();
    (void)tell(SRC_EV_CUT, 0);
    (void)event((struct src_event){.kind = SRC_EV_SAVED, .value = 10, .more = true});
    cr_assert_str_eq(said, "RECONNECT ");
    (void)tell(SRC_EV_RECONNECTED, 0);
    cr_assert_str_eq(said, "RECONNECT QUERY QUERY ");
    cr_assert(src_engine_may_run(&e));
}

/* ---- totality ---- */

/* [ENG-4] [ENG-2] Numbers that there are not. */
Test(source_engine, devices_that_there_are_not) {
    struct src_config c = config(true);
    begin(&c);
    cr_assert_eq(event((struct src_event){.kind = SRC_EV_SAVED, .device = 7}), VMS_E_MISUSE);
    cr_assert_eq(e.state, SRC_PRECOPY);
    cr_assert_eq(event((struct src_event){.kind = (enum src_event_kind)99}), VMS_E_MISUSE);
}

/* [SES-28] Whatever the wire gives by a device's number: nothing is stored there. */
Test(source_engine, switchover_of_devices_that_there_are_not) {
    static const enum src_event_kind words[] = {SRC_EV_REQUEST, SRC_EV_GRANT};
    for (size_t i = 0; i < 2; i++) {
        struct src_config c = config(true);
        begin(&c);
        cr_assert_eq(event((struct src_event){.kind = words[i], .device = 7, .generation = 1}),
                     VMS_E_SESSION_DEVICE);
        cr_assert_eq(e.state, SRC_FAILED);
        cr_assert(src_engine_may_run(&e) && !has(SRC_DO_GRANT));
    }
}

/* [HND-1] One name natively; QEVM has no hand-over: [ENG-2] */
Test(source_engine, words_of_the_hand_over_out_of_place) {
    for (int native = 0; native < 2; native++) {
        struct src_config c = config(native);
        begin(&c);
        cr_assert_eq(tell(SRC_EV_RUNNING, 0),
                     native ? VMS_E_HANDOVER_UNEXPECTED : VMS_E_SRC_UNEXPECTED);
        cr_assert_eq(e.state, SRC_FAILED);
    }
}

/* [ENG-26] [HND-11] */
Test(source_engine, after_a_restart) {
    struct src_config c = config(true);
    (void)src_engine_init(&e, &c);
    src_engine_recover(&e, VMS_JOURNAL_COMMITTED, 1, &out);
    cr_assert_eq(e.state, SRC_IN_DOUBT);
    cr_assert(has(SRC_DO_RECONNECT) && has(SRC_DO_TELL));
    (void)tell(SRC_EV_RECONNECTED, 0);
    cr_assert(has(SRC_DO_SEND_COMMIT));
    (void)tell(SRC_EV_NOT_STARTED, 0);
    (void)tell(SRC_EV_WRITTEN, 0);
    cr_assert_eq(src_engine_owner(&e), SRC_OWNER_LOST);
    cr_assert(has(SRC_DO_FINISH) && !has(SRC_DO_RUN_GUEST));
    (void)src_engine_init(&e, &c);
    src_engine_recover(&e, VMS_JOURNAL_RELEASED, 1, &out);
    cr_assert_eq(e.state, SRC_IDLE);
}

/* Names are there, and differ. */
Test(source_engine, names) {
    for (int k = 0; k < SRC_EVENT_COUNT; k++)
        cr_assert_gt(strlen(src_event_name((enum src_event_kind)k)), 1);
    for (int k = 0; k < SRC_ACTION_COUNT; k++)
        cr_assert_gt(strlen(src_action_name((enum src_action_kind)k)), 2);
    cr_assert_str_eq(src_event_name(SRC_EV_TIMER), "TIMER");
    cr_assert_str_eq(src_action_name(SRC_DO_FINISH), "FINISH");
    cr_assert_str_eq(src_state_name(SRC_CANCELLED), "CANCELLED");
    cr_assert_str_eq(src_owner_name(SRC_OWNER_LOST), "lost");
}
