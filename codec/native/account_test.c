/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>
#include <vmstream/session.h>

/* ---- accounts ---- */

static const uint8_t ID[16] = {1, 2, 3};

struct pair {
    struct vms_session s;
    struct vms_session_channel channels[4];
};

static void open_pair(struct pair *p, enum vms_native_role role) {
    memset(p, 0, sizeof *p);
    vms_session_init(&p->s, role, ID, p->channels, 4);
    p->s.state = VMS_SES_OPEN;
    p->s.agreement.features = VMS_FEATURE_RESUME;
    p->s.agreement.limits.native_replay_bytes = 1000;
    p->s.agreement.peer_replay_bytes = 1000;
    p->channels[0].in_open = p->channels[0].out_open = true;
}

static struct vms_native_frame numbered(uint32_t type, uint16_t channel, uint32_t epoch,
                                        uint64_t sequence) {
    return (struct vms_native_frame){
        .header = {.type = type, .channel = channel, .epoch = epoch, .sequence = sequence}};
}

static void send(struct pair *p, uint16_t channel, uint64_t sequence, uint64_t bytes) {
    struct vms_native_frame f = numbered(VMS_NATIVE_OPAQUE, channel, 1, sequence);
    vms_session_sent(&p->s, &f, bytes);
}

static enum vms_session_action receive(struct pair *p, const struct vms_native_frame *f) {
    return vms_session_received(&p->s, f, 100);
}

static enum vms_session_action ack(struct pair *p, uint16_t channel, uint64_t next) {
    struct vms_native_position position = {channel, next};
    struct vms_native_frame f = numbered(VMS_NATIVE_ACK, 0, 1, p->channels[0].in_next);
    f.u.ack = (struct vms_native_ack){1, &position};
    return receive(p, &f);
}

/* [RSM-1], [RSM-4] */
Test(account, keeps_and_waits) {
    struct pair p;
    open_pair(&p, VMS_ROLE_SOURCE);
    cr_assert(vms_session_may_send(&p.s, 5000)); /* one may always go */
    send(&p, 0, 0, 600);
    cr_assert(vms_session_may_send(&p.s, 400));
    cr_assert_not(vms_session_may_send(&p.s, 401));
    send(&p, 0, 1, 400);
    cr_assert_eq(ack(&p, 0, 1), VMS_SES_DO_NOTHING);
    cr_assert_not(vms_session_may_send(&p.s, 1)); /* not yet forgotten */
    vms_session_forgot(&p.s, 0, 600);
    cr_assert(vms_session_may_send(&p.s, 600));
    p.s.agreement.features = 0;
    cr_assert(vms_session_may_send(&p.s, 1 << 30)); /* nothing is kept */
}

