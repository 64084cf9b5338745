/* SPDX-License-Identifier: MIT */
#include "host/vfio_config.h"

#include <string.h>

enum {
    VERSION = 2,
    PINS = 16, /* u32 each of four */
    COMMAND = 0x04,
    BARS = 0x10, /* to 0x27 */
    BARS_SIZE = 24,
    LINE = 0x3c,
};

enum vms_code vms_vfio_config_save(struct vms_vfio *device, uint8_t *out, size_t *len,
                                   struct vms_error *err) {
    size_t size = vms_vfio_config_size(device);
    memset(out, 0, 4 + size + PINS);
    out[3] = VERSION;
    *len = 4 + size + PINS;
    return size ? vms_vfio_config_read(device, out + 4, size, err) : VMS_OK;
}

static bool is_msix(size_t rest) {
    size_t n = 0;
    while (n <= 2048 && 16 * n + (n + 7) / 8 != rest)
        n++;
    return n <= 2048;
}

enum vms_code vms_vfio_config_load(struct vms_vfio *device, const uint8_t *bytes, size_t len,
                                   struct vms_error *err) {
    static const struct { size_t at, len; } parts[] = {{BARS, BARS_SIZE}, {LINE, 1}, {COMMAND, 2}};
    size_t size = vms_vfio_config_size(device);
    uint8_t own[4];
    if (len < 4 + size + PINS || !is_msix(len - 4 - size - PINS) ||
        memcmp(bytes, "\0\0\0\2", 4) != 0)
        return vms_error_set(err, VMS_E_VFIO_CONFIG, "%.60s: %zu octets", vms_vfio_name(device),
                             len);
    if (size == 0)
        return VMS_OK;
    enum vms_code code = vms_vfio_config_read(device, own, sizeof own, err);
    if (code == VMS_OK && memcmp(own, bytes + 4, sizeof own) != 0)
        return vms_error_set(err, VMS_E_VFIO_CONFIG, "%.60s: of %02x%02x:%02x%02x",
                             vms_vfio_name(device), bytes[5], bytes[4], bytes[7], bytes[6]);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && code == VMS_OK; i++)
        code =
            vms_vfio_config_write(device, parts[i].at, bytes + 4 + parts[i].at, parts[i].len, err);
    return code;
}
