/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <vmstream/vmstream.h>

/* A PING's body is CBOR, which is libcbor's, and ends with its value. argv[1]: the version. */
int main(int argc, char **argv) {
    struct vms_native_frame ping = {.header.type = VMS_NATIVE_PING, .u.value = 42};
    uint8_t body[64];
    size_t len = 0;
    if (vms_native_encode_body(&ping, (struct vms_room){body, sizeof body}, &len) != VMS_OK)
        return 1;
    if (len < 2 || memcmp(body + len - 2, "\x18\x2a", 2) != 0)
        return 1;
    return argc != 2 || strcmp(argv[1], VMSTREAM_VERSION) != 0;
}