/* [RSM-2] */
Test(account, impossible_acks) {
    static const struct {
        uint16_t channel;
        uint64_t next;
    } bad[] = {{0, 4}, {0, 1}, {1, 0}, {9, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pair p;
        open_pair(&p, VMS_ROLE_SOURCE);
        for (uint64_t n = 0; n < 3; n++)
            send(&p, 0, n, 1);
        cr_assert_eq(ack(&p, 0, 2), VMS_SES_DO_NOTHING);
        cr_assert_eq(ack(&p, 0, 2), VMS_SES_DO_NOTHING);
        cr_assert_eq(ack(&p, bad[i].channel, bad[i].next), VMS_SES_DO_FAIL);
        cr_assert_eq(p.s.error.code, VMS_E_SESSION_ACK);
        cr_assert_eq(ack(&p, 0, 2), VMS_SES_DO_FAIL);
    }
}

/* [RSM-3], [RSM-5] */
Test(account, when_to_acknowledge) {
    struct pair p;
    struct vms_native_position positions[4];
    open_pair(&p, VMS_ROLE_DESTINATION);
    struct vms_native_frame ping = numbered(VMS_NATIVE_PING, 0, 1, 0);
    for (int i = 0; i < 20; i++) {
        ping.header.sequence = (uint64_t)i;
        cr_assert_eq(receive(&p, &ping), VMS_SES_DO_NOTHING);
    }
    cr_assert_not(vms_session_ack_due(&p.s));
    struct vms_native_frame data = numbered(VMS_NATIVE_OPAQUE, 0, 1, 20);
    (void)receive(&p, &data);
    data.header.sequence = 21;
    (void)receive(&p, &data);
    cr_assert_not(vms_session_ack_due(&p.s));
    data.header.sequence = 22;
    (void)receive(&p, &data);
    cr_assert(vms_session_ack_due(&p.s));
    cr_assert_eq(vms_session_positions(&p.s, positions), 1);
    cr_assert_eq(positions[0].next, 23);
    cr_assert_not(vms_session_ack_due(&p.s));
}

static struct vms_native_frame resume(uint32_t type, uint32_t epoch,
                                      const struct vms_native_position *positions, uint32_t count) {
    struct vms_native_frame f = numbered(type, 0, 0, 0);
    memcpy(f.u.resume.who.session, ID, 16);
    f.u.resume.epoch = epoch;
    f.u.resume.positions = positions;
    f.u.resume.position_count = count;
    return f;
}

/* [RSM-6], [RSM-7], [RSM-8] */
Test(account, resumes) {
    struct pair src, dst;
    open_pair(&src, VMS_ROLE_SOURCE);
    open_pair(&dst, VMS_ROLE_DESTINATION);
    for (uint64_t n = 0; n < 5; n++)
        send(&src, 0, n, 10);
    for (uint64_t n = 0; n < 3; n++) {
        struct vms_native_frame f = numbered(VMS_NATIVE_OPAQUE, 0, 1, n);
        (void)receive(&dst, &f);
    }
    cr_assert_eq(vms_session_event(&src.s, VMS_SES_EV_CUT), VMS_SES_DO_KEEP);
    cr_assert_eq(vms_session_event(&src.s, VMS_SES_EV_RECONNECT), VMS_SES_DO_SEND_RESUME);
    struct vms_native_position from_src[4], from_dst[4];
    uint32_t count = vms_session_positions(&src.s, from_src);
    struct vms_native_frame r =
        resume(VMS_NATIVE_RESUME, vms_session_next_epoch(&src.s), from_src, count);
    vms_session_sent(&src.s, &r, 0);
    cr_assert_eq(receive(&dst, &r), VMS_SES_DO_SEND_RESUMED); /* it had not seen the cut */
    count = vms_session_positions(&dst.s, from_dst);
    struct vms_native_frame answer = resume(VMS_NATIVE_RESUMED, r.u.resume.epoch, from_dst, count);
    cr_assert_eq(receive(&src, &answer), VMS_SES_DO_REPLAY);
    cr_assert_eq(src.channels[0].out_acked, 3);
    cr_assert_eq(src.channels[0].out_next, 5);
    cr_assert_eq(receive(&dst, &r), VMS_SES_DO_FAIL); /* the same once more */
    cr_assert_eq(dst.s.error.code, VMS_E_RESUME_STALE);
}

/*
 * [RSM-8] [SEAL-10] Keys change at both ends in frames that the other one may never get, RESUME and
 * RESUMED are lost, old ones come again; and still every resumption that arrives is taken, in an
 * epoch that neither end has used.
 */
struct model {
    struct pair src, dst;
    uint32_t src_uses, dst_uses; /* the highest epoch that each has sealed with */
    uint64_t src_next, dst_next; /* sequences */
    uint32_t old;                /* of the last RESUME that was taken */
    uint64_t seed;
};

static bool chance(struct model *m, unsigned percent) {
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    return (m->seed >> 33) % 100 < percent;
}

/* A REKEY from one end, which the other one gets or not. */
static void change_key(struct model *m, bool source, bool arrives) {
    struct pair *from = source ? &m->src : &m->dst, *to = source ? &m->dst : &m->src;
    uint32_t *uses = source ? &m->src_uses : &m->dst_uses;
    uint64_t *next = source ? &m->src_next : &m->dst_next;
    struct vms_native_frame f = numbered(VMS_NATIVE_REKEY, 0, *uses, *next);
    f.u.epoch = ++*uses;
    ++*next;
    vms_session_sent(&from->s, &f, 0);
    if (arrives)
        cr_assert_eq(receive(to, &f), VMS_SES_DO_NOTHING, "%s", to->s.error.message);
}

/* One try; false when a message was lost on the way. */
static bool try_to_resume(struct model *m) {
    struct vms_native_position at[4];
    (void)vms_session_event(&m->src.s, VMS_SES_EV_CUT);
    (void)vms_session_event(&m->src.s, VMS_SES_EV_RECONNECT);
    uint32_t count = vms_session_positions(&m->src.s, at);
    struct vms_native_frame r =
        resume(VMS_NATIVE_RESUME, vms_session_next_epoch(&m->src.s), at, count);
    vms_session_sent(&m->src.s, &r, 0);
    if (chance(m, 30))
        return false;
    cr_assert_eq(receive(&m->dst, &r), VMS_SES_DO_SEND_RESUMED, "%s", m->dst.s.error.message);
    m->old = r.u.resume.epoch;
    uint32_t epoch = m->dst.s.epoch;
    cr_assert_geq(epoch, r.u.resume.epoch);
    cr_assert_gt(epoch, m->src_uses);
    cr_assert_gt(epoch, m->dst_uses);
    count = vms_session_positions(&m->dst.s, at);
    struct vms_native_frame answer = resume(VMS_NATIVE_RESUMED, epoch, at, count);
    vms_session_sent(&m->dst.s, &answer, 0);
    m->dst_uses = epoch;
    m->dst_next = m->src.channels[0].in_next;
    if (chance(m, 30))
        return false; /* the destination has sealed with it, and nobody has seen that */
    cr_assert_eq(receive(&m->src, &answer), VMS_SES_DO_REPLAY, "%s", m->src.s.error.message);
    m->src_uses = epoch;
    m->src_next = m->dst.channels[0].in_next;
    return true;
}

static void old_resume_is_stale(struct model *m) {
    struct model copy = *m;
    copy.dst.s.channels = copy.dst.channels;
    struct vms_native_frame r = resume(VMS_NATIVE_RESUME, m->old, NULL, 0);
    cr_assert_eq(receive(&copy.dst, &r), VMS_SES_DO_FAIL);
    cr_assert_eq(copy.dst.s.error.code, VMS_E_RESUME_STALE);
}

Test(account, resumes_whatever_was_lost) {
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct model m = {.src_uses = 1, .dst_uses = 1, .old = 1, .seed = seed};
        open_pair(&m.src, VMS_ROLE_SOURCE);
        open_pair(&m.dst, VMS_ROLE_DESTINATION);
        m.src.s.epoch = m.dst.s.epoch = m.dst.s.peer_epoch = 1;
        for (int round = 0; round < 20; round++) {
            bool up = true; /* until the cut; behind it nothing arrives */
            for (int i = 0; i < 6; i++) {
                up &= chance(&m, 70);
                change_key(&m, chance(&m, 50), up);
            }
            while (!try_to_resume(&m))
                ;
            old_resume_is_stale(&m);
        }
    }
}

