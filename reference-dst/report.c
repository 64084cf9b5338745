/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <jansson.h>

/* --report: one JSON object. Units: bytes, pages, milliseconds. */

static json_t *number(uint64_t n) {
    return json_integer((json_int_t)n);
}

static json_t *blocks(const struct dst_session *s) {
    json_t *all = json_object();
    for (size_t i = 0; i < vms_ram_image_count(s->image); i++) {
        const struct vms_ram_block *b = vms_ram_image_block(s->image, i);
        struct vms_ram_stats st = vms_ram_image_stats(s->image, i);
        json_t *o = json_object();
        json_object_set_new(o, "size", number(b->used_length));
        json_object_set_new(o, "normal", number(st.normal + st.multifd_normal + st.mapped));
        json_object_set_new(o, "zero", number(st.zero + st.multifd_zero));
        json_object_set_new(o, "xbzrle", number(st.xbzrle));
        json_object_set_new(o, "compressed", number(st.compressed));
        json_object_set_new(o, "multifd_normal", number(st.multifd_normal));
        json_object_set_new(o, "multifd_zero", number(st.multifd_zero));
        json_object_set_new(o, "duplicates", number(st.duplicates));
        json_object_set_new(all, b->name, o);
    }
    return all;
}

static json_t *sections(const struct dst_session *s) {
    json_t *all = json_array();
    for (size_t i = 0; i < s->stats.section_count; i++) {
        const struct dst_section *d = &s->stats.sections[i];
        json_t *o = json_object();
        json_object_set_new(o, "id", number(d->id));
        json_object_set_new(o, "idstr", json_string(d->idstr));
        json_object_set_new(o, "instance", number(d->instance));
        json_object_set_new(o, "version", number(d->version));
        json_object_set_new(o, "kind", json_string(vms_section_kind_name(d->kind)));
        json_object_set_new(o, "records", number(d->records));
        json_object_set_new(o, "bytes", number(d->bytes));
        if (d->kind == VMS_SECTION_VFIO)
            json_object_set_new(o, "init_data_sent", number(d->init_data_sent));
        json_array_append_new(all, o);
    }
    return all;
}

static json_t *channels(const struct dst_session *s) {
    json_t *all = json_array();
    for (size_t i = 0; i < s->channel_count; i++) {
        const struct dst_channel *c = s->channels[i];
        json_t *o = json_object();
        json_object_set_new(o, "number", number(c->number));
        json_object_set_new(o, "kind", json_string(vms_qevm_kind_name(c->kind)));
        json_object_set_new(o, "bytes", number(vms_channel_bytes_in(c->io)));
        json_object_set_new(o, "bytes_sent", number(vms_channel_bytes_out(c->io)));
        json_object_set_new(o, "tls", json_boolean(vms_channel_is_tls(c->io)));
        if (c->kind == VMS_QEVM_MULTIFD) {
            json_object_set_new(o, "id", number(c->id));
            json_object_set_new(o, "syncs", number(c->syncs));
        }
        json_array_append_new(all, o);
    }
    return all;
}

static uint64_t total_bytes(const struct dst_session *s) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->channel_count; i++)
        sum += vms_channel_bytes_in(s->channels[i]->io);
    return sum;
}

static json_t *commands(const struct dst_session *s) {
    json_t *all = json_object();
    for (unsigned i = 0; i < 16; i++)
        if (s->stats.commands[i] && vms_command_name(i))
            json_object_set_new(all, vms_command_name(i), number(s->stats.commands[i]));
    return all;
}

static json_t *replies(const struct dst_session *s) {
    json_t *all = json_object();
#define VMS_RP(name, value, length, since)                                                         \
    if (s->stats.replies[value])                                                                   \
        json_object_set_new(all, #name, number(s->stats.replies[value]));
#include <vmstream/registry/qevm_return_path.def>
#undef VMS_RP
    return all;
}

static void put_version(json_t *o, const char *key, vms_qemu_version v) {
    char text[16];
    if (!v)
        return;
    (void)snprintf(text, sizeof text, "%u.%u", v >> 8, v & 0xffu);
    json_object_set_new(o, key, json_string(text));
}

static json_t *dialect(const struct dst_session *s) {
    static const char *const tristate[] = {"auto", "off", "on"};
    json_t *o = json_object();
    const struct vms_dialect *d = s->main && s->main->pump
                                      ? vms_qevm_dialect(vms_pump_decoder(s->main->pump))
                                      : &s->options->dialect;
    put_version(o, "qemu", d->qemu);
    put_version(o, "machine", d->machine);
    json_object_set_new(o, "machine_type", json_string(s->stats.machine));
    json_object_set_new(o, "footers", json_string(tristate[d->footers]));
    json_object_set_new(o, "vmdesc", json_string(tristate[d->vmdesc]));
    json_object_set_new(o, "mapped_ram", json_string(tristate[d->mapped_ram]));
    json_object_set_new(o, "ignore_shared", json_string(tristate[d->ignore_shared]));
    json_object_set_new(o, "sync_mark",
                        json_string(s->engine.sync_by_eos ? "EOS" : "MULTIFD_FLUSH"));
    return o;
}

/* How long each phase took; a phase that did not come is left out. */
static void put_phase(json_t *o, const char *key, int64_t from, int64_t to) {
    if (from && to >= from)
        json_object_set_new(o, key, json_integer(to - from));
}

static json_t *timings(const struct dst_times *t) {
    json_t *o = json_object();
    put_phase(o, "total_ms", t->connected, t->finished);
    put_phase(o, "setup_ms", t->setup, t->precopy);
    put_phase(o, "precopy_ms", t->precopy, t->switchover);
    put_phase(o, "switchover_ms", t->switchover, t->loaded);
    put_phase(o, "drain_ms", t->loaded, t->finished);
    return o;
}

static json_t *error(const struct vms_error *e) {
    json_t *o = json_object();
    json_object_set_new(o, "class", json_string(vms_class_name(e->class_)));
    json_object_set_new(o, "code", json_string(vms_code_name(e->code)));
    json_object_set_new(o, "clause", json_string(e->clause ? e->clause : ""));
    json_object_set_new(o, "channel", number(e->channel));
    json_object_set_new(o, "offset", number(e->offset));
    json_object_set_new(o, "record", number(e->record));
    json_object_set_new(o, "message", json_string(e->message));
    return o;
}

int dst_report(struct dst_session *s) {
    json_t *o = json_object();
    json_object_set_new(o, "result", json_string(s->error.code ? "failed" : "completed"));
    json_object_set_new(o, "state", json_string(dst_state_name(s->engine.state)));
    if (s->error.code)
        json_object_set_new(o, "error", error(&s->error));
    json_object_set_new(o, "wire", json_string("qevm"));
    json_object_set_new(o, "dialect", dialect(s));
    json_object_set_new(o, "bytes", number(total_bytes(s)));
    json_object_set_new(o, "rounds", number(s->stats.rounds));
    json_object_set_new(o, "iterations", number(s->stats.iterations));
    json_object_set_new(o, "syncs", number(s->engine.syncs));
    json_object_set_new(o, "blocks", s->image ? blocks(s) : json_object());
    json_object_set_new(o, "sections", sections(s));
    json_object_set_new(o, "channels", channels(s));
    json_object_set_new(o, "commands", commands(s));
    json_object_set_new(o, "return_path", replies(s));
    json_object_set_new(o, "timings", timings(&s->stats.times));
    int rc = json_dump_file(o, s->options->report, JSON_INDENT(2));
    json_decref(o);
    return rc;
}
