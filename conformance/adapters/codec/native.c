/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/codec/codec.h"
#include "native/native_test_util.h"

/* A native vector: frames and mux, without a secret. */

static void on_frame(void *ctx, enum vms_native_step step, const struct vms_native_event *ev) {
    if (step == VMS_NATIVE_STEP_FRAME)
        (void)json_array_append_new(ctx, json_string(vms_native_type_name(ev->frame->header.type)));
}

enum kit_exit codec_native(struct kit *k, const struct codec_input *in) {
    struct reader reader;
    struct vms_error err;
    json_t *frames = json_array();
    reader_open(&reader);
    enum vms_native_step last = feed(&reader, vms_slice(in->bytes, in->len),
                                     (struct cut){.piece = 1 << 16}, on_frame, frames, &err);
    (void)json_object_set_new(k->end, "records", frames);
    size_t n = json_array_size(frames);
    reader_close(&reader);
    if (last == VMS_NATIVE_STEP_ERROR)
        return codec_refused(k, vms_code_name(err.code), vms_class_name(err.class_), err.clause,
                             err.offset, err.message);
    return kit_end(k, "accepted", "%zu frames", n);
}
