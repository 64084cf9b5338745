/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "host/native_file.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The twin of native_keyed with the real seal: good files of every suite, and an attacker without
 * the key who changes, drops, doubles and moves their octets as the input says. Whatever he does:
 *   - every frame that is given is the original's, in the original's order [SEAL-8] [SEAL-6]
 *   - END only for the file as it was [SES-20]
 * Input: 1 octet of a suite, then edits of 4 octets: what, where (2), how.
 */
enum {
    FILES = 4,
    FRAMES = 24,
    FILE_MAX = 1 << 14,
};

static const char KEYS[] =
    "vm-a:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

static struct good {
    uint8_t octets[FILE_MAX];
    size_t len;
    uint64_t frames[FRAMES]; /* hash of each that the reader gives */
    size_t count;
    int fd; /* to read from */
} goods[FILES];

static uint64_t hash_of(const struct vms_native_file_event *ev) {
    uint64_t hash = fuzz_hash(FUZZ_HASH_BEGIN, ev->bulk.ptr, ev->bulk.len);
    hash = fuzz_hash(hash, &ev->channel, sizeof ev->channel);
    return ev->frame ? fuzz_hash(hash, &ev->frame->header, sizeof ev->frame->header) : hash;
}

/* ---- good files ---- */

static void write_frames(struct vms_native_writer *w) {
    static uint8_t bulk[96];
    struct vms_error err;
    uint16_t second = 0;
    struct vms_slice piece = vms_slice(bulk, sizeof bulk);
    ORACLE(vms_native_writer_open(w, VMS_QEVM_MULTIFD, &second, &err) == VMS_OK, "%s", err.message);
    for (uint64_t i = 0; i < 8; i++) {
        struct vms_native_out out = {
            .frame.header.type = VMS_NATIVE_OPAQUE, .bulk = &piece, .bulk_count = 1};
        out.frame.unpacked = sizeof bulk;
        out.frame.u.opaque.offset = i / 2 * sizeof bulk;
        memset(bulk, (int)i, sizeof bulk);
        ORACLE(vms_native_writer_frame(w, i & 1 ? second : 0, &out, &err) == VMS_OK, "%s",
               err.message);
    }
    ORACLE(vms_native_writer_end(w, &err) == VMS_OK, "%s", err.message);
}

/* True when it ended well; *count: frames given, each compared with the good one's. */
static bool read_all(struct good *g, bool compare) {
    struct vms_native_reader_config config = {.fd = g->fd, .limits = vms_limits_default()};
    struct vms_native_file_event ev;
    struct vms_error err = {0};
    enum vms_native_file_step step;
    size_t count = 0;
    config.limits.native_bulk_bytes = 4096;
    config.limits.native_channels = 4;
    config.limits.native_body_bytes = 1 << 14;
    config.limits.native_records = config.limits.native_runs = 64;
    config.psk = g == &goods[VMS_SUITE_NONE] ? vms_slice(NULL, 0) : vms_str(KEYS);
    struct vms_native_reader *r = vms_native_reader_new(&config, &err);
    ORACLE(r, "%s", err.message);
    for (; (step = vms_native_reader_next(r, &ev, &err)) < VMS_NATIVE_FILE_END; count++) {
        ORACLE(count < FRAMES && (!compare || hash_of(&ev) == g->frames[count]),
               "frame %zu is not the original's", count);
        g->frames[count] = hash_of(&ev);
    }
    if (!compare)
        g->count = count;
    fuzz_saw(err.code);
    vms_native_reader_free(r);
    return step == VMS_NATIVE_FILE_END;
}

static void put_file(struct good *g, const uint8_t *octets, size_t len) {
    /* Cut behind the writing: so its memory stays. */
    ORACLE(pwrite(g->fd, octets, len, 0) == (ssize_t)len && ftruncate(g->fd, (off_t)len) == 0,
           "memfd");
    ORACLE(lseek(g->fd, 0, SEEK_SET) == 0, "memfd");
}

static void make(enum vms_suite suite) {
    struct good *g = &goods[suite];
    struct vms_limits limits = vms_limits_default();
    struct vms_psk psk;
    struct vms_error err;
    g->fd = memfd_create("forged", 0);
    limits.seal_key_frames = 3; /* REKEYs in it */
    ORACLE(vms_psk_parse(vms_str(KEYS), vms_str("vm-a"), 0, &limits, &psk, &err) == VMS_OK, "%s",
           err.message);
    struct vms_native_writer_config config = {
        .fd = g->fd, .suite = suite, .psk = suite ? &psk : NULL, .limits = limits};
    struct vms_native_writer *w = vms_native_writer_new(&config, &err);
    ORACLE(w, "%s", err.message);
    write_frames(w);
    vms_native_writer_free(w);
    ssize_t n = pread(g->fd, g->octets, FILE_MAX, 0);
    ORACLE(n > 0 && n < FILE_MAX, "%zd octets", n);
    g->len = (size_t)n;
    ORACLE(lseek(g->fd, 0, SEEK_SET) == 0 && read_all(g, false), "a good file is refused");
}

/* ---- the attacker ---- */

static size_t edit(uint8_t *file, size_t len, struct vms_slice *in) {
    uint32_t what = fuzz_option(in, 1), at = fuzz_option(in, 2) % (uint32_t)len;
    uint32_t how = fuzz_option(in, 1);
    size_t n = 1 + how % 64;
    switch (what % 5) {
    case 0: file[at] ^= (uint8_t)how; break;
    case 1: file[at] = (uint8_t)how; break;
    case 2: return at ? at : len;
    case 3:
        if (n >= len - at)
            break;
        memmove(file + at, file + at + n, len - at - n);
        return len - n;
    default:
        if (n > len - at || len + n > FILE_MAX)
            break;
        memmove(file + at + n, file + at, len - at);
        return len + n;
    }
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t file[FILE_MAX];
    struct vms_slice in = vms_slice(data, size);
    for (unsigned suite = 1; suite < FILES; suite++)
        if (!goods[suite].len)
            make((enum vms_suite)suite);
    /* NONE has only a checksum, which an attacker puts right: not his case. */
    struct good *g = &goods[1 + fuzz_option(&in, 1) % (FILES - 1)];
    size_t len = g->len;
    memcpy(file, g->octets, len);
    for (unsigned i = 0; in.len && i < 32; i++)
        len = edit(file, len, &in);
    put_file(g, file, len);
    bool same = len == g->len && memcmp(file, g->octets, len) == 0;
    bool ended = read_all(g, true);
    ORACLE(ended == same, "%s", same ? "the original is refused" : "a forgery is taken");
    return 0;
}