/* [RSM-8] [SES-6] Epoch 1 is in force behind HELLO, though no frame has come in it yet. */
Test(account, resumes_at_once) {
    struct pair src, dst;
    open_pair(&src, VMS_ROLE_SOURCE);
    cr_assert_eq(vms_session_next_epoch(&src.s), 2);
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        open_pair(&dst, VMS_ROLE_DESTINATION);
        struct vms_native_frame r = resume(VMS_NATIVE_RESUME, epoch, NULL, 0);
        cr_assert_eq(receive(&dst, &r), epoch < 2 ? VMS_SES_DO_FAIL : VMS_SES_DO_SEND_RESUMED);
        cr_assert(epoch < 2 || dst.s.epoch == 2);
    }
}

/* [RSM-8] */
Test(account, resumed_below_resume) {
    for (uint32_t epoch = 4; epoch <= 6; epoch++) {
        struct pair p;
        open_pair(&p, VMS_ROLE_SOURCE);
        p.s.state = VMS_SES_RESUMING;
        struct vms_native_frame r = resume(VMS_NATIVE_RESUME, 5, NULL, 0);
        vms_session_sent(&p.s, &r, 0);
        struct vms_native_frame answer = resume(VMS_NATIVE_RESUMED, epoch, NULL, 0);
        cr_assert_eq(receive(&p, &answer), epoch < 5 ? VMS_SES_DO_FAIL : VMS_SES_DO_REPLAY);
        cr_assert_eq(p.s.error.code, epoch < 5 ? VMS_E_RESUME_STALE : VMS_OK);
    }
}

