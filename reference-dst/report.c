/* SPDX-License-Identifier: MIT */
#include "host/journal.h"
#include "host/report_json.h"
#include "reference-dst/session.h"
#include "reference-src/vm/vm.h"

#include <jansson.h>

/* --report (chapter REP): what only this end knows, beside the timeline. */

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
    uint64_t sum = s->stats.past_bytes + s->native_result.bytes_in;
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
    const struct vms_dialect *d = s->first && s->first->pump
                                      ? vms_qevm_dialect(vms_pump_decoder(s->first->pump))
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
    put_phase(o, "postcopy_ms", t->running, t->finished);
    return o;
}

/* ---- postcopy ---- */

static json_t *latency(const struct vms_histogram *h) {
    json_t *o = json_object(), *buckets = json_array();
    json_object_set_new(o, "count", number(h->count));
    json_object_set_new(o, "mean", number((uint64_t)vms_histogram_mean(h)));
    json_object_set_new(o, "p50", number(vms_histogram_quantile(h, 0.5)));
    json_object_set_new(o, "p99", number(vms_histogram_quantile(h, 0.99)));
    json_object_set_new(o, "max", number(h->max));
    for (size_t i = 0; i < VMS_HISTOGRAM_BUCKETS; i++)
        if (h->buckets[i])
            json_array_append_new(buckets, json_pack("[I,I]", (json_int_t)vms_histogram_high(i),
                                                     (json_int_t)h->buckets[i]));
    json_object_set_new(o, "buckets", buckets);
    return o;
}

static json_t *postcopy(const struct dst_session *s) {
    const struct dst_postcopy_stats *st = &s->stats.postcopy;
    json_t *o = json_object();
    json_object_set_new(o, "faults", number(st->faults));
    json_object_set_new(o, "requests", number(st->requests));
    json_object_set_new(o, "repeated", number(st->repeated));
    json_object_set_new(o, "local", number(st->local));
    json_object_set_new(o, "awaited", number(st->awaited));
    json_object_set_new(o, "placed", number(st->placed));
    json_object_set_new(o, "zero", number(st->zero));
    json_object_set_new(o, "inversions", number(st->inversions));
    json_object_set_new(o, "missing", number(s->stats.missing));
    json_object_set_new(o, "cuts", number(s->stats.cuts));
    json_object_set_new(o, "recoveries", number(s->stats.recoveries));
    json_object_set_new(o, "latency_ns", latency(&st->latency));
    return o;
}

/* ---- who runs ---- */

static const char *belief_name(enum dst_source_belief belief) {
    static const char *const names[] = {
        [DST_SOURCE_KEEPS] = "keeps its guest", [DST_SOURCE_UNTOLD] = "cannot be told",
        [DST_SOURCE_MAY_RUN] = "may run",       [DST_SOURCE_TOLD] = "was told",
        [DST_SOURCE_GAVE_UP] = "gave it up",    [DST_SOURCE_COMMITTED] = "committed",
    };
    return names[belief];
}

/* [DST-19] */
static json_t *hand_over(const struct dst_session *s) {
    enum dst_source_belief belief = dst_source_belief(s);
    bool here = s->ran && !s->error.code;
    json_t *o = json_object();
    json_object_set_new(o, "guest",
                        json_string(here     ? "here"
                                    : s->ran ? "lost"
                                             : "not started here"));
    json_object_set_new(o, "source", json_string(belief_name(belief)));
    json_object_set_new(o, "shut_sent", json_boolean(s->shut_sent));
    json_object_set_new(o, "text", json_string(dst_belief_text(belief)));
    return o;
}

static json_t *checked(const struct vms_vm_report *r) {
    json_t *o = json_object();
    json_object_set_new(o, "good", json_boolean(vms_vm_report_good(r)));
    json_object_set_new(o, "pages", number(r->pages));
    json_object_set_new(o, "torn", number(r->torn));
    json_object_set_new(o, "wrong", number(r->wrong));
    json_object_set_new(o, "stale", number(r->stale));
    json_object_set_new(o, "heartbeats", number(r->heartbeats));
    json_object_set_new(o, "met", number(r->met));
    json_object_set_new(o, "twice", number(r->twice));
    json_object_set_new(o, "first", json_string(r->first));
    return o;
}

static void put_ends(const struct dst_session *s, const struct vms_vm_report *check, json_t *o) {
    if (s->postcopied)
        json_object_set_new(o, "postcopy", postcopy(s));
    json_object_set_new(o, "hand_over", hand_over(s));
    if (check)
        json_object_set_new(o, "check", checked(check));
}

