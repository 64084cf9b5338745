/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_ADAPTER_REPLAY_IMAGE_H
#define CONFORMANCE_ADAPTER_REPLAY_IMAGE_H

#include <stdint.h>
#include <stdio.h>

/**
 * The stream in a file: a capture as it is, or the image that `virsh save` has written, which has
 * libvirt's header and the domain's XML before it, and may be compressed.
 *
 * The header is 92 octets, numbers in the byte order of the host that wrote it (the version, 2,
 * tells which): magic "LibvirtQemudSave" (16), version, length of the XML with its cookie, was
 * running, format, offset of the cookie, 14 unused. Formats: 0 raw, 1 gzip, 2 bzip2, 3 xz, 4 lzop,
 * 5 zstd. Fact source: libvirt's on-disk format, which never changes.
 */
struct replay_header {
    uint32_t version, data_len, was_running, format;
};

/** Whether the 92 octets are such a header; fills it in. */
int replay_parse(const uint8_t octets[92], struct replay_header *h);

/** Opened at the stream's first octet, decompressed by the usual programs; close with replay_close.
 * NULL: `error` (200 octets) says why. */
FILE *replay_open(const char *path, char *error);
/** 0, or -1: what decompresses it failed. */
int replay_close(FILE *f);

#endif
