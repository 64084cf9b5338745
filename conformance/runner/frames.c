/* SPDX-License-Identifier: MIT */
#include "conformance/runner/frames.h"

#include "native/body.h"

#include <string.h>
#include <vmstream/native.h>

enum {
    LABEL = 12,
    TAG_CRC = 4, /* CRC-32C; of every keyed suite 16 */
    TAG_KEYED = 16,
};

void cert_frames_open(struct cert_frames *f, const char *path, bool keyed) {
    *f = (struct cert_frames){
        .at = LABEL, .tag = keyed ? TAG_KEYED : TAG_CRC, .counts = json_object()};
    (void)snprintf(f->path, sizeof f->path, "%s", path);
}

static bool take_header(struct cert_frames *f, const uint8_t raw[VMS_NATIVE_HEADER]) {
    struct vms_native_header h;
    if (memcmp(raw, "VMSF", 4) != 0)
        return false;
    vms_header_read(raw, &h);
    const char *name = vms_native_type_name(h.type);
    name = name ? name : "unknown";
    (void)json_object_set_new(f->counts, name, json_integer(cert_int(f->counts, name, 0) + 1));
    f->at += VMS_NATIVE_HEADER + (uint64_t)h.body_len + h.bulk_len + f->tag;
    return true;
}

/* A header that is not whole yet is read the next time. */
void cert_frames_step(struct cert_frames *f) {
    uint8_t raw[VMS_NATIVE_HEADER];
    FILE *file = f->bad ? NULL : fopen(f->path, "re");
    while (file && !f->bad && fseeko(file, (off_t)f->at, SEEK_SET) == 0 &&
           fread(raw, 1, sizeof raw, file) == sizeof raw)
        f->bad = !take_header(f, raw);
    if (file)
        (void)fclose(file);
}

json_int_t cert_frames_count(const struct cert_frames *f, const char *name) {
    return cert_int(f->counts, name, 0);
}

void cert_frames_close(struct cert_frames *f) {
    json_decref(f->counts);
    f->counts = NULL;
}
