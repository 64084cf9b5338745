/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_PSK_H
#define VMSTREAM_HOST_PSK_H

#include <vmstream/error.h>
#include <vmstream/slice.h>

/** Longest key of a PSK file, in bytes (OpenSSL's bound for a TLS 1.3 key), and longest identity.
 */
#define VMS_PSK_KEY_MAX      256u
#define VMS_PSK_IDENTITY_MAX 128u

/**
 * Pre-shared keys as QEMU's tls-creds-psk and psktool keep them: one "identity:hexkey" a line,
 * empty lines are skipped. Read-only once it is loaded, so threads may share it.
 */
struct vms_psk_file;

/**
 * Loads path; a directory means the file keys.psk in it. VMS_E_CONNECT (with the line's number)
 * when it cannot be read, a line is malformed, an identity comes twice or there is none;
 * VMS_E_NO_MEMORY. *out is the caller's, to be freed with vms_psk_free().
 */
enum vms_code vms_psk_load(const char *path, struct vms_psk_file **out, struct vms_error *err);
/** Wipes the keys. NULL is allowed. */
void vms_psk_free(struct vms_psk_file *file);

/** The key of an identity, owned by the file; false when it is not there. */
bool vms_psk_find(const struct vms_psk_file *file, struct vms_slice identity,
                  struct vms_slice *key);
/** The path that was read. Owned by the file. */
const char *vms_psk_path(const struct vms_psk_file *file);

#endif
