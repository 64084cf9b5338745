/* SPDX-License-Identifier: MIT */
#include "tool/relay.h"

#include <criterion/criterion.h>
#include <string.h>

/* The command line of `vmstream relay`; it prints its complaints. */

static int read_line(const char *line, struct relay_options *o) {
    static char copy[512];
    char *argv[32] = {"relay"};
    int argc = 1;
    bool help = false;
    (void)strncpy(copy, line, sizeof copy - 1);
    for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " "))
        argv[argc++] = word;
    int status = relay_options_read(argc, argv, o, &help);
    cr_expect_not(help);
    return status;
}

/* [RLY-11] */
Test(relay_options, good) {
    struct relay_options o;
    cr_expect_eq(read_line("--listen unix:a --connect tcp:h:1", &o), TOOL_DONE);
    cr_expect(o.listen_wire == RELAY_QEVM && o.connect_wire == RELAY_NATIVE);
    cr_expect(o.resume_ms == 60000 && o.keepalive_ms == 10000 && o.wait_ms == -1);
    cr_expect(o.level == VMS_LEVEL_NONE && !o.has_suite);
    cr_expect_eq(read_line("--listen unix:a --connect tcp:h:1 --listen-wire native", &o),
                 TOOL_DONE);
    cr_expect(o.listen_wire == RELAY_NATIVE && o.connect_wire == RELAY_QEVM);
    cr_expect_eq(read_line("--listen unix:a --connect tcp:h:1 --connect-wire qevm", &o), TOOL_DONE);
    cr_expect(o.listen_wire == RELAY_NATIVE && o.connect_wire == RELAY_QEVM);
    cr_expect_eq(read_line("--listen unix:a --connect tls:h:1 --tls-creds d --seal chacha20 "
                           "--pack zstd:-3 --resume-timeout 1.5 --replay-bytes 2M --wait 7",
                           &o),
                 TOOL_DONE);
    cr_expect(o.suite == VMS_SUITE_CHACHA20_POLY1305 && o.level == -3 && o.resume_ms == 1500);
    cr_expect(o.limits.native_replay_bytes == 2 << 20 && o.wait_ms == 7000);
}

Test(relay_options, wrong) {
    static const char *const lines[] = {
        "",
        "--listen unix:a",
        "--listen unix:a --connect unix:b --listen-wire native --connect-wire native",
        "--listen unix:a --connect unix:b --seal gcm",
        "--listen unix:a --connect unix:b --seal rot13 --psk k",
        "--listen unix:a --connect unix:b --pack gzip",
        "--listen unix:a --connect unix:b --pack zstd:99",
        "--listen unix:a --connect unix:b --pack zstd:",
        "--listen unix:a --connect unix:b --resume-timeout soon",
        "--listen unix:a --connect unix:b --replay-bytes 10",
        "--listen unix:a --connect unix:b --nonsense",
        "--listen unix:a --connect unix:b file",
        "--listen",
    };
    struct relay_options o;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cr_expect_eq(read_line(lines[i], &o), TOOL_USAGE, "%s", lines[i]);
}
