/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <vmstream/handover.h>
#include <vmstream/session.h>

/*
 * Sessions and hand-overs of the native wire, which are pure, under lists of actions:
 *   - two hellos of any content come to an agreement that both ends make alike, or to an error
 *   - a session's state changes only as its table says; REFUSE and FAIL have a code; accounts never
 *     run backwards, and nothing is acknowledged that was not sent [RSM-2]
 *   - of two hand-over machines, told what a network that loses and repeats would tell them, at
 * most one ever says that the guest may run at its end [HND-2] Input: 1 octet: which of the three;
 * 1 of role; then actions of 4 octets.
 */
enum {
    CHANNELS = 4,
};

/* ---- negotiation ---- */

static struct vms_native_hello a_hello(struct vms_slice *in, uint32_t suites[4], uint8_t role) {
    struct vms_native_hello h = {.who.role = role};
    h.version = fuzz_option(in, 1) % 4;
    h.version_min = fuzz_option(in, 1) % 4;
    h.form = (uint8_t)(fuzz_option(in, 1) % 3);
    h.suite_count = 1 + fuzz_option(in, 1) % 4;
    for (uint32_t i = 0; i < h.suite_count; i++)
        suites[i] = fuzz_option(in, 1) % 6;
    h.suites = suites;
    h.features = fuzz_option(in, 2);
    h.features_needed = fuzz_option(in, 2);
    h.body_bytes = fuzz_option(in, 3);
    h.bulk_bytes = fuzz_option(in, 3);
    h.channels = fuzz_option(in, 2);
    h.replay_bytes = fuzz_option(in, 4);
    h.keepalive_ms = fuzz_option(in, 2);
    h.who.session[0] = fuzz_option(in, 1) & 1;
    h.who.random[0] = fuzz_option(in, 1) ? role + 1 : 0;
    h.who.secret = (uint8_t)(fuzz_option(in, 1) % 3);
    return h;
}

static void negotiate(struct vms_slice in, bool keyed) {
    uint32_t suites[2][4];
    struct vms_limits limits = vms_limits_default();
    struct vms_agreement a = {0}, b = {0};
    struct vms_error err_a = {0}, err_b = {0};
    uint32_t file = fuzz_option(&in, 1) % 8;
    struct vms_native_hello s = a_hello(&in, suites[0], VMS_ROLE_SOURCE);
    struct vms_native_hello d = a_hello(&in, suites[1], VMS_ROLE_DESTINATION);
    enum vms_code x = vms_session_negotiate(&s, file == 0 ? NULL : &d, keyed, &limits, &a, &err_a);
    enum vms_code y = vms_session_negotiate(file == 0 ? NULL : &d, &s, keyed, &limits, &b, &err_b);
    fuzz_saw(x);
    fuzz_saw(y);
    /* [NAT-46] Of a file the writer asks nobody. */
    ORACLE((x == VMS_OK) == (y == VMS_OK) || (file == 0 && x == VMS_OK), "%s, %s", vms_code_name(x),
           vms_code_name(y));
    if (y != VMS_OK || file == 0)
        return;
    ORACLE(a.version == b.version && a.suite == b.suite && a.features == b.features,
           "the ends agree on different things");
    ORACLE(keyed == (a.suite != VMS_SUITE_NONE), "suite %u", a.suite);
    ORACLE(!(s.features_needed & ~a.features), "a feature that is needed is not in force");
    ORACLE(a.limits.native_body_bytes <= limits.native_body_bytes, "more than is accepted");
}

/* ---- sessions ---- */

struct frames {
    struct vms_native_frame frame;
    struct vms_native_position positions[CHANNELS];
    struct vms_native_sent sent[CHANNELS];
};

