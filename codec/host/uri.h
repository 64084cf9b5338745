/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_URI_H
#define VMSTREAM_HOST_URI_H

#include <stdbool.h>
#include <stdint.h>
#include <vmstream/error.h>

/** Longest URI, in bytes without the NUL. */
#define VMS_URI_MAX 4095u

enum vms_uri_scheme {
    VMS_URI_UNIX, /* target: the socket's path */
    VMS_URI_TCP,  /* target: the host without brackets, "" for any (listening); port */
    VMS_URI_FD,   /* fd */
    VMS_URI_EXEC, /* target: the command for /bin/sh -c */
    VMS_URI_FILE, /* target: the path; offset */
};

/** Where a channel leads. A plain value, it owns nothing. */
struct vms_uri {
    enum vms_uri_scheme scheme;
    bool tls;        /* tls:… over TCP or UNIX */
    uint16_t port;   /* TCP; 0 when listening: the kernel chooses one */
    int fd;          /* FD: number of the descriptor */
    uint64_t offset; /* FILE: bytes before the stream begins */
    char text[VMS_URI_MAX + 1];
    char target[VMS_URI_MAX + 1];
};

/**
 * Reads a URI:
 *   unix:PATH  tcp:HOST:PORT  tls:HOST:PORT  tls:unix:PATH  fd:N  exec:CMD  file:PATH[,offset=N]
 * HOST is a name, an IPv4 address or an IPv6 address in brackets; PORT is a number. N of an offset
 * is decimal or 0x… with an optional suffix k, M, G or T (powers of 1024), as QEMU takes it. Paths
 * and commands are taken as they are. VMS_OK, or VMS_E_CONNECT with the bad part in *err's message;
 * *out is then undefined.
 */
enum vms_code vms_uri_parse(const char *text, struct vms_uri *out, struct vms_error *err);

#endif
