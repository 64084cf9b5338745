/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"
#include <string.h>

/* What the machine orders. Each deed reports what came of it as the next event. */

/* A failure is a cut; what was not sent for want of memory [MOD-9] is made one: it is asked for. */
static void send_main(struct dst_native_session *s, struct vms_native_out *out) {
    struct vms_error err = {.clause = ""};
    if (!s->link || s->link_dead)
        return;
    enum vms_code code = vms_native_link_send(s->link, 0, out, &err);
    if (vms_native_link_starves(code))
        vms_native_link_abort(s->link, &err);
}

static void send_handover(struct dst_native_session *s, uint32_t type, uint64_t generation) {
    struct vms_native_out out = {.frame.header.type = type};
    out.frame.u.generation = generation;
    s->answered = s->link && !s->link_dead;
    send_main(s, &out);
}

static void send_ready(struct dst_native_session *s, const struct dst_native_action *a) {
    struct vms_native_out out = {.frame.header.type = VMS_NATIVE_READY};
    out.frame.u.ready =
        (struct vms_native_ready){.generation = a->generation,
                                  .verdict = (uint8_t)a->value,
                                  .pages_different = a->value == 2 ? s->result.pages_different : 0};
    s->ready_sent = true;
    send_main(s, &out);
}

static void send_switchover(struct dst_native_session *s, uint32_t type,
                            const struct dst_native_action *a) {
    struct vms_native_out out = {.frame.header.type = type};
    out.frame.u.switchover = (struct vms_native_switchover){a->device, a->generation};
    send_main(s, &out);
}

/* [HND-13] Without a folder nothing is durable, and a restart knows nothing. */
static void write_journal(struct dst_native_session *s, const struct dst_native_action *a) {
    struct vms_journal_record r = {.journal = a->journal,
                                   .role = VMS_ROLE_DESTINATION,
                                   .generation = a->generation,
                                   .postcopy = s->machine.postcopy};
    struct vms_error err = {.clause = ""};
    memcpy(r.session, s->id, sizeof r.session);
    bool good = !s->config.journal || vms_journal_write(s->config.journal, &r, &err) == VMS_OK;
    if (!good)
        dn_note(s, "%s", err.message);
    dn_post(s, good ? DST_NEV_WRITTEN : DST_NEV_WRITE_FAILED, a->generation, 0);
}

/* [HND-15] */
static void locks(struct dst_native_session *s, bool take) {
    const struct vms_guest *g = s->config.guest;
    struct vms_error err = {.clause = ""};
    enum vms_code code = g ? g->ops->locks(g->ctx, take, &err) : VMS_OK;
    if (code != VMS_OK)
        dn_note(s, "storage locks: %s", err.message);
    if (take)
        dn_post(s, DST_NEV_LOCKS, 0, code);
}

/* [HND-17] Devices first; when one fails, or the CPUs do, nothing of the guest is left in any. */
static void run_guest(struct dst_native_session *s) {
    const struct vms_guest *g = s->config.guest;
    struct vms_error err = {.clause = ""};
    enum vms_code code = dn_devices_run(s, &err);
    if (code == VMS_OK && g)
        code = g->ops->run(g->ctx, &err);
    if (code != VMS_OK) {
        dn_note(s, "the guest cannot run: %s", err.message);
        dn_devices_halt(s);
        pthread_mutex_lock(&s->lock);
        s->error = err;
        pthread_mutex_unlock(&s->lock);
    }
    dn_post(s, DST_NEV_RUNS, 0, code);
}

/* An acknowledged RUNNING is what lets us go. */
static void *teller(void *arg) {
    struct dst_native_session *s = arg;
    struct vms_error err = {.clause = ""};
    if (vms_native_link_drain(s->link, &err) == VMS_OK)
        dn_post(s, DST_NEV_TOLD, 0, 0);
    return NULL;
}

