/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What came, for the report. Sections and rounds are the main channel's, one thread at a time. */

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
    if (!atomic_load_explicit(&st->rounds, memory_order_relaxed) || at < c->last_page)
        atomic_fetch_add_explicit(&st->rounds, 1, memory_order_relaxed);
    c->last_page = at;
}

void dst_count(struct dst_channel *c, const struct vms_record *r) {
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

static void once(int64_t *time, bool now_it_is) {
    if (now_it_is && !*time)
        *time = dst_now_ms();
}

void dst_keep_time(struct dst_session *s) {
    struct dst_times *t = &s->stats.times;
    enum dst_state state = s->engine.state;
    once(&t->setup, state == DST_SETUP);
    once(&t->precopy, state == DST_PRECOPY);
    once(&t->switchover, state == DST_SWITCHOVER || state == DST_PACKAGE);
    once(&t->loaded, state == DST_LOADED || state == DST_FILLING || state == DST_ARRIVED);
    vms_timeline_phase(s->timeline, (uint64_t)dst_now_ms() * 1000000u, dst_state_name(state));
}

void dst_say(const struct dst_session *s, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    vms_timeline_event(s->timeline, (uint64_t)dst_now_ms() * 1000000u, VMS_EVENT_NOTE, VMS_NO_LANE,
                       0, text);
    if (s->display)
        vms_display_note(s->display, text);
    else if (!s->options->quiet)
        (void)fprintf(stderr, "reference-dst: %s\n", text);
}
