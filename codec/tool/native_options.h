/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_NATIVE_OPTIONS_H
#define VMSTREAM_TOOL_NATIVE_OPTIONS_H

#include "tool/psk_text.h"
#include <vmstream/pack.h>
#include <vmstream/seal.h>

/** What --seal, --pack and --psk mean for a file that is written. */
struct native_options {
    enum vms_suite suite;
    bool has_psk;
    struct vms_psk psk;        /* the file's first */
    struct vms_packer *packer; /* NULL: nothing is packed; shared by all channels */
    int level;
    void *packer_mem;
    void *zstd_mem;
};

/** TOOL_DONE, or another status after a line on stderr. native_options_free() in either case. */
int native_options_read(struct native_options *native, const struct tool_options *options);
/** Wipes the key. */
void native_options_free(struct native_options *native);

#endif