/* [SES-3] */
Test(account, cut_without_resume) {
    struct pair p;
    open_pair(&p, VMS_ROLE_SOURCE);
    p.s.agreement.features = 0;
    cr_assert_eq(vms_session_event(&p.s, VMS_SES_EV_CUT), VMS_SES_DO_FAIL);
    cr_assert_eq(p.s.state, VMS_SES_FAILED);
    cr_assert_eq(p.s.error.code, VMS_E_PEER_CLOSED);
}

/* [RSM-9], [SES-4] */
Test(account, cannot_resume) {
    struct vms_native_position at[] = {{0, 1}, {2, 0}};
    struct pair p;
    open_pair(&p, VMS_ROLE_SOURCE);
    for (uint64_t n = 0; n < 5; n++)
        send(&p, 0, n, 10);
    (void)ack(&p, 0, 2);
    p.s.state = VMS_SES_RESUMING;
    struct vms_native_frame f = resume(VMS_NATIVE_RESUMED, 9, at, 1);
    cr_assert_eq(receive(&p, &f), VMS_SES_DO_FAIL);
    cr_assert_eq(p.s.error.code, VMS_E_RESUME_LOST);
    open_pair(&p, VMS_ROLE_SOURCE);
    p.s.state = VMS_SES_RESUMING;
    f = resume(VMS_NATIVE_RESUMED, 9, at, 1);
    cr_assert_eq(receive(&p, &f), VMS_SES_DO_FAIL); /* wants what was never sent */
    cr_assert_eq(p.s.error.code, VMS_E_SESSION_ACK);
    open_pair(&p, VMS_ROLE_SOURCE);
    p.s.state = VMS_SES_RESUMING;
    f = resume(VMS_NATIVE_RESUMED, 9, NULL, 0);
    f.u.resume.who.session[0] ^= 1;
    cr_assert_eq(receive(&p, &f), VMS_SES_DO_FAIL);
    cr_assert_eq(p.s.error.code, VMS_E_SESSION_ID);
}

/* ---- END: [SES-20] ---- */

static enum vms_session_action end(struct pair *p, const struct vms_native_sent *sent,
                                   uint32_t count) {
    struct vms_native_frame f = numbered(VMS_NATIVE_END, 0, 1, p->channels[0].in_next);
    f.u.end.sent = sent;
    f.u.end.sent_count = count;
    return receive(p, &f);
}

static void receive_data(struct pair *p, uint16_t channel, uint64_t frames, uint64_t from) {
    struct vms_native_frame f = numbered(VMS_NATIVE_ATTACH, channel, 0, 0);
    memcpy(f.u.attach.who.session, ID, 16);
    if (channel && !from)
        (void)receive(p, &f);
    for (uint64_t n = from; n < frames; n++) {
        f = numbered(VMS_NATIVE_OPAQUE, channel, 1, n);
        (void)receive(p, &f);
    }
}

Test(account, end_tells_all) {
    struct vms_native_sent sent[] = {{0, 2, 1}, {1, 3, 1}, {2, 0, 0}};
    struct pair p;
    open_pair(&p, VMS_ROLE_DESTINATION);
    receive_data(&p, 0, 2, 0);
    receive_data(&p, 1, 2, 0);
    receive_data(&p, 2, 0, 0);
    cr_assert_eq(vms_session_end_status(&p.s), VMS_END_NONE);
    cr_assert_eq(end(&p, sent, 3), VMS_SES_DO_NOTHING);
    cr_assert_eq(vms_session_end_status(&p.s), VMS_END_WAITING);
    receive_data(&p, 1, 3, 2);
    cr_assert_eq(vms_session_end_status(&p.s), VMS_END_COMPLETE);
    receive_data(&p, 1, 4, 3);
    cr_assert_eq(p.s.state, VMS_SES_FAILED);
    cr_assert_eq(p.s.error.code, VMS_E_SESSION_END);
}

