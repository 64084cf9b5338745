/* SPDX-License-Identifier: MIT */
#include "conformance/bench/cases.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QEMU "11.1"

static struct row *add(struct rows *rows, const char *suite, enum row_kind kind, enum place p,
                       uint64_t bytes, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

static struct row *add(struct rows *rows, const char *suite, enum row_kind kind, enum place p,
                       uint64_t bytes, const char *fmt, ...) {
    static struct row spare; /* too many: nowhere */
    struct row *r = rows->count < ROWS_MAX ? &rows->list[rows->count++] : &spare;
    va_list args;
    memset(r, 0, sizeof *r);
    r->suite = suite;
    r->kind = kind;
    r->place = p;
    r->bytes = bytes;
    va_start(args, fmt);
    (void)vsnprintf(r->name, sizeof r->name, fmt, args);
    va_end(args);
    return r;
}

/* ---- whole migrations of a guest that does nothing ---- */

/* QEMU compares no memory: what is compared with it does not either. */
#define NO_DIGEST .args = {"--digest", "off"}

static const struct ours NATIVE[] = {
    {.wire = "native", .channels = 2, .seal = "none", NO_DIGEST},
    {.wire = "native", .channels = 4, .seal = "none", NO_DIGEST},
    {.wire = "native", .channels = 2, .seal = "gcm", NO_DIGEST},
    {.wire = "native", .channels = 4, .seal = "gcm", NO_DIGEST},
    {.wire = "native", .channels = 4, .seal = "gcm", .crypto = "openssl", NO_DIGEST},
    {.wire = "native", .channels = 4, .seal = "gcm", .peer_libraries = true, NO_DIGEST},
    {.wire = "native", .channels = 4, .seal = "none", .ahead = true, NO_DIGEST},
    {.wire = "native", .channels = 4, .seal = "gcm", .ahead = true, NO_DIGEST},
    {.wire = "native", .channels = 4, .seal = "none"},
    {.wire = "native", .channels = 4, .seal = "gmac"},
    {.wire = "native", .channels = 4, .seal = "gcm"},
    {.wire = "native", .channels = 4, .seal = "chacha20"},
    {.wire = "native", .channels = 4, .seal = "none", .pack = "zstd:1"},
    {.wire = "native", .channels = 4, .seal = "none", .pack = "zstd:3"},
    {.wire = "native", .channels = 4, .seal = "none", .pack = "zstd:adaptive"},
};

/* As hosts do it whose huge pages are for guests: none can be lacking later, and none is cleared
 * while the guest waits. */
#define AHEAD ", memory ahead"

static void add_native(struct rows *rows, const char *suite, const struct ours *o, enum place p,
                       uint64_t bytes) {
    const char *pack = o->pack ? strchr(o->pack, ':') + 1 : "";
    add(rows, suite, ROW_OURS, p, bytes, "native %s %u%s%s%s%s%s%s", o->seal, o->channels,
        o->peer_libraries ? ", QEMU's OpenSSL" : "", o->crypto ? ", openssl" : "",
        o->pack ? ", zstd " : "", pack, o->ahead ? AHEAD : "", o->args[0] ? ", digest off" : "")
        ->ours = *o;
}

static void add_qevm(struct rows *rows, const char *suite, unsigned channels, enum place p,
                     uint64_t bytes) {
    struct row *r = channels ? add(rows, suite, ROW_OURS, p, bytes, "qevm multifd %u", channels)
                             : add(rows, suite, ROW_OURS, p, bytes, "qevm main");
    r->ours = (struct ours){.wire = "qevm", .channels = channels};
}

static void add_qemu(struct rows *rows, const char *suite, const char *name, struct qemu what,
                     enum place p, uint64_t bytes) {
    what.version = QEMU;
    add(rows, suite, ROW_QEMU, p, bytes, "QEMU " QEMU " %s", name)->qemu = what;
}

static void add_whole(struct rows *rows, uint64_t bytes) {
    static const char suite[] = "whole";
    for (enum place p = PLACE_UNIX; p <= PLACE_TCP; p++) {
        (void)add(rows, suite, ROW_FLOOR, p, bytes, "floor: bare copy");
        for (size_t i = 0; i < sizeof NATIVE / sizeof *NATIVE; i++)
            add_native(rows, suite, &NATIVE[i], p, bytes);
        add_qevm(rows, suite, 4, p, bytes);
        add_qemu(rows, suite, "precopy", (struct qemu){0}, p, bytes);
        add_qemu(rows, suite, "multifd 4", (struct qemu){.multifd = 4}, p, bytes);
        add_qemu(rows, suite, "multifd 4" AHEAD, (struct qemu){.multifd = 4, .ahead = true}, p,
                 bytes);
        add_qemu(rows, suite, "multifd 4, zstd 1",
                 (struct qemu){.multifd = 4, .compression = "zstd", .level = 1}, p, bytes);
        add_qemu(rows, suite, "multifd 4, zstd 3",
                 (struct qemu){.multifd = 4, .compression = "zstd", .level = 3}, p, bytes);
        add_qemu(rows, suite, "multifd 4, TLS", (struct qemu){.multifd = 4, .tls = true}, p, bytes);
    }
}

/* ---- cost against size and channels ---- */

static const struct ours SEALS[] = {{.wire = "native", .channels = 4, .seal = "none", NO_DIGEST},
                                    {.wire = "native", .channels = 4, .seal = "gcm", NO_DIGEST},
                                    {.wire = "native", .channels = 4, .seal = "none"},
                                    {.wire = "native", .channels = 4, .seal = "gcm"}};
static const size_t SEAL_COUNT = sizeof SEALS / sizeof *SEALS;

static void add_size(struct rows *rows) {
    static const char suite[] = "size";
    for (uint64_t bytes = 256 << 20; bytes <= UINT64_C(8) << 30; bytes *= 2) {
        (void)add(rows, suite, ROW_FLOOR, PLACE_UNIX, bytes, "floor: bare copy");
        for (size_t i = 0; i < SEAL_COUNT; i++)
            add_native(rows, suite, &SEALS[i], PLACE_UNIX, bytes);
        add_qemu(rows, suite, "precopy", (struct qemu){0}, PLACE_UNIX, bytes);
        add_qemu(rows, suite, "multifd 4", (struct qemu){.multifd = 4}, PLACE_UNIX, bytes);
    }
}

static void add_channels(struct rows *rows) {
    static const unsigned channels[] = {1, 2, 4, 8, 16};
    static const size_t count = sizeof channels / sizeof *channels;
    static const char suite[] = "channels";
    uint64_t bytes = UINT64_C(1) << 30;
    for (size_t i = 0; i < SEAL_COUNT; i++)
        for (size_t k = 0; k < count; k++) {
            struct ours o = SEALS[i];
            o.channels = channels[k];
            add_native(rows, suite, &o, PLACE_UNIX, bytes);
        }
    for (size_t k = 0; k < count; k++) {
        char name[16];
        (void)snprintf(name, sizeof name, "multifd %u", channels[k]);
        add_qemu(rows, suite, name, (struct qemu){.multifd = channels[k]}, PLACE_UNIX, bytes);
    }
}

/* ---- postcopy faults ---- */

/* One reader, as the guest in QEMU is one virtual CPU; QEMU's guest has 512 MiB too. */
#define READER "[{\"rate\": 0, \"reads\": 1.0}]"
enum {
    POSTCOPY_MIB = 512,
};

static void add_faults(struct rows *rows, enum place p, bool huge, bool preempt) {
    static const char suite[] = "postcopy";
    const char *page = huge ? "2 MiB" : "4 KiB", *how = preempt ? "preempt" : "no preempt";
    uint64_t bytes = (uint64_t)POSTCOPY_MIB << 20;
    struct ours o = {.page_size = huge ? "2M" : "4K",
                     .backing = "shared",
                     .vcpus = READER,
                     .postcopy = true,
                     .args = {preempt ? "--preempt" : NULL}};
    o.wire = "native";
    o.channels = 4;
    o.seal = "gcm";
    add(rows, suite, ROW_OURS, p, bytes, "native gcm, %s, %s", page, how)->ours = o;
    o.wire = "qevm";
    o.channels = 0;
    o.seal = NULL;
    add(rows, suite, ROW_OURS, p, bytes, "qevm, %s, %s", page, how)->ours = o;
    add(rows, suite, ROW_QEMU_POSTCOPY, p, bytes, "QEMU " QEMU ", %s, %s", page, how)
        ->qemu_postcopy = (struct qemu_postcopy){QEMU, preempt, huge};
}

static void add_postcopy(struct rows *rows) {
    for (enum place p = PLACE_TCP; p <= PLACE_LINK; p++)
        for (int huge = 0; huge < 2; huge++)
            for (int preempt = 0; preempt < 2; preempt++)
                add_faults(rows, p, huge, preempt);
}

/* ---- a guest that writes ---- */

/* The same number of pages, none of which compresses, and the same writes as QEMU's guest. */
#define DIRTY_RATE 10000 /* pages a second */
#define TEXT_(x)   #x
#define TEXT(x)    TEXT_(x)

static void add_dirty(struct rows *rows, enum place p) {
    static const char suite[] = "dirty";
    uint64_t bytes = (uint64_t)QEMU_GUEST_PAGES * 4096;
    static const struct ours all[] = {
        {.wire = "native", .channels = 4, .seal = "none", NO_DIGEST},
        {.wire = "native", .channels = 4, .seal = "gcm", NO_DIGEST},
        {.wire = "native", .channels = 4, .seal = "none"},
        {.wire = "native", .channels = 4, .seal = "gcm"},
        {.wire = "native", .channels = 4, .seal = "gcm", .pack = "zstd:adaptive"}};
    struct ours o = {.wire = "qevm", .fill = "random"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        add_native(rows, suite, &all[i], p, bytes);
        rows->list[rows->count - 1].ours.fill = "random";
        rows->list[rows->count - 1].ours.vcpus = "[{\"rate\": " TEXT(DIRTY_RATE) "}]";
    }
    o.vcpus = "[{\"rate\": " TEXT(DIRTY_RATE) "}]";
    add(rows, suite, ROW_OURS, p, bytes, "qevm main")->ours = o;
    o.channels = 4;
    add(rows, suite, ROW_OURS, p, bytes, "qevm multifd 4")->ours = o;
    add_qemu(rows, suite, "precopy", (struct qemu){.pages_per_s = DIRTY_RATE}, p, bytes);
    add_qemu(rows, suite, "multifd 4", (struct qemu){.pages_per_s = DIRTY_RATE, .multifd = 4}, p,
             bytes);
    add_qemu(rows, suite, "multifd 4, TLS",
             (struct qemu){.pages_per_s = DIRTY_RATE, .multifd = 4, .tls = true}, p, bytes);
}

#define WRITER "[{\"rate\": 20000, \"locality\": {\"kind\": \"hot\", \"working_set\": \"64M\"}}]"
/* 64 bytes of a page, so that a version that the other end holds helps; of 2 GiB at 200 MB/s each
 * of those pages is written three times before it is sent again. */
#define SMALL_CHANGES                                                                              \
    "[{\"rate\": 5000, \"change\": 64, "                                                           \
    "\"locality\": {\"kind\": \"uniform\", \"working_set\": \"64M\"}}]"

static void add_digest(struct rows *rows, uint64_t bytes) {
    struct ours o = {.wire = "native", .channels = 4, .seal = "gcm", .vcpus = WRITER};
    for (int on = 1; on >= 0; on--) {
        o.args[0] = "--digest";
        o.args[1] = on ? "on" : "off";
        add(rows, "digest", ROW_OURS, PLACE_UNIX, bytes, "native gcm 4, digest %s",
            on ? "on" : "off")
            ->ours = o;
    }
}

/* The digest's bytes are no page's. */
static void add_delta(struct rows *rows, uint64_t bytes) {
    struct ours o = {.wire = "native",
                     .channels = 4,
                     .seal = "gcm",
                     .resent = true,
                     .fill = "random",
                     .vcpus = SMALL_CHANGES,
                     .args = {"--bandwidth", "200M", "--downtime-ms", "20", "--digest", "off"}};
    o.pack = "zstd:1";
    add(rows, "delta", ROW_OURS, PLACE_UNIX, bytes, "native gcm 4, zstd 1, digest off")->ours = o;
    o.pack = NULL;
    add(rows, "delta", ROW_OURS, PLACE_UNIX, bytes, "native gcm 4, digest off")->ours = o;
}

bool cases_add(struct rows *rows, const char *suite, uint64_t bytes) {
    if (strcmp(suite, "whole") == 0)
        add_whole(rows, bytes);
    else if (strcmp(suite, "size") == 0)
        add_size(rows);
    else if (strcmp(suite, "channels") == 0)
        add_channels(rows);
    else if (strcmp(suite, "postcopy") == 0)
        add_postcopy(rows);
    else if (strcmp(suite, "dirty") == 0)
        for (enum place p = PLACE_UNIX; p <= PLACE_TCP; p++)
            add_dirty(rows, p);
    else if (strcmp(suite, "digest") == 0)
        add_digest(rows, bytes);
    else if (strcmp(suite, "delta") == 0)
        add_delta(rows, bytes);
    else
        return false;
    return true;
}

/* ---- aims ---- */

#define DIGEST_OFF(seal) "native " seal " 2, digest off|native " seal " 4, digest off"
#define DIGEST_ON(seal)  "native " seal " 4"
#define PLAIN            "QEMU " QEMU " precopy|QEMU " QEMU " multifd 4"

const struct aim AIMS[] = {
    {"whole", "total time beside QEMU's best mode", METRIC_SECONDS, DIGEST_OFF("none") "|qevm *",
     PLAIN, 0.77, false},
    {"whole", "unsealed, 1.3 times as fast as QEMU's multifd", METRIC_SECONDS, DIGEST_OFF("none"),
     "QEMU " QEMU " multifd 4", 1 / 1.3, false},
    {"whole", "unsealed, 1.3 times as fast as QEMU's multifd, both with memory ahead",
     METRIC_SECONDS, "native none 4" AHEAD ", digest off", "QEMU " QEMU " multifd 4" AHEAD, 1 / 1.3,
     false},
    {"whole", "GCM, as fast as QEMU's multifd, both with memory ahead", METRIC_SECONDS,
     "native gcm 4" AHEAD ", digest off", "QEMU " QEMU " multifd 4" AHEAD, 1, false},
    {"whole", "unsealed with the digest", METRIC_SECONDS, DIGEST_ON("none"),
     "QEMU " QEMU " multifd 4", 0, false},
    {"whole", "GCM, as fast as QEMU's multifd", METRIC_SECONDS, DIGEST_OFF("gcm"),
     "QEMU " QEMU " multifd 4", 1, false},
    {"whole", "GCM by this system's OpenSSL", METRIC_SECONDS, "native gcm 4, openssl, digest off",
     "QEMU " QEMU " multifd 4", 0, false},
    {"whole", "GCM, as fast as QEMU's multifd, with its system's OpenSSL", METRIC_SECONDS,
     "native gcm 4, QEMU's OpenSSL, digest off", "QEMU " QEMU " multifd 4", 1, false},
    {"whole", "GCM with the digest", METRIC_SECONDS, DIGEST_ON("gcm"), "QEMU " QEMU " multifd 4", 0,
     false},
    {"whole", "GCM, 3.5 times as fast as QEMU's multifd over TLS", METRIC_SECONDS,
     DIGEST_OFF("gcm"), "QEMU " QEMU " multifd 4, TLS", 1 / 3.5, false},
    {"whole", "GCM with the digest, beside multifd over TLS", METRIC_SECONDS, DIGEST_ON("gcm"),
     "QEMU " QEMU " multifd 4, TLS", 0, false},
    {"whole", "zstd 1: bytes beside QEMU's multifd", METRIC_WIRE, "native none 4, zstd 1",
     "QEMU " QEMU " multifd 4, zstd 1", 1, false},
    {"whole", "zstd 3: bytes beside QEMU's multifd", METRIC_WIRE, "native none 4, zstd 3",
     "QEMU " QEMU " multifd 4, zstd 3", 1, false},
    {"dirty", "total time beside QEMU's best mode", METRIC_SECONDS, DIGEST_OFF("none") "|qevm *",
     PLAIN, 0.77, false},
    {"whole", "how near the floor", METRIC_SECONDS, DIGEST_OFF("none"), "floor*", 0, false},
    {"postcopy", "4 KiB faults, mean", METRIC_FAULT_MEAN, "native gcm, 4 KiB, preempt", NULL, 229,
     true},
    {"postcopy", "4 KiB faults, p99", METRIC_FAULT_P99, "native gcm, 4 KiB, preempt", NULL, 1000,
     true},
    {"postcopy", "4 KiB faults beside QEMU's, mean", METRIC_FAULT_MEAN,
     "native gcm, 4 KiB, preempt", "QEMU " QEMU ", 4 KiB, preempt", 1, true},
    {"postcopy", "4 KiB faults beside QEMU's, p99", METRIC_FAULT_P99, "native gcm, 4 KiB, preempt",
     "QEMU " QEMU ", 4 KiB, preempt", 1, true},
    {"postcopy", "2 MiB faults, preempt beside none, mean", METRIC_FAULT_MEAN,
     "native gcm, 2 MiB, preempt", "native gcm, 2 MiB, no preempt", 0.5, true},
    {"delta", "re-sent pages with small changes", METRIC_RESENT, "native gcm 4, zstd 1, digest off",
     NULL, 0.1, false},
};
const size_t AIM_COUNT = sizeof AIMS / sizeof *AIMS;

bool name_fits(const char *name, const char *patterns) {
    for (const char *p = patterns; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL) {
        size_t n = strcspn(p, "|");
        bool begins = n > 0 && p[n - 1] == '*';
        if (begins ? strncmp(name, p, n - 1) == 0 : strlen(name) == n && strncmp(name, p, n) == 0)
            return true;
    }
    return false;
}
