/* SPDX-License-Identifier: MIT */
#include "native/native_test_util.h"
#include <criterion/criterion.h>

/*
 * [NAT-35], [MOD-10] Nothing is allocated after construction, by hostile bytes least of all. Every
 * allocation of this program is counted, those of libcbor too; under ASan, which brings an
 * allocator of its own, the tests run without counting.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NO_COUNT
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define NO_COUNT
#endif

static size_t allocations;

#ifndef NO_COUNT
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t n);

void *malloc(size_t n) {
    allocations++;
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    allocations++;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    allocations++;
    return __libc_realloc(p, n);
}
#endif

/* A stream whose frame has these octets as its body. */
static size_t stream_with(uint8_t *out, const uint8_t *body, size_t len, uint32_t type) {
    struct sender s;
    sender_open(&s, 0);
    send_hello(&s);
    struct vms_native_frame f = {.header.type = VMS_NATIVE_PING};
    (void)send_frame(&s, &f, vms_slice(NULL, 0));
    memcpy(out, s.ptr, s.len);
    size_t at = s.len - 4 - 1 - 32; /* of the PING, whose body is one octet */
    out[at + 4] = (uint8_t)(type >> 24), out[at + 7] = (uint8_t)type;
    out[at + 26] = (uint8_t)(len >> 8), out[at + 27] = (uint8_t)len;
    memcpy(out + at + 32, body, len);
    uint32_t crc = vms_crc32c(0, out + at, 32 + len);
    for (int i = 0; i < 4; i++)
        out[at + 32 + len + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    sender_close(&s);
    return at + 32 + len + 4;
}

/* The worst that five or nine octets can promise: cbor_load() would try to get it. */
Test(native_alloc, hostile_counts) {
    static const uint8_t bodies[][9] = {
        {0xba, 0xff, 0xff, 0xff, 0xff},
        {0x9a, 0xff, 0xff, 0xff, 0xff},
        {0x5a, 0xff, 0xff, 0xff, 0xff},
        {0x7a, 0xff, 0xff, 0xff, 0xff},
        {0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0x9b, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0xa1, 0x17, 0x9a, 0xff, 0xff, 0xff, 0xff},
        {0xa1, 0x18, 0x22, 0x9a, 0xff, 0xff, 0xff, 0xff},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (size_t len = 5; len <= 9; len++) {
            static const uint32_t types[] = {VMS_NATIVE_PING, VMS_NATIVE_ACK, VMS_NATIVE_RECORDS,
                                             0x80000063};
            for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
                uint8_t stream[512];
                struct reader r;
                struct vms_native_event ev;
                size_t n = stream_with(stream, bodies[i], len, types[t]);
                reader_open(&r);
                struct vms_room in = {stream, n};
                size_t before = allocations;
                enum vms_native_step step;
                do
                    step = vms_native_decode(r.decoder, &in, &ev);
                while (step == VMS_NATIVE_STEP_HEAD || step == VMS_NATIVE_STEP_FRAME);
                size_t after = allocations;
                cr_assert_eq(step, VMS_NATIVE_STEP_ERROR, "%zu, %zu octets", i, len);
                cr_assert_eq(after, before);
                reader_close(&r);
            }
        }
}

/* A whole stream, encoded and decoded, allocates nothing in between. */
Test(native_alloc, good_stream) {
    static uint8_t room[80000], page[4096];
    struct vms_native_run run = {0, 1, false};
    struct sender s;
    struct reader r;
    sender_open(&s, 0);
    send_hello(&s);
    reader_open(&r);
    struct vms_native_event ev;
    struct vms_room in = {s.ptr, s.len};
    while (vms_native_decode(r.decoder, &in, &ev) != VMS_NATIVE_STEP_NEED) {
    }
    size_t before = allocations;
    for (int i = 0; i < 1000; i++) {
        struct vms_native_frame f = {.header.type = VMS_NATIVE_PAGES};
        struct vms_slice bulk = vms_slice(page, sizeof page);
        struct vms_native_gather g;
        size_t len;
        f.u.pages.page_bits = 12;
        f.u.pages.runs = &run;
        f.u.pages.run_count = 1;
        cr_assert_eq(vms_native_encode(&s.encoder, &f, &bulk, 1,
                                       (struct vms_room){room, sizeof room}, &g, &len),
                     VMS_OK);
        struct vms_room parts[] = {
            {room, g.head.len}, {page, sizeof page}, {room + g.head.len, g.tail.len}};
        for (size_t p = 0; p < 3; p++)
            while (vms_native_decode(r.decoder, &parts[p], &ev) != VMS_NATIVE_STEP_NEED)
                if (ev.error)
                    abort();
    }
    cr_assert_eq(allocations, before);
    reader_close(&r);
    sender_close(&s);
}