Test(account, end_tells_otherwise) {
    static const struct vms_native_sent lists[][2] = {
        {{0, 1, 1}, {1, 2, 1}}, /* the main channel had 2 */
        {{0, 2, 2}, {1, 2, 1}}, /* which were of epoch 1 */
        {{0, 2, 1}, {1, 1, 1}}, /* fewer than have come */
        {{0, 2, 1}, {2, 0, 0}}, /* channel 1 is not listed */
        {{0, 2, 1}, {1, 2, 2}}, /* another epoch */
        {{0, 2, 1}, {9, 2, 1}}, /* no such channel */
        {{1, 2, 1}, {2, 2, 1}}, /* no main channel */
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct pair p;
        open_pair(&p, VMS_ROLE_DESTINATION);
        receive_data(&p, 0, 2, 0);
        receive_data(&p, 1, 2, 0);
        cr_assert_eq(end(&p, lists[i], 2), VMS_SES_DO_FAIL, "list %zu", i);
        cr_assert_eq(p.s.error.code, VMS_E_SESSION_END);
    }
}

Test(account, a_channel_behind_end) {
    struct vms_native_sent sent[] = {{0, 0, 0}};
    struct pair p;
    open_pair(&p, VMS_ROLE_DESTINATION);
    cr_assert_eq(end(&p, sent, 1), VMS_SES_DO_NOTHING);
    receive_data(&p, 1, 0, 0);
    cr_assert_eq(p.s.error.code, VMS_E_SESSION_END);
}

/* [RSM-16] END has come, and of channel 1 not all: that comes again in the epoch of the resumption.
 */
Test(account, resumed_behind_end) {
    for (int resumed = 0; resumed < 2; resumed++) {
        struct vms_native_sent sent[] = {{0, 2, 1}, {1, 4, 1}, {2, 2, 1}};
        struct pair p;
        open_pair(&p, VMS_ROLE_DESTINATION);
        receive_data(&p, 0, 2, 0);
        receive_data(&p, 1, 2, 0);
        receive_data(&p, 2, 2, 0);
        cr_assert_eq(end(&p, sent, 3), VMS_SES_DO_NOTHING);
        struct vms_native_frame f = resume(VMS_NATIVE_RESUME, 2, NULL, 0);
        if (resumed)
            cr_assert_eq(receive(&p, &f), VMS_SES_DO_SEND_RESUMED, "%s", p.s.error.message);
        if (resumed)
            vms_session_sent(&p.s, &(struct vms_native_frame){.header.type = VMS_NATIVE_RESUMED},
                             0);
        cr_assert_eq(vms_session_end_status(&p.s), VMS_END_WAITING);
        for (uint64_t n = 2; n < 4; n++) {
            f = numbered(VMS_NATIVE_OPAQUE, 1, 2, n);
            (void)receive(&p, &f);
        }
        cr_assert_eq(vms_session_end_status(&p.s), resumed ? VMS_END_COMPLETE : VMS_END_WRONG);
        f = numbered(VMS_NATIVE_OPAQUE, 2, 2, 2); /* nothing goes on behind END all the same */
        (void)receive(&p, &f);
        cr_assert_eq(p.s.error.code, VMS_E_SESSION_END);
    }
}

/* The epoch in END is that of the frame before, also when END is sent anew. */
Test(account, end_anew) {
    struct vms_native_sent sent[4];
    struct pair p;
    open_pair(&p, VMS_ROLE_SOURCE);
    send(&p, 0, 0, 1);
    struct vms_native_frame f = numbered(VMS_NATIVE_END, 0, 2, 1);
    vms_session_sent(&p.s, &f, 1);
    f = numbered(VMS_NATIVE_PING, 0, 2, 2);
    vms_session_sent(&p.s, &f, 1);
    cr_assert_eq(vms_session_fill_end(&p.s, sent), 1);
    cr_assert_eq(sent[0].epoch, 1);
    f = numbered(VMS_NATIVE_OPAQUE, 0, 3, 0);
    vms_session_sent(&p.s, &f, 0);
    cr_assert_eq(vms_session_fill_end(&p.s, sent), 1);
    cr_assert_eq(sent[0].epoch, 3);
}

