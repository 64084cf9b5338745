/* SPDX-License-Identifier: MIT */
#include "reference-dst/engine/engine.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/*
 * The state machine of the destination. The legal paths are derived here twice more, from whole
 * migrations as sources send them, and from the table of the specification; each is compared with
 * every cell of the machine's table.
 */

/* What sources send, as words of a small language: a letter an event, in order. */
static const char *const MIGRATIONS[] = {
    "hcsld*+ppp*xeeDDEMC",    /* precopy without return path; l: list, +: setup done */
    "hcoasl*+ppeDEMC",        /* return path, advise */
    "hcoPsl*d+PpPsxPe*DPEMC", /* pings anywhere once there is a return path, early device */
    "hcsl+DDEMC",             /* background snapshot: no END */
    "hosl+xeDEMC",            /* before 2.4: no configuration */
    "hsl+xeDEMC", "hasl+xeDEMC", "hcsl+*xe*DEMC", "hcosPasl+eEMC", /* a guest without devices */
    /* postcopy; [: package, L: LISTEN, R: RUN, D: a device in it */
    "hcoPasl+pxvPP[LDPPRPpPpeEMC",
    "hcoPasl+pv[LpDPpR!bTppeEMC", /* 7.2: no SWITCHOVER_START; !: cut, b: recovery, T: RESUME */
    "hcoPasl+p[LDR!!bBBT!bB!bBBTpeE!bTPeEMC", /* cuts everywhere, B: RECV_BITMAP */
    "hcoPasl+xe[LpePEDPRMC",                  /* all pages are in before the guest runs */
    "hcoPasl+xe[LeEMDPRC",
    "hcoPasl+xe[LDPRp!C", /* all pages are in, the source does not come back */
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
    case 'v': return DST_EV_DISCARD;
    case '[': return DST_EV_PACKAGE;
    case 'L': return DST_EV_LISTEN;
    case 'R': return DST_EV_RUN;
    case '!': return DST_EV_CUT;
    case 'b': return DST_EV_RECOVERY;
    case 'B': return DST_EV_RECV_BITMAP;
    case 'T': return DST_EV_RESUME;
    default: return DST_EV_NONE;
    }
}

/* The phase after an event, by the meaning of the event alone: what runs where, what is over. */
static enum dst_state precopy_phase(enum dst_state s, enum dst_event e) {
    if (e == DST_EV_HEADER)
        return DST_HEADER;
    if (s == DST_HEADER)
        return DST_SETUP;
    if (e == DST_EV_RAM_SETUP_DONE)
        return DST_PRECOPY;
    bool stopped = e == DST_EV_SWITCHOVER_START || e == DST_EV_SECTION_END || e == DST_EV_DEVICE ||
                   e == DST_EV_DISCARD;
    if (s == DST_PRECOPY && stopped)
        return DST_SWITCHOVER;
    if (e == DST_EV_EOF)
        return DST_LOADED;
    if (e == DST_EV_MAIN_END)
        return DST_DRAIN;
    if (e == DST_EV_PACKAGE)
        return DST_PACKAGE;
    return e == DST_EV_CHANNELS_DONE ? DST_COMPLETED : s;
}

static enum dst_state postcopy_phase(enum dst_state s, enum dst_event e) {
    static const enum dst_state by[2][2] = {{DST_LISTENING, DST_ARRIVED},
                                            {DST_POSTCOPY, DST_FILLING}};
    if (e == DST_EV_CUT)
        return DST_PAUSED;
    if (e == DST_EV_RECOVERY)
        return DST_RECOVER;
    if (e == DST_EV_RESUME)
        return DST_POSTCOPY;
    if (e == DST_EV_CHANNELS_DONE)
        return DST_COMPLETED;
    if (s == DST_RECOVER || s == DST_PAUSED)
        return s;
    bool runs = s == DST_POSTCOPY || s == DST_FILLING || e == DST_EV_RUN;
    bool over = s == DST_ARRIVED || s == DST_FILLING || e == DST_EV_EOF;
    return by[runs][over];
}

static enum dst_state phase_after(enum dst_state s, enum dst_event e) {
    return s < DST_PACKAGE ? precopy_phase(s, e) : postcopy_phase(s, e);
}

static bool legal[DST_STATE_COUNT][DST_EVENT_COUNT];
static enum dst_state next[DST_STATE_COUNT][DST_EVENT_COUNT];

static void derive(void) {
    memset(legal, 0, sizeof legal);
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
    e.ram_list = e.advised = e.return_path = true;
    return e;
}

static bool running(int s) {
    return s == DST_POSTCOPY || s == DST_FILLING || s == DST_PAUSED || s == DST_RECOVER;
}

