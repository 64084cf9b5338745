/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

/*
 * Real QEMUs migrate a guest that goes on writing into reference-dst; its memory must be QEMU's.
 * [DST-1] [DST-3] [DST-7] [DST-10] [HOST-1] [HOST-2] [HOST-3] [MFD-12] [MFD-16] [MFD-17] [RP-1]
 */

#define LIST(...)   ((const char *const[]){__VA_ARGS__, NULL})
#define RETURN_PATH LIST("return-path")
#define MULTIFD     LIST("return-path", "multifd")

/* Slow enough that the guest dirties memory meanwhile and several rounds are needed. */
#define SLOW "\"max-bandwidth\": 33554432, \"downtime-limit\": 50"
#define CHANNELS(n, method)                                                                        \
    "{\"multifd-channels\": " #n ", \"multifd-compression\": \"" method "\", " SLOW "}"

static const char *program(void) {
    static char path[512];
    const char *build = getenv("VMSTREAM_BUILD");
    (void)snprintf(path, sizeof path, "%s/reference-dst", build ? build : "build");
    return path;
}

static void skip_without(const char *version) {
    struct vms_peer peer;
    if (!vms_peer_find(version, &peer))
        cr_skip_test("peer absent: QEMU %s, make peers fetches it", version);
}

static json_int_t count_of(const struct live *live, const char *object, const char *key) {
    return json_integer_value(json_object_get(json_object_get(live->report, object), key));
}

static void check_replies(const struct live *live) {
    json_int_t pings = count_of(live, "commands", "PING");
    cr_assert_eq(count_of(live, "return_path", "PONG"), pings, "PONGs");
    cr_assert_eq(count_of(live, "return_path", "SHUT"),
                 count_of(live, "commands", "OPEN_RETURN_PATH"), "SHUT");
}

/* The guest went on writing: pages came more than once. */
static json_int_t pages_sent_again(const struct live *live) {
    const char *name;
    json_t *block;
    json_int_t sum = 0;
    json_object_foreach(json_object_get(live->report, "blocks"), name, block) sum +=
        json_integer_value(json_object_get(block, "duplicates"));
    return sum;
}

static void migrate(const struct live_case *what) {
    struct live live;
    skip_without(what->version);
    int rc = live_run(&live, what, program());
    if (rc == 0) {
        check_replies(&live);
        cr_expect_gt(pages_sent_again(&live), 0, "no page came twice: not live");
    }
    cr_expect_eq(rc, 0, "QEMU %s, %s: %s", what->version, what->machine, live.error);
    cr_expect_eq(live.guest_report.bad, 0u);
    live_free(&live);
}

#define LIVE(name, ...)                                                                            \
    Test(live, name, .timeout = 300) {                                                             \
        migrate(&(const struct live_case){__VA_ARGS__});                                           \
    }

#define SLOWLY .parameters = "{" SLOW "}"

LIVE(qemu72_precopy, "7.2", "pc", LIVE_UNIX, SLOWLY)
LIVE(qemu72_return_path, "7.2", "pc", LIVE_UNIX, RETURN_PATH, SLOWLY)
LIVE(qemu72_q35_tcp, "7.2", "q35", LIVE_TCP, RETURN_PATH, SLOWLY)
LIVE(qemu72_multifd_2, "7.2", "pc", LIVE_UNIX, MULTIFD, .parameters = CHANNELS(2, "none"))
LIVE(qemu72_multifd_8_zstd, "7.2", "q35", LIVE_TCP, MULTIFD, .parameters = CHANNELS(8, "zstd"))
LIVE(qemu72_multifd_2_zlib, "7.2", "pc", LIVE_UNIX, MULTIFD, .parameters = CHANNELS(2, "zlib"))
LIVE(qemu72_xbzrle, "7.2", "pc", LIVE_UNIX, LIST("return-path", "xbzrle"), SLOWLY)
LIVE(qemu72_compress, "7.2", "pc", LIVE_UNIX, LIST("return-path", "compress"), SLOWLY)
LIVE(qemu72_tls_x509, "7.2", "pc", LIVE_TLS_X509, RETURN_PATH, SLOWLY)
LIVE(qemu72_tls_psk, "7.2", "pc", LIVE_TLS_PSK, RETURN_PATH, SLOWLY)
LIVE(qemu72_tls_multifd, "7.2", "pc", LIVE_TLS_X509, MULTIFD, .parameters = CHANNELS(2, "none"))
LIVE(qemu72_exec, "7.2", "pc", LIVE_EXEC, NULL, SLOWLY)
LIVE(qemu72_fd, "7.2", "pc", LIVE_FD, NULL, SLOWLY)
LIVE(qemu72_file, "7.2", "pc", LIVE_FILE, NULL, SLOWLY)

LIVE(qemu111_precopy, "11.1", "pc", LIVE_UNIX, SLOWLY)
LIVE(qemu111_return_path, "11.1", "q35", LIVE_UNIX, RETURN_PATH, SLOWLY)
LIVE(qemu111_old_machine, "11.1", "pc-i440fx-7.2", LIVE_TCP, MULTIFD,
     .parameters = CHANNELS(2, "none"))
LIVE(qemu111_multifd_2, "11.1", "pc", LIVE_UNIX, MULTIFD, .parameters = CHANNELS(2, "none"))
LIVE(qemu111_multifd_8, "11.1", "q35", LIVE_TCP, MULTIFD, .parameters = CHANNELS(8, "none"))
LIVE(qemu111_multifd_8_zlib, "11.1", "pc", LIVE_TCP, MULTIFD, .parameters = CHANNELS(8, "zlib"))
LIVE(qemu111_multifd_2_zstd, "11.1", "q35", LIVE_UNIX, MULTIFD, .parameters = CHANNELS(2, "zstd"))
LIVE(qemu111_xbzrle, "11.1", "pc", LIVE_UNIX, LIST("return-path", "xbzrle"), SLOWLY)
LIVE(qemu111_tls_x509, "11.1", "pc", LIVE_TLS_X509, RETURN_PATH, SLOWLY)
LIVE(qemu111_tls_psk_multifd, "11.1", "pc", LIVE_TLS_PSK, MULTIFD,
     .parameters = CHANNELS(8, "none"))