static void a_frame(struct frames *f, const uint32_t a[3], const struct vms_session *s) {
    static const uint32_t types[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 32, 33, 35, 0x80000050};
    uint16_t channel = (uint16_t)(a[1] >> 6);
    *f = (struct frames){.frame.header = {.type = types[a[0] % 16], .channel = channel}};
    f->frame.unknown = f->frame.header.type > 255;
    f->frame.header.epoch = a[2] & 3;
    /* The opener gives the next one, and no other (SEAL-6). */
    f->frame.header.sequence = s->channels[channel].in_next;
    uint32_t n = a[1] & 3;
    for (uint32_t i = 0; i < n; i++) {
        f->positions[i] = (struct vms_native_position){(uint16_t)(i + (a[1] >> 2 & 1)), a[2] >> i};
        f->sent[i] = (struct vms_native_sent){(uint16_t)(i + (a[1] >> 2 & 1)), a[2] >> i, a[2] & 3};
    }
    switch (f->frame.header.type) {
    case VMS_NATIVE_ATTACH: f->frame.u.attach.epoch = 1 + (a[2] & 3); break;
    case VMS_NATIVE_RESUME:
    case VMS_NATIVE_RESUMED:
        f->frame.u.resume.epoch = 2 + (a[2] & 7);
        f->frame.u.resume.position_count = n;
        f->frame.u.resume.positions = f->positions;
        break;
    case VMS_NATIVE_REKEY: f->frame.u.epoch = a[2] & 7; break;
    case VMS_NATIVE_ACK:
        f->frame.u.ack.position_count = n;
        f->frame.u.ack.positions = f->positions;
        break;
    case VMS_NATIVE_END:
        f->frame.u.end.sent_count = n;
        f->frame.u.end.sent = f->sent;
        break;
    default: break;
    }
}

static void check_accounts(const struct vms_session *s, const struct vms_session_channel *before) {
    for (uint32_t i = 0; i < s->channel_count; i++) {
        const struct vms_session_channel *c = &s->channels[i];
        ORACLE(c->out_acked <= c->out_next, "channel %u: acknowledged %llu of %llu", i,
               (unsigned long long)c->out_acked, (unsigned long long)c->out_next);
        ORACLE(c->out_acked >= before[i].out_acked, "channel %u: unacknowledged", i);
        ORACLE(c->in_next >= before[i].in_next, "channel %u: received less", i);
    }
}

static void send_frame(struct vms_session *s, struct frames *f, uint32_t how) {
    uint64_t bytes = how << 4;
    uint16_t channel = f->frame.header.channel;
    if (channel >= s->channel_count || !vms_session_may_send(s, bytes))
        return;
    f->frame.header.sequence = s->channels[channel].out_next;
    vms_session_sent(s, &f->frame, f->frame.header.type <= VMS_NATIVE_RESUMED ? 0 : bytes);
    if (how & 1 && s->channels[channel].out_kept)
        vms_session_forgot(s, channel, s->channels[channel].out_kept);
}

static void ask(struct vms_session *s, uint64_t now) {
    struct vms_native_position positions[CHANNELS];
    struct vms_native_sent sent[CHANNELS];
    uint64_t wait;
    ORACLE(vms_session_positions(s, positions) <= CHANNELS, "positions");
    ORACLE(vms_session_fill_end(s, sent) <= CHANNELS, "END");
    ORACLE(vms_session_next_epoch(s) > s->epoch, "an epoch comes again");
    (void)vms_session_ack_due(s);
    (void)vms_session_end_status(s);
    (void)vms_session_alive(s, now, 100, &wait);
}

/* What this end does or finds; frames come by vms_session_received(). */
static enum vms_session_event own_event(uint32_t which) {
    return (enum vms_session_event)(VMS_SES_EV_OPEN + which % (VMS_SES_EVENTS - VMS_SES_EV_OPEN));
}

