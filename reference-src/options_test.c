/* SPDX-License-Identifier: MIT */
#include "reference-src/options.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>

static int parse(const char *line, struct src_options *o) {
    static char text[512];
    char *argv[64] = {(char *)(uintptr_t) "reference-src"};
    int argc = 1;
    (void)snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return src_options_parse(argc, argv, o);
}

#define BASE "--connect unix:a --vm v "
#define QEVM BASE "--wire qevm "

Test(options, everything) {
    struct src_options o;
    cr_assert_eq(parse(QEVM
                       "--channels 4 --postcopy-after 2 --preempt --bandwidth 32M --downtime-ms "
                       "50 --postcopy-bandwidth 1K --scheduler serial --dialect 7.2 --control "
                       "unix:c --pause-before-switchover --wait --reconnect 5 --quiet --machine pc",
                       &o),
                 -1);
    cr_expect(!o.native && o.channels == 4 && o.postcopy && o.postcopy_after == 2 && o.preempt);
    cr_expect(o.bandwidth == 32 << 20 && o.postcopy_bandwidth == 1024 && o.downtime_ms == 50);
    cr_expect(o.scheduler == SRC_SCHEDULER_SERIAL && o.dialect.qemu == 0x0702);
    cr_expect(o.reconnect_ms == 5000 && o.quiet && o.pause_before_switchover && o.wait);
    cr_assert_eq(parse(BASE "--seal gcm --psk k --pack zstd:-3 --digest off --journal j "
                            "--device-channels off",
                       &o),
                 -1);
    cr_expect(o.native && o.has_suite && o.pack && o.pack_level == -3 && o.no_digest);
    cr_expect(o.no_device_channels);
    cr_assert_eq(parse(BASE "--pack zstd", &o), -1);
    cr_expect_eq(o.pack_level, 1);
    cr_assert_eq(parse(BASE "--pack zstd:adaptive", &o), -1);
    cr_expect_eq(o.pack_level, 0);
    cr_expect(o.postcopy_after == -1 && o.downtime_ms == 300);
    cr_assert_eq(parse(BASE "--vdpa sim:a --vdpa /dev/b,id=c --no-early-state", &o), -1);
    cr_expect(o.vdpa_count == 2 && o.no_early_state);
    cr_assert_eq(parse("--resolve theirs --journal j", &o), -1);
    cr_expect_eq(o.resolve, SRC_RESOLVE_THEIRS);
    cr_assert_eq(parse("--inquire --journal j --connect unix:a --psk k", &o), -1);
    cr_expect(o.inquire && !o.resolve);
    cr_assert_eq(parse(BASE "--keepalive 3", &o), -1);
    cr_expect_eq(o.keepalive_ms, 3000);
    cr_assert_eq(parse(BASE "--locks-retry-ms 20", &o), -1); /* [ENG-30] */
    cr_expect_eq(o.locks_retry_ms, 20u);
    cr_assert_eq(parse(BASE "--dirty uffd-wp", &o), -1);
    cr_expect_eq(o.dirty, VMS_DIRTY_UFFD_WP);
    cr_assert_eq(parse(BASE "--dirty best", &o), -1);
    cr_expect_eq(o.dirty, VMS_DIRTY_BEST);
}

Test(options, wrong, .init = cr_redirect_stderr) {
    static const char *const lines[] = {
        "",
        "--connect unix:a",
        "--vm v",
        BASE "--channels 17",
        BASE "--channels x",
        BASE "--bandwidth 1X",
        BASE "--bandwidth -1",
        BASE "--bandwidth 99999999999T",
        BASE "--wire morse",
        BASE "--vdpa a --postcopy", /* [VDPA-19] */
        QEVM "--vdpa a",            /* [VDPA-25] */
        BASE "--pack zstd:20",
        BASE "--pack zstd:",
        BASE "--pack gzip",
        BASE "--seal rot13",
        BASE "--digest maybe",
        BASE "--resolve ours",
        BASE "--inquire",
        "--inquire --journal j",
        QEVM "--inquire --journal j",
        BASE "--inquire --journal j --resolve ours",
        BASE "--dirty writes",
        BASE "--preempt",
        BASE "--dialect 7",
        BASE "--no-such-option",
        BASE "--connect",
        BASE "word",
        BASE "--pause-before-switchover",
        BASE "--wait",
        QEVM "--journal j",
        QEVM "--seal gcm",
        QEVM "--postcopy --no-return-path",
        "--connect file:a --vm v --wire qevm --postcopy",
        BASE "--device-state s",
        QEVM "--psk k --tls-creds d",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct src_options o;
        cr_expect_eq(parse(lines[i], &o), 2, "%s", lines[i]);
    }
}

/* Every option is in the help. */
Test(options, help, .init = cr_redirect_stdout) {
    struct src_options o;
    cr_expect_eq(parse("--help", &o), 0);
    cr_expect_eq(parse("--version", &o), 0);
}