/* What every table has alike. True when (s, ev) is such a cell. */
static bool common(int s, int ev, const struct dst_engine *e, enum vms_code code) {
    bool final = s == DST_COMPLETED || s == DST_FAILED;
    if (ev != DST_EV_ERROR && (ev != DST_EV_CUT || running(s)))
        return false;
    cr_assert_eq(code, VMS_OK);
    cr_assert_eq((int)e->state, final ? s : DST_FAILED);
    return true;
}

static void compare(int s, int ev) {
    struct vms_error err = {0};
    unsigned actions = 99;
    struct dst_engine e = engine_in((enum dst_state)s);
    enum vms_code code = dst_engine_event(&e, (enum dst_event)ev, &actions, &err);
    const char *at = dst_state_name((enum dst_state)s);
    const char *what = dst_event_name((enum dst_event)ev);
    if (common(s, ev, &e, code))
        return;
    if (legal[s][ev]) {
        cr_assert_eq(code, VMS_OK, "%s in %s was refused", what, at);
        cr_assert_eq(e.state, next[s][ev], "%s in %s leads to %s", what, at,
                     dst_state_name(e.state));
        return;
    }
    cr_assert_eq(code, VMS_E_DST_UNEXPECTED, "%s in %s was taken", what, at);
    cr_assert_str_eq(err.clause, "DST-2");
    if (s == DST_COMPLETED || s == DST_FAILED) { /* [DST-10] what was said stays said */
        cr_assert_eq((int)e.state, s);
        cr_assert_eq(actions, DST_DO_NOTHING);
        return;
    }
    /* [DST-18] */
    cr_assert_eq(e.state, running(s) ? DST_PAUSED : DST_FAILED);
    cr_assert(s == DST_PAUSED || actions & (running(s) ? DST_DO_PAUSE : DST_DO_SHUT_BAD));
}

static void compare_all(void) {
    for (int s = 0; s < DST_STATE_COUNT; s++)
        for (int ev = DST_EV_NONE + 1; ev < DST_EVENT_COUNT; ev++)
            compare(s, ev);
}

/* [DST-1] [DST-2] every state has an answer to every event */
Test(engine, table_equals_the_derived_one) {
    derive();
    compare_all();
}

/* ---- the specification's table ---- */

static int number_of(const char *name, const char *(*name_of)(int), int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(name_of(i), name) == 0)
            return i;
    cr_assert_fail("the specification names %s", name);
    return -1;
}

static const char *state_at(int i) {
    return dst_state_name((enum dst_state)i);
}

static const char *event_at(int i) {
    return dst_event_name((enum dst_event)i);
}

static unsigned actions_of(const char *answer) {
    static const struct {
        const char *word;
        unsigned action;
    } words[] = {
        {"open", DST_DO_OPEN_RETURN_PATH},
        {"pong", DST_DO_PONG},
        {"sync", DST_DO_SYNC},
        {"drain", DST_DO_DRAIN},
        {"listen", DST_DO_LISTEN},
        {"run", DST_DO_RUN},
        {"fill", DST_DO_FILL},
        {"pause", DST_DO_PAUSE},
        {"bitmap", DST_DO_BITMAP},
        {"resume", DST_DO_RESUME},
        {"shut 0", DST_DO_SHUT_GOOD},
    };
    unsigned actions = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        actions |= strstr(answer, words[i].word) ? words[i].action : 0;
    return actions;
}

/* One line "| state | event | next state | answer |". */
static void read_row(char *line) {
    char *cell[5] = {0}, *rest = line;
    for (int i = 0; i < 5; i++) {
        cell[i] = strsep(&rest, "|");
        cr_assert_not_null(cell[i]);
        cell[i] += strspn(cell[i], " ");
        for (size_t n = strlen(cell[i]); n && cell[i][n - 1] == ' '; n--)
            cell[i][n - 1] = 0;
    }
    int s = number_of(cell[1], state_at, DST_STATE_COUNT);
    int ev = number_of(cell[2], event_at, DST_EVENT_COUNT);
    struct dst_engine e = engine_in((enum dst_state)s);
    struct vms_error err = {0};
    unsigned actions = 0;
    legal[s][ev] = true;
    next[s][ev] = (enum dst_state)number_of(cell[3], state_at, DST_STATE_COUNT);
    (void)dst_engine_event(&e, (enum dst_event)ev, &actions, &err);
    cr_assert_eq(actions, actions_of(cell[4]), "%s in %s", cell[2], cell[1]);
}