/* [SES-6] */
Test(account, rekey_names_the_next_epoch) {
    for (uint32_t epoch = 0; epoch < 5; epoch++) {
        struct pair p;
        open_pair(&p, VMS_ROLE_DESTINATION);
        struct vms_native_frame f = numbered(VMS_NATIVE_REKEY, 0, 1, 0);
        f.u.epoch = epoch;
        cr_assert_eq(receive(&p, &f), epoch == 2 ? VMS_SES_DO_NOTHING : VMS_SES_DO_FAIL);
        cr_assert_eq(p.s.error.code, epoch == 2 ? VMS_OK : VMS_E_SEAL_EPOCH);
    }
}

/* [NAT-13] */
Test(account, pack_methods_in_force) {
    for (unsigned i = 0; i < 9; i++) {
        uint64_t features[] = {0, VMS_FEATURE_ZSTD, VMS_FEATURE_ZSTD_DELTA};
        bool good = i % 3 == 0 || i % 3 == i / 3;
        struct pair p;
        open_pair(&p, VMS_ROLE_DESTINATION);
        p.s.agreement.features = features[i / 3];
        struct vms_native_frame f = numbered(VMS_NATIVE_PAGES, 0, 1, 0);
        f.header.flags = (uint16_t)(i % 3);
        cr_assert_eq(receive(&p, &f), good ? VMS_SES_DO_NOTHING : VMS_SES_DO_FAIL, "%u", i);
        cr_assert_eq(p.s.error.code, good ? VMS_OK : VMS_E_NATIVE_FLAGS);
    }
}

/* [SES-21], [SES-23] */
Test(account, no_end_and_abort) {
    struct pair p;
    open_pair(&p, VMS_ROLE_DESTINATION);
    cr_assert_eq(vms_session_event(&p.s, VMS_SES_EV_CLOSE), VMS_SES_DO_FAIL);
    cr_assert_eq(p.s.error.code, VMS_E_SESSION_NO_END);
    open_pair(&p, VMS_ROLE_DESTINATION);
    struct vms_native_frame f = numbered(VMS_NATIVE_ABORT, 0, 1, 0);
    f.u.abort.code = vms_str("RAM_OFFSET");
    f.u.abort.message = vms_str("page outside");
    cr_assert_eq(receive(&p, &f), VMS_SES_DO_FAIL);
    cr_assert_eq(p.s.error.code, VMS_E_SESSION_ABORTED);
    cr_assert(strstr(p.s.error.message, "RAM_OFFSET page outside"));
}

/* [SES-25] */
Test(account, keep_alive) {
    struct pair p;
    uint64_t wait;
    open_pair(&p, VMS_ROLE_SOURCE);
    p.s.agreement.keepalive_ms = 1000;
    cr_assert_eq(vms_session_alive(&p.s, 400, 1000, &wait), VMS_ALIVE_FINE);
    cr_assert_eq(wait, 100);
    cr_assert_eq(vms_session_alive(&p.s, 500, 1000, &wait), VMS_ALIVE_PING);
    p.s.said_ms = 500;
    cr_assert_eq(vms_session_alive(&p.s, 900, 1000, &wait), VMS_ALIVE_FINE);
    p.s.said_ms = 1000;
    cr_assert_eq(vms_session_alive(&p.s, 1000, 1000, &wait), VMS_ALIVE_FINE);
    cr_assert_eq(wait, 1);
    cr_assert_eq(vms_session_alive(&p.s, 1001, 1000, &wait), VMS_ALIVE_DEAD);
    p.s.agreement.keepalive_ms = 0;
    cr_assert_eq(vms_session_alive(&p.s, 1 << 30, 0, &wait), VMS_ALIVE_FINE);
    cr_assert_eq(wait, UINT64_MAX);
}
