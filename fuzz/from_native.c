/* SPDX-License-Identifier: MIT */
#include "native.h"
#include "qevm.h"
#include "zip.h"

#include <string.h>
#include <vmstream/transcode.h>

/*
 * What a hostile native peer makes of QEMU's wire: frames in any order, with any records, through
 * the half of a relay that writes QEVM.
 *   - octets are given in steps that tell their place rightly [TRC-15]
 *   - bulk is never more than its record announced
 *   - two cuts of the same frames give the same octets [MOD-4]
 * Input: 1 octet kind of channel and bit 7: page sizes of 64 KiB; 1 of cuts; then the frames, whose
 * checksums are put right.
 */
enum {
    STREAM_MAX = 1 << 16,
};

static uint8_t stream[STREAM_MAX], copy[STREAM_MAX];
static void *intake_mem, *from_mem;
static size_t intake_len, from_len;
static struct vms_zip_ops zip;

struct run {
    struct vms_from_native *from;
    struct vms_intake *intake;
    uint64_t hash, octets, owed;
    enum vms_code code;
};

static void on_frame(struct run *r, const struct vms_intake_event *in) {
    struct vms_from_native_event ev;
    enum vms_step s;
    if (!vms_from_native_takes(in->native.frame->header.type))
        return;
    ORACLE(vms_from_native_frame(r->from, in->native.frame, in->bulk) == VMS_OK, "frame");
    while ((s = vms_from_native_next(r->from, &ev)) == VMS_STEP_RECORD || s == VMS_STEP_BULK) {
        if (s == VMS_STEP_RECORD) {
            ORACLE(!r->owed || r->owed == VMS_BULK_UNKNOWN, "a record within bulk");
            r->owed = ev.record.bulk_len;
        }
        uint64_t n = ev.bulk.len + ev.zeros;
        ORACLE(n <= r->owed || ev.record.type == VMS_RECORD_NONE, "more bulk than was announced");
        if (r->owed != VMS_BULK_UNKNOWN && n <= r->owed)
            r->owed -= n;
        r->hash = fuzz_hash(r->hash, ev.head.ptr, ev.head.len);
        r->hash = fuzz_hash(r->hash, ev.bulk.ptr, ev.bulk.len);
        r->octets += ev.head.len + n;
        ORACLE(r->octets == vms_from_native_offset(r->from), "at %llu, and said %llu",
               (unsigned long long)r->octets, (unsigned long long)vms_from_native_offset(r->from));
    }
    if (s == VMS_STEP_ERROR)
        r->code = ev.error->code;
}

static void open_run(struct run *r, uint32_t kind) {
    static struct vms_native_plain_channel channels[4];
    static struct vms_native_plain_keys keys;
    struct vms_intake_config intake = {.native = vms_native_config_default(), .zip = zip};
    struct vms_from_native_config from = vms_from_native_config_default();
    static const enum vms_qevm_kind kinds[] = {
        VMS_QEVM_MAIN, VMS_QEVM_RETURN_PATH, VMS_QEVM_MULTIFD, VMS_QEVM_PREEMPT, VMS_QEVM_RECOVERY};
    from.kind = kinds[(kind & 127) % 5];
    from.dialect.page_bits = kind & 128 ? 16 : 0;
    from.limits = fuzz_limits();
    from.limits.native_frame_pages = 256;
    intake.native.limits.native_bulk_bytes = STREAM_MAX;
    memset(channels, 0, sizeof channels);
    keys = (struct vms_native_plain_keys){channels, 4, VMS_SOURCE_TO_DESTINATION,
                                          intake.native.limits};
    intake.native.any_channel = intake.native.end_optional = true;
    intake.native.keys = vms_native_plain_keys(&keys);
    if (!intake_mem) {
        intake.zip = zip = fuzz_zip(0, STREAM_MAX);
        intake_mem = fuzz_memory(intake_len = vms_intake_size(&intake));
        struct vms_from_native_config main_channel = from; /* the largest */
        main_channel.kind = VMS_QEVM_MAIN;
        from_mem = fuzz_memory(from_len = vms_from_native_size(&main_channel));
    }
    r->intake = vms_intake_init(intake_mem, intake_len, &intake);
    r->from = vms_from_native_init(from_mem, from_len, &from);
    ORACLE(r->intake && r->from, "memory");
}

static struct run run(size_t len, uint32_t kind, uint32_t seed) {
    struct run r = {.hash = FUZZ_HASH_BEGIN};
    struct fuzz_cuts cuts = {seed};
    struct vms_room rest = {copy, len};
    struct vms_intake_event in;
    open_run(&r, kind);
    memcpy(copy, stream, len);
    while (rest.len && !r.code) {
        struct vms_room piece = {rest.ptr, fuzz_cut(&cuts, rest.len)};
        rest.ptr += piece.len;
        rest.len -= piece.len;
        enum vms_native_step s;
        while (!r.code && (s = vms_intake_next(r.intake, &piece, &in)) == VMS_NATIVE_STEP_FRAME)
            on_frame(&r, &in);
        if (!r.code && s == VMS_NATIVE_STEP_ERROR)
            r.code = in.native.error->code;
    }
    if (!r.code) {
        struct vms_from_native_event ev;
        if (vms_from_native_finish(r.from, &ev) == VMS_STEP_ERROR)
            r.code = ev.error->code;
    }
    fuzz_saw(r.code);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size);
    uint32_t kind = fuzz_option(&in, 1), seed = fuzz_option(&in, 1);
    if (in.len > STREAM_MAX)
        return 0;
    if (in.len)
        memcpy(stream, in.ptr, in.len);
    fuzz_mend((struct vms_room){stream, in.len}, 4);
    struct run whole = run(in.len, kind, 0), cut = run(in.len, kind, seed | 0x10000);
    ORACLE(whole.code == cut.code && whole.hash == cut.hash && whole.octets == cut.octets,
           "%s after %llu octets, %s after %llu", vms_code_name(whole.code),
           (unsigned long long)whole.octets, vms_code_name(cut.code),
           (unsigned long long)cut.octets);
    return 0;
}
