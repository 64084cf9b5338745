/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"
#include "reference-src/vm/vm.h"

#include <stdlib.h>

/* Who runs here: the guest's own state, its first instruction, and what is known of the other end.
 */

enum {
    STATE_HEAD = 4, /* u32 length */
};

enum vms_code dst_guest_open(struct dst_session *s, struct vms_error *err) {
    if (!s->options->vm)
        return VMS_OK;
    enum vms_code code = vms_vm_new(s->options->vm, VMS_VM_DESTINATION, &s->vm, err);
    if (code == VMS_OK)
        s->guest = vms_vm_guest(s->vm);
    return code == VMS_OK ? dst_cards_add(s, err) : code;
}

/* ---- its state: FULL section vmstream-guest, u32 length and so many bytes ---- */

bool dst_guest_section(const struct dst_session *s, const struct vms_record *r) {
    return s->guest && r->type == VMS_R_SECTION_FULL &&
           vms_slice_eq(r->u.section.idstr, vms_str("vmstream-guest")) &&
           r->u.section.instance == 0;
}

enum vms_code dst_guest_bytes(struct dst_session *s, struct vms_slice bytes,
                              struct vms_error *err) {
    struct dst_guest_state *g = &s->guest_state;
    g->came = true;
    if (bytes.len > s->options->limits.device_tail_bytes - g->len)
        return vms_error_set(err, VMS_E_LIMIT, "device_tail_bytes: the guest's state");
    if (g->room - g->len < bytes.len) {
        size_t room = 2 * g->room + bytes.len;
        uint8_t *grown = realloc(g->bytes, room);
        if (!grown)
            return vms_error_set(err, VMS_E_NO_MEMORY, "the guest's state");
        g->bytes = grown;
        g->room = room;
    }
    memcpy(g->bytes + g->len, bytes.ptr, bytes.len);
    g->len += bytes.len;
    return VMS_OK;
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/*
 * [DST-5] [DST-20] Where the section's end was guessed, its own length tells whether the guess was
 * right: a guest can forge a footer, but not the length in front of its state.
 */
enum vms_code dst_guest_load(struct dst_session *s, struct vms_error *err) {
    struct dst_guest_state *g = &s->guest_state;
    if (!s->guest || g->loaded)
        return VMS_OK;
    if (!g->came)
        return vms_error_set(err, VMS_E_DST_INCOMPLETE, "no section vmstream-guest");
    if (g->len < STATE_HEAD || be32(g->bytes) != g->len - STATE_HEAD)
        return vms_error_set(err, VMS_E_DST_INCOMPLETE, "vmstream-guest of %zu bytes", g->len);
    g->loaded = true;
    return s->guest->ops->load(s->guest->ctx, g->bytes + STATE_HEAD, g->len - STATE_HEAD, err);
}

/* ---- the first instruction ---- */

/* [DST-23] Once the first instruction may have run the source is handed nothing back; once it was,
 * no instruction runs. */
static enum vms_code begin(struct dst_session *s, struct vms_error *err) {
    bool file = !s->guest && !s->postcopy; /* nothing runs, all of it may still be handed back */
    pthread_mutex_lock(&s->lock);
    bool may = file || dst_engine_run(&s->engine);
    if (!may)
        *err = s->error;
    pthread_mutex_unlock(&s->lock);
    return may ? VMS_OK : err->code;
}

/* [DST-24] [VDEV-24] Nothing of it has run, nothing of it is left in a device, and the locks are
 * free: the source may have it. */
static void withdraw(struct dst_session *s) {
    const struct vms_guest *g = s->guest;
    struct vms_error err = {.clause = ""};
    dst_devices_reset(s);
    if (g && g->ops->locks(g->ctx, false, &err) != VMS_OK)
        dst_say(s, "storage locks: %s", err.message);
    pthread_mutex_lock(&s->lock);
    dst_engine_not_run(&s->engine);
    pthread_mutex_unlock(&s->lock);
}

/* [DST-22] Locks are taken when everything is loaded, and before anything runs. */
static enum vms_code run(struct dst_session *s, struct vms_error *err) {
    const struct vms_guest *g = s->guest;
    enum vms_code code = dst_guest_load(s, err);
    if (code == VMS_OK && g)
        code = g->ops->locks(g->ctx, true, err);
    if (code == VMS_OK)
        code = dst_devices_run(s, err); /* [VDEV-6] before the CPUs */
    if (code == VMS_OK)
        code = begin(s, err);
    if (code == VMS_OK && g)
        code = g->ops->run(g->ctx, err);
    if (code == VMS_OK && g)
        g->ops->announce(g->ctx);
    if (code != VMS_OK)
        withdraw(s); /* before the source hears of it */
    return code;
}

/* [DST-9] */
enum vms_code dst_guest_run(struct dst_session *s, struct vms_error *err) {
    if (dst_devices_verify(s, err) != VMS_OK || run(s, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&s->lock);
    s->ran = s->guest || s->postcopy;
    s->stats.times.running = dst_now_ms();
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    vms_timeline_event(s->timeline, (uint64_t)dst_now_ms() * 1000000u, VMS_EVENT_RUNNING,
                       VMS_NO_LANE, 0, NULL);
    if (s->postcopy)
        vms_timeline_event(s->timeline, (uint64_t)dst_now_ms() * 1000000u, VMS_EVENT_POSTCOPY,
                           VMS_NO_LANE, 0, NULL);
    dst_touch_start(s);
    return VMS_OK;
}

bool dst_guest_lost(const struct dst_session *s) {
    return s->guest && s->ran && s->error.code != VMS_OK;
}

/* ---- what the other end may believe ---- */

enum dst_source_belief dst_source_belief(const struct dst_session *s) {
    if (!s->ran && s->error.code)
        return DST_SOURCE_KEEPS;
    if (s->native)
        return DST_SOURCE_COMMITTED;
    if (s->postcopied)
        return DST_SOURCE_GAVE_UP;
    if (s->shut_sent)
        return DST_SOURCE_TOLD;
    return s->engine.return_path ? DST_SOURCE_MAY_RUN : DST_SOURCE_UNTOLD;
}

/* [DST-19] */
const char *dst_belief_text(enum dst_source_belief belief) {
    switch (belief) {
    case DST_SOURCE_KEEPS: return "nothing was started here; the guest is the source's";
    case DST_SOURCE_UNTOLD:
        return "the guest is here; the source cannot be told, see that it stays stopped";
    case DST_SOURCE_MAY_RUN:
        return "the guest is here, but the source could not be told: it may run it too, stop one";
    case DST_SOURCE_TOLD:
        return "the guest is here; the source was told. If it says failed, it did not hear it and "
               "may run the guest too: stop it there";
    case DST_SOURCE_COMMITTED: return "the guest is here; the source handed it over for good";
    case DST_SOURCE_GAVE_UP:
        return "the guest is here; the source gave it up with POSTCOPY_RUN and may not resume it";
    }
    return "";
}