static void session_step(struct vms_session *s, struct vms_slice *in, uint64_t *now) {
    struct vms_session_channel before[CHANNELS];
    bool had_failed = s->state == VMS_SES_FAILED;
    struct frames f;
    uint32_t what = fuzz_option(in, 1);
    uint32_t a[3] = {fuzz_option(in, 1), fuzz_option(in, 1), fuzz_option(in, 1)};
    enum vms_session_action action = VMS_SES_DO_NOTHING;
    bool gives_up = what % 4 == 2 && own_event(a[0]) == VMS_SES_EV_GIVE_UP;
    memcpy(before, s->channels, sizeof before);
    *now += a[2];
    a_frame(&f, a, s);
    switch (what % 4) {
    case 0: action = vms_session_received(s, &f.frame, a[2] * 64); break;
    case 1: send_frame(s, &f, a[2]); break;
    case 2: action = vms_session_event(s, own_event(a[0])); break;
    default: ask(s, *now); break;
    }
    ORACLE(action < VMS_SES_ACTIONS, "%u", action);
    ORACLE((action != VMS_SES_DO_REFUSE && action != VMS_SES_DO_FAIL) || s->error.code ||
               had_failed || gives_up,
           "refused without a code");
    fuzz_saw(s->error.code);
    check_accounts(s, before);
}

static void session(struct vms_slice in, uint32_t role) {
    static const uint8_t id[16];
    struct vms_session_channel channels[CHANNELS] = {0};
    struct vms_session s;
    uint64_t now = 0;
    vms_session_init(&s, role & 1 ? VMS_ROLE_SOURCE : VMS_ROLE_DESTINATION, id, channels, CHANNELS);
    s.agreement.limits = vms_limits_default();
    s.agreement.limits.native_replay_bytes = 1 << 12;
    s.agreement.peer_replay_bytes = 1 << 12;
    s.agreement.keepalive_ms = role & 2 ? 200 : 0;
    while (in.len)
        session_step(&s, &in, &now);
}

/* ---- the hand-over: both ends, a network that loses and repeats, journals that last ---- */

struct end {
    struct vms_handover h;
    enum vms_journal writing, durable;
    uint64_t generation; /* durable */
};

struct pair {
    struct end end[2]; /* by role */
    struct vms_native_frame under_way[8];
    bool to_source[8];
    unsigned count;
};

static void post(struct pair *p, unsigned from, uint32_t type) {
    if (p->count == 8)
        return;
    p->to_source[p->count] = from == VMS_ROLE_DESTINATION;
    p->under_way[p->count] = (struct vms_native_frame){.header.type = type};
    p->under_way[p->count].u.generation = p->end[from].h.generation;
    if (type == VMS_NATIVE_READY)
        p->under_way[p->count].u.ready =
            (struct vms_native_ready){.generation = p->end[from].h.generation, .verdict = 1};
    p->count++;
}

static void obey(struct pair *p, unsigned role, enum vms_handover_action action) {
    static const uint32_t frames[VMS_HANDOVER_ACTION_COUNT] = {
        [VMS_DO_STOP] = VMS_NATIVE_START,
        [VMS_DO_SEND_READY] = VMS_NATIVE_READY,
        [VMS_DO_SEND_COMMIT] = VMS_NATIVE_COMMIT,
        [VMS_DO_SEND_RUNNING] = VMS_NATIVE_RUNNING,
        [VMS_DO_SEND_NOT_STARTED] = VMS_NATIVE_NOT_STARTED,
    };
    struct end *e = &p->end[role];
    if (action == VMS_DO_WRITE)
        e->writing = e->h.journal;
    if (frames[action])
        post(p, role, frames[action]);
}

static void deliver(struct pair *p, uint32_t which, bool keep) {
    enum vms_code code = VMS_OK;
    if (!p->count)
        return;
    unsigned i = which % p->count, role = p->to_source[i] ? VMS_ROLE_SOURCE : VMS_ROLE_DESTINATION;
    struct vms_native_frame frame = p->under_way[i];
    if (!keep) {
        p->count--;
        p->under_way[i] = p->under_way[p->count];
        p->to_source[i] = p->to_source[p->count];
    }
    enum vms_handover_action action = vms_handover_frame(&p->end[role].h, &frame, &code);
    fuzz_saw(code);
    ORACLE(action != VMS_DO_REFUSE || code != VMS_OK, "refused without a code");
    obey(p, role, action);
}

