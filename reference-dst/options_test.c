/* SPDX-License-Identifier: MIT */
#include "reference-dst/options.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int parse(const char *line, struct dst_options *o) {
    static char text[512];
    char *argv[64] = {(char *)(uintptr_t) "reference-dst"};
    int argc = 1;
    (void)snprintf(text, sizeof text, "%s", line);
    optind = 0; /* getopt begins anew */
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return dst_options_parse(argc, argv, o);
}

#define BASE "--listen unix:a "

Test(dst_options, everything) {
    struct dst_options o;
    cr_assert_eq(parse(BASE, &o), -1);
    cr_expect(o.timeout_ms == 300000 && o.keepalive_ms == 0 && o.recover_ms == -1);
    cr_expect(o.run_ms == 1000 && !o.no_digest && o.multifd_channels == -1 && !o.quiet);
    cr_assert_eq(parse(BASE "--timeout 0 --keepalive 3 --recover-timeout 4 --run-seconds 2 "
                            "--run-ops 7 --digest off --multifd-channels 4 --touch 2 --quiet",
                       &o),
                 -1);
    cr_expect(o.timeout_ms == -1 && o.keepalive_ms == 3000 && o.recover_ms == 4000);
    cr_expect(o.run_ms == 2000 && o.run_ops == 7 && o.no_digest && o.multifd_channels == 4);
    cr_expect(o.touch == 2 && o.quiet);
    cr_assert_eq(parse(BASE "--max-ram 2G --journal j --resolve theirs --machine pc", &o), -1);
    cr_expect(o.max_ram == 2ull << 30 && o.resolve == DST_NATIVE_THEIRS);
    cr_expect_str_eq(o.journal, "j");
    cr_expect_str_eq(o.settings.machine, "pc");
}

Test(dst_options, wrong, .init = cr_redirect_stderr) {
    static const char *const lines[] = {
        "",
        "--listen",
        BASE "more",
        BASE "--keepalive x",
        BASE "--keepalive -1",
        BASE "--keepalive 1000001",
        BASE "--multifd-channels 256",
        BASE "--resolve mine",
        BASE "--digest perhaps",
        BASE "--switchover-ack never",
        BASE "--uuid 1",
        BASE "--dialect what",
        BASE "--unknown",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct dst_options o;
        cr_expect_eq(parse(lines[i], &o), 2, "%s", lines[i]);
    }
}
