/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/streams.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/*
 * [MOD-6] For every record of every made stream: each room that is too small gives SPACE with the
 * exact need, changes neither the encoder nor what lies behind the room, and exactly that room is
 * enough.
 */

enum {
    GUARD = 0xee,
};

static void check_short(const struct vms_qevm_encoder *e, const struct vms_record *rec, size_t need,
                        size_t room, uint8_t *out) {
    struct vms_qevm_encoder copy = *e;
    size_t len = 0;
    memset(out, GUARD, need + 1);
    cr_assert_eq(vms_qevm_encode(&copy, rec, (struct vms_room){out, room}, &len), VMS_E_SPACE,
                 "%s in %zu octets", vms_record_name(rec->type), room);
    cr_assert_eq(len, need, "%s in %zu octets", vms_record_name(rec->type), room);
    cr_assert_eq(memcmp(&copy, e, sizeof copy), 0, "%s changed it", vms_record_name(rec->type));
    for (size_t i = room; i <= need; i++)
        cr_assert_eq(out[i], GUARD, "%s wrote behind its room", vms_record_name(rec->type));
}

static void check_record(struct vms_qevm_encoder *e, const struct vms_record *rec, bool *seen) {
    static uint8_t out[1 << 17];
    struct vms_qevm_encoder probe = *e;
    size_t need, len;
    cr_assert_eq(vms_qevm_encode(&probe, rec, (struct vms_room){out, sizeof out}, &need), VMS_OK);
    for (size_t room = 0; room < need; room++)
        check_short(e, rec, need, room, out);
    memset(out, GUARD, need + 1);
    cr_assert_eq(vms_qevm_encode(e, rec, (struct vms_room){out, need}, &len), VMS_OK);
    cr_assert(len == need && out[need] == GUARD);
    cr_assert(vms_qevm_encode_bulk(e, rec->bulk_len == VMS_BULK_UNKNOWN ? 0 : rec->bulk_len) ==
              VMS_OK);
    seen[rec->type] = true;
}

static void check_stream(enum stream_id id, bool *seen) {
    struct vb *v = stream_make(id);
    struct vms_qevm_config c = stream_config(v);
    struct vms_qevm_decoder *main_channel = stream_main(v);
    struct vms_slice octets = stream_octets(v);
    struct vms_qevm_decoder *d = decoder_after(&c, vms_slice(NULL, 0));
    struct vms_qevm_encoder e;
    struct vms_event ev;
    enum vms_step step;
    if (main_channel)
        vms_qevm_adopt(d, main_channel);
    vms_qevm_encoder_init(&e, 0, vms_qevm_dialect(d));
    do {
        step = vms_qevm_decode(d, &octets, &ev);
        if (step == VMS_STEP_NEED)
            step = vms_qevm_finish(d, &ev);
        if (step == VMS_STEP_RECORD)
            check_record(&e, &ev.record, seen);
    } while (step == VMS_STEP_RECORD || step == VMS_STEP_BULK);
    cr_assert_eq(step, VMS_STEP_END, "%s", v->comment);
    free(d);
    free(main_channel);
    vb_free(v);
}

Test(qevm_encoder, room_of_every_record) {
    bool seen[VMS_RECORD_TYPE_COUNT] = {false};
    for (int id = 0; id < STREAM_RICH; id++)
        check_stream((enum stream_id)id, seen);
    check_stream(STREAM_RICH, seen);
    for (int type = 1; type < VMS_RECORD_TYPE_COUNT; type++)
        cr_expect(seen[type], "no stream holds %s", vms_record_name((enum vms_record_type)type));
}
