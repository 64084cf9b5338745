/* SPDX-License-Identifier: MIT */
#include "host/uri.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct vms_uri parsed(const char *text) {
    static struct vms_uri uri;
    struct vms_error err = {0};
    cr_assert_eq(vms_uri_parse(text, &uri, &err), VMS_OK, "%s: %s", text, err.message);
    cr_assert_str_eq(uri.text, text);
    return uri;
}

static void refused(const char *text, const char *part) {
    static struct vms_uri uri;
    struct vms_error err = {0};
    cr_assert_eq(vms_uri_parse(text, &uri, &err), VMS_E_CONNECT, "%s was taken", text);
    cr_assert_str_eq(err.clause, "HOST-2");
    cr_assert_not_null(strstr(err.message, part), "'%s' does not say '%s'", err.message, part);
}

Test(uri, unix_path) {
    struct vms_uri uri = parsed("unix:/run/vm 1.sock");
    cr_assert_eq(uri.scheme, VMS_URI_UNIX);
    cr_assert_not(uri.tls);
    cr_assert_str_eq(uri.target, "/run/vm 1.sock");
}

Test(uri, unix_bad) {
    char text[200] = "unix:";
    refused("unix:", "path is empty");
    memset(text + 5, 'a', 107);
    (void)parsed(text);
    memset(text + 5, 'a', 108);
    refused(text, "107 bytes");
}

Test(uri, tcp_hosts) {
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {
        {"tcp:127.0.0.1:4444", "127.0.0.1", 4444},
        {"tcp:vm-host.example:1", "vm-host.example", 1},
        {"tcp:[::1]:65535", "::1", 65535},
        {"tcp:[fe80::1%lo]:5", "fe80::1%lo", 5},
        {"tcp::4444", "", 4444},
        {"tcp:0:0", "0", 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct vms_uri uri = parsed(good[i].text);
        cr_assert_eq(uri.scheme, VMS_URI_TCP);
        cr_assert_str_eq(uri.target, good[i].host);
        cr_assert_eq(uri.port, good[i].port);
    }
}

Test(uri, tcp_bad) {
    refused("tcp:", "port is missing");
    refused("tcp:host", "port is missing");
    refused("tcp:host:", "port is empty");
    refused("tcp:host:port", "'port'");
    refused("tcp:host:65536", "'65536'");
    refused("tcp:host:-1", "'-1'");
    refused("tcp:host: 1", "' 1'");
    refused("tcp:host:99999999999999999999", "from 0 to 65535");
    refused("tcp:host:1x", "'1x'");
    refused("tcp:::1:4444", "in brackets");
    refused("tcp:[::1:4444", "without ']'");
    refused("tcp:[::1]4444", "missing after ']'");
    refused("tcp:[host]:1", "not an IPv6 address: 'host'");
    refused("tcp:[]:1", "not an IPv6 address");
    refused("tcp:a b:1", "' b'");
    refused("tcp:user@host:1", "'@host'");
}

Test(uri, tls_over_both) {
    struct vms_uri uri = parsed("tls:[::1]:7");
    cr_assert(uri.tls);
    cr_assert_eq(uri.scheme, VMS_URI_TCP);
    uri = parsed("tls:unix:/x");
    cr_assert(uri.tls);
    cr_assert_eq(uri.scheme, VMS_URI_UNIX);
    cr_assert_str_eq(uri.target, "/x");
    refused("tls:host", "port is missing");
    refused("tls:unix:", "path is empty");
}

Test(uri, fd) {
    struct vms_uri uri = parsed("fd:17");
    cr_assert_eq(uri.scheme, VMS_URI_FD);
    cr_assert_eq(uri.fd, 17);
    refused("fd:", "descriptor: ''");
    refused("fd:-1", "'-1'");
    refused("fd:3x", "'3x'");
    refused("fd:2147483648", "'2147483648'");
}

Test(uri, exec) {
    struct vms_uri uri = parsed("exec:gzip -c > 'a:b,offset=1'");
    cr_assert_eq(uri.scheme, VMS_URI_EXEC);
    cr_assert_str_eq(uri.target, "gzip -c > 'a:b,offset=1'");
    refused("exec:", "command is empty");
}

Test(uri, file_offsets) {
    static const struct {
        const char *text;
        uint64_t offset;
    } good[] = {
        {"file:/a:b", 0},
        {"file:/a:b,offset=0", 0},
        {"file:/a:b,offset=4096", 4096},
        {"file:/a:b,offset=0x1000", 4096},
        {"file:/a:b,offset=4k", 4096},
        {"file:/a:b,offset=2M", 2u << 20},
        {"file:/a:b,offset=1G", 1u << 30},
        {"file:/a:b,offset=7B", 7},
        {"file:/a:b,offset=9223372036854775807", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct vms_uri uri = parsed(good[i].text);
        cr_assert_eq(uri.scheme, VMS_URI_FILE);
        cr_assert_str_eq(uri.target, "/a:b");
        cr_assert_eq(uri.offset, good[i].offset, "%s", good[i].text);
    }
}

Test(uri, file_bad) {
    refused("file:", "path is empty");
    refused("file:,offset=1", "path is empty");
    refused("file:/a,offset=", "not a number");
    refused("file:/a,offset=x", "'x'");
    refused("file:/a,offset=1kk", "'1kk'");
    refused("file:/a,offset=1z", "'1z'");
    refused("file:/a,offset=-1", "'-1'");
    refused("file:/a,offset=9223372036854775808", "too large");
    refused("file:/a,offset=8E", "too large");
}

Test(uri, scheme_bad) {
    refused("", "must begin with");
    refused("/path", "must begin with");
    refused("TCP:a:1", "must begin with");
    refused("rdma:a:1", "must begin with");
}

Test(uri, length_limit) {
    static char text[VMS_URI_MAX + 2] = "exec:";
    memset(text + 5, 'a', VMS_URI_MAX - 5);
    (void)parsed(text);
    text[VMS_URI_MAX] = 'a';
    refused(text, "longer than 4095 bytes");
}

Test(uri, message_is_one_printable_line) {
    static struct vms_uri uri;
    struct vms_error err = {0};
    cr_assert_eq(vms_uri_parse("fd:\n\x1b[31m", &uri, &err), VMS_E_CONNECT);
    for (const char *c = err.message; *c; c++)
        cr_assert(*c >= 0x20 && *c <= 0x7e);
}
