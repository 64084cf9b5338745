/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_STREAM_TEST_UTIL_H
#define VMSTREAM_HOST_STREAM_TEST_UTIL_H

#include "host/pump.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* For tests: streams made with the encoder, and a source over memory that cuts them anywhere. */

struct test_stream {
    struct vms_qevm_encoder encoder;
    uint8_t *bytes;
    size_t len, cap;
};

static inline void test_stream_init(struct test_stream *s) {
    struct vms_dialect dialect = {0};
    *s = (struct test_stream){.cap = 8 << 20};
    s->bytes = malloc(s->cap);
    cr_assert_not_null(s->bytes);
    vms_qevm_encoder_init(&s->encoder, 0, &dialect);
}

/* A record and its bulk; bulk_len is set from bulk. */
static inline void test_stream_add(struct test_stream *s, struct vms_record record,
                                   struct vms_slice bulk) {
    size_t len = 0;
    record.bulk_len = bulk.len;
    struct vms_room room = {s->bytes + s->len, s->cap - s->len};
    cr_assert_eq(vms_qevm_encode(&s->encoder, &record, room, &len), VMS_OK);
    s->len += len;
    cr_assert_eq(vms_qevm_encode_bulk(&s->encoder, bulk.len), VMS_OK);
    cr_assert_leq(bulk.len, s->cap - s->len);
    if (bulk.len)
        memcpy(s->bytes + s->len, bulk.ptr, bulk.len);
    s->len += bulk.len;
}

static inline void test_stream_add_plain(struct test_stream *s, struct vms_record record) {
    test_stream_add(s, record, vms_slice(NULL, 0));
}

static inline struct vms_record test_section(enum vms_record_type type, uint32_t id) {
    return (struct vms_record){
        .type = type,
        .u.section = {.id = id, .version = 4, .kind = VMS_SECTION_RAM, .idstr = vms_str("ram")}};
}

static inline struct vms_record test_page(enum vms_record_type type, const char *block,
                                          uint64_t offset) {
    return (struct vms_record){.type = type, .u.page = {.block = vms_str(block), .offset = offset}};
}

/* Header, configuration, RAM START with one block, up to and without its EOS. */
static inline void test_stream_begin(struct test_stream *s, const char *block, uint64_t bytes) {
    test_stream_add_plain(s, (struct vms_record){.type = VMS_R_HEADER, .u.version = 3});
    test_stream_add_plain(s, (struct vms_record){.type = VMS_R_CONFIGURATION,
                                                 .u.config.machine = vms_str("pc-i440fx-11.1")});
    test_stream_add_plain(s, test_section(VMS_R_SECTION_START, 2));
    test_stream_add_plain(s, (struct vms_record){.type = VMS_R_RAM_MEM_SIZE, .u.ram_total = bytes});
    test_stream_add_plain(
        s, (struct vms_record){.type = VMS_R_RAM_BLOCK,
                               .u.block = {.name = vms_str(block), .used_length = bytes}});
}

/* RAM EOS, footer, and the end of the stream. */
static inline void test_stream_finish(struct test_stream *s) {
    test_stream_add_plain(s, (struct vms_record){.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS});
    test_stream_add_plain(s, (struct vms_record){.type = VMS_R_SECTION_FOOTER, .u.section.id = 2});
    test_stream_add_plain(s, (struct vms_record){.type = VMS_R_EOF});
    test_stream_add(s, (struct vms_record){.type = VMS_R_VMDESCRIPTION},
                    vms_str("{\"devices\":[]}"));
}

struct test_source {
    struct vms_slice left;
    size_t chunk; /* most bytes a read gives */
    bool seekable;
    unsigned again; /* every so many calls there is nothing; 0: never */
    unsigned calls;
    uint64_t read; /* bytes that were read, not skipped */
    uint64_t skipped;
};

static inline enum vms_source_status test_source_read(void *ctx, const struct vms_room *rooms,
                                                      size_t count, size_t *got,
                                                      struct vms_error *err) {
    struct test_source *s = ctx;
    (void)err;
    *got = 0;
    if (s->again && ++s->calls % s->again == 0)
        return VMS_SOURCE_AGAIN;
    if (s->left.len == 0)
        return VMS_SOURCE_END;
    for (size_t i = 0; i < count && *got < s->chunk; i++) {
        size_t room = rooms[i].len < s->chunk - *got ? rooms[i].len : s->chunk - *got;
        struct vms_slice head = vms_slice_head(s->left, room);
        if (head.len)
            memcpy(rooms[i].ptr, head.ptr, head.len);
        s->left = vms_slice_tail(s->left, head.len);
        *got += head.len;
    }
    s->read += *got;
    return VMS_SOURCE_DATA;
}

static inline enum vms_source_status test_source_skip(void *ctx, uint64_t n, uint64_t *got,
                                                      struct vms_error *err) {
    struct test_source *s = ctx;
    (void)err;
    *got = 0;
    if (!s->seekable)
        return VMS_SOURCE_DATA;
    if (s->left.len == 0)
        return VMS_SOURCE_END;
    *got = n < s->left.len ? n : s->left.len;
    s->left = vms_slice_tail(s->left, (size_t)*got);
    s->skipped += *got;
    return VMS_SOURCE_DATA;
}

static bool test_source_quiet(void *ctx, int ms) {
    (void)ctx, (void)ms;
    return false;
}

static const struct vms_source_ops test_source_ops = {test_source_read, test_source_skip,
                                                      test_source_quiet};

static inline struct vms_source test_source(struct test_source *s, struct vms_slice bytes,
                                            size_t chunk) {
    *s = (struct test_source){.left = bytes, .chunk = chunk};
    return (struct vms_source){&test_source_ops, s, bytes.len};
}

/* Runs a pump to its end, whatever the source says in between. */
static inline enum vms_pump_status test_pump_run(struct vms_pump *pump, struct vms_error *err) {
    enum vms_pump_status status;
    do
        status = vms_pump_run(pump, err);
    while (status == VMS_PUMP_AGAIN || status == VMS_PUMP_PAUSED);
    return status;
}

#endif