/* Of each vDPA device: its maps. */
static json_t *vdpa(const struct dst_session *s) {
    json_t *all = json_array();
    for (size_t i = 0; i < dst_vdpa_count(s->vdpa); i++) {
        struct dst_vdpa_figures f = dst_vdpa_figures(s->vdpa, i);
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(f.name));
        json_object_set_new(o, "idstr", json_string(f.idstr));
        json_object_set_new(o, "runs", json_boolean(f.runs));
        json_object_set_new(o, "state_bytes", number(f.bytes));
        json_object_set_new(o, "last_state_bytes", number(f.last_bytes));
        json_object_set_new(o, "prepared", number(f.prepared));
        json_object_set_new(o, "prepare_us", number(f.prepare_ns / 1000));
        json_object_set_new(o, "mapped", number(f.maps.mapped));
        json_object_set_new(o, "maps", number(f.maps.maps));
        json_object_set_new(o, "layouts", number(f.maps.generation));
        json_object_set_new(o, "map_us", number(f.maps.busy_ns / 1000));
        json_object_set_new(o, "failed", json_boolean(f.maps.failed));
        json_array_append_new(all, o);
    }
    return all;
}

static json_t *native(const struct dst_session *s) {
    static const char *const verdicts[] = {"not made", "equal", "different"};
    const struct dst_native_result *r = &s->native_result;
    char session[33];
    json_t *o = json_object();
    vms_session_text(r->session, session);
    json_object_set_new(o, "session", json_string(session));
    json_object_set_new(o, "state", json_string(dst_native_state_name(r->state)));
    json_object_set_new(o, "pages", number(r->pages));
    json_object_set_new(o, "zeros", number(r->zeros));
    json_object_set_new(o, "deltas", number(r->deltas));
    json_object_set_new(o, "discarded", number(r->discarded));
    json_object_set_new(o, "digest", json_string(verdicts[r->verdict % 3]));
    json_object_set_new(o, "pages_different", number(r->pages_different));
    json_object_set_new(o, "digest_us", json_integer(r->verdict_us));
    json_object_set_new(o, "requests", number(r->requests));
    json_object_set_new(o, "bytes", number(r->bytes_in));
    json_object_set_new(o, "cuts", number(r->cuts));
    json_object_set_new(o, "resumes", number(r->resumes));
    return o;
}

/* [REP-3] What the timeline says of downtime is kept. */
static void put_timings(const struct dst_session *s, json_t *o) {
    json_t *more = timings(&s->stats.times), *t = json_object_get(o, "timings");
    if (t)
        (void)json_object_update(t, more);
    else
        json_object_set(o, "timings", more);
    json_decref(more);
}

/* What stood in QEMU's stream. */
static void put_qevm(const struct dst_session *s, json_t *o) {
    json_object_set_new(o, "wire", json_string("qevm"));
    json_object_set_new(o, "state", json_string(dst_state_name(s->engine.state)));
    json_object_set_new(o, "dialect", dialect(s));
    json_object_set_new(o, "rounds", number(s->stats.rounds));
    json_object_set_new(o, "iterations", number(s->stats.iterations));
    json_object_set_new(o, "syncs", number(s->engine.syncs));
    json_object_set_new(o, "sections", sections(s));
    json_object_set_new(o, "channels", channels(s));
    json_object_set_new(o, "commands", commands(s));
    json_object_set_new(o, "return_path", replies(s));
}

static void put_native(const struct dst_session *s, json_t *o) {
    const struct dst_native_result *r = &s->native_result;
    json_object_set_new(o, "wire", json_string("native"));
    json_object_set_new(o, "state", json_string(dst_native_state_name(r->state)));
    json_object_set_new(o, "pages", number(r->pages));
    json_object_set_new(o, "zero_pages", number(r->zeros));
    json_object_set_new(o, "native", native(s));
    json_object_set(o, "session", json_object_get(json_object_get(o, "native"), "session"));
}

int dst_report(struct dst_session *s, const struct vms_vm_report *check) {
    struct vms_error err;
    json_t *o = vms_report_new(s->timeline, "reference-dst");
    json_object_set_new(o, "result", json_string(s->error.code ? "failed" : "completed"));
    if (s->error.code)
        json_object_set_new(o, "error", vms_report_error(&s->error));
    if (s->native)
        put_native(s, o);
    else
        put_qevm(s, o);
    json_object_set_new(o, "bytes", number(total_bytes(s)));
    json_object_set_new(o, "blocks", s->image ? blocks(s) : json_object());
    put_timings(s, o);
    if (s->vdpa)
        json_object_set_new(o, "vdpa", vdpa(s));
    put_ends(s, check, o);
    enum vms_code code = vms_report_write(s->options->report, o, &err);
    json_decref(o);
    return code == VMS_OK ? 0 : -1;
}
