/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_SETTINGS_H
#define REFERENCE_DST_SETTINGS_H

#include <vmstream/error.h>
#include <vmstream/record.h>

/**
 * What a destination was told beforehand and a stream must agree with: QEMU negotiates none of it.
 * What it was not told, it takes from the stream.
 */
struct dst_settings {
    const char *machine; /* NULL: any */
    bool capabilities;   /* the two below hold; else as the stream says */
    bool ignore_shared, mapped_ram;
    bool has_uuid;
    uint8_t uuid[16]; /* zeros without has_uuid */
};

/** "x-ignore-shared", "mapped-ram", both with a comma, or "none". False: it is none of these. */
bool dst_settings_capabilities(struct dst_settings *settings, const char *text);
/** 32 hexadecimal digits, hyphens anywhere between. */
bool dst_settings_uuid(struct dst_settings *settings, const char *text);

/** Compares a CONFIGURATION record: CFG-7, CFG-8, CFG-10. */
enum vms_code dst_settings_check(const struct dst_settings *settings,
                                 const struct vms_rec_configuration *config, struct vms_error *err);
/** [MFD-3] VMS_E_MULTIFD_UUID when a handshake is another VM's. */
enum vms_code dst_settings_hello(const struct dst_settings *settings,
                                 const struct vms_rec_multifd_hello *hello, struct vms_error *err);

#endif
