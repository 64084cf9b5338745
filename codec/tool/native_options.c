/* SPDX-License-Identifier: MIT */
#include "tool/native_options.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/pack_zstd.h>
#include <vmstream/transcode.h>

enum {
    LEVEL_MIN = -7,
    LEVEL_MAX = 19,
};

static int read_seal(struct native_options *native, const struct tool_options *o) {
    native->suite = VMS_SUITE_NONE;
    if (o->seal && !vms_suite_parse(vms_str(o->seal), &native->suite))
        return tool_usage("convert --seal %s: the suites are none, gmac, gcm and chacha20",
                          o->seal);
    return TOOL_DONE;
}

/* The first key of the file: QEMU's own choice of order, and the one to put a new key at. */
static int read_key(struct native_options *native, const struct tool_options *o) {
    struct psk_text text = {.mem = NULL};
    struct vms_error err = {0};
    if (native->suite == VMS_SUITE_NONE)
        return TOOL_DONE;
    if (!o->psk)
        return tool_usage("convert --seal %s: want the file of keys, --psk FILE", o->seal);
    int status = psk_text_read(&text, o->psk, &o->limits);
    if (status == TOOL_DONE &&
        vms_psk_parse(text.text, vms_slice(NULL, 0), 0, &o->limits, &native->psk, &err) != VMS_OK)
        status = tool_local("%s: %s", o->psk, err.message);
    native->has_psk = status == TOOL_DONE;
    psk_text_free(&text);
    return status;
}

static bool read_level(const char *text, int *level) {
    char *end;
    if (*text == '\0') {
        *level = 1;
        return true;
    }
    if (*text != ':' || text[1] == '\0')
        return false;
    errno = 0;
    long n = strtol(text + 1, &end, 10);
    *level = (int)n;
    return !errno && *end == '\0' && n >= LEVEL_MIN && n <= LEVEL_MAX && n != VMS_LEVEL_NONE;
}

static int make_packer(struct native_options *native) {
    struct vms_zstd_config zstd = {.level_max = native->level > 1 ? native->level : 1,
                                   .unpacked_max = VMS_BATCH_BYTES};
    struct vms_pack_config config = {.page_size = 4096, .unpacked_max = VMS_BATCH_BYTES};
    size_t size = vms_zstd_size(&zstd);
    native->zstd_mem = malloc(size);
    struct vms_zstd *zip = native->zstd_mem ? vms_zstd_init(native->zstd_mem, size, &zstd) : NULL;
    if (!zip)
        return tool_local("not enough memory for zstd level %d", native->level);
    config.zip = vms_zstd_ops(zip);
    size = vms_packer_size(&config);
    native->packer_mem = malloc(size);
    native->packer = native->packer_mem ? vms_packer_init(native->packer_mem, size, &config) : NULL;
    return native->packer ? TOOL_DONE : tool_local("not enough memory");
}

static int read_pack(struct native_options *native, const struct tool_options *o) {
    if (!o->pack || strcmp(o->pack, "none") == 0)
        return TOOL_DONE;
    if (strncmp(o->pack, "zstd", 4) != 0 || !read_level(o->pack + 4, &native->level))
        return tool_usage("convert --pack %s: want zstd or zstd:LEVEL, %d to %d", o->pack,
                          LEVEL_MIN, LEVEL_MAX);
    return make_packer(native);
}

int native_options_read(struct native_options *native, const struct tool_options *options) {
    int status = read_seal(native, options);
    if (status == TOOL_DONE)
        status = read_key(native, options);
    return status == TOOL_DONE ? read_pack(native, options) : status;
}

void native_options_free(struct native_options *native) {
    free(native->packer_mem);
    free(native->zstd_mem);
    vms_wipe(native, sizeof *native);
}
