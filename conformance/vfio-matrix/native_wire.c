/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/rig.h"

#include <string.h>
#include <vmstream/native.h>

/*
 * Counts frames in a recording of the native wire, unsealed (suite none): by their headers alone
 * (NAT-10), and of DEVICE the first entry of the body, which is its KIND (native.cddl).
 */
enum {
    LABEL = 12,
    HEADER = 32,
    TAG = 4, /* CRC32C */
    KIND_KEY = 0x15,
    KIND_INITIAL_SENT = 3,
};

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool fits(const uint8_t header[HEADER], const uint8_t *body, size_t len, uint32_t type) {
    if (be32(header + 4) != type)
        return false;
    return type != VMS_NATIVE_DEVICE ||
           (len > 2 && body[1] == KIND_KEY && body[2] == KIND_INITIAL_SENT);
}

/* A recording ends where the connection was cut: what is not whole does not count. */
static int count_file(FILE *file, uint32_t type) {
    uint8_t header[HEADER], body[4];
    int n = 0;
    while (fread(header, 1, HEADER, file) == HEADER && memcmp(header, "VMSF", 4) == 0) {
        uint32_t body_len = be32(header + 24), bulk_len = be32(header + 28);
        size_t want = body_len < sizeof body ? body_len : sizeof body;
        if (fread(body, 1, want, file) != want)
            return n;
        long rest = (long)(body_len - want) + (long)bulk_len + TAG;
        if (fseek(file, rest, SEEK_CUR) != 0)
            return n;
        n += fits(header, body, want, type);
    }
    return n;
}

int vfm_count_frames(const struct vfm_rig *rig, bool back, uint32_t type) {
    int sum = 0;
    for (unsigned i = 0; i < vms_tap_count(rig->tap); i++) {
        char path[128];
        vfm_path(rig, path, sizeof path, "wire.%u.%s", i, back ? "rev" : "fwd");
        FILE *file = fopen(path, "re");
        if (file && fseek(file, LABEL, SEEK_SET) == 0)
            sum += count_file(file, type);
        if (file)
            (void)fclose(file);
    }
    return sum;
}
