/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_PSK_TEXT_H
#define VMSTREAM_TOOL_PSK_TEXT_H

#include "tool/tool.h"
#include <vmstream/slice.h>

/** The text of a key file (SEAL-19), for vms_psk_parse(). */
struct psk_text {
    struct vms_slice text;
    uint8_t *mem;
    size_t size;
};

/** Reads the file at path; a directory means keys.psk in it. TOOL_DONE, or TOOL_LOCAL after a line
 * on stderr. */
int psk_text_read(struct psk_text *psk, const char *path, const struct vms_limits *limits);
/** Wipes it. A zeroed one is allowed. */
void psk_text_free(struct psk_text *psk);

#endif
