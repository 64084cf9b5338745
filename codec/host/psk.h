/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_PSK_H
#define VMSTREAM_HOST_PSK_H

#include <vmstream/error.h>
#include <vmstream/seal.h>
#include <vmstream/slice.h>

/** The longest identity. */
#define VMS_PSK_IDENTITY_MAX VMS_PSK_NAME_MAX

/**
 * Pre-shared keys for TLS, from the same files as those that seal (SEAL-19): psktool and QEMU's
 * tls-creds-psk read and write them. Read-only once it is loaded, so threads may share it.
 */
struct vms_psk_file;

/**
 * Loads path; a directory means the file keys.psk in it. VMS_E_CONNECT when it cannot be read,
 * SEAL_PSK_FILE (with the line's number) when it is not as SEAL-19 says, LIMIT, NO_MEMORY. *out is
 * the caller's, to be freed with vms_psk_free().
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
