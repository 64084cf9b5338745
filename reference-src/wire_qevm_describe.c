/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

#include <jansson.h>

/* The VM description, by which a reader finds the ends of FULL sections (chapter TAIL). */

/* A section of one field, which is all of it. */
static json_t *describe_section(struct vms_slice idstr, uint32_t instance, size_t len) {
    return json_pack("{s:s%, s:I, s:s%, s:i, s:[{s:s, s:s, s:I}]}", "name", idstr.ptr, idstr.len,
                     "instance_id", (json_int_t)instance, "vmsd_name", idstr.ptr, idstr.len,
                     "version", 1, "fields", "name", "data", "type", "buffer", "size",
                     (json_int_t)len);
}

/* Into the list of devices, in front, as they stand in the stream. */
static void describe_configs(const struct qevm *q, json_t *devices) {
    size_t at = 0;
    for (const struct qevm_config_state *c = q->configs; c; c = c->next) {
        size_t tags = qevm_states_on(q) ? 8 : 8 + 8;
        json_array_insert_new(
            devices, at++, describe_section(c->section.idstr, c->section.instance, tags + c->len));
    }
}

/* The recorded one describes the recorded sections; those of our own devices are added. NULL: it is
 * no description. */
static char *describe_recorded(const struct qevm *q) {
    struct vms_slice old = q->options.recorded->vmdesc;
    json_t *all = json_loadb((const char *)old.ptr, old.len, 0, NULL);
    json_t *devices = json_object_get(all, "devices");
    if (devices)
        describe_configs(q, devices);
    char *text = devices ? json_dumps(all, 0) : NULL;
    json_decref(all);
    return text;
}

/* [END-7] A description from which the length of every FULL section follows (TAIL-3). */
static char *describe(const struct qevm *q) {
    json_t *devices = json_array();
    describe_configs(q, devices);
    if (q->guest_len)
        json_array_append_new(devices,
                              describe_section(vms_str(QEVM_GUEST_IDSTR), 0, 4 + q->guest_len));
    json_t *all = json_pack("{s:{s:s}, s:i, s:o}", "configuration", "vmsd_name", "configuration",
                            "page_size", (int)q->page_size, "devices", devices);
    char *text = all ? json_dumps(all, 0) : NULL;
    json_decref(all);
    return text;
}

char *qevm_describe(const struct qevm *q) {
    return q->options.recorded ? describe_recorded(q) : describe(q);
}
