/* SPDX-License-Identifier: MIT */
#include "host/uri.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define OFFSET_OPTION ",offset="

static enum vms_code bad(struct vms_error *err, const struct vms_uri *uri, const char *what) {
    return vms_error_set(err, VMS_E_CONNECT, "bad URI '%.80s': %s", uri->text, what);
}

static enum vms_code bad_part(struct vms_error *err, const struct vms_uri *uri, const char *what,
                              const char *part) {
    return vms_error_set(err, VMS_E_CONNECT, "bad URI '%.60s': %s '%.40s'", uri->text, what, part);
}

/* Copies len bytes, which fit because they are a part of uri->text. */
static void set_target(struct vms_uri *uri, const char *from, size_t len) {
    memcpy(uri->target, from, len);
    uri->target[len] = '\0';
}

/* strtoull also takes signs and spaces; a URI does not. base is that of strtoull. */
static bool read_number(const char *text, int base, unsigned long long *value, char **end) {
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, end, base);
    return errno == 0;
}

static enum vms_code parse_unix(const char *rest, struct vms_uri *uri, struct vms_error *err) {
    size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    uri->scheme = VMS_URI_UNIX;
    if (!*rest)
        return bad(err, uri, "the path is empty");
    if (strlen(rest) > max)
        return bad(err, uri, "the path is longer than a socket address allows (107 bytes)");
    set_target(uri, rest, strlen(rest));
    return VMS_OK;
}

static enum vms_code parse_port(const char *port, struct vms_uri *uri, struct vms_error *err) {
    unsigned long long value;
    char *end;
    if (!*port)
        return bad(err, uri, "the port is empty");
    if (!read_number(port, 10, &value, &end) || *end || value > UINT16_MAX)
        return bad_part(err, uri, "the port is not a number from 0 to 65535:", port);
    uri->port = (uint16_t)value;
    return VMS_OK;
}

static enum vms_code parse_bracketed(const char *rest, struct vms_uri *uri, struct vms_error *err) {
    struct in6_addr addr;
    const char *close = strchr(rest, ']');
    if (!close)
        return bad(err, uri, "'[' without ']'");
    set_target(uri, rest + 1, (size_t)(close - rest - 1));
    /* A scope ("%eth0") is left to getaddrinfo(). */
    if (!strchr(uri->target, '%') && inet_pton(AF_INET6, uri->target, &addr) != 1)
        return bad_part(err, uri, "not an IPv6 address:", uri->target);
    if (close[1] != ':')
        return bad(err, uri, "the port is missing after ']'");
    return parse_port(close + 2, uri, err);
}

static enum vms_code parse_tcp(const char *rest, struct vms_uri *uri, struct vms_error *err) {
    uri->scheme = VMS_URI_TCP;
    if (*rest == '[')
        return parse_bracketed(rest, uri, err);
    const char *colon = strchr(rest, ':');
    if (!colon)
        return bad(err, uri, "the port is missing");
    if (strchr(colon + 1, ':'))
        return bad(err, uri, "more than one ':'; an IPv6 address stands in brackets");
    set_target(uri, rest, (size_t)(colon - rest));
    const char *odd = strpbrk(uri->target, " \t\r\n/[]@,");
    if (odd)
        return bad_part(err, uri, "the host has a character that no host has, at", odd);
    return parse_port(colon + 1, uri, err);
}

static enum vms_code parse_tls(const char *rest, struct vms_uri *uri, struct vms_error *err) {
    uri->tls = true;
    if (strncmp(rest, "unix:", 5) == 0)
        return parse_unix(rest + 5, uri, err);
    return parse_tcp(rest, uri, err);
}

static enum vms_code parse_fd(const char *rest, struct vms_uri *uri, struct vms_error *err) {
    unsigned long long value;
    char *end;
    uri->scheme = VMS_URI_FD;
    if (!read_number(rest, 10, &value, &end) || *end || value > INT_MAX)
        return bad_part(err, uri, "not the number of a descriptor:", rest);
    uri->fd = (int)value;
    return VMS_OK;
}

static enum vms_code parse_exec(const char *rest, struct vms_uri *uri, struct vms_error *err) {
    uri->scheme = VMS_URI_EXEC;
    if (!*rest)
        return bad(err, uri, "the command is empty");
    set_target(uri, rest, strlen(rest));
    return VMS_OK;
}

/* The power of two of a size suffix, -1 when it is none. */
static int suffix_shift(const char *suffix) {
    static const char letters[] = "bkmgtpe";
    if (!*suffix)
        return 0;
    const char *at = strchr(letters, *suffix | 0x20);
    return at && !suffix[1] ? (int)(at - letters) * 10 : -1;
}

static enum vms_code parse_offset(const char *text, struct vms_uri *uri, struct vms_error *err) {
    unsigned long long value;
    char *end;
    int base = strncmp(text, "0x", 2) == 0 || strncmp(text, "0X", 2) == 0 ? 16 : 10;
    if (!read_number(text, base, &value, &end))
        return bad_part(err, uri, "the offset is not a number:", text);
    int shift = suffix_shift(end);
    if (shift < 0)
        return bad_part(err, uri, "the offset is not a number:", text);
    if (value > (unsigned long long)INT64_MAX >> shift)
        return bad_part(err, uri, "the offset is too large:", text);
    uri->offset = value << shift;
    return VMS_OK;
}

static enum vms_code parse_file(const char *rest, struct vms_uri *uri, struct vms_error *err) {
    uri->scheme = VMS_URI_FILE;
    const char *option = strstr(rest, OFFSET_OPTION);
    size_t len = option ? (size_t)(option - rest) : strlen(rest);
    if (len == 0)
        return bad(err, uri, "the path is empty");
    set_target(uri, rest, len);
    return option ? parse_offset(option + strlen(OFFSET_OPTION), uri, err) : VMS_OK;
}

enum vms_code vms_uri_parse(const char *text, struct vms_uri *out, struct vms_error *err) {
    static const struct {
        const char *prefix;
        enum vms_code (*parse)(const char *, struct vms_uri *, struct vms_error *);
    } schemes[] = {
        {"unix:", parse_unix}, {"tcp:", parse_tcp},   {"tls:", parse_tls},
        {"fd:", parse_fd},     {"exec:", parse_exec}, {"file:", parse_file},
    };
    memset(out, 0, sizeof *out);
    out->fd = -1;
    if (strlen(text) > VMS_URI_MAX)
        return vms_error_set(err, VMS_E_CONNECT, "bad URI '%.60s...': longer than %u bytes", text,
                             VMS_URI_MAX);
    memcpy(out->text, text, strlen(text) + 1);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i].prefix);
        if (strncmp(text, schemes[i].prefix, len) == 0)
            return schemes[i].parse(text + len, out, err);
    }
    return bad(err, out, "it must begin with unix: tcp: tls: fd: exec: or file:");
}