static void restart(struct pair *p, unsigned role) {
    struct end *e = &p->end[role];
    obey(p, role,
         vms_handover_recover(&e->h, (enum vms_native_role)role, e->durable, e->generation));
    e->writing = VMS_JOURNAL_NONE;
}

/* Events that the computer or the operator may bring about. */
static bool allowed(struct pair *p, unsigned role, unsigned event) {
    struct end *e = &p->end[role];
    bool source = role == VMS_ROLE_SOURCE;
    bool ours = event == (source ? VMS_SRC_EV_RESOLVE_OURS : VMS_DST_EV_RESOLVE_OURS);
    bool theirs = event == (source ? VMS_SRC_EV_RESOLVE_THEIRS : VMS_DST_EV_RESOLVE_THEIRS);
    bool written = event == (source ? VMS_SRC_EV_WRITTEN : VMS_DST_EV_WRITTEN);
    bool failed = event == (source ? VMS_SRC_EV_WRITE_FAILED : VMS_DST_EV_WRITE_FAILED);
    if (ours || theirs) /* his promise is about the other end: kept only when he gives none */
        return false;
    if (written || failed) {
        if (e->writing == VMS_JOURNAL_NONE)
            return false;
        if (written) {
            e->durable = e->writing;
            e->generation = e->h.generation;
        }
        e->writing = VMS_JOURNAL_NONE;
        return true;
    }
    if (source) /* frames come from the peer */
        return event != VMS_SRC_EV_READY && event != VMS_SRC_EV_READY_BAD &&
               event != VMS_SRC_EV_RUNNING && event != VMS_SRC_EV_NOT_STARTED;
    return event != VMS_DST_EV_START && event != VMS_DST_EV_COMMIT;
}

static void handover(struct vms_slice in) {
    struct pair p = {0};
    vms_handover_init(&p.end[VMS_ROLE_SOURCE].h, VMS_ROLE_SOURCE);
    vms_handover_init(&p.end[VMS_ROLE_DESTINATION].h, VMS_ROLE_DESTINATION);
    while (in.len) {
        uint32_t what = fuzz_option(&in, 1), which = fuzz_option(&in, 1);
        unsigned role = what >> 7;
        (void)fuzz_option(&in, 2);
        unsigned events = role == VMS_ROLE_SOURCE ? (unsigned)VMS_SRC_EVENTS : VMS_DST_EVENTS;
        if (what % 4 == 0)
            deliver(&p, which, what & 16);
        else if (what % 32 == 1)
            restart(&p, role);
        else if (allowed(&p, role, which % events))
            obey(&p, role, vms_handover_event(&p.end[role].h, which % events));
        for (unsigned i = 0; i < 2; i++)
            ORACLE(!vms_handover_in_doubt(&p.end[i].h) || !vms_handover_may_run(&p.end[i].h),
                   "in doubt, and may run: %s", vms_handover_state_name(&p.end[i].h));
        ORACLE(!vms_handover_may_run(&p.end[0].h) || !vms_handover_may_run(&p.end[1].h),
               "both may run: source %s, destination %s",
               vms_handover_state_name(&p.end[VMS_ROLE_SOURCE].h),
               vms_handover_state_name(&p.end[VMS_ROLE_DESTINATION].h));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size < LIST_MAX ? size : LIST_MAX);
    uint32_t which = fuzz_option(&in, 1), role = fuzz_option(&in, 1);
    if (which % 3 == 0)
        negotiate(in, role & 1);
    else if (which % 3 == 1)
        session(in, role);
    else
        handover(in);
    return 0;
}
