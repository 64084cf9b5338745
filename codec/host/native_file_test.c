/* SPDX-License-Identifier: MIT */
#include "host/native_file.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Files in memory: a main, two multifd channels and a return path, with a few records each. */

enum {
    CHANNELS = 4,
    ROUNDS = 40,
};

static const char KEYS[] = "# of a test\nvm-a:000102030405060708090a0b0c0d0e0f1011121314151617\n"
                           "vm-b:ffeeddccbbaa99887766554433221100\n";

static const enum vms_qevm_kind KINDS[CHANNELS] = {VMS_QEVM_MAIN, VMS_QEVM_MULTIFD,
                                                   VMS_QEVM_MULTIFD, VMS_QEVM_RETURN_PATH};

static struct vms_psk key(size_t index) {
    struct vms_limits limits = vms_limits_default();
    struct vms_psk psk;
    struct vms_error err;
    cr_assert_eq(vms_psk_parse(vms_str(KEYS), vms_slice(NULL, 0), index, &limits, &psk, &err),
                 VMS_OK);
    return psk;
}

static uint8_t bulk_bytes[70000];

/* A frame of the n-th round: an EOS, and VFIO data that tells the round and channel. */
static void write_round(struct vms_native_writer *w, uint16_t channel, int n) {
    struct vms_record records[] = {
        {.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS},
        {.type = VMS_R_VFIO_DATA_STATE, .bulk_len = sizeof bulk_bytes - (size_t)n}};
    struct vms_slice bulk = vms_slice(bulk_bytes, sizeof bulk_bytes - (size_t)n);
    struct vms_native_out out = {
        .frame = {.header.type = VMS_NATIVE_RECORDS, .u.records = {2, records}},
        .bulk = &bulk,
        .bulk_count = 1};
    struct vms_error err;
    memset(bulk_bytes, channel + n, sizeof bulk_bytes);
    cr_assert_eq(vms_native_writer_frame(w, channel, &out, &err), VMS_OK, "%s", err.message);
}

