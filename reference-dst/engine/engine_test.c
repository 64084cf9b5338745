/* SPDX-License-Identifier: MIT */
#include "reference-dst/engine/engine.h"

#include <criterion/criterion.h>

/*
 * The state machine of the destination. The legal paths are derived here a second time, from whole
 * migrations as sources send them, and compared with every cell of the machine's table.
 */

/* What sources send, as words of a small language: a letter an event, in order. */
static const char *const MIGRATIONS[] = {
    "hcsld*+ppp*xeeDDEMC",    /* precopy without return path; l: list, +: setup done */
    "hcoasl*+ppeDEMC",        /* return path, advise */
    "hcoPsl*d+PpPsxPe*DPEMC", /* pings anywhere once there is a return path, early device */
    "hcsl+DDEMC",             /* background snapshot: no END */
    "hosl+xeDEMC",            /* before 2.4: no configuration */
    "hsl+xeDEMC",
    "hasl+xeDEMC",
    "hcsl+*xe*DEMC",
    "hcosPasl+eEMC", /* a guest without devices */
};

static enum dst_event event_of(char letter) {
    switch (letter) {
    case 'h': return DST_EV_HEADER;
    case 'c': return DST_EV_CONFIGURATION;
    case 'o': return DST_EV_OPEN_RETURN_PATH;
    case 'P': return DST_EV_PING;
    case 'a': return DST_EV_ADVISE;
    case 's': return DST_EV_SECTION_START;
    case 'l': return DST_EV_RAM_LIST;
    case '+': return DST_EV_RAM_SETUP_DONE;
    case '*': return DST_EV_SYNC;
    case 'p': return DST_EV_SECTION_PART;
    case 'x': return DST_EV_SWITCHOVER_START;
    case 'e': return DST_EV_SECTION_END;
    case 'd':
    case 'D': return DST_EV_DEVICE;
    case 'E': return DST_EV_EOF;
    case 'M': return DST_EV_MAIN_END;
    case 'C': return DST_EV_CHANNELS_DONE;
    default: return DST_EV_NONE;
    }
}

/* The phase that a source is in after an event, by the meaning of the event alone. */
static enum dst_state phase_after(enum dst_state s, enum dst_event e) {
    if (e == DST_EV_HEADER)
        return DST_HEADER;
    if (s == DST_HEADER)
        return DST_SETUP;
    if (e == DST_EV_RAM_SETUP_DONE)
        return DST_PRECOPY;
    bool stopped = e == DST_EV_SWITCHOVER_START || e == DST_EV_SECTION_END || e == DST_EV_DEVICE;
    if (s == DST_PRECOPY && stopped)
        return DST_SWITCHOVER;
    if (e == DST_EV_EOF)
        return DST_LOADED;
    if (e == DST_EV_MAIN_END)
        return DST_DRAIN;
    return e == DST_EV_CHANNELS_DONE ? DST_COMPLETED : s;
}

static bool legal[DST_STATE_COUNT][DST_EVENT_COUNT];
static enum dst_state next[DST_STATE_COUNT][DST_EVENT_COUNT];

static void derive(void) {
    for (size_t i = 0; i < sizeof MIGRATIONS / sizeof *MIGRATIONS; i++) {
        enum dst_state s = DST_WAIT;
        for (const char *c = MIGRATIONS[i]; *c; c++) {
            enum dst_event e = event_of(*c);
            legal[s][e] = true;
            next[s][e] = phase_after(s, e);
            s = next[s][e];
        }
        cr_assert_eq(s, DST_COMPLETED, "%s", MIGRATIONS[i]);
    }
}

static struct dst_engine engine_in(enum dst_state state) {
    struct dst_engine e;
    dst_engine_init(&e);
    e.state = state;
    e.ram_list = true;
    return e;
}

/* [DST-1] [DST-2] every state has an answer to every event */
Test(engine, table_equals_the_derived_one) {
    derive();
    for (int s = 0; s < DST_STATE_COUNT; s++)
        for (int ev = DST_EV_NONE + 1; ev < DST_EVENT_COUNT; ev++) {
            struct vms_error err = {0};
            unsigned actions = 99;
            struct dst_engine e = engine_in((enum dst_state)s);
            enum vms_code code = dst_engine_event(&e, (enum dst_event)ev, &actions, &err);
            const char *at = dst_state_name((enum dst_state)s);
            const char *what = dst_event_name((enum dst_event)ev);
            if (ev == DST_EV_ERROR) {
                cr_assert_eq(code, VMS_OK);
                cr_assert_eq(e.state, s == DST_COMPLETED ? DST_COMPLETED : DST_FAILED);
            } else if (legal[s][ev]) {
                cr_assert_eq(code, VMS_OK, "%s in %s was refused", what, at);
                cr_assert_eq(e.state, next[s][ev], "%s in %s leads to %s", what, at,
                             dst_state_name(e.state));
            } else {
                cr_assert_eq(code, VMS_E_DST_UNEXPECTED, "%s in %s was taken", what, at);
                cr_assert_eq(e.state, DST_FAILED);
                cr_assert(actions & DST_DO_SHUT_BAD);
                cr_assert_str_eq(err.clause, "DST-2");
            }
        }
}

