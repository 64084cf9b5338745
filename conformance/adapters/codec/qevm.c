/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/codec/codec.h"
#include "conformance/qevm/trace.h"

#include <stdlib.h>
#include <string.h>
#include <vmstream/vmdesc.h>

/* A QEVM vector: any channel, in any dialect, with any limits. */

static void set_limits(struct vms_limits *limits, const json_t *set) {
#define VMS_LIMIT(name, value, unit, text)                                                         \
    if (json_object_get(set, #name))                                                               \
        limits->name = (uint64_t)cert_int(set, #name, 0);
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
}

static bool configure(const struct kit *k, struct vms_qevm_config *c, struct vms_vmdesc *desc) {
    struct vms_error err;
    const char *kind = cert_str(k->body, "kind"), *how = cert_str(k->body, "descriptions");
    *c = vms_qevm_config_default();
    if ((*kind && !kind_named(kind, &c->kind)) ||
        vms_dialect_parse(vms_str(cert_str(k->body, "dialect")), &c->dialect, &err) != VMS_OK)
        return false;
    c->limits.device_tail_bytes = 1 << 16; /* small, as the vectors expect */
    set_limits(&c->limits, json_object_get(k->body, "limits"));
    if (strcmp(cert_str(k->body, "tail"), "opaque") == 0)
        c->tail_mode = VMS_TAIL_OPAQUE;
    if (!*how || strcmp(how, "none") == 0)
        return true;
    c->vmdesc = vms_vmdesc_ops(desc);
    c->vmdesc_preloaded = strcmp(how, "given") == 0;
    return !c->vmdesc_preloaded ||
           c->vmdesc.load(c->vmdesc.ctx, vms_str(cert_str(k->body, "given")));
}

/* The names, out of the trace's lines. */
static void note_records(struct kit *k, const char *trace) {
    json_t *names = json_array();
    for (const char *line = trace; line && *line;) {
        char name[64];
        if (sscanf(line, "%*u @%*u #%*u %63s", name) == 1)
            (void)json_array_append_new(names, json_string(name));
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    (void)json_object_set_new(k->end, "records", names);
}

static struct vms_qevm_decoder *main_channel(const struct vms_qevm_config *c,
                                             struct codec_input *first) {
    const char *uri = getenv("VMS_URI_1");
    struct vms_qevm_config config = *c;
    if (!uri || !codec_read(uri, first))
        return NULL;
    config.kind = VMS_QEVM_MAIN;
    config.limits = vms_limits_default();
    config.limits.device_tail_bytes = 4096;
    return decoder_after(&config, vms_slice(first->bytes, first->len));
}

enum kit_exit codec_qevm(struct kit *k, const struct codec_input *in) {
    struct vms_vmdesc *desc = vms_vmdesc_new();
    struct vms_qevm_config c;
    struct codec_input first = {NULL, 0};
    struct run r = {0};
    if (!configure(k, &c, desc)) {
        vms_vmdesc_free(desc);
        kit_say(k, "no such channel or dialect");
        return KIT_UNSUPPORTED;
    }
    struct vms_qevm_decoder *before = main_channel(&c, &first);
    run_stream(&r, &c, before, vms_slice(in->bytes, in->len), (struct cut){.kind = CUT_WHOLE});
    if (r.trace.ptr)
        note_records(k, r.trace.ptr);
    bool same =
        vms_slice_eq(vms_slice(r.encoded.ptr, r.encoded.len), vms_slice(in->bytes, in->len));
    enum kit_exit e =
        r.broken ? codec_refused(k, "INTERNAL", "internal", "MOD-8", 0, r.broken)
        : r.end == VMS_STEP_ERROR
            ? codec_refused(k, vms_code_name(r.error.code), vms_class_name(r.error.class_),
                            r.error.clause, r.error.offset, r.error.message)
        : !same
            ? codec_refused(k, "INTERNAL", "internal", "MOD-2", 0, "encoding gives other octets")
            : kit_end(k, "accepted", "%llu records", (unsigned long long)r.records);
    run_free(&r);
    free(before);
    free(first.bytes);
    vms_vmdesc_free(desc);
    return e;
}
