/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <stdlib.h>

/* The main channel: each record goes to the engine, then to memory; actions are carried out. */

/* ---- statistics ---- */

static size_t section_of(struct dst_statistics *st, const struct vms_rec_section *rec) {
    for (size_t i = 0; i < st->section_count; i++)
        if (st->sections[i].id == rec->id)
            return i;
    if (st->section_count == DST_SECTIONS_MAX)
        return SIZE_MAX;
    struct dst_section *s = &st->sections[st->section_count];
    *s = (struct dst_section){.id = rec->id,
                              .instance = rec->instance,
                              .version = rec->version,
                              .kind = rec->kind,
                              .idstr = strndup((const char *)rec->idstr.ptr, rec->idstr.len)};
    return s->idstr ? st->section_count++ : SIZE_MAX;
}

static void count_page(struct dst_channel *c, const struct vms_record *r) {
    struct dst_statistics *st = &c->session->stats;
    uint64_t at = (uint64_t)r->u.page.block_index << 40 | r->u.page.offset >> 10;
    if (!st->rounds || at < c->last_page)
        st->rounds++;
    c->last_page = at;
}

static void count(struct dst_channel *c, const struct vms_record *r) {
    struct dst_statistics *st = &c->session->stats;
    switch (r->type) {
    case VMS_R_CONFIGURATION:
        memcpy(st->machine, r->u.config.machine.ptr, r->u.config.machine.len);
        break;
    case VMS_R_COMMAND: st->commands[r->u.command.command & 15]++; break;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL:
        c->section = section_of(st, &r->u.section);
        st->iterations += r->type == VMS_R_SECTION_PART && r->u.section.kind == VMS_SECTION_RAM;
        break;
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED: count_page(c, r); break;
    default: break;
    }
    if (c->section == SIZE_MAX)
        return;
    st->sections[c->section].records++;
    st->sections[c->section].init_data_sent += r->type == VMS_R_VFIO_INIT_DATA_SENT;
    if (r->bulk_len != VMS_BULK_UNKNOWN)
        st->sections[c->section].bytes += r->bulk_len;
    if (r->type == VMS_R_SECTION_FOOTER)
        c->section = SIZE_MAX;
}

static void keep_time(struct dst_session *s) {
    struct dst_times *t = &s->stats.times;
    int64_t now = dst_now_ms();
    if (s->engine.state == DST_SETUP && !t->setup)
        t->setup = now;
    if (s->engine.state == DST_PRECOPY && !t->precopy)
        t->precopy = now;
    if (s->engine.state == DST_SWITCHOVER && !t->switchover)
        t->switchover = now;
    if (s->engine.state == DST_LOADED && !t->loaded)
        t->loaded = now;
}

/* ---- actions ---- */

/* Carries out what the engine wants done. Lock not held. */
static enum vms_code act(struct dst_session *s, unsigned actions, uint32_t ping,
                         struct vms_error *err) {
    enum vms_code code = VMS_OK;
    if (actions & DST_DO_PONG)
        code = dst_reply(s, VMS_R_RP_PONG, ping, err);
    if (code == VMS_OK && actions & (DST_DO_SYNC | DST_DO_DRAIN) &&
        !dst_barrier_main(s, s->engine.syncs)) {
        *err = s->error;
        return s->error.code;
    }
    if (code == VMS_OK && actions & DST_DO_SHUT_GOOD && s->engine.return_path)
        code = dst_reply(s, VMS_R_RP_SHUT, 0, err);
    return code;
}

static uint32_t ping_value(const struct vms_record *r) {
    uint32_t v = 0;
    if (r->type == VMS_R_COMMAND && r->u.command.command == VMS_CMD_PING)
        for (size_t i = 0; i < 4; i++)
            v = v << 8 | r->u.command.payload.ptr[i];
    return v;
}

static enum vms_code engine_takes(struct dst_channel *c, const struct vms_record *r,
                                  struct vms_error *err) {
    struct dst_session *s = c->session;
    unsigned actions;
    pthread_mutex_lock(&s->lock);
    enum vms_code code = dst_engine_record(&s->engine, r, &actions, err);
    keep_time(s);
    pthread_mutex_unlock(&s->lock);
    return code == VMS_OK ? act(s, actions, ping_value(r), err) : code;
}

/* [CFG-8] */
static enum vms_code check_machine(struct dst_session *s, const struct vms_record *r,
                                   struct vms_error *err) {
    const char *want = s->options->machine;
    if (r->type != VMS_R_CONFIGURATION || !want || vms_slice_eq(r->u.config.machine, vms_str(want)))
        return VMS_OK;
    return vms_error_set(err, VMS_E_CONFIG_MACHINE, "%.*s, not %s", (int)r->u.config.machine.len,
                         (const char *)r->u.config.machine.ptr, want);
}

/* The first record behind the block list: from here on other channels may decode. */
static void announce_list(struct dst_session *s) {
    if (s->list_ready)
        return;
    pthread_mutex_lock(&s->lock);
    s->list_ready = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static enum vms_code follow_list(struct dst_channel *c, const struct vms_record *r,
                                 struct vms_error *err) {
    struct dst_session *s = c->session;
    if (r->type == VMS_R_RAM_MEM_SIZE)
        return vms_ram_image_page_size(s->image, vms_qevm_page_size(vms_pump_decoder(c->pump)),
                                       err);
    if (s->engine.ram_list && (r->type == VMS_R_RAM_MULTIFD_FLUSH || r->type == VMS_R_RAM_EOS))
        announce_list(s);
    return VMS_OK;
}

/* ---- the sink ---- */

static enum vms_code on_record(void *ctx, const struct vms_record *r, struct vms_answer *answer,
                               struct vms_error *err) {
    struct dst_channel *c = ctx;
    count(c, r);
    enum vms_code code = check_machine(c->session, r, err);
    if (code == VMS_OK)
        code = follow_list(c, r, err);
    if (code == VMS_OK)
        code = engine_takes(c, r, err);
    if (code != VMS_OK)
        return code;
    c->bulk_to_ram = vms_ram_channel_takes(r);
    if (c->bulk_to_ram)
        return vms_ram_channel_ops.record(c->ram, r, answer, err);
    answer->want = VMS_WANT_DISCARD;
    return VMS_OK;
}

static const struct vms_pump_sink_ops OPS = {on_record, dst_ram_bulk, dst_ram_direct, dst_ram_done};

static enum vms_code engine_event(struct dst_session *s, enum dst_event event,
                                  struct vms_error *err) {
    unsigned actions;
    pthread_mutex_lock(&s->lock);
    enum vms_code code = dst_engine_event(&s->engine, event, &actions, err);
    pthread_mutex_unlock(&s->lock);
    return code == VMS_OK ? act(s, actions, 0, err) : code;
}

static void complete(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    s->stats.times.finished = dst_now_ms();
    s->over = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void dst_main_channel(struct dst_channel *c) {
    struct dst_session *s = c->session;
    struct vms_pump_sink sink = {&OPS, c};
    struct vms_error err = {.channel = c->number};
    enum vms_code code = dst_channel_prepare(c, &sink, &err);
    if (code == VMS_OK && vms_pump_run(c->pump, &err) != VMS_PUMP_END)
        code = err.code;
    if (code == VMS_OK)
        code = engine_event(s, DST_EV_MAIN_END, &err);
    if (code == VMS_OK)
        code = engine_event(s, DST_EV_CHANNELS_DONE, &err);
    if (code == VMS_OK)
        complete(s);
    else
        (void)dst_session_fail(s, &err);
}