static void send_running(struct dst_native_session *s, uint64_t generation) {
    send_handover(s, VMS_NATIVE_RUNNING, generation);
    if (!s->link || s->link_dead)
        return;
    bool acks = vms_native_link_agreement(s->link)->features & VMS_FEATURE_RESUME;
    if (acks && !s->teller_runs)
        s->teller_runs = pthread_create(&s->teller, NULL, teller, s) == 0;
}

static void tell_source_why(struct dst_native_session *s, enum vms_code code) {
    struct vms_error why = s->error;
    if (why.code != code)
        (void)vms_error_set(&why, code, NULL);
    dn_note(s, "given up: %s (%s)", why.message, why.clause);
    if (!s->link || s->link_dead)
        return;
    bool acks = vms_native_link_agreement(s->link)->features & VMS_FEATURE_RESUME;
    struct vms_error ignored;
    if (acks && s->answered) /* NOT_STARTED first: it releases a source that is in doubt */
        s->source_knows = vms_native_link_drain(s->link, &ignored) == VMS_OK;
    vms_native_link_abort(s->link, &why);
}

/* [HND-12] What is known, and what to do. */
void dn_tell(struct dst_native_session *s) {
    char id[VMS_SESSION_TEXT];
    vms_session_text(s->id, id);
    switch (s->machine.state) {
    case DST_N_IN_DOUBT:
        dn_note(s,
                "IN_DOUBT: session %s: this end said READY; the source may have handed the guest "
                "over or kept it. The guest's state is kept here until the source is back. If the "
                "source is known not to run the guest, and never will: --resolve ours; if it does: "
                "--resolve theirs",
                id);
        break;
    case DST_N_PAUSED:
        dn_note(s,
                "PAUSED: session %s: the guest is here and waits for pages; the source has "
                "them. Reconnect the source",
                id);
        break;
    case DST_N_COMPLETED:
        dn_note(s,
                "session %s: the guest runs here; the source has not acknowledged it and may be "
                "in doubt: --resolve theirs there",
                id);
        break;
    default:
        dn_note(s, "session %s: %s%s", id, dst_native_state_name(s->machine.state),
                s->machine.guest_runs ? "; pages of the guest are lost" : "");
    }
}

static void reconnect(struct dst_native_session *s) {
    if (s->machine.state == DST_N_IN_DOUBT)
        dn_tell(s);
    if (s->link_dead && !s->asker_runs)
        dn_ask(s);
}

void dn_act(struct dst_native_session *s, const struct dst_native_action *a) {
    switch (a->kind) {
    case DST_NDO_ASK_DEVICE: dn_device_asked(s, a->device, a->generation); break;
    case DST_NDO_SEND_GRANT: send_switchover(s, VMS_NATIVE_GRANT, a); break;
    case DST_NDO_SEND_REQUEST: send_switchover(s, VMS_NATIVE_REQUEST, a); break;
    case DST_NDO_GRANTED: break;
    case DST_NDO_LOAD: dn_load(s, a->generation, a->value != 0); break;
    case DST_NDO_LOCKS: locks(s, a->value != 0); break;
    case DST_NDO_WRITE: write_journal(s, a); break;
    case DST_NDO_SEND_READY: send_ready(s, a); break;
    case DST_NDO_RUN_GUEST: run_guest(s); break;
    case DST_NDO_ANNOUNCE:
        if (s->config.guest)
            s->config.guest->ops->announce(s->config.guest->ctx);
        break;
    case DST_NDO_SEND_RUNNING: send_running(s, a->generation); break;
    case DST_NDO_SEND_NOT_STARTED: send_handover(s, VMS_NATIVE_NOT_STARTED, a->generation); break;
    case DST_NDO_RECONNECT: reconnect(s); break;
    case DST_NDO_TELL: dn_tell(s); break;
    case DST_NDO_ABORT: tell_source_why(s, (enum vms_code)a->value); break;
    case DST_NDO_FINISH: s->finished = true; break;
    default: break;
    }
}