/* A whole file; limits may make it rekey. */
static int write_file(enum vms_suite suite, const struct vms_limits *limits, bool end) {
    int fd = memfd_create("native", MFD_CLOEXEC);
    struct vms_psk psk = key(1);
    struct vms_native_writer_config config = {.fd = fd,
                                              .suite = suite,
                                              .psk = suite ? &psk : NULL,
                                              .limits = *limits,
                                              .dialect = vms_str("page-bits=13")};
    struct vms_error err = {0};
    struct vms_native_writer *w = vms_native_writer_new(&config, &err);
    uint16_t numbers[CHANNELS];
    cr_assert(w, "%s", err.message);
    for (int i = 0; i < CHANNELS; i++)
        cr_assert_eq(vms_native_writer_open(w, KINDS[i], &numbers[i], &err), VMS_OK);
    cr_assert(numbers[0] == 0 && numbers[1] == 1 && numbers[2] == 2 && numbers[3] == 249);
    for (int n = 0; n < ROUNDS; n++)
        write_round(w, numbers[n % (CHANNELS - 1)], n);
    if (end)
        cr_assert_eq(vms_native_writer_end(w, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(vms_native_writer_bytes(w), (uint64_t)lseek(fd, 0, SEEK_CUR));
    vms_native_writer_free(w);
    return fd;
}

struct result {
    enum vms_native_file_step step;
    struct vms_error err;
    int channels, frames;
    uint32_t epoch; /* the highest */
    struct vms_native_file_info info;
};

static void check_frame(const struct vms_native_file_event *ev, int n) {
    cr_assert_eq(ev->frame->u.records.count, 2);
    cr_assert_eq(ev->bulk.len, sizeof bulk_bytes - (size_t)n);
    cr_assert_eq(ev->bulk.ptr[ev->bulk.len - 1], (uint8_t)(ev->channel + n));
}

static struct result read_file(int fd, const char *keys, size_t begin) {
    struct result r = {.step = VMS_NATIVE_FILE_ERROR};
    struct vms_native_reader_config config = {
        .fd = fd, .limits = vms_limits_default(), .psk = vms_str(keys)};
    uint8_t bytes[16];
    struct vms_native_file_event ev;
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    cr_assert_eq(read(fd, bytes, begin), (ssize_t)begin);
    config.begin = vms_slice(bytes, begin);
    struct vms_native_reader *reader = vms_native_reader_new(&config, &r.err);
    cr_assert_not_null(reader);
    do {
        r.step = vms_native_reader_next(reader, &ev, &r.err);
        if (r.step == VMS_NATIVE_FILE_CHANNEL)
            cr_assert_eq(ev.kind, KINDS[r.channels++]);
        if (r.step == VMS_NATIVE_FILE_FRAME) {
            check_frame(&ev, r.frames++);
            r.epoch = ev.frame->header.epoch > r.epoch ? ev.frame->header.epoch : r.epoch;
        }
    } while (r.step == VMS_NATIVE_FILE_CHANNEL || r.step == VMS_NATIVE_FILE_FRAME);
    cr_assert_eq(vms_native_reader_next(reader, &ev, &r.err), r.step, "it stays");
    r.info = *vms_native_reader_info(reader);
    vms_native_reader_free(reader);
    return r;
}

/* [TRC-18] [TRC-19] Every suite, every channel, in their order. */
Test(native_file, suites) {
    struct vms_limits limits = vms_limits_default();
    for (int suite = VMS_SUITE_NONE; suite <= VMS_SUITE_CHACHA20_POLY1305; suite++)
        for (size_t begin = 0; begin <= 12; begin += 4) {
            int fd = write_file((enum vms_suite)suite, &limits, true);
            struct result r = read_file(fd, suite ? KEYS : "", begin);
            cr_assert_eq(r.step, VMS_NATIVE_FILE_END, "%d: %s", suite, r.err.message);
            cr_assert_eq(r.channels, CHANNELS);
            cr_assert_eq(r.frames, ROUNDS);
            cr_assert_eq((int)r.info.suite, suite);
            cr_assert_eq(r.info.dialect.page_bits, 13);
            cr_assert_str_eq(r.info.identity, suite ? "vm-b" : "");
            (void)close(fd);
        }
}

/* [SEAL-9] A key that is used up is replaced, on every channel. */
Test(native_file, rekey) {
    for (int suite = VMS_SUITE_AES_256_GMAC; suite <= VMS_SUITE_CHACHA20_POLY1305; suite++) {
        struct vms_limits limits = vms_limits_default();
        limits.seal_key_frames = 4;
        int fd = write_file((enum vms_suite)suite, &limits, true);
        struct result r = read_file(fd, KEYS, 0);
        cr_assert_eq(r.step, VMS_NATIVE_FILE_END, "%d: %s", suite, r.err.message);
        cr_assert_eq(r.frames, ROUNDS);
        cr_assert_geq(r.epoch, 4);
        (void)close(fd);
    }
}

/* [SEAL-17] [SEAL-18] [SEAL-23] */
Test(native_file, keys) {
    static const struct {
        enum vms_suite suite;
        const char *keys;
        enum vms_code want;
    } cases[] = {
        {VMS_SUITE_NONE, KEYS, VMS_E_SEAL_UNSEALED},
        {VMS_SUITE_AES_256_GCM, "", VMS_E_SEAL_NO_KEY},
        {VMS_SUITE_AES_256_GCM, "vm-c:00112233445566778899aabbccddeeff\n", VMS_E_SEAL_PSK_IDENTITY},
        {VMS_SUITE_AES_256_GCM, "vm-b:00112233445566778899aabbccddeeff\n", VMS_E_SEAL_TAG},
        {VMS_SUITE_AES_256_GCM, "no key file", VMS_E_SEAL_PSK_FILE},
    };
    struct vms_limits limits = vms_limits_default();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = write_file(cases[i].suite, &limits, true);
        struct result r = read_file(fd, cases[i].keys, 0);
        cr_assert_eq(r.step, VMS_NATIVE_FILE_ERROR);
        cr_assert_eq(r.err.code, cases[i].want, "%zu: %s", i, r.err.message);
        cr_assert_eq(r.channels, 0);
        (void)close(fd);
    }
    struct vms_native_writer_config config = {
        .fd = -1, .suite = VMS_SUITE_AES_256_GCM, .limits = limits};
    struct vms_error err;
    cr_assert_null(vms_native_writer_new(&config, &err));
    cr_assert_eq(err.code, VMS_E_MISUSE);
}

/* [TRC-18] [SES-20] [SES-21] Cut anywhere, changed anywhere: never an END. */
Test(native_file, damaged, .timeout = 120) {
    struct vms_limits limits = vms_limits_default();
    for (int suite = VMS_SUITE_NONE; suite <= VMS_SUITE_CHACHA20_POLY1305; suite++) {
        int whole = write_file((enum vms_suite)suite, &limits, true);
        off_t size = lseek(whole, 0, SEEK_END);
        for (off_t at = size - 1; at > 0; at -= 1 + (size - at) / 3 + size / 60) {
            uint8_t byte;
            cr_assert_eq(pread(whole, &byte, 1, at), 1);
            byte ^= 4;
            cr_assert_eq(pwrite(whole, &byte, 1, at), 1);
            struct result r = read_file(whole, suite ? KEYS : "", 0);
            cr_assert_eq(r.step, VMS_NATIVE_FILE_ERROR, "changed at %ld", (long)at);
            cr_assert_neq(r.err.class_, VMS_CLASS_INTERNAL, "%s", r.err.message);
            byte ^= 4;
            cr_assert_eq(pwrite(whole, &byte, 1, at), 1);
        }
        for (off_t len = size - 1; len > 0; len -= 1 + (size - len) / 3 + size / 60) {
            cr_assert_eq(ftruncate(whole, len), 0);
            struct result r = read_file(whole, suite ? KEYS : "", 0);
            cr_assert_eq(r.step, VMS_NATIVE_FILE_ERROR, "cut at %ld", (long)len);
            cr_assert(r.err.code == VMS_E_TRUNCATED || r.err.code == VMS_E_SESSION_NO_END);
        }
        (void)close(whole);
    }
}

/* [SES-21] A writer that did not come to the end. */
Test(native_file, without_end) {
    struct vms_limits limits = vms_limits_default();
    int fd = write_file(VMS_SUITE_NONE, &limits, false);
    struct result r = read_file(fd, "", 0);
    cr_assert_eq(r.err.code, VMS_E_SESSION_NO_END);
    cr_assert_eq(r.frames, ROUNDS);
    (void)close(fd);
}

/* ---- without a key ---- */

struct seen {
    struct vms_native_file_info info;
    int headers, ends;
    uint64_t offset;
};

static void on_hello(void *ctx, const struct vms_native_file_info *info) {
    struct seen *s = ctx;
    s->info = *info;
}

static void on_header(void *ctx, uint64_t offset, const struct vms_native_header *header) {
    struct seen *s = ctx;
    cr_assert(offset > s->offset);
    s->offset = offset;
    s->headers++;
    s->ends += header->type == VMS_NATIVE_END;
}

static enum vms_code scan(int fd, struct seen *seen) {
    struct vms_native_scan_ops ops = {on_hello, on_header, seen};
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    *seen = (struct seen){.headers = 0};
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    return vms_native_scan(fd, &limits, &ops, &err);
}

Test(native_file, scan) {
    struct vms_limits limits = vms_limits_default();
    struct seen seen;
    for (int suite = VMS_SUITE_NONE; suite <= VMS_SUITE_CHACHA20_POLY1305; suite++) {
        int fd = write_file((enum vms_suite)suite, &limits, true);
        cr_assert_eq(scan(fd, &seen), VMS_OK);
        cr_assert_eq(seen.headers, CHANNELS + ROUNDS + 1);
        cr_assert_eq(seen.ends, 1);
        cr_assert_eq((int)seen.info.suite, suite);
        cr_assert_eq(ftruncate(fd, 1000), 0);
        cr_assert_eq(scan(fd, &seen), VMS_E_TRUNCATED);
        cr_assert_eq(ftruncate(fd, 20), 0);
        cr_assert_eq(scan(fd, &seen), VMS_E_TRUNCATED);
        cr_assert_eq(pwrite(fd, "QEVM", 4, 0), 4);
        cr_assert_neq(scan(fd, &seen), VMS_OK);
        (void)close(fd);
    }
}

/* [LIM-1] native_channels, at the limit and one past it */
Test(native_file, channels) {
    struct vms_native_writer_config config = {.fd = open("/dev/null", O_WRONLY | O_CLOEXEC),
                                              .limits = vms_limits_default()};
    struct vms_error err;
    uint16_t number;
    config.limits.native_channels = 3;
    struct vms_native_writer *w = vms_native_writer_new(&config, &err);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(vms_native_writer_open(w, VMS_QEVM_PREEMPT, &number, &err), VMS_OK);
    cr_assert_eq(vms_native_writer_open(w, VMS_QEVM_PREEMPT, &number, &err), VMS_E_LIMIT);
    struct vms_native_out out = {.frame.header.type = VMS_NATIVE_RECORDS};
    cr_assert_eq(vms_native_writer_frame(w, 200, &out, &err), VMS_E_MISUSE);
    vms_native_writer_free(w);
    (void)close(config.fd);
}
