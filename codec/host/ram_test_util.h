/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_RAM_TEST_UTIL_H
#define VMSTREAM_HOST_RAM_TEST_UTIL_H

#include "host/ram_image.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* For tests: an image with one channel, and records given to it as a pump would. */

enum {
    PAGE = 4096,
};

struct ram_fixture {
    struct vms_ram_image *image;
    struct vms_ram_channel *channel;
    struct vms_error err;
    size_t piece; /* bytes of a piece of bulk */
};

static inline void ram_open(struct ram_fixture *f, const struct vms_ram_image_config *config) {
    *f = (struct ram_fixture){.piece = 1000};
    f->image = vms_ram_image_new(config, &f->err);
    cr_assert_not_null(f->image, "%s", f->err.message);
    f->channel = vms_ram_channel_new(f->image, 0, &f->err);
    cr_assert_not_null(f->channel);
}

static inline void ram_close(struct ram_fixture *f) {
    vms_ram_channel_free(f->channel);
    vms_ram_image_free(f->image);
}

static inline enum vms_code ram_give_direct(struct vms_pump_sink sink,
                                            const struct vms_record *record, struct vms_slice bulk,
                                            struct vms_error *err) {
    for (size_t at = 0; at < bulk.len;) {
        struct vms_room room = {0};
        if (sink.ops->direct(sink.ctx, record, at, &room, err) != VMS_OK)
            return err->code;
        cr_assert_gt(room.len, 0);
        struct vms_slice part = vms_slice_head(vms_slice_tail(bulk, at), room.len);
        if (room.ptr)
            memcpy(room.ptr, part.ptr, part.len);
        at += part.len;
    }
    return VMS_OK;
}

static inline enum vms_code ram_give_pieces(struct vms_pump_sink sink,
                                            const struct vms_record *record, struct vms_slice bulk,
                                            size_t piece, struct vms_error *err) {
    for (size_t at = 0; at < bulk.len; at += piece) {
        struct vms_event event = {.record = *record,
                                  .bulk = vms_slice_head(vms_slice_tail(bulk, at), piece),
                                  .bulk_offset = at};
        if (sink.ops->bulk(sink.ctx, &event, err) != VMS_OK)
            return err->code;
    }
    return VMS_OK;
}

static inline enum vms_code ram_give_to(struct vms_ram_channel *channel, struct vms_record record,
                                        struct vms_slice bulk, size_t piece,
                                        struct vms_error *err) {
    struct vms_pump_sink sink = vms_ram_channel_sink(channel);
    struct vms_answer answer = {0};
    if (!record.bulk_len)
        record.bulk_len = bulk.len;
    if (sink.ops->record(sink.ctx, &record, &answer, err) != VMS_OK)
        return err->code;
    enum vms_code code = VMS_OK;
    if (answer.want == VMS_WANT_DIRECT)
        code = ram_give_direct(sink, &record, bulk, err);
    else if (answer.want == VMS_WANT_PIECES)
        code = ram_give_pieces(sink, &record, bulk, piece, err);
    return code == VMS_OK && bulk.len ? sink.ops->done(sink.ctx, err) : code;
}

static inline enum vms_code ram_give(struct ram_fixture *f, struct vms_record record,
                                     struct vms_slice bulk) {
    return ram_give_to(f->channel, record, bulk, f->piece, &f->err);
}

static inline struct vms_record ram_block(const char *name, uint64_t bytes) {
    return (struct vms_record){.type = VMS_R_RAM_BLOCK,
                               .u.block = {.name = vms_str(name), .used_length = bytes}};
}

static inline struct vms_record ram_page(enum vms_record_type type, const char *block,
                                         uint64_t offset) {
    return (struct vms_record){.type = type, .u.page = {.block = vms_str(block), .offset = offset}};
}

static inline void ram_add(struct ram_fixture *f, const char *name, uint64_t bytes) {
    cr_assert_eq(ram_give(f, ram_block(name, bytes), vms_slice(NULL, 0)), VMS_OK, "%s",
                 f->err.message);
}

/* A page whose bytes tell its seed. */
static inline void ram_pattern(uint8_t *page, unsigned seed) {
    for (unsigned i = 0; i < PAGE; i++)
        page[i] = (uint8_t)(i * 31 + seed * 17 + (i >> 8) * seed);
}

#define EXPECT(call, want)                                                                         \
    do {                                                                                           \
        enum vms_code got_ = (call);                                                               \
        cr_assert_eq(got_, (want), "%s: %s", vms_code_name(got_), f.err.message);                  \
    } while (0)

#endif
