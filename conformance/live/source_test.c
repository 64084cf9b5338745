/* SPDX-License-Identifier: MIT */
#include "conformance/live/source_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/*
 * reference-src sends a guest to real QEMUs, where it lives on.
 * [SRC-1] [SRC-3] [SRC-4] [SRC-7] [SRC-8] [SRC-9] [SRC-10] [SRC-12] [MFD-12] [MFD-22] [PRE-5]
 * [REC-5]
 */

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *program(void) {
    static char path[512];
    const char *build = getenv("VMSTREAM_BUILD");
    (void)snprintf(path, sizeof path, "%s/reference-src", build ? build : "build");
    return path;
}

static void migrate(const struct source_case *what) {
    struct source_rig rig;
    struct vms_peer peer;
    if (!vms_peer_find(what->version, &peer))
        cr_skip_test("peer absent: QEMU %s, make peers fetches it", what->version);
    int rc = source_run(&rig, what, program());
    cr_expect_eq(rc, 0, "QEMU %s, %s: %s", what->version, what->machine, rig.live.error);
    cr_expect(what->postcopy || rig.live.blocks > 0);
    cr_expect_eq(rig.live.guest_report.bad, 0u);
    source_free(&rig);
}

#define SOURCE(name, ...)                                                                          \
    Test(source, name, .timeout = 300) {                                                           \
        migrate(&(const struct source_case){__VA_ARGS__});                                         \
    }

/* Slow enough that memory is written meanwhile and several rounds are needed. */
#define SLOW "--bandwidth", "32M", "--downtime-ms", "50"
#define AFTER                                                                                      \
    "--bandwidth", "32M", "--downtime-ms", "1", "--postcopy-bandwidth", "4M", "--postcopy-after",  \
        "1"
#define AT_ONCE                                                                                    \
    "--bandwidth", "32M", "--downtime-ms", "1", "--postcopy-bandwidth", "4M", "--postcopy-after",  \
        "0"
#define POSTCOPY LIST("return-path", "postcopy-ram")
#define PREEMPT  LIST("return-path", "postcopy-ram", "postcopy-preempt")
#define MULTIFD  LIST("return-path", "multifd")
#define MFD(n)   "{\"multifd-channels\": " #n "}"

SOURCE(qemu72_precopy, "7.2", "pc", .src_args = LIST(SLOW))
SOURCE(qemu72_no_return_path, "7.2", "pc", .src_args = LIST(SLOW, "--no-return-path"))
SOURCE(qemu72_q35, "7.2", "q35", .src_args = LIST(SLOW))
SOURCE(qemu72_multifd_4, "7.2", "pc", MULTIFD, MFD(4), .src_args = LIST(SLOW, "--multifd", "4"))
SOURCE(qemu72_postcopy, "7.2", "pc", POSTCOPY, .src_args = LIST(AFTER), .postcopy = true)
SOURCE(qemu72_preempt, "7.2", "pc", PREEMPT, .src_args = LIST(AFTER, "--preempt"), .postcopy = true)
SOURCE(qemu72_recovery, "7.2", "pc", POSTCOPY, .src_args = LIST(AT_ONCE), .postcopy = true,
       .recover = true)
SOURCE(qemu72_preempt_recovery, "7.2", "pc", PREEMPT, .src_args = LIST(AT_ONCE, "--preempt"),
       .postcopy = true, .recover = true)

SOURCE(qemu111_precopy, "11.1", "pc", .src_args = LIST(SLOW))
SOURCE(qemu111_q35, "11.1", "q35", .src_args = LIST(SLOW))
SOURCE(qemu111_old_machine, "11.1", "pc-i440fx-7.2", MULTIFD, MFD(2),
       .src_args = LIST(SLOW, "--multifd", "2"))
SOURCE(qemu111_multifd_4, "11.1", "pc", MULTIFD, MFD(4), .src_args = LIST(SLOW, "--multifd", "4"))
SOURCE(qemu111_multifd_16, "11.1", "q35", MULTIFD, MFD(16),
       .src_args = LIST(SLOW, "--multifd", "16"))
SOURCE(qemu111_postcopy, "11.1", "pc", POSTCOPY, .src_args = LIST(AFTER), .postcopy = true)
SOURCE(qemu111_preempt, "11.1", "q35", PREEMPT, .src_args = LIST(AFTER, "--preempt"),
       .postcopy = true)
SOURCE(qemu111_multifd_postcopy, "11.1", "pc", LIST("return-path", "multifd", "postcopy-ram"),
       MFD(2), .src_args = LIST(AFTER, "--multifd", "2"), .postcopy = true)
SOURCE(qemu111_recovery, "11.1", "pc", POSTCOPY, .src_args = LIST(AT_ONCE), .postcopy = true,
       .recover = true)
SOURCE(qemu111_preempt_recovery, "11.1", "pc", PREEMPT, .src_args = LIST(AT_ONCE, "--preempt"),
       .postcopy = true, .recover = true)

/* ---- huge pages ---- */

static unsigned long huge_pages(const char *file) {
    char path[128];
    unsigned long n = 0;
    (void)snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/hugepages-2048kB/%s", file);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%lu", &n) != 1)
        n = 0;
    if (f)
        (void)fclose(f);
    return n;
}

/* Three times 32 MiB: two QEMUs and reference-src. */
static bool want_huge_pages(unsigned long count) {
    unsigned long all = huge_pages("nr_hugepages"), free_now = huge_pages("free_hugepages");
    FILE *f = free_now < count ? fopen("/proc/sys/vm/nr_hugepages", "we") : NULL;
    if (f) {
        (void)fprintf(f, "%lu", all + count - free_now);
        (void)fclose(f);
    }
    return huge_pages("free_hugepages") >= count;
}

#define HUGE                                                                                       \
    LIST("-object",                                                                                \
         "memory-backend-memfd,id=pc.ram,size=32M,hugetlb=on,hugetlbsize=2M,prealloc=off")

/* [CMD-14] [RAM-14] [RAM-24] Host pages of 2 MiB come whole, and are discarded whole. */
static void migrate_huge(const struct source_case *what) {
    if (!want_huge_pages(3 * 16))
        cr_skip_test("no huge pages: raise /proc/sys/vm/nr_hugepages");
    migrate(what);
}

#define SOURCE_HUGE(name, ...)                                                                     \
    Test(source_huge, name, .timeout = 300) {                                                      \
        migrate_huge(&(const struct source_case){                                                  \
            "11.1", "pc,memory-backend=pc.ram", .qemu_args = HUGE, .memory = "32M", __VA_ARGS__}); \
    }

/* Any write makes 2 MiB dirty: nothing that is slow would ever end. */
SOURCE_HUGE(precopy, .src_args = LIST("--huge-pages", "--touch", "1", "--downtime-ms", "500"))
SOURCE_HUGE(postcopy, .capabilities = POSTCOPY, .src_args = LIST(AFTER, "--huge-pages"),
            .postcopy = true)
SOURCE_HUGE(preempt, .capabilities = PREEMPT, .src_args = LIST(AFTER, "--preempt", "--huge-pages"),
            .postcopy = true)