static enum vms_code run(struct dst_engine *e, const char *letters, unsigned *actions) {
    struct vms_error err = {0};
    enum vms_code code = VMS_OK;
    for (; *letters && code == VMS_OK; letters++)
        code = dst_engine_event(e, event_of(*letters), actions, &err);
    return code;
}

/* [DST-7] PONG for a PING, [DST-10] SHUT(0) only when everything is in */
Test(engine, actions) {
    struct dst_engine e;
    unsigned actions;
    dst_engine_init(&e);
    cr_assert_eq(run(&e, "hco", &actions), VMS_OK);
    cr_assert_eq(actions, DST_DO_OPEN_RETURN_PATH);
    cr_assert_eq(run(&e, "P", &actions), VMS_OK);
    cr_assert_eq(actions, DST_DO_PONG);
    cr_assert_eq(run(&e, "sl*", &actions), VMS_OK);
    cr_assert_eq(actions, DST_DO_SYNC);
    e.ended = e.started = 1;
    cr_assert_eq(run(&e, "+xeDEM", &actions), VMS_OK);
    cr_assert_eq(actions, DST_DO_DRAIN);
    cr_assert_eq(run(&e, "C", &actions), VMS_OK);
    cr_assert_eq(actions, DST_DO_SHUT_GOOD);
}

static struct vms_record record(enum vms_record_type type) {
    return (struct vms_record){.type = type};
}

static void take(struct dst_engine *e, struct vms_record r) {
    struct vms_error err = {0};
    unsigned actions;
    cr_assert_eq(dst_engine_record(e, &r, &actions, &err), VMS_OK, "%s", err.message);
}

static struct dst_engine with_ram_started(void) {
    struct dst_engine e;
    struct vms_record start = record(VMS_R_SECTION_START);
    start.u.section.kind = VMS_SECTION_RAM;
    dst_engine_init(&e);
    take(&e, record(VMS_R_HEADER));
    take(&e, record(VMS_R_CONFIGURATION));
    take(&e, start);
    return e;
}

/* [DST-5] a stream that ended is not a migration yet */
Test(engine, incomplete) {
    static const struct {
        bool list, end, return_path;
        enum vms_code code;
    } cases[] = {
        {false, true, false, VMS_E_DST_INCOMPLETE},
        {true, true, true, VMS_OK},
        {true, false, true, VMS_E_DST_INCOMPLETE}, /* END is missing */
        {true, false, false, VMS_OK},              /* a background snapshot */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dst_engine e = with_ram_started();
        struct vms_error err = {0};
        unsigned actions;
        if (cases[i].list)
            take(&e, record(VMS_R_RAM_MEM_SIZE));
        take(&e, record(VMS_R_RAM_EOS));
        take(&e, record(cases[i].end ? VMS_R_SECTION_END : VMS_R_SECTION_FULL));
        take(&e, record(VMS_R_EOF));
        e.return_path = cases[i].return_path;
        cr_assert_eq(dst_engine_event(&e, DST_EV_MAIN_END, &actions, &err), cases[i].code, "%zu",
                     i);
    }
}

/* [MFD-21] whether EOS or MULTIFD_FLUSH marks a sync is learnt from START */
Test(engine, sync_mark) {
    for (int flush = 0; flush < 2; flush++) {
        struct dst_engine e = with_ram_started();
        take(&e, record(VMS_R_RAM_MEM_SIZE));
        if (flush)
            take(&e, record(VMS_R_RAM_MULTIFD_FLUSH));
        take(&e, record(VMS_R_RAM_EOS));
        cr_assert_eq(e.syncs, 1);
        cr_assert_eq(e.sync_by_eos, !flush);
        cr_assert_eq(e.state, DST_PRECOPY);
        take(&e, record(VMS_R_SECTION_PART));
        take(&e, record(VMS_R_RAM_EOS));
        cr_assert_eq(e.syncs, flush ? 1 : 2);
    }
}

/* [DST-6] what follows a guessed boundary is not acted on */
Test(engine, guessed) {
    for (int t = VMS_RECORD_NONE + 1; t < VMS_RECORD_TYPE_COUNT; t++) {
        struct dst_engine e = engine_in(DST_SWITCHOVER);
        struct vms_error err = {0};
        struct vms_record r = record((enum vms_record_type)t);
        unsigned actions;
        bool harmless = t == VMS_R_SECTION_FULL || t == VMS_R_SECTION_FOOTER || t == VMS_R_EOF ||
                        t == VMS_R_VMDESCRIPTION;
        r.guessed = true;
        cr_assert_eq(dst_engine_record(&e, &r, &actions, &err),
                     harmless ? VMS_OK : VMS_E_DST_GUESSED, "%s", vms_record_name(r.type));
    }
}

Test(engine, final_states_stay) {
    struct dst_engine e = engine_in(DST_COMPLETED);
    struct vms_error err = {0};
    unsigned actions;
    cr_assert_eq(dst_engine_event(&e, DST_EV_ERROR, &actions, &err), VMS_OK);
    cr_assert_eq(e.state, DST_COMPLETED);
    cr_assert_eq(actions, DST_DO_NOTHING);
}
