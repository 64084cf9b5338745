/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "reference-dst/engine/engine.h"

/*
 * The destination of QEMU's wire under a list of actions: events, and records of every type, on
 * the main channel or packaged. What must hold after each:
 *   - SHUT is said only where the return path is open, and never twice in a row of one connection;
 *     SHUT(0) never by a machine that has failed [DST-10]
 *   - RUN is ordered once: a guest that runs goes on, whatever comes [DST-11]
 *   - a guest that has run is not handed back, and one that was handed back does not run [DST-23]
 *   - what follows a guessed boundary is not acted on [DST-6]
 *   - final states stay
 * Input: actions of 3 octets: bit 7 a record, else an event, bit 6: before it an ordered RUN has
 * been carried out, bit 5: in vain; its type; what it carries.
 */
struct run {
    struct dst_engine e;
    bool ran;      /* RUN was ordered */
    bool began;    /* and carried out */
    bool released; /* SHUT(1) */
};

static struct vms_record a_record(uint32_t type, uint32_t what) {
    struct vms_record r = {.type = (enum vms_record_type)(type % VMS_RECORD_TYPE_COUNT)};
    static const uint8_t sizes[16] = {0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x20};
    r.guessed = what & 128;
    r.packaged = what & 64;
    switch (r.type) {
    case VMS_R_COMMAND:
        r.u.command.command = (uint16_t)(what & 15);
        r.u.command.payload = vms_slice(sizes, what & 32 ? sizeof sizes : 0);
        break;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END: r.u.section.kind = (enum vms_section_kind)(what & 3); break;
    default: break;
    }
    return r;
}

static void check(struct run *r, const struct dst_engine *before, unsigned actions,
                  enum vms_code code, bool own_failure) {
    const struct dst_engine *e = &r->e;
    const char *state = dst_state_name(e->state);
    bool final = before->state == DST_COMPLETED || before->state == DST_FAILED;
    ORACLE(!(actions & DST_DO_SHUT_GOOD) || !(actions & DST_DO_SHUT_BAD), "both SHUTs");
    ORACLE(!(actions & DST_DO_SHUT_GOOD) || e->state == DST_COMPLETED, "SHUT(0) in %s", state);
    ORACLE(!(actions & DST_DO_RUN) || !r->ran, "RUN twice, in %s", state);
    ORACLE(!(actions & DST_DO_RUN) || code == VMS_OK, "RUN after an error");
    ORACLE(!final || e->state == before->state, "%s is not final", dst_state_name(before->state));
    ORACLE(!dst_engine_runs(before->state) || e->state != DST_FAILED || own_failure,
           "what the peer said has killed a guest that runs");
    ORACLE(!final || !actions, "%#x after the end", actions);
    ORACLE(!(actions & DST_DO_SHUT_BAD) || !r->began, "a guest that has run is handed back");
    r->ran |= (actions & DST_DO_RUN) != 0;
    r->released |= (actions & DST_DO_SHUT_BAD) != 0;
}

/* fails: a virtual CPU or a device does not begin, so nothing has run [DST-24] */
static void begin(struct run *r, bool fails) {
    bool may = dst_engine_run(&r->e);
    ORACLE(may != (r->e.state == DST_FAILED), "in %s", dst_state_name(r->e.state));
    ORACLE(!may || !r->released, "a guest that was handed back runs");
    if (fails && !r->began)
        dst_engine_not_run(&r->e);
    else
        r->began |= may;
}

static bool give_record(struct run *r, uint32_t type, uint32_t what, unsigned *actions,
                        enum vms_code *code) {
    struct vms_error err = {0};
    struct vms_record record = a_record(type, what);
    enum dst_event event = DST_EV_NONE;
    if (record.packaged) {
        *code = dst_engine_packaged(&record, &event, &err);
        fuzz_saw(*code);
        if (*code != VMS_OK)
            return false;
        fuzz_cell(FUZZ_M_DESTINATION, r->e.state, event);
        *code = dst_engine_event(&r->e, event, actions, &err);
    } else {
        *code = dst_engine_record(&r->e, &record, actions, &err);
    }
    ORACLE(*code == VMS_OK || *code == err.code, "%s", vms_code_name(*code));
    return true;
}

static void step(struct run *r, struct vms_slice *in) {
    uint32_t kind = fuzz_option(in, 1), type = fuzz_option(in, 1), what = fuzz_option(in, 1);
    struct vms_error err = {0};
    if (kind & 64 && r->ran)
        begin(r, kind & 32);
    struct dst_engine before = r->e;
    unsigned actions = 0;
    enum vms_code code;
    if (kind & 128) {
        if (!give_record(r, type, what, &actions, &code))
            return;
    } else {
        enum dst_event event = (enum dst_event)(type % DST_EVENT_COUNT);
        fuzz_cell(FUZZ_M_DESTINATION, r->e.state, event);
        code = dst_engine_event(&r->e, event, &actions, &err);
    }
    fuzz_saw(code);
    bool own_failure = !(kind & 128) && type % DST_EVENT_COUNT == DST_EV_ERROR; /* [DST-18] */
    check(r, &before, actions, code, own_failure);
}

static void run(struct vms_slice in) {
    struct run r = {0};
    dst_engine_init(&r.e);
    while (in.len)
        step(&r, &in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size < LIST_MAX ? size : LIST_MAX);
    run(in);
    return 0;
}
