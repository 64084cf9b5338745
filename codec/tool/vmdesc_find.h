/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_VMDESC_FIND_H
#define VMSTREAM_TOOL_VMDESC_FIND_H

#include <stdbool.h>
#include <vmstream/vmdesc.h>

/**
 * Looks for the VM description at the end of a regular file, as QEMU's analyser does: backwards for
 * an EOF byte, type 06, a length that reaches the file's end and '{' (facts §1.4), within the last
 * max bytes. Loads it into vmdesc. The file's position stays. False: there is none.
 */
bool vmdesc_find(int fd, uint64_t max, struct vms_vmdesc *vmdesc);

#endif