/* [DST-1] [DST-2] */
Test(engine, table_equals_the_specification) {
    char line[512];
    bool in_table = false;
    int rows = 0;
    FILE *f = fopen("spec/02.9-destination.md", "r");
    cr_assert_not_null(f, "run it in the top folder");
    memset(legal, 0, sizeof legal);
    while (fgets(line, sizeof line, f)) {
        in_table |= strncmp(line, "<!-- table: destination", 23) == 0;
        if (in_table && strncmp(line, "| ", 2) == 0 && strncmp(line, "| state", 7) != 0) {
            read_row(line);
            rows++;
        }
    }
    (void)fclose(f);
    cr_assert_gt(rows, 50);
    compare_all();
}

/* [DST-14] */
Test(engine, postcopy_has_to_be_set_up) {
    static const enum dst_event events[] = {DST_EV_DISCARD, DST_EV_PACKAGE, DST_EV_LISTEN};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        struct dst_engine e = engine_in(events[i] == DST_EV_LISTEN ? DST_PACKAGE : DST_SWITCHOVER);
        struct vms_error err = {0};
        unsigned actions;
        e.advised = events[i] == DST_EV_LISTEN;
        e.return_path = !e.advised;
        cr_assert_eq(dst_engine_event(&e, events[i], &actions, &err), VMS_E_DST_UNEXPECTED);
        cr_assert_eq(e.state, DST_FAILED);
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
    cr_assert_eq(actions, DST_DO_DRAIN | DST_DO_RUN);
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

/* [REC-8] END may have been lost with a connection, or come twice */
Test(engine, end_and_recovery) {
    for (int ends = 0; ends < 3; ends++) {
        struct dst_engine e = engine_in(DST_PAUSED);
        struct vms_error err = {0};
        unsigned actions;
        e.started = 1;
        cr_assert_eq(run(&e, "bT", &actions), VMS_OK);
        for (int i = 0; i < ends; i++)
            take(&e, record(VMS_R_SECTION_END));
        cr_assert_eq(run(&e, "E", &actions), VMS_OK);
        cr_assert_eq(dst_engine_event(&e, DST_EV_MAIN_END, &actions, &err), VMS_OK, "%s",
                     err.message);
        cr_assert_eq(actions, DST_DO_FILL);
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

/* [PKG-5] in a package too */
Test(engine, guessed_in_a_package) {
    struct vms_error err = {0};
    struct vms_record r = record(VMS_R_COMMAND);
    enum dst_event event = DST_EV_NONE;
    r.u.command.command = VMS_CMD_POSTCOPY_RUN;
    cr_assert_eq(dst_engine_packaged(&r, &event, &err), VMS_OK);
    cr_assert_eq(event, DST_EV_RUN);
    r.guessed = true;
    cr_assert_eq(dst_engine_packaged(&r, &event, &err), VMS_E_DST_GUESSED);
}

Test(engine, final_states_stay) {
    struct dst_engine e = engine_in(DST_COMPLETED);
    struct vms_error err = {0};
    unsigned actions;
    cr_assert_eq(dst_engine_event(&e, DST_EV_ERROR, &actions, &err), VMS_OK);
    cr_assert_eq(e.state, DST_COMPLETED);
    cr_assert_eq(actions, DST_DO_NOTHING);
}

/* [DST-23] Until its first instruction a guest can be handed back, then never again. */
Test(engine, guest_that_has_run_is_not_handed_back) {
    for (int s = 0; s < DST_STATE_COUNT; s++)
        for (int ran = 0; ran < 2; ran++) {
            struct dst_engine e = engine_in((enum dst_state)s);
            struct vms_error err = {0};
            unsigned actions;
            bool final = s == DST_COMPLETED || s == DST_FAILED;
            if (ran)
                cr_assert_eq(dst_engine_run(&e), s != DST_FAILED);
            (void)dst_engine_event(&e, DST_EV_ERROR, &actions, &err);
            cr_assert_eq(actions, final || ran ? DST_DO_NOTHING : DST_DO_SHUT_BAD, "%s, %d",
                         dst_state_name((enum dst_state)s), ran);
            cr_assert_eq(dst_engine_run(&e), e.state == DST_COMPLETED);
        }
}

/* [DST-24] One that was to run and did not begin is handed back as if nobody had tried. */
Test(engine, guest_that_did_not_begin_is_handed_back) {
    for (int s = 0; s < DST_STATE_COUNT; s++) {
        struct dst_engine e = engine_in((enum dst_state)s);
        struct vms_error err = {0};
        unsigned actions;
        bool final = s == DST_COMPLETED || s == DST_FAILED;
        (void)dst_engine_run(&e);
        dst_engine_not_run(&e);
        cr_assert_eq((int)e.state, s);
        (void)dst_engine_event(&e, DST_EV_ERROR, &actions, &err);
        cr_assert_eq(actions, final ? DST_DO_NOTHING : DST_DO_SHUT_BAD, "%s",
                     dst_state_name((enum dst_state)s));
        cr_assert_eq(dst_engine_run(&e), e.state == DST_COMPLETED);
    }
}
